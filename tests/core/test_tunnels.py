"""Test the encapsulations of complete captures, and their names (tests/decode has all others)."""

from __future__ import annotations

import pytest

from tests.benchmarks.wrapping import WAYS
from tests.core.front import by_core
from tests.decode.packets import Record, capture, ethernet, ipv4, tcp
from wiredoctor.core.capture import layers
from wiredoctor.protocols.ip.encapsulations import BIT

PLAIN = [ethernet(ipv4(tcp(b"x" * size))) for size in (0, 9, 1_400)]


@pytest.mark.parametrize("way", WAYS)
def test_lengths_in_common_encapsulations(way: str) -> None:
    link_type, front = WAYS[way]
    records = [Record(front(frame), link_type) for frame in PLAIN]
    data, columns = capture(records)
    rows, _ = by_core(data, columns)
    assert rows["length"].tolist() == [0, 9, 1_400]


def test_each_name_has_its_bit() -> None:
    names = {name.upper().replace(" ", "_").replace("-", "_").replace(".", "_"): bit for name, bit in BIT.items()}
    assert names == {name.removeprefix("NAMED_"): bit for name, bit in vars(layers).items() if name.startswith("NAMED_")}
