"""Only one direction of a connection was captured.

What it means
    The capture has packets of one side and none of the other, although the packets acknowledge data of the other side. Either
    the packets of the other side take another path, or the port mirror or the capture filter leaves them out.

Why it hurts
    Half of a conversation proves little: requests have no responses, round-trip times are unknown, and a pause cannot be
    attributed to a side. Most rules cannot judge such connections.

How it is proved
    There is no packet of the other side. Nevertheless the acknowledgment numbers of the captured side advance, or
    acknowledge a SYN-ACK. Or the capture begins in the middle of the connection, and the captured side keeps sending and never
    has to retransmit.

What it is not
    Not reported: a SYN without an answer, a side that sends to a peer that is gone, and a capture that lacks only some
    packets of a connection. A connection without its beginning is not reported either if its packets span less than a second
    at the start or end of the capture. The other side's packets may have come before or after the capture.

What to do
    Capture at a place that both directions pass.

References
    Wireshark's wiki on capture setup.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import polars as pl

from wiredoctor.findings import Reference, Rule, Threshold
from wiredoctor.rules.shared.evidence import one_capture_candidate
from wiredoctor.rules.shared.words import connection_packets
from wiredoctor.tables import PROTOCOLS

c = pl.col

RULE = Rule(
    symptom="nothing (the rule shows what cannot be judged)",
    severity="warning",
    title="One direction was not captured on {one_sided:,} of {connections:,} connections",
    message="On {one_sided:,} of {connections:,} connections the packets of one side are missing: {missing}. Without "
    "the other direction, little can be judged.",
    remedy="Capture at a place that both directions pass: on a SPAN port with rx and tx, on the host itself, or on both paths "
    "if routing is asymmetric. Check that the capture filter names hosts or ports without src or dst.",
    display_filter="tcp.stream == {first_connection}",
    references=(Reference("Wireshark wiki, Ethernet capture setup", "https://wiki.wireshark.org/CaptureSetup/Ethernet"),),
    summary=True,
    protocols=PROTOCOLS,
)

SHOWN = Threshold("5 connections", "the maximum number of connections shown as evidence; the message has the totals")
SLICE = Threshold(
    "1 s",
    "at the start or end of the capture, a connection without a captured handshake is not reported if its packets span less "
    "than this; a peer that is up responds within this time",
)


def may_match() -> pl.Expr:
    """Return a cheap condition: if no row of a batch meets it, the batch has no candidate findings."""
    return pl.col("one_sided")


class Facts(NamedTuple):
    """What is known of one-sided connections."""

    client_only: int
    server_only: int
    shown: list[dict[str, Any]]


def find(connections: pl.LazyFrame, captures: pl.LazyFrame) -> pl.LazyFrame:
    """Return one row that counts the one-sided connections, separately for each captured side; no row if there are none."""
    connections = connections.join(captures.select("last_time"), how="cross")
    side = pl.when(c("client_packets") > 0).then(pl.lit("client")).otherwise(pl.lit("server")).alias("side")
    return one_capture_candidate(
        connections, c("one_sided") & ~_is_slice(), [side], "first_frame", "start", SHOWN.value,
        c("connection").min().alias("first_connection"),
        pl.len().cast(pl.Int64).alias("one_sided"),
        (c("client_packets") > 0).sum().cast(pl.Int64).alias("client_only"),
        (c("server_packets") > 0).sum().cast(pl.Int64).alias("server_only"),
    )  # fmt: skip


def _is_slice() -> pl.Expr:
    """Return whether only a short part of a connection was captured, at the start or the end of the capture.

    Its handshake is missing, so the packets of the peer may have come before or after the capture.
    """
    begun = c("history").str.contains("[SsHh]")
    at_an_end = (c("start") < SLICE.value) | (c("end") > c("last_time") - SLICE.value)
    return ~begun & (c("end") - c("start") < SLICE.value) & at_an_end


def words(x: Facts) -> dict[str, Any]:
    """Return the words that name the missing side, and the evidence: the first packet of some connections."""
    missing = f"the server's on {x.client_only}, the client's on {x.server_only}"
    if not (x.server_only and x.client_only):
        missing = "the client's" if x.server_only else "the server's"
    return {"missing": missing, "evidence": connection_packets(x.shown, "only packets of the {side}")}
