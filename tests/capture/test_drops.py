"""Test reading the counts of dropped packets in a pcapng file: running totals, which may begin again."""

from __future__ import annotations

import itertools
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.capture import files
from tests.capture.files import Packet
from wiredoctor.capture import Budget, Input
from wiredoctor.capture.drops import MAX_COUNTS, Count, Dropped, Drops, read_statistics, spans
from wiredoctor.capture.files import OpenFiles
from wiredoctor.core.capture import packet as core_packet
from wiredoctor.engine.opening import open_capture_files, open_capture_records

SECOND = 1_000_000_000
BY_INTERFACE, BY_SYSTEM, RECEIVED = 5, 7, 4


def statistics(order: str, interface: int, **counts: int) -> bytes:
    """`after`, `until`: the times of the recorder's comment, in ns since 1970."""
    codes = {"dropped": BY_INTERFACE, "by_system": BY_SYSTEM, "received": RECEIVED}
    options = b"".join(files.option(order, codes[n], struct.pack(order + "Q", v)) for n, v in counts.items() if n in codes)
    said = b" and ".join(b"%s %d" % (word.encode(), counts[word]) for word in ("after", "until") if word in counts)
    if said:
        options += files.option(order, 1, b"dropped %s ns since 1970" % said)
    return files.block(order, 5, struct.pack(order + "III", interface, 0, 0) + options + bytes(4))


def at(order: str, second: int, interface: int = 0) -> bytes:
    """A packet of this second."""
    return files.enhanced(order, Packet(second * 1_000_000, bytes(60), 60, interface))


def drops_of(folder: Path, *contents: bytes) -> list[Dropped] | None:
    """What is dropped according to these files, which are read as a rotation."""
    names: list[str] = []
    for number, content in enumerate(contents):
        (folder / f"{number}.pcapng").write_bytes(content)
        names.append(str(folder / f"{number}.pcapng"))
    with open_capture_files(Input("all", tuple(names), rotation=True), OpenFiles(Budget()), print) as capture:
        records = open_capture_records(capture)
        while records.next(core_packet.Packet()):
            pass
        return records.drops.dropped()


@pytest.mark.parametrize("order", ["<", ">"])
def test_interface_and_system_are_added_up_and_the_last_block_counts(order: str, tmp_path: Path) -> None:
    begin = files.section(order) + files.interface(order)
    first, last = statistics(order, 0, dropped=3, received=50), statistics(order, 0, dropped=5, by_system=2, received=99)
    content = begin + at(order, 1) + first + at(order, 2) + at(order, 4) + last
    assert drops_of(tmp_path, content) == [Dropped(0, None, 0, 3), Dropped(0, 0, 3 * SECOND, 4)]


@pytest.mark.parametrize(
    "block",
    [
        b"",
        statistics("<", 0),
        statistics("<", 0, received=1_000),
        statistics("<", 1, dropped=3),
        statistics("<", 0, dropped=(1 << 64) - 1),
        files.block("<", 5, struct.pack("<III", 0, 0, 0) + struct.pack("<HHI", BY_INTERFACE, 4, 3)),
        files.block("<", 5, bytes(4)),
    ],
)
def test_what_says_nothing(block: bytes, tmp_path: Path) -> None:
    """No count, an interface that is not there, more packets than can be, a count of the wrong size, a block without room."""
    assert drops_of(tmp_path, files.section("<") + files.interface("<") + at("<", 1) + block) is None


def test_nothing_dropped_is_something_else_than_nothing_said(tmp_path: Path) -> None:
    assert drops_of(tmp_path, files.section("<") + files.interface("<") + at("<", 1) + statistics("<", 0, dropped=0)) == []


def test_sections_have_interfaces_of_their_own(tmp_path: Path) -> None:
    begin = files.section("<") + files.interface("<")
    content = begin + at("<", 1) + statistics("<", 0, dropped=3) + begin + at("<", 2) + statistics("<", 0, dropped=3)
    found = drops_of(tmp_path, content)
    assert found is not None
    assert [(one.interface, one.packets) for one in found] == [(0, 3), (1, 3)]


def test_a_rotation_counts_on(tmp_path: Path) -> None:
    """dumpcap's counts run on from file to file; a program that was started again counts from nothing."""
    begin = files.section("<") + files.interface("<")
    parts = [begin + at("<", 1 + n) + statistics("<", 0, dropped=total) for n, total in enumerate((3, 8, 8, 2))]
    found = drops_of(tmp_path, *parts)
    assert found is not None
    assert [(one.since, one.until, one.packets) for one in found] == [
        (None, 0, 3), (0, SECOND, 5), (2 * SECOND, 3 * SECOND, 2),
    ]  # fmt: skip


def test_the_recorder_says_when_it_looked_before(tmp_path: Path) -> None:
    content = files.section("<") + files.interface("<") + b"".join(at("<", n) for n in range(1, 9))
    found = drops_of(tmp_path, content + statistics("<", 0, dropped=7, after=6 * SECOND))
    assert found == [Dropped(0, 5 * SECOND, 7 * SECOND, 7)]


@pytest.mark.parametrize(
    ("said", "until"),
    [
        pytest.param({"until": 6 * SECOND}, 5 * SECOND, id="its packets came later than the count"),
        pytest.param({"after": SECOND, "until": 6 * SECOND}, 5 * SECOND, id="and it had looked before"),
        pytest.param({"until": 2 * SECOND}, 3 * SECOND, id="a packet was newer"),
    ],
)
def test_the_recorder_says_when_it_looked(said: dict[str, int], until: int, tmp_path: Path) -> None:
    content = files.section("<") + files.interface("<") + b"".join(at("<", n) for n in range(1, 5))
    found = drops_of(tmp_path, content + statistics("<", 0, dropped=7, **said) + at("<", 5) + at("<", 9))
    assert found == [Dropped(0, 0 if "after" in said else None, until, 7)]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 50), st.booleans()), max_size=40))
def test_all_that_was_dropped_is_counted_once(steps: list[tuple[int, int, bool]]) -> None:
    """Interfaces drop packets, are counted, and begin to count anew: only then with less than before."""
    drops, totals, expected = Drops(), dict.fromkeys(range(4), 0), dict.fromkeys(range(4), 0)
    for now, (interface, more, again) in enumerate(steps):
        if again and more < totals[interface]:
            totals[interface] = 0
        totals[interface] += more
        expected[interface] += more
        drops.add(Count(interface, None, now, totals[interface]))
    found = drops.dropped()
    assert (found is None) == (not steps)
    for interface, packets in expected.items():
        assert sum(one.packets for one in found or [] if one.interface == interface) == packets


def test_counts_without_end_are_held_in_little() -> None:
    drops = Drops()
    for now in range(2 * MAX_COUNTS):
        drops.add(Count(0, None, now, now))
    assert len(drops.counts) == MAX_COUNTS
    assert sum(one.packets for one in drops.dropped() or []) == 2 * MAX_COUNTS - 1


@given(st.lists(st.tuples(st.none() | st.integers(0, 100), st.integers(0, 20)), max_size=12), st.integers(-1, 130))
def test_times_are_apart_and_cover_the_same(times: list[tuple[int | None, int]], moment: int) -> None:
    dropped = [Dropped(0, since, (since or 0) + more, 1) for since, more in times]
    found = spans(dropped)
    within = any((one.since is None or one.since <= moment) and moment <= one.until for one in dropped)
    assert within == any((since is None or since <= moment) and moment <= until for since, until in found)
    assert all(since is not None and since > before[1] for before, (since, _) in itertools.pairwise(found))


@given(st.binary(max_size=80), st.sampled_from("<>"))
def test_any_bytes_may_be_in_the_block(data: bytes, order: str) -> None:
    read_statistics(files.block(order, 5, data), order)
