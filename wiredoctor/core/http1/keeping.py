"""Limit the total size of stored stream data, over all connections.

Data is stored while bytes before it are missing, while it has to wait for the other direction, or while a head is incomplete.
Sizes are counted per hash bucket of flows.py, so the result does not depend on which process analyzes which bucket. Bytes that
were read in the meantime are only subtracted when a bucket seems full. Then relief.py counts all bytes of the bucket again.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from wiredoctor import limits
from wiredoctor.core.http1.http_state import HttpState
from wiredoctor.core.tcp.flows import BUCKETS, bucket
from wiredoctor.limits import LimitsReached

PIECE: Final = 200
"""The memory in bytes that a stored range takes besides its content."""
LISTED: Final = 2_000
"""The memory in bytes that the lists of stored ranges take per connection, without the ranges themselves."""


class Keeping:
    """Counts the bytes of stored stream data.

    If `is_full` is true, a hash bucket may have too many bytes, and relief.py must free some.
    """

    def __init__(self, met: LimitsReached) -> None:
        self.met: LimitsReached = met
        self.most: i64 = max(limits.KEPT.value // BUCKETS, 1)
        self.bytes: list[int] = [0] * BUCKETS
        self.connections: list[dict[int, HttpState]] = [{} for _ in range(BUCKETS)]
        """For each hash bucket, the connections with stored stream data.

        Connections whose bytes have waited longest come first.
        """
        self.is_full: bool = False

    def add(self, conversation: HttpState, size: i64) -> None:
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

    def forget(self, conversation: HttpState) -> None:
        """Stop counting the stored bytes of an ended connection."""
        if conversation.is_kept:
            self.connections[bucket(conversation.connection.key)].pop(conversation.number, None)
