"""Build the columns that the rules about violations of HTTP framing or grammar share."""

from __future__ import annotations

import polars as pl

from wiredoctor.rules.shared.evidence import candidate, evidence, grade, request_or_response
from wiredoctor.tables import SERVER

c = pl.col

SMUGGLING = (
    "If such requests come from strangers, treat them as an attack: a proxy in front of the server may see a different end "
    "of the request than the server, and the bytes in between become a separate request (request smuggling)."
)
"""The advice for requests that two recipients may interpret differently: where they end, or what their fields mean.

See RFC 9112 section 11.2.
"""


def candidates_of_fault(
    faults: pl.LazyFrame, name: str, message: pl.Expr, proof: pl.Expr, *more: pl.Expr, kind: str | None = None
) -> pl.LazyFrame:  # fmt: skip
    """Return a candidate for each row of `faults` with the fault `name`.

    `message`: the evidence note for the first packet of the HTTP message. `proof`: the note for the packet that shows the fault.
    `more`: additional columns. `kind`: the kind of the candidates.
    """
    return candidates(faults.filter(pl.col("fault") == name), pl.lit(kind, pl.String), message, proof, *more)


def candidates(rows: pl.LazyFrame, kind: pl.Expr, message: pl.Expr, proof: pl.Expr, *more: pl.Expr) -> pl.LazyFrame:
    """Return a candidate for each of the rows, with the columns `what` (request or response), `version` and `more`.

    `rows`: some rows of the table `faults`. `message` and `proof` are as in `candidates_of_fault`.
    """
    by_server = c("role") == SERVER
    asked = pl.when(by_server).then("request_frame").alias("asked_frame")
    side = pl.when(by_server).then(pl.lit("server")).otherwise(pl.lit("client"))
    return rows.with_columns(asked).select(
        *candidate(side, _confidence(), "frame", "message_time", "time", kind=kind),
        request_or_response().alias("what"),
        "version",
        _evidence(message, proof),
        *more,
    )


def message_label() -> pl.Expr:
    """Return a short name of the message: "request", "response, 200"."""
    return pl.coalesce(pl.format("{}, {}", request_or_response(), "status"), request_or_response())


def message_begins() -> pl.Expr:
    """Return the note for a message's first packet: "the request begins", "the response, 200, begins"."""
    what = request_or_response()
    return pl.coalesce(pl.format("the {}, {}, begins", what, "status"), pl.format("the {} begins", what))


def quoted_excerpt() -> pl.Expr:
    """Return the bytes that show the fault, in quotation marks."""
    return pl.format('"{}"', "excerpt")


def _confidence() -> pl.Expr:
    guessed = ~c("handshake") | ~c("data_in_both_directions")
    return grade(c("after_gap"), guessed)


def _evidence(message: pl.Expr, proof: pl.Expr) -> pl.Expr:
    asked = pl.format("the request: {}, {}", "request_method", "request_version")
    return evidence(
        ("asked_frame", "request_time", asked),
        ("message_frame", "message_time", message),
        ("frame", "time", proof),
    )
