"""Limit the total size of stored stream data, over all connections.

Data is stored while bytes before it are missing, while it has to wait for the other direction, or while a head is incomplete.
Sizes are counted per hash bucket of flows.py, so the result does not depend on which process analyzes which bucket. Bytes that
were read in the meantime are only subtracted when a bucket seems full. Then all bytes of the bucket are counted again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mypy_extensions import i64

from wiredoctor import limits
from wiredoctor.core import endings
from wiredoctor.core.flows import BUCKETS, bucket
from wiredoctor.limits import LimitsReached

if TYPE_CHECKING:
    from wiredoctor.core.conversation import Conversation
    from wiredoctor.core.stream import Piece

PIECE: Final = 200
"""The memory in bytes that a stored range takes besides its content."""
LISTED: Final = 2_000
"""The memory in bytes that the lists of stored ranges take per connection, without the ranges themselves."""


class Keeping:
    """Counts the bytes of stored stream data.

    If `is_full` is true, a hash bucket may have too many bytes, and `relieve` must be called.
    """

    def __init__(self, met: LimitsReached) -> None:
        self.met: LimitsReached = met
        self.most: i64 = max(limits.KEPT.value // BUCKETS, 1)
        self.bytes: list[int] = [0] * BUCKETS
        self.connections: list[dict[int, Conversation]] = [{} for _ in range(BUCKETS)]
        """For each hash bucket, the connections with stored stream data.

        Connections whose bytes have waited longest come first.
        """
        self.is_full: bool = False

    def add(self, conversation: Conversation, size: i64) -> None:
        """Count `size` more bytes that a connection stores."""
        part = bucket(conversation.connection.key)
        keeping = self.connections[part]
        if conversation.number not in keeping:
            keeping[conversation.number] = conversation
            conversation.is_kept = True
            size += LISTED
        total: i64 = self.bytes[part] + size + PIECE
        self.bytes[part] = total
        if total > self.most:
            self.is_full = True

    def forget(self, conversation: Conversation) -> None:
        """Stop counting the stored bytes of an ended connection."""
        if conversation.is_kept:
            self.connections[bucket(conversation.connection.key)].pop(conversation.number, None)

    def relieve(self, clock: i64) -> None:
        """Recount the stored bytes of hash buckets that seem full, and free memory until a quarter of each bucket is free.

        Memory is freed by reading stored bytes although bytes before them are missing. Connections whose bytes have waited
        longest come first.
        """
        self.is_full = False
        for part in range(BUCKETS):
            if self.bytes[part] > self.most:
                self.bytes[part] = self.relieve_part(part, clock)

    def relieve_part(self, part: i64, clock: i64) -> i64:
        """Recount the stored bytes of a hash bucket, and return how many bytes are still stored at the end.

        If the bucket is more than three quarters full, free memory by reading stored bytes although bytes before them are
        missing. Connections whose bytes have waited longest come first.
        """
        left: dict[int, Conversation] = {}
        total: i64 = 0
        for number, conversation in self.connections[part].items():
            size = count_kept(conversation)
            if size > 0:
                left[number] = conversation
                total += size
        enough = self.most - self.most // 4
        for conversation in list(left.values()):
            if total <= enough:
                break
            total -= count_kept(conversation)
            endings.give_up_waiting(conversation, clock)
            del left[conversation.number]
            self.met.add(limits.KEPT)
        self.connections[part] = left
        return total


def count_kept(conversation: Conversation) -> i64:
    """Return the memory in bytes that a connection's stored stream data takes until HTTP reads it."""
    total: i64 = 0
    for stream in (conversation.first_stream, conversation.second_stream):
        if stream.waiting is not None:
            total += count_pieces(stream.waiting.pieces)
        if stream.held is not None:
            total += count_pieces(stream.held)
        partial = conversation.reader_of(stream.direction).partial
        if partial is not None:
            total += partial.size
    return total + LISTED if total > 0 else total


def count_pieces(pieces: list[Piece]) -> i64:
    """Return the memory in bytes that a list of stored ranges takes."""
    return sum([len(piece.data) + PIECE for piece in pieces])
