"""The recordings of captures/, found by their names in whatever folder they are."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CAPTURES = ROOT / "captures"
SUFFIXES = (".pcap", ".pcapng")

PATHS = sorted((path for path in CAPTURES.rglob("*.pcap*") if path.suffix in SUFFIXES), key=lambda path: path.name)
"""All recordings in order of their names."""

_BY_NAME = {path.name: path for path in PATHS}
_BY_STEM = {path.stem: path for path in PATHS}


def find_recording(name: str) -> Path:
    """Return the path of the recording with this file name; KeyError without one."""
    return _BY_NAME[name]


def find_stem(stem: str) -> Path:
    """Return the path of the recording with this name, given without its suffix; KeyError without one."""
    return _BY_STEM[stem]
