"""Test that on a silent link a finding waits only until the silence itself decides it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

import pytest

import wiredoctor
from tests.ladders import ladder_packets, to_pcap
from tests.live.playing import Player, pcapng
from tests.support.sweeps import SLOW
from wiredoctor import rule_engine
from wiredoctor.engine.growing import GrowingCapture
from wiredoctor.findings import Finding
from wiredoctor.live import Session
from wiredoctor.live.recorder_client import Event
from wiredoctor.settings import Settings
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
    """A close is decided a second later; after another second, all packets of that time have arrived."""
    (tmp_path / "trace.pcap").write_bytes(to_pcap(ladder_packets(NO_RESPONSE)))
    stops = pcapng(tmp_path / "trace.pcap", tmp_path / "trace.pcapng")
    player = Silent([(tmp_path / "trace.pcapng", 0)], stops)
    with GrowingCapture("live") as capture:
        session = Session(capture, cast("Any", player), rule_engine.load(Settings()), secrets=False, clock=player.clock)
        while session.status().analysed < len(stops):
            assert not session.look(1.0).findings
        player.now = stops[-2].time + round(1.9 * SECOND)
        player.waits = 0.0
        assert [finding.rule for finding in session.look(9.0).findings] == ["no-response"]
        assert 0.05 < player.waits < 0.2


LOST = """
  0.000  >  S    win 64240 mss 1460
  0.010  <  S.   win 64240 mss 1460
  0.010  >  .
  0.011  >  P.   "GET /a HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"
  0.211  <  F.
  0.211  >  F.
"""

REPEATED = """
  connection 2, start 0.225
  0.000  >  S    win 64240 mss 1460
  0.010  <  S.   win 64240 mss 1460
  0.010  >  .
  0.011  >  P.   "GET /a HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"
"""

ELSEWHERE = REPEATED.replace("GET /a", "GET /b")

ANSWER = """
  {after}  <  P.   "HTTP/1.1 {status}\\r\\nContent-Length: 2\\r\\n\\r\\nok" ack 28
  {after}  >  .    ack 41
"""


class Clocked(Player):
    """A player whose packets arrive when its clock, which the tests set, reaches their times."""

    def events(self, timeout: float) -> list[Event]:
        del timeout
        now, found = self.now, list[Event]()
        while self._coming and self._coming[0][0].time <= now:
            found += super().events(0.0)
        self.now = now
        return found


def told_by_the_clock(text: str, tmp_path: Path, seconds: float) -> list[tuple[float, Finding]]:
    """Return the live findings of a ladder, each with the seconds since the first packet."""
    (tmp_path / "trace.pcap").write_bytes(to_pcap(ladder_packets(text)))
    stops = pcapng(tmp_path / "trace.pcap", tmp_path / "trace.pcapng")
    player = Clocked([(tmp_path / "trace.pcapng", 0)], stops)
    told: list[tuple[float, Finding]] = []
    at_once = patch.multiple("wiredoctor.live.session", TICK=0.0, LONGEST_TICK=0.0)
    with at_once, GrowingCapture("live") as capture:
        session = Session(capture, cast("Any", player), rule_engine.load(Settings()), secrets=False, clock=player.clock)
        for step in range(round(20 * seconds)):
            player.now = stops[0].time + step * SECOND // 20
            told += [(step / 20, finding) for finding in session.look(0.0).findings]
    return told


CLOSED, LATE = 0.211, 1.0
"""When the server closed, and by how much later it is known that everything of a time has come."""


@pytest.mark.parametrize(
    ("more", "severity", "after", "before"),
    [
        pytest.param("", "error", 1.0, 1.2, id="it is not repeated: as soon as the close is decided"),
        pytest.param(ELSEWHERE, "error", 1.0, 1.2, id="another request is none of it", marks=SLOW),
        pytest.param(
            REPEATED + ANSWER.format(after="0.022", status="200 OK"), "warning", 1.0, 1.2, id="it is answered at once", marks=SLOW
        ),
        pytest.param(
            REPEATED + ANSWER.format(after="2.5", status="200 OK"), "warning", 2.5, 2.8, id="it is answered later", marks=SLOW
        ),
        pytest.param(REPEATED + ANSWER.format(after="2.5", status="503 No"), "error", 2.5, 2.8, id="it fails later", marks=SLOW),
        pytest.param(REPEATED, "error", 5.0, 5.2, id="it is not answered", marks=SLOW),
        pytest.param(
            REPEATED + ANSWER.format(after="5.2", status="200 OK"), "error", 4.0, 5.2, id="it is answered too late", marks=SLOW
        ),
    ],
)
def test_a_lost_request_waits_for_its_repetition_only(
    more: str, severity: str, after: float, before: float, tmp_path: Path
) -> None:
    """The live findings equal those in the report of the file."""
    [(when, told)] = [one for one in told_by_the_clock(LOST + more, tmp_path, 9.0) if one[1].rule == "no-response"]
    assert told.severity == severity
    assert CLOSED + after <= when <= CLOSED + before + LATE
    [file] = [finding for finding in wiredoctor.analyze(tmp_path / "trace.pcapng").findings if finding.rule == "no-response"]
    assert (file.severity, file.message, file.evidence) == (told.severity, told.message, told.evidence)
