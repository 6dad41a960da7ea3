"""Packets were cut short where HTTP says what follows.

What it means
    The capture keeps the first bytes of each packet only (its snap length), and the end of a request's or response's head, or a
    line between two chunks, lay behind that. A mirror that sends packets through a tunnel may cut them, too (ERSPAN, VXLAN).

Why it hurts
    Header fields are missing: how long a body is, whether the connection stays open, what the server is. From there on it is
    not known where the next message begins, so that exchanges are missed and hardly anything is judged.

How it is proved
    A packet is in the file in part only, and what is missing belongs to a head or to chunk framing.

What it is not
    Bodies that were cut short: their length is known, and nobody needs them. Packets that are not in the capture at all:
    capture-loss. Payload of which it is not known that it is HTTP.

What to do
    Capture whole packets, and let the mirror send whole ones.

References
    tcpdump(1), option -s.
"""

from __future__ import annotations

import polars as pl

from wiredoctor.findings import Reference, Rule, Threshold
from wiredoctor.rules.proof import packet, told_once

RULE = Rule(
    severity="warning",
    title="Packets were cut after {snap_length} bytes, {cut:,} of them inside HTTP heads or chunk framing",
    message="{cut:,} packets on {touched:,} of {connections:,} connections were cut short inside HTTP heads or chunk framing; "
    "the longest piece of a packet in the capture has {snap_length} bytes. What the missing lines said is unknown, and with it "
    "where the next messages begin. Nothing is concluded from that.",
    remedy="Capture whole packets: tcpdump -s 0 (or -s 262144), dumpcap without -s. Where the file must stay small, a snap "
    "length of 2,000 bytes keeps whole packets of an MTU of 1500; a filter saves more than cutting. A mirror that cuts "
    "(ERSPAN, a cloud's traffic mirroring) has a setting of its own.",
    display_filter="frame.cap_len < frame.len && tcp.stream == {first_connection}",
    references=(Reference("tcpdump(1), -s", "https://www.tcpdump.org/manpages/tcpdump.1.html"),),
    summary=True,
)

SHOWN = Threshold("5 connections", "shown as evidence; the message has the totals")


def screen() -> pl.Expr:
    """Return an expression that is true on at least one row if there is a candidate."""
    return pl.col("cut_heads") > 0


def find(connections: pl.LazyFrame, captures: pl.LazyFrame) -> pl.LazyFrame:
    """One row with the counts, where a head was cut short."""
    c = pl.col
    place = packet("cut_frame", "cut_time", pl.format("connection {}: cut short inside a head or chunk framing", "connection"))
    told = told_once(
        connections, c("cut_heads") > 0, place, "cut_frame", "cut_time", SHOWN.value,
        c("cut_heads").sum().alias("cut"),
        c("connection").sort_by("cut_frame").first().alias("first_connection"),
    )  # fmt: skip
    return told.join(captures.select("snap_length"), how="cross")
