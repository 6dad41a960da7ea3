"""The ladders of the tests are in the notation that `wiredoctor.testing` explains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from wiredoctor.testing import LadderError, Packet, check, ladder_packets, ladders_in, to_pcap

if TYPE_CHECKING:
    from tests.pipeline.recording import Seen

AnyPacket = TypeVar("AnyPacket", Packet, "Seen")

STALL = r"""
  0.000  >  S    win 64240 mss 1460
  0.010  <  S.   win 64240 mss 1460
  0.010  >  .
  0.011  >  P.   "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
  0.022  <  P.   "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
  0.222  >  .
  0.232  <  P.   "hello"
  0.232  >  .
"""
"""A response whose body waits for a delayed ACK: nagle-delayed-ack, with frames 5, 6 and 7 as evidence."""

__all__ = ["STALL", "LadderError", "Packet", "check", "ladder_packets", "ladders_in", "set_back", "to_pcap"]


def set_back(packets: Sequence[AnyPacket], after: int, by: int) -> list[AnyPacket]:
    """Return packets as a clock stamps them that is set back by `by` nanoseconds after the first `after` packets."""
    return [replace(p, time=p.time - by) if i >= after else p for i, p in enumerate(packets)]
