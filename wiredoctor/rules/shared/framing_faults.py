"""Messages that break their framing or their grammar: what the rules about them share."""

from __future__ import annotations

import polars as pl

from wiredoctor.rules.shared.evidence import EVIDENCE, packet
from wiredoctor.tables import SERVER

SMUGGLING = (
    "Where such requests come from strangers, take them for an attack: whoever stands before the server may see another end of "
    "the request than the server does, and what lies between becomes a request of its own (request smuggling)."
)
"""Of requests whose end, or whose fields, two readers may see differently: RFC 9112 section 11.2."""


def faulty(faults: pl.LazyFrame, name: str, message: pl.Expr, proof: pl.Expr, *more: pl.Expr) -> pl.LazyFrame:
    """A candidate per row of `faults` that is called `name`: notes of the message's first packet and of the one that shows the
    fault, and further columns."""
    return candidates(faults.filter(pl.col("fault") == name), pl.lit(None, pl.String), message, proof, *more)


def candidates(rows: pl.LazyFrame, kind: pl.Expr, message: pl.Expr, proof: pl.Expr, *more: pl.Expr) -> pl.LazyFrame:
    """The columns of candidates, and `what` (request or response), `side` and `version`."""
    c = pl.col
    by_server = c("role") == SERVER
    asked = pl.when(by_server).then("request_frame").alias("asked_frame")
    return rows.with_columns(asked).select(
        "connection",
        "exchange",
        kind.alias("kind"),
        pl.when(by_server).then(pl.lit("server")).otherwise(pl.lit("client")).alias("side"),
        _confidence().alias("confidence"),
        "frame",
        c("message_time").alias("start"),
        c("time").alias("end"),
        pl.lit(None, pl.Int64).alias("delay"),
        what().alias("what"),
        "version",
        _evidence(message, proof),
        *more,
    )


def what() -> pl.Expr:
    """Request or response."""
    return pl.when(pl.col("role") == SERVER).then(pl.lit("response")).otherwise(pl.lit("request"))


def whose() -> pl.Expr:
    """The message in words: "request", "response, 200"."""
    return pl.coalesce(pl.format("{}, {}", what(), "status"), what())


def quoted() -> pl.Expr:
    """The bytes that show the fault, in quotation marks."""
    return pl.format('"{}"', "shown")


def _confidence() -> pl.Expr:
    c = pl.col
    guessed = ~c("handshake") | ~c("both_spoke")
    return pl.when(c("behind_hole")).then(pl.lit("low")).when(guessed).then(pl.lit("medium")).otherwise(pl.lit("high"))


def _evidence(message: pl.Expr, proof: pl.Expr) -> pl.Expr:
    asked = pl.format("the request: {}, {}", "request_method", "request_version")
    items = [
        packet("asked_frame", "request_time", asked),
        packet("message_frame", "message_time", message),
        packet("frame", "time", proof),
    ]
    return pl.concat_list(items).list.filter(pl.element().struct.field("frame").is_not_null()).cast(EVIDENCE).alias("evidence")
