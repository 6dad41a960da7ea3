"""Define the argument of the program: what to capture, and into which files."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

DEFAULT_BUFFER = 64
"""The default kernel memory per interface for unread packets, in MiB: 0.5 s of 1 Gbit/s."""

DEFAULT_RING = (8, 64 << 20)
"""The default number of files in a ring, and their size in bytes."""


class Ring(NamedTuple):
    """A ring of at most `files` files of at most `bytes` bytes each; a file holds at least one block."""

    files: int
    bytes: int


class OutputFile(NamedTuple):
    """A file; or a folder and the files in it, if there are `names`."""

    path: str
    names: list[str]


class Request(NamedTuple):
    """The request. `file` None means a ring of files without names in `folder`; None for other limits means no limit.

    `snaplen`, `packets` and `duration` are such limits. `stream`: the descriptor of a capture that another program is writing,
    with a name for it, instead of interfaces. `outputs`: files that may be opened for the analysis. `waits`: begin on request,
    stay until no more requests can come, and then remove `folder`.
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
    stream: int | None = None
    stream_name: str = ""


def read_request(text: str) -> Request:
    """Parse a JSON object into a Request. Raise ValueError, KeyError or TypeError if it is invalid."""
    asked: dict[str, Any] = dict(json.loads(text))
    ring = asked.get("ring")
    file = asked.get("file")
    interfaces = list(dict.fromkeys(str(name) for name in asked["interfaces"]))
    stream = asked.get("stream")
    if not interfaces and stream is None:
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
        backend=asked.get("backend") if stream is None else "stream",
        outputs=[OutputFile(str(path), [str(name) for name in names]) for path, names in asked.get("outputs") or ()],
        waits=bool(asked.get("waits")),
        stream=None if stream is None else int(stream),
        stream_name=str(asked.get("stream_name") or ""),
    )
