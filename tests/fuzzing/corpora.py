"""Create the first corpus of each harness: small captures, their packets, and a few inputs for each parser. The corpora grow on
disk.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from random import Random

from tests.fuzzing import capturefile
from tests.fuzzing.places import FUZZING, captures

SMALL = 6_000
"""Bytes of a capture that is taken whole."""

MAX_FILES = 1_200
"""Inputs to begin with: libFuzzer reads all of them first."""


def folder(harness: str) -> Path:
    """Where the corpus of a harness is; made when it is missing."""
    path = FUZZING / "corpus" / harness
    path.mkdir(parents=True, exist_ok=True)
    return path


def grow(harness: str) -> int:
    """Puts in what to begin with, when the folder is empty; says how many inputs are there."""
    path = folder(harness)
    if not any(path.iterdir()):
        for content in seeds(harness):
            if content:
                (path / hashlib.sha256(content).hexdigest()[:16]).write_bytes(content)
    return sum(1 for _ in path.iterdir())


def seeds(harness: str) -> Iterator[bytes]:
    if harness in ("capture", "core", "whole"):
        yield from _captures()
    elif harness == "decode":
        yield from _packets()
    elif harness == "parsers":
        from tests.fuzzing.harnesses.parsers import seeds as inputs

        yield from inputs()
    else:
        random = Random(1)
        yield from (random.randbytes(random.choice((20, 100, 300))) for _ in range(300))


def _captures() -> Iterator[bytes]:
    """Small captures whole, and the beginnings of others."""
    chosen = list(captures(1 << 20))
    Random(1).shuffle(chosen)
    for path in chosen[:MAX_FILES]:
        content = path.read_bytes()
        if len(content) > SMALL:
            file = capturefile.read(content)
            content = content[:SMALL] if file is None else _beginning(file)
        yield content


def _beginning(file: capturefile.CaptureFile) -> bytes:
    size, packets = 0, list[capturefile.Recorded]()
    for packet in file.packets:
        size += len(packet.data) + 32
        if size > SMALL:
            break
        packets.append(packet)
    return file.with_packets(packets or file.packets[:1]).to_bytes()


def _packets() -> Iterator[bytes]:
    """Packets of captures: one of each length and link type of a capture."""
    from tests.fuzzing.harnesses.decode import seed

    chosen = list(captures(1 << 18))
    Random(2).shuffle(chosen)
    for path in chosen[:MAX_FILES]:
        file = capturefile.read(path.read_bytes())
        if file is not None:
            yield seed({(p.link_type, len(p.data)): p for p in file.packets if len(p.data) < 1_600}.values())[:8_000]
