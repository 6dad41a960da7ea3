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

import polars as pl

from wiredoctor.findings import Reference, Rule, Threshold
from wiredoctor.rules.shared.evidence import one_capture_candidate, packet

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
)

SHOWN = Threshold("5 connections", "the maximum number of connections shown as evidence; the message has the totals")


def screen() -> pl.Expr:
    """Return a cheap condition: if no row of a batch meets it, the batch has no candidate findings."""
    return (pl.col("conflicts") > 0) | (pl.col("unsent_bytes") > 0)


def find(connections: pl.LazyFrame) -> pl.LazyFrame:
    """Return one row that counts the packets with contradicting bytes, and their connections; no row if there are none.

    Return another such row for bytes that were acknowledged but never sent.
    """
    c = pl.col
    note = pl.format(
        "connection {}: different bytes than frame {} for the same sequence numbers", "connection", "conflict_first_frame"
    )
    place = packet("conflict_frame", "conflict_time", note)
    contradicted = one_capture_candidate(
        connections, c("conflicts") > 0, place, "conflict_frame", "conflict_time", SHOWN.value,
        c("conflicts").sum().alias("conflicts"),
        c("connection").sort_by("conflict_frame").first().alias("first_connection"),
    )  # fmt: skip
    note = pl.format(
        "connection {}: an ACK of {} bytes that the other host had not sent, as that host's sequence number in frame {} shows",
        *("connection", "unsent_bytes", "unsent_later_frame"),
    )
    place = packet("unsent_frame", "unsent_time", note)
    unsent = one_capture_candidate(
        connections, c("unsent_bytes") > 0, place, "unsent_frame", "unsent_time", SHOWN.value,
        c("unsent_bytes").sum().alias("conflicts"),
        c("connection").sort_by("unsent_frame").first().alias("first_connection"),
    )  # fmt: skip
    return pl.concat([contradicted, unsent.with_columns(pl.lit("never-sent").alias("kind"))])
