"""Test that the lag includes what arrives during a look, and that silence counts only up to what the recorder has delivered."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from tests.ladders import ladder_packets, to_pcap
from tests.live.playing import Player, Stop, pcapng
from tests.live.test_waiting import NO_RESPONSE
from tests.support.recordings import find_recording
from wiredoctor import rule_engine
from wiredoctor.engine.growing import GrowingCapture
from wiredoctor.engine.live import LiveAnalysis
from wiredoctor.live import Order, Session, session
from wiredoctor.live.session import Arrivals
from wiredoctor.settings import Settings
from wiredoctor.tables import SECOND

SLOW = 7 * SECOND
"""How long the first step of the analysis takes by the clock of the player."""


class Busy(Player):
    """A player whose remaining packets arrive while the first step works; the session learns of them only if it looks again."""

    def refresh(self) -> None:
        self.progress.bytes = self.stops[-1].end


def started(player: Player) -> Session:
    capture = GrowingCapture("live")
    return Session(capture, cast("Any", player), rule_engine.load(Settings()), secrets=False, clock=player.clock)


def test_the_lag_includes_packets_that_arrived_during_the_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trace = tmp_path / "trace.pcapng"
    stops = pcapng(find_recording("server-head-body-split.pcap"), trace)
    half = len(stops) // 2
    player = Busy([(trace, 0)], [stops[half], stops[-1]])
    step = LiveAnalysis.step

    def slow_step(analysis: LiveAnalysis, most: int) -> Any:
        found = step(analysis, most)
        player.now = stops[half].time + SLOW
        return found

    monkeypatch.setattr(LiveAnalysis, "step", slow_step)
    monkeypatch.setattr(session, "TICK", 0.0)
    monkeypatch.setattr(session, "LONGEST_TICK", 0.0)
    live = started(player)
    status = live.look(0.0).status
    assert status.lag == SLOW / SECOND
    assert status.unread_bytes == stops[-1].end - stops[half].end
    status = live.look(0.0).status
    assert (status.analysed, status.lag, status.unread_bytes) == (len(stops), 0.0, 0)


def test_a_stream_lags_by_the_time_for_which_its_bytes_waited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its packets are an hour old, by another clock."""
    trace = tmp_path / "trace.pcapng"
    stops = pcapng(find_recording("server-head-body-split.pcap"), trace)
    player = Busy([(trace, 0)], [stops[9], stops[-1]], order=Order((), "", stream=0))
    live = started(player)
    player._coming[0] = (player._coming[0][0], stops[-1].time + 3600 * SECOND)
    monkeypatch.setattr(session, "LONGEST_TICK", 1000.0)  # nothing more is read
    monkeypatch.setattr(session, "TICK", 1000.0)
    monkeypatch.setattr("wiredoctor.live.session.time.monotonic", lambda: now)
    now = 100.0
    assert live.look(0.0).status.lag == 0.0
    now = 106.0
    assert live.status().lag == 6.0


def test_bytes_that_were_read_count_until_newer_ones_are_measured() -> None:
    arrivals = Arrivals()
    steps = [
        *((0, 100, 10.0), (50, 200, 13.0), (100, 300, 14.0), (150, 300, 15.0)),
        *((300, 300, 16.0), (300, 300, 60.0), (300, 400, 61.0)),
    ]
    # 100 bytes arrived at 10 s and were read at 14 s; the 300 of that moment are read at 16 s
    assert [arrivals.lag(*step) for step in steps] == [0.0, 3.0, 4.0, 4.0, 0.0, 0.0, 0.0]


class Starved(Player):
    """A player that does not say whether it has passed on all packets, while it is starved."""

    starved = True

    def events(self, timeout: float) -> Any:
        return super().events(timeout) if self._coming else []

    def ask_delivered(self) -> None:
        if not self.starved:
            super().ask_delivered()


def test_a_starved_recorder_is_not_a_silent_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The close is decided a second later, but only if the recorder has passed on all packets of that second."""
    (tmp_path / "trace.pcap").write_bytes(to_pcap(ladder_packets(NO_RESPONSE)))
    stops = pcapng(tmp_path / "trace.pcap", tmp_path / "trace.pcapng")
    player = Starved([(tmp_path / "trace.pcapng", 0)], [Stop(stops[-1].end, stops[-1].time)])
    live = started(player)
    assert not live.look(0.0).findings
    for seconds in (1, 3, 60):
        player.now = stops[-1].time + seconds * SECOND
        assert not live.look(0.0).findings
    player.starved = False
    assert [finding.rule for finding in live.look(0.0).findings] == ["no-response"]
