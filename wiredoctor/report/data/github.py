"""Write problems as annotations of GitHub Actions: workflow commands, which GitHub shows in the job's log.

Texts are escaped as in GitHub's toolkit (actions/toolkit, packages/core/src/command.ts).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, BinaryIO

from wiredoctor.findings import Report
from wiredoctor.report.commands import next_commands
from wiredoctor.report.coverage import find_coverage
from wiredoctor.report.groups import Group, group_findings
from wiredoctor.report.headline import counts, headline
from wiredoctor.report.terminal.sentences import times
from wiredoctor.report.words import clean

if TYPE_CHECKING:
    from wiredoctor.report.formats import Options

_LEVELS: Mapping[str, str] = {"error": "error", "warning": "warning", "note": "notice"}


def write_as(report: Report, out: BinaryIO, options: Options) -> None:
    """Write the report as annotations of GitHub Actions."""
    for line in lines(report, shown=options.shown):
        out.write(line.encode("utf-8", "backslashreplace") + b"\n")


def lines(report: Report, shown: str = "") -> Iterator[str]:
    """Yield a notice with headline and counts, then an annotation for each problem, at the frame of its worst occurrence.

    `shown`: as in formats.Options.
    """
    groups = group_findings(report.findings)
    said = [headline(report, groups, find_coverage(report), shown), str(counts(report, groups))]
    yield command("notice", {"title": "wiredoctor"}, " ".join(line for line in said if line))
    for group in groups:
        yield _annotation(report, group)


def _annotation(report: Report, group: Group) -> str:
    worst = group.worst
    place = {"file": worst.capture}
    if worst.evidence:
        # a capture has no lines; use the frame number, as in SARIF
        place["line"] = str(worst.evidence[0].frame)
    title = f"{worst.rule}: {group.title}" + (f" ({times(group)})" if group.count > 1 else "")
    text = "\n".join([worst.message, worst.remedy, *next_commands(report, worst)])
    return command(_LEVELS[worst.severity], {**place, "title": title}, text)


def command(name: str, properties: Mapping[str, str], text: str) -> str:
    """Return a workflow command on one line: "::error file=a.pcap,title=b::text"."""
    each = ",".join(f"{key}={_escape_property(value)}" for key, value in properties.items())
    return f"::{name} {each}::{_escape_data(text)}"


def _escape_data(text: str) -> str:
    escaped = (clean(line) for line in text.replace("%", "%25").split("\n"))
    return "%0A".join(escaped)


def _escape_property(text: str) -> str:
    return clean(text).replace("%", "%25").replace(":", "%3A").replace(",", "%2C")
