"""Findings that somebody knows already: those of a baseline, and those that a configuration ignores for a reason."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from wiredoctor.findings import LeftOut, host, total_delay
from wiredoctor.text.redact import masked_target

if TYPE_CHECKING:
    from wiredoctor.findings import Finding, LeftOutBy, Report


class Ignore(NamedTuple):
    """An entry of a configuration: which findings are not to be reported, and why. "" and () ask for nothing.

    `rule` is a rule or a family; `client` and `server` are globs of an endpoint or of its address, `target` one of a request
    target as reports show it, with its secrets or without. In a glob * stands for any text and ? for any one character.
    """

    reason: str
    rule: str = ""
    kind: str = ""
    client: str = ""
    server: str = ""
    target: str = ""

    def fits(self, finding: Finding) -> bool:
        """Whether the finding is one of these: all that is asked for holds."""
        target = (finding.request or "").partition(" ")[2]
        targets = (target, masked_target(target), finding.ignore_target)
        return (
            self.rule in ("", finding.rule, finding.family)
            and self.kind in ("", finding.kind)
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
    """Without the [sets] of fnmatch: an IPv6 endpoint has brackets."""
    signs = {"*": ".*", "?": "."}
    return re.compile("".join(signs.get(sign) or re.escape(sign) for sign in text), re.DOTALL)


def without_ignored(report: Report, entries: Sequence[Ignore]) -> Report:
    """The report without what an entry speaks of, each finding counted for the first such entry."""
    for entry in entries:
        report = _without(report, "ignore", entry.reason, entry.fits)
    return report


def without_known(report: Report, fingerprints: Collection[str], baseline: str) -> Report:
    """The report with the findings only whose fingerprint is not in the baseline, a file of that name."""
    return _without(report, "baseline", baseline, lambda finding: finding.fingerprint in fingerprints)


def _without(report: Report, by: LeftOutBy, reason: str, unwanted: Callable[[Finding], bool]) -> Report:
    gone = [f for f in report.findings if unwanted(f)]
    if not gone:
        return report
    left = [f for f in report.findings if not unwanted(f)]
    said = LeftOut(by, reason, len(gone), tuple(sorted({f.rule for f in gone})))
    return replace(report, findings=left, delay=total_delay(left), left_out=[*report.left_out, said])
