"""Test that packets which the ring overwrote before they were analyzed are a span of dropped packets."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest

import wiredoctor
from tests.ladders import ladder_packets, to_pcap
from tests.live.capturing import capturing
from tests.live.playing import Played, Stop, play
from tests.live.test_played import assert_true_to
from tests.pipeline import recording
from tests.support.needs import needs
from wiredoctor.findings import Report
from wiredoctor.live import Order, Ring, watch
from wiredoctor.settings import Settings

OTHER = """
connection 9, server 10.0.0.9:80
  1.000 > S mss 1460
  1.010 < S. mss 1460
  1.020 > .
  1.110 > F.
"""
"""A connection whose first three packets are between those of another one, and are overwritten."""

SLOW_RESPONSE = r"""
connection 1
  0.000 > S mss 1460
  0.010 < S. mss 1460
  0.020 > .
  0.021 > P. "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n"
  3.000 < P. "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
  3.010 > .
"""

SLOW_LATER = SLOW_RESPONSE.replace("0.021", "1.121").replace("3.0", "4.0")
"""The request comes after the packets that are overwritten."""

NO_RESPONSE = r"""
connection 1
  0.000 > S mss 1460
  0.010 < S. mss 1460
  0.020 > .
  0.021 > P. "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n"
  3.032 < F.
  3.042 > F.
"""

NO_LENGTH = r"""
connection 1
  0.000 > S mss 1460
  0.010 < S. mss 1460
  0.020 > .
  0.021 > P. "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n"
  0.050 < P. "HTTP/1.1 200 OK\r\n\r\nhello"
  0.060 > .
  3.032 < F.
  3.042 > F.
"""

EXCHANGES = r"""
connection 1
  0.000 > S mss 1460
  0.010 < S. mss 1460
  0.020 > .
  0.021 > P. "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n"
  1.000 < P. "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
  1.010 > .
  1.020 > P. "GET /2 HTTP/1.1\r\nHost: a\r\n\r\n"
  3.000 < P. "HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nno\n"
  3.010 > .
  3.100 > P. "GET /3 HTTP/1.1\r\nHost: a\r\n\r\n"
  3.200 < P. "HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok"
  3.210 > .
"""

GATEWAY = r"""
connection 1
  0.0000 > S mss 1460
  0.0004 < S. mss 1460
  0.0004 > .
  0.0010 > P. "GET /1/a/order HTTP/1.1\r\nHost: a\r\n\r\n"
  0.0170 < P. "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
  0.0175 > .
  0.1010 > P. "GET /2/a/order HTTP/1.1\r\nHost: a\r\n\r\n"
  3.0170 < P. "HTTP/1.1 502 Bad Gateway\r\nServer: nginx/1.22.1\r\nContent-Length: 3\r\n\r\nbad"
  3.0175 > F.
  3.0180 < F.
connection 2, client 10.0.0.2:50002, server 10.0.0.3:8001
  0.0020 > S mss 1460
  0.0024 < S. mss 1460
  0.0024 > .
  0.0026 > P. "GET /1/a/order HTTP/1.1\r\nHost: a\r\n\r\n"
  0.0160 < P. "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
  0.0163 > .
  1.5026 > P. "GET /2/a/order HTTP/1.1\r\nHost: a\r\n\r\n"
  3.0160 < F.
  3.0162 > F.
"""


def overwritten(text: str, folder: Path) -> tuple[Report, Played]:
    """Return the report on the complete capture, and a live capture without its packets between 1 s and 1.1 s.

    Each part is a file: the second one is overwritten after the first one was analyzed.
    """
    (folder / "ladder.pcap").write_bytes(to_pcap(ladder_packets(text)))
    packets = recording.read(folder / "ladder.pcap")
    recording.write(folder / "whole.pcapng", packets)
    since = packets[0].time
    cuts = [sum(one.time < since + at for one in packets) for at in (1_000_000_000, 1_100_000_000)]
    files: list[tuple[Path, int]] = []
    stops: list[Stop] = []
    end = 0
    for number, (first, last) in enumerate(zip([0, *cuts], [*cuts, len(packets)], strict=True)):
        path = folder / f"{number}.pcapng"
        recording.write(path, packets[first:last])
        files.append((path, end))
        end += path.stat().st_size
        stops.append(Stop(end, packets[last - 1].time))
    # a ring of one byte: all files that end before the last one are gone
    removed = {"removed": [stops[1].end + 1], "removed_after": stops[0].end}
    return wiredoctor.analyze(folder / "whole.pcapng"), play(files, [stops[0], stops[2]], ring=Ring(1, 1), **removed)


def about(report: Report, rule: str) -> list[tuple[str | None, str]]:
    """Return the kind and the confidence of each finding of a rule."""
    return [(one.kind, one.confidence) for one in report.findings if one.rule == rule]


@pytest.mark.parametrize(
    ("text", "rule", "confidence"),
    [
        pytest.param(SLOW_RESPONSE, "slow-response", "medium", id="a late response after it"),
        pytest.param(SLOW_LATER, "slow-response", "high", id="a late response, both after it"),
        pytest.param(NO_RESPONSE, "no-response", "medium", id="no response across it"),
        # it does not rely on the absence of packets
        pytest.param(NO_LENGTH, "missing-framing", "medium", id="a close after it"),
    ],
)
def test_only_findings_across_overwritten_packets_have_medium_confidence(
    text: str, rule: str, confidence: str, tmp_path: Path
) -> None:
    whole, played = overwritten(text + OTHER, tmp_path)
    assert_true_to(played)
    assert [one for _, one in about(whole, rule)] == ["high"]
    assert [one for _, one in about(played.report, rule)] == [confidence]


def test_they_are_dropped_packets_with_their_times_and_bytes(tmp_path: Path) -> None:
    _, played = overwritten(SLOW_RESPONSE + OTHER, tmp_path)
    [capture] = played.report.captures
    assert (capture.packets, capture.dropped, capture.dropped_of) == (7, 3, 10)
    [row] = played.report.scan_captures().collect().to_dicts()
    size = (tmp_path / "1.pcapng").stat().st_size
    assert [row[name] for name in ("dropped", "overwritten", "overwritten_bytes")] == [3, 3, size]
    # the request is the last packet before them
    assert (row["dropped_start"], row["overwritten_start"]) == (21_000_000, 21_000_000)
    assert (row["dropped_end"], row["overwritten_end"]) == (1_110_000_000, 1_110_000_000)
    [loss] = [one for one in played.report.findings if one.rule == "capture-loss"]
    assert (loss.kind, loss.confidence) == ("overwritten", "high")
    assert f"overwrote 3 packets ({size} bytes) before they could be analyzed, between 21 ms and 1.11 s after" in loss.message
    assert loss.measures["overwritten"] == 3


NO_ANSWER = (
    SLOW_RESPONSE.split("  3.000", maxsplit=1)[0]
    + r"""
connection 2, server 10.0.0.8:80
  1.500 > S mss 1460
  1.510 < S. mss 1460
  1.520 > .
  1.521 > P. "GET /2 HTTP/1.1\r\nHost: a\r\n\r\n"
"""
)


def test_a_response_that_may_have_been_overwritten_is_not_called_absent(tmp_path: Path) -> None:
    """The request after them has no response, either."""
    whole, played = overwritten(NO_ANSWER + OTHER, tmp_path)
    reasons = [{one.request: one.reason for one in report.not_judged} for report in (whole, played.report)]
    assert reasons == [{"GET /1": "no-answer", "GET /2": "no-answer"}, {"GET /1": "gap", "GET /2": "no-answer"}]


def test_streams_are_not_joined_across_them(tmp_path: Path) -> None:
    """The response after them is that of a request that was overwritten, not that of the last request before them."""
    whole, played = overwritten(EXCHANGES, tmp_path)
    columns = ("request_target", "response_status")
    exchanges = [report.scan_exchanges().select(columns).collect().rows() for report in (whole, played.report)]
    assert exchanges[0] == [("/1", 200), ("/2", 404), ("/3", 201)]
    assert [(target or None, status) for target, status in exchanges[1]] == [("/1", None), (None, 404), ("/3", 201)]


def test_a_gateways_pair_across_them_is_not_certain(tmp_path: Path) -> None:
    whole, played = overwritten(GATEWAY + OTHER, tmp_path)
    assert_true_to(played)
    certain = []
    for report in (whole, played.report):
        [known] = report.gateways.values()
        certain.append(known.tries["certain"].to_list())
    assert certain == [[True, True], [True, False]]
    [doubt] = known.doubtful
    assert doubt == (((0, 1),), ((1, 1),))
    assert (about(whole, "gateway-error"), about(played.report, "gateway-error")) == (
        [("closed", "high")],
        [("closed", "medium")],
    )


@capturing()
@needs("libpcap")
def test_a_real_ring_that_runs_over_loses_nothing_uncounted() -> None:
    """While the analysis does not read, some 4 MB are written into a ring of 256 kB."""
    with (
        watch(Order(("lo",), "", filter="udp port 9", ring=Ring(4, 64_000), backend="raw"), "live: lo", Settings()) as session,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        while not session.status().backend:
            session.look(1.0)
        for packets in (100, 4000):
            for number in range(packets):
                sender.sendto(number.to_bytes(4, "big") + bytes(1000), ("127.0.0.1", 9))
            if packets == 100:
                while session.status().analysed < packets:
                    session.look(1.0)
        for _ in range(500):
            if session.status().captured >= 4100:
                break
            time.sleep(0.01)
        status = session.look(0.0).status
        session.stop()
        while not session.over:
            status = session.look(1.0).status
        report = session.report()
    [row] = report.scan_captures().collect().to_dicts()
    assert row["overwritten"] > 1000
    assert row["packets"] + row["overwritten"] == status.captured
    assert status.overwritten == row["overwritten"]
    assert row["packets"] > 100
    assert ("overwritten", "high") in about(report, "capture-loss")
