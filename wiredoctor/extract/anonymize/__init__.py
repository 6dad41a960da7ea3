"""Anonymize a small capture, so users can attach it to a bug report.

Everything is replaced unless it is known to be harmless, and packets that cannot be parsed are left out. Lengths, times, TCP's
sequence numbers and options, and the framing of messages are kept, so the diagnosis is the same.
"""

from __future__ import annotations

from dataclasses import dataclass

from wiredoctor.extract.anonymize.capture import Packet, addresses_of, anonymized_packets, read_original, replace
from wiredoctor.extract.anonymize.leaking import collect_words, leaks
from wiredoctor.findings import PacketAccess

__all__ = ["Anonymized", "Packet", "anonymize"]


@dataclass(frozen=True)
class Anonymized:
    """The anonymized packets, with the same lengths as the original ones.

    `left_out`: the number of packets left out, by reason. `leaks`: descriptions of original content found in the result; a result
    with leaks must not be used.
    """

    packets: list[Packet]
    left_out: dict[str, int]
    leaks: list[str]


def anonymize(access: PacketAccess, seed: bytes) -> Anonymized:
    """Replace the addresses, names, targets, values, tokens and message bodies of a capture.

    The complete capture is held in memory. The same seed (at most 64 bytes) gives the same replacements.
    """
    original = read_original(access)
    said = collect_words(original)
    addresses = addresses_of(original, seed)
    heads = replace(original, seed, said, addresses)
    packets = [*anonymized_packets(original, seed, addresses)]
    return Anonymized(packets, dict(original.left_out), leaks(original, packets, heads.words, said))
