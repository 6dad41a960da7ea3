"""Store inputs that break something, each with a description of the failure, so they can be read again."""

from __future__ import annotations

import re
from pathlib import Path

from tests.fuzzing.guard import Trouble
from tests.fuzzing.places import FUZZING, short

FOLDER = FUZZING / "found"


def keep(harness: str, data: bytes, trouble: Trouble, made: str = "") -> tuple[Path, bool]:
    """Writes the input down, unless one with the same trouble is there already. The file, and whether it is new."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"{harness}-{trouble.kind}-{trouble.key}.bin"
    if path.exists() and path.stat().st_size <= len(data):
        return path, False
    new = not path.exists()
    path.write_bytes(data)
    path.with_suffix(".txt").write_text(f"{trouble.where}\n{made}\n\n{trouble.told}", errors="backslashreplace")
    return path, new


def harness_of(path: Path) -> str:
    """The harness that a file in FOLDER is for; raises ValueError where its name does not say it."""
    match = re.match(r"([a-z]+)-(?:crash|invariant|hang)-", path.name)
    if match is None:
        raise ValueError(f"{short(path)}: its name does not begin with a harness; name it with --harness")
    return match[1]
