"""Test that the analysis of a growing capture does not depend on how it grows, and needs no bytes of removed files."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.ladders import ladder_packets, to_pcap
from tests.live.playing import block_ends, pcapng
from tests.pipeline import recording
from tests.support.recordings import find_recording
from wiredoctor import rule_engine
from wiredoctor.engine import open_exchanges
from wiredoctor.engine.growing import GrowingCapture
from wiredoctor.engine.live import LiveAnalysis
from wiredoctor.rule_engine import catalogue
from wiredoctor.storage.spill import Folder

MODULES = rule_engine.with_causes(catalogue(), catalogue())


@contextmanager
def growing(path: Path, parts: list[int]) -> Generator[tuple[GrowingCapture, LiveAnalysis]]:
    """Yield a file as a stream of parts that begin at these offsets, of which nothing is written yet, and its analysis."""
    with GrowingCapture(str(path)) as capture:
        data = path.read_bytes()
        for number, (begin, end) in enumerate(zip(parts, [*parts[1:], len(data)], strict=True)):
            part = path.with_suffix(f".{number}")
            part.write_bytes(data[begin:end])
            capture.add(os.open(part, os.O_RDONLY), begin)
        yield capture, LiveAnalysis(capture, MODULES, Folder(), rule_engine.cutoffs(MODULES))


def doubled(path: Path, to: Path) -> list[int]:
    """Write a capture in which every packet is there twice, the second in a VLAN; return where each ends."""
    packets = recording.read(path)
    again = [replace(p, time=p.time + 1000, data=p.data[:12] + b"\x81\0\0\5" + p.data[12:], length=p.length + 4) for p in packets]
    recording.write(to, sorted([*packets, *again], key=lambda packet: packet.time))
    return block_ends(to.read_bytes())


def test_second_copies_are_found_though_the_ring_removes_what_is_not_needed(tmp_path: Path) -> None:
    """Each packet is in a file of its own, which is removed as soon as it can be."""
    ends = doubled(find_recording("server-head-body-split.pcap"), tmp_path / "trace.pcapng")
    with growing(tmp_path / "trace.pcapng", [0, *ends[:-1]]) as (capture, analysis):
        for end in ends:
            capture.extend(end)
            analysis.step(1)
            capture.close_before(end, analysis.needed_from())
        assert analysis.core.duplicates == len(ends) // 2
        assert analysis.needed_from() > ends[len(ends) // 2]  # so that something was removed


@pytest.mark.parametrize("name", ["server-head-body-split", "wrk-rtt-20", "refused-and-closed-rtt-120-client"])
def test_open_connections_are_counted(name: str, tmp_path: Path) -> None:
    stops = pcapng(find_recording(f"{name}.pcap"), tmp_path / "trace.pcapng")
    with growing(tmp_path / "trace.pcapng", [0]) as (capture, analysis):
        check_count(capture, analysis, [stop.end for stop in stops])


REFUSED = """
0.000 > S  0:0 mss 1460
0.010 < R. 0:0 ack 1
1.000 > S  0:0 mss 1460
1.010 < S. 0:0 ack 1 mss 1460
1.020 > .  ack 1
"""


def test_a_refused_connection_is_open_once_it_is_answered(tmp_path: Path) -> None:
    (tmp_path / "trace.pcap").write_bytes(to_pcap(ladder_packets(REFUSED)))
    stops = pcapng(tmp_path / "trace.pcap", tmp_path / "trace.pcapng")
    with growing(tmp_path / "trace.pcapng", [0]) as (capture, analysis):
        assert check_count(capture, analysis, [stop.end for stop in stops]) == [1, 0, 0, 1, 1]


def check_count(capture: GrowingCapture, analysis: LiveAnalysis, ends: list[int]) -> list[int]:
    """Compare the number of open connections, and those that are found without a scan, with all of them, packet by packet."""
    found: list[int] = []
    for end in ends:
        capture.extend(end)
        analysis.step(1)
        found.append(analysis.open_connections)
        every = analysis.core.flows.open_connections()
        assert found[-1] == sum(not one.closed for one in every)
        for clock in (0, analysis.clock // 2, analysis.clock):
            assert analysis.active.since(clock) == [one for one in every if one.last_clock >= clock]
        assert [one.last_clock for one in analysis.active.newest()] == sorted((one.last_clock for one in every), reverse=True)
        assert analysis.active.busy() == [one for one in every if open_exchanges.is_busy(one)]
        assert analysis.active.of_ids({0, len(every), 1 << 40}) == [one for one in every if one.id in (0, len(every))]
    return found


def test_time_that_passes_decides_what_waits_for_it(tmp_path: Path) -> None:
    """The server closed without a response: a second later the exchange is over, though no packet comes."""
    text = (
        REFUSED.partition("1.000")[0].replace("R.", "S.")
        + """
0.011 > .  ack 1
0.012 > P. "GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"
0.032 < F. 1:1 ack 28
"""
    )
    (tmp_path / "trace.pcap").write_bytes(to_pcap(ladder_packets(text)))
    stops = pcapng(tmp_path / "trace.pcap", tmp_path / "trace.pcapng")
    with growing(tmp_path / "trace.pcapng", [0]) as (capture, analysis):
        capture.extend(stops[-1].end)
        assert "no-response" not in analysis.step(100)
        deadline = analysis.deadline
        assert deadline == 1_032_000_001
        assert "no-response" not in analysis.pass_time(deadline - 1)
        assert "no-response" in analysis.pass_time(deadline)
        assert analysis.deadline is None


def test_data_that_nothing_acknowledges_is_told_though_no_packet_comes(tmp_path: Path) -> None:
    """Three seconds after its fourth copy."""
    request = '"GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"'
    copies = "".join(f"{time} > P. 1:28 {request}\n" for time in (0.011, 0.221, 0.641, 1.481))
    text = f"0.000 > S win 64240 mss 1460\n0.010 < S. win 64240 mss 1460\n0.010 > .\n{copies}"
    (tmp_path / "trace.pcap").write_bytes(to_pcap(ladder_packets(text)))
    stops = pcapng(tmp_path / "trace.pcap", tmp_path / "trace.pcapng")
    with growing(tmp_path / "trace.pcapng", [0]) as (capture, analysis):
        capture.extend(stops[-1].end)
        assert "unanswered" not in analysis.step(100)
        deadline = analysis.deadline
        assert deadline == 4_481_000_000
        assert "unanswered" not in analysis.pass_time(deadline - 1)
        assert "unanswered" in analysis.pass_time(deadline)
        assert analysis.deadline is None


def test_a_segment_that_waited_for_an_ack_is_told_though_no_other_follows(tmp_path: Path) -> None:
    """Others, within two seconds, would show whether the program writes at regular times."""
    text = r"""
0.000 > S  win 64240 mss 1460
0.010 < S. win 64240 mss 1460
0.010 > .
0.011 > P. "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n"
0.061 < .
0.061 > P. x*50
"""
    (tmp_path / "trace.pcap").write_bytes(to_pcap(ladder_packets(text)))
    stops = pcapng(tmp_path / "trace.pcap", tmp_path / "trace.pcapng")
    with growing(tmp_path / "trace.pcapng", [0]) as (capture, analysis):
        capture.extend(stops[-1].end)
        assert "nagle-delayed-ack" not in analysis.step(100)
        deadline = analysis.deadline
        assert deadline == 2_061_000_000
        assert "nagle-delayed-ack" not in analysis.pass_time(deadline - 1)
        assert "nagle-delayed-ack" in analysis.pass_time(deadline)
        assert analysis.deadline is None


def test_a_block_that_is_not_complete_is_damage(tmp_path: Path) -> None:
    """What is written ends with a block: one that is longer was overwritten by somebody."""
    stops = pcapng(find_recording("server-head-body-split.pcap"), tmp_path / "trace.pcapng")
    with growing(tmp_path / "trace.pcapng", [0]) as (capture, analysis):
        capture.extend(stops[10].end - 4)
        analysis.step(10)
        assert (capture.records.frame, capture.records.damage) == (10, None)
        analysis.step(10)
        assert (capture.records.frame, capture.unread_bytes) == (10, 0)
        assert (capture.records.damage or "").startswith("packet 11: ")
