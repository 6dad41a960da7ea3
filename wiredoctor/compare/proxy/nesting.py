"""Match the exchanges at the front of a proxy with those at its back, and find the difference of the clocks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import polars as pl

from wiredoctor.compare.two_points import clocks
from wiredoctor.gateways import Gateways
from wiredoctor.gateways.exchange_columns import EXCHANGES
from wiredoctor.gateways.two_captures import BIN, TwoCaptures
from wiredoctor.tables import Array

_COMPARED = [
    *("has_request", "server_time", "interim", "request_host", "request_expect_continue", "response_bursts", "response_server"),
    *("response_median_chunk", "server_close_rst"),
    *(
        f"{side}_{name}"
        for side in ("request", "response")
        for name in (
            *("start", "end", "version", "framing", "head_bytes", "body_bytes", "offset", "chunks", "content_encoding"),
            *("connection_close", "connection_keep_alive", "end_reason", "via"),
        )
    ),
]
COLUMNS = [*dict.fromkeys((*EXCHANGES, *_COMPARED))]
"""The columns of tables.EXCHANGES that are compared."""

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


def match_nested(front: pl.DataFrame, back: pl.DataFrame, connections: tuple[pl.DataFrame, pl.DataFrame], apart: int) -> Nested:
    """Match the exchanges at the back with those at the front; both have the columns COLUMNS.

    `connections`: the connections of both sides. `apart`: the time (ns) of the first packet at the back minus that of the first
    packet at the front, each by its own clock.
    """
    both = TwoCaptures((front, connections[0]), (back, connections[1]), apart)
    rough = both.rough_difference()
    ahead = _precise(_owners(front, back, both.pairs(rough, BIN)), front, back, apart, rough)
    return Nested(_owners(front, back, both.pairs(ahead, SLACK)), ahead)


def _owners(front: pl.DataFrame, back: pl.DataFrame, tries: pl.DataFrame) -> Array:
    """Return, for each row in `back`, the index of its match in `front`, or -1. `tries`: the columns of gateways.TRIES."""
    place = front.select(front_connection="connection", front_exchange="exchange", owner=pl.int_range(pl.len(), dtype=pl.Int64))
    owner = tries.join(place, on=["front_connection", "front_exchange"], how="inner")
    found = back.join(owner, on=["connection", "exchange"], how="left", maintain_order="left")["owner"]
    return found.fill_null(-1).to_numpy(writable=True)


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
    return Sides(front["row"].to_numpy(), back["row"].to_numpy(), _owners(front, back, known.tries))
