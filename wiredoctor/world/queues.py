"""Find how many requests a server answers at once, from the times at which requests arrive and responses end.

A server with c workers that takes requests in the order in which they arrive begins with request number i (from 0) as soon as it
has arrived and i + 1 - c responses have ended.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl

from wiredoctor.tables import MILLISECOND, Array

KNOWN = 3
"""The minimum number of requests with a path that show how long such requests usually take."""

_NEAR = 3
"""The number of neighbors of a likely number of workers that are compared with it, in both directions."""

_JITTER = 2 * MILLISECOND
"""A difference (ns) between two times of one kind of work that means nothing."""


class Times(NamedTuple):
    """The requests to a server in the order of their arrival. Each field is an array with one element per request.

    `asked`: when the server could begin (ns). `began`, `ended`: when the response began and ended. `path`: a number per kind of
    request, from 0.
    """

    asked: Array
    began: Array
    ended: Array
    path: Array


class Workers(NamedTuple):
    """A server that works on at most `limit` requests at once.

    `usual`: how long such requests take without a queue (ns, a float; nan if unknown). `queued`: how long each request waited for
    a worker. `freed`: for each request, the place (in the order of their ends) of the response that freed its worker; -1 without
    one. `free`: whether fewer than `limit` requests were open when it arrived. `late`: whether the queue made it late.
    `as_usual`: whether a request in `late` took its usual time once a worker was free; for a request in `free`, whether it took
    its usual time.
    """

    limit: int
    usual: Array
    queued: Array
    freed: Array
    free: Array
    late: Array
    as_usual: Array


def open_before(asked: Array, ended: Array) -> Array:
    """Return for each request how many of the earlier ones were still open. `asked` and `ended` (ns) are sorted."""
    return np.arange(len(asked)) - np.searchsorted(ended, asked, side="right")


def usual_times(waits: Array, path: Array, free: Array) -> Array:
    """Return the median wait of the requests in `free` with the same path, for each request; nan if there are too few."""
    rows = pl.DataFrame({"path": path[free], "wait": waits[free]}).group_by("path").agg(pl.len(), pl.col("wait").median())
    rows = rows.filter(pl.col("len") >= KNOWN)
    usual = np.full(int(path.max(initial=0)) + 1, np.nan)
    usual[rows["path"].to_numpy()] = rows["wait"].to_numpy()
    return usual[path]


def is_late(waits: Array, usual: Array, times: int, by: int) -> Array:
    """Return whether each wait is at least `times` as long as usual, and at least `by` ns longer."""
    return (waits >= times * usual) & (waits - usual >= by)


def find_workers(times: Times, late_times: int, late_by: int) -> Workers | None:
    """Return the number of workers that explains best when late responses began; None if no request was late.

    `late_times`, `late_by`: as in `is_late`.
    """
    ended, before = np.sort(times.ended), open_before(times.asked, np.sort(times.ended))
    waits = times.began - times.asked
    best: tuple[float, int, Workers] | None = None
    likely = {near for limit in _likely_limits(times, ended, before) for near in range(limit - _NEAR, limit + _NEAR + 1)}
    for limit in sorted(one for one in likely if 1 <= one <= before.max(initial=0)):
        free = before < limit
        usual = usual_times(waits, times.path, free)
        found = _with_workers(times, ended, limit, free, usual, ~free & is_late(waits, usual, late_times, late_by))
        if found.late.any():
            work = (waits - found.queued)[found.late]
            error = float(np.minimum(np.abs(work / usual[found.late] - 1), 1).mean())
            if best is None or error < best[0]:
                best = error, limit, found
    return None if best is None else best[2]


def _likely_limits(times: Times, ended: Array, before: Array) -> set[int]:
    """Return numbers of workers near which the real one may be.

    If a late request took its usual time, its worker was freed by a response that ended that much earlier. How many responses had
    ended by then shows the number of workers.
    """
    waits, order = times.began - times.asked, np.arange(len(times.asked))
    found: set[int] = set()
    for guess in _first_guesses(waits, times.path):
        usual = guess
        for _ in range(3):
            began = times.began - np.nan_to_num(usual, nan=0)
            late = (waits >= 2 * usual) & (waits - usual >= _JITTER)
            if not late.any():
                break
            limit = int(np.median(order[late] - _nearest(ended, began[late])))
            found.add(limit)
            usual = usual_times(waits, times.path, before < limit)
    return found


def _first_guesses(waits: Array, path: Array) -> list[Array]:
    """Return for each request guesses how long such requests take: a low quantile, and the shortest waits."""
    low = pl.DataFrame({"path": path, "wait": waits}).select(pl.col("wait").quantile(0.1, "lower").over("path").cast(pl.Float64))
    return [low.to_series().to_numpy(), shortest_times(waits, path)]


def shortest_times(waits: Array, path: Array) -> Array:
    """Return for each request the third shortest wait of those with the same path, or the longest if there are fewer."""
    rows = pl.DataFrame({"path": path, "wait": waits})
    return rows.select(pl.col("wait").bottom_k(KNOWN).max().over("path").cast(pl.Float64)).to_series().to_numpy()


def _nearest(places: Array, values: Array) -> Array:
    """Return the index of the nearest of the sorted `places` for each value."""
    right = np.clip(np.searchsorted(places, values), 1, max(len(places) - 1, 1))
    left = right - 1
    right = np.minimum(right, len(places) - 1)
    return np.where(values - places[left] <= places[right] - values, left, right)


def _with_workers(times: Times, ended: Array, limit: int, free: Array, usual: Array, late: Array) -> Workers:
    """Return when a server with `limit` workers would have begun. `ended`: when responses ended, sorted."""
    freed = np.arange(len(times.asked)) - limit
    begun = np.where(freed >= 0, np.maximum(times.asked, ended[np.maximum(freed, 0)]), times.asked)
    work = times.began - begun
    as_usual = np.abs(work - usual) <= 0.5 * usual + _JITTER
    return Workers(limit, usual, begun - times.asked, np.where(begun > times.asked, freed, -1), free, late, as_usual)
