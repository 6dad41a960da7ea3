"""The capture changed packets: it does not have the bytes that were sent.

What it means
    All packets with payload, from both sides of a connection, have wrong checksums, although their receivers accepted them.
    A mirror port, a capturing program or a tool that edited the file changed bytes, for example the last bytes of each packet.

Why it hurts
    Heads and bodies in the capture are not those that the programs sent and received. Framing, grammar and content are not judged
    on these connections, nor is how their messages ended. Times and sequence numbers can still be used.

How it is proved
    Every captured packet with payload of the connection has a checksum that does not fit its bytes (of the IP header, of TCP, or
    of the UDP header of a tunnel), and both sides acknowledged the payload. A host discards packets with wrong checksums, so the
    packets were correct when they arrived. Packets without payload have correct checksums, so the hosts' checksums were computed
    before the packets were captured.

What it is not
    With checksum offload, the network card computes checksums after the packet was captured. Then the field is 0 or the sum of
    the pseudo header (with or without the length), also in packets without payload. If a program rewrote addresses without
    updating the checksums, those of packets without payload are wrong, too. In both cases nothing is reported, and nothing is
    left out. If one packet with payload has a correct checksum, wrong ones are from packets that arrived damaged
    (retransmission-stall, connect-retry, unanswered). Packets that are longer than the MSS, or were not captured completely, are
    not verified.

What to do
    Capture again, with another tool or at another place.

References
    RFC 1071, RFC 9293 section 3.1.
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
    severity="warning",
    title="The capture changed the bytes of {altered:,} packets, so their contents are not judged",
    message="On {touched:,} of {connections:,} connections, all packets with payload ({altered:,}) have wrong checksums, "
    "although both sides acknowledged them: they were correct when they arrived, and were changed while or after they were "
    "captured. Packets without payload have correct checksums. So the heads and bodies in the capture are not those that were "
    "sent: their framing, their grammar and their ends are not judged. Times are not affected.",
    remedy="Capture again, at one of the hosts (tcpdump, dumpcap) or with another mirror port, and analyze the file before any "
    "tool edits it. If the packets of a mirror port or of a capture card are changed in every capture, update its firmware or "
    "driver; hardware timestamps that are written over the end of the packets are a known cause. "
    "To see the wrong checksums: tshark -o tcp.check_checksum:TRUE -r FILE -Y tcp.checksum.status==0.",
    display_filter="tcp.stream == {first_connection}",
    references=(
        Reference("RFC 1071, computing the Internet checksum", "https://www.rfc-editor.org/rfc/rfc1071.html"),
        Reference("RFC 9293 section 3.1, the TCP checksum", "https://www.rfc-editor.org/rfc/rfc9293.html#section-3.1"),
    ),
    summary=True,
    protocols=PROTOCOLS,
)

SHOWN = Threshold("5 connections", "the maximum number of connections shown as evidence; the message has the totals")


def may_match() -> pl.Expr:
    """Return a cheap condition: if no row of a batch meets it, the batch has no candidate findings."""
    return pl.col("altered") > 0


class Facts(NamedTuple):
    """What the evidence of changed packets needs."""

    shown: list[dict[str, Any]]


def find(connections: pl.LazyFrame) -> pl.LazyFrame:
    """Return one row that counts the packets that the capture changed, and the connections with such packets.

    Return no row if there are none.
    """
    c = pl.col
    return one_capture_candidate(
        connections, c("altered") > 0, ["altered"], "altered_frame", "altered_time", SHOWN.value,
        c("altered").sum().alias("altered"),
        c("connection").sort_by("altered_frame").first().alias("first_connection"),
    )  # fmt: skip


def words(x: Facts) -> dict[str, Any]:
    """Return the evidence: the first changed packet on some connections."""
    return {"evidence": connection_packets(x.shown, "its first packet with a wrong checksum; such packets in all: {altered}")}
