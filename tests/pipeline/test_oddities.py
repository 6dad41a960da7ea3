"""Test that oddities of packets reach the rules that read them once, and that omitted ones are in the report."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from tests.capture import files
from tests.capture.files import Packet
from tests.decode.packets import ethernet, tcp
from tests.decode.test_fragments import fragments4
from tests.ladders import ladder_packets, to_pcap
from tests.pipeline import recording
from tests.pipeline.feeding import open_capture
from wiredoctor import analyze, limits, rule_engine
from wiredoctor.engine.opening import open_capture_records
from wiredoctor.engine.run import Analysis
from wiredoctor.findings import Rule
from wiredoctor.rule_engine import RuleModule
from wiredoctor.storage.spill import Folder

LADDER = """
0.000 > S mss 1460
0.010 < S. mss 1460
0.010 > .
0.011 > P. "GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"
0.022 < P. "HTTP/1.1 204 No\\r\\n\\r\\n"
"""
IMPOSSIBLE = 0x30
"""A data offset of 12 bytes, in the upper half of its byte: less than any TCP header has."""
DATA_OFFSET = 14 + 20 + 12
THREE_TAGS = bytes.fromhex("8100000181000002810000030800")


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """The third and the fourth packet have an impossible data offset, the fourth behind three tags."""
    path = tmp_path / "x.pcap"
    path.write_bytes(to_pcap(ladder_packets(LADDER)))
    made = [bytearray(packet.data) for packet in recording.read(path)]
    for frame in made[2:4]:
        frame[DATA_OFFSET] = IMPOSSIBLE
    made[3][12:14] = THREE_TAGS
    path.write_bytes(files.pcap([Packet(i * 1_000, bytes(frame), len(frame)) for i, frame in enumerate(made)]))
    return path


def look(oddities: pl.LazyFrame) -> pl.LazyFrame:
    return oddities


def seen(path: Path, step: int) -> list[tuple[int, str]]:
    rule = Rule(severity="note", title="", message="", remedy="", display_filter="", references=())
    module = RuleModule("odd", "test", rule, "", {}, look, ("oddities",))
    with open_capture(path) as capture:
        modules = {"odd": module}
        analysis = Analysis(capture, modules, Folder(), rule_engine.cutoffs(modules), open_capture_records(capture))
        analysis.run(step, lambda _: None, lambda found: found)
    return [row[:2] for found in analysis.found if found for row in found["odd"].select("frame", "layer").rows()]


@pytest.mark.parametrize("step", [1, 2, 100])
def test_a_rule_sees_them(odd: Path, step: int) -> None:
    assert seen(odd, step) == [(3, "tcp"), (4, "tcp")]


def test_datagrams_left_out_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of three datagrams the first takes all the memory."""
    monkeypatch.setattr(limits.SCRATCH, "value", 150)
    pieces = [ethernet(piece) for ident in range(3) for piece in fragments4(tcp(bytes(100)), [5], ident)]
    path = tmp_path / "x.pcap"
    path.write_bytes(files.pcap([Packet(at, piece, len(piece)) for at, piece in enumerate(pieces)]))
    report = analyze(path)
    assert report.limits == [limits.SCRATCH.describe(2)]
    assert report.captures[0].not_analysed == {
        "IP fragment before its datagram was complete": 3,
        "IP fragments beyond the memory limit for fragments": 2,
    }
