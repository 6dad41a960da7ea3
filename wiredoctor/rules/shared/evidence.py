"""What rules need to prove a thing: evidence, how sure it is, who knew of what."""

from __future__ import annotations

import polars as pl

EVIDENCE = pl.List(pl.Struct({"frame": pl.Int64, "time": pl.Int64, "note": pl.String}))


def evidence(*packets: tuple[str, str, str | pl.Expr]) -> pl.Expr:
    """(column of the frame, column of its time, note) for each packet -> the column `evidence`; null frames are left out."""
    items = [packet(frame, time, pl.lit(note) if isinstance(note, str) else note) for frame, time, note in packets]
    return pl.concat_list(items).list.filter(pl.element().struct.field("frame").is_not_null()).alias("evidence")


def packet(frame: str, time: str, note: pl.Expr) -> pl.Expr:
    """An item of evidence: columns of its frame and time, and its note."""
    return pl.struct(
        pl.col(frame).cast(pl.Int64).alias("frame"),
        pl.col(time).cast(pl.Int64).alias("time"),
        note.cast(pl.String).alias("note"),
    )


def confidence(inferred: pl.Expr | None = None) -> pl.Expr:
    """Return how sure a statement about a row of `exchanges` is: low after a gap, medium without handshake or if `inferred`."""
    return _confidence(inferred, "hole_before", "request_has_hole", "response_has_hole")


def close_confidence(inferred: pl.Expr | None = None) -> pl.Expr:
    """Return the same for a row of `closes`."""
    return _confidence(inferred, "gap_before", "request_has_gap", "response_has_gap")


def _confidence(inferred: pl.Expr | None, *gaps: str) -> pl.Expr:
    c = pl.col
    guessed = ~c("handshake") if inferred is None else ~c("handshake") | inferred
    return pl.when(pl.any_horizontal(*gaps)).then(pl.lit("low")).when(guessed).then(pl.lit("medium")).otherwise(pl.lit("high"))


def server_closed_first() -> pl.Expr:
    """In a row of `closes`: the server itself closed, and the client had not before it knew of that.

    Acknowledgement numbers say so, not clocks: a FIN or RST of the client that does not acknowledge the server's FIN was
    sent without knowing of it. Nothing acknowledges an RST.
    """
    c = pl.col
    knew = ((c("client_close_ack") > c("server_close_offset")) & (c("server_close_rst") == 0)).fill_null(False)
    # where the capture has holes, what the server acknowledges behind the request may be a FIN that is not in it
    unseen = (c("gap_before") & (c("server_close_ack") > c("request_end_offset"))).fill_null(False)
    first = c("server_close_frame").is_not_null() & (c("client_close_frame").is_null() | knew)
    return first & ~unseen & ~c("server_close_contradicted") & (c("server_close_origin") != "between")


def close_origin(side: str) -> pl.Expr:
    """Return the column `origin` of a candidate that names the FIN or RST of a side, by a row of `closes`."""
    origin = pl.col(f"{side}_close_origin")
    return pl.when(origin != "").then(origin).alias("origin")


def close_word(rst: str) -> pl.Expr:
    """FIN or RST, by a column such as `server_close_rst`."""
    return pl.when(pl.col(rst) == 1).then(pl.lit("RST")).otherwise(pl.lit("FIN"))


def of_the_capture() -> list[pl.Expr]:
    """The first columns of a candidate that is about the capture, not about a connection."""
    nothing = {"connection": pl.Int64(), "exchange": pl.Int32(), "kind": pl.String(), "side": pl.String(), "delay": pl.Int64()}
    return [*(pl.lit(None, dtype).alias(name) for name, dtype in nothing.items()), pl.lit("high").alias("confidence")]


def told_once(
    connections: pl.LazyFrame, touched: pl.Expr, place: pl.Expr, frame: str, start: str, most: int, *more: pl.Expr
) -> pl.LazyFrame:
    """One row about the capture, where a fault touched any of its `connections`; none where it touched none. The row says how
    many there are and how many it touched, where it touched the first, when the last of them was over, and the first `most`
    places as evidence.

    `place` is the item of evidence of a connection, `frame` and `start` the columns of where and when it was touched first;
    `more` are aggregates over those that were touched. Of a million connections only the touched ones are fetched, and only of
    those that are shown is anything written.
    """
    c = pl.col
    those = connections.filter(touched)
    counted = those.select(
        *of_the_capture(),
        c(frame).min().alias("frame"),
        c(start).min().alias("start"),
        c("end").max().alias("end"),
        pl.len().cast(pl.Int64).alias("touched"),
        *more,
    ).filter(c("touched") > 0)
    every = connections.select(pl.len().cast(pl.Int64).alias("connections"))
    shown = those.sort(frame, maintain_order=True).head(most).select(place.implode().cast(EVIDENCE).alias("evidence"))
    return counted.join(every, how="cross").join(shown, how="cross")
