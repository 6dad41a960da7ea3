"""Packets are missing from the capture.

What it means
    Somebody acknowledged data that is not in the capture: it arrived, but was not recorded. The capturing host was too slow,
    its buffer too small, or the packets took another way.

Why it hurts
    What was said in the missing packets is unknown. Findings that rest on such a place have low confidence, and faults that
    lie in it are not found.

How it is proved
    An acknowledgement number covers bytes that were never seen, on a connection of which both directions were
    captured, after its first packet.

What it is not
    A loss on the network: what was lost there is sent again. A capture of one direction only. The part of a connection from
    before the capture began, nor the probe (one old byte, or none) by which a connection that rested then may begin here.

What to do
    Capture with a larger buffer and a snap length that fits, and only what is needed.

References
    tcpdump(1), options -B and -s.
"""

from __future__ import annotations

import polars as pl

from wiredoctor.findings import Reference, Rule, Threshold
from wiredoctor.rules.proof import packet, told_once

RULE = Rule(
    severity="warning",
    title="The capture lacks packets: {missing_bytes:,} bytes were acknowledged that it does not have",
    message="{missing_bytes:,} bytes in {places:,} {place_word} were acknowledged by their receiver, but are not in the capture. "
    "Connections touched: {touched:,} of {connections:,}{part}. The network delivered these packets; whatever "
    "recorded the capture lost them. Nothing is concluded from what is missing.",
    remedy="Capture again with a larger buffer and the snap length that the traffic needs (tcpdump -B 32768 -s 0; in immediate "
    "mode the default frame size leaves room for eight packets in a 2 MB ring), and with a filter that leaves out what is not "
    "needed.",
    display_filter="tcp.analysis.ack_lost_segment",
    references=(Reference("tcpdump(1), -B and -s", "https://www.tcpdump.org/manpages/tcpdump.1.html"),),
    summary=True,
)

SHOWN = Threshold("5 places", "enough to look at; the counts say the rest")


def screen() -> pl.Expr:
    """True on some row wherever there is a candidate."""
    return _missing() > 0


def find(connections: pl.LazyFrame) -> pl.LazyFrame:
    """One row with the counts, where anything is missing."""
    c = pl.col
    one_byte = pl.max_horizontal("client_unseen_bytes", "server_unseen_bytes") == 1
    # nothing tells a keep-alive probe from the ACK that it resembles, where it is the first packet of its side
    lost = (_missing() > 0) & ~(one_byte & ~c("handshake"))
    touched = lost & (c("client_packets") > 0) & (c("server_packets") > 0) & c("unseen_frame").is_not_null()
    note = pl.format("connection {}: acknowledges bytes that the capture does not have", "connection")
    share = pl.format(" ({} %)", (100 * c("touched") / c("connections")).round(1))
    told = told_once(
        connections, touched, packet("unseen_frame", "unseen_time", note), "unseen_frame", "unseen_time", SHOWN.value,
        _missing().sum().alias("missing_bytes"),
        c("unseen_places").sum().alias("places"),
        _places(c("unseen_places").sum()).alias("place_word"),
    )  # fmt: skip
    return told.with_columns(pl.when(c("touched") < c("connections")).then(share).otherwise(pl.lit("")).alias("part"))


def _missing() -> pl.Expr:
    return pl.col("client_unseen_bytes") + pl.col("server_unseen_bytes")


def _places(number: pl.Expr) -> pl.Expr:
    return pl.when(number == 1).then(pl.lit("place")).otherwise(pl.lit("places"))
