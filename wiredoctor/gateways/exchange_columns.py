"""Represent exchanges as columns of numbers: their times, and the properties that a gateway does not change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache, cached_property
from typing import NamedTuple

import numpy as np
import polars as pl

from wiredoctor.gateways.known import LATE
from wiredoctor.gateways.targets import ABSOLUTE
from wiredoctor.tables import SMALL, Array, of_connections
from wiredoctor.world.attempts import host_of

c = pl.col

NO_STATUS = -1

EXCHANGES = [
    *("connection", "exchange", "has_response", "endpoint", "request_start", "request_end", "request_head_time"),
    *("request_method", "request_target", "request_user_agent", "request_referer", "request_content_type"),
    *("request_has_credentials", "request_credentials_scheme", "request_credentials_user", "request_forwarded_for"),
    *("request_framing", "request_end_reason", "request_body_bytes"),
    *("response_status", "response_start", "response_end", "response_end_reason", "response_framing", "response_body_bytes"),
    *("response_has_content_length", "response_content_type", "response_content_encoding"),
    *("client_close_time", "server_close_time", "previous_end_offset", "last_on_connection", "request_id"),
]
"""The columns of tables.EXCHANGES that are read."""


@dataclass(frozen=True, eq=False, repr=False)
class Rows:
    """Exchanges in time order, as columns of numbers. Equal texts have equal numbers, and the empty text has 0.

    The columns `start` to `over` and `opened`, except `status` and `silent`, are times in ns; LATE means never.
    `start`: the request began. `head`: the complete request head was received.
    `answered`: the final response began, or the exchange was given up; nothing is forwarded after that.
    `began`: the first response began, including interim ones.
    `silent`: 1 if the server sent no byte of a response, otherwise 0.
    `left`: the client closed before the response was complete. `dropped`: the server closed without a final response.
    `gone`: the client closed.
    `over`: the response was complete, or a side closed.
    `opened`: the connection was opened; only set for the connection's first exchange, otherwise LATE.
    `heads_known`: 1 if no header section is cut off, for example by the snap length, otherwise 0.
    `length`, `content`: the size in bytes of the request body and of the response body; -1 if a gateway may change the size.
    `tail`: the last segment of the target's path, with the query.
    `forwarded`: the last client address in X-Forwarded-For or Forwarded; `forwarded_host`: the address without its port;
    `forwarded_end`: the address with its port, or 0 if it has none.
    `identifier`: the request ID, such as X-Request-Id, which gateways and services forward.
    `seen_client`, `seen_client_host`, `server_host`: as the server sees them, after address translation if that was captured.
    """

    connection: Array
    exchange: Array
    server: Array
    server_host: Array
    client_host: Array
    method: Array
    target: Array
    tail: Array
    start: Array
    head: Array
    answered: Array
    status: Array
    began: Array
    silent: Array
    left: Array
    dropped: Array
    gone: Array
    over: Array
    length: Array
    content: Array
    encoding: Array
    response_type: Array
    agent: Array
    referer: Array
    content_type: Array
    credentials: Array
    seen_client: Array
    seen_client_host: Array
    forwarded: Array
    forwarded_host: Array
    forwarded_end: Array
    identifier: Array
    opened: Array
    heads_known: Array

    def __len__(self) -> int:
        return len(self.start)

    def select(self, rows: Array) -> Rows:
        """Return a copy with only these rows."""
        return Rows(*(getattr(self, one.name)[rows] for one in fields(self)))

    @cached_property
    def is_given_up(self) -> Array:
        """For each exchange, True if the client closed before a response began."""
        return self.gone < self.began


def groups(*columns: Array) -> Array:
    """Return a group number for each row; rows with equal values in all columns have the same number."""
    number = np.zeros(len(columns[0]), np.int64)
    for column in columns:
        codes = np.unique(column, return_inverse=True)[1]
        number = np.unique(number * (int(codes.max(initial=0)) + 1) + codes, return_inverse=True)[1]
    return number


class Totals(NamedTuple):
    """Facts about all exchanges of a capture, although Rows may have only some of them.

    `asked`: the number of exchanges at each endpoint, by (endpoint, client host). `hosts`: the hosts of each endpoint.
    """

    asked: Counter[tuple[int, int]]
    hosts: Mapping[int, frozenset[int]]

    @classmethod
    def of(cls, rows: Rows) -> Totals:
        """Return the facts about `rows`."""
        hosts: dict[int, set[int]] = {}
        for server, host in zip(rows.server.tolist(), rows.server_host.tolist(), strict=True):
            hosts.setdefault(server, set()).add(host)
        asked = Counter(zip(rows.server.tolist(), rows.client_host.tolist(), strict=True))
        return cls(asked, {server: frozenset(some) for server, some in hosts.items()})

    @property
    def addresses(self) -> set[int]:
        """The hosts of all clients and servers."""
        return {host for _, host in self.asked}.union(*self.hosts.values())


def read(exchanges: pl.LazyFrame, connections: pl.LazyFrame, most: int | None = None) -> Rows:
    """Return the exchanges as Rows, or only the first `most` of them by time. All of them must have a request."""
    if most is not None:
        exchanges = exchanges.select(EXCHANGES).bottom_k(most, by=["request_start", "connection", "exchange"])
    rows = _read(exchanges.select(EXCHANGES).collect(), connections)
    _end_at_next(rows)
    return rows


def read_some(exchanges: pl.LazyFrame, connections: pl.LazyFrame, following: Mapping[tuple[int, int], int]) -> Rows:
    """Return some exchanges of a capture as Rows. `following`: see `unended`."""
    rows = _read(exchanges.select(EXCHANGES).collect(), connections)
    for row in np.flatnonzero(rows.answered == LATE).tolist():
        after = following.get((int(rows.connection[row]), int(rows.exchange[row])), LATE)
        rows.answered[row], rows.over[row] = after, min(int(rows.over[row]), after)
    return rows


def unended(exchanges: pl.LazyFrame) -> dict[tuple[int, int], int]:
    """Return when the next exchange of the connection begins (ns), by (connection, exchange) of exchanges without an end."""
    made = exchanges.select(EXCHANGES).with_columns(_ends()).filter(~c("final") & (c("closed") == LATE))
    without = made.select("connection", "exchange").collect(engine="streaming")
    rows = (
        of_connections(exchanges, without)
        .select("connection", "exchange", "request_start")
        .collect()
        .sort("connection", "exchange")
    )
    following = rows.with_columns(c("request_start").shift(-1).over("connection").alias("after")).drop_nulls("after")
    wanted = following.join(without, on=["connection", "exchange"], how="semi")
    return {(connection, exchange): after for connection, exchange, _, after in wanted.iter_rows()}


def places_of(connections: pl.LazyFrame) -> pl.LazyFrame:
    """Return the columns of Rows about connections, and `server_bytes`. Hashes are unsigned."""
    # if the connection was also captured after address translation, its server sees the translated addresses
    return connections.select(_of_places())


@cache
def _of_places() -> list[pl.Expr]:
    return [
        c("connection"),
        host_code(pl.col("client_host")).alias("client_host"),
        pl.col("server").hash().alias("server"),
        pl.coalesce("translated_client", "client").hash().alias("seen_client"),
        host_code(pl.coalesce(host_of("translated_client"), "client_host")).alias("seen_client_host"),
        host_code(pl.coalesce(host_of("translated_server"), host_of("server"))).alias("server_host"),
        pl.col("syn_time").alias("opened"),
        c("server_bytes"),
    ]


def _read(asked: pl.DataFrame, connections: pl.LazyFrame) -> Rows:
    """Return exchanges as Rows. `asked`: the columns EXCHANGES. `connections`: at least the connections of these exchanges."""
    places = places_of(of_connections(connections, asked)).collect()
    # only numbers are joined and sorted, because texts take longer
    near = asked.select("connection").with_row_index("row").join(places, on="connection", how="inner", maintain_order="left")
    if not np.array_equal(near["row"].to_numpy(), np.arange(asked.height)):
        asked = asked[near["row"]]
    made = asked.hstack(near.drop("row", "connection")).with_columns(_ends())
    of_targets = _of_each(made["request_target"], origin_form().alias("origin"), _of_target())
    of_senders = _of_each(made["request_forwarded_for"], _last_address().alias("address"), _of_address())
    columns = made.select(_columns()).hstack(of_targets).hstack(of_senders)
    place = np.lexsort([_numbers(columns[name]) for name in ("exchange", "connection", "start")])
    return Rows(*(_numbers(columns[one.name])[place] for one in fields(Rows)))


def _of_each(texts: pl.Series, part: pl.Expr, columns: Sequence[pl.Expr]) -> pl.DataFrame:
    """Return columns for each text, which are computed from a part of the text. If there are many, equal ones are read once."""
    if len(texts) <= SMALL:
        return texts.to_frame().with_columns(part).select(columns)
    of_text = texts.unique().to_frame().with_columns(part).select(texts.name, *columns)
    return texts.to_frame().join(of_text, on=texts.name, how="left", nulls_equal=True, maintain_order="left").drop(texts.name)


def _end_at_next(rows: Rows) -> None:
    """If the end of an exchange was not captured, set it to the start of the next exchange on the same connection."""
    open_ = np.flatnonzero(rows.answered == LATE)
    if not len(open_):
        return
    place = np.lexsort((rows.exchange, rows.connection))
    after = np.full(len(rows), LATE)
    same = rows.connection[place[1:]] == rows.connection[place[:-1]]
    after[place[:-1][same]] = rows.start[place[1:][same]]
    rows.answered[open_] = after[open_]
    rows.over[open_] = np.minimum(rows.over[open_], after[open_])


def _numbers(column: pl.Series) -> Array:
    """Return a column as an array of signed 64-bit numbers; unsigned hashes keep their bits."""
    values: Array = column.to_numpy()
    return values.view(np.int64) if values.dtype == np.uint64 else values.astype(np.int64)


def host_code(host: pl.Expr) -> pl.Expr:
    """Return an expression for the hash of a host's address. 127.0.0.1 and ::1 have the same hash."""
    return pl.when(host == "::1").then(pl.lit("127.0.0.1")).otherwise(host).hash()


def origin_form() -> pl.Expr:
    """Return an expression for the target without scheme and authority, like targets.origin."""
    target = pl.col("request_target")
    bare = target.str.replace(ABSOLUTE, "")
    rooted = pl.when(bare.str.starts_with("/")).then(bare).otherwise(pl.lit("/") + bare)
    return pl.when(target.str.contains(ABSOLUTE)).then(rooted).otherwise(target)


def target_code() -> pl.Expr:
    """Return an expression for the column `target` of Rows, as an unsigned hash."""
    return origin_form().hash()


def _text(name: str) -> pl.Expr:
    """Return an expression for the hash of the texts in a column; 0 for an empty text."""
    return pl.when(pl.col(name) != "").then(pl.col(name).hash()).otherwise(pl.lit(0, pl.UInt64))


@cache
def _ends() -> list[pl.Expr]:
    late = pl.lit(LATE, pl.Int64)
    final = (
        c("has_response") & c("response_status").is_not_null() & ((c("response_status") >= 200) | (c("response_status") == 101))
    )
    # a gateway cannot forward a response whose head is cut off
    final &= ~((c("response_framing") == "none") & c("response_end_reason").is_in(["fin", "rst"]))
    start = c("request_start")
    # a close that came before the request belongs to an earlier exchange
    gone, closed = (
        pl.when(c(name) >= start).then(c(name)).otherwise(late).fill_null(LATE)
        for name in ("client_close_time", "server_close_time")
    )
    whole = final & c("response_end").is_not_null() & (c("response_end_reason") == "complete")
    return [
        final.fill_null(value=False).alias("final"),
        whole.fill_null(value=False).alias("whole"),
        gone.alias("gone"),
        pl.when(whole).then(late).otherwise(gone).alias("left"),
        pl.when(final).then(late).otherwise(closed).alias("dropped"),
        pl.min_horizontal(gone, closed).alias("closed"),
    ]


@cache
def _columns() -> list[pl.Expr]:
    ended = pl.min_horizontal("left", "dropped")
    # if a close cut off a response, the last captured byte is not the end of the response
    cut = c("final") & c("response_end_reason").is_in(["fin", "rst", "capture-end"])
    framed = (c("request_end_reason") == "complete") & (c("request_framing") != "chunked")
    fixed = c("whole") & c("response_has_content_length") & (c("request_method") != "HEAD")
    headless = (c("response_framing") == "none") & (c("response_end_reason") == "hole")
    none = pl.lit(0, pl.UInt64)
    user = pl.struct("request_credentials_scheme", "request_credentials_user").hash()
    made = {
        "method": c("request_method").hash(),
        "start": c("request_start"),
        "head": pl.coalesce("request_head_time", "request_end", "request_start"),
        "answered": pl.when("final").then("response_start").otherwise(ended),
        "status": pl.when("final").then("response_status").otherwise(NO_STATUS),
        "began": pl.when("has_response").then("response_start").otherwise(LATE).fill_null(LATE),
        "silent": ~c("has_response") & ~(c("last_on_connection") & (c("server_bytes") > c("previous_end_offset").fill_null(0))),
        "over": pl.when(cut)
        .then("closed")
        .when(c("final") & c("response_end").is_not_null())
        .then("response_end")
        .otherwise(ended),
        "length": pl.when(framed).then("request_body_bytes").otherwise(-1).fill_null(-1),
        "content": pl.when(fixed).then("response_body_bytes").otherwise(-1).fill_null(-1),
        "encoding": _text("response_content_encoding"),
        "response_type": _text("response_content_type"),
        "agent": _text("request_user_agent"),
        "referer": _text("request_referer"),
        "content_type": _text("request_content_type"),
        "credentials": pl.when("request_has_credentials").then(user).otherwise(none),
        "identifier": _text("request_id"),
        "opened": pl.when(c("exchange") == 0).then("opened").fill_null(LATE),
        "heads_known": ((c("request_end_reason") != "hole") | c("request_head_time").is_not_null())
        & ~(c("has_response") & headless).fill_null(value=False),
    }
    apart = {column.meta.output_name() for column in (*_of_target(), *_of_address())}
    return [made.get(one.name, c(one.name)).fill_null(0).alias(one.name) for one in fields(Rows) if one.name not in apart]


@cache
def _of_target() -> list[pl.Expr]:
    """Return the columns of Rows about the target in the column `origin`."""
    return [
        c("origin").hash().fill_null(0).alias("target"),
        c("origin").str.replace(r"^[^?]*/", "").hash().fill_null(0).alias("tail"),
    ]


def _last_address() -> pl.Expr:
    """Return an expression for the last address in X-Forwarded-For or Forwarded."""
    return c("request_forwarded_for").str.split(", ").list.last()


@cache
def _of_address() -> list[pl.Expr]:
    """Return the columns of Rows about the client's address in the column `address`."""
    none = pl.lit(0, pl.UInt64)
    known = c("address").is_not_null() & ~c("address").is_in(["", "unknown"])
    made = {
        "forwarded": pl.when(known).then(c("address").hash()).otherwise(none),
        "forwarded_host": pl.when(known).then(host_code(host_of("address"))).otherwise(none),
        "forwarded_end": pl.when(known & (c("address") != host_of("address"))).then(c("address").hash()).otherwise(none),
    }
    return [column.fill_null(0).alias(name) for name, column in made.items()]
