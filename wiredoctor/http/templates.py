"""Plain request heads, read by their likeness to the one before: most of a head repeats, and only some values vary."""

from __future__ import annotations

from dataclasses import dataclass, field

from wiredoctor import limits
from wiredoctor.http.fields import CONTROLS, Fields, has_controls
from wiredoctor.http.head import KNOWN_METHODS, LONGEST, MOST_LINES, HeadParser
from wiredoctor.http.rows import Asked

METHODS = {method: method.decode("ascii") for method in KNOWN_METHODS if method != b"CONNECT"}

PlainRequest = tuple[int, str]
"""Kind (an index of RequestTemplates.kinds) and target of a request of HTTP/1.1 that has no body and wishes no other protocol."""


@dataclass
class _Shape:
    """Field lines of heads that differ in nothing of interest, and which of them (positions) vary in their values."""

    lines: list[bytes]
    fields: Fields
    varying: set[int] = field(default_factory=set[int])


@dataclass
class RequestTemplates:
    """Reads plain request heads. `parts` is what was the same in the heads of the newest shape, `end` what was behind that.

    `kinds`: what the requests read so far were, but for their targets.
    """

    parser: HeadParser
    kinds: list[Asked] = field(default_factory=list[Asked])
    _known: dict[tuple[str, int], int] = field(default_factory=dict[tuple[str, int], int])
    _parts: list[tuple[bytes, int]] = field(default_factory=list[tuple[bytes, int]])
    _end: bytes = b""
    _fields: Fields | None = None
    _shapes: dict[tuple[bytes, ...], _Shape] = field(default_factory=dict[tuple[bytes, ...], _Shape])

    def read(self, data: bytes) -> PlainRequest | None:
        """A whole segment's payload; None unless it is one plain request head and nothing else."""
        line_end = at = data.find(b"\r\n")
        fields = None
        for part, size in self._parts:
            if not data.startswith(part, at):
                break
            start = at + size
            at = data.find(b"\n", start) - 1
            if len(data[start:at].translate(None, CONTROLS)) != at - start:
                return None
        else:
            if data[at:] == self._end:
                fields = self._fields
        line = data[:line_end].split(b" ")
        method = METHODS.get(line[0])
        if method is None or len(line) != 3 or line[2] != b"HTTP/1.1" or not line[1]:
            return None
        target = line[1].decode("latin-1")
        if not target.isprintable() and has_controls(line[1]):
            return None
        if fields is None:
            fields = self._other(data)
            if fields is None:
                return None
        kind = self._known.get((method, fields.number))
        if kind is None:
            kind = self._known[method, fields.number] = len(self.kinds)
            self.kinds.append((method, "HTTP/1.1", fields))
        return kind, target

    def new_kinds(self) -> None:
        """Begins to count kinds anew, so that they are few."""
        self.kinds = []
        self._known.clear()

    def _other(self, data: bytes) -> Fields | None:
        """A head that is not like the one before: its fields if it is plain, and from now on its shape is the newest."""
        lines = data.split(b"\r\n")[1:]
        if data.find(b"\r\n\r\n") != len(data) - 4 or data.count(b"\n") != len(lines):
            return None
        del lines[-2:]
        fields = self.parser.fields(lines)
        if not fields.plain:
            return None
        if len(lines) <= MOST_LINES and all(len(line) <= LONGEST for line in lines):
            self._learn(lines, fields)
        return fields

    def _learn(self, lines: list[bytes], fields: Fields) -> None:
        says = self.parser.says
        # a line's name tells whether its value can be of interest; without a colon there is no name
        key = tuple([line if says(line) or b":" not in line else line[: line.index(b":") + 1] for line in lines])
        shape = self._shapes.get(key)
        if shape is None:
            if len(self._shapes) >= limits.REQUEST_SHAPES.value:
                self._shapes.clear()
            shape = self._shapes[key] = _Shape(lines, fields)
        shape.varying.update(i for i, (old, new) in enumerate(zip(shape.lines, lines, strict=True)) if old != new)
        parts, same = list[tuple[bytes, int]](), b"\r\n"
        for i, line in enumerate(shape.lines):
            if i in shape.varying:
                same += key[i]
                parts.append((same, len(same)))
                same = b"\r\n"
            else:
                same += line + b"\r\n"
        self._parts, self._end, self._fields = parts, same + b"\r\n", shape.fields
