"""Compare the body that a gateway sent to its client with the body that it received from the server behind it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import polars as pl

from wiredoctor.tables import TRIES
from wiredoctor.world import CaptureTables, Index

BEHIND_COLUMNS = {
    "response_body_frame": pl.Int64(), "response_body_time": pl.Int64(), "response_first_event_frame": pl.Int64(),
    "response_first_event_time": pl.Int64(), "response_pause_frames": pl.List(pl.Int64()),
    "response_pause_times": pl.List(pl.Int64()), "response_bursts": pl.Int64(),
    "response_chunks": pl.Int64(), "response_content_encoding": pl.String(),
}  # fmt: skip
"""The columns of exchanges that show how a gateway received a body from the server behind it."""


class ReceivedBehind(Index):
    """How a gateway received the body that it sent to its client: the columns BEHIND_COLUMNS of its last certain try."""

    NEEDS = ("connection", "exchange")

    def __init__(self, received: Mapping[tuple[int, int], dict[str, Any]]) -> None:
        self._received = received

    @classmethod
    def build(cls, wanted: Sequence[pl.DataFrame], tables: CaptureTables) -> ReceivedBehind:
        """Return the answers about these candidates."""
        return cls(received_behind(pl.concat(wanted), tables, BEHIND_COLUMNS))

    def of(self, connection: int, exchange: int) -> dict[str, Any] | None:
        """Return the columns about the body of a response to a client; None if the capture shows no such try."""
        return self._received.get((connection, exchange))


def received_behind(
    wanted: pl.DataFrame, tables: CaptureTables, columns: Collection[str]
) -> dict[tuple[int, int], dict[str, Any]]:  # fmt: skip
    """Return these columns of the last certain try of exchanges with gateways, by `connection` and `exchange` of `wanted`."""
    front = {"connection": "front_connection", "exchange": "front_exchange"}
    tries = (TRIES.empty() if tables.tries is None else tables.tries).filter("certain").drop_nulls("exchange")
    if tries.is_empty():
        return {}
    last = tries.sort("started").unique([*front.values()], keep="last")
    mine = last.join(wanted.rename(front), on=[*front.values()], how="semi").lazy()
    received = tables.exchanges().select(*front, *columns).join(mine, on=[*front])
    behind = received.select(*front.values(), pl.struct(*columns)).collect()
    return {(connection, exchange): body for connection, exchange, body in behind.iter_rows()}
