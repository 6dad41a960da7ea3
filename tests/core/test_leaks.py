"""Nothing of a capture is left once it has been analyzed. The garbage collector does not know most objects of the compiled core,
so each cycle among them must be broken. It knows those of the interpreted one."""

from __future__ import annotations

import gc
import sys
from pathlib import Path

import pytest

from tests.fuzzing.harnesses.core import Memory
from tests.support.recordings import PATHS
from tests.support.sweeps import sweep
from wiredoctor import core
from wiredoctor.capture import CaptureError
from wiredoctor.core.capture.file_formats import open_records
from wiredoctor.core.cutoffs import Cutoffs
from wiredoctor.core.loop import Core
from wiredoctor.limits import LimitsReached

ROUNDS = 20
LEFT_AT_MOST = 20
"""Blocks of memory that may be left of all rounds: Python keeps some of its own."""


def analyze(content: bytes) -> None:
    try:
        records = open_records(Memory(content), "x")
    except CaptureError:
        return
    made = Core(records, Cutoffs(), LimitsReached(), True, True)
    while made.run(1 << 20):
        pass
    records.end()
    made.finish(made.flows.open_connections(), records.times.latest)
    assert made.tcp.flights == made.tcp.new_flights == []


@pytest.mark.skipif(bool(core.reason), reason="the core runs interpreted")
@pytest.mark.parametrize("path", sweep(PATHS[::14], PATHS[::70].__contains__), ids=lambda path: path.stem)
@pytest.mark.parametrize("part", [1.0, 0.6])
def test_nothing_is_left(path: Path, part: float) -> None:
    content = path.read_bytes()
    content = content[: int(len(content) * part)]
    for _ in range(3):
        analyze(content)
    # what a thread of the test run allocates meanwhile is not left again and again
    assert any(_left_of_rounds(content) <= LEFT_AT_MOST for _ in range(3))


def _left_of_rounds(content: bytes) -> int:
    gc.collect()
    before = sys.getallocatedblocks()
    for _ in range(ROUNDS):
        analyze(content)
    gc.collect()
    return sys.getallocatedblocks() - before
