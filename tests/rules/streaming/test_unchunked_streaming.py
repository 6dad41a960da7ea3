"""unchunked-streaming on exchanges made by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.rules.frames import MS, answered, found, rows
from tests.support.analysis import analyze_bytes
from wiredoctor.testing.notation import ladder_packets
from wiredoctor.testing.wire import to_pcap

STREAM = {
    "response_framing": "close-delimited",
    "response_bursts": 3,
    "response_application_pauses": 2,
    "response_pause_total": 110 * MS,
    "response_pause_frames": [6, 8, 9, 11],
    "response_pause_times": [100 * MS, 160 * MS, 200 * MS, 250 * MS],
    "response_pause_by_clock": [59 * MS, 50 * MS],
}


def streams(**changes: Any) -> list[dict[str, Any]]:
    return found("unchunked-streaming", rows("exchanges", answered(**STREAM | changes)))


def test_a_row_per_pause_and_one_candidate() -> None:
    first, second = streams()
    assert (first["start"], first["end"]) == (100 * MS, 160 * MS)
    assert (second["start"], second["end"]) == (200 * MS, 250 * MS)
    assert first["frame"] == second["frame"] == 5
    assert [e["frame"] for e in first["evidence"]] == [5, 6, 8]
    assert [e["frame"] for e in second["evidence"]] == [5, 9, 11]
    assert (first["side"], first["confidence"], first["delay"]) == ("server", "high", None)


def test_it_says_whether_the_response_says_close() -> None:
    assert streams()[0]["says_close"] == "The response does not even say Connection: close."
    assert streams(response_connection_close=True)[0]["says_close"] == "The response says Connection: close."


def test_a_response_of_http10_need_not_say_close() -> None:
    [old, _] = streams(response_version="HTTP/1.0")
    assert old["says_close"].startswith("The server answers with HTTP/1.0")
    assert streams(response_version="HTTP/1.0", response_connection_close=True)[0]["says_close"].startswith("The response says")


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"response_framing": "chunked"}, id="chunked"),
        pytest.param({"response_framing": "content-length"}, id="length is known"),
        pytest.param({"request_version": "HTTP/1.0"}, id="the client knows no chunks"),
        pytest.param({"response_bursts": 1}, id="one burst"),
        pytest.param(
            {
                "response_application_pauses": 0,
                "response_pause_frames": [],
                "response_pause_times": [],
                "response_pause_by_clock": [],
            },
            id="reader's pauses",
        ),
        pytest.param({"upgraded": True}, id="upgraded"),
        pytest.param({"has_request": False}, id="request not captured"),
    ],
)
def test_silent(changes: dict[str, Any]) -> None:
    assert streams(**changes) == []


@pytest.mark.parametrize(("pause", "speaks"), [(50 * MS, True), (50 * MS - 1, False)])
def test_edges_of_a_pause(pause: int, speaks: bool) -> None:
    times = [100 * MS, 100 * MS + pause]
    one = {"response_pause_frames": [6, 8], "response_pause_times": times, "response_pause_by_clock": [pause]}
    assert bool(streams(**one)) is speaks


def test_confidence() -> None:
    assert {c["confidence"] for c in streams(handshake=False)} == {"medium"}
    assert {c["confidence"] for c in streams(response_has_gap=True)} == {"low"}


@pytest.mark.parametrize(
    ("by_clock", "rtt_server", "confidence", "said"),
    [
        pytest.param(59 * MS, 10 * MS, "high", " (59 ms by the server's timestamps)", id="its clock shows the pause"),
        pytest.param(None, 10 * MS, "medium", "; no timestamps show when it was sent", id="the path may have made it"),
        pytest.param(None, 1 * MS, "medium", "; no timestamps show when it was sent", id="no longer near"),
        pytest.param(None, 1 * MS - 1, "high", "", id="captured at the server"),
        pytest.param(59 * MS, 0, "high", "", id="captured at the server, and no witness is needed"),
    ],
)
def test_who_shows_that_the_server_made_the_pause(by_clock: int | None, rtt_server: int, confidence: str, said: str) -> None:
    first = streams(response_pause_by_clock=[by_clock, by_clock], rtt_server=rtt_server)[0]
    assert (first["confidence"], first["evidence"][-1]["note"]) == (confidence, "the next burst, 60 ms later" + said)


SLOW_CLOCK = r"""
  connection 1, tick 0.001 0.100
  0.000  >  S    mss 1460 ts
  0.030  <  S.   mss 1460 ts left 0.0
  0.030  >  .    ts
  0.031  >  P.   "GET /a HTTP/1.1\r\nHost: a\r\n\r\n" ts
  1.005  <  P.   "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nhello" ts
  1.005  >  .    ts
  1.069  <  P.   x*300 ts left 1.006
  1.069  >  .    ts
  1.071  <  P.   x*300 ts
  1.071  >  .    ts
  3.511  <  F. ts
  3.511  >  F. ts
  3.541  <  . ts
"""


def test_a_clock_whose_ticks_are_longer_than_the_pause_is_no_witness(tmp_path: Path) -> None:
    """The path delays the second segment by 63 ms, which the server's clock, with a tick of 100 ms, cannot show."""
    [one] = analyze_bytes(tmp_path / "slow_clock.pcap", to_pcap(ladder_packets(SLOW_CLOCK))).findings
    assert (one.rule, one.confidence) == ("unchunked-streaming", "medium")
    assert one.evidence[-1].note.endswith("no timestamps show when it was sent")
