"""Packets were captured twice.

What it means
    The same packets are in the capture twice, or more often: the point of capture saw them at two places. A mirror port that
    copies what comes in and what goes out of a switch does so, a capture on all interfaces of a router or of a host with
    bridges and containers, and one that sees a packet with and without its VLAN tag or tunnel.

Why it hurts
    Tools that do not notice count everything double, and take the copies for retransmissions and duplicate ACKs. Here the
    second copies are left out before anything is judged. The capture is twice as large as it has to be.

How it is proved
    Two packets within 100 ms have the same addresses, IPv4 identification, TCP header with options and payload, and differ in
    interface, MAC addresses, time to live or encapsulation, or follow each other within 1 ms. On a router that queues packets
    between two captured interfaces the second may come up to 10 s later: it has the same identification and time stamps, and
    another time to live, on a connection that had shown such copies before. At least a tenth of a connection's packets have
    such copies.

What it is not
    A retransmission: it has another IPv4 identification or other time stamps, or comes later. Duplicate ACKs of a receiver.

What to do
    Capture at one place only, or leave the copies out of the file.

References
    Wireshark's wiki on capture setup, editcap(1).
"""

from __future__ import annotations

import polars as pl

from wiredoctor.findings import Reference, Rule, Threshold
from wiredoctor.rules.proof import packet, told_once

RULE = Rule(
    severity="note",
    title="{duplicates:,} packets were captured twice",
    message="{duplicates:,} packets on {touched:,} of {connections:,} connections are second copies of packets that had been "
    "captured before{told_apart}. They were left out before anything was judged.",
    remedy="{cure} What is there already is mended by editcap -d, where the copies are alike in every byte.",
    display_filter="frame.number in {{{frames}}}",
    references=(
        Reference("Wireshark wiki, Ethernet capture setup", "https://wiki.wireshark.org/CaptureSetup/Ethernet"),
        Reference("editcap(1), -d", "https://www.wireshark.org/docs/man-pages/editcap.html"),
    ),
    summary=True,
)

SHARE = Threshold("10 %", "of a connection's packets; single copies come from the network itself")
SHOWN = Threshold("5 connections", "shown as evidence; the message has the totals")

_TOLD_APART = (
    "",
    " on another interface",
    " between other MAC addresses",
    " with another time to live",
    " in another encapsulation",
)
"""By `connections.duplicate_way`."""

_CURES = (
    "Let the mirror port copy one direction of each port only (rx or tx, not both).",
    "Capture on one interface instead of all of them (tcpdump -i eth0, not -i any).",
    "Capture on one side of the router or balancer, or let the mirror port copy one of its ports only.",
    "Capture on one side of the router, or let the mirror port copy one of its ports only.",
    "Capture either inside or outside of the VLAN or tunnel.",
)


def screen() -> pl.Expr:
    """Return an expression that is true on at least one row if there is a candidate."""
    return pl.col("duplicates") > 0


def find(connections: pl.LazyFrame) -> pl.LazyFrame:
    """One row with the counts, where many packets of a connection were captured twice."""
    c = pl.col
    touched = (c("duplicates") > 0) & (c("duplicates") * 100 >= c("packets") * SHARE.value)
    note = pl.format("connection {}: the same packet as frame {}", "connection", "duplicate_first_frame")
    place = packet("duplicate_frame", "duplicate_time", note)
    way = c("duplicate_way").sort_by("duplicate_frame").first()
    return told_once(
        connections, touched, place, "duplicate_frame", "duplicate_time", SHOWN.value,
        c("duplicates").sum().alias("duplicates"),
        _by_way(way, _TOLD_APART).alias("told_apart"),
        _by_way(way, _CURES).alias("cure"),
    )  # fmt: skip


def _by_way(way: pl.Expr, texts: tuple[str, ...]) -> pl.Expr:
    text = pl.lit(texts[0])
    for number, other in enumerate(texts[1:], start=1):
        text = pl.when(way == number).then(pl.lit(other)).otherwise(text)
    return text
