"""Test the conversion of classic pcap to Enhanced Packet Blocks, for input in pieces of any size; tshark must read the same
packets.
"""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.recording.streams import pcap
from tests.recording.test_blocks import pieces
from tests.support.needs import needs
from wiredoctor.recording import encode
from wiredoctor.recording.blocks import Blocks, StreamError
from wiredoctor.recording.convert import PcapStream
from wiredoctor.recording.files import ENDLESS

PACKETS = st.lists(st.tuples(st.integers(0, (1 << 32) * 10**9 - 1), st.binary(max_size=70)), max_size=12)


@given(PACKETS, st.sampled_from("<>"), st.booleans(), st.lists(st.integers(0, 2000), max_size=30))
def test_any_cut_gives_the_same(packets: list[tuple[int, bytes]], order: str, nano: bool, cuts: list[int]) -> None:
    tick = 1 if nano else 1000
    stream = PcapStream(3)
    got = b"".join(stream.feed(piece) for piece in pieces(pcap(packets, order, nano=nano, link_type=113), cuts))
    due = [encode.packet(3, time // tick * tick, data, len(data) + 7) for time, data in packets]
    assert (got, stream.link_type, stream.snaplen) == (b"".join(due), 113, 262144)


@given(PACKETS)
def test_what_is_made_are_blocks(packets: list[tuple[int, bytes]]) -> None:
    made = PcapStream(0).feed(pcap(packets))
    blocks = Blocks()
    blocks.add(encode.section("test") + encode.interface("eth0", 1, None) + made + encode.statistics(0, 5, 3))
    taken = blocks.take(1 << 40, ENDLESS)
    assert taken.packets == len(packets)
    assert not blocks.at_hand
    assert blocks.dropped == {0: 3}


@given(st.binary(max_size=300))
def test_hostile_bytes_are_refused_or_waited_for(data: bytes) -> None:
    for begin in (b"", pcap([])):
        with contextlib.suppress(StreamError):
            PcapStream(0).feed(begin + data)


def test_a_packet_of_a_gigabyte_is_not_waited_for() -> None:
    with pytest.raises(StreamError, match="impossible length of 1073741824 bytes"):
        PcapStream(0).feed(pcap([]) + bytes(8) + (1 << 30).to_bytes(4, "little") * 2)


@needs("tshark")
@pytest.mark.parametrize(("order", "nano"), [("<", True), (">", False)])
def test_tshark_reads_the_same(order: str, nano: bool, tmp_path: Path) -> None:
    packets = [(1_700_000_000_123_456_789 + n * 1_000_001, bytes(range(60 + n % 5))) for n in range(40)]
    classic = pcap(packets, order, nano=nano)
    before, after = tmp_path / "before.pcap", tmp_path / "after.pcapng"
    before.write_bytes(classic)
    made = PcapStream(0).feed(classic)
    after.write_bytes(encode.section("test") + encode.interface("eth0", 1, 262144) + made + encode.statistics(0, 40, 0))
    fields = ["frame.time_epoch", "frame.len", "frame.cap_len", "frame.protocols", "eth.src"]
    words = ["tshark", "-T", "fields", *(word for field in fields for word in ("-e", field))]
    read = [
        subprocess.run([*words, "-r", str(file)], capture_output=True, text=True, check=True).stdout.splitlines()
        for file in (before, after)
    ]
    assert len(read[0]) == 40
    if not nano:  # six digits of a second there
        read[0] = [line.replace("\t", "000\t", 1) if len(line.split("\t")[0].split(".")[1]) == 6 else line for line in read[0]]
    assert read[0] == read[1]
    words = ["tshark", "-r", str(after), "-c1", "-T", "fields", "-e", "frame.interface_name"]
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout == "eth0\n"
