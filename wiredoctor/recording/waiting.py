"""Waiting for files."""

from __future__ import annotations

import select
from collections.abc import Sequence


def wait(files: Sequence[int], seconds: float, out: int = -1) -> set[int]:
    """Those of the files that can be read, as soon as there is one; `out` ends the waiting when it can be written."""
    poll = select.poll()
    for file in files:
        poll.register(file, select.POLLIN)
    if out >= 0:
        poll.register(out, select.POLLOUT)
    # at least as long as was asked for, or the same moment would be waited for again and again
    return {file for file, _ in poll.poll(min(seconds, 3600.0) * 1000 + (seconds > 0))}
