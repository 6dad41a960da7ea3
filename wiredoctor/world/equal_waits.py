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


def limit_of(waits: Iterable[tuple[int, int]]) -> int | None:
    """Return the time limit (ns) that these waits show; None if they show none.

    `waits`: when each wait ended, in ascending order, and its length, both in ns.
    """
    known = [*waits]
    if len(known) < MOMENTS.value:
        return None
    limit = median_low(wait for _, wait in known)
    equal = [time for time, wait in known if matches(wait, limit)]
    if limit < SHORTEST.value or 100 * len(equal) < MOST.value * len(known):
        return None
    moments, last = 0, -SECOND
    for time in equal:
        if time - last > APART.value:
            moments, last = moments + 1, time
    return limit if moments >= MOMENTS.value else None


def matches(wait: int, limit: int) -> bool:
    """Return whether a wait (ns) is as long as a time limit (ns)."""
    return abs(wait - limit) <= limit // 100 + EQUAL.value
