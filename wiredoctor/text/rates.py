"""Format rates in rules: "65 B/s", "250 kB/s", "0.8 MB/s"."""

from __future__ import annotations

from math import floor, log10

from wiredoctor.text.durations import SECOND


def rate_text(size: int, time: int) -> str:
    """Format a rate, `size` bytes in `time` ns, with two significant digits. Both must be positive."""
    rate = size * SECOND / time
    unit, name = (1.0, "B/s") if rate < 1e3 else (1e3, "kB/s") if rate < 1e5 else (1e6, "MB/s")
    digits = 1 - floor(log10(rate / unit))
    number = floor(rate / unit * 10.0**digits + 0.5) / 10.0**digits
    return f"{number if number < 10 else int(number)} {name}"
