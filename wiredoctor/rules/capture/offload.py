"""Packets in the capture are larger than the network carries.

What it means
    The capture comes from a host whose network card splits large segments (TSO, GSO) or merges received ones (GRO, LRO). The
    capture shows the segments of the host, not those on the wire.

Why it hurts
    The timing and number of packets inside such a segment are unknown: when its parts left, which of its parts were lost and
    retransmitted, and how many ACKs there were.

How it is proved
    A segment carries more payload than the MSS that its receiver announced in its SYN.

What it is not
    Hosts with jumbo frames, and loopback devices, announce a large MSS. Connections without an MSS in a captured SYN are not
    judged.

What to do
    Nothing has to be done in most cases. If you need the timing inside transfers, capture on a mirror port, or turn the
    offloads off during the capture.

References
    ethtool(8), option -K.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import polars as pl

from wiredoctor.findings import Reference, Rule, Threshold
from wiredoctor.rules.shared.evidence import one_capture_candidate
from wiredoctor.rules.shared.words import connection_packets
from wiredoctor.tables import PROTOCOLS

RULE = Rule(
    symptom="nothing (the rule only shows which times are not those on the wire)",
    severity="note",
    title="The capture has segments above the MSS: it was taken on a host with segmentation offload",
    message="{super_segments:,} segments on {touched:,} of {connections:,} connections exceeded the MSS of their receiver, so "
    "they cannot have been sent in one packet each. A network card split them later, or had merged them before: the timing "
    "inside them differs from that on the wire.",
    remedy="If you need the timing inside such segments, capture at a switch, or turn the offloads off while capturing (ethtool "
    "-K eth0 tso off gso off gro off lro off), and on again afterwards.",
    display_filter="tcp.stream == {first_connection} && tcp.len > {first_mss}",
    references=(Reference("ethtool(8), -K", "https://man7.org/linux/man-pages/man8/ethtool.8.html"),),
    summary=True,
    protocols=PROTOCOLS,
)

SHOWN = Threshold("5 connections", "the maximum number of connections shown as evidence; the message has the totals")


def may_match() -> pl.Expr:
    """Return a cheap condition: if no row of a batch meets it, the batch has no candidate findings."""
    return pl.col("super_segments") > 0


class Facts(NamedTuple):
    """What the evidence of segments above the MSS needs."""

    shown: list[dict[str, Any]]


def find(connections: pl.LazyFrame) -> pl.LazyFrame:
    """Return one row that counts the segments larger than their receiver's MSS, and the connections with such segments.

    Return no row if there are none.
    """
    c = pl.col
    return one_capture_candidate(
        connections, c("super_segments") > 0, ["super_segments"], "super_frame", "super_time", SHOWN.value,
        c("super_segments").sum().alias("super_segments"),
        c("connection").sort_by("super_frame").first().alias("first_connection"),
        c("super_mss").sort_by("super_frame").first().alias("first_mss"),
    )  # fmt: skip


def words(x: Facts) -> dict[str, Any]:
    """Return the evidence: the first segment above the MSS on some connections."""
    note = "its first segment above the MSS; such segments in all: {super_segments}"
    return {"evidence": connection_packets(x.shown, note)}
