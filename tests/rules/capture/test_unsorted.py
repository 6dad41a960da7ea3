"""Captures that are far from time order: what is found is what is found after they are sorted, as with reordercap(1)."""

from __future__ import annotations

import random
import subprocess
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

import wiredoctor
from tests.capture import files
from tests.ladders import STALL, ladder_packets, ladders_in, set_back, to_pcap
from tests.rules.capture.test_out_of_order import FILES, FOLDER
from tests.support.analysis import analyze_bytes
from tests.support.needs import needs
from tests.support.sweeps import FORMS, sweep
from wiredoctor import limits
from wiredoctor.findings import Report
from wiredoctor.report.terminal.capture_sentences import opening
from wiredoctor.testing.wire import Packet

MS = 1_000_000
SECOND = 1_000 * MS
HOUR = 3_600 * SECOND

LADDERS = {f"{file}: {title}": text for file in FILES for title, text in ladders_in(FOLDER / f"{file}.txt")}

CUT_SHORT = r"""
connection 2, client 10.0.0.9:4000, server 10.0.0.8:80
  0.000  >  S    win 64240 mss 1460
  0.010  <  S.   win 64240 mss 1460
  0.010  >  .
  0.011  >  P.   "GET /x HTTP/1.1\r\nHost: b\r\n\r\n"
  0.022  <  P.   "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello"
  0.023  >  .
  0.030  <  F.
  0.031  >  F.
  0.041  <  .
"""


def moved(packets: list[Packet], by: int) -> list[Packet]:
    return [replace(packet, time=packet.time + by) for packet in packets]


def in_order(packets: list[Packet]) -> list[Packet]:
    return sorted(packets, key=lambda packet: packet.time)


def at_different_times(packets: list[Packet]) -> list[Packet]:
    return [replace(packet, time=packet.time + 1_000 * number) for number, packet in enumerate(packets)]


def analyzed(path: Path, packets: list[Packet]) -> Report:
    return analyze_bytes(path, to_pcap(packets))


def to_pcapng(packets: list[tuple[Packet, int]], interfaces: int = 2) -> bytes:
    """Packets, each with the number of its interface, in this order; times in microseconds."""
    out = files.section("<") + b"".join(files.interface("<") for _ in range(interfaces))
    for packet, interface in packets:
        content = to_pcap([packet])[40:]
        out += files.enhanced("<", files.Packet(packet.time // 1_000, content, len(content), interface))
    return out


def brief(report: Report) -> list[tuple[object, ...]]:
    """What is found, but for confidence, clock-step and the numbers of connections, which are those of the file."""
    return [
        (f.rule, f.kind, f.severity, f.client, f.exchange, f.delay, f.message, f.first_seen, [e[:2] for e in f.evidence])
        for f in report.findings
        if f.rule != "clock-step"
    ]


def notes(report: Report) -> list[tuple[str | None, str]]:
    return [(f.kind, f.severity) for f in report.findings if f.rule == "clock-step"]


UNSORTED = [("unsorted", "note")]


@FORMS
@pytest.mark.parametrize("title", sweep(LADDERS, [*LADDERS][::14].__contains__))
def test_any_order_gives_what_the_right_order_gives(title: str, tmp_path: Path) -> None:
    packets = in_order([p for p in ladder_packets(LADDERS[title]) if not p.uncaptured])
    packets = at_different_times(packets)
    expected = analyzed(tmp_path / "trace.pcap", packets)
    shuffled = random.Random([*LADDERS].index(title) % 3).sample(packets, len(packets))
    found = analyzed(tmp_path / "trace.pcap", shuffled)
    if any(a.time - b.time > 50 * MS for a, b in pairwise(shuffled)):
        said = {*notes(found)}
        assert said & {(None, "warning"), *UNSORTED}, "the report says that the file is not in time order"
        assert said <= {(None, "warning"), *UNSORTED, ("out-of-order", "note")}
    if notes(found) == UNSORTED:
        assert brief(found) == brief(expected)


@pytest.mark.parametrize("by", [SECOND, HOUR])
def test_an_interface_that_is_written_late(by: int, tmp_path: Path) -> None:
    """Two interfaces of a router, each with connections of its own, take turns in the file, but one is late."""
    on_time = [p for n in range(8) for p in moved(ladder_packets(f"connection 1, client 10.0.0.7:{4000 + n}{STALL}"), n * SECOND)]
    late = [p for n in range(8) for p in moved(ladder_packets(CUT_SHORT.replace("4000", f"{4000 + n}")), n * SECOND + 5 * MS)]
    both = [(p, 0) for p in on_time] + [(p, 1) for p in late]
    path = tmp_path / "router.pcapng"
    expected = analyze_bytes(path, to_pcapng(sorted(both, key=lambda one: one[0].time)))
    found = analyze_bytes(path, to_pcapng(sorted(both, key=lambda one: one[0].time + one[1] * by)))
    assert notes(found) == UNSORTED
    assert brief(found) == brief(expected)
    assert {f.rule for f in expected.findings} >= {"nagle-delayed-ack", "truncated-response"}


@pytest.mark.parametrize("behind", [30 * 60 * SECOND, 2 * 24 * HOUR], ids=["half an hour", "two days"])
def test_an_older_capture_that_is_appended(behind: int, tmp_path: Path) -> None:
    """The findings are those of both captures, and no time is negative."""
    newer = ladder_packets(STALL)
    older = moved(ladder_packets(CUT_SHORT), -behind)
    found = analyzed(tmp_path / "both.pcap", newer + older)
    alone = [f for part in (older, newer) for f in analyzed(tmp_path / "one.pcap", part).findings]
    assert notes(found) == UNSORTED
    assert sorted((f.rule, f.kind, f.message) for f in found.findings if f.rule != "clock-step") == sorted(
        (f.rule, f.kind, f.message) for f in alone
    )
    assert all(step.elapsed >= 0 for f in found.findings for step in f.evidence)
    assert brief(found) == brief(analyzed(tmp_path / "sorted.pcap", older + newer))


def test_the_halves_of_a_capture_in_the_wrong_order(tmp_path: Path) -> None:
    """A connection that straddles the files is one connection; its numbers show that no clock was set back."""
    packets = at_different_times(ladder_packets(STALL))
    expected = analyzed(tmp_path / "sorted.pcap", packets)
    assert [f.rule for f in expected.findings] == ["nagle-delayed-ack"]
    for half in range(2, len(packets) - 1):
        wrong = analyzed(tmp_path / "wrong.pcap", packets[half:] + packets[:half])
        assert wrong.connection_count == 1
        assert brief(wrong) == brief(expected)


@pytest.mark.parametrize("back", [SECOND, HOUR, 48 * HOUR])
def test_a_clock_that_is_set_back_during_a_connection(back: int, tmp_path: Path) -> None:
    """Its numbers go on where they were, so the order of the file is right; nothing is said of times across that place."""
    found = analyzed(tmp_path / "stepped.pcap", set_back(ladder_packets(STALL), 5, back))
    assert [(f.rule, f.kind) for f in found.findings] == [("clock-step", None)]
    assert found.captures[0].clock_steps == 1
    assert found.exchanges["request_frame"].to_list() == [4]
    assert all(step.elapsed >= 0 for f in found.findings for step in f.evidence)
    assert (found.connections["start"] >= 0).all()


def test_interfaces_whose_clocks_differ_by_seconds_are_left_as_they_are(tmp_path: Path) -> None:
    """Two hosts that were captured together: each direction on one of them, in the order of arrival."""
    packets = ladder_packets(STALL)
    path = tmp_path / "hosts.pcapng"
    stepped = [(replace(p, time=p.time + 60 * SECOND - 10 * SECOND * p.side), p.side) for p in packets]
    whole = analyze_bytes(path, to_pcapng(stepped), keep=True)
    assert notes(whole) == []
    assert whole.packets[str(path)].tables(["records"])["records"]["frame"].is_sorted()
    assert whole.exchange_count == 1


def test_what_is_not_in_order_is_said_first(tmp_path: Path) -> None:
    newer, older = ladder_packets(STALL), moved(ladder_packets(CUT_SHORT), -HOUR)
    sentences = opening(analyzed(tmp_path / "both.pcap", newer + older))
    assert [("sorted" in line, "reordercap" in line) for line in sentences] == [(True, True)]
    sentences = opening(analyzed(tmp_path / "stepped.pcap", set_back(newer, 5, HOUR)))
    assert [("go backward once" in line, "reordercap" in line) for line in sentences] == [(True, True)]
    assert opening(analyzed(tmp_path / "right.pcap", older + newer)) == []


def test_packets_are_not_sorted_across_a_clock_that_was_set_back(tmp_path: Path) -> None:
    """So frames do not have the numbers of reordercap, which sorts the whole file; no sentence may say that they do."""
    stepped = set_back(ladder_packets(f"connection 3, client 10.0.0.7:4000{STALL}"), 5, HOUR)
    appended = [*moved(ladder_packets(STALL), -HOUR + 60 * SECOND), *moved(ladder_packets(CUT_SHORT), -9 * HOUR)]
    both = analyzed(tmp_path / "both.pcap", stepped + appended)
    assert sorted(notes(both), key=str) == [("unsorted", "note"), (None, "warning")]
    texts = [*opening(both), *(f.message for f in both.findings if f.kind == "unsorted")]
    assert [("not that of reordercap" in text, "sorted" in text) for text in texts] == [(True, True)] * 2
    alone = analyzed(tmp_path / "appended.pcap", appended)
    assert not any("not that of reordercap" in text for text in [*opening(alone), *(f.message for f in alone.findings)])


def test_a_capture_of_too_many_parts_stays_in_its_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits.SORTED_LANES, "value", 2)
    parts = [moved(ladder_packets(f"connection 1, client 10.0.0.7:{4000 + n}{STALL}"), -n * HOUR) for n in range(3)]
    found = analyzed(tmp_path / "parts.pcap", [p for part in parts for p in part])
    assert [f.kind for f in found.findings if f.rule == "clock-step"] == [None]
    assert any("reordercap" in line for line in found.limits)
    assert (found.connections["start"] >= 0).all()


def test_a_second_pass_and_a_copy_have_the_same_frames(tmp_path: Path) -> None:
    newer, older = ladder_packets(STALL), moved(ladder_packets(CUT_SHORT), -HOUR)
    path = tmp_path / "both.pcapng"
    whole = analyze_bytes(path, to_pcapng([(p, 0) for p in newer + older], 1), keep=True)
    access = whole.packets[str(path)]
    records = access.tables(["records"])["records"]
    assert records["frame"].to_list() == [*range(1, len(newer + older) + 1)]
    assert records["time"].is_sorted()
    copy = tmp_path / "copy.pcapng"
    with copy.open("wb") as out:
        access.copy(out, len(newer + older), "", [])
    copied = wiredoctor.analyze(copy)
    assert notes(copied) == []
    assert brief(copied) == brief(whole)


def test_files_of_one_capture_of_which_one_is_not_in_order(tmp_path: Path) -> None:
    newer, older = ladder_packets(STALL), moved(ladder_packets(CUT_SHORT), -HOUR)
    between = moved(ladder_packets(CUT_SHORT.replace("4000", "4001")), -HOUR // 2)
    for name, packets in (("a", newer + older), ("b", between), ("c", in_order(older + newer))):
        (tmp_path / f"{name}.pcap").write_bytes(to_pcap(packets))
    found = wiredoctor.analyze(tmp_path / "a.pcap", tmp_path / "b.pcap", merge=True)
    expected = wiredoctor.analyze(tmp_path / "c.pcap", tmp_path / "b.pcap", merge=True)
    assert notes(found) == UNSORTED
    assert found.captures[0].sorted
    assert brief(found) == brief(expected)


def test_a_damaged_timestamp_moves_nothing(tmp_path: Path) -> None:
    """One packet of 1970 among those of today is a fault of the file."""
    packets = moved(ladder_packets(STALL), 56 * 365 * 24 * HOUR)
    packets[5] = replace(packets[5], time=0)
    found = analyzed(tmp_path / "damaged.pcap", packets)
    assert not found.captures[0].sorted
    assert (found.connections["start"] >= 0).all()


@needs("reordercap")
@pytest.mark.parametrize("seed", range(4))
def test_as_reordercap_sorts_it(seed: int, tmp_path: Path) -> None:
    """Packets with equal times, too, keep the order that they have in the file."""
    draw = random.Random(seed)
    packets = [
        p for n in range(6) for p in moved(ladder_packets(f"connection 1, client 10.0.0.7:{4000 + n}{STALL}"), n * 300 * MS)
    ]
    packets = [replace(p, time=p.time // (20 * MS) * 20 * MS) for p in packets]
    draw.shuffle(packets)
    path, mended = tmp_path / "shuffled.pcap", tmp_path / "mended.pcap"
    path.write_bytes(to_pcap(packets))
    subprocess.run(["reordercap", str(path), str(mended)], check=True, capture_output=True)
    ours, theirs = (
        wiredoctor.analyze(one, keep=True).packets[str(one)].tables(["segments"])["segments"].drop("place", strict=False)
        for one in (path, mended)
    )
    assert ours["connection"].n_unique() == theirs["connection"].n_unique()
    ours, theirs = (rows.drop("connection", "message", "previous_data_message") for rows in (ours, theirs))
    assert ours.equals(theirs)


@pytest.mark.parametrize("jobs", [1, 3])
@pytest.mark.parametrize("seed", range(3))
def test_connections_have_the_numbers_of_the_file(seed: int, jobs: int, tmp_path: Path) -> None:
    """Wireshark numbers them by their first packets in the file; one that uses ports again has a number of its own."""
    draw = random.Random(seed)
    parts = [moved(ladder_packets(f"connection 1, client 10.0.0.7:{4000 + n}{STALL}"), -n * HOUR) for n in range(9)]
    later = moved(parts[4], 20 * HOUR)  # the same ports
    parts.append([replace(p, seq=p.seq + 5_000_000) if p.side == 0 else replace(p, ack=(p.ack or 0) + 5_000_000) for p in later])
    draw.shuffle(parts)
    found = analyze_bytes(tmp_path / "parts.pcap", to_pcap([p for part in parts for p in part]), jobs=jobs)
    assert found.captures[0].sorted
    ports = found.connections.sort("connection").select("connection", "client")
    assert ports["connection"].to_list() == [*range(10)]
    assert ports["client"].to_list() == [part[0].peers.client for part in parts]
    assert {f.display_filter for f in found.findings if f.connection is not None} <= {f"tcp.stream == {n}" for n in range(10)}


def test_a_direction_that_is_written_a_little_late(tmp_path: Path) -> None:
    """Once a connection shows that a tap wrote one direction late, packets are sorted also where none shows it."""
    proof = [(p, p.side) for p in moved(ladder_packets(STALL), 2 * SECOND)]
    unclear = [(p, 0) for p in ladder_packets(f"connection 1, client 10.0.0.7:4001{STALL}")]
    unclear += [(p, 1) for p in moved(ladder_packets(f"connection 1, client 10.0.0.7:4002{STALL}"), 5 * MS)]
    path = tmp_path / "tap.pcapng"
    whole = analyze_bytes(path, to_pcapng(sorted(unclear + proof, key=lambda one: one[0].time + one[1] * 300 * MS)), keep=True)
    assert notes(whole) == [("out-of-order", "note")]
    assert whole.packets[str(path)].tables(["records"])["records"]["time"].is_sorted()
