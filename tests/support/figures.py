"""Find figures in sentences that no reader believes: negative durations and sizes, rates of zero."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wiredoctor.findings import Finding

_UNITS = r"(?:ns|us|ms|s|min|h|d|bytes?|[kMG]?B|[kMG]?B/s|%)"
ABSURD = re.compile(rf"(?<![\w.:/=-])-\d[\d.,]* {_UNITS}(?!\w)|(?<![\d.,])0 (?:[kMG]?B|bytes)/s")


def absurd_figures(findings: Iterable[Finding]) -> list[str]:
    """The figures, each with its rule and its sentence."""
    return [
        f"{finding.rule}: {found.group()} in: {text}"
        for finding in findings
        for text in (finding.title, finding.message, finding.remedy, *(one.note for one in finding.evidence))
        for found in ABSURD.finditer(text)
    ]
