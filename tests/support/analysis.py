"""Analyze a capture that a test has made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import wiredoctor
from wiredoctor.findings import Report


def analyze_bytes(path: Path, content: bytes, **how: Any) -> Report:
    """Write a capture file with this content, and analyze it; `how`: further arguments of `wiredoctor.analyze`."""
    path.write_bytes(content)
    return wiredoctor.analyze(path, **how)
