"""Test captures that several threads wrote out of order: the findings are those of the sorted capture."""

from __future__ import annotations

import random
import subprocess
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

import wiredoctor
from tests.capture import files
from tests.ladders import ladders_in
from tests.pipeline.processes import is_same, report, reports
from tests.support.analysis import analyze_bytes
from tests.support.needs import needs
from tests.support.sweeps import FORMS, SLOW, sweep
from wiredoctor.findings import Finding, Report
from wiredoctor.testing.notation import ladder_packets
from wiredoctor.testing.wire import Packet, to_pcap

MS = 1_000_000
FOLDER = Path(__file__).parents[1]
FILES = ("streaming/unchunked_streaming", "stalls/retransmission_stall", "framing/excess_body", "lifetime/truncated_response")
LADDERS = {f"{file}: {title}": text for file in FILES for title, text in ladders_in(FOLDER / f"{file}.txt")}


def by_threads(packets: list[Packet], seed: int) -> list[Packet]:
    """Now and then a thread writes a packet up to 5 ms after it has stamped it."""
    draw = random.Random(seed)
    first, *rest = packets
    late = [(p.time + (draw.randrange(5 * MS) if draw.random() < 0.4 else 0), i, p) for i, p in enumerate(rest)]
    return [first, *(p for _, _, p in sorted(late, key=lambda one: one[:2]))]


def brief(whole: Report, frames: dict[int, int]) -> list[tuple[object, ...]]:
    """What is found, but for confidence and the clock; `frames`: the frame of each, in order of time."""
    return sorted(
        (f.rule, str(f.kind), f.severity, f.connection, str(f.exchange), f.delay, sorted(frames[e.frame] for e in f.evidence))
        for f in whole.findings
        if f.rule != "clock-step"
    )


@FORMS
@pytest.mark.parametrize("title", sweep(LADDERS, [*LADDERS][::28].__contains__))
def test_what_is_found_is_what_is_found_in_order(title: str, tmp_path: Path) -> None:
    """A step back of more than 1 ms shows that records are out of order; then everything is found."""
    packets = sorted((p for p in ladder_packets(LADDERS[title]) if not p.uncaptured), key=lambda p: p.time)
    in_order, out_of_order = tmp_path / "in_order.pcap", tmp_path / "out_of_order.pcap"
    expected = analyze_bytes(in_order, to_pcap(packets))
    written = by_threads(packets, [*LADDERS].index(title) % 2)
    found = analyze_bytes(out_of_order, to_pcap(written))
    notes = [(f.kind, f.severity) for f in found.findings if f.rule == "clock-step"]
    is_shown = any(before.time - after.time > MS for before, after in pairwise(written))
    assert notes == [("out-of-order", "note")] * is_shown
    if is_shown:
        places = {number: packets.index(packet) for number, packet in enumerate(written, start=1)}
        assert brief(found, places) == brief(expected, dict(enumerate(range(len(packets)), start=1)))


STREAM = r"""
  0.000  >  S    win 64240 mss 1460
  0.010  <  S.   win 64240 mss 1460
  0.010  >  .
  0.011  >  P.   "GET /page HTTP/1.1\r\nHost: a\r\n\r\n"
  0.022  <  P.   "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
  0.022  >  .
  0.024  <  P.   "<html><head></head>"
  0.026  >  .
  0.222  <  P.   "<body></body></html>"
  0.225  >  .
  0.227  <  F.
  0.227  >  F.
"""
AT_THE_SERVER = STREAM.replace("0.010  <  S.", "0.0004 <  S.")
"""Elsewhere, a stream without timestamps is less sure."""


def stream(order: list[int]) -> bytes:
    packets = ladder_packets(AT_THE_SERVER)
    return to_pcap([packets[number - 1] for number in order])


ORDERS = {
    "in order": [*range(1, 13)],
    "an ACK before its segment": [*range(1, 7), 8, 7, *range(9, 13)],
    "a segment behind its ACK, at the end": [*range(1, 9), 10, 9, 11, 12],
}


@pytest.mark.parametrize("epoch", sweep([1, 3, 128_000], {1}.__contains__))
@pytest.mark.parametrize("order", ORDERS)
def test_a_stream_is_found_all_the_same(order: str, epoch: int, tmp_path: Path) -> None:
    found = {f.rule: f for f in analyze_bytes(tmp_path / "shuffled.pcap", stream(ORDERS[order]), epoch_packets=epoch).findings}
    assert set(found) == {"unchunked-streaming"} | ({"clock-step"} if order != "in order" else set())
    assert found["unchunked-streaming"].confidence == ("high" if order == "in order" else "medium")


def test_findings_far_from_what_was_moved_stay_sure(tmp_path: Path) -> None:
    other = AT_THE_SERVER.replace("\n  0.", "\n  5.")
    packets = [*ladder_packets(AT_THE_SERVER), *ladder_packets(f"connection 2, client 10.0.0.7:4007, server 10.0.0.8:80{other}")]
    packets[6], packets[7] = packets[7], packets[6]
    streams = [f for f in analyze_bytes(tmp_path / "two.pcap", to_pcap(packets)).findings if f.rule == "unchunked-streaming"]
    assert sorted((f.connection or 0, f.confidence) for f in streams) == [(0, "medium"), (1, "high")]


@needs("reordercap")
@pytest.mark.parametrize("order", ORDERS)
def test_as_reordercap_puts_it(order: str, tmp_path: Path) -> None:
    path, mended = tmp_path / "shuffled.pcap", tmp_path / "mended.pcap"
    path.write_bytes(stream(ORDERS[order]))
    subprocess.run(["reordercap", str(path), str(mended)], check=True, capture_output=True)
    own, theirs = (_without_clock(wiredoctor.analyze(one)) for one in (path, mended))
    assert [(f.rule, f.kind, f.message) for f in own] == [(f.rule, f.kind, f.message) for f in theirs]


def _without_clock(whole: Report) -> list[Finding]:
    return [f for f in whole.findings if f.rule != "clock-step"]


def test_a_second_pass_sees_the_same(tmp_path: Path) -> None:
    """The ladder of a connection has its packets in order of time, with the frames of the file."""
    path = tmp_path / "shuffled.pcap"
    path.write_bytes(stream(ORDERS["an ACK before its segment"]))
    access = wiredoctor.analyze(path, keep=True).packets[str(path)]
    segments = access.tables(["segments"], [0])["segments"]
    assert segments["frame"].to_list() == [*range(1, 7), 8, 7, *range(9, 13)]
    assert segments["time"].is_sorted()
    by_frame = access.tables({"packets": ["connection", "frame", "time"]}, [], [7, 8])["packets"]
    assert sorted(by_frame["frame"]) == [7, 8]


@SLOW
def test_in_several_processes(tmp_path: Path) -> None:
    packets: list[Packet] = []
    for number in range(8):
        ladder = STREAM.replace("\n  0.", f"\n  {number}.")
        packets += ladder_packets(f"connection {number + 1}, client 10.0.0.7:40{number:02d}, server 10.0.0.8:80{ladder}")
    path = tmp_path / "many.pcap"
    path.write_bytes(to_pcap(by_threads(packets, 3)))
    answers = reports([path], [1, 2, 3], before="from wiredoctor import pipeline; pipeline.SHARED_FROM = 0")
    assert is_same(answers)
    found = sorted((f["rule"], str(f["kind"]), str(f["connection"])) for f in report(answers[0][0])["findings"])
    streams = [("unchunked-streaming", "None", str(number)) for number in range(8)]
    assert found == [("clock-step", "out-of-order", "None"), ("keep-alive-disabled", "cheap", "None"), *streams]


def blocks_of(interfaces: int, packets: list[tuple[Packet, int]], path: Path) -> None:
    """Write packets, each with the number of its interface, as dumpcap does: 150 ms of one interface, then of the next."""
    out = files.section("<") + b"".join(files.interface("<") for _ in range(interfaces))
    start = min(packet.time for packet, _ in packets)
    for packet, interface in sorted(packets, key=lambda one: ((one[0].time - start) // (150 * MS), one[1], one[0].time)):
        content = to_pcap([packet])[40:]
        out += files.enhanced("<", files.Packet((packet.time - start) // 1_000, content, len(content), interface))
    path.write_bytes(out)


def forwarded() -> list[tuple[Packet, int]]:
    """What a router captures on both of its sides."""
    packets = ladder_packets(STREAM)
    return [(p, 0) for p in packets] + [(replace(p, time=p.time + MS // 10), 1) for p in packets]


@pytest.mark.parametrize("epoch", sweep([1, 128_000], {1}.__contains__))
def test_interfaces_one_after_the_other(epoch: int, tmp_path: Path) -> None:
    """Each packet is there twice; the second copies are known, and nothing is taken for lost or sent again."""
    path = tmp_path / "router.pcapng"
    blocks_of(2, forwarded(), path)
    whole = wiredoctor.analyze(path, epoch_packets=epoch)
    found = {(f.rule, f.kind) for f in whole.findings}
    assert found == {("clock-step", "out-of-order"), ("duplicate-packets", None), ("unchunked-streaming", None)}
    assert whole.captures[0].duplicates == len(ladder_packets(STREAM))


def test_interfaces_whose_clocks_differ_are_left_as_they_are(tmp_path: Path) -> None:
    """A tap with an interface for each direction, in the order of arrival: one clock is 3 ms behind, and no packet is moved."""
    packets = ladder_packets(STREAM)
    path = tmp_path / "tap.pcapng"
    out = files.section("<") + files.interface("<") + files.interface("<")
    for p in packets:
        content, time = to_pcap([p])[40:], (p.time - packets[0].time) // 1_000 + 10_000 - 3_000 * p.side
        out += files.enhanced("<", files.Packet(time, content, len(content), p.side))
    whole = analyze_bytes(path, out, keep=True)
    assert "clock-step" not in {f.rule for f in whole.findings}
    assert whole.packets[str(path)].tables(["records"])["records"]["frame"].is_sorted()
