"""Where things are: the captures to begin with, the corpora that grow, the inputs that found something."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from tests.support.recordings import PATHS

ROOT = Path(__file__).resolve().parents[2]
FUZZING = ROOT / ".fuzzing"
"""Not in git: corpora, and what was found."""

FOREIGN = ROOT.parent / "shared" / "corpus" / "files"


@cache
def captures(largest: int, foreign: bool = True) -> tuple[Path, ...]:
    """Recordings, and foreign captures where they are at hand, of at most so many bytes; in an order that stays the same."""
    others: Iterable[Path] = (path for path in FOREIGN.rglob("*") if path.is_file()) if foreign and FOREIGN.is_dir() else ()
    return tuple(path for path in (*PATHS, *sorted(others)) if 0 < path.stat().st_size <= largest)


def short(path: Path) -> str:
    """A path as it is told."""
    return os.path.relpath(path, ROOT)


@contextmanager
def as_file(data: bytes) -> Generator[Path]:
    """The bytes as a file, in memory where the system has that."""
    with tempfile.TemporaryDirectory(dir=_memory(), prefix="wiredoctor-fuzzing-") as folder:
        path = Path(folder) / "x"
        path.write_bytes(data)
        yield path


def _memory() -> str | None:
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
