"""On a silent link nobody waits longer than for what the silence itself decides."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, cast

from tests.ladders import ladder_packets, to_pcap
from tests.live.playing import Player, pcapng
from wiredoctor import rules
from wiredoctor.engine.growing import GrowingCapture
from wiredoctor.live import Session
from wiredoctor.live.recorder_client import Event
from wiredoctor.rules import catalogue
from wiredoctor.tables import SECOND

NO_RESPONSE = r"""
0.000 > S 0:0 mss 1460
0.010 < S. 0:0 ack 1 mss 1460
0.020 > . ack 1
0.021 > P. "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
0.032 < F. 1:1 ack 28
0.042 > F. 28:28 ack 2
0.053 < . 2:2 ack 29
"""


class Silent(Player):
    """Goes on behind the last packet, without any; notes for how long it was waited."""

    waits = 0.0

    def events(self, timeout: float) -> list[Event]:
        if self._coming:
            return super().events(timeout)
        self.waits += timeout
        self.now += round(timeout * SECOND)
        time.sleep(timeout)
        return []


def test_what_silence_decides_is_told_when_it_is_decided(tmp_path: Path) -> None:
    """What a client lost is decided five seconds later, because it may repeat it and be answered; and another second must pass
    until everything of that time has come."""
    (tmp_path / "trace.pcap").write_bytes(to_pcap(ladder_packets(NO_RESPONSE)))
    stops = pcapng(tmp_path / "trace.pcap", tmp_path / "trace.pcapng")
    modules = rules.with_causes(catalogue(), catalogue())
    rules.begin(modules)
    player = Silent([(tmp_path / "trace.pcapng", 0)], stops)
    with GrowingCapture("live") as capture:
        session = Session(capture, cast("Any", player), modules, list(modules), modules, secrets=False, clock=player.clock)
        while session.status().analysed < len(stops):
            assert not session.look(1.0).findings
        player.now = stops[-2].time + round(5.9 * SECOND)
        player.waits = 0.0
        assert [finding.rule for finding in session.look(9.0).findings] == ["no-response"]
        assert 0.05 < player.waits < 0.2
