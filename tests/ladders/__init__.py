"""The tests' ladders are those of `wiredoctor.testing`, which explains their notation."""

from __future__ import annotations

from wiredoctor.testing import LadderError, Packet, check, ladder_packets, ladders_in, to_pcap

__all__ = ["LadderError", "Packet", "check", "ladder_packets", "ladders_in", "to_pcap"]
