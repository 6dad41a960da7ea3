"""Compare the times of exchanges by endpoint, before and after a change."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import polars as pl

from wiredoctor.compare.before_after.from_report import ComparedSide
from wiredoctor.compare.before_after.result import EndpointChange, Shift
from wiredoctor.compare.statistics import shift
from wiredoctor.findings import printable
from wiredoctor.tables import Array
from wiredoctor.text.redact import MASKED, masked_method, masked_target

MAX_ENDPOINTS = 10_000
"""The maximum number of endpoints that are compared.

If there are more, most paths occur only once, so the two sides have few paths in common.
"""

_NUMBERS = re.compile(r"(?P<version>/v[0-9]+(?:\.[0-9]+)*(?=/|$))|[0-9]+")

Place = tuple[str | None, str, str]
"""The key of an endpoint: server (None: any), method, and path without numbers."""


class Pair(NamedTuple):
    """The exchanges with one endpoint on one side: total times and server times (ns, sorted), and the number of requests."""

    total: Array
    server_time: Array
    requests: int


@dataclass
class Times:
    """The exchanges of one side.

    `endpoints`: the durations by endpoint. `servers`: the number of requests by server. `upgrades`: the number of responses with
    status 101 by server. `shown`: the path with `#` in place of numbers; the key is the method and the path without numbers.
    `left_out`: the number of endpoints that are not compared.
    """

    endpoints: dict[Place, Pair]
    servers: dict[str | None, int]
    upgrades: dict[str | None, int]
    shown: dict[tuple[str, str], str]
    left_out: int = 0


def times_of(seen: ComparedSide, *, any_server: bool) -> Times:
    """Collect the times of one side. `any_server` combines the endpoints of all servers."""
    if seen.exchanges is None:
        return Times({}, {}, {}, {})
    kinds = seen.exchanges.select("method", "target").unique(maintain_order=True)
    places = [place_of(method, target) for method, target in kinds.iter_rows()]
    named = kinds.with_columns(
        pl.Series("verb", [p[0] for p in places], pl.String), pl.Series("path", [p[1] for p in places], pl.String)
    )
    keys = ["server", "verb", "path"]
    server = pl.lit(None, pl.String).alias("server") if any_server else pl.col("server")
    rows = seen.exchanges.join(named, on=["method", "target"], how="left").select(
        server, "verb", "path", "total", "server_time", "upgraded"
    )  # fmt: skip
    counts = rows.group_by(keys, maintain_order=True).len().sort("len", descending=True, maintain_order=True)
    most = counts.head(MAX_ENDPOINTS).select(keys)
    servers = counts.group_by("server", maintain_order=True).agg(pl.col("len").sum())
    upgrades = rows.group_by("server", maintain_order=True).agg(pl.col("upgraded").sum())
    shown = {(verb, path): text for verb, path, text in reversed(places)}
    made = Times({}, dict(servers.iter_rows()), dict(upgrades.iter_rows()), shown, counts.height - most.height)
    kept = rows.join(most, on=keys, how="semi", nulls_equal=True) if made.left_out else rows
    for (server_name, verb, path), group in kept.group_by(keys, maintain_order=True):
        total, server_time = (np.sort(group[name].drop_nulls().to_numpy()) for name in ("total", "server_time"))
        made.endpoints[_text(server_name), str(verb), str(path)] = Pair(total, server_time, group.height)
    return made


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def place_of(method: str | None, target: str | None) -> tuple[str, str, str]:
    """Return the method, the path with its numbers removed, and the path with each number replaced by `#`.

    Secrets are masked in all three. The paths have no query. In the first path, masks are `*`, as in reports of earlier commits.
    """
    path = printable(masked_target((target or "").partition("?")[0]))
    return printable(masked_method(method or "")), replace_numbers(path.replace(MASKED, "*"), ""), replace_numbers(path)


def replace_numbers(path: str, by: str = "#") -> str:
    """Replace the numbers in a path, except in segments such as `v1`, which name the version of an API."""
    return _NUMBERS.sub(lambda found: found["version"] or by, path)


def endpoints(one: Times, two: Times, tolerance: float) -> tuple[list[EndpointChange], int]:
    """Return the changes of all endpoints on either side, slower ones first, and the number of endpoints left out.

    `tolerance`: the smallest relative difference in time that is reported.
    """
    empty = Pair(np.empty(0, np.int64), np.empty(0, np.int64), 0)
    requests = {
        place: one.endpoints.get(place, empty).requests + two.endpoints.get(place, empty).requests
        for place in dict.fromkeys([*one.endpoints, *two.endpoints])
    }
    places = sorted(requests, key=lambda p: (-requests[p], p[0] or "", p[1], p[2]))[:MAX_ENDPOINTS]
    pairs = [(one.endpoints.get(place, empty), two.endpoints.get(place, empty)) for place in places]
    shifts = _shifts([(a.total, b.total) for a, b in pairs] + [(a.server_time, b.server_time) for a, b in pairs], tolerance)
    made = [
        EndpointChange(
            *place[:2], two.shown.get(place[1:]) or one.shown.get(place[1:], place[2]), a.requests, b.requests, total, server
        )
        for place, (a, b), total, server in zip(places, pairs, shifts[: len(pairs)], shifts[len(pairs) :], strict=True)
    ]
    return sorted(made, key=_weight), len(requests) - len(places) + max(one.left_out, two.left_out)


def _weight(one: EndpointChange) -> tuple[int, float]:
    """Return a sort key: endpoints that became slower, then those that became faster, then the others.

    The first two groups are sorted by the total time lost or gained, the others by the number of exchanges after the change.
    """
    verdicts = (one.total.verdict, one.total.tail, one.server_time.verdict, one.server_time.tail)
    rank = 0 if "slower" in verdicts else 1 if "faster" in verdicts else 2
    return rank, -abs(one.total.difference or 0.0) * one.exchanges_after if rank < 2 else -float(one.exchanges_after)


def _shifts(pairs: list[tuple[Array, Array]], tolerance: float) -> list[Shift]:
    """Return how the times of each pair of samples changed. `tolerance`: the smallest relative difference that is reported.

    With the Bonferroni correction, the probability of any false result is no higher than with a single test.
    """
    first = [shift(a, b, tolerance) for a, b in pairs]
    tests = sum(one.probability is not None for one in first)
    if tests < 2:
        return first
    return [
        one if one.verdict in _SILENT and one.tail in _SILENT else shift(a, b, tolerance, tests)
        for one, (a, b) in zip(first, pairs, strict=True)
    ]


_SILENT = ("same", "too-few", "unknown")
