"""Packets were cut short inside HTTP heads or chunk framing.

What it means
    The capture keeps only the first bytes of each packet (its snap length). The end of a request head, of a response head, or of
    a chunk size line lies beyond these bytes. A mirror that sends packets through a tunnel may cut them, too (ERSPAN, VXLAN).

Why it hurts
    Header fields are missing: the length of a body, whether the connection stays open, the server software. After such a cut
    the beginning of the next message is unknown, so exchanges are missed.

How it is proved
    The file contains only part of a packet, and the missing part belongs to a head or to chunk framing.

What it is not
    Cut bodies do no harm: their length is known, and their contents are not needed. If packets are not in the capture at all,
    capture-loss reports them. Payload that is not known to be HTTP does not count.

What to do
    Capture complete packets (tcpdump -s 0), and have the mirror send complete packets.

References
    tcpdump(1), option -s.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import polars as pl

from wiredoctor.findings import Reference, Rule, Threshold
from wiredoctor.rules.shared.evidence import one_capture_candidate
from wiredoctor.rules.shared.words import connection_packets
from wiredoctor.tables import PROTOCOLS

RULE = Rule(
    symptom="nothing (the rule shows what cannot be judged)",
    severity="note",
    title="Packets were cut after {snap_length} bytes, {cut:,} of them inside HTTP heads or chunk framing",
    message="In {cut:,} packets on {touched:,} of {connections:,} connections, part of an HTTP head or of chunk framing was cut "
    "off. No packet in the capture has more than {snap_length} bytes. The missing lines are unknown, and so is the beginning of "
    "the next message. What needs them is not judged there: where messages end, whether a close was announced, and which request "
    "a gateway forwarded.",
    remedy="Capture complete packets: tcpdump -s 0 (or -s 262144), dumpcap without -s. If the file must stay small, a snap "
    "length of 2,000 bytes keeps complete packets with an MTU of 1500; a capture filter saves more space than a short snap "
    "length. A mirror that cuts packets (ERSPAN, a cloud's traffic mirroring) has its own setting for this.",
    display_filter="frame.cap_len < frame.len && tcp.stream == {first_connection}",
    references=(Reference("tcpdump(1), -s", "https://www.tcpdump.org/manpages/tcpdump.1.html"),),
    summary=True,
    protocols=PROTOCOLS,
)

SHOWN = Threshold("5 connections", "the maximum number of connections shown as evidence; the message has the totals")


def may_match() -> pl.Expr:
    """Return a cheap condition: if no row of a batch meets it, the batch has no candidate findings."""
    return pl.col("cut_heads") > 0


class Facts(NamedTuple):
    """What the evidence of packets that were cut short needs."""

    shown: list[dict[str, Any]]


def find(connections: pl.LazyFrame, captures: pl.LazyFrame) -> pl.LazyFrame:
    """Return one row that counts the heads and chunk size lines that were cut short, and the connections that carried them.

    Return no row if there are none.
    """
    c = pl.col
    return one_capture_candidate(
        connections, c("cut_heads") > 0, [], "cut_frame", "cut_time", SHOWN.value,
        c("cut_heads").sum().alias("cut"),
        c("connection").sort_by("cut_frame").first().alias("first_connection"),
    ).join(captures.select("snap_length"), how="cross")  # fmt: skip


def words(x: Facts) -> dict[str, Any]:
    """Return the evidence: the first such packet on some connections."""
    return {"evidence": connection_packets(x.shown, "cut short inside a head or chunk framing")}
