"""Match the exchanges at the front of a proxy with those at its back, by method, target and time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import polars as pl

from wiredoctor.compare.proxy.rewritten_targets import alike
from wiredoctor.compare.two_points import clocks
from wiredoctor.gateways import Gateways
from wiredoctor.tables import SECOND, Array

COLUMNS = [
    *("connection", "exchange", "has_request", "has_response", "server_time", "interim", "endpoint"),
    *(
        f"{side}_{name}"
        for side in ("request", "response")
        for name in (
            *("start", "end", "version", "framing", "head_bytes", "body_bytes", "offset", "chunks", "content_encoding"),
            *("connection_close", "connection_keep_alive", "end_reason", "via"),
        )
    ),
    *("request_method", "request_target", "request_host", "request_expect_continue"),
    *("response_status", "response_bursts", "response_server", "response_median_chunk"),
    *("server_close_time", "server_close_rst"),
]
"""The columns of tables.EXCHANGES that are compared."""

MAX_OF_A_KIND = 400
"""The maximum number of exchanges at the front that are considered as the match of one exchange at the back.

The search for the clock difference uses at most this many exchanges with the same method and target, and at most this many
pairs of method and target.
"""

LATE = 1 << 61

BIN = SECOND // 20
"""The width in ns of the bins in which time differences are counted."""

SLACK = 2_000_000
"""The maximum contradiction in ns that is tolerated between timestamps of two machines after their clocks were aligned."""


@dataclass
class Nested:
    """The result of matching.

    `front`: for each exchange at the back, the index of its match at the front, or -1. `ahead`: by how many ns the clock of the
    back capture is ahead of that of the front capture.
    """

    front: Array
    ahead: float


def match_nested(front: pl.DataFrame, back: pl.DataFrame, apart: int) -> Nested:
    """Match the exchanges at the back with those at the front; both have the columns COLUMNS.

    `apart`: the time (ns) of the first packet at the back minus that of the first packet at the front, each by its own clock. The
    candidates for a back exchange are the front exchanges with the same method and target that were open when it began. If the
    proxy rewrote targets, the rewritten targets are compared. The match is the oldest candidate that has no match yet. If all
    candidates have a match, the back exchange counts as a retry of the newest candidate.
    """
    groups = _groups(front, back)
    times_front, times_back = _times(front), tuple(times + apart for times in _times(back))
    rough = _rough(groups, times_front[0], times_back[0])
    matched = _assign(groups, times_front, times_back, rough, BIN)
    ahead = _precise(matched, front, back, apart, rough)
    return Nested(_assign(groups, times_front, times_back, ahead, SLACK), ahead)


Groups = list[tuple[Array, Array]]
"""For each pair of method and target, the indexes of its exchanges at the front and at the back."""


def _groups(front: pl.DataFrame, back: pl.DataFrame) -> Groups:
    keys = ["request_method", "target"]
    a, b = (
        rows.with_columns(target=targets)
        .with_row_index("row")
        .filter("has_request")
        .group_by(keys, maintain_order=True)
        .agg("row")
        for rows, targets in zip((front, back), alike(front, back), strict=True)
    )
    both = a.join(b, on=keys, maintain_order="left")
    return [(np.array(x, np.int64), np.array(y, np.int64)) for x, y in zip(both["row"], both["row_right"], strict=True)]


def _times(rows: pl.DataFrame) -> tuple[Array, Array]:
    """Return the start of each request and the end of its exchange (ns).

    If there is no response, the exchange ends when the server closes the connection, or never (LATE) if it does not close.
    """
    begin = rows["request_start"].fill_null(0).to_numpy()
    unanswered = pl.max_horizontal(pl.col("server_close_time").fill_null(LATE), "request_start")
    answered = pl.max_horizontal("request_end", "response_end", "response_start", "request_start")
    end = rows.select(pl.when("has_response").then(answered).otherwise(unanswered)).to_series()
    return begin, end.fill_null(0).to_numpy()


def _rough(groups: Groups, front: Array, back: Array) -> float:
    """Return the most frequent time difference (ns, back minus front) between requests with the same method and target.

    Differences are counted in bins of 50 ms. Return 0 if there are no such requests.
    """
    differences = [
        (back[b[:MAX_OF_A_KIND]][:, None] - front[a[:MAX_OF_A_KIND]][None, :]).ravel() for a, b in groups[:MAX_OF_A_KIND]
    ]
    if not differences:
        return 0.0
    every = np.concatenate(differences)
    bins, counts = np.unique(every // BIN, return_counts=True)
    # of equally frequent differences take the smallest, because clocks are mostly right
    best = bins[counts == counts.max()]
    middle = best[np.abs(best).argmin()]
    return float(every[every // BIN == middle].min())


def _assign(groups: Groups, front: tuple[Array, ...], back: tuple[Array, ...], ahead: float, slack: float) -> Array:
    owner = np.full(len(back[0]), -1, np.int64)
    for unsorted, b in groups:
        a = unsorted[np.argsort(front[0][unsorted], kind="stable")]
        starts, ends = front[0][a] + ahead, front[1][a] + ahead
        taken = np.zeros(len(a), bool)
        for row in b[np.argsort(back[0][b], kind="stable")].tolist():
            begin = back[0][row]
            last = int(np.searchsorted(starts, begin + slack, side="right"))
            first = max(0, last - MAX_OF_A_KIND)
            open_ = np.flatnonzero(ends[first:last] >= begin - slack) + first
            if not len(open_):
                continue
            free = open_[~taken[open_]]
            # the oldest request comes first, because a proxy forwards in order
            chosen = int(free[0]) if len(free) else int(open_[-1])
            taken[chosen] = True
            owner[row] = a[chosen]
    return owner


def _precise(owner: Array, front: pl.DataFrame, back: pl.DataFrame, apart: int, rough: float) -> float:
    """Return by how much (ns) the clock of the back capture is ahead of that of the front capture.

    Return `rough` unless a single linear relation of both clocks fits the times of the matched exchanges.

    A request passes the front before the back, and a response passes the back before the front. If the captured times are
    possible with equal clocks, the result is 0, because usually both sides are captured on the proxy itself, with one clock.

    `owner`: as Nested.front. `apart`: as in `match_nested`. `rough`: an estimate of the result.
    """
    rows = np.flatnonzero(owner >= 0)
    times: list[Array] = []
    ahead: list[Array] = []
    forward: list[Array] = []
    for column, way in (("request_start", True), ("response_start", False)):
        here, there = front[column][owner[rows]], back[column][rows]
        known = (here.is_not_null() & there.is_not_null()).to_numpy()
        if not way:  # a different status is a different response
            known &= (front["response_status"][owner[rows]] == back["response_status"][rows]).fill_null(value=False).to_numpy()
        first, second = here.fill_null(0).to_numpy()[known], there.fill_null(0).to_numpy()[known]
        times.append(first)
        ahead.append(second - first + apart)
        forward.append(np.full(len(first), way))
    order = np.argsort(np.concatenate(times), kind="stable")
    points = clocks.Points(*(np.concatenate(column)[order] for column in (times, ahead, forward)))
    lines = clocks.fit_lines(points) if len(points.time) else []
    if len(lines) != 1:
        return rough
    return 0.0 if abs(lines[0].offset) <= lines[0].gap / 2 else lines[0].offset


class Sides(NamedTuple):
    """The exchanges of both sides of a proxy, from one capture.

    `owner`: for each row in `back`, the index of its match in `front`, or -1.
    """

    front: Array
    back: Array
    owner: Array


def sides(rows: pl.DataFrame, servers: Mapping[int, str], known: Gateways) -> Sides:
    """Return the two sides of a proxy in one capture; for a chain of proxies, the sides of the outermost proxy.

    `rows`: exchanges with the columns COLUMNS. `servers`: the server endpoint of each connection. `known`: the gateways found in
    the capture.
    """
    behind = {server for some in known.fronts.values() for server in some}
    outer = {front: some for front, some in known.fronts.items() if front not in behind}
    with_server = rows.select("connection", "exchange", "has_request", row=pl.int_range(pl.len(), dtype=pl.Int64)).with_columns(
        server=pl.col("connection").replace_strict(servers, default="", return_dtype=pl.String)
    )
    asked = with_server.filter("has_request").drop("has_request")
    front = asked.filter(pl.col("server").is_in([*outer]))
    back = asked.filter(pl.col("server").is_in([server for some in outer.values() for server in some]))
    place = front.select(front_connection="connection", front_exchange="exchange", owner=pl.int_range(pl.len(), dtype=pl.Int64))
    tries = known.tries.join(place, on=["front_connection", "front_exchange"], how="inner")
    of = back.join(tries, on=["connection", "exchange"], how="left", maintain_order="left")
    return Sides(*(column.to_numpy() for column in (front["row"], back["row"], of["owner"].fill_null(-1))))
