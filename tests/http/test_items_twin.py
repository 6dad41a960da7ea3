"""The assembler of one direction against a bitmap: whatever order packets come in, the bytes are those of the stream."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from wiredoctor import limits
from wiredoctor.http.items import CUT, HOLE, Assembler, Items

LENGTH = 60


@st.composite
def arrivals(draw: st.DrawFn) -> list[tuple[int, int, bool]]:
    """Ranges that cover parts of the stream once each, in any order; whether the snap length kept one out of the file."""
    edges = sorted({0, LENGTH, *draw(st.lists(st.integers(0, LENGTH), max_size=20))})
    ranges = list(pairwise(edges))
    kept = draw(st.lists(st.sampled_from(ranges), unique=True, min_size=1))
    return [(a, b, draw(st.booleans()) and draw(st.booleans())) for a, b in draw(st.permutations(kept))]


def handed_on(items: Items) -> list[str]:
    """What is known of each byte of the stream that was handed on: its place in the file, `hole` or `cut`."""
    told: list[str] = []
    for start, end, at in zip(items.start, items.end, items.at, strict=True):
        told += [{HOLE: "hole", CUT: "cut"}.get(at, str(at + i)) for i in range(end - start)]
    return told


@given(arrivals(), st.booleans())
@settings(max_examples=200, deadline=None)
def test_everything_is_handed_on_in_order(ranges: list[tuple[int, int, bool]], from_the_start: bool) -> None:
    bitmap: dict[int, str] = {}
    assembler, items = Assembler(reached=0 if from_the_start else None), Items(shuffled=True)
    first = 0 if from_the_start else ranges[0][0]
    for number, (a, b, cut) in enumerate(ranges):
        expected = first + len(handed_on(items)) == a
        assert assembler.add((a, b, CUT if cut else 1000 + a, number, number, 0), items) is expected
        bitmap.update((i, "cut" if cut else str(1000 + i)) for i in range(a, b))
        whole = next((i for i in range(first, LENGTH + 1) if i not in bitmap), LENGTH)
        assert handed_on(items) == [bitmap[i] for i in range(first, whole)]
    while assembler.waiting:
        assembler.give_up(items)
    last = max((i for i in bitmap if i >= first), default=first - 1)
    assert handed_on(items) == [bitmap.get(i, "hole") for i in range(first, last + 1)]
    assert items.start == sorted(items.start)
    assert [i for i, at in enumerate(items.at) if at == HOLE] == items.holes


def test_what_waits_behind_a_hole_is_bounded_in_bytes() -> None:
    assembler, items = Assembler(reached=0), Items(shuffled=True)
    for number in range(1, 20):
        assembler.add((number * limits.AHEAD.value // 10, (number + 1) * limits.AHEAD.value // 10, 0, number, number, 0), items)
        assert len(assembler.waiting) <= 10
    assert items.holes == [0]


def test_what_waits_behind_holes_is_bounded_in_packets() -> None:
    """A hole between any two bytes: the oldest are given up, nothing is lost that came."""
    assembler, items = Assembler(reached=0), Items(shuffled=True)
    for number in range(limits.BEHIND.value + 100):
        assembler.add((2 * number + 1, 2 * number + 2, 0, number, number, 0), items)
        assert len(assembler.waiting) <= limits.BEHIND.value
    assert len(items.holes) == 100
