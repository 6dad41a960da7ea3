"""Write one line per finding, like a compiler: capture, frame, severity, rule and title. The format is stable, so grep works."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

from wiredoctor.findings import Finding, Report
from wiredoctor.report.capture_points import shared_sentence
from wiredoctor.report.commands import short_fingerprint
from wiredoctor.report.coverage import find_coverage
from wiredoctor.report.groups import group_findings
from wiredoctor.report.headline import counts, headline
from wiredoctor.report.terminal.terminal import TextOutput
from wiredoctor.report.words import clean, shorten
from wiredoctor.text.escape import REQUEST_LENGTH

if TYPE_CHECKING:
    from wiredoctor.report.formats import Options


def write_as(report: Report, out: BinaryIO, options: Options) -> None:
    """Write the report as one line per finding."""
    with TextOutput(out, options.paper) as stream:
        for line in lines(report, quiet=options.quiet, shown=options.shown):
            stream.write(line + "\n")


def lines(report: Report, *, quiet: bool = False, shown: str = "") -> Iterator[str]:
    """Yield a line for each finding, in report order.

    Unless `quiet`, add the headline, the counts, and a sentence about conversations that several captures contain.
    """
    for finding in report.findings:
        yield finding_line(finding)
    if not quiet:
        groups = group_findings(report.findings)
        told = headline(report, groups, find_coverage(report), shown)
        for line in (told, str(counts(report, groups)), *shared_sentence(report)):
            if line:
                yield clean(f"wiredoctor: {line}")


def finding_line(finding: Finding) -> str:
    """Format a finding as "trace.pcap:53: error[keep-alive-race] A request was lost (GET /items, 10.0.0.2:80, 3f2a91c0)"."""
    frame = f":{finding.evidence[0].frame}" if finding.evidence else ""
    place = [shorten(finding.request or "", REQUEST_LENGTH), finding.server or finding.client or "", short_fingerprint(finding)]
    where = ", ".join(part for part in place if part)
    return clean(f"{finding.capture}{frame}: {finding.severity}[{finding.rule}] {finding.title} ({where})")
