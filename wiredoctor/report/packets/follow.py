"""Print reassembled bytes for people (escaped, line by line) or for pipes (unchanged)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import BinaryIO, NamedTuple

from wiredoctor.report.packets.streams import Hole, Run
from wiredoctor.report.words import clean, count
from wiredoctor.tables import SECOND

UNMASKED = "the following bytes are shown as sent, without masking"
"""The warning that precedes the bytes of a followed stream."""

_SHOWN = [chr(code) if 0x20 <= code < 0x7F else f"\\x{code:02x}" for code in range(256)]
_LINES = re.compile(rb"[^\n]*\n?")
_PIECE = 4096
"""The minimum number of bytes per line when data without line breaks is divided into lines."""


class Window(NamedTuple):
    """The part of a connection that was requested: ranges of frames and of times (ns), both ends included, and a direction.

    A field that is None does not limit the part.
    """

    frames: tuple[int, int] | None = None
    times: tuple[int, int] | None = None
    direction: int | None = None

    def has(self, event: Run | Hole) -> bool:
        """Return whether the bytes or the gap in `event` were requested."""
        return (
            (self.direction is None or event.direction == self.direction)
            and (self.frames is None or self.frames[0] <= event.frame <= self.frames[1])
            and (self.times is None or self.times[0] <= event.time <= self.times[1])
        )

    def over(self, event: Run | Hole) -> bool:
        """Return whether this event, and thus every later one, lies beyond the requested frames or times.

        One second is added to the times, because packets may have been captured out of order.
        """
        return bool((self.frames and event.frame > self.frames[1]) or (self.times and event.time > self.times[1] + SECOND))


def escape_bytes(data: bytes) -> str:
    r"""Return bytes as text. All except printable ASCII become \xNN, so none of them can control a terminal."""
    if data.isascii() and (plain := data.decode("ascii")).isprintable():
        return plain
    return "".join([_SHOWN[byte] for byte in data])


def text(events: Iterable[Run | Hole], ends: dict[int, tuple[str, str]], window: Window) -> Iterator[tuple[str, str]]:
    """Yield pairs of a line and its style: a header whenever the sender changes, then the data.

    Each line begins with a character that shows what it is, so the data cannot imitate a header: `#` header, `>` client, `<`
    server, `!` missing bytes. `ends`: the sender's side and endpoint, by direction.
    """
    speaker: int | None = None
    rest = b""
    for event in events:
        if not window.has(event):
            continue
        side, end = ends[event.direction]
        hole, late = isinstance(event, Hole), isinstance(event, Run) and event.late
        if rest and (hole or late or event.direction != speaker):
            yield _line(rest, *_sign(ends, speaker))
            rest = b""
        if event.direction != speaker or late:
            yield clean(f"# frame {event.frame}, {event.time / SECOND:.6f} s: {side} {end}{_late_note(event)}"), "bold"
            speaker = event.direction
        if isinstance(event, Hole):
            yield f"! {_missing(event)}", "bold red"
            continue
        *whole, rest = _LINES.findall(rest + event.data)[:-1] or [b""]
        if rest.endswith(b"\n") or len(rest) >= _PIECE:
            whole, rest = [*whole, rest], b""
        for line in whole:
            yield _line(line, *_sign(ends, speaker))
    if rest:
        yield _line(rest, *_sign(ends, speaker))


def _sign(ends: dict[int, tuple[str, str]], direction: int | None) -> tuple[str, str]:
    return (">", "cyan") if ends[direction or 0][0] == "client" else ("<", "green")


def _line(data: bytes, sign: str, style: str) -> tuple[str, str]:
    content = data.removesuffix(b"\n")
    ended = content.removesuffix(b"\r") if data.endswith(b"\n") else content
    return f"{sign} {escape_bytes(ended)}" if ended else sign, style


def _late_note(event: Run | Hole) -> str:
    return f", captured late: offset {event.offset:,} of its stream" if isinstance(event, Run) and event.late else ""


def _missing(hole: Hole) -> str:
    why = "not captured: the snap length cut off the packet" if hole.cut else "missing: these packets were not captured"
    return f"{count(hole.length, 'byte')} {why}"


def raw(events: Iterable[Run | Hole], out: BinaryIO, window: Window) -> tuple[int, int, int]:
    """Write the requested bytes unchanged. Return three numbers of bytes: written, missing, and too late.

    Bytes are too late if bytes that follow them in the stream were already written; they are left out.
    """
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
