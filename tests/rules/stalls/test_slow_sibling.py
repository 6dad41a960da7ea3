"""slow-sibling tells servers that share requests from services that a client needs all at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from wiredoctor.testing import findings, ladders_in

LADDERS = dict(ladders_in(Path(__file__).with_name("slow_sibling.txt")))


@pytest.mark.parametrize(
    ("title", "kind"),
    [
        ("speaks: one of three servers takes 230 ms, the others 10 ms", None),
        ("speaks: a client sends each request to three services at once, and one of them takes 230 ms", "fan-out"),
    ],
)
def test_only_servers_that_share_requests_can_be_taken_out_of_rotation(title: str, kind: str | None) -> None:
    [told] = findings(LADDERS[title])
    assert told.kind == kind
    assert ("out of rotation" in told.remedy) is (kind is None)
