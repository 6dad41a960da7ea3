"""Free memory when too much stream data is stored: read stored bytes although bytes before them are missing (keeping.py)."""

from __future__ import annotations

from mypy_extensions import i64

from wiredoctor import limits
from wiredoctor.core.http1 import endings
from wiredoctor.core.http1.conversation import Conversation
from wiredoctor.core.http1.http_state import HttpState
from wiredoctor.core.http1.keeping import LISTED, PIECE, Keeping
from wiredoctor.core.http1.stream import Piece
from wiredoctor.core.tcp.flows import BUCKETS


def relieve(keeping: Keeping, clock: i64) -> None:
    """Recount the stored bytes of hash buckets that seem full, and free memory until a quarter of each bucket is free.

    Memory is freed by reading stored bytes although bytes before them are missing. Connections whose bytes have waited
    longest come first.
    """
    keeping.is_full = False
    for part in range(BUCKETS):
        if keeping.bytes[part] > keeping.most:
            keeping.bytes[part] = relieve_part(keeping, part, clock)


def relieve_part(keeping: Keeping, part: i64, clock: i64) -> i64:
    """Recount the stored bytes of a hash bucket, and return how many bytes are still stored at the end.

    If the bucket is more than three quarters full, free memory by reading stored bytes although bytes before them are
    missing. Connections whose bytes have waited longest come first.
    """
    left: dict[int, HttpState] = {}
    total: i64 = 0
    for number, conversation in keeping.connections[part].items():
        size = count_kept(conversation)
        if size > 0:
            left[number] = conversation
            total += size
    enough = keeping.most - keeping.most // 4
    for conversation in list(left.values()):
        if total <= enough:
            break
        total -= count_kept(conversation)
        assert isinstance(conversation, Conversation)
        endings.give_up_waiting(conversation, clock)
        del left[conversation.number]
        keeping.met.add(limits.KEPT)
    keeping.connections[part] = left
    return total


def count_kept(conversation: HttpState) -> i64:
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
