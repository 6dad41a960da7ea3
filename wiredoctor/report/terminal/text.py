"""The diagnosis for people: what happened, the proof, what to change; then what was read, and how far that reaches."""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

from wiredoctor.report.coverage import Reach, reach
from wiredoctor.report.groups import MOST_GROUPS, Group, grouped
from wiredoctor.report.terminal.evidence import write_proof
from wiredoctor.report.terminal.sentences import (
    SECRETS,
    change,
    checked,
    encapsulated,
    ends,
    example,
    facts,
    failing,
    headline,
    known,
    more,
    not_analysed,
    nothing,
    opening,
    reasons,
    rest,
    standing,
    times,
    totals,
    unexplained,
    well,
)
from wiredoctor.report.terminal.terminal import SEVERITY_STYLE, Paper, Writer
from wiredoctor.report.words import duration

if TYPE_CHECKING:
    from wiredoctor.findings import CaptureSummary, Report


def write(
    report: Report,
    out: TextIO,
    paper: Paper,
    *,
    everything: bool = False,
    quiet: bool = False,
    shown: str = "",
) -> None:
    """The whole page.

    everything: all groups and all frames. quiet: the findings and nothing else, except what the report or the capture lacks.
    shown: in words, what the report was narrowed to.
    """
    writer = Writer(out, paper)
    for line in opening(report):
        writer.paragraph((line, "bold"))
        writer.blank()
    if report.secrets:
        writer.paragraph((SECRETS, "bold"))
        writer.blank()
    groups = grouped(report.findings)
    if groups:
        _write_groups(writer, report, groups, everything=everything)
    if quiet:
        return
    far = reach(report)
    if not groups:
        writer.paragraph((nothing(report, far, shown), "bold"))
    _write_read(writer, report, far, shown)
    _write_reach(writer, report, far, named=everything or not groups)


def _write_groups(writer: Writer, report: Report, groups: list[Group], *, everything: bool) -> None:
    writer.paragraph((headline(report, groups), "bold"))
    several = len(report.captures) > 1
    shown = groups if everything else groups[:MOST_GROUPS]
    for group in shown:
        writer.blank()
        write_group(writer, group, several=several, everything=everything)
    if left := groups[len(shown) :]:
        writer.blank()
        writer.paragraph(f"{more(left)} --all shows them.")


def write_group(writer: Writer, group: Group, *, several: bool, everything: bool) -> None:
    """A paragraph per group: what happened, its proof, and what to change."""
    worst = group.worst
    label = worst.severity.upper().ljust(9)
    writer.paragraph((label, SEVERITY_STYLE[worst.severity]), (worst.title, "bold"), _extent(group), hang=len(label))
    writer.paragraph((standing(group), "dim"), indent=2)
    if where := ", ".join(part for part in (ends(group), worst.capture if several else "") if part):
        writer.paragraph((where, "dim"), indent=2, hang=2)
    if which := example(group):
        writer.paragraph((which, "dim"), indent=2, hang=2)
    writer.blank()
    writer.paragraph(worst.message, indent=2)
    if worst.evidence:
        writer.blank()
        writer.paragraph(("Proof", "bold"), indent=2)
        write_proof(writer, worst, everything=everything)
    writer.blank()
    writer.paragraph((f"{change(group)}: ", "bold"), worst.remedy, indent=2, hang=2)
    if worst.display_filter:
        writer.unbroken(("Wireshark: ", "bold"), worst.display_filter, indent=2)
    for reference in worst.references[:1]:
        fits = len(f"  See: {reference.title}  {reference.url}") <= writer.width
        if fits and reference.url:
            writer.unbroken(("See: ", "bold"), reference.title, f"  {reference.url}", indent=2)
        else:
            writer.paragraph(("See: ", "bold"), reference.title, indent=2, hang=2)
            if reference.url:
                writer.unbroken(reference.url, indent=4)


def _extent(group: Group) -> str:
    """How often and how long, where the title does not say it."""
    if group.count == 1:
        delay = duration(group.delay) if group.delay else ""
        return f"  {delay}" if delay and delay not in group.worst.title else ""
    return f"  {times(group)}"


def _write_read(writer: Writer, report: Report, far: Reach, shown: str) -> None:
    writer.blank()
    writer.paragraph(("What was read", "bold"))
    for capture in report.captures:
        _write_capture(writer, capture)
    writer.paragraph(totals(report, shown), indent=2)
    for line in failing(far):
        writer.paragraph(line, indent=2, hang=2)
    for limit in report.limits:
        writer.paragraph(("Limit reached: ", "bold"), limit, indent=2, hang=2)


def _write_capture(writer: Writer, capture: CaptureSummary) -> None:
    writer.unbroken(capture.file, indent=2)
    writer.paragraph(facts(capture), indent=4, hang=2)
    for line in (*encapsulated(capture), *not_analysed(capture)):
        writer.paragraph(line, indent=4, hang=2)
    if capture.damage:
        writer.paragraph(("damaged: ", "bold"), capture.damage, indent=4, hang=2)


def _write_reach(writer: Writer, report: Report, far: Reach, *, named: bool) -> None:
    """What was checked, what could not be judged, what is known. `named`: the rules that found nothing are named."""
    well_so_far = not (report.findings or unexplained(far))
    _write_part(writer, "Checked and healthy" if well_so_far else "Checked", checked(far))
    if quiet_rules := rest(report, far):
        writer.paragraph(f"{quiet_rules}{':' if named and far.healthy else ''}", indent=2, hang=2)
        for line in well(report, far) if named else []:
            writer.paragraph(line, indent=4, hang=2)
    _write_part(writer, "Not judged", reasons(report, far))
    _write_part(writer, "Left out", known(report))


def _write_part(writer: Writer, title: str, lines: list[str]) -> None:
    if lines:
        writer.blank()
        writer.paragraph((title, "bold"))
        for line in lines:
            writer.paragraph(line, indent=2, hang=2)
