"""Count the packets on each interface during a given time. This requires no permission."""

from __future__ import annotations

import time
from pathlib import Path

_TABLE = Path("/proc/net/dev")
"""The file with a line for each interface of this network namespace; see proc(5)."""

_RECEIVED, _SENT = 1, 9
"""The indexes of the columns with packet counts, not counting the column with the name."""


def traffic(seconds: float) -> dict[str, int]:
    """Wait for `seconds`, and return how many packets each interface received and sent in this time.

    Each packet of the loopback interface counts once. The result is empty if the system does not count packets.
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
