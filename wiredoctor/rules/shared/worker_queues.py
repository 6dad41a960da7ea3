"""Find servers that answer only a limited number of requests at once."""

from __future__ import annotations

import numpy as np
import polars as pl

from wiredoctor.findings import Threshold
from wiredoctor.rules.shared.gateway_waits import waited_behind, waits_behind
from wiredoctor.rules.shared.queues import ENOUGH, LATE_BY, LATE_TIMES, SHOWN, Queue, Waited, holds_no_worker
from wiredoctor.rules.shared.siblings import comparable_path
from wiredoctor.tables import Array, of_connections
from wiredoctor.world.queues import Times, Workers, find_workers

c = pl.col

AS_USUAL = Threshold(
    "80 %",
    "the minimum share of the late requests that took their usual time once a worker was free, and of the other requests that "
    "took it at once; if all requests share one processor, each takes longer",
)
FREE = Threshold("4 requests", "the minimum number of requests that found a free worker")


def find_worker_queues(
    crowded: pl.DataFrame, exchanges: pl.LazyFrame, connections: pl.LazyFrame, tries: pl.LazyFrame
) -> list[Queue]:  # fmt: skip
    """Return the queue of each server that has too few workers. `crowded`: as `crowded_servers` returns it."""
    known = connections.select("connection", "server")
    theirs = known.join(of_connections(known, crowded).select("server").unique(), on="server", how="semi")
    theirs = _in_turn(exchanges, theirs.collect(engine="streaming"))
    if theirs.is_empty():
        return []
    rows = (
        of_connections(exchanges.filter("has_request"), theirs)
        .join(theirs.lazy(), on="connection")
        .join(waits_behind(exchanges, tries, theirs), on=["connection", "exchange"], how="left")
        .select(
            *("connection", "exchange", "server", "response_start", "response_end", "response_last_frame", "response_frame"),
            *(_arrival(), "request_last_frame", "request_end"),
            pl.struct("request_method", comparable_path()).hash().alias("path"),
            (holds_no_worker() | _refused() | waited_behind() | c("pairing_assumed")).alias("other"),
        )
    )
    rows = rows.filter(~c("other")).drop_nulls(["request_end", "response_start", "response_end"]).collect(engine="streaming")
    found = (_server_queue(str(server), part) for (server,), part in sorted(rows.partition_by("server", as_dict=True).items()))
    return [queue for queue in found if queue is not None]


def _refused() -> pl.Expr:
    """Return whether a server had too many requests for this one, perhaps after it had waited in vain for a worker."""
    return c("response_status").is_in([429, 503]).fill_null(value=False)


def _arrival() -> pl.Expr:
    return pl.max_horizontal("request_end", "previous_end").alias("asked")


def _in_turn(exchanges: pl.LazyFrame, connections: pl.DataFrame) -> pl.DataFrame:
    """Return the connections to servers that may answer requests in the order in which they came.

    While half of the late requests waited, they answered none that came after it. Few columns are read for that.
    """
    rows = of_connections(exchanges.filter("has_request"), connections).select("connection", _arrival(), "response_start")
    places = connections.select("connection", c("server").rank("dense").alias("number"))
    rows = rows.drop_nulls().join(places.lazy(), on="connection").drop("connection").collect(engine="streaming")
    numbers, asked_at, began_at = (rows[name].to_numpy() for name in ("number", "asked", "response_start"))
    order = np.lexsort((asked_at, numbers))
    names = connections["server"].unique().sort()
    servers: list[str] = []
    for server, mine in zip(
        names, np.split(order, np.searchsorted(numbers, np.arange(2, len(names) + 1), sorter=order)), strict=True
    ):
        asked, began = asked_at[mine], began_at[mine]
        first_after = np.append(np.minimum.accumulate(began[::-1])[::-1][1:], np.iinfo(np.int64).max)
        late = began - asked >= LATE_BY.value
        in_turn = late & (first_after >= asked + (began - asked) // 2)
        servers += [server] if in_turn.sum() >= max(ENOUGH.value, late.sum() // 2) else []
    return connections.filter(c("server").is_in(servers))


def _server_queue(server: str, rows: pl.DataFrame) -> Queue | None:
    """Return the queue of a server; None if it has none. `rows`: its exchanges."""
    rows = rows.sort("asked", "request_last_frame", "response_frame")
    asked, began, ended = (rows[name].to_numpy() for name in ("asked", "response_start", "response_end"))
    path = rows["path"].rank("dense").cast(pl.Int64).to_numpy() - 1
    found = find_workers(Times(asked, began, ended, path), LATE_TIMES.value, LATE_BY.value)
    if found is None or found.late.sum() < ENOUGH.value:
        return None
    at_once = found.free & ~np.isnan(found.usual)
    if at_once.sum() < FREE.value or min(_share(found, found.late), _share(found, at_once)) < AS_USUAL.value:
        return None
    waits = began - asked
    late = np.flatnonzero(found.late)
    return Queue(
        way="workers",
        server=server,
        client=None,
        confidence="medium",
        at_most=found.limit,
        requests=len(asked),
        late=len(late),
        usual=int(np.median(found.usual[late])),
        waited=int(np.median(waits[late])),
        longest=int(waits[late].max()),
        lost=int(found.queued[~found.free].sum()),
        most=0,
        share=_share(found, found.late),
        others=[],
        start=int(asked[late[0]]),
        end=int(began[late].max()),
        shown=_first_waits(rows, found, late[: SHOWN.value]),
        explained=rows.filter(pl.Series((2 * found.queued >= waits) & (waits >= LATE_BY.value))),
    )


def _share(found: Workers, some: Array) -> int:
    """Return the percentage of these requests that took their usual time after their wait."""
    return int(100 * (found.as_usual & some).sum() // max(some.sum(), 1))


def _first_waits(rows: pl.DataFrame, found: Workers, some: Array) -> list[Waited]:
    ends = rows.select("response_end", "response_last_frame").sort("response_end", "response_last_frame")
    shown = rows.select("request_last_frame", "request_end", "response_frame", "response_start")[some]
    freed = ends[np.maximum(found.freed[some], 0)]
    pairs = zip(shown.iter_rows(), freed.iter_rows(), strict=True)
    return [Waited(a_frame, asked, frame, end, w_frame, went) for (a_frame, asked, w_frame, went), (end, frame) in pairs]
