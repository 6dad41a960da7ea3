"""The diagnosis for people: what happened, the proof, what to change; then what was read."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, TextIO

from wiredoctor.findings import SEVERITIES
from wiredoctor.report.groups import Group, grouped, host
from wiredoctor.report.paper import SEVERITY_STYLE, Paper, Writer
from wiredoctor.report.proof import write_proof
from wiredoctor.report.words import count, duration, shorten, size

if TYPE_CHECKING:
    from wiredoctor.findings import CaptureSummary, Report

MOST_GROUPS = 10
MOST_REASONS = 5
MOST_REQUEST = 100


def write(
    report: Report,
    out: TextIO,
    paper: Paper,
    *,
    everything: bool = False,
    quiet: bool = False,
    checked: Sequence[str] = (),
    shown: str = "",
) -> None:
    """The whole page.

    everything: all groups and all frames. quiet: the findings and nothing else. checked: names of the rules that ran.
    shown: in words, what the report was narrowed to.
    """
    writer = Writer(out, paper)
    groups = grouped(report.findings)
    if groups:
        _write_groups(writer, report, groups, everything=everything)
    if quiet:
        return
    if not groups:
        _write_nothing(writer, report, checked, shown)
    _write_read(writer, report, shown)


def _write_groups(writer: Writer, report: Report, groups: list[Group], *, everything: bool) -> None:
    writer.paragraph((_headline(report, groups), "bold"))
    several = len(report.captures) > 1
    shown = groups if everything else groups[:MOST_GROUPS]
    for group in shown:
        writer.blank()
        _write_group(writer, group, several=several, everything=everything)
    if len(shown) < len(groups):
        writer.blank()
        left = groups[len(shown) :]
        writer.paragraph(f"{len(left)} more ({_severities(left)}); --all shows them.")


def _headline(report: Report, groups: list[Group]) -> str:
    """ "3 warnings and 1 note, found 14 times in all. Time lost by waiting: 388 ms."."""
    head, times = _severities(groups), sum(group.count for group in groups)
    if times > len(groups):
        head += f", found {times:,} times" + (" in all" if len(groups) > 1 else "")
    return f"{head}. Time lost by waiting: {duration(report.delay)}." if report.delay > 0 else f"{head}."


def _severities(groups: Sequence[Group]) -> str:
    each = {s: sum(g.worst.severity == s for g in groups) for s in SEVERITIES}
    *most, last = [count(n, s) for s, n in each.items() if n]
    return f"{', '.join(most)} and {last}" if most else last


def _write_group(writer: Writer, group: Group, *, several: bool, everything: bool) -> None:
    worst = group.worst
    label = worst.severity.upper().ljust(9)
    writer.paragraph((label, SEVERITY_STYLE[worst.severity]), (worst.title, "bold"), _extent(group), hang=len(label))
    rule = f"{worst.rule} ({worst.kind})" if worst.kind else worst.rule
    change = f", to change on the {worst.side}" if worst.side else ""
    writer.paragraph((f"{rule}, {group.confidence} confidence{change}", "dim"), indent=2)
    if where := _where(group, several=several):
        writer.paragraph((where, "dim"), indent=2)
    writer.blank()
    writer.paragraph(worst.message, indent=2)
    if worst.evidence:
        writer.blank()
        writer.paragraph(_proof_title(group), indent=2, hang=2)
        write_proof(writer, worst, everything=everything)
    writer.blank()
    writer.paragraph(("What to change: ", "bold"), worst.remedy, indent=2, hang=2)
    if worst.display_filter:
        writer.unbroken(("Wireshark: ", "bold"), worst.display_filter, indent=2)
    for reference in worst.references[:1]:
        writer.unbroken(("See: ", "bold"), reference.title, f"  {reference.url}" if reference.url else "", indent=2)


def _extent(group: Group) -> str:
    """How often and how long, where the title does not say it: " (worst of 38; 7.9 s in all)"."""
    delay = duration(group.delay) if group.delay else ""
    if group.count == 1:
        return f"  {delay}" if delay and delay not in group.worst.title else ""
    return f" (worst of {group.count:,}; {delay} in all)" if delay else f"  x {group.count:,}"


def _where(group: Group, *, several: bool) -> str:
    worst = group.worst
    clients = {f.client for f in group.findings}
    client = worst.client if len(clients) == 1 else host(worst.client)
    ends = " -> ".join(e for e in (client, worst.server) if e)
    return ", ".join(part for part in (ends, worst.capture if several else "") if part)


def _proof_title(group: Group) -> str:
    worst = group.worst
    rank = "worst" if group.delay else "first"
    which = f"Proof (the {rank} of {len(group.findings):,})" if len(group.findings) > 1 else "Proof"
    places = [
        "" if worst.connection is None else f"connection {worst.connection}",
        "" if worst.exchange is None else f"exchange {worst.exchange}",
        shorten(worst.request or "", MOST_REQUEST),
        "" if worst.status is None else f"status {worst.status}",
    ]
    place = ", ".join(p for p in places if p)
    return f"{which}: {place}" if place else f"{which}:"


def _write_nothing(writer: Writer, report: Report, checked: Sequence[str], shown: str) -> None:
    scope = f" ({shown})" if shown else ""
    if not report.connection_count:
        writer.paragraph((f"Nothing to diagnose: no TCP connection was seen{scope}.", "bold"))
        return
    if not report.exchange_count:
        writer.paragraph((f"Nothing wrong was found, but no HTTP exchange was seen{scope}.", "bold"))
    else:
        writer.paragraph((f"Nothing wrong was found{scope}.", "bold"))
    if checked:
        writer.paragraph(f"Checked: {', '.join(checked)}.")


def _write_read(writer: Writer, report: Report, shown: str) -> None:
    writer.blank()
    writer.paragraph(("What was read", "bold"))
    for capture in report.captures:
        _write_capture(writer, capture)
    totals = f"{count(report.connection_count, 'TCP connection')}, {count(report.exchange_count, 'HTTP exchange')}"
    writer.paragraph(totals + (f" shown (only {shown}; all was read)" if shown else ""), indent=2)
    for limit in report.limits:
        writer.paragraph(("Limit reached: ", "bold"), limit, indent=2, hang=2)


def _write_capture(writer: Writer, capture: CaptureSummary) -> None:
    links = ", ".join(capture.link_types)
    facts = [capture.format, links, count(capture.packets, "packet"), size(capture.bytes), _span(capture)]
    writer.paragraph(f"{capture.file}: ", ", ".join(f for f in facts if f), indent=2, hang=2)
    reasons = sorted(capture.not_analysed.items(), key=lambda r: (-r[1], r[0]))
    for reason, packets in reasons[:MOST_REASONS]:
        writer.paragraph(f"not analysed: {reason}, {count(packets, 'packet')}", indent=4, hang=2)
    if rest := reasons[MOST_REASONS:]:
        others, packets = count(len(rest), "other reason"), sum(n for _, n in rest)
        writer.paragraph(f"not analysed: {others}, {count(packets, 'packet')}", indent=4, hang=2)
    if capture.duplicates:
        writer.paragraph(f"captured twice and left out: {count(capture.duplicates, 'packet')}", indent=4, hang=2)
    if capture.damage:
        writer.paragraph(("damaged: ", "bold"), capture.damage, indent=4, hang=2)


def _span(capture: CaptureSummary) -> str:
    """ "2026-01-31 12:00:00 UTC, 12.5 s long"."""
    if capture.first_time is None or capture.last_time is None:
        return ""
    (first, first_fraction), (last, last_fraction) = map(_moment, (capture.first_time, capture.last_time))
    try:
        whole = (datetime.fromisoformat(last) - datetime.fromisoformat(first)).total_seconds()
    except ValueError:
        return f"from {first}"
    return f"from {first.replace('T', ' ')} UTC, {duration(whole + last_fraction - first_fraction)} long"


def _moment(time: str) -> tuple[str, float]:
    whole, _, fraction = time.removesuffix("Z").partition(".")
    return whole, float(f"0.{fraction or 0}")
