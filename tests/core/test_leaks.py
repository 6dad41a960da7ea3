"""Nothing of a capture is left once it has been analyzed. The garbage collector cannot help: most objects of the core are not
tracked by it, so that each cycle among them must be broken."""

from __future__ import annotations

import gc
import sys
from pathlib import Path

import pytest

from tests.fuzzing.harnesses.core import Memory
from wiredoctor.capture import CaptureError
from wiredoctor.core.cutoffs import Cutoffs
from wiredoctor.core.formats import open_records
from wiredoctor.core.loop import Core
from wiredoctor.limits import Met

CAPTURES = Path(__file__).resolve().parents[2] / "captures"
ROUNDS = 20
LEFT_AT_MOST = 10 * ROUNDS
"""Blocks of memory that may be left of all rounds: Python keeps some of its own. Alarms that stay leave 80 a round."""


def analyze(content: bytes) -> None:
    try:
        records = open_records(Memory(content), "x")
    except CaptureError:
        return
    core = Core(records, Cutoffs(), Met(), True, True)
    while core.run(1 << 20):
        pass
    records.end()
    core.finish(core.flows.open_connections(), records.times.latest)


@pytest.mark.parametrize("path", sorted(CAPTURES.glob("*.pcap*"))[::7], ids=lambda path: path.stem)
@pytest.mark.parametrize("part", [1.0, 0.6])
def test_nothing_is_left(path: Path, part: float) -> None:
    content = path.read_bytes()
    content = content[: int(len(content) * part)]
    for _ in range(3):
        analyze(content)
    gc.collect()
    before = sys.getallocatedblocks()
    for _ in range(ROUNDS):
        analyze(content)
    gc.collect()
    assert sys.getallocatedblocks() - before <= LEFT_AT_MOST
