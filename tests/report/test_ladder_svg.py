"""Ladders as SVG: every packet is there, waits are as high as they are long, and nothing in a name is markup."""

from __future__ import annotations

import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from tests.report.test_hostile_names import ORDERS, safe
from wiredoctor.report.ladder.build import Ladder, Step, Wait
from wiredoctor.report.ladder.draw_svg import TALLEST, describe, svg

NONE = Wait(None, 0, of_finding=False, waited_for=None)
SVG = "{http://www.w3.org/2000/svg}"


def step(frame: int, elapsed: float, before: Wait = NONE, **changes: object) -> Step:
    """A packet of 5 bytes from the client."""
    return Step(frame, 0, elapsed, True, "PSH ACK", 5, "body, 5 bytes", (), (), before, evidence=True)._replace(**changes)


def lost(seconds: float, *, of_finding: bool = True) -> Wait:
    """A time in which the server was waited for."""
    return Wait(seconds, 0, of_finding=of_finding, waited_for="server")


def drawn(ladder: Ladder) -> ElementTree.Element:
    """The picture, read by another reader."""
    return ElementTree.fromstring(svg(ladder, "a title"))


def heights(picture: ElementTree.Element, kind: str) -> list[int]:
    """Of the waits of a kind."""
    return [int(rect.attrib["height"]) for rect in picture.iter(f"{SVG}rect") if rect.attrib.get("class") == kind]


def test_waits_are_to_scale() -> None:
    steps = (step(1, 0.0), step(2, 0.2, lost(0.2)), step(3, 0.24, lost(0.04)), step(4, 0.34, lost(0.1, of_finding=False)))
    picture = drawn(Ladder("a", "c", "s", (0,), steps))
    assert heights(picture, "shade") == [TALLEST, TALLEST // 5]
    assert heights(picture, "idle") == [TALLEST // 2]
    texts = [text.text for text in picture.iter(f"{SVG}text")]
    for length in ("200 ms", "40 ms", "100 ms"):
        assert any(text and text.startswith(length) for text in texts)
    for frame in "1234":
        assert frame in texts


def test_what_is_too_long_for_the_paper_says_so() -> None:
    steps = (step(1, 0.0), step(2, 0.1, lost(0.1)), step(3, 60.1, lost(60.0, of_finding=False)))
    picture = drawn(Ladder("a", "c", "s", (0,), steps))
    assert [text.text for text in picture.iter(f"{SVG}text") if text.text and "drawn shorter" in text.text]
    assert max(heights(picture, "idle")) <= TALLEST


def test_packets_that_are_left_out_are_counted() -> None:
    left = Wait(0.0, 1_234, of_finding=False, waited_for=None)
    texts = [t.text for t in drawn(Ladder("a", "c", "s", (0,), (step(1, 0.0), step(9, 0.0, left)), 7)).iter(f"{SVG}text")]
    assert "1,234 packets not shown" in texts
    assert "7 packets not shown" in texts


def test_nothing_overlaps() -> None:
    notes = ("a long note " * 12, "and another")
    steps = tuple(step(n, n * 0.1, lost(0.1) if n % 3 else NONE, notes=notes, marks=("retransmission",)) for n in range(1, 12))
    picture = drawn(Ladder("a", "c", "s", (0,), steps))
    places = [(int(t.attrib["x"]), int(t.attrib["y"])) for t in picture.iter(f"{SVG}text")]
    assert len(places) == len(set(places))
    right = sorted(y for x, y in places if x > 570)
    assert all(below - above >= 14 for above, below in pairwise(right))
    assert int(picture.attrib["height"]) >= max(y for _, y in places)


@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("lines", [1, 2, 3])
def test_a_short_wait_is_not_written_over_a_note(lines: int, narrow: bool) -> None:
    """The second wait is a twentieth of the highest one. In a wide picture, notes have a column of their own."""
    notes = tuple(f"note {number}" for number in range(lines))
    steps = (step(1, 0.0), step(2, 1.0, lost(1.0), notes=notes), step(3, 1.05, lost(0.05, of_finding=False)))
    picture = ElementTree.fromstring(svg(Ladder("a", "c", "s", (0,), steps), "a title", narrow=narrow))
    texts = {text.text: (int(text.attrib["x"]), int(text.attrib["y"])) for text in picture.iter(f"{SVG}text")}
    (x, y), (note_x, note_y) = texts["50 ms until the server sends"], texts[notes[-1]]
    if narrow:
        assert y - note_y >= 14
    else:
        assert x < int(picture.findall(f"{SVG}line")[1].attrib["x1"]) < note_x


@pytest.mark.parametrize("frame", [9, 10_000, 1_234_567_890])
@pytest.mark.parametrize("elapsed", [0.5, 10.0, 86_400.0, 123_456_789.5])
def test_frame_number_and_time_never_overprint(frame: int, elapsed: float) -> None:
    """A digit of DejaVu Sans Bold is 0.696 em wide, a period 0.380 em; texts are 12 px high and end at their x."""
    ladder = Ladder("a", "c", "s", (0,), (step(frame, elapsed), step(frame + 1, elapsed)))
    picture = drawn(ladder)
    texts = [(int(t.attrib["x"]), t.text or "") for t in picture.iter(f"{SVG}text") if t.attrib.get("text-anchor") == "end"]
    [number] = {x for x, text in texts if text == str(frame)}
    [time] = {x for x, text in texts if text == f"{elapsed:.6f}"}
    assert number - 12 * 0.696 * len(str(frame)) >= 0
    width = 12 * (0.696 * (len(f"{elapsed:.6f}") - 1) + 0.38)
    assert time - width >= number + 4
    lines = [float(line.attrib["x1"]) for line in picture.iter(f"{SVG}line")]
    assert time + 4 <= min(lines)
    assert float(picture.attrib["width"]) - max(lines) >= 300


def test_it_is_told_to_those_who_do_not_see_it() -> None:
    ladder = Ladder("a", "c", "s", (0,), (step(1, 0.0), step(2, 0.2, lost(0.2), notes=("the answer",), from_client=False)))
    picture = drawn(ladder)
    assert picture.attrib["role"] == "img"
    named = {child.attrib["id"]: child.text for child in picture if child.tag in (f"{SVG}title", f"{SVG}desc")}
    assert [named[name] for name in picture.attrib["aria-labelledby"].split()] == ["a title", describe(ladder)]
    assert "Frame 2, 0.200000 s, server: body, 5 bytes; the answer." in describe(ladder)
    assert "200 ms" in describe(ladder)


def test_hostile_names_are_text() -> None:
    evil = "".join(ORDERS)
    steps = tuple(step(n, n * 0.1, text=one, notes=(one,), marks=(one,)) for n, one in enumerate([evil, *ORDERS]))
    made = svg(Ladder(evil, evil, evil, (0,), steps), evil)
    picture = ElementTree.fromstring(made)
    assert safe(made)
    plain = {element.tag for element in drawn(Ladder("a", "c", "s", (0,), (step(1, 0.0), step(2, 0.2, lost(0.2))))).iter()}
    assert {element.tag for element in picture.iter()} <= plain
    assert not re.search(r"\son\w+=|href|style=", re.sub(r">[^<]*<", "><", made))


@pytest.mark.parametrize("alone", [True, False])
def test_with_its_own_style_or_that_of_a_page(alone: bool) -> None:
    made = svg(Ladder("a", "c", "s", (0,), (step(1, 0.0),)), "t", alone=alone)
    assert ("<style>" in made) == alone
    assert ("prefers-color-scheme:dark" in made) == alone


def test_without_packets_there_is_no_picture() -> None:
    assert svg(Ladder("a", "", "", (), (), None, "why"), "t") == ""
