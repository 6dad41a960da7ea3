"""Packets in the capture are larger than the network carries.

What it means
    The capture was taken on a host whose network card cuts large segments up (TSO, GSO) or puts received ones together (GRO,
    LRO). The capture shows what the host handed over, not what was on the wire.

Why it hurts
    Timing and number of packets inside such a segment are unknown: when its parts left, what was lost and sent again by the
    card, how many ACKs there would have been.

How it is proved
    A segment carries more payload than the MSS that its receiver announced in its SYN.

What it is not
    Jumbo frames and loopback devices: they announce a large MSS. Connections without a SYN that announces one.

What to do
    Nothing, as long as larger faults are looked for. For timing inside of transfers, capture on a mirror port, or turn the
    offloads off while capturing.

References
    ethtool(8), option -K.
"""

from __future__ import annotations

import polars as pl

from wiredoctor.findings import Reference, Rule, Threshold
from wiredoctor.rules.proof import packet, told_once

RULE = Rule(
    severity="note",
    title="The capture has segments above the MSS: it was taken on a host with segmentation offload",
    message="{super_segments:,} segments on {touched:,} of {connections:,} connections are longer than their receiver takes in "
    "one packet. A network card cut them up later, or had put them together before: timing inside them is not on the wire as "
    "shown.",
    remedy="If that timing matters, capture at a switch, or turn the offloads off while capturing (ethtool -K eth0 tso off gso "
    "off gro off lro off), and on again afterwards.",
    display_filter="tcp.stream == {first_connection} && tcp.len > {first_mss}",
    references=(Reference("ethtool(8), -K", "https://man7.org/linux/man-pages/man8/ethtool.8.html"),),
    summary=True,
)

SHOWN = Threshold("5 connections", "shown as evidence; the message has the totals")


def screen() -> pl.Expr:
    """Return an expression that is true on at least one row if there is a candidate."""
    return pl.col("super_segments") > 0


def find(connections: pl.LazyFrame) -> pl.LazyFrame:
    """One row with the counts, where a segment is longer than its receiver takes."""
    c = pl.col
    note = pl.format("connection {}: its first segment above the MSS (of {})", "connection", "super_segments")
    place = packet("super_frame", "super_time", note)
    return told_once(
        connections, c("super_segments") > 0, place, "super_frame", "super_time", SHOWN.value,
        c("super_segments").sum().alias("super_segments"),
        c("connection").sort_by("super_frame").first().alias("first_connection"),
        c("super_mss").sort_by("super_frame").first().alias("first_mss"),
    )  # fmt: skip
