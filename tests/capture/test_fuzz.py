"""Whatever happens to a capture, reading it neither raises (other than CaptureError) nor hangs, and blocks do not matter."""

from __future__ import annotations

import struct
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.capture import files
from tests.capture.files import Packet
from tests.capture.reading import Opened, whole
from tests.support.sweeps import examples
from wiredoctor.capture import CaptureError

FIVE = [Packet(i * 1_000, bytes(range(10 * i)), 60) for i in range(5)]


def _pcapng(order: str) -> bytes:
    out = files.section(order) + files.interface(order, snaplen=50, resolution=9)
    for kind in (files.enhanced, files.simple, files.obsolete):
        out += b"".join(kind(order, p) for p in FIVE)
    return out + files.block(order, 9, bytes(24)) + files.section(order) + files.block(order, 0xBAD, bytes(8))


SEEDS = [files.pcap(FIVE, o, m) for o in "<>" for m in (files.MICRO, files.NANO, files.MODIFIED)] + [_pcapng(o) for o in "<>"]
MUTATION = st.tuples(st.integers(0, 2_000), st.sampled_from((0, 1, 2, 4, 0x7F, 0xFF, 0x0A, 6)), st.sampled_from((1, 2, 4)))


def mutated(seed: bytes, mutations: list[tuple[int, int, int]], size: int) -> bytes:
    data = bytearray(seed)
    for place, value, width in mutations:
        at = place % len(data)
        data[at : at + width] = struct.pack(">I", value)[-width:]
    return bytes(data[: max(len(data) - size, 1)])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=2_000, max_examples=examples(400))
@given(seed=st.sampled_from(SEEDS), mutations=st.lists(MUTATION, max_size=6), cut=st.integers(0, 300), block=st.integers(1, 99))
def test_mutated_files(tmp_path: Path, seed: bytes, mutations: list[tuple[int, int, int]], cut: int, block: int) -> None:
    path = tmp_path / "x"
    path.write_bytes(mutated(seed, mutations, cut))
    answers = []
    for size in (block, None):
        try:
            with Opened(path, block=size) as capture:
                columns = whole(capture)
                ends = columns["offset"] + columns["captured"]
                assert all(ends <= capture.files.size)
                assert capture.records.position <= capture.files.size
                answers.append(({n: c.tolist() for n, c in columns.items()}, capture.damage, capture.first_time))
        except CaptureError as error:
            answers.append(str(error))
    assert answers[0] == answers[1]
