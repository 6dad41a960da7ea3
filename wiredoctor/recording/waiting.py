"""Wait until files become readable or writable."""

from __future__ import annotations

import select
from collections.abc import Sequence


def wait(files: Sequence[int], seconds: float, out: int = -1) -> set[int]:
    """Wait until one of `files` is readable or closed, or `out` is writable; return the descriptors for which this is true.

    Return an empty set after `seconds`, but after an hour at the latest.
    """
    poll = select.poll()
    for file in files:
        poll.register(file, select.POLLIN)
    if out >= 0:
        poll.register(out, select.POLLOUT)
    # round up, or the loop would wait repeatedly for the same time
    return {file for file, _ in poll.poll(min(seconds, 3600.0) * 1000 + (seconds > 0))}
