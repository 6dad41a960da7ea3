"""Test corked-stream where the capture lacks what came to the gateway."""

from __future__ import annotations

from pathlib import Path

from tests.ladders import ladders_in
from wiredoctor.testing import findings

LADDERS = dict(ladders_in(Path(__file__).with_name("corked_stream.txt")))


def test_without_the_first_packet_behind_the_gateway_nobody_knows_when_content_came() -> None:
    text = LADDERS["speaks: each event leaves the gateway 240 ms after it came, when a timer of TCP expires"]
    event = '  0.1000  <  P.   "9\\r\\ndata: 1\\n\\n\\r\\n"'
    assert text.count(event) == 1
    told = {one.rule for one in findings(text.replace(event, f"{event} uncaptured"))}
    assert told == {"capture-loss"}
