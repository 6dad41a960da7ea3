"""Count the packets on each interface for some time, which requires no permission."""

from __future__ import annotations

import time
from pathlib import Path

_TABLE = Path("/proc/net/dev")
"""The file with a line for each interface of this network namespace; see proc(5)."""

_RECEIVED, _SENT = 1, 9
"""The columns with packet counts, counted after the name."""


def traffic(seconds: float) -> dict[str, int]:
    """Return the number of packets that each interface received and sent in this time; empty if the system does not count
    them.
    """
    before = _packets()
    time.sleep(seconds)
    return {name: count - before.get(name, count) for name, count in _packets().items()}


def _packets() -> dict[str, int]:
    try:
        lines = _TABLE.read_text(encoding="latin-1").splitlines()[2:]
    except OSError:
        return {}
    counts: dict[str, int] = {}
    for line in lines:
        name, _, numbers = line.rpartition(": ")
        columns = numbers.split()
        # each packet of the loopback interface is both sent and received
        counts[name.strip()] = int(columns[_RECEIVED]) + (0 if name.strip() == "lo" else int(columns[_SENT]))
    return counts
