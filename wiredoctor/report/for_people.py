"""Prepare a report for people: write "(masked)" for masked values, because a `*` may also be part of what was sent."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from wiredoctor.findings import PacketAccess, Report


@runtime_checkable
class _Redacted(Protocol):
    def for_people(self) -> PacketAccess: ...


def for_people(report: Report) -> Report:
    """Return the report with masked values shown as "(masked)" instead of `*`; a report that shows secrets is returned
    unchanged.
    """
    from wiredoctor.report.columns import masked_for_people

    if report.secrets or report.for_people:
        return report
    return replace(
        report,
        for_people=True,
        findings=[finding.for_people() for finding in report.findings],
        not_judged=[one.for_people() for one in report.not_judged],
        scan_exchanges=masked_for_people(report.scan_exchanges),
        packets={name: one.for_people() if isinstance(one, _Redacted) else one for name, one in report.packets.items()},
    )
