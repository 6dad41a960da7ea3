"""Count the packets that are not analyzed, by reason: their IP protocol, EtherType or link type, or a reason of layers.py."""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from wiredoctor.core.capture import layers

PROTOCOLS: Final = 0x100
"""A reason below this number is the number of an IP protocol."""

WORDS: Final = {
    layers.CUT_LINK: "link header cut short",
    layers.CUT_IP: "IP header cut short",
    layers.BAD_IP: "IP header not valid",
    layers.CUT_TCP: "TCP header cut short",
    layers.NOT_LLC: "LLC",
    layers.NOT_MPLS: "MPLS",
    layers.NOT_PPP: "PPP",
    layers.NOT_GRE: "GRE",
    layers.NO_NFLOG_PACKET: "NFLOG without a packet",
    layers.MANAGEMENT: "IEEE 802.11 management",
    layers.CONTROL: "IEEE 802.11 control",
    layers.EXTENSION: "IEEE 802.11 extension",
    layers.OTHER_VERSION: "IEEE 802.11 of another version",
    layers.WITHOUT_DATA: "IEEE 802.11 without data",
    layers.ENCRYPTED: "IEEE 802.11 data (encrypted)",
    layers.WIFI_FRAGMENT: "IEEE 802.11 fragment",
    layers.NOT_ARCNET: "ARCnet",
    layers.NOT_FRAME_RELAY: "frame relay",
    layers.NO_TOKEN_RING_DATA: "Token Ring without data",
    layers.NO_FDDI_DATA: "FDDI without data",
    layers.NO_JUNIPER_FRAME: "Juniper without a frame",
    layers.NO_ERF_FRAME: "ERF without a frame",
    layers.NO_IP_IN_NSH: "NSH without IP",
    layers.PPP_FRAGMENT: "PPP in fragments",
    layers.CUT_FRAGMENT: "IP fragment cut short",
    layers.WAITING: "IP fragment before its datagram was complete",
    layers.NO_ROOM: "IP fragments beyond the memory limit for fragments",
    layers.QUOTED_FRAGMENT: "ICMP error that quotes an IP fragment",
    layers.QUOTED_TOO_LITTLE: "ICMP error that quotes too little of a TCP header",
    layers.TOO_MANY_HEADERS: "too many nested headers",
}


class Tally:
    """Counts how often each number occurs. This is fast if the same number often occurs several times in a row."""

    def __init__(self) -> None:
        self.counts: dict[int, int] = {}
        self.newest: i64 = -1
        self.run: i64 = 0
        """The number of occurrences of `newest` that are not in `counts` yet."""

    def add(self, number: i64) -> None:
        """Count one occurrence of a number."""
        if number != self.newest:
            self.flush()
            self.newest = number
        self.run += 1

    def flush(self) -> dict[int, int]:
        """Return how often each number occurred."""
        if self.run > 0:
            self.counts[self.newest] = self.counts.get(self.newest, 0) + self.run
            self.run = 0
        return self.counts


def describe_reasons(reasons: Tally) -> dict[str, int]:
    """Return the number of packets for each reason. The keys are the reasons as text for reports."""
    found: dict[str, int] = {}
    for reason, packets in reasons.flush().items():
        words = reason_words(reason)
        found[words] = found.get(words, 0) + packets
    return found


def reason_words(reason: int) -> str:
    """Return a reason as text."""
    from wiredoctor.protocols.ip import encapsulations as names

    if reason < PROTOCOLS:
        return names.name_protocol(reason)
    if reason in WORDS:
        return WORDS[reason]
    return names.name_link(reason - layers.OF_LINK) if reason >= layers.OF_LINK - 1 else names.name_type(reason - layers.OF_TYPE)


def count_encapsulations(names: Tally) -> dict[str, int]:
    """Return the number of packets in each encapsulation, by its name.

    `names` has the number of packets for each combination of encapsulations; a combination has one bit per encapsulation.
    """
    from wiredoctor.protocols.ip.encapsulations import names_of

    found: dict[str, int] = {}
    for bits, packets in names.flush().items():
        for name in names_of(bits):
            found[name] = found.get(name, 0) + packets
    return found
