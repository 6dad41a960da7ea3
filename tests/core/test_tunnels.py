"""The core itself reads what whole captures consist of; only the rare goes to the general decoder (tests/decode: the rest)."""

from __future__ import annotations

import pytest

from tests.benchmarks.wrapping import WAYS
from tests.core.front import by_core
from tests.decode.packets import Record, capture, ethernet, ipv4, ipv6, tcp
from wiredoctor.core import layers
from wiredoctor.core.hashes import mix
from wiredoctor.decode.hashing import mix_one
from wiredoctor.decode.names import BIT

RARE = {"L2TP"}
PLAIN = [ethernet(ipv4(tcp(b"x" * size))) for size in (0, 9, 1_400)]


@pytest.mark.parametrize("way", WAYS)
def test_common_encapsulations_are_not_declined(way: str) -> None:
    link_type, front = WAYS[way]
    records = [Record(front(frame), link_type) for frame in PLAIN]
    data, columns = capture(records)
    rows, read = by_core(data, columns)
    assert rows["length"].tolist() == [0, 9, 1_400]
    assert read.declined == (len(PLAIN) if way in RARE else 0)


@pytest.mark.parametrize("payload", [b"", bytes(60)])
def test_what_is_no_tcp_is_not_declined(payload: bytes) -> None:
    frames = [
        ethernet(ipv4(payload, protocol)) if version == 4 else ethernet(ipv6(payload, protocol), 0x86DD)
        for version in (4, 6)
        for protocol in (1, 17, 50, 58, 89, 132)
    ]
    frames += [ethernet(payload, kind) for kind in (0x0806, 0x88CC, 0x88E1)]
    data, columns = capture([Record(frame) for frame in frames])
    rows, read = by_core(data, columns)
    assert (len(rows["frame"]), read.declined) == (0, 0)


def test_numbers_of_decode() -> None:
    """Bits and hashes are those of decode/, by which both name an encapsulation."""
    named = {"PPPOE": "PPPoE", "GTP": "GTP-U", "IP_IN_IP": "IP in IP"}
    for name in ("PPP", "PPPOE", "MPLS", "GRE", "ERSPAN", "VXLAN", "GENEVE", "GTP", "IP_IN_IP"):
        assert getattr(layers, f"NAMED_{name}") == BIT[named.get(name, name)]
    assert mix(5, 7) == mix_one(5, 7)
