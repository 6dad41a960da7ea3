"""The TCP story of the core against the NumPy stages: all columns of segments, event tables and connections that TCP knows.

tests/tcp holds every ladder against it, too.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest

from tests.core import tcp_feed
from tests.core.tcp_feed import compare
from wiredoctor.core.connection import Connection
from wiredoctor.core.events import Events
from wiredoctor.core.packet import Packet
from wiredoctor.core.segment import Segment
from wiredoctor.core.story import Story

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))

from flood_cases import CASES, Case
from flood_wire import Capture

RECORDINGS = sorted((Path(__file__).parent.parent.parent / "captures").rglob("*.pcap*"))
SAMPLE = random.Random(31).sample(RECORDINGS, 12)

COMPILED = not str(sys.modules[Story.__module__].__file__).endswith(".py")

FLOODS = (
    *("holes", "holes-acknowledged", "downwards", "holes-filled", "hole-each", "jumps", "overlaps", "tries", "stalls", "windows"),
    *("probes", "ack-storm", "noise", "any-time", "backwards", "segments-backwards", "port-reuse-late"),
)


@pytest.mark.parametrize("path", SAMPLE, ids=lambda path: path.stem)
def test_a_recording(path: Path) -> None:
    compared = compare(path)
    assert compared.core["frame"]
    assert compared.differences() == []


@pytest.mark.parametrize("case", [case for case in CASES if case.name in FLOODS], ids=lambda case: case.name)
def test_a_hostile_capture(case: Case, tmp_path: Path) -> None:
    path = tmp_path / "flood.pcap"
    with Capture(path) as capture:
        case.write(capture, 150)
    assert compare(path).differences() == []


class Poisoned(Story):
    """A story whose objects hold nonsense before each packet: what is not set on every path would show."""

    def follow(self, connection: Connection, packet: Packet) -> None:
        poison(self.segment)
        poison(self.events)
        super().follow(connection, packet)


def poison(thing: Segment | Events) -> None:
    """Fills the fields with nonsense."""
    for name, value in vars(thing).items():
        if isinstance(value, bool):
            setattr(thing, name, True)
        elif isinstance(value, int):
            setattr(thing, name, 123_456_789)


@pytest.mark.skipif(
    "core/story.py" not in str(sys.modules[Story.__module__].__file__), reason="compiled classes cannot be replaced"
)
@pytest.mark.parametrize("path", SAMPLE[:4], ids=lambda path: path.stem)
def test_nothing_of_the_packet_before_is_left(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tcp_feed, "Story", Poisoned)
    assert compare(path).differences() == []


def test_the_recorder_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Event rows and connections are the same without it."""
    whole = compare(SAMPLE[0])
    monkeypatch.setattr(tcp_feed, "COLUMNS", ())
    monkeypatch.setattr(tcp_feed, "SegmentRecorder", lambda *args: None)
    alone = compare(SAMPLE[0])
    assert (alone.core_events, alone.core_connections) == (whole.core_events, whole.core_connections)
