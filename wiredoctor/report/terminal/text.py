"""Write the diagnosis for people: what happened, its evidence, the remedy, then inputs and coverage."""

from __future__ import annotations

import io
from collections.abc import Sequence
from enum import IntEnum
from typing import TYPE_CHECKING, BinaryIO, TextIO

from wiredoctor.findings import CaptureSummary, Finding, Report
from wiredoctor.report.addresses import page_of_rule
from wiredoctor.report.capture_clocks import zone_line
from wiredoctor.report.commands import are_kept, next_commands, rest_in_full, show_any_command, was_kept
from wiredoctor.report.coverage import Coverage, find_coverage
from wiredoctor.report.fields import Field
from wiredoctor.report.groups import Group, group_findings
from wiredoctor.report.headline import counts, doubts, headline, missing
from wiredoctor.report.overview import HEADINGS, MAX_ROWS, Row, notes_on_times, other_problems, split_rows
from wiredoctor.report.terminal import capture_sentences, sentences
from wiredoctor.report.terminal.evidence import write_proof
from wiredoctor.report.terminal.lines import SEVERITY_SIGNS
from wiredoctor.report.terminal.terminal import SEVERITY_STYLE, Terminal, TerminalWriter, TextOutput
from wiredoctor.report.words import count, join_words, shorten

if TYPE_CHECKING:
    from wiredoctor.report.formats import Options

IN_FULL = 2
"""The maximum number of problems that a report shows with message, evidence and remedy."""

IN_FULL_BESIDE_MANY = 1
"""The maximum number of problems shown with message, evidence and remedy if there are more problems than rows in the table."""

MAX_LINES = 55
"""The maximum number of lines of a report above the description of its inputs, unless all problems are requested."""

FEW_CAPTURES = 3
"""The maximum number of captures that a report describes one by one, unless all are requested."""

LEAST_PLACE = 14
"""The minimum width in characters of the column `where` (server and path) in the table of problems."""

MAX_LEAST_PLACE = 34
"""The maximum width to which rows can raise LEAST_PLACE (see `Row.least_place`).

A row needs room for its server and for the mark that distinguishes it from similar rows. This width is enough for an IPv4 address
with a port and most marks.
"""

MAX_TABLE = 140
"""The maximum width of the table of problems."""

_SEVERITY, _RULE, _WHERE, _COUNT, _TIME_LOST, _FIRST_SEEN, _ = range(len(HEADINGS))
_NUMBERS = (_COUNT, _TIME_LOST)


def write_as(report: Report, out: BinaryIO, options: Options) -> None:
    """Write the report as text."""
    with TextOutput(out, options.paper) as stream:
        write(report, stream, options.paper, everything=options.everything, quiet=options.quiet, shown=options.shown)


def write(
    report: Report, out: TextIO, paper: Terminal, *, everything: bool = False, quiet: bool = False, shown: str = ""
) -> None:
    """Write the report for people.

    `everything`: show all problems and all frames. `quiet`: show only findings, missing data, and failures that no finding
    explains. `shown`: a description of the report's filter.
    """
    writer = TerminalWriter(out, paper)
    groups = group_findings(report.findings)
    far = find_coverage(report)
    if quiet and not groups:
        for line in doubts(report, far, shown):
            writer.paragraph((line, "bold"))
        return
    if report.secrets:
        writer.paragraph((sentences.SECRETS, "bold"))
    writer.paragraph((headline(report, groups, far, shown), "bold"))
    if numbers := str(counts(report, groups)):
        writer.paragraph(numbers)
    if line := zone_line(report):
        writer.paragraph((line, "dim"))
    for line in [line for line in capture_sentences.opening(report) if line not in missing(report)]:
        writer.paragraph((line, "bold"))
    if groups:
        _write_problems(writer, report, groups, everything=everything)
    if quiet:
        return
    if len(report.captures) > FEW_CAPTURES and not everything:
        if not _hidden(report, groups):
            writer.blank()
        _write_brief(writer, report, far, shown)
        return
    _write_read(writer, report, far, shown)
    _write_reach(writer, report, far, named=everything or not groups)


def _hidden(report: Report, groups: list[Group]) -> int:
    """Return the number of problems that the report describes in full only if the user requests it.

    The number is 0 if there are at most MAX_ROWS problems and the packets were not kept, because the user cannot request more
    later.
    """
    if len(groups) <= MAX_ROWS and not are_kept(report):
        return 0
    return max(0, len(groups) - (IN_FULL_BESIDE_MANY if len(groups) > MAX_ROWS else IN_FULL))


def _write_problems(writer: TerminalWriter, report: Report, groups: list[Group], *, everything: bool) -> None:
    rows, left = split_rows(report, groups)
    if rows:
        writer.blank()
        write_table(writer, rows)
        if note := notes_on_times(report, groups):
            writer.paragraph(note)
        if command := show_any_command(report):
            writer.unbroken(("Next: ", "bold"), command)
        elif not are_kept(report):
            writer.paragraph("The packets were not kept: capture with -w FILE.pcapng to look at them with wiredoctor show.")
    if left:
        writer.paragraph(f"{other_problems(left)}.")
    several = len(report.captures) > 1
    in_full = groups if everything else groups[: len(groups) - _hidden(report, groups)]
    detail = Detail.FULL
    if left and not everything:
        detail = _fitting_detail(writer, groups[0], report, several=several)
    for group in in_full:
        writer.blank()
        write_group(writer, group, report=report, several=several, everything=everything, detail=detail)
    if rest := len(groups) - len(in_full):
        writer.blank()
        which, command = rest_in_full(report, rest)
        if len(text := f"{which} {command}") <= writer.width:
            writer.unbroken(text)
        else:
            writer.paragraph(which)
            writer.unbroken(command, indent=2)


class Detail(IntEnum):
    """The amount of text about a problem: only title and place; title, place, message and remedy; or everything."""

    PLACE = 0
    REMEDY = 1
    FULL = 2


def _fitting_detail(writer: TerminalWriter, group: Group, report: Report, *, several: bool) -> Detail:
    """Return the greatest detail with which a problem fits into the remaining lines of MAX_LINES; PLACE if none fits."""
    for detail in (Detail.FULL, Detail.REMEDY):
        trial = TerminalWriter(io.StringIO(), writer.paper)
        write_group(trial, group, report=report, several=several, everything=False, detail=detail)
        if writer.lines + 1 + trial.lines <= MAX_LINES:
            return detail
    return Detail.PLACE


def write_table(writer: TerminalWriter, rows: Sequence[Row]) -> None:
    """Write the table of problems, no wider than the terminal.

    If the table is too wide, times are shortened first, then severities, then hosts and paths. As a last resort, columns are
    omitted.
    """
    gap, width = writer.paper.gap, min(writer.width, MAX_TABLE)
    for short_time, sign in ((False, False), (True, False), (True, True)):
        lines = [_headings(sign=sign), *(_cells(row, short_time=short_time, sign=sign) for row in rows)]
        widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
        if sum(widths) + 2 * (len(widths) - 1) <= width:
            break
    least = max(LEAST_PLACE, *(min(row.least_place, MAX_LEAST_PLACE) for row in rows))
    columns = _fitting_columns(widths, width, least)
    for number, line in enumerate(lines):
        if number:
            line[_WHERE] = rows[number - 1].shortened_place(widths[_WHERE], gap)
        cells = [Field("", widths[c], right=c in _NUMBERS).pad(shorten(line[c], widths[c], gap)) for c in columns]
        style = SEVERITY_STYLE[rows[number - 1].severity] if number else "dim"
        writer.unbroken((cells[0], style), ("  " + "  ".join(cells[1:]).rstrip(), "" if number else "dim"))


def _headings(*, sign: bool) -> list[str]:
    short = {"severity": "" if sign else "severity", "first seen": "first", "finding": "N"}
    return [short.get(name, name) for name in HEADINGS]


def _cells(row: Row, *, short_time: bool, sign: bool) -> list[str]:
    cells = [*row.cells]
    if short_time:
        cells[_FIRST_SEEN] = row.first_seen_to_seconds
    if sign:
        cells[_SEVERITY] = SEVERITY_SIGNS[row.severity]
    return cells


def _fitting_columns(widths: list[int], width: int, least: int) -> list[int]:
    """Return the indexes of the columns that fit in `width`, and reduce the width of one column in `widths`.

    The column of servers and paths gets the width that the other columns leave. Other columns are omitted until this width is at
    least `least`. If that is not enough, the column of servers and paths is omitted instead, and the column of rules is reduced.
    """
    columns = list(range(len(widths)))
    for expendable in (_FIRST_SEEN, _TIME_LOST, _COUNT, _WHERE):
        room = width - sum(widths[c] + 2 for c in columns if c != _WHERE)
        if room >= least or (expendable == _WHERE and room >= widths[_WHERE]):
            widths[_WHERE] = min(widths[_WHERE], room)
            return columns
        columns.remove(expendable)
    widths[_RULE] = min(widths[_RULE], width - sum(widths[c] + 2 for c in columns if c != _RULE))
    return columns


def write_group(
    writer: TerminalWriter,
    group: Group,
    *,
    several: bool,
    everything: bool,
    report: Report | None = None,
    detail: Detail = Detail.FULL,
) -> None:
    """Write a problem: what happened, its evidence, and the remedy. With a `report`, also write the next commands.

    `several`: whether the report covers several captures, so the capture must be named.
    """
    worst = group.worst
    label, extent = worst.severity.upper().ljust(9), sentences.extent(group)
    writer.paragraph((label, SEVERITY_STYLE[worst.severity]), (group.title, "bold"), extent and f"  {extent}", hang=len(label))
    rest = sentences.rule_and_confidence(group).removeprefix(worst.rule)
    page = page_of_rule(worst) if writer.paper.links else ""
    writer.paragraph((worst.rule, writer.linked("dim", page)), (rest, "dim"), indent=2)
    if where := ", ".join(part for part in (sentences.client_and_server(group), worst.capture if several else "") if part):
        writer.paragraph((where, "dim"), indent=2, hang=2)
    if which := sentences.example(group):
        writer.paragraph((which, "dim"), indent=2, hang=2)
    if detail != Detail.PLACE:
        writer.blank()
        writer.paragraph(worst.message, indent=2)
    if worst.evidence and detail == Detail.FULL:
        writer.blank()
        writer.paragraph(("Proof", "bold"), indent=2)
        write_proof(writer, worst, everything=everything)
    if detail != Detail.PLACE:
        writer.blank()
        writer.paragraph((f"{sentences.change(worst)}: ", "bold"), worst.remedy, indent=2, hang=2)
    if detail == Detail.FULL:
        _write_references(writer, worst, opened=was_kept(worst.capture))
    if report is not None:
        commands = next_commands(report, worst)
        for label, command in zip(("Next: ", " " * 6), commands if detail == Detail.FULL else commands[:1], strict=False):
            writer.unbroken((label, "bold"), command, indent=2)


def _write_references(writer: TerminalWriter, worst: Finding, *, opened: bool) -> None:
    """Write the first reference and, if the capture can be `opened` in Wireshark, the display filter."""
    if worst.display_filter and opened:
        writer.unbroken(("Wireshark: ", "bold"), worst.display_filter, indent=2)
    for reference in worst.references[:1]:
        fits = len(f"  See: {reference.title}  {reference.url}") <= writer.width
        if fits and reference.url:
            writer.unbroken(("See: ", "bold"), reference.title, f"  {reference.url}", indent=2)
        else:
            writer.paragraph(("See: ", "bold"), reference.title, indent=2, hang=2)
            if reference.url:
                writer.unbroken(reference.url, indent=4)


def _write_brief(writer: TerminalWriter, report: Report, far: Coverage, shown: str) -> None:
    """Write a summary for many captures, with one line each for the input, failures, limits, coverage and excluded findings."""
    damaged = sum(capture.damage is not None for capture in report.captures)
    packets = count(sum(capture.packets for capture in report.captures), "packet")
    captures = count(len(report.captures), "capture") + (f" ({damaged:,} damaged)" if damaged else "")
    parts = [("Read", f"{captures}, {packets}, {sentences.totals(report, shown)}")]
    if failures := far.answers.failures:
        numbers = ", ".join(f"{number:,} x {status}" for status, number in failures.items())
        parts.append(("Status 500 or above", f"{numbers}, of {count(far.answers.responses, 'response')}"))
    if report.limits:
        more = f"; {len(report.limits) - 1:,} more" if len(report.limits) > 1 else ""
        parts.append(("Limit reached", f"{report.limits[0]}{more}"))
    ended = {"exchanges": 0, "connections": 0}
    for one in far.not_judged:
        if one.ending:
            ended[one.what] += one.count
    which = join_words([count(number, what.removesuffix("s")) for what, number in ended.items() if number])
    unjudged = f"not judged: {f'{which}, ' if which else ''}{count(len(far.not_judged), 'reason')}" if far.not_judged else ""
    if coverage := "; ".join(part for part in (sentences.count_of_rules_without_findings(report, far), unjudged) if part):
        parts.append(("Coverage", coverage))
    parts += [("Left out", line) for line in sentences.left_out_lines(report)]
    for title, text in parts:
        writer.paragraph((f"{title}: ", "bold"), text, hang=2)


def _write_read(writer: TerminalWriter, report: Report, far: Coverage, shown: str) -> None:
    writer.blank()
    writer.paragraph(("What was read", "bold"))
    for capture in report.captures:
        _write_capture(writer, capture)
    writer.paragraph(sentences.totals(report, shown), indent=2)
    for line in sentences.failing(far):
        writer.paragraph(line, indent=2, hang=2)
    for limit in report.limits:
        writer.paragraph(("Limit reached: ", "bold"), limit, indent=2, hang=2)


def _write_capture(writer: TerminalWriter, capture: CaptureSummary) -> None:
    writer.unbroken(capture.file, indent=2)
    writer.paragraph(capture_sentences.capture_facts(capture), indent=4, hang=2)
    for line in (*capture_sentences.encapsulated(capture), *capture_sentences.not_analysed(capture)):
        writer.paragraph(line, indent=4, hang=2)
    if capture.damage:
        writer.paragraph(("damaged: ", "bold"), capture.damage, indent=4, hang=2)


def _write_reach(writer: TerminalWriter, report: Report, far: Coverage, *, named: bool) -> None:
    """Write what was checked, what could not be judged, and what was excluded. `named`: list the rules that found nothing."""
    _write_part(writer, sentences.checked_heading(report, far), sentences.checked_lines(far))
    if quiet_rules := sentences.count_of_rules_without_findings(report, far):
        writer.paragraph(f"{quiet_rules}{':' if named and far.healthy else ''}", indent=2, hang=2)
        for line in sentences.rules_without_findings(report, far) if named else []:
            writer.paragraph(line, indent=4, hang=2)
    _write_part(writer, "Not judged", sentences.reasons(report, far))
    _write_part(writer, "Left out", sentences.left_out_lines(report))


def _write_part(writer: TerminalWriter, title: str, lines: list[str]) -> None:
    if lines:
        writer.blank()
        writer.paragraph((title, "bold"))
        for line in lines:
            writer.paragraph(line, indent=2, hang=2)
