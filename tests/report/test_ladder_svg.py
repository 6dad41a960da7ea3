"""The picture of a ladder: what it says of a wait, and how high it draws one."""

from __future__ import annotations

import re

import pytest

from wiredoctor.report.ladder import Ladder, Step, Wait
from wiredoctor.report.ladder_svg import svg


def drawn(*waits: Wait) -> str:
    steps = [Step(n, 0, n / 10, n % 2 == 1, "ACK", 0, "ACK", (), (), wait, False) for n, wait in enumerate(waits, start=1)]
    return svg(Ladder("a.pcap", "10.0.0.1:1", "10.0.0.2:80", (0,), tuple(steps)), "a title")


@pytest.mark.parametrize(
    ("wait", "said"),
    [
        (Wait(0.8, 3), "800 ms"),
        (Wait(0.8, None), "800 ms"),
        (Wait(0.8, 0, idle=True), "800 ms in which nobody waited"),
        (Wait(0.8, 0, waited_for="server"), "800 ms until the server sends"),
        (Wait(0.8, 0, of_finding=True), "800 ms"),
        (Wait(0.8, 0, of_finding=True, waited_for="client"), "800 ms until the client sends"),
    ],
)
def test_only_who_is_known_to_wait_is_said_to(wait: Wait, said: str) -> None:
    assert f">{said}</text>" in drawn(Wait(None, 0), wait)


def test_waits_of_which_nothing_is_known_keep_their_scale() -> None:
    heights = re.findall(
        r'<rect class="idle"[^>]* height="(\d+)"', drawn(Wait(None, 0), Wait(0.4, 2), Wait(0.1, 2), Wait(0.2, 2))
    )
    assert [round(int(height) / int(heights[0]), 2) for height in heights] == pytest.approx([1, 0.25, 0.5], abs=0.02)
