"""Find callers (gateways, HTTP clients of services) in which requests wait for one of a limited number of connections."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import polars as pl

from wiredoctor.findings import Threshold
from wiredoctor.rules.shared.queues import ENOUGH, LATE_BY, LATE_TIMES, SHOWN, Queue, Waited, holds_no_worker
from wiredoctor.rules.shared.siblings import comparable_path
from wiredoctor.tables import Array, of_connections
from wiredoctor.world.attempts import host_of
from wiredoctor.world.queues import is_late, open_before, shortest_times, usual_times

c = pl.col

AT_ONCE = Threshold("2 ms", "the maximum time between a response and the next request, for which its connection became free")
AT_LIMIT = Threshold(
    "50 %",
    "the minimum share of requests that left when a response had ended; without a limit, requests leave when they arrive",
)


class _Limit(NamedTuple):
    """A server at which a caller had at most `limit` requests open at once.

    `usual`: the median time until the server responds (ns). `share`: the percentage of the calls that left when a response ended,
    while requests waited. `paths`: the hashes of method and path of the calls. `shown`: the first calls that had waited.
    """

    server: str
    limit: int
    calls: int
    usual: int
    share: int
    paths: pl.Series
    shown: list[Waited]


def find_caller_queues(
    crowded: pl.DataFrame, exchanges: pl.LazyFrame, connections: pl.LazyFrame, tries: pl.LazyFrame
) -> list[Queue]:  # fmt: skip
    """Return the queue of each caller in which requests wait for a connection.

    `crowded`: as `crowded_servers` returns it.
    """
    known = connections.select("connection", "client_host", "server", host_of("server").alias("host"))
    late = of_connections(known, crowded).select("server", "host").unique().collect(engine="streaming")
    fronts = _fronts_of(tries, known).filter(c("front").is_in(late["server"].implode())).collect(engine="streaming")
    callers = pl.concat([late["host"], fronts["caller"]]).unique().implode()
    mine = known.filter(c("client_host").is_in(callers) | c("server").is_in(late["server"].implode())).collect(engine="streaming")
    if not mine["client_host"].is_in(callers).any():
        return []
    rows = of_connections(exchanges.filter("has_request"), mine).join(mine.lazy(), on="connection").select(
        *("connection", "exchange", "client_host", "server", "host", "request_start", "request_frame", "request_end"),
        *("request_last_frame", "response_start", "response_end", "response_frame", "response_last_frame"),
        pl.struct("request_method", comparable_path()).hash().alias("path"),
        holds_no_worker().alias("other"),
    )  # fmt: skip
    rows = rows.filter(~c("other")).drop_nulls(["request_end", "response_start", "response_end"]).collect(engine="streaming")
    return _of_callers(rows, fronts)


def _fronts_of(tries: pl.LazyFrame, known: pl.LazyFrame) -> pl.LazyFrame:
    """Return the endpoints of gateways (`front`) whose requests they certainly passed on as a `caller` to a server (`back`)."""
    pairs = tries.filter(c("certain") & c("exchange").is_not_null()).select("front_connection", "connection").unique()
    front = known.select(c("connection").alias("front_connection"), c("server").alias("front"))
    back = known.select("connection", c("client_host").alias("caller"), c("server").alias("back"))
    return pairs.join(front, on="front_connection").join(back, on="connection").select("front", "caller", "back").unique()


def _of_callers(rows: pl.DataFrame, fronts: pl.DataFrame) -> list[Queue]:
    """Return the queues. `rows`: the exchanges of callers, as clients and as servers. `fronts`: as `_fronts_of` returns them."""
    servers = {str(server): part for (server,), part in rows.partition_by("server", as_dict=True).items()}
    behind: dict[tuple[str, str], set[str]] = {}
    for front, caller, back in fronts.select("front", "caller", "back").iter_rows():
        behind.setdefault((caller, back), set()).add(front)

    @cache
    def requests_to(names: frozenset[str]) -> pl.DataFrame:
        return pl.concat([servers[name] for name in sorted(names)]).sort("request_end", "request_last_frame")

    found: list[Queue] = []
    for (caller,), calls in sorted(rows.partition_by("client_host", as_dict=True).items()):
        own = {name for name, part in servers.items() if part["host"][0] == caller}
        limited: list[_Limit] = []
        mine: set[str] = set()
        for (server,), some in sorted(calls.partition_by("server", as_dict=True).items()):
            # on one host, only pairs show which requests are calls
            at = {*behind.get((str(caller), str(server)), ()), *(own if some["host"][0] != caller else ())} - {str(server)}
            at &= servers.keys()
            if at and some.height >= ENOUGH.value:
                one = _find_limit(str(server), some, requests_to(frozenset(at)))
                if one is not None:
                    limited.append(one)
                    mine |= at
        if limited:
            every = calls["server"].n_unique() == len(limited)
            queue = _caller_queue(str(caller), limited, requests_to(frozenset(mine)), every=every)
            found += [queue] if queue is not None else []
    return found


def _find_limit(server: str, calls: pl.DataFrame, fronts: pl.DataFrame) -> _Limit | None:
    """Return the limit of a caller's requests to a server; None if there is none.

    `calls`: the exchanges with the server. `fronts`: those with the caller, in the order of their arrival.
    """
    calls = calls.sort("request_start", "request_frame")
    left = calls["request_start"].to_numpy()
    ends = calls.select("response_end", "response_last_frame").sort("response_end", "response_last_frame")
    ended = ends["response_end"].to_numpy()
    before = open_before(left, ended)
    limit = int(before.max()) + 1
    asked, answered = fronts["request_end"].to_numpy(), np.sort(fronts["response_end"].to_numpy())
    arrived = np.searchsorted(asked, left, side="right")
    waiting = arrived - np.searchsorted(answered, left, side="right") > before + 1
    freed = np.searchsorted(ended, left, side="right") - 1
    freed_at = np.where(freed >= 0, ended[np.maximum(freed, 0)], -AT_ONCE.value - 1)
    # a request that has just arrived would have left without a limit, too
    fresh = (arrived > 0) & (asked[np.maximum(arrived - 1, 0)] > freed_at)
    # several responses may end before the next request leaves
    earlier = left - AT_ONCE.value
    full = np.searchsorted(left, earlier, side="right") - np.searchsorted(ended, earlier, side="right") == limit
    queued = waiting & ((before == limit - 1) | full) & (freed >= 0) & (left - freed_at <= AT_ONCE.value) & ~fresh
    if queued.sum() < ENOUGH.value or 100 * queued.sum() < AT_LIMIT.value * waiting.sum():
        return None
    shown = np.flatnonzero(queued)[: SHOWN.value]
    frames = zip(ends[freed[shown]].iter_rows(), calls.select("request_frame", "request_start")[shown].iter_rows(), strict=True)
    wait = (calls["response_start"] - calls["request_end"]).to_numpy()
    waited = [Waited(None, None, frame, end, *went) for (end, frame), went in frames]
    share = int(100 * queued.sum() // waiting.sum())
    return _Limit(server, limit, len(left), int(np.median(wait)), share, calls["path"].unique(), waited)


def _caller_queue(caller: str, limited: list[_Limit], fronts: pl.DataFrame, *, every: bool) -> Queue | None:
    """Return the queue of a caller; None if it made too few requests late.

    `fronts`: the exchanges with the caller, in the order of their arrival. `every`: it calls no other servers.
    """
    asked, began, ended = (fronts[name].to_numpy() for name in ("request_end", "response_start", "response_end"))
    most = open_before(asked, np.sort(ended))
    waits, queued = began - asked, most >= sum(one.limit for one in limited)
    usual = _usual_waits(fronts, waits, ~queued, limited, every=every)
    late = queued & is_late(waits, usual, LATE_TIMES.value, LATE_BY.value)
    if late.sum() < ENOUGH.value:
        return None
    first = limited[0]
    lost = np.where(queued & (waits > usual), waits - usual, 0)
    return Queue(
        way="pool",
        server=first.server,
        client=caller,
        confidence="high",
        at_most=first.limit,
        requests=sum(one.calls for one in limited),
        late=int(late.sum()),
        usual=int(np.median([one.usual for one in limited])),
        waited=int(np.median(waits[late])),
        longest=int(waits[late].max()),
        lost=int(np.nan_to_num(lost).sum()),
        most=int(most.max()) + 1,
        share=min(one.share for one in limited),
        others=[f"{one.server} (at most {one.limit:,})" for one in limited[1:]],
        start=int(asked[late].min()),
        end=int(began[late].max()),
        shown=first.shown,
        explained=fronts.filter(pl.Series(late & (2 * lost >= waits))),
    )


def _usual_waits(fronts: pl.DataFrame, waits: Array, free: Array, limited: list[_Limit], *, every: bool) -> Array:
    """Return how long (ns) each request to a caller takes without the queue.

    If too few requests of its kind came in time, the shortest waits show it and, for those that need a call, the server's time.
    """
    path = fronts["path"].rank("dense").cast(pl.Int64).to_numpy() - 1
    called = fronts["path"].is_in(pl.concat([one.paths for one in limited]).implode()).to_numpy() | every
    calls = max(1.0, sum(one.calls for one in limited) / fronts.height)
    shortest = shortest_times(waits, path)
    shortest = np.where(called, np.minimum(shortest, calls * max(one.usual for one in limited)), shortest)
    usual = usual_times(waits, path, free)
    return np.where(np.isnan(usual), shortest, usual)
