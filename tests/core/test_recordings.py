"""Test that the rows of recordings do not depend on the number of packets per read, on the packet before, or on which tables are
recorded.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from tests.core.feeding import ROOT, Run, digest, tables
from tests.support.recordings import PATHS
from tests.support.sweeps import FORMS, SLOW, sweep
from wiredoctor import core
from wiredoctor.core.capture.packet import OuterHeaders
from wiredoctor.core.tcp.segment import Piece
from wiredoctor.core.tcp.waits import ClosedWindow, Stall
from wiredoctor.core.tcp.waits import Run as SmallSegments

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))

from cases import Case
from flood_cases import CASES
from flood_wire import Capture

SAMPLE = random.Random(31).sample(PATHS, 24)

FLOODS = (
    *("holes", "holes-acknowledged", "downwards", "holes-filled", "hole-each", "jumps", "overlaps", "tries", "stalls", "windows"),
    *("probes", "ack-storm", "noise", "any-time", "backwards", "segments-backwards", "port-reuse-late"),
)


def assert_equal(tables: dict[str, pl.DataFrame], expected: dict[str, pl.DataFrame]) -> None:
    """Compare all rows, in the order in which they were written."""
    for name, rows in expected.items():
        assert tables[name].equals(rows), name


@FORMS
@pytest.mark.parametrize("most", [1, 7])
@pytest.mark.parametrize("path", sweep(SAMPLE, SAMPLE[::4].__contains__), ids=lambda path: path.stem)
def test_steps(path: Path, most: int) -> None:
    whole = tables(path)
    assert whole["segments"].height
    assert_equal(tables(path, most), whole)


@pytest.mark.parametrize("case", [case for case in CASES if case.name in FLOODS], ids=lambda case: case.name)
def test_a_hostile_capture(case: Case, tmp_path: Path) -> None:
    path = tmp_path / "flood.pcap"
    with Capture(path) as capture:
        case.write(capture, 150)
    whole = tables(path)
    assert whole["segments"].height
    for rows in (tables(path, 1), poisoned(path)):
        assert_equal(rows, whole)


@FORMS
@pytest.mark.parametrize("path", sweep(SAMPLE, SAMPLE[1::4].__contains__), ids=lambda path: path.stem)
def test_nothing_of_the_packet_before_is_left(path: Path) -> None:
    assert_equal(poisoned(path), tables(path))


def poisoned(path: Path) -> dict[str, pl.DataFrame]:
    """Return the tables of a capture if the objects of the packet in hand hold wrong values before each packet."""
    run = Run(path, with_segments=True)
    packet, tcp = run.core.packet, run.core.tcp
    while True:
        frame = packet.frame
        for thing in (packet, tcp.segment, tcp.segment.part, tcp.events):
            poison(thing)
        packet.frame = frame  # rows that wait for later packets name the last packet when the capture ends
        packet.outer = OuterHeaders(1, 1)
        tcp.segment.pieces = [Piece(1, 2)]
        tcp.events.stall, tcp.events.closure, tcp.events.run = Stall(), ClosedWindow(), SmallSegments()
        if not run.core.run(1):
            return run.tables()


def poison(thing: object) -> None:
    """Fill the fields with wrong values."""
    for name in dir(thing):
        value = getattr(thing, name)
        if isinstance(value, bool):
            setattr(thing, name, not value)
        elif isinstance(value, int):
            setattr(thing, name, 123_456_789)
        elif isinstance(value, bytes):
            setattr(thing, name, b"wrong")


@pytest.mark.parametrize("path", SAMPLE[:6], ids=lambda path: path.stem)
def test_the_recorder_changes_nothing(path: Path) -> None:
    assert_equal(tables(path), Run(path).read().tables())


@SLOW
@pytest.mark.skipif(bool(core.reason), reason="the core runs interpreted")
def test_the_interpreted_core_writes_the_same() -> None:
    """In processes of their own, since one process has one core."""
    program = "import sys; from pathlib import Path; from tests.core.feeding import digest; from wiredoctor import core; "
    program += "print(core.reason); [print(digest(Path(path))) for path in sys.argv[1:]]"
    command = [sys.executable, "-c", program, *map(str, SAMPLE[:12])]
    environment = os.environ | {"WIREDOCTOR_CORE": "python", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    reason, *digests = done.stdout.splitlines()
    assert reason == "WIREDOCTOR_CORE=python"
    assert digests == [digest(path) for path in SAMPLE[:12]]
