"""A small capture without what its users would not show: the file that one can attach to a report of a fault.

Everything is replaced unless it is known to be harmless; what is not understood is left out. Lengths, times, TCP's numbers and
options, the framing of messages, and with them the diagnosis stay.
"""

from __future__ import annotations

from dataclasses import dataclass

from wiredoctor.extract.anonymize.capture import Packet, original_of, packets_of, replace
from wiredoctor.extract.anonymize.leaking import leaks, words_of
from wiredoctor.findings import Again

__all__ = ["Anonymized", "Packet", "anonymized"]


@dataclass(frozen=True)
class Anonymized:
    """packets: with new bytes, of the same length. left_out: reason -> packets. leaks: what a search for all that was in the
    capture found in the result, in words; nobody may get one that has any."""

    packets: list[Packet]
    left_out: dict[str, int]
    leaks: list[str]


def anonymized(again: Again, seed: bytes) -> Anonymized:
    """Replaces addresses, names, targets, values, tokens and contents of a capture, which is held in memory. The same seed
    (64 bytes at most) makes the same of the same."""
    original = original_of(again)
    said = words_of(original)
    heads = replace(original, seed, said)
    packets = [*packets_of(original, seed)]
    return Anonymized(packets, dict(original.left_out), leaks(original, packets, heads.words, said))
