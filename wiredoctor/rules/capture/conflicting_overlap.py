"""The same place of a stream has two different contents.

What it means
    Bytes that were sent before came again, and were not the same. A sender that repeats itself repeats what it said: somebody
    else spoke, something on the way changed one of the packets, or two networks with the same addresses are in one capture.

Why it hurts
    Nobody can tell which of the two its receiver took: different systems decide differently. Attackers use that to show one thing
    to a firewall and another to the server behind it. What is said here of such a connection rests on the first copy.

How it is proved
    A packet overlaps what its side had sent before, at least two bytes of that are different, and the checksums of both
    packets are right.

What it is not
    A retransmission: it brings the same bytes. A probe with one byte of garbage. A packet that was damaged on its way, or not
    finished by the network card when it was captured: its checksum is wrong. A packet that the capture has cut short: what
    is in it cannot be verified.

What to do
    Look at both packets: time to live, MAC addresses and interface tell whether they are of one sender.

References
    RFC 9293 section 3.4, RFC 5722, Ptacek and Newsham 1998.
"""

from __future__ import annotations

import polars as pl

from wiredoctor.findings import Reference, Rule, Threshold
from wiredoctor.rules.proof import packet, told_once

RULE = Rule(
    severity="warning",
    title="{conflicts:,} packets contradict what had been sent before",
    message="{conflicts:,} packets on {touched:,} of {connections:,} connections bring other bytes than an earlier packet had "
    "brought for the same place of the stream, and both have right checksums. The first copy was analysed; which of them the "
    "receiver took is unknown.",
    remedy="Compare both packets of a pair (time to live, IP identification, MAC addresses, interface). Different ones: somebody "
    "injects packets, or two networks that use the same addresses were captured together (capture them apart). The same ones: "
    "look for a middlebox (proxy, balancer, address translation with rewriting) that changes what it repeats.",
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

SHOWN = Threshold("5 connections", "shown as evidence; the message has the totals")


def screen() -> pl.Expr:
    """Return an expression that is true on at least one row if there is a candidate."""
    return pl.col("conflicts") > 0


def find(connections: pl.LazyFrame) -> pl.LazyFrame:
    """One row with the counts, where a packet contradicts an earlier one."""
    c = pl.col
    note = pl.format("connection {}: other bytes than frame {} for the same place", "connection", "conflict_first_frame")
    place = packet("conflict_frame", "conflict_time", note)
    return told_once(
        connections, c("conflicts") > 0, place, "conflict_frame", "conflict_time", SHOWN.value,
        c("conflicts").sum().alias("conflicts"),
        c("connection").sort_by("conflict_frame").first().alias("first_connection"),
    )  # fmt: skip
