"""pcapng files of known content are read back: sections, interfaces, resolutions, every kind of packet block."""

from __future__ import annotations

import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.capture import files
from tests.capture.files import Packet
from tests.capture.reading import Opened, contents, read
from tests.support.sweeps import examples
from wiredoctor.capture import CaptureError, ClockSteps

MAX_TIME = 2**61 - 1

SECTION = st.fixed_dictionaries(
    {
        "order": st.sampled_from("<>"),
        "interfaces": st.lists(
            st.tuples(
                st.sampled_from((1, 113, 101)),
                st.one_of(st.none(), st.sampled_from((0, 3, 6, 7, 9, 12, 19)), st.integers(0x80, 0x80 + 63)),
                st.one_of(st.none(), st.integers(-(10**9), 10**9)),
            ),
            min_size=1,
            max_size=3,
        ),
        "packets": st.lists(
            st.tuples(
                st.sampled_from(("enhanced", "obsolete")), st.integers(0, 2), st.integers(0, 2**64 - 1), st.binary(max_size=40)
            ),
            max_size=8,
        ),
        "between": st.sampled_from((b"", b"statistics", b"names")),
    }
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=examples(200))
@given(sections=st.lists(SECTION, min_size=1, max_size=3), block=st.integers(1, 200))
def test_round_trip(tmp_path: Path, sections: list[dict[str, Any]], block: int) -> None:
    """Times are compared with exact fractions."""
    out, data, times, interfaces, link_types = b"", [], [], [], []
    base = 0
    for s in sections:
        order = s["order"]
        out += files.section(order)
        described = s["interfaces"]
        for link_type, resolution, offset in described:
            out += files.interface(order, link_type, 0, resolution, offset)
        for kind, index, ticks, content in s["packets"]:
            own = index % len(described)
            link_type, resolution, offset = described[own]
            out += getattr(files, kind)(order, Packet(ticks, content, 99, own))
            if s["between"]:
                out += files.block(order, 5 if s["between"] == b"statistics" else 4, bytes(12))
            code = 6 if resolution is None else resolution
            per_second = 2 ** (code & 0x7F) if code & 0x80 else 10**code
            times.append(Fraction(ticks, per_second) * 10**9 + (offset or 0) * 10**9)
            data.append(content)
            interfaces.append(base + own)
            link_types.append(link_type)
        base += len(described)
    capture, columns = read(tmp_path / "x", out, block=block)
    assert (capture.records.format, capture.damage) == ("pcapng", None)
    assert contents(capture, columns) == data
    assert columns["interface"].tolist() == interfaces
    assert columns["link_type"].tolist() == link_types
    assert len(capture.records.interfaces) == base
    if not times:
        assert capture.first_time is None
        return
    first = times[0].__floor__()
    assert capture.first_time == first
    for time, expected in zip(columns["time"].tolist(), times, strict=True):
        # Of resolutions finer than 2**-34 s the last bits are left out: at most a nanosecond.
        clipped = max(min(expected - first, MAX_TIME), -MAX_TIME)
        assert -2 < time - clipped <= 0 or time == clipped.__floor__()


def test_simple_packets(tmp_path: Path) -> None:
    """No time stamp: that of the packet before, 0 without one; interface 0; cut to its snapshot length."""
    order = "<"
    out = files.section(order) + files.interface(order, 101, snaplen=8) + files.interface(order, 1)
    out += files.simple(order, Packet(0, b"abc", 3)) + files.enhanced(order, Packet(7_000_000, b"first", 5, 1))
    out += files.enhanced(order, Packet(7_000_004, b"second", 6, 1)) + files.simple(order, Packet(0, b"12345678", 30))
    capture, columns = read(tmp_path / "x", out)
    assert contents(capture, columns) == [b"abc", b"first", b"second", b"12345678"]
    assert columns["time"].tolist() == [0, 0, 4_000, 4_000]
    assert columns["interface"].tolist() == [0, 1, 1, 0]
    assert columns["length"].tolist() == [3, 5, 6, 30]
    assert capture.first_time == 7_000_000_000


def test_records_that_are_no_packets_count_as_frames(tmp_path: Path) -> None:
    """Frames of tshark 4.0.17: journal entries, sysdig events and custom blocks are, others are not, whatever they hold."""
    order = ">"
    out = files.section(order) + files.interface(order)
    for kind, size, counts in ((9, 24, 1), (0x204, 24, 1), (0x216, 28, 1), (0x221, 28, 1), (0xBAD, 4, 1), (0x40000BAD, 4, 1)):
        out += files.block(order, kind, bytes(size)) * counts
    for kind in (4, 5, 0x0A, 0x208, 0x80000001):
        out += files.block(order, kind, bytes(40))
    out += files.enhanced(order, Packet(1, b"x", 1))
    capture, columns = read(tmp_path / "x", out)
    assert columns["link_type"].tolist() == [-1] * 6 + [1]
    assert columns["captured"].tolist() == [0] * 6 + [1]
    assert capture.damage is None


def test_a_frame_without_packet_lies_in_the_file(tmp_path: Path) -> None:
    """A custom block may be shorter than the header of a packet, at the end of the file too."""
    out = files.section("<") + files.interface("<") + files.block("<", 0xBAD, bytes(4))
    _, columns = read(tmp_path / "x", out)
    assert columns["captured"].tolist() == [0]
    assert 0 <= columns["offset"][0] <= len(out)


def test_1970_and_2300_are_clipped(tmp_path: Path) -> None:
    order = "<"
    far = 330 * 365 * 86_400
    out = files.section(order) + files.interface(order, resolution=0)
    out += b"".join(files.enhanced(order, Packet(t, b"", 0)) for t in (0, far, 5, 2**64 - 1))
    _, columns = read(tmp_path / "x", out)
    assert columns["time"].tolist() == [0, MAX_TIME, 5_000_000_000, MAX_TIME]


def test_every_cut(tmp_path: Path) -> None:
    order = "<"
    pieces = [files.section(order) + files.interface(order)]
    pieces += [files.enhanced(order, Packet(i, bytes(5 + i), 50)) for i in range(3)]
    content = b"".join(pieces)
    ends = [sum(map(len, pieces[: i + 1])) for i in range(4)]
    for size in range(ends[0], len(content) + 1):
        count = sum(e <= size for e in ends[1:])
        if not count and size != ends[0]:
            (tmp_path / "x").write_bytes(content[:size])
            with pytest.raises(CaptureError):
                Opened(tmp_path / "x")
            continue
        capture, columns = read(tmp_path / "x", content[:size])
        assert len(columns["time"]) == count
        assert (capture.damage is None) == (size in ends)


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (lambda o: files.enhanced(o, Packet(0, b"x", 1, interface=7)), "interface 7 was never described"),
        (lambda o: struct.pack(o + "III", 6, 0, 0) + bytes(80), "impossible length of 0 bytes"),
        (lambda o: struct.pack(o + "II", 77, 1 << 25) + bytes(80), "impossible length of 33,554,432 bytes"),
        (lambda o: files.block(o, 6, struct.pack(o + "IIIII", 0, 0, 0, 400, 400)), "more than its block holds"),
        (lambda o: files.block(o, 6, struct.pack(o + "IIIII", 0, 0, 0, 262_145, 9)), "262,145 bytes"),
        (lambda o: files.enhanced(o, Packet(0, b"abcd", 4))[:-4] + b"\1\2\3\4", "two length fields differ"),
        (lambda o: files.section(o, (2, 0)), "version 2.0"),
        (lambda o: b"\x0a\x0d\x0d\x0a" + bytes(40), "byte-order magic"),
        (lambda o: files.block(o, 1, struct.pack(o + "HHI", 1, 0, 0) + struct.pack(o + "HH", 9, 200)), "interface description"),
    ],
)
@pytest.mark.parametrize("order", ["<", ">"])
def test_damage_ends_reading(tmp_path: Path, order: str, broken: Callable[[str], bytes], words: str) -> None:
    good = files.section(order) + files.interface(order) + files.enhanced(order, Packet(0, b"good", 4))
    later = files.enhanced(order, Packet(0, b"later", 5))
    capture, columns = read(tmp_path / "x", good + broken(order) + later)
    assert contents(capture, columns) == [b"good"]
    assert words in (capture.damage or "")
    assert f"offset {len(good)}" in (capture.damage or "")


def test_interface_names(tmp_path: Path) -> None:
    out = files.section("<") + files.interface("<", 113, 96, name="eth0") + files.interface("<", 1, name="lö")
    capture, _ = read(tmp_path / "x", out)
    assert [(i.name, i.link_type, i.snaplen) for i in capture.records.interfaces] == [("eth0", 113, 96), ("lö", 1, 0)]
    assert capture.link_types == ["LINUX_SLL", "ETHERNET"]
    assert capture.packets == 0


def test_a_packet_without_time_stamp_is_no_step_of_the_clock(tmp_path: Path) -> None:
    """It belongs to the first interface and has the time of the packet before it, of an interface that is ahead by a second."""
    packets = [Packet(at, b"x" * 60, 60, on) for at, on in ((5_000_000, 0), (6_000_000, 1), (0, 0), (5_000_100, 0))]
    blocks = [files.simple("<", p) if p.ticks == 0 else files.enhanced("<", p) for p in packets]
    content = files.section("<") + files.interface("<") * 2 + b"".join(blocks)
    with_step = content + files.enhanced("<", Packet(4_000_000, b"x" * 60, 60, 0))
    for written, expected in ((content, (0, 0)), (with_step, (1, 1_000_100_000))):
        steps = _clock(tmp_path, written)
        assert (steps.count, steps.worst) == expected


@pytest.mark.parametrize("block", [1, 100, 10_000])
def test_interfaces_and_sections_between_packets(tmp_path: Path, block: int) -> None:
    """Every packet has the interface of its own section, with its link type, time and length limit."""
    order, out = "<", b""
    links = (1, 101, 113)
    for number in range(6):
        out += files.section(order) + files.interface(order, links[number % 3], 5 + number, resolution=number)
        out += files.enhanced(order, Packet(10**number * number, b"", 0))
        out += files.simple(order, Packet(0, bytes(5 + number), 60)) + files.interface(order, links[(number + 1) % 3], 0)
        out += files.enhanced(order, Packet(10**6 * number, b"", 0, 1)) + files.block(order, 9, bytes(24))
    capture, columns = read(tmp_path / "x", out, block=block)
    assert capture.damage is None
    assert columns["interface"].tolist() == [i + 2 * s for s in range(6) for i in (0, 0, 1, 0)]
    assert columns["link_type"].tolist() == [t for s in range(6) for t in (*[links[s % 3]] * 2, links[(s + 1) % 3], -1)]
    assert columns["time"].tolist() == [s * 10**9 for s in range(6) for _ in range(4)]
    assert columns["captured"].tolist() == [c for s in range(6) for c in (0, 5 + s, 0, 0)]


@pytest.mark.parametrize("section", [True, False])
def test_an_interface_is_known_from_its_description_on(tmp_path: Path, section: bool) -> None:
    """Neither what comes later nor what another section described counts; what follows the damage is not read."""
    order = "<"
    out = files.section(order) + files.interface(order, 1) + files.enhanced(order, Packet(1, b"a", 1))
    out += files.section(order) if section else b""
    out += files.enhanced(order, Packet(2, b"b", 1, interface=0 if section else 1)) + files.interface(order, 101)
    capture, columns = read(tmp_path / "x", out)
    assert len(columns["time"]) == 1
    assert f"interface {0 if section else 1} was never described" in str(capture.damage)
    assert capture.link_types == ["ETHERNET"]


def test_the_clock_of_each_of_many_interfaces(tmp_path: Path) -> None:
    """Interface k is set back k ms with its second packet; 1 ms and less is no step, nor is another interface's time."""
    order, count = "<", 20
    out = files.section(order) + b"".join(files.interface(order) for _ in range(count))
    packets = [Packet(10**9 + k * 10**6, b"", 0, k) for k in range(count)]
    packets += [Packet(10**9 + k * 10**6 - k * 1000, b"", 0, k) for k in reversed(range(count))]
    steps = _clock(tmp_path, out + b"".join(files.enhanced(order, p) for p in packets))
    assert (steps.count, steps.worst) == (18, 19_000_000)
    assert list(steps.frames) == list(range(21, 39))
    assert [(s.frame, s.frame_before, s.time_before - s.time) for s in steps.first] == [
        (21 + k, 20 - k, (19 - k) * 10**6) for k in range(5)
    ]


def _clock(folder: Path, content: bytes) -> ClockSteps:
    capture, _ = read(folder / "x", content)
    return capture.records.times.steps


@pytest.mark.parametrize("short", [1, 2, 3])
@pytest.mark.parametrize("both", [True, False])
def test_lengths_that_leave_out_the_padding(tmp_path: Path, short: int, both: bool) -> None:
    """tshark 4.0.17 reads these: it pads either length before it compares them."""
    packet = files.enhanced("<", Packet(1, bytes(54), 54))
    size = struct.pack("<I", len(packet) - short)
    lying = packet[:4] + size + packet[8:-4] + (size if both else packet[-4:])
    capture, columns = read(tmp_path / "x", files.section("<") + files.interface("<") + packet + lying + packet)
    assert (len(columns["time"]), capture.damage) == (3, None)
