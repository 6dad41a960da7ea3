"""Group failed connection attempts into findings, and count lost time only once if attempts overlap.

The rows are those of `connect-failed`, one per attempt; the column `number` is the index of the kind in attempts.KINDS.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from wiredoctor.findings import Threshold
from wiredoctor.tables import Array
from wiredoctor.world import attempts

c = pl.col

MANY_SERVERS = Threshold(
    "20 servers",
    "if a client fails to connect to more addresses and ports than this, the failures are reported as one finding; such a "
    "client is looking for open ports",
)
MANY_CLIENTS = Threshold(
    "20 clients",
    "if more clients than this fail to connect to one server, the server is the common cause; the failures are one finding",
)
MANY_TIMES = Threshold(
    "100 connections", "if more connections than this from a client to one server fail, the failures are one finding"
)
NEXT_ADDRESS = Threshold(
    "300 ms",
    "the maximum time until a client tries another address; a client that knows another address tries it at once, or after "
    "250 ms (RFC 8305 section 8)",
)
POLLS = Threshold(
    "3 refusals", "the minimum number of refusals that show that a client retries by itself, so no user waits for an attempt"
)
NOTICED = 1_000_000
"""The minimum time in ns that a failed attempt must have cost to count as lost time.

Findings that cost less time become notes; the value equals NOTICED in rule_engine/render.py.
"""


def group_failures(rows: pl.DataFrame) -> pl.DataFrame:
    """Group failures into findings. Return a row for each finding:

    `row`: the index of the first failure.
    `end`: the end of the last failure (ns).
    `lost`: the time lost (ns); null if there was none.
    `alone`: true if the finding is about a single failure.
    `failures`, `servers`, `server_hosts`, `clients`, `outages`: the numbers of these in the group.
    `waited_for`: the longest time (ns) until a client tried another address. `down_for`: the longest outage (ns).
    Hosts are replaced by numbers before sorting, which takes less memory.
    """
    hosts = {"client": c("client_host"), "server": c("server"), "server_host": attempts.host_of("server")}
    found = rows.select(
        pl.int_range(pl.len(), dtype=pl.UInt32).alias("row"),
        (c("number") * 2 + c("of_gateway")).alias("group"),
        pl.max_horizontal(pl.coalesce("answer_time", "last_syn_time"), c("syn_time") + _time_lost()).alias("end"),
        *("syn_time", _time_lost()),
        *("syns", "then_frame"),
        (c("since") - c("syn_time")).alias("waited_for"),
        (c("then_time") - c("since")).alias("down_for"),
        c("other_frame").is_not_null().alias("two"),
        c("server").str.extract(r":(\d+)$").cast(pl.UInt32).alias("port"),
        c("server").str.starts_with("[").alias("ipv6"),
        (~c("of_gateway") & ~c("number").is_in([attempts.PROHIBITED, attempts.UNREACHABLE, attempts.TIMED_OUT])).alias("once"),
    ).with_columns(pl.Series(name, _numbers(rows.select(host.hash()).to_series())) for name, host in hosts.items())[
        rows["syn_frame"].arg_sort()
    ]
    servers, clients, times = _shared_counts(found)
    polls = (c("group") // 2 == attempts.REFUSED) & (c("syns") == 1) & (pl.Series("times", times) >= POLLS.value)
    found = _both_counted_once(found).with_columns(pl.when(~polls).then("lost").alias("lost"))
    searching, wanted = servers > MANY_SERVERS.value, clients > MANY_CLIENTS.value
    often = (times > MANY_TIMES.value) | (found["once"].to_numpy() & (times > 1)) | found["two"].to_numpy()
    by_itself = ~(searching | wanted | often)
    one = {"failures": pl.lit(1, pl.Int64), **{name: pl.lit(1, pl.UInt32) for name in (*_COUNTED, "outages")}}
    sums = ("waited_for", "down_for")
    alone = found.filter(pl.Series(by_itself)).select("row", "end", "lost", *sums, pl.lit(value=True).alias("alone"), **one)
    key = ["group", "client_key", "server_key"]
    of_many = found.filter(pl.Series(~by_itself)).with_columns(
        pl.when(pl.Series((searching | (often & ~wanted))[~by_itself])).then("client").alias("client_key"),
        pl.when(pl.Series((~searching & (wanted | often))[~by_itself])).then("server").alias("server_key"),
        pl.when(pl.Series(~searching[~by_itself])).then("lost").alias("lost"),
    )
    many = (
        _counted_once(of_many, [*key, "client"])
        .group_by(key, maintain_order=True)
        .agg(
            c("row").first(),
            c("end").max(),
            pl.when(c("lost").count() > 0).then(c("lost").sum()).alias("lost"),
            *(c(name).max() for name in sums),
            pl.lit(value=False).alias("alone"),
            pl.len().cast(pl.Int64).alias("failures"),
            *(c(of).n_unique().alias(name) for name, of in _COUNTED.items()),
            c("then_frame").n_unique().alias("outages"),
        )
    )
    return pl.concat([alone, many.select(alone.columns)])


def _time_lost() -> pl.Expr:
    """Return the time (ns) that the attempt cost the client.

    The result is null if the time is below NOTICED, or if the kind is not-up-yet, down or given-up.
    """
    over = pl.max_horizontal("answer_time", "last_syn_time")
    until = pl.when(c("number").is_in([attempts.TRIED_NEXT, attempts.TRIED_LATE])).then("since").otherwise(over)
    lost = until - c("syn_time")
    return (
        pl.when(
            ~c("number").is_in([attempts.NOT_UP_YET, attempts.DOWN, attempts.PORT_CHECK, attempts.GIVEN_UP]) & (lost >= NOTICED)
        )
        .then(lost)
        .alias("lost")
    )


def _counted_once(found: pl.DataFrame, key: list[str]) -> pl.DataFrame:
    """Shorten the lost time (`lost`) of failures that overlap in time, so that no time counts twice.

    Only failures with equal values in the columns `key` are compared. An earlier failure keeps its time.
    """
    until = (c("syn_time") + c("lost").fill_null(0)).cum_max().shift(1).over(key)
    return found.with_columns((c("syn_time") + c("lost") - pl.max_horizontal("syn_time", until)).clip(0).alias("lost"))


def _both_counted_once(found: pl.DataFrame) -> pl.DataFrame:
    """Shorten the lost time (`lost`) where a client tried both IP versions at once (RFC 8305), so that no time counts twice.

    Packets do not show which IPv4 and IPv6 addresses belong to one client. So this applies only if no other client failed on the
    port. `found` must be sorted by `syn_time`.
    """
    before = {name: c(name).shift(1).over("port") for name in ("ipv6", "syn_time", "lost")}
    alone = (c("client").n_unique().over("port", "ipv6") == 1).all().over("port")
    both = alone & (c("ipv6") != before["ipv6"]) & (c("syn_time") - before["syn_time"] <= NEXT_ADDRESS.value)
    counted = (before["syn_time"] + before["lost"] - c("syn_time")).clip(0)
    left = c("lost") - pl.when(both).then(counted).fill_null(0)
    return found.with_columns(pl.when(left >= NOTICED).then(left).alias("lost"))


_COUNTED = {"servers": "server", "server_hosts": "server_host", "clients": "client"}


def _numbers(values: pl.Series) -> Array:
    """Map equal values to equal numbers, starting at 0."""
    return np.unique(values.to_numpy(), return_inverse=True)[1].astype(np.uint32)


def _shared_counts(found: pl.DataFrame) -> tuple[Array, Array, Array]:
    """Return three arrays with a number for each failure. Only failures of the same kind are counted.

    The arrays contain: the number of servers to which the failure's client could not connect; the number of clients that could
    not connect to its server; and the number of failures between this client and this server.
    """
    group = found["group"].to_numpy()
    client, server = (
        found[name].to_numpy().astype(np.int64) * (2 * len(attempts.KINDS)) + group for name in ("client", "server")
    )
    width = int(server.max(initial=0)) + 1
    pairs, pair, times = np.unique(client * width + server, return_inverse=True, return_counts=True)
    at, by = (np.bincount(ends).astype(np.int32) for ends in (pairs // width, pairs % width))
    return at[client], by[server], times.astype(np.int32)[pair]
