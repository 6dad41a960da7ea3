"""Build the columns of candidates that many rules share: confidence, side, times, and who may have sent a close."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextvars import copy_context
from typing import Literal

import polars as pl

from wiredoctor.tables import MILLISECOND

c = pl.col

CANDIDATE: dict[str, pl.DataType] = {
    **{"connection": pl.Int64(), "exchange": pl.Int32()},
    **{name: pl.String() for name in ("kind", "side", "confidence")},
    **{name: pl.Int64() for name in ("frame", "start", "end", "delay")},
}
"""The types of the columns that every candidate has (findings.CANDIDATE_COLUMNS), for rules that create rows in Python."""


def grouped(
    rows: pl.LazyFrame, group: Callable[[pl.DataFrame], pl.DataFrame], schema: Mapping[str, pl.DataType]
) -> pl.LazyFrame:  # fmt: skip
    """Return what `group`, a Python function, makes of all rows together; `schema`: the columns that it returns.

    Polars calls the function in another thread, where the configured thresholds would be unknown, and so would be whether secrets
    are shown.
    """
    context = copy_context()
    return rows.map_batches(lambda some: context.run(group, some), schema=schema)


def confidence(inferred: pl.Expr | None = None) -> pl.Expr:
    """Return the confidence of a candidate from a row of `exchanges` or `closes`.

    It is low after a gap. It is medium if the handshake was not captured or `inferred` is true, otherwise high.
    """
    guessed = ~c("handshake") if inferred is None else ~c("handshake") | inferred
    return grade(pl.any_horizontal("gap_before", "request_has_gap", "response_has_gap"), guessed)


NEAR = MILLISECOND
"""If the round trip (ns) to a host is shorter, the capture point is at that host or close to it.

On so short a path, no packet is delayed long enough to look like a pause of a program.
"""


def is_unwitnessed(by_clock: pl.Expr) -> pl.Expr:
    """Return, for a row of `exchanges`, whether a pause that seems to be the server's may be a delay of the path.

    This is possible if the server's timestamps do not show the pause, and the server is not NEAR. `by_clock`: the length of the
    pause (ns) by these timestamps, or null.
    """
    return by_clock.is_null() & is_far()


def is_far() -> pl.Expr:
    """Return, for a row of `exchanges`, whether the server is not NEAR; true if its distance is unknown."""
    return (c("rtt_server") >= NEAR).fill_null(value=True)


WITNESS, NO_WITNESS = " ({} by the server's timestamps)", "; no timestamps show when it was sent"


def grade(low: pl.Expr | str, medium: pl.Expr | str) -> pl.Expr:
    """Return the confidence: low if `low` is true; otherwise medium if `medium` is true; otherwise high."""
    return pl.when(low).then(pl.lit("low")).when(medium).then(pl.lit("medium")).otherwise(pl.lit("high"))


def has_doubtful_close(side: str | pl.Expr) -> pl.Expr:
    """Return an expression for rows of `closes`: true if a side's FIN or RST has another TTL than its other packets.

    A device on the path may have sent it, but that is not proved. `side`: "client" or "server", or an expression for it.
    """
    return (_origin(side) == "doubtful").fill_null(value=False)


def _origin(side: str | pl.Expr) -> pl.Expr:
    if isinstance(side, str):
        return pl.col(f"{side}_close_origin")
    return pl.when(side == "server").then("server_close_origin").when(side == "client").then("client_close_origin")


DOUBTFUL_TTL = "; its TTL differs from that of the host's other packets, so a device on the path may have sent it"
"""The text about a FIN or RST that a device on the path may have sent."""


def candidate(
    side: str | pl.Expr | None, confidence: str | pl.Expr, frame: str, start: str | pl.Expr, end: str | pl.Expr,
    *, kind: str | pl.Expr | None = None, delay: pl.Expr | None = None,
    of: Literal["exchange", "connection", "server"] = "exchange",
) -> list[pl.Expr]:  # fmt: skip
    """Return the columns of a candidate (findings.CANDIDATE_COLUMNS).

    `side`, `confidence`, `kind`: the value, or an expression for it. `frame`, `start`, `end`: a column, or an expression.
    `of`: the object that the candidate is about. The column `exchange` is null for a connection or a server, and `connection` for
    a server.
    """
    start, end = (c(time) if isinstance(time, str) else time for time in (start, end))
    return [
        *(_null(connection=pl.Int64()) if of == "server" else [c("connection")]),
        *([c("exchange")] if of == "exchange" else _null(exchange=pl.Int32())),
        *(
            (value if isinstance(value, pl.Expr) else pl.lit(value, pl.String)).alias(name)
            for name, value in (("kind", kind), ("side", side), ("confidence", confidence))
        ),
        c(frame).alias("frame"),
        start.alias("start"),
        end.alias("end"),
        *(_null(delay=pl.Int64()) if delay is None else [delay.alias("delay")]),
    ]


def silent_candidates(rows: pl.DataFrame) -> pl.DataFrame:
    """Return candidates that are not reported themselves, but explain why these exchanges were slow.

    `rows`: exchanges with the columns `connection`, `exchange` and `response_frame`.
    """
    nothing = pl.lit(None, pl.Int64)
    found = rows.select(*candidate(None, "medium", "response_frame", nothing, nothing), pl.lit(value=True).alias("silent"))
    return found.cast(CANDIDATE)  # type: ignore[arg-type]


def capture_columns() -> list[pl.Expr]:
    """Return the columns that are equal in all candidates about a capture.

    The confidence is high. The connection, exchange, kind, side and delay are null, because such a candidate has none.
    """
    nothing = _null(connection=pl.Int64(), exchange=pl.Int32(), kind=pl.String(), side=pl.String(), delay=pl.Int64())
    return [*nothing, pl.lit("high").alias("confidence")]


def _null(**columns: pl.DataType) -> list[pl.Expr]:
    return [pl.lit(None, dtype).alias(name) for name, dtype in columns.items()]


def one_capture_candidate(
    connections: pl.LazyFrame, touched: pl.Expr, facts: Sequence[str | pl.Expr], frame: str, start: str, most: int, *more: pl.Expr
) -> pl.LazyFrame:
    """Return one row about the capture if any of its connections is affected; otherwise no row.

    `touched`: an expression that is true for affected connections.
    `facts`: the columns of a connection that its evidence needs, besides its id and its first affected packet.
    `frame`, `start`: the names of the columns with the first affected packet of a connection, and with its time (ns).
    `more`: additional aggregates.

    The row counts all connections (`connections`) and the affected ones (`touched`). It has the first frame and time of the
    affected connections, and the latest end. `shown` is a list of structs about the first `most` affected connections:
    `connection`, `frame`, `time` and the `facts`.
    """
    those = connections.filter(touched)
    counted = those.select(
        *capture_columns(),
        c(frame).min().alias("frame"),
        c(start).min().alias("start"),
        c("end").max().alias("end"),
        pl.len().cast(pl.Int64).alias("touched"),
        *more,
    ).filter(c("touched") > 0)
    every = connections.select(pl.len().cast(pl.Int64).alias("connections"))
    place = pl.struct("connection", c(frame).alias("frame"), c(start).alias("time"), *facts)
    shown = those.sort(frame, maintain_order=True).head(most).select(place.implode().alias("shown"))
    return counted.join(every, how="cross").join(shown, how="cross")
