"""Reports of the captures: one of each, made once, and of several together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import polars as pl

import wiredoctor
from tests.captures.papers import TOGETHER
from wiredoctor.findings import SEVERITIES, Report, causes_first, sum_totals, total_delay


@lru_cache(maxsize=3 * TOGETHER)
def report_of(path: Path) -> Report:
    """The report of a capture. Some are kept: tests of one capture, or one batch, run behind each other (conftest.py)."""
    return wiredoctor.analyze(str(path), show_secrets=True, keep=True)


def together(reports: Sequence[Report]) -> Report:
    """The report that one gets who analyses these captures at once, without analysing them again."""
    findings = sorted((f for one in reports for f in one.findings), key=lambda f: SEVERITIES.index(f.severity))
    ordered = causes_first(findings, lambda finding: (finding,))
    numbered = [replace(finding, number=number) for number, finding in enumerate(ordered, 1)]
    captures = [capture for one in reports for capture in one.captures]
    return replace(
        reports[0], captures=captures, findings=numbered, delay=total_delay(numbered),
        connection_count=sum(one.connection_count for one in reports),
        exchange_count=sum(one.exchange_count for one in reports),
        limits=[f"{one.captures[0].file}: {limit}" for one in reports for limit in one.limits],
        scan_connections=lambda: pl.concat([one.scan_connections() for one in reports]),
        scan_exchanges=lambda: pl.concat([one.scan_exchanges() for one in reports]),
        scan_captures=lambda: pl.concat([one.scan_captures() for one in reports]),
        not_judged=[left for one in reports for left in one.not_judged],
        not_judged_counts=dict(sum((Counter(one.not_judged_counts) for one in reports), Counter())),
        totals=sum_totals(one.totals for one in reports),
        resources=[*reports], packets={name: access for one in reports for name, access in one.packets.items()},
    )  # fmt: skip
