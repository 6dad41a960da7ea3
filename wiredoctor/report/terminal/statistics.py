"""Write one line per rule, with the number of occurrences, the number of problems, and the time lost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

from wiredoctor.findings import SEVERITIES, Report, total_delay
from wiredoctor.report.coverage import find_coverage
from wiredoctor.report.groups import Group, group_findings
from wiredoctor.report.headline import counts, headline
from wiredoctor.report.terminal.terminal import TerminalWriter, TextOutput
from wiredoctor.report.words import duration

if TYPE_CHECKING:
    from wiredoctor.report.formats import Options

_HEADINGS = ("occurrences", "problems", "severity", "rule", "time lost")
_NUMBERS = 2
"""The number of columns, from the left, that are aligned right."""


def write_as(report: Report, out: BinaryIO, options: Options) -> None:
    """Write the report as one line per rule."""
    groups = group_findings(report.findings)
    with TextOutput(out, options.paper) as stream:
        writer = TerminalWriter(stream, options.paper)
        if not options.quiet or not groups:
            writer.paragraph((headline(report, groups, find_coverage(report), options.shown), "bold"))
        if not groups:
            return
        if not options.quiet:
            writer.paragraph(str(counts(report, groups)))
            writer.blank()
        for line in _aligned([_HEADINGS, *_rows(groups)]):
            writer.unbroken(line)


def _rows(groups: list[Group]) -> list[tuple[str, ...]]:
    """Return one row per rule, sorted by worst severity, then by number of occurrences."""
    rules: dict[str, list[Group]] = {}
    for group in groups:
        rules.setdefault(group.worst.rule, []).append(group)
    numbers = {rule: sum(group.count for group in each) for rule, each in rules.items()}
    worst = {rule: min(SEVERITIES.index(group.worst.severity) for group in each) for rule, each in rules.items()}
    return [
        (f"{numbers[rule]:,}", f"{len(rules[rule]):,}", SEVERITIES[worst[rule]], rule, _lost(rules[rule]))
        for rule in sorted(rules, key=lambda rule: (worst[rule], -numbers[rule], rule))
    ]


def _lost(groups: list[Group]) -> str:
    delay = total_delay(finding for group in groups for finding in group.findings)
    return duration(delay) if delay else ""


def _aligned(rows: list[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.rjust(width) if number < _NUMBERS else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()
