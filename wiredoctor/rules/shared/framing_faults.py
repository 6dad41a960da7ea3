"""Find and word what the rules about violations of HTTP framing or grammar share."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

import polars as pl

from wiredoctor.rules.shared.evidence import CANDIDATE, candidate, grade
from wiredoctor.rules.shared.words import packets, request_or_response
from wiredoctor.tables import SERVER

c = pl.col

SMUGGLING = (
    "If such requests come from strangers, treat them as an attack: a proxy in front of the server may see a different end "
    "of the request than the server, and the bytes in between become a separate request (request smuggling)."
)
"""The advice for requests that two recipients may interpret differently: where they end, or what their fields mean.

See RFC 9112 section 11.2.
"""


class Facts(NamedTuple):
    """What is known of a fault: a row of the table `faults`, but `start` is its `message_time`, and `end` its `time`.

    `severity`: None for that of the rule.
    """

    connection: int
    exchange: int
    severity: str | None
    fault: str
    role: int
    frame: int
    start: int
    end: int
    excerpt: str
    message_frame: int
    status: int | None
    body_due: int | None
    announces_close: bool
    request_frame: int | None
    request_time: int | None
    request_method: str
    request_version: str
    request_connection_close: bool


def candidates(
    faults: pl.LazyFrame, names: Collection[str | None], *more: str | pl.Expr, kind: pl.Expr | None = None,
    severity: pl.Expr | None = None,
) -> pl.LazyFrame:  # fmt: skip
    """Return a candidate for each row of `faults` whose fault is one of `names`. `more`: columns besides those of Facts."""
    side = pl.when(c("role") == SERVER).then(pl.lit("server")).otherwise(pl.lit("client"))
    confidence = grade(c("after_gap"), ~c("handshake") | ~c("data_in_both_directions"))
    return faults.filter(c("fault").is_in([*names])).select(
        *candidate(side, confidence, "frame", "message_time", "time", kind=kind),
        (pl.lit(None, pl.String) if severity is None else severity).alias("severity"),
        *(name for name in Facts._fields if name not in (*CANDIDATE, "severity")),
        *more,
    )


def words_of_fault(x: Facts, proof: str, message: str = "") -> dict[str, Any]:
    """Return the name `what` of the message (request or response), and the evidence.

    `proof`: the note for the packet that shows the fault. `message`: the note for the message's first packet; by default that of
    `message_begins`.
    """
    asked = x.request_frame if x.role == SERVER else None
    evidence = packets(
        (asked, x.request_time, f"the request: {x.request_method}, {x.request_version}"),
        (x.message_frame, x.start, message or message_begins(x.role, x.status)),
        (x.frame, x.end, proof),
    )
    return {"what": request_or_response(x.role), "evidence": evidence}


def message_begins(role: int, status: int | None) -> str:
    """Return the note for a message's first packet: "the request begins", "the response, 200, begins"."""
    what = request_or_response(role)
    return f"the {what} begins" if status is None else f"the {what}, {status}, begins"


def message_label(x: Facts) -> str:
    """Return a short name of the message: "request", "response, 200"."""
    return request_or_response(x.role) if x.status is None else f"{request_or_response(x.role)}, {x.status}"
