"""Find figures in sentences that no reader believes: negative ones, rates of zero, and times below the unit of the clock."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wiredoctor.findings import Finding
    from wiredoctor.testing import Packet

_UNITS = r"(?:ns|us|ms|s|min|h|d|bytes?|[kMG]?B|[kMG]?B/s|%)"
ABSURD = re.compile(rf"(?<![\w.:/=-])-\d[\d.,]* {_UNITS}(?!\w)|(?<![\d.,])0 (?:[kMG]?B|bytes)/s|\bnan\b|\binf\b")
BELOW_MILLISECONDS = re.compile(r"(?<![\w.,])\d[\d.,]* [un]s(?!\w)")


def counts_milliseconds(packets: Iterable[Packet]) -> bool:
    """Whether no timestamp has a unit below the millisecond."""
    return all(packet.time % 1_000_000 == 0 for packet in packets)


def absurd_figures(findings: Iterable[Finding], *, in_milliseconds: bool = False) -> list[str]:
    """The figures, each with its rule and its sentence. `in_milliseconds`: the timestamps of the capture have no smaller unit."""
    patterns = (ABSURD, BELOW_MILLISECONDS) if in_milliseconds else (ABSURD,)
    return [
        f"{finding.rule}: {found.group()} in: {text}"
        for finding in findings
        for text in (finding.title, finding.message, finding.remedy, *(one.note for one in finding.evidence))
        for pattern in patterns
        for found in pattern.finditer(text)
    ]
