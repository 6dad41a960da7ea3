"""Only one direction of a connection was captured.

What it means
    The capture has packets that one side sent, and none of the other, though they acknowledge what the other sent. Either the
    packets of the other side take another way, or the port mirror or the capture filter leaves them out.

Why it hurts
    Half of a conversation proves little: requests without responses, no round trip, nobody to blame for a pause. Such
    connections are hardly judged.

How it is proved
    There is not one packet of the other side, and yet the acknowledgement numbers of the side that is seen advance, or
    acknowledge the answer to its SYN; or it sends on and on from the middle of a connection and never has to repeat itself.

What it is not
    A SYN that nobody answers. A side that sends to a peer that is gone. A connection of which the capture lacks some packets
    only. A connection whose beginning is not in the capture, and of which that has less than a second, at its own beginning or
    end: what the packets acknowledge may have passed before the capture began, and what acknowledges them may come after it.

What to do
    Capture where both directions pass.

References
    Wireshark's wiki on capture setup.
"""

from __future__ import annotations

import polars as pl

from wiredoctor.findings import Reference, Rule, Threshold
from wiredoctor.rules.proof import packet, told_once

RULE = Rule(
    severity="warning",
    title="Only one direction was captured of {one_sided:,} of {connections:,} connections",
    message="Only one side was captured of {one_sided:,} of {connections:,} connections (the client's: {client_only:,}, the "
    "server's: {server_only:,}). What the other side said is not in the capture, so that hardly anything can be judged there.",
    remedy="Capture where both directions pass: mirror both of them (SPAN port with rx and tx), on the host itself, or on both "
    "paths where routing is asymmetric; and see that the capture filter names hosts or ports without src or dst.",
    display_filter="tcp.stream == {first_connection}",
    references=(Reference("Wireshark wiki, Ethernet capture setup", "https://wiki.wireshark.org/CaptureSetup/Ethernet"),),
    summary=True,
)

SHOWN = Threshold("5 connections", "shown as evidence; the message has the totals")
SLICE = Threshold("1 s", "a few round trips of a long path: whoever is there answers within that time")


def screen() -> pl.Expr:
    """Return an expression that is true on at least one row if there is a candidate."""
    return pl.col("one_sided")


def find(connections: pl.LazyFrame, captures: pl.LazyFrame) -> pl.LazyFrame:
    """One row with the counts, where any connection is one-sided."""
    c = pl.col
    connections = connections.join(captures.select("last_time"), how="cross")
    seen = pl.when(c("client_packets") > 0).then(pl.lit("client")).otherwise(pl.lit("server"))
    place = packet("first_frame", "start", pl.format("connection {}: only packets of the {}", "connection", seen))
    return told_once(
        connections, c("one_sided") & ~_is_slice(), place, "first_frame", "start", SHOWN.value,
        c("connection").min().alias("first_connection"),
        pl.len().cast(pl.Int64).alias("one_sided"),
        (c("client_packets") > 0).sum().cast(pl.Int64).alias("client_only"),
        (c("server_packets") > 0).sum().cast(pl.Int64).alias("server_only"),
    )  # fmt: skip


def _is_slice() -> pl.Expr:
    """Whether so little is known of a connection, at an end of the capture, that the other side had no time to speak."""
    c = pl.col
    begun = c("history").str.contains("[SsHh]")  # a SYN or SYN-ACK
    at_an_end = (c("start") < SLICE.value) | (c("end") > c("last_time") - SLICE.value)
    return ~begun & (c("end") - c("start") < SLICE.value) & at_an_end
