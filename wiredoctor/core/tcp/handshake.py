"""Read SYNs: the segment sizes and window scales that they negotiate, and which side is the client.

Also record the replies to the client's SYN.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64, u8

from wiredoctor.core.capture.packet import NOT_CAPTURED, Packet, sender_mac
from wiredoctor.core.capture.packet_headers import LARGEST_SHIFT
from wiredoctor.core.tcp import clocks, origins
from wiredoctor.core.tcp.connection import (
    ETHERNET_MSS,
    ETHERNET_MSS_IPV6,
    NO_BASE,
    Connection,
    Handshake,
    RepeatedSyn,
    Side,
    Syn,
    oddities_of,
)
from wiredoctor.core.tcp.delivery import LONGEST_SYN
from wiredoctor.core.tcp.segment import ACK, CWR, ECE, NEVER, RST, SYN, Segment

DEFAULT_MSS: Final = 536
"""The MSS in bytes of a host whose SYN has no MSS option (RFC 9293 section 3.7.1). Every host accepts this size."""
DEFAULT_MSS_IPV6: Final = 1220


def read_handshake(connection: Connection, own: Side, packet: Packet, segment: Segment) -> None:
    """Record the options of a SYN, and the replies to the client's SYN: a SYN-ACK, or an RST that refuses the SYN."""
    if packet.flags & SYN:
        read_syn(own, packet)
        agree(connection)
        find_client(connection, packet, segment)
    handshake = connection.handshake
    if handshake is None or handshake.syn_frame == NEVER:
        return
    client = connection.first if connection.client == 0 else connection.second
    kind = packet.flags & (SYN | ACK | RST)
    if client.acknowledged != NEVER:
        if kind == SYN | ACK and own is not client:
            note_late_answer(connection, own, client, packet)
        return
    if own is client:
        if kind == SYN:
            count_syn(handshake, packet)
    elif 0 <= segment.ack <= LONGEST_SYN:
        if kind == SYN | ACK:
            answer_syn(connection, handshake, packet)
        elif kind == RST | ACK:
            refuse_syn(handshake, packet, segment)


def forget_former(connection: Connection, own: Side, peer: Side) -> None:
    """Forget a peer's sequence and acknowledgment numbers at a repeated SYN if the peer sent no SYN and neither side sent data.

    The peer still knew an earlier connection on these ports, and sent a challenge ACK with the numbers of that connection. The
    client answers that ACK with an RST, which ends only the earlier connection (RFC 9293 section 3.10.7.3).
    """
    if peer.syn is not None or peer.reached == NEVER or own.payload_frame != NEVER or peer.payload_frame != NEVER:
        return
    peer.base = NO_BASE
    peer.sequence = peer.acknowledgment = 0
    peer.sequence_jump = peer.acknowledgment_jump = NEVER
    peer.acknowledged = peer.highest = peer.reached = peer.window_edge = NEVER
    peer.window = peer.widest_window = -1
    own.highest = own.reached
    own.gaps = peer.gaps = None
    own.unseen_bytes = peer.unseen_bytes = 0
    oddities = connection.oddities
    if oddities is not None:
        oddities.unseen_places = 0
        oddities.unseen_frame = oddities.unseen_time = NEVER
    if own.close is not None and own.close.fin_frame == NEVER:
        connection.closed = False
        origins.forget_rst(own.close)


def read_syn(own: Side, packet: Packet) -> None:
    """Store the options of a side's newest SYN."""
    syn = own.syn
    if syn is None:
        own.syn = syn = Syn(packet.frame)
    else:
        syn.repeated = True
    syn.time = packet.time
    syn.mss = packet.mss
    syn.window_shift = packet.window_shift
    syn.window = packet.window
    syn.has_timestamps = packet.has_timestamps
    syn.stamp = packet.stamp
    syn.mac = sender_mac(packet)


def agree(connection: Connection) -> None:
    """Set the MSS of both sides from the SYNs captured so far, and their window scale once both SYNs were captured."""
    first, second = connection.first, connection.second
    announce_mss(connection, first, second)
    announce_mss(connection, second, first)
    one, two = first.syn, second.syn
    if one is None or two is None:
        return
    connection.has_both_syns = True
    known_scale = one.window_shift != NOT_CAPTURED and two.window_shift != NOT_CAPTURED
    scaled = one.window_shift >= 0 and two.window_shift >= 0
    one.scale = (min(one.window_shift, LARGEST_SHIFT) if scaled else 0) if known_scale else -1
    two.scale = (min(two.window_shift, LARGEST_SHIFT) if scaled else 0) if known_scale else -1
    connection.timestamps = -1
    if known_scale and one.mss != NOT_CAPTURED and two.mss != NOT_CAPTURED:
        connection.timestamps = 1 if one.has_timestamps and two.has_timestamps else 0


def announce_mss(connection: Connection, sender: Side, receiver: Side) -> None:
    """Set the maximum size of the segments that a side sends.

    It is the smaller of two sizes: the size that the receiver accepts, and the size that the sender itself announces. A host
    rarely sends larger segments than it announces, because both sizes follow from its MTU.
    """
    own = sender.syn
    sender.mss = accepted_size(connection, receiver)
    if own is not None and 0 < own.mss < sender.mss:
        sender.mss = own.mss


def accepted_size(connection: Connection, receiver: Side) -> i64:
    """Return the segment size in bytes that a side accepts, as announced in its SYN.

    If no SYN was captured, return the usual size on Ethernet. If the SYN does not announce a size, return TCP's default.
    """
    syn = receiver.syn
    if syn is None or syn.mss == NOT_CAPTURED:
        return ETHERNET_MSS_IPV6 if len(connection.key) > 12 else ETHERNET_MSS
    if syn.mss > 0:
        return syn.mss
    return DEFAULT_MSS_IPV6 if len(connection.key) > 12 else DEFAULT_MSS


def find_client(connection: Connection, packet: Packet, segment: Segment) -> None:
    """Set the client to the sender of the first SYN. Until a SYN is captured, the client is the receiver of the first SYN-ACK."""
    handshake = connection.handshake
    if handshake is None:
        connection.handshake = handshake = Handshake()
    if packet.flags & ACK:
        if handshake.syn_ack_frame == NEVER:
            handshake.syn_ack_frame = packet.frame
            if connection.client_certainty < 2:
                connection.client = 1 - segment.direction
                connection.client_certainty = 2
    elif handshake.syn_frame == NEVER:
        handshake.syn_frame = packet.frame
        connection.client = segment.direction
        connection.client_certainty = 3


def count_syn(handshake: Handshake, packet: Packet) -> None:
    """Count a SYN of the client, and record whether it requests ECN (RFC 3168 section 6.1.1) or carries data (RFC 7413).

    Middleboxes may drop SYNs with either property.
    """
    has_extras = packet.flags & (ECE | CWR) != 0 or packet.length > 0
    handshake.syns += 1
    if handshake.syns == 1:
        handshake.syn_time = packet.time
        handshake.has_extras = has_extras
        handshake.stamp = packet.stamp
        return
    repeated = handshake.repeated
    if repeated is None:
        handshake.repeated = repeated = RepeatedSyn()
        repeated.second_frame = packet.frame
        repeated.second_time = packet.time
    elif handshake.syns == 3:
        repeated.third_time = packet.time
    repeated.last_frame = packet.frame
    repeated.last_time = packet.time
    repeated.last_has_extras = has_extras
    repeated.last_stamp = packet.stamp


def answer_syn(connection: Connection, handshake: Handshake, packet: Packet) -> None:
    """Record a SYN-ACK, and the client's last SYN before it."""
    if handshake.first_answer_frame == NEVER:
        handshake.first_answer_frame = packet.frame
        handshake.first_answer_time = packet.time
        handshake.answer_ttl = u8(packet.ttl)
        if handshake.refused_frame != NEVER:
            reopen(connection, handshake, packet)
    handshake.newest_answer_frame = packet.frame
    handshake.newest_answer_time = packet.time
    repeated = handshake.repeated
    if repeated is None:
        handshake.answered_syn_frame = handshake.syn_frame
        handshake.answered_syn_time = handshake.syn_time
        handshake.answered_syn_has_extras = handshake.has_extras
    else:
        handshake.answered_syn_frame = repeated.last_frame
        handshake.answered_syn_time = repeated.last_time
        handshake.answered_syn_has_extras = repeated.last_has_extras
        # a host that has queued the first SYN repeats its answer to that SYN, and echoes the timestamp of that SYN
        stamp, echo = handshake.stamp, clocks.echo_of(packet)
        handshake.echoes_first = echo != NEVER and echo == stamp and stamp != repeated.last_stamp


def note_late_answer(connection: Connection, server: Side, client: Side, packet: Packet) -> None:
    """Record a SYN-ACK that the server sends although the client has already acknowledged a SYN-ACK.

    There are three possible reasons: the client's ACK was lost, the server dropped it because the listen queue was full, or the
    server answers a second SYN.
    """
    oddities = oddities_of(connection)
    is_first = oddities.late_answer_frame == NEVER
    if is_first or (server.payload_frame == NEVER and client.payload_frame == NEVER):
        oddities.late_answer_frame = packet.frame
        oddities.late_answer_time = packet.time


def refuse_syn(handshake: Handshake, packet: Packet, segment: Segment) -> None:
    """Record the first RST that acknowledges nothing but a SYN.

    An RST that acknowledges more belongs to an earlier connection.
    """
    if handshake.syn_ack_frame != NEVER:
        return
    repeated = handshake.repeated
    has_extras = handshake.has_extras if repeated is None else repeated.last_has_extras
    if segment.ack != 0 and not has_extras:
        return
    if handshake.refused_frame == NEVER:
        handshake.refused_frame = packet.frame
        handshake.refused_time = packet.time
        handshake.answer_ttl = u8(packet.ttl)


def reopen(connection: Connection, handshake: Handshake, packet: Packet) -> None:
    """When a SYN has been answered, drop the RST that refused an earlier SYN, because it did not close the connection.

    For example, Windows sends another SYN after a refusal. If the client sent no SYN after the RST, a device on the path may have
    sent the RST. In that case, the RST is kept as evidence.
    """
    server = connection.second if connection.client == 0 else connection.first
    repeated = handshake.repeated
    if (repeated is None or repeated.last_frame < handshake.refused_frame) and server.close is not None:
        origins.note_later(server.close, packet, server.rtt, server.close.rst_ack != NEVER)
        return
    connection.closed = False
    for side in (connection.first, connection.second):
        if side.close is not None:
            origins.forget_rst(side.close)


def segment_size(size: i64, connection: Connection, packet: Packet) -> i64:
    """Return a segment size in bytes, without the 12 bytes of the timestamps option if each segment has that option.

    RFC 7323 appendix A gives the size of this option.
    """
    if connection.timestamps > 0 or (connection.timestamps < 0 and packet.has_timestamps):
        size -= 12
    return max(size, 1)
