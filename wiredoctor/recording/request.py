"""Define the request, the argument of the recorder program: what to capture, and into which files."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

DEFAULT_BUFFER = 64
"""The default kernel memory per interface for unread packets, in MiB: enough for 0.5 s at 1 Gbit/s."""

DEFAULT_RING = (8, 64 << 20)
"""The default number of files in a ring, and their size in bytes."""


class Ring(NamedTuple):
    """A ring of at most `files` files of at most `bytes` bytes each.

    Each file has at least one block, even if that block is larger than `bytes`.
    """

    files: int
    bytes: int


class OutputFile(NamedTuple):
    """A file that the analysis may write, at `path`. If there are `names`, `path` is a folder, and `names` are files in it."""

    path: str
    names: list[str]


class Request(NamedTuple):
    """A request to the recorder: what to capture, and into which files.

    `filter_option`: the option that gave `filter`; if it is empty, the filter is a default, without which raw sockets capture
    where it cannot be applied. `file` is None for a ring of files without names in `folder`. `snaplen` (bytes), `duration`
    (seconds) and `packets` are limits; None means no limit. `buffer`: the kernel memory for packets in MiB per interface.
    `backend`: one of BACKENDS, or None to try all. `outputs`: files that the analysis may ask the recorder to open. `waits`: if
    true, the recorder begins to capture when the analysis requests it, runs until the analysis has ended, and then removes
    `folder`. `stream`: the descriptor of a capture that another program is writing; it is read instead of capturing on
    interfaces. `stream_name`: the name of the stream in messages.
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
    filter_option: str = "--filter"


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
        filter_option=str(asked.get("filter_option", "--filter")),
    )
