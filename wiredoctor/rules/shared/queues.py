"""Hold what rules know of requests that wait in a queue: the facts of a finding, and the exchanges that it explains."""

from __future__ import annotations

from typing import Any, NamedTuple

import polars as pl

from wiredoctor.findings import Threshold
from wiredoctor.rules.shared.long_polls import is_long_poll
from wiredoctor.world.connection_close import ENDLESS

c = pl.col

ENOUGH = Threshold("10 requests", "the minimum number of requests that a queue made late; a few may be late for other reasons")
LATE_TIMES = Threshold("3 times", "the minimum ratio of a late request's wait to the usual time of such requests")
LATE_BY = Threshold("100 ms", "the minimum time by which a late request takes longer than usual, because users notice no less")
SHOWN = Threshold("3 requests", "the maximum number of requests shown as evidence; the message has their number")


class Waited(NamedTuple):
    """A request that waited (times in ns): its last packet, the packet that ended its wait, and the one with which it went on."""

    asked_frame: int | None
    asked: int | None
    freed_frame: int | None
    freed: int
    went_frame: int
    went: int


class Queue(NamedTuple):
    """Requests that waited in a queue. Times are in ns.

    `way`: "pool" (a caller waits for one of its connections), "workers" (a server answers `at_most` requests at once), "spare" or
    "turn" (a server is occupied by another connection: one without a request, or one that it has answered). `client`: the caller,
    or null. `at_most`: the maximum number of requests open at once. `requests`: how many there were in all, of which `late` were
    late. `usual`, `waited`: median times without (null if unknown) and with the queue. `longest`: the longest wait. `lost`: the
    sum of the time lost. `most`: the most requests that were open at the caller. `share`: the percentage of requests that left
    when a response had ended, or that took their usual time after the queue. `others`: more servers with such a limit.
    `explained`: the exchanges that were slow because of the queue, with `connection`, `exchange` and `response_frame`.
    """

    way: str
    server: str
    client: str | None
    confidence: str
    at_most: int
    requests: int
    late: int
    usual: int | None
    waited: int
    longest: int
    lost: int
    most: int
    share: int
    others: list[str]
    start: int
    end: int
    shown: list[Waited]
    explained: pl.DataFrame

    def row(self) -> dict[str, Any]:
        """Return the fields that a candidate has."""
        row = self._asdict()
        del row["explained"]
        return {**row, "frame": self.shown[0].went_frame, "shown": [one._asdict() for one in self.shown]}


def holds_no_worker() -> pl.Expr:
    """Return whether an exchange may last long without occupying a worker or a place in a queue: a stream, or a long poll."""
    stream = c("response_content_type").is_in(ENDLESS) | c("response_endless")
    return (c("upgraded") | stream | is_long_poll()).fill_null(value=False)


def crowded_servers(exchanges: pl.LazyFrame) -> pl.DataFrame:
    """Return a connection of each server that answered enough requests late while it was answering others late, too."""
    waited = c("response_start") - c("request_end") >= LATE_BY.value
    late = exchanges.filter(c("has_request") & waited).select("endpoint", "connection", "request_end", "response_end")
    late = late.collect(engine="streaming").sort("endpoint", "request_end")
    late = late.with_columns((c("request_end") < c("response_end").cum_max().shift(1).over("endpoint")).alias("crowded"))
    servers = late.group_by("endpoint").agg(c("crowded").sum(), c("connection").min())
    return servers.filter(c("crowded") >= ENOUGH.value - 1).select("connection")
