"""Why packets are not analyzed, and how many: an IP protocol, an EtherType, or one of the reasons named in layers.py."""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from wiredoctor.core import layers

PROTOCOLS: Final = 0x100
"""Reasons below are IP protocols."""


class Tally:
    """Counts numbers. Those that follow each other are mostly equal."""

    def __init__(self) -> None:
        self.counts: dict[int, int] = {}
        self.newest: i64 = -1
        self.run: i64 = 0
        """How often the newest number came that `counts` does not have yet."""

    def add(self, number: i64) -> None:
        """Count a number."""
        if number != self.newest:
            self.flush()
            self.newest = number
        self.run += 1

    def flush(self) -> dict[int, int]:
        """Return the counts of all numbers."""
        if self.run > 0:
            self.counts[self.newest] = self.counts.get(self.newest, 0) + self.run
            self.run = 0
        return self.counts


def in_words(reasons: Tally) -> dict[str, int]:
    """Return the counts of reasons, by words that a reader of the report understands."""
    found: dict[str, int] = {}
    for reason, packets in reasons.flush().items():
        words = reason_words(reason)
        found[words] = found.get(words, 0) + packets
    return found


def reason_words(reason: int) -> str:
    """Return a reason in words."""
    from wiredoctor.decode import reasons, wifi
    from wiredoctor.decode.reasons import protocol_reason

    if reason < PROTOCOLS:
        return protocol_reason(reason)
    if reason >= layers.OF_TYPE:
        return reasons.type_reason(reason - layers.OF_TYPE)
    return {
        layers.CUT_LINK: reasons.CUT_LINK,
        layers.CUT_IP: reasons.CUT_IP,
        layers.BAD_IP: reasons.BAD_IP,
        layers.CUT_TCP: reasons.CUT_TCP,
        layers.NOT_LLC: "LLC",
        layers.NOT_MPLS: "MPLS",
        layers.NOT_PPP: "PPP",
        layers.NOT_GRE: "GRE",
        layers.NO_NFLOG_PACKET: "NFLOG without a packet",
        layers.MANAGEMENT: wifi.REASONS[wifi.MANAGEMENT],
        layers.CONTROL: wifi.REASONS[wifi.CONTROL],
        layers.WITHOUT_DATA: wifi.REASONS[wifi.WITHOUT_DATA],
        layers.ENCRYPTED: wifi.REASONS[wifi.ENCRYPTED],
        layers.EXTENSION: wifi.EXTENSION,
        layers.OTHER_VERSION: wifi.OTHER_VERSION,
        layers.FRAGMENT: wifi.PART,
    }[reason]
