"""Exclude known findings: those in a baseline, and those that a configuration ignores for a given reason."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

from wiredoctor.findings import Finding, LeftOut, LeftOutBy, Report, host, total_delay
from wiredoctor.report.failed_requests import FAILURES
from wiredoctor.text.redact import masked_target


class Ignore(NamedTuple):
    """An entry of a configuration that excludes findings. An empty field matches everything.

    `rule` is a rule or a family. `client` and `server` are globs for an endpoint or its address; `target` is a glob for a
    request target as shown in reports, redacted or not. In a glob, * matches any text and ? any character. `fingerprint` is the
    beginning of a fingerprint.
    """

    reason: str
    rule: str = ""
    kind: str = ""
    client: str = ""
    server: str = ""
    target: str = ""
    fingerprint: str = ""

    def fits(self, finding: Finding) -> bool:
        """Return whether all conditions of the entry match a finding."""
        target = (finding.request or "").partition(" ")[2]
        targets = (target, masked_target(target), finding.ignore_target)
        return (
            self.rule in ("", finding.rule, finding.family)
            and self.kind in ("", finding.kind)
            and finding.fingerprint.startswith(self.fingerprint)
            and self._endpoint(self.client, finding.client)
            and self._endpoint(self.server, finding.server)
            and (not self.target or any(_glob(self.target).fullmatch(target) for target in targets))
        )

    def _endpoint(self, wanted: str, endpoint: str | None) -> bool:
        if not wanted:
            return True
        names = {endpoint or "", host(endpoint) or ""} - {""}
        return any(_glob(wanted).fullmatch(name) for name in names)


@lru_cache
def _glob(text: str) -> re.Pattern[str]:
    """Compile a glob without the [sets] of fnmatch, because an IPv6 endpoint has brackets."""
    signs = {"*": ".*", "?": "."}
    return re.compile("".join(signs.get(sign) or re.escape(sign) for sign in text), re.DOTALL)


def without_ignored(report: Report, entries: Sequence[Ignore]) -> Report:
    """Return the report without the findings that `entries` exclude.

    If several entries match a finding, it is counted for the first of these entries.
    """
    for entry in entries:
        report = leave_out(report, "ignore", entry.reason, entry.fits)
    return report


def without_known(report: Report, fingerprints: Collection[str], baseline: str) -> Report:
    """Return the report without the findings whose fingerprints are in `fingerprints`, which come from the file `baseline`."""
    return leave_out(report, "baseline", baseline, lambda finding: finding.fingerprint in fingerprints)


def leave_out(report: Report, by: LeftOutBy, reason: str, unwanted: Callable[[Finding], bool]) -> Report:
    """Return the report without the findings for which `unwanted` is true. A new entry in `left_out` counts these findings."""
    gone = [f for f in report.findings if unwanted(f)]
    if not gone:
        return report
    left = [f for f in report.findings if not unwanted(f)]
    failures = tuple(f for f in gone if f.rule in FAILURES)
    said = LeftOut(by, reason, len(gone), tuple(sorted({f.rule for f in gone})), failures)
    return replace(report, findings=left, delay=total_delay(left), left_out=[*report.left_out, said])
