"""The core against others that know nothing of it, dpkt and tshark, and on broken packets."""

from __future__ import annotations

import subprocess
from pathlib import Path

import dpkt
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.capture import files
from tests.capture.reading import Opened, whole
from tests.core.front import by_core
from tests.decode import rare
from tests.decode.decoding import decoded
from tests.decode.packets import Record, capture, ethernet, ipv4, ipv6, tcp, vlan
from tests.decode.test_headers import WAYS
from tests.support.needs import needs
from tests.support.sweeps import SLOW, examples
from wiredoctor import limits

SEGMENT = st.builds(
    tcp,
    payload=st.binary(max_size=60),
    options=st.sampled_from((b"", b"\1\1\x08\x0a" + bytes(8), b"\2\4\5\xb4\1\3\3\7")),
    sport=st.integers(0, 65_535),
    dport=st.integers(0, 65_535),
    seq=st.integers(0, 2**32 - 1),
    ack=st.integers(0, 2**32 - 1),
    flags=st.integers(0, 255),
    window=st.integers(0, 65_535),
)


@settings(deadline=None)
@given(st.lists(st.tuples(SEGMENT, st.booleans(), st.booleans(), st.integers(0, 65_535), st.integers(0, 255)), max_size=12))
def test_against_dpkt(packets: list[tuple[bytes, bool, bool, int, int]]) -> None:
    records, expected = [], []
    for segment, six, tagged, ident, ttl in packets:
        packet = ipv6(segment, hops=ttl) if six else ipv4(segment, ident=ident, ttl=ttl)
        type_ = 0x86DD if six else 0x0800
        frame = ethernet(vlan(packet, 5, type_), 0x8100) if tagged else ethernet(packet, type_)
        records.append(Record(frame))
        network = dpkt.ethernet.Ethernet(frame).data
        seen = network.data
        begin = frame.rindex(segment) + len(segment) - len(seen.data)
        numbers = (seen.sport, seen.dport, seen.seq, seen.ack, seen.flags & 0xFF, seen.win, len(seen.data), begin)
        expected.append((*numbers, *((network.hlim, -1) if six else (network.ttl, network.id))))
    rows, _, _ = decoded(records)
    offsets = capture(records)[1]["offset"]
    begins = rows["payload"] - offsets
    names = ("source_port", "destination_port", "seq", "ack", "flags", "window", "length")
    found = list(
        zip(*(rows[n].tolist() for n in names), begins.tolist(), rows["ttl"].tolist(), rows["ip_id"].tolist(), strict=True)
    )
    assert found == expected


@needs("tshark")
def test_against_tshark(tmp_path: Path) -> None:
    """All link types of test_headers in one pcapng: tshark finds the same ports, numbers, lengths and rows."""
    unknown = {"null, AF_INET6 is 10", "null, AF_INET6 is 23", *rare.OURS}  # the first two are numbers of Linux and Windows
    ways = [way for name, way in WAYS.items() if name not in unknown]
    types = sorted({link_type for link_type, _ in ways})
    out = files.section("<") + b"".join(files.interface("<", t) for t in types)
    for way, (link_type, packet) in enumerate(ways):
        data = packet.replace((40_000).to_bytes(2), (30_000 + way).to_bytes(2))
        out += files.enhanced("<", files.Packet(way, data, len(data), types.index(link_type)))
    path = tmp_path / "ways.pcapng"
    path.write_bytes(out)
    fields = ("frame.number", "tcp.srcport", "tcp.seq_raw", "tcp.ack_raw", "tcp.window_size_value", "tcp.len")
    command = ["tshark", "-n", "-r", str(path), "-Y", "tcp.stream", "-T", "fields", *(x for f in fields for x in ("-e", f))]
    seen = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    with Opened(path) as opened:
        rows, _ = by_core(np.fromfile(path, np.uint8), whole(opened))
    ours = zip(*(rows[n].tolist() for n in ("frame", "source_port", "seq", "ack", "window", "length")), strict=True)
    assert [tuple(map(int, line.split("\t"))) for line in seen.splitlines()] == list(ours)


LINK_TYPES = st.sampled_from(
    (0, 1, 9, 12, 50, 51, 101, 104, 105, 107, 108, 109, 113, 117, 119, 127, 163, 192, 228, 229, 239, 276)
)
BROKEN = st.builds(
    lambda way, cut, changes: (way[0], _changed(way[1], changes)[: max(len(way[1]) - cut, 0)]),
    st.sampled_from(list(WAYS.values())),
    st.integers(0, 60),
    st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=4),
)


def _changed(packet: bytes, changes: list[tuple[int, int]]) -> bytes:
    data = bytearray(packet)
    for at, value in changes:
        data[at % len(data)] = value
    return bytes(data)


@SLOW
@settings(deadline=None, max_examples=examples(300))
@given(st.lists(st.one_of(BROKEN, st.tuples(LINK_TYPES, st.binary(max_size=90))), max_size=15), st.integers(0, 3_000))
def test_anything_decodes(packets: list[tuple[int, bytes]], more: int) -> None:
    """Broken headers and noise never raise, and every packet is a row or counted (`decoded` checks)."""
    decoded([Record(data, link_type, len(data) + more) for link_type, data in packets])


def test_oddities_are_bounded() -> None:
    broken = Record(ipv4(tcp(b"abc", offset=1)), 101)
    rows, oddities, _ = decoded([broken] * (limits.ODDITIES.value + 50))
    assert len(rows["frame"]) == limits.ODDITIES.value + 50
    assert len(oddities) == limits.ODDITIES.value
