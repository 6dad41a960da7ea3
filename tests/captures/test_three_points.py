"""One conversation is judged alike at the client, in the middle and at the server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.captures.papers import CONVERSATIONS, POINTS, QUICK_CONVERSATIONS, read
from tests.captures.reports import report_of
from tests.captures.test_papers import EXACT_TO, in_order
from tests.support.sweeps import WHOLE, sweep

if TYPE_CHECKING:
    from pathlib import Path

    from wiredoctor.findings import Finding


def judged(finding: Finding) -> dict[str, object]:
    """What must not depend on the capture point: all but frames, times of evidence, and the split of the round trip. Where a path
    breaks, each end sees its own copies, or that its ACKs are in vain: that proves less."""
    return {
        "rule": finding.rule,
        "kind": finding.kind,
        "side": finding.side,
        "severity": finding.severity,
        "confidence": None if finding.rule == "unanswered" else finding.confidence,
        "connection": finding.connection,
        "exchange": finding.exchange,
        "client": finding.client,
        "server": finding.server,
    }


def told(path: Path) -> list[Finding]:
    """What was found, without what is said of the capture itself."""
    found = [finding for finding in in_order(report_of(path)) if finding.family != "capture"]
    return sorted(found, key=lambda f: (f.rule, f.kind or "", -1 if f.connection is None else f.connection, f.exchange or 0))


def test_there_are_conversations_at_three_points() -> None:
    assert sum(len(points) == len(POINTS) for points in CONVERSATIONS.values()) >= 60


def test_a_conversation_has_the_same_papers_at_each_point() -> None:
    """Or the captures are not of one conversation."""
    for points in CONVERSATIONS.values():
        assert len({read(path).content["script"] for path in points.values()}) == 1


@WHOLE
@pytest.mark.parametrize("name", sweep(CONVERSATIONS, QUICK_CONVERSATIONS.__contains__))
def test_the_same_is_found_at_each_point(name: str) -> None:
    """With the same delays, except that the times at the server do not show how long a client waited that was not answered, or
    whose only SYN was refused.
    """
    first, *others = map(told, CONVERSATIONS[name].values())
    for other in others:
        assert [judged(finding) for finding in other] == [judged(finding) for finding in first]
        for one, same in zip(first, other, strict=True):
            if one.rule != "unanswered" and (one.kind != "refused" or None not in (one.delay, same.delay)):
                assert same.delay == (one.delay and pytest.approx(one.delay, **EXACT_TO))
