"""Record the history of a connection: packet and byte counts, and a letter for the first packet of each kind.

S SYN, H SYN-ACK, A ACK, D data, F FIN, R RST, G ACK of bytes that were not captured, T retransmission, W zero window.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from wiredoctor.core.capture.packet import Packet
from wiredoctor.core.tcp.connection import Connection, Side, oddities_of
from wiredoctor.core.tcp.segment import ACK, FIN, RST, SYN, Segment

LETTERS: Final = "SHADFRGTW"
SAW_SYN: Final = 1
SAW_SYN_ACK: Final = 2
SAW_ACK: Final = 4
SAW_DATA: Final = 8
SAW_FIN: Final = 16
SAW_RST: Final = 32
SAW_GAP: Final = 64
SAW_RETRANSMISSION: Final = 128
SAW_ZERO_WINDOW: Final = 256

BITS: Final = 5
"""The number of bits per letter in Connection.history: the index of the letter plus 1, plus 16 for direction 1."""
FIRST_WORD: Final = 12
"""The number of letters in Connection.history (60 bits). Any further letters are in Connection.more_history."""


def count(connection: Connection, own: Side, packet: Packet, segment: Segment) -> None:
    """Count a packet. For each of its kinds that is new for this side, append a letter to the connection's history."""
    own.packets += 1
    own.bytes += segment.new_bytes
    flags = packet.flags
    seen: i64 = 0
    if segment.pure_ack:
        seen = SAW_ACK
    elif segment.new_bytes > 0:
        seen = SAW_DATA
    if flags & (SYN | FIN | RST):
        if flags & SYN:
            seen |= SAW_SYN_ACK if flags & ACK else SAW_SYN
        if flags & FIN:
            seen |= SAW_FIN
        if flags & RST:
            seen |= SAW_RST
    if segment.acked_unseen > 0:
        seen |= SAW_GAP
    if segment.retransmission:
        seen |= SAW_RETRANSMISSION
    if packet.window == 0 and flags & (SYN | RST) == 0:
        seen |= SAW_ZERO_WINDOW
    if seen & ~own.letters:
        note_letters(connection, segment.direction, seen & ~own.letters)
        own.letters |= seen


def note_letters(connection: Connection, direction: i64, fresh: i64) -> None:
    """Append the packet kinds in `fresh` (bits SAW_...) to the history of a connection, in the order of LETTERS."""
    letter: i64 = 1
    while fresh:
        if fresh & 1:
            code = letter + 16 * direction
            if connection.history >> (BITS * (FIRST_WORD - 1)):
                connection.more_history = connection.more_history << BITS | code
            else:
                connection.history = connection.history << BITS | code
        fresh >>= 1
        letter += 1


def in_letters(first: i64, more: i64, client: i64) -> str:
    """Return the letters in Connection.history (`first`) and more_history (`more`) as text.

    The client's letters are in upper case, the server's in lower case. `client`: the client's direction.
    """
    text = ""
    for word in (more, first):
        left = word
        while left:
            letter = LETTERS[(left & 15) - 1]
            text = (letter if (left >> 4) & 1 == client else letter.lower()) + text
            left >>= BITS
    return text


def note_super_segment(connection: Connection, peer: Side, packet: Packet) -> None:
    """Count a segment that is longer than its receiver's MSS, as captured on a host with segmentation offload."""
    syn = peer.syn
    if not connection.has_both_syns or syn is None or syn.mss <= 0 or packet.length <= syn.mss:
        return
    oddities = oddities_of(connection)
    oddities.super_segments += 1
    if oddities.super_segments == 1:
        oddities.super_frame = packet.frame
        oddities.super_time = packet.time
        oddities.super_mss = syn.mss
