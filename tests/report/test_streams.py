"""Streams are put together as they were sent: each byte once, in its place, holes named; whatever a packet carries."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from random import Random

import pytest

import wiredoctor
from tests.ladders import ladder_packets, to_pcap
from wiredoctor.report.packets import streams
from wiredoctor.report.packets.follow import Window, escape_bytes, text
from wiredoctor.report.packets.streams import Hole, Run, follow, spans

HANDSHAKE = """
    0.000 > S
    0.010 < S.
    0.010 > .
"""


def events(tmp_path: Path, ladder: str, *, shuffle: int | None = None) -> list[Run | Hole]:
    packets = ladder_packets(HANDSHAKE + ladder)
    if shuffle is not None:
        Random(shuffle).shuffle(packets)
    (tmp_path / "x.pcap").write_bytes(to_pcap(packets))
    report = wiredoctor.analyze(tmp_path / "x.pcap", keep=True)
    return [*follow(next(iter(report.packets.values())), 0)]


def said(found: list[Run | Hole], direction: int = 0) -> bytes:
    return b"".join(e.data for e in found if isinstance(e, Run) and e.direction == direction)


def quoted(data: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in data)


PLAIN = """
    0.020 > P. "one "
    0.030 < . ack 5
    0.040 > P. "two "
    0.050 > P. "three"
    0.060 < P. "four"
"""


def test_what_was_sent_is_told_in_order_of_time(tmp_path: Path) -> None:
    found = events(tmp_path, PLAIN)
    assert [(e.direction, e.data) for e in found if isinstance(e, Run)] == [
        (0, b"one "),
        (0, b"two "),
        (0, b"three"),
        (1, b"four"),
    ]
    assert [e.frame for e in found] == [4, 6, 7, 8]


def test_reordered_and_repeated_bytes_stand_once_in_their_place(tmp_path: Path) -> None:
    ladder = """
        0.020 > P. 1:5 "one "
        0.040 > P. 9:14 "three"
        0.041 > P. 5:9 "two "
        0.050 > P. 5:14 "two three"
        0.060 < P. "four"
    """
    found = events(tmp_path, ladder)
    assert said(found) == b"one two three"
    assert not [e for e in found if isinstance(e, Hole)]


def test_a_hole_that_was_acknowledged_is_told_where_it_is(tmp_path: Path) -> None:
    ladder = """
        0.020 > P. 1:5 "one "
        0.040 > P. 9:14 "three"
        0.060 < . ack 14
        3.000 < P. "late"
        3.100 > P. 14:19 " four"
    """
    found = events(tmp_path, ladder)
    holes = [e for e in found if isinstance(e, Hole)]
    assert [(h.direction, h.offset, h.length, h.cut) for h in holes] == [(0, 4, 4, False)]
    assert said(found) == b"one three four"
    assert found.index(holes[0]) < next(i for i, e in enumerate(found) if e.direction == 1)


def test_a_hole_at_the_end_is_told(tmp_path: Path) -> None:
    found = events(tmp_path, '0.020 > P. 1:5 "one "\n0.040 > P. 9:14 "three"')
    assert [type(e) for e in found] == [Run, Hole, Run]


def test_what_waits_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "MAX_WAITING", 1000)
    lines = [f'0.{100 + n} > P. {9 + 4 * n}:{13 + 4 * n} "abcd"' for n in range(30)]
    found = events(tmp_path, '0.020 > P. 1:5 "one "\n' + "\n".join(lines) + '\n0.900 > P. 5:9 "late"')
    assert [e.late for e in found if isinstance(e, Run)].count(True) == 1
    assert sum(isinstance(e, Hole) for e in found) == 1
    assert said(found) == b"one " + b"abcd" * 30 + b"late"


@pytest.mark.parametrize("seed", range(3))
def test_any_order_gives_the_same_bytes(tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wiredoctor.engine.second_pass.STEP", 3)
    data = bytes(Random(seed).randbytes(400))
    cuts = sorted({0, 400, *Random(seed).sample(range(400), 20)})
    lines = [f'0.{100 + n} > P. {1 + a}:{1 + b} "{quoted(data[a:b])}"' for n, (a, b) in enumerate(pairwise(cuts))]
    Random(seed).shuffle(lines)
    timed = [f"0.{100 + n} {line.partition(' ')[2]}" for n, line in enumerate(lines)]
    found = events(tmp_path, "\n".join(timed))
    assert said(found) == data
    report = wiredoctor.analyze(tmp_path / "x.pcap", keep=True)
    access = next(iter(report.packets.values()))
    assert spans(access, 0, [(0, 10, 30), (0, 0, 400), (0, 390, 410)]) == {
        (0, 10, 30): data[10:30], (0, 0, 400): data, (0, 390, 410): None,
    }  # fmt: skip


ENDS = {0: ("client", "10.0.0.1:1"), 1: ("server", "10.0.0.2:80")}


def lines(*runs: Run | Hole) -> list[str]:
    return [line for line, _ in text(runs, ENDS, Window())]


def test_no_order_reaches_a_terminal() -> None:
    evil = b"\x1b[2J\x1b]0;x\x07\x9b31m\r\r\n# frame 9\n> no\x7f\xe2\x80\xae\0"
    made = lines(Run(1, 4, 0, 0, evil))
    assert all(line.isascii() and line.isprintable() for line in made)
    assert [line[0] for line in made] == ["#", "<", "<", "<"]
    assert escape_bytes(b"a\x00\n") == r"a\x00\x0a"


def test_a_line_in_several_packets_is_one_line() -> None:
    made = lines(
        Run(0, 1, 0, 0, b"GET / HT"),
        Run(0, 2, 0, 8, b"TP/1.1\r\nA: b\r\n\r\nrest"),
        Run(1, 3, 0, 0, b"x"),
        Run(0, 4, 0, 9, b"\n"),
    )
    assert made == [
        "# frame 1, 0.000000 s: client 10.0.0.1:1", "> GET / HTTP/1.1", "> A: b", ">", "> rest",
        "# frame 3, 0.000000 s: server 10.0.0.2:80", "< x", "# frame 4, 0.000000 s: client 10.0.0.1:1", ">",
    ]  # fmt: skip


def test_a_line_without_end_is_broken() -> None:
    made = lines(*(Run(0, n, 0, 1000 * n, b"x" * 1000) for n in range(50)))
    assert len(made) > 10
    assert "".join(line[2:] for line in made[1:]) == "x" * 50_000


def test_holes_are_named() -> None:
    made = lines(Run(0, 1, 0, 0, b"a"), Hole(0, 2, 0, 1, 300, cut=False), Hole(0, 2, 0, 1, 1, cut=True), Run(0, 3, 0, 301, b"b"))
    assert made[2].startswith("! 300 bytes missing: ")
    assert made[3].startswith("! 1 byte not captured: ")
