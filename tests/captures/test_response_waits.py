"""Test how long clients waited for responses that never came or broke off; times are those of tshark's frame.time_relative."""

from __future__ import annotations

import polars as pl
import pytest

import wiredoctor
from tests.support.recordings import find_recording
from wiredoctor.report.exchange_times import capture_ends, is_still_waiting, response_wait


@pytest.mark.parametrize(
    ("name", "waits"),
    [
        ("no-response.pcap", {(0, 0): (0.050875 - 0.000374, False), (1, 0): (0.173738 - 0.123080, False)}),  # FIN, RST
        ("truncated.pcap", {(0, 0): (0.111899 - 0.000095, False), (1, 0): (0.304283 - 0.203747, False)}),
        ("gone-client.pcap", {(0, 1): (8.734321 - 1.287621, True)}),  # the end of the capture
        ("path-dies-client.pcap", {(0, 0): (8.008802 - 0.023802, False)}),  # the first FIN of the client
        ("one-sided-requests.pcap", {}),
        ("server-head-body-split.pcap", {}),
        ("black-hole-seen-behind.pcap", {}),  # packets are missing
        ("events-left.pcap", {}),
        ("node-websocket.pcapng", {}),
        ("node-close-delimited.pcap", {}),
        ("squid-connect-rtt-20-client.pcap", {}),
    ],
)
def test_waits(name: str, waits: dict[tuple[int, int], tuple[float, bool]]) -> None:
    report = wiredoctor.analyze(find_recording(name))
    ends = capture_ends(report)
    rows = report.scan_exchanges().select("connection", "exchange", wait=response_wait(ends), still=is_still_waiting(ends))
    found = {row[:2]: row[2:] for row in rows.filter(pl.col("wait").is_not_null()).collect().iter_rows()}
    assert found.keys() == waits.keys()
    for place, (seconds, still) in waits.items():
        assert found[place] == (pytest.approx(seconds * 1e9, abs=1), still)
