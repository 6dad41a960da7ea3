"""Packets were captured twice.

What it means
    The capture contains the same packets two or more times, because they were captured at more than one place. Examples are a
    mirror port that copies both the incoming and the outgoing packets of a switch, and a capture on all interfaces of a router
    or of a host with bridges and containers. pktmon logs a packet in each component of Windows that it passes. A packet may also
    be captured both with and without its VLAN tag or tunnel. If captures of several hosts were merged, the packets between these
    hosts are in it twice.

Why it hurts
    Tools that do not detect this count everything twice, and show the copies as retransmissions and duplicate ACKs. wiredoctor
    removes the second copies before the analysis. The capture is twice as large as necessary. If the clocks of merged captures
    differ, times on different connections cannot be compared. wiredoctor then corrects all times by the difference of the clocks,
    and says so as a limit; Wireshark shows the times of the file.

How it is proved
    Two packets within 100 ms have the same addresses, IPv4 identification, TCP header with options, and payload. They differ in
    interface, MAC addresses, time to live or encapsulation, or the second follows within 1 ms. If a router queues packets between
    two captured interfaces, the second copy may come up to 10 s later. Such a late copy must have the same identification and
    timestamps and another time to live, and other copies must have been found on its connection before. If the second packet is
    an RST without IPv4 identification, and only its time to live differs, it must follow within 1 ms. At least a tenth of a
    connection's packets have such copies.

    The clocks of two hosts differ if packets of both had been acknowledged before their second copies were captured, on two
    connections or more. Such a copy may come up to 10 s later; it has the same identification and timestamps, or is as late as
    other copies on its connection. The packets of the host whose clock is behind are further apart than those of the other one,
    by a round trip. So both together show the difference of the clocks, with an error of half a round trip.

What it is not
    A retransmission has another IPv4 identification or other timestamps, or comes later. Duplicate ACKs that a receiver
    sends are new packets. So is a host's RST after an equal RST that a device on the path sent in the host's name.

What to do
    Capture at one place only (with pktmon: start --capture --comp nics), or remove the copies from the file.

References
    Wireshark's wiki on capture setup, editcap(1).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import polars as pl

from wiredoctor.findings import Reference, Rule, Threshold
from wiredoctor.rules.shared.evidence import one_capture_candidate
from wiredoctor.rules.shared.words import connection_packets
from wiredoctor.tables import PROTOCOLS

RULE = Rule(
    symptom="nothing (the copies are left out)",
    severity="note",
    title="{duplicates:,} packets were captured twice",
    message="{duplicates:,} packets on {touched:,} of {connections:,} connections are second copies of packets that had "
    "already been captured{told_apart}. They were removed before the analysis.",
    remedy="{cure} In an existing capture, editcap -d removes the copies if all their bytes are equal.",
    display_filter="frame.number in {{{frames}}}",
    references=(
        Reference("Wireshark wiki, Ethernet capture setup", "https://wiki.wireshark.org/CaptureSetup/Ethernet"),
        Reference("editcap(1), -d", "https://www.wireshark.org/docs/man-pages/editcap.html"),
    ),
    summary=True,
    protocols=PROTOCOLS,
)

SHARE = Threshold(
    "10 %", "the minimum share of a connection's packets that are copies; single copies may come from the network itself"
)
SHOWN = Threshold("5 connections", "the maximum number of connections shown as evidence; the message has the totals")

_TOLD_APART = (
    "",
    " on another interface",
    " between other MAC addresses or on another interface",
    " with another time to live",
    " in another encapsulation",
    " by another clock",
)
"""The texts that say how the copies of a packet differ, indexed by `connections.duplicate_difference`."""

_CURES = (
    "Have the mirror port copy one direction of each port only (rx or tx, not both).",
    "Capture on one interface instead of all of them (tcpdump -i eth0, not -i any).",
    "Capture on one interface instead of all of them (tcpdump -i eth0, not -i any), on one side of the router or balancer, or "
    "mirror only one of its ports.",
    "Capture on one side of the router, or mirror only one of its ports.",
    "Capture either inside or outside of the VLAN or tunnel.",
    "Synchronize the clocks of the hosts (chrony) before their captures are merged, or analyze each capture by itself.",
)


def may_match() -> pl.Expr:
    """Return a cheap condition: if no row of a batch meets it, the batch has no candidate findings."""
    return pl.col("duplicates") > 0


class Facts(NamedTuple):
    """What is known of duplicate packets. `difference`: `connections.duplicate_difference` of the first one."""

    difference: int | None
    shown: list[dict[str, Any]]


def find(connections: pl.LazyFrame) -> pl.LazyFrame:
    """Return one row that counts the connections with many duplicate packets, and their duplicates; no row if there are none."""
    c = pl.col
    touched = (c("duplicates") > 0) & (c("duplicates") * 100 >= c("packets") * SHARE.value)
    return one_capture_candidate(
        connections, touched, ["duplicate_first_frame"], "duplicate_frame", "duplicate_time", SHOWN.value,
        c("duplicates").sum().alias("duplicates"),
        c("duplicate_difference").sort_by("duplicate_frame").first().alias("difference"),
    )  # fmt: skip


def words(x: Facts) -> dict[str, Any]:
    """Return the words about how the copies differ, and the evidence: the first copy on some connections."""
    return {
        "told_apart": _TOLD_APART[x.difference or 0],
        "cure": _CURES[x.difference or 0],
        "evidence": connection_packets(x.shown, "the same packet as frame {duplicate_first_frame}"),
    }
