"""Two packets carry different bytes for the same sequence numbers.

What it means
    Different bytes were sent for the same sequence numbers. A TCP sender always retransmits the same bytes. So something else
    sent one of the packets, a device on the path changed a packet, or the capture mixes two networks with the same addresses.

    Kind never-sent: a host acknowledged bytes that the other host had not sent. Something between the capture point and the host
    that acknowledged them sent them in the other host's name.

Why it hurts
    It is unknown which of the two packets the receiver accepted, because systems decide differently. Attackers exploit this: the
    bytes that a firewall inspects are not those that the server behind it accepts. Other findings on this connection are based on
    the first packet.

How it is proved
    A packet overlaps earlier data in the same direction, at least two bytes of the overlap are different, and the checksums of
    both packets are correct.

    Kind never-sent: an ACK covers bytes that were not captured. More than a round trip later, the host that should have sent
    these bytes sends an ACK. The sequence number of this ACK, which is that of the host's next byte, is still lower than those of
    the acknowledged bytes.

What it is not
    A retransmission has the same bytes. A keep-alive or window probe may carry one arbitrary byte. A packet that was damaged
    on the path, or that the network card had not completed when it was captured, has a wrong checksum. A packet that was cut
    short in the capture cannot be verified.

What to do
    Compare both packets: their TTL (hop limit), MAC addresses and interface show whether they have the same sender. If
    something injects packets, find it. If the capture mixes two networks with the same addresses, capture them separately.

References
    RFC 9293 section 3.4, RFC 5722, Ptacek and Newsham 1998.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import polars as pl

from wiredoctor.findings import Reference, Rule, Threshold
from wiredoctor.rules.shared.evidence import one_capture_candidate
from wiredoctor.rules.shared.words import connection_packets
from wiredoctor.tables import PROTOCOLS

RULE = Rule(
    symptom="nothing, or data that someone else injected into a connection",
    severity="warning",
    title={
        None: "{conflicts:,} packets contradict earlier data",
        "never-sent": "{conflicts:,} bytes were acknowledged, but never sent",
    },
    message={
        None: "{conflicts:,} packets on {touched:,} of {connections:,} connections carry different bytes than an earlier packet "
        "for the same sequence numbers, and the checksums of both packets are correct. wiredoctor analyzed the earlier packet. "
        "It is unknown which of the two the receiver accepted.",
        "never-sent": "On {touched:,} of {connections:,} connections, a host acknowledged bytes ({conflicts:,} in all) that are "
        "not in the capture. The other host had not sent them: more than a round trip later, the sequence number "
        "of its next byte was still lower than those of these bytes. Something between the capture point and the "
        "host that acknowledged them probably sent data in the name of the other host, for example a response of "
        "its own.",
    },
    remedy={
        None: "Compare both packets of a pair (time to live, IP identification, MAC addresses, interface). If these fields "
        "differ, packets are being injected, or the capture mixes two networks with the same addresses (capture them "
        "separately). If they do not differ, look for a middlebox (proxy, balancer, NAT that rewrites payload) that changes "
        "retransmitted data.",
        "never-sent": "Also capture at the host that acknowledged these bytes: that capture contains the injected packets, and "
        "their time to live shows how far away their sender is. wiredoctor compare --both-sides puts both "
        "captures side by side. Look for an intrusion prevention system, a firewall or a filter that answers in "
        "the name of other hosts.",
    },
    display_filter="tcp.stream == {first_connection}",
    references=(
        Reference("RFC 9293 section 3.4, sequence numbers", "https://www.rfc-editor.org/rfc/rfc9293.html#section-3.4"),
        Reference(
            "Ptacek and Newsham, Insertion, Evasion, and Denial of Service (1998)",
            "https://apps.dtic.mil/sti/citations/ADA391565",
        ),
    ),
    summary=True,
    protocols=PROTOCOLS,
)

SHOWN = Threshold("5 connections", "the maximum number of connections shown as evidence; the message has the totals")


def may_match() -> pl.Expr:
    """Return a cheap condition: if no row of a batch meets it, the batch has no candidate findings."""
    return (pl.col("conflicts") > 0) | (pl.col("unsent_bytes") > 0)


class Facts(NamedTuple):
    """What is known of contradicting packets, or of bytes that were never sent."""

    kind: str | None
    shown: list[dict[str, Any]]


def find(connections: pl.LazyFrame) -> pl.LazyFrame:
    """Return one row that counts the packets with contradicting bytes, and their connections; no row if there are none.

    Return another such row for bytes that were acknowledged but never sent.
    """
    unsent = _candidate(connections, "unsent_bytes", "unsent")
    return pl.concat([_candidate(connections, "conflicts", "conflict"), unsent.with_columns(pl.lit("never-sent").alias("kind"))])


def _candidate(connections: pl.LazyFrame, counted: str, name: str) -> pl.LazyFrame:
    """Return a row with the sum of the column `counted`; `name`_frame and `name`_time are the first packet that it counts."""
    frame, time, c = f"{name}_frame", f"{name}_time", pl.col
    return one_capture_candidate(
        connections, c(counted) > 0, ["conflict_first_frame", "unsent_bytes", "unsent_later_frame"], frame, time, SHOWN.value,
        c(counted).sum().alias("conflicts"),
        c("connection").sort_by(frame).first().alias("first_connection"),
    )  # fmt: skip


_CONTRADICTED = "different bytes than frame {conflict_first_frame} for the same sequence numbers"
_NEVER_SENT = (
    "an ACK of {unsent_bytes} bytes that the other host had not sent, as that host's sequence number in frame "
    "{unsent_later_frame} shows"
)


def words(x: Facts) -> dict[str, Any]:
    """Return the evidence: the first such packet on some connections."""
    return {"evidence": connection_packets(x.shown, _NEVER_SENT if x.kind else _CONTRADICTED)}
