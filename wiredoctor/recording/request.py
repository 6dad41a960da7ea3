"""What is to be captured, and into which files: the one argument of the program."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

DEFAULT_BUFFER = 64
"""MiB of kernel memory for packets that nobody has fetched yet, per interface: 0.5 s of 1 Gbit/s."""

DEFAULT_RING = (8, 64 << 20)
"""Files, and bytes of each, of a ring that nobody has given a size."""


class Ring(NamedTuple):
    """At most so many files of at most so many bytes (a file holds one block at least)."""

    files: int
    bytes: int


class OutputFile(NamedTuple):
    """A file; or, if there are `names`, a folder and the files in it."""

    path: str
    names: list[str]


class Request(NamedTuple):
    """What is asked for. `file` None: a ring of files without names in `folder`. `snaplen`, `packets`, `duration` None: no limit.

    `outputs`: what may be opened for the analysis. `waits`: begin when asked to, stay
    until nobody can ask any more, and then remove `folder`.
    """

    interfaces: list[str]
    filter: str
    file: str | None
    folder: str
    ring: Ring | None
    snaplen: int | None
    duration: float | None
    packets: int | None
    buffer: int
    backend: str | None
    outputs: list[OutputFile]
    waits: bool


def read_request(text: str) -> Request:
    """The JSON object as a Request. Raises ValueError, KeyError or TypeError where it is none: that is the caller's mistake."""
    asked: dict[str, Any] = dict(json.loads(text))
    ring = asked.get("ring")
    file = asked.get("file")
    interfaces = list(dict.fromkeys(str(name) for name in asked["interfaces"]))
    if not interfaces:
        raise ValueError("no interface is named")
    return Request(
        interfaces=interfaces,
        filter=asked.get("filter") or "",
        file=file,
        folder=asked.get("folder") or "",
        ring=Ring(max(1, int(ring["files"])), max(1, int(ring["bytes"]))) if ring else None if file else Ring(*DEFAULT_RING),
        snaplen=asked.get("snaplen"),
        duration=asked.get("duration"),
        packets=asked.get("packets"),
        buffer=asked.get("buffer") or DEFAULT_BUFFER,
        backend=asked.get("backend"),
        outputs=[OutputFile(str(path), [str(name) for name in names]) for path, names in asked.get("outputs") or ()],
        waits=bool(asked.get("waits")),
    )
