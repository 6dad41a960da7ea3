"""Fixtures of the tests of the capturing part."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.recording.namespaces import cable

__all__ = ["cable"]


@pytest.fixture
def everybodys() -> Iterator[Path]:
    """A folder that any user may write to: what pytest makes is root's alone."""
    folder = Path(tempfile.mkdtemp(prefix="recording-"))
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)
