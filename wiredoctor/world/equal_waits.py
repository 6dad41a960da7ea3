"""Recognize a time limit by waits that always have the same length."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median_low

from wiredoctor.findings import Threshold
from wiredoctor.tables import SECOND

MOMENTS = Threshold("3 moments", "the minimum number of moments at which equal waits ended, to show a time limit")
APART = Threshold("50 ms", "the minimum time between two such moments; a program that ends closes all its connections at once")
SHORTEST = Threshold("100 ms", "the minimum length of such a limit; shorter waits are equal by chance")
EQUAL = Threshold("20 ms", "the maximum difference of such waits (plus 1 % of the wait); timers expire a little late")
MOST = Threshold("80 %", "the minimum share of such waits among all waits that ended in the same way")


def limit_of(
    waits: Iterable[tuple[int, int]], *, moments: int | None = None, equal: int | None = None, most: int | None = None
) -> int | None:
    """Return the time limit (ns) that these waits show; None if they show none.

    `waits`: when each wait ended, in ascending order, and its length, both in ns. `moments`, `equal` (ns), `most` (percent):
    instead of MOMENTS, EQUAL and MOST.
    """
    known = [*waits]
    least = MOMENTS.value if moments is None else moments
    if len(known) < least:
        return None
    limit = median_low(wait for _, wait in known)
    alike = [time for time, wait in known if matches(wait, limit, equal)]
    if limit < SHORTEST.value or 100 * len(alike) < (MOST.value if most is None else most) * len(known):
        return None
    found, last = 0, -SECOND
    for time in alike:
        if time - last > APART.value:
            found, last = found + 1, time
    return limit if found >= least else None


def matches(wait: int, limit: int, equal: int | None = None) -> bool:
    """Return whether a wait (ns) is as long as a time limit (ns). `equal`: instead of EQUAL."""
    return abs(wait - limit) <= limit // 100 + (EQUAL.value if equal is None else equal)
