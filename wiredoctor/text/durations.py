"""Format durations in rules and reports: "465 us", "44.1 ms", "7.9 s", "3 min 20 s"."""

from __future__ import annotations

from functools import lru_cache

SIGNIFICANT = 3
"""The number of significant digits; more would suggest an accuracy that the clocks of captures do not have."""

SECOND = 1_000_000_000
"""The number of nanoseconds in a second, for modules that start without Polars; equals tables.SECOND."""

UNITS = ((SECOND, "s"), (1_000_000, "ms"), (1_000, "us"), (1, "ns"))
"""The length of each unit in ns, longest first."""

LONG = 120
"""The minimum duration in seconds that is written with two of the LONG_UNITS, such as "3 min 20 s"."""

LONG_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
"""The length of each long unit in seconds, longest first."""


@lru_cache(maxsize=1024)  # failures that are alike have the same durations
def duration_text(nanoseconds: int, space: str = " ") -> str:
    """Format a duration with three significant digits (rounded half up) and without trailing zeros.

    `space` separates the number from the unit.
    """
    if nanoseconds < 0:
        return "-" + duration_text(-nanoseconds, space)
    step = 10 ** max(0, len(str(nanoseconds)) - SIGNIFICANT)
    rounded = (nanoseconds + step // 2) // step * step
    if rounded >= LONG * SECOND:
        return _long((nanoseconds + SECOND // 2) // SECOND, space)
    if not rounded:
        return f"0{space}ms"
    size, unit = next(u for u in UNITS if rounded >= u[0])
    number = f"{rounded // size}.{rounded % size * 1000 // size:03}".rstrip("0").rstrip(".")
    return f"{number}{space}{unit}"


def _long(seconds: int, space: str) -> str:
    first = next(i for i, (size, _) in enumerate(LONG_UNITS) if seconds >= size)
    parts: list[str] = []
    for size, unit in LONG_UNITS[first : first + 2]:
        if number := seconds // size:
            parts.append(f"{number}{space}{unit}")
        seconds %= size
    return space.join(parts)
