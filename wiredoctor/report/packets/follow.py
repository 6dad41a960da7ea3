"""Reassembled bytes for people (escaped, a line of theirs on a line) and for pipes (as they were sent)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import BinaryIO, NamedTuple

from wiredoctor.report.packets.streams import Hole, Run
from wiredoctor.report.words import clean, count
from wiredoctor.tables import SECOND

UNMASKED = "the following bytes are shown as sent: nothing is masked"
"""The warning before followed bytes."""

_SHOWN = [chr(code) if 0x20 <= code < 0x7F else f"\\x{code:02x}" for code in range(256)]
_LINES = re.compile(rb"[^\n]*\n?")
_PIECE = 4096
"""Bytes of a line without an end after which a new one is begun."""


class Window(NamedTuple):
    """What is wanted: bounds included; None is none."""

    frames: tuple[int, int] | None = None
    times: tuple[int, int] | None = None
    direction: int | None = None

    def has(self, event: Run | Hole) -> bool:
        """Whether bytes, or a hole, are wanted."""
        return (
            (self.direction is None or event.direction == self.direction)
            and (self.frames is None or self.frames[0] <= event.frame <= self.frames[1])
            and (self.times is None or self.times[0] <= event.time <= self.times[1])
        )

    def over(self, event: Run | Hole) -> bool:
        """Whether nothing behind it is wanted, as far as frames and times go."""
        return bool((self.frames and event.frame > self.frames[1]) or (self.times and event.time > self.times[1] + SECOND))


def escaped(data: bytes) -> str:
    r"""Bytes as ASCII that a terminal shows and never obeys: everything else is \xNN."""
    if data.isascii() and (plain := data.decode("ascii")).isprintable():
        return plain
    return "".join([_SHOWN[byte] for byte in data])


def text(events: Iterable[Run | Hole], ends: dict[int, tuple[str, str]], window: Window) -> Iterator[tuple[str, str]]:
    """Lines and their styles: who speaks from which frame on, then what was sent, every line with a sign in front that the bytes
    cannot make: `>` of the client, `<` of the server, `!` of what is missing. `ends`: direction -> side, endpoint."""
    speaker: int | None = None
    rest = b""
    for event in events:
        if not window.has(event):
            continue
        side, end = ends[event.direction]
        sign, style = (">", "cyan") if side == "client" else ("<", "green")
        hole, late = isinstance(event, Hole), isinstance(event, Run) and event.late
        if rest and (hole or late or event.direction != speaker):
            yield _line(rest, *_sign(ends, speaker))
            rest = b""
        if event.direction != speaker or late:
            yield clean(f"# frame {event.frame}, {event.time / SECOND:.6f} s: {side} {end}{_late(event)}"), "bold"
            speaker = event.direction
        if isinstance(event, Hole):
            yield f"! {_missing(event)}", "bold red"
            continue
        *whole, rest = _LINES.findall(rest + event.data)[:-1] or [b""]
        if rest.endswith(b"\n") or len(rest) >= _PIECE:
            whole, rest = [*whole, rest], b""
        for line in whole:
            yield _line(line, sign, style)
    if rest:
        yield _line(rest, *_sign(ends, speaker))


def _sign(ends: dict[int, tuple[str, str]], direction: int | None) -> tuple[str, str]:
    return (">", "cyan") if ends[direction or 0][0] == "client" else ("<", "green")


def _line(data: bytes, sign: str, style: str) -> tuple[str, str]:
    content = data.removesuffix(b"\n")
    ended = content.removesuffix(b"\r") if data.endswith(b"\n") else content
    return f"{sign} {escaped(ended)}" if ended else sign, style


def _late(event: Run | Hole) -> str:
    return f", captured late: offset {event.offset:,} of its stream" if isinstance(event, Run) and event.late else ""


def _missing(hole: Hole) -> str:
    why = "not captured: the packet was cut short" if hole.cut else "missing: their packets are not in the capture"
    return f"{count(hole.length, 'byte')} {why}"


def raw(events: Iterable[Run | Hole], out: BinaryIO, window: Window) -> tuple[int, int, int]:
    """Writes the bytes of a side as they were sent; says how many, how many are missing among them, and how many came too late
    for their place and are left out."""
    written = missing = late = 0
    for event in events:
        if not window.has(event):
            continue
        if isinstance(event, Hole):
            missing += event.length
        elif event.late:
            late += len(event.data)
        else:
            out.write(event.data)
            written += len(event.data)
    return written, missing, late
