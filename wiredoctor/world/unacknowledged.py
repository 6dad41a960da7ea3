"""Find out what the connection of unacknowledged data, its exchange, and other connections of the two hosts show about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import polars as pl

from wiredoctor.tables import of_exchanges
from wiredoctor.world.neighbors import HOSTS, TRIED, compare_neighbors
from wiredoctor.world.world import CaptureTables, Index

c = pl.col

Key = tuple[int, int, int]
"""What identifies unacknowledged data: its connection, its direction, and the packet with its first copy."""

_KEY = ("connection", "sender_direction", "first_frame")
_VERSION = ("row_frame", "time", "copies", "last_frame", "fin")
"""What tells rows about the same data apart. `row_frame`, `time`: where the row was written."""


class Surroundings(NamedTuple):
    """What is known of unacknowledged data besides its own packets.

    `client_direction`: None if the connection is not known. `only_syn_acks`: the server sent only SYN-ACKs (and perhaps an RST);
    `syn_ack_again`: in this case, several. `whole`: the exchange has a complete response, and the client acknowledged all that
    the server sent. `unanswered`: the exchange has no response. `large_only`: only large segments are lost; `same_elsewhere`: on
    several connections of the two hosts. The other fields are those of neighbors.compare_neighbors.
    """

    client_direction: int | None
    only_syn_acks: bool
    syn_ack_again: bool
    whole: bool
    unanswered: bool
    large_only: bool
    same_elsewhere: bool
    fits_elsewhere: bool
    answered_later: bool
    down: bool
    repeated: bool
    survived_rest: int | None


class Unacknowledged(Index):
    """What the tables show about unacknowledged data that somebody waits for.

    Candidates have columns of the table `unacknowledged`, with the `sender_direction`, and flags. `alive`: the receiver was
    running. `may_be_large`: then only large segments are lost. `closed_later`: the server's FIN came after the first copy should
    have arrived. `may_be_notify`, `may_be_last_line`, `may_be_408`: the data is a farewell if the connection carries TLS, or an
    unknown protocol, or if it is a 408 without a request.
    """

    NEEDS: ClassVar[tuple[str, ...]] = (
        *(*_KEY, *_VERSION, "exchange", "http", "acknowledged_frame", "first_time", "second_time", "last_time"),
        *("smallest_unacknowledged", "alive", "may_be_large", "closed_later"),
        *("may_be_notify", "may_be_last_line", "may_be_408"),
    )

    @classmethod
    def build(cls, wanted: Sequence[pl.DataFrame], tables: CaptureTables) -> Unacknowledged:
        """Return what is known of the candidates' data (see world.Index)."""
        newest = pl.concat(wanted).unique(_KEY, keep="last", maintain_order=True)
        rows = newest.filter(c("acknowledged_frame").is_null())
        exchanges = tables.exchanges()
        compared = compare_neighbors(rows, tables.connections, exchanges, TRIED.value)
        own = of_exchanges(exchanges, rows).select(
            *("connection", "exchange", "response_status", "request_frame", "response_frame"),
            (c("response_end_reason") == "complete").alias("complete"),
        )
        known = own.with_columns(found=True).collect().unique(["connection", "exchange"], keep="last")
        return cls(_kept(compared.join(known, on=["connection", "exchange"], how="left", maintain_order="left")))

    def __init__(self, rows: pl.DataFrame) -> None:
        same: dict[Surroundings, Surroundings] = {}
        self._known: dict[Key, tuple[tuple[int, ...], Surroundings]] = {}
        known, keyed = len(Surroundings._fields), len(Surroundings._fields) + len(_KEY)
        for row in rows.select(*Surroundings._fields, *_KEY, *_VERSION).iter_rows():
            around = Surroundings(*row[:known])
            self._known[row[known:keyed]] = row[keyed:], same.setdefault(around, around)

    def of(self, key: Key, version: tuple[int, int, int, int, bool]) -> Surroundings | None:
        """Return what is known of the data. `version`: the columns _VERSION of the row.

        None: a later row about the same data replaced this one, or the data was acknowledged in the end. Or nobody waits for it:
        it is a farewell before a close, or an RST answered a copy that was sent after the server's FIN, so that copy reached the
        server.
        """
        newest, around = self._known.get(key, (None, None))
        return around if newest == version else None


def _kept(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the rows about data that somebody waits for, with the columns of Surroundings."""
    timed_out = c("may_be_408") & c("found") & c("request_frame").is_null() & (c("response_status") == 408)
    to_tls, to_other = (c("may_be_notify") & (c("protocol") == "tls"), c("may_be_last_line") & (c("protocol") == "unknown"))
    farewell = (timed_out | to_tls | to_other).fill_null(value=False)
    history = c("history")
    rejected = c("closed_later") & c("http") & history.str.contains("r")
    only_syn_acks = history.str.contains("^[A-Zhtr]*$") & history.str.contains("h")
    large_only = c("may_be_large") & (c("alive") | c("alive_elsewhere")) & ~c("fits_elsewhere")
    flags = {
        "only_syn_acks": only_syn_acks,
        "syn_ack_again": only_syn_acks & history.str.contains("h.*t"),
        "whole": c("complete") & (c("server_unacknowledged") == 0),
        "unanswered": c("found") & c("response_frame").is_null(),
        "large_only": large_only,
    }
    several = (c("large_only") & ~c("fin")).sum().over(HOSTS) > 1
    return (
        rows.filter(~farewell, ~rejected)
        .with_columns(flag.fill_null(value=False).alias(name) for name, flag in flags.items())
        .with_columns((c("large_only") & ~c("fin") & several).alias("same_elsewhere"))
    )
