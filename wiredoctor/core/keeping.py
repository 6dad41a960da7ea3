"""Bytes that wait, over all connections: for missing ones, for the other direction, or for the end of a head.

They are copies, so all of them together are bounded. They are counted in the parts of flows.py, so that it does not matter which
process has which part. What was read since is taken off only when a part seems full: then its bytes are counted again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mypy_extensions import i64

from wiredoctor import limits
from wiredoctor.core import endings
from wiredoctor.core.flows import BUCKETS, bucket
from wiredoctor.limits import Met

if TYPE_CHECKING:
    from wiredoctor.core.pairing import HttpConnection
    from wiredoctor.core.stream import Piece

PIECE: Final = 200
"""Bytes of memory that a range takes besides its content."""
LISTED: Final = 2_000
"""The same of a connection that keeps anything."""


class Keeping:
    """Counts the bytes that wait. `is_full`: some part may hold too many, so `relieve` is due."""

    def __init__(self, met: Met) -> None:
        self.met: Met = met
        self.most: i64 = max(limits.KEPT.value // BUCKETS, 1)
        self.bytes: list[int] = [0] * BUCKETS
        self.connections: list[dict[int, HttpConnection]] = []
        """Of each part those that keep bytes, the one that began to keep them first in front."""
        for _ in range(BUCKETS):
            self.connections.append({})
        self.is_full: bool = False

    def add(self, talk: HttpConnection, size: i64) -> None:
        """Count bytes that a connection keeps from now on."""
        part = bucket(talk.connection.key)
        keeping = self.connections[part]
        if talk.number not in keeping:
            keeping[talk.number] = talk
            talk.is_kept = True
            size += LISTED
        total: i64 = self.bytes[part] + size + PIECE
        self.bytes[part] = total
        if total > self.most:
            self.is_full = True

    def forget(self, talk: HttpConnection) -> None:
        """Forget a connection that is over."""
        if talk.is_kept:
            self.connections[bucket(talk.connection.key)].pop(talk.number, None)

    def relieve(self, clock: i64) -> None:
        """Count the bytes of full parts again, and read what has waited longest until a quarter of each is free."""
        self.is_full = False
        for part in range(BUCKETS):
            if self.bytes[part] > self.most:
                self.bytes[part] = self.relieve_part(part, clock)

    def relieve_part(self, part: i64, clock: i64) -> i64:
        """Count the bytes of a part again, read what has waited longest until a quarter is free, and return the bytes left."""
        left: dict[int, HttpConnection] = {}
        total: i64 = 0
        for number, talk in self.connections[part].items():
            size = count_kept(talk)
            if size > 0:
                left[number] = talk
                total += size
        enough = self.most - self.most // 4
        for talk in list(left.values()):
            if total <= enough:
                break
            total -= count_kept(talk)
            endings.give_up_waiting(talk, clock)
            del left[talk.number]
            self.met.add(limits.KEPT)
        self.connections[part] = left
        return total


def count_kept(talk: HttpConnection) -> i64:
    """Return the bytes that a connection keeps; 0 if it keeps nothing."""
    total: i64 = 0
    for reader in (talk.first, talk.second):
        if reader.waiting is not None:
            total += count_pieces(reader.waiting.pieces)
        if reader.held is not None:
            total += count_pieces(reader.held)
        if reader.partial is not None:
            total += reader.partial.size
    return total + LISTED if total > 0 else total


def count_pieces(pieces: list[Piece]) -> i64:
    """Return the bytes that ranges take."""
    total: i64 = 0
    for piece in pieces:
        total += len(piece.data) + PIECE
    return total
