"""The ladders of the tests are in the notation that `wiredoctor.testing` explains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from wiredoctor.testing import LadderError, Packet, check, ladder_packets, ladders_in, to_pcap

if TYPE_CHECKING:
    from tests.pipeline.recording import Seen

AnyPacket = TypeVar("AnyPacket", Packet, "Seen")

__all__ = ["LadderError", "Packet", "check", "ladder_packets", "ladders_in", "set_back", "to_pcap"]


def set_back(packets: Sequence[AnyPacket], after: int, by: int) -> list[AnyPacket]:
    """Return packets as a clock stamps them that is set back by `by` nanoseconds after the first `after` packets."""
    return [replace(p, time=p.time - by) if i >= after else p for i, p in enumerate(packets)]
