"""Determine who ended a connection: the host in the source address of a FIN or RST, or a device on the path.

An intrusion prevention system, a firewall or a load balancer can send a FIN or RST with the address of either host. Six signs
suggest that: the time to live does not fit the host; the IP identification does not fit; the host continues to send; the packet
came too early for a reply of the host; a FIN lacks the timestamps option; the sequence number is ahead of the host's data. Each
sign may occur by chance, so two are required.

`Side.ip` holds the newest time to live and IP identification of a side, so checking a packet takes one comparison. `Side.path`
holds unusual changes of these two values.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from wiredoctor.core.capture.packet import Packet, sender_mac
from wiredoctor.core.tcp.acks import add_round_trips
from wiredoctor.core.tcp.connection import Close, Connection, Flight, Path, Side, Signs
from wiredoctor.core.tcp.segment import ACK, FIN, MILLISECOND, NEVER, RST, SYN, Segment
from wiredoctor.tables import NONE

TTL: Final = 1
IP_ID: Final = 2
GOES_ON: Final = 4
TOO_EARLY: Final = 8
NO_TIMESTAMPS: Final = 16
AHEAD: Final = 32
NOT_BY_PATH: Final = IP_ID | NO_TIMESTAMPS
"""The signs that a change of the path does not explain."""

UNKNOWN: Final = 0
ENDPOINT: Final = 1
BETWEEN: Final = 2
DOUBTFUL: Final = 3
ORIGINS: Final = ("", "endpoint", "between", "doubtful")
"""The names for the origin of a FIN or RST, by number."""

ID_BITS: Final = 17
ID_MASK: Final = (1 << ID_BITS) - 1
NEAR: Final = 256
"""The maximum difference of IP identifications between two packets of one host.

An offload super-segment, which becomes several packets after the capture point, advances the identification by up to 45.
"""
SMALL_SEGMENT: Final = 536
"""The size in bytes of the smallest usual segments (RFC 9293 section 3.7.1)."""
NEAR_TTL: Final = 2
"""The maximum difference of times to live that a changed path may explain.

A larger difference is a sign that another device sent the packet.

With a sign that a changed path does not explain (NOT_BY_PATH), any difference counts as one more sign. A changed path may explain
why a packet is ahead (earlier packets did not pass the capture point), or too early (the earlier path was slower). If the peer's
answer to the RST shows that the earlier packets never arrived, a changed path does not explain this either.
"""
COUNTED: Final = 3
"""A side counts as incrementing its IP identification after this many packets with successive values.

The first of them may be a SYN-ACK, whose identification is 0 on Linux.
"""
SHORTEST_RTT: Final = 2 * MILLISECOND
"""The minimum round trip in ns for judging whether a reply came too early.

A reply is too early if it comes within half of the round trip. Half of a shorter round trip is less than the jitter of capture
timestamps.
"""
OVERTAKEN: Final = MILLISECOND
"""The maximum time in ns between two packets of one host that may have been captured in the wrong order."""
REST: Final = 1_000 * MILLISECOND
"""The maximum time in ns from a packet to an RST that responds to the packet or overtakes it.

For a response, the maximum is four round trips if these take longer.
"""
BURST: Final = 20 * MILLISECOND
"""A device that injects an RST often sends several within this time in ns."""


def pack_ip(packet: Packet) -> i64:
    """Return the time to live and the IP identification of a packet, packed as in Side.ip."""
    return packet.ip_id + 1 | packet.ttl << ID_BITS


def note_change(own: Side, packet: Packet, ip: i64) -> None:
    """Record that a side's time to live changed, or that its IP identification does not follow the previous one."""
    before = own.ip
    if before == NEVER:
        own.ip = ip
        return
    ttl, old_ttl = packet.ttl, before >> ID_BITS
    identification, old = ip & ID_MASK, before & ID_MASK
    if ttl != old_ttl:
        path = path_of(own)
        path.lowest_ttl = min(path.lowest_ttl, ttl)
        path.highest_ttl = max(path.highest_ttl, ttl)
        own.ip = ttl << ID_BITS | old
    if identification == 1 and old > 1:
        path_of(own).has_zero_id = True
        return
    if (old - identification) & 0xFFFF <= NEAR:
        return  # the packet was captured late
    own.ip = ip
    if old > 1 and (identification - old) & 0xFFFF > NEAR:
        path_of(own).packets = own.packets - 1


def path_of(own: Side) -> Path:
    """Return the `Path` state of a side; create it at the first call. `own.ip` must be known."""
    path = own.path
    if path is None:
        own.path = path = Path(own.ip >> ID_BITS)
    return path


def note_rest(own: Side, time: i64, rest: i64) -> None:
    """Record that a side sends the first packet after the connection was idle for `rest` ns.

    The packet is captured at `time` (ns).
    """
    if own.ip == NEVER:
        return
    path = path_of(own)
    path.rest_end = time
    path.rest = rest


def add_signs(connection: Connection, own: Side, packet: Packet, segment: Segment, known: Signs | None) -> Signs | None:
    """Return the evidence that a FIN or RST was not sent by the host in its source address; None if there is none.

    `known`: the evidence from earlier FINs or RSTs of the same burst, or None. New evidence is added to this object.
    """
    peer = connection.second if own is connection.first else connection.first
    found: i64 = 0
    trigger = find_trigger(own, peer, packet, segment)
    if trigger != NEVER:
        found |= TOO_EARLY
    ahead = segment.offset - segment.highest_before
    if segment.highest_before != NEVER and ahead > 0 and segment.offset <= peer.window_edge:
        found |= AHEAD
    found |= ip_id_signs(own, peer, packet, ahead > 0)
    if packet.flags & RST == 0 and connection.timestamps > 0 and not packet.has_timestamps:
        found |= NO_TIMESTAMPS
    if found == 0:
        return known
    signs = Signs() if known is None else known
    if known is None or signs.found & IP_ID == 0:
        signs.peer_id, signs.last_id = id_of(peer), id_of(own)
    if found & ~signs.found & TOO_EARLY:
        signs.trigger_time, signs.rtt = trigger, segment.rtt_own
    if found & ~signs.found & AHEAD:
        signs.ahead = ahead
    signs.found |= found
    return signs


def id_of(side: Side) -> i64:
    """Return the newest IP identification of a side; -1 if it is unknown."""
    return i64(-1) if side.ip == NEVER else (side.ip & ID_MASK) - 1


def ip_id_signs(own: Side, peer: Side, packet: Packet, is_ahead: bool) -> i64:
    """Return the bit IP_ID if the IP identification of a packet does not fit its sender; otherwise 0.

    An identification of 0 does not fit a sender that increments its identification with every packet. An identification far from
    the sender's newest one does not fit if it equals the identification of the peer's newest packet, or the next one. If the
    sender increments, any far identification does not fit, with two exceptions: after uncaptured packets (`is_ahead`), and after
    an idle time. In that time, a host with one counter for all its connections may have advanced the counter.
    """
    identification, last, other = packet.ip_id, id_of(own), id_of(peer)
    if last < 0 or identification < 0:
        return 0
    if last > 0 and identification > 0 and (identification - last) & 0xFFFF <= NEAR:
        return 0
    path = own.path
    earlier: i64 = 0 if path is None else path.packets
    counts = last > 0 and own.packets - earlier >= COUNTED
    if identification == 0:
        # without the ACK flag, this is a kernel's reply to a packet that belongs to no connection
        has_zeros = path is not None and path.has_zero_id
        return IP_ID if counts and not has_zeros and packet.flags & ACK else 0
    is_copy = other > 0 and (identification - other) & 0xFFFF <= 1
    if not is_copy and (is_ahead or not counts or packet.time - newest_time(own) >= REST):
        return 0
    # the packets counted so far have identifications from `last - reach` to `last`: one for each segment of a super-segment
    reach = min(own.packets - earlier + own.bytes // SMALL_SEGMENT, i64(0x7FFF)) if last > 0 else i64(0)
    is_own = (identification - last + reach + NEAR) & 0xFFFF <= reach + 2 * NEAR
    return 0 if is_own else IP_ID


def newest_time(own: Side) -> i64:
    """Return the time of a side's newest data or pure ACK. If it has sent none, return NEVER, which is before all times."""
    previous = own.previous
    return NEVER if previous is None else max(previous.time, previous.ack_time)


def find_trigger(own: Side, peer: Side, packet: Packet, segment: Segment) -> i64:
    """Return the time of the packet to which a FIN or RST responds too early, or NEVER if the host itself may have responded.

    A response is too early if it is captured less than half of the round trip to the host after that packet.
    """
    rtt = segment.rtt_own
    if rtt < SHORTEST_RTT:
        return NEVER
    if segment.ack != NEVER:
        sent = NEVER if peer.flight is None else first_sent(peer.flight, segment.ack)
    else:
        sent = acknowledged_since(own, peer, segment.offset)
    return sent if sent != NEVER and 0 <= packet.time - sent < rtt // 2 else NEVER


def first_sent(flight: Flight, ack: i64) -> i64:
    """Return the time at which the last byte that an ACK covers was first captured, or NEVER if it was not captured."""
    at: i64 = len(flight.segments) - 1
    while at >= 0:
        sent = flight.segments[at]
        if sent.end < ack:
            return NEVER
        if sent.start < ack:
            return sent.time
        at -= 1
    return NEVER


def acknowledged_since(own: Side, peer: Side, offset: i64) -> i64:
    """Return the earliest time since which every packet of the peer acknowledges exactly `offset`, or NEVER if it is unknown.

    An RST without the ACK flag takes its sequence number from the acknowledgment number of the packet to which it responds (RFC
    9293 section 3.5.2). If that number is `offset`, the RST responds to one of these packets. Packets before a long idle time do
    not count.
    """
    if peer.acknowledged != offset:
        return NEVER
    since: i64 = NEVER
    if offset == 0 and own.syn is not None:
        since = own.syn.time
    elif peer.previous is not None:
        since = peer.previous.advance_time
    path = peer.path
    if path is not None and path.rest_end > since and path.rest >= max(REST, 4 * add_round_trips(own.rtt, peer.rtt)):
        return path.rest_end
    return since


def go_on(connection: Connection, own: Side, peer: Side, packet: Packet, segment: Segment) -> None:
    """Record that the sender of a packet continues after its own RST, which suggests that another device sent the RST.

    If the packet acknowledges data that the peer sent after an RST of the peer, drop that RST, because the sender did not receive
    it.
    """
    flags, closing = packet.flags, own.close
    if flags & RST:
        return
    is_over = closing is not None and closing.rst_frame != NEVER
    if closing is not None and is_over:
        has_more = packet.length > 0 and segment.offset + packet.length > closing.rst_offset
        # a host that has reset a connection sends neither retransmissions nor a FIN; only an overtaken packet may follow soon
        has_more = has_more or (packet.time - closing.rst_time >= REST and (packet.length > 0 or packet.flags & FIN != 0))
        if has_more or still_acknowledges(closing, packet, segment):
            is_later = closing.rst_ack != NEVER and (has_more or segment.ack > closing.rst_ack)
            note_later(closing, packet, segment.rtt_own, is_later)
        elif closing.rst_signs is not None and segment.new_bytes > 0:
            closing.rst_signs.is_filled = True
    closing = peer.close
    if closing is None or closing.rst_frame == NEVER or segment.ack == NEVER:
        return
    signs = closing.rst_signs
    if signs is not None and signs.found & AHEAD and signs.refusal_frame == NEVER and is_refusal(closing, signs, packet, segment):
        signs.refusal_frame, signs.refusal_time = packet.frame, packet.time
    handshake = connection.handshake
    if handshake is not None and handshake.first_answer_frame > closing.rst_frame:
        is_alive = True  # the side accepted the connection after the RST, and the peer acknowledges it
    else:
        has_more = peer.payload_frame > closing.rst_frame and peer.reached >= segment.ack
        is_alive = segment.acked_bytes > 0 and segment.ack > closing.rst_offset and has_more
    if is_alive:
        forget_rst(closing)
        connection.closed = is_closed(connection)


def is_refusal(closing: Close, signs: Signs, packet: Packet, segment: Segment) -> bool:
    """Return whether an ACK answers the peer's RST, but does not cover the bytes before that RST: they never arrived.

    A host answers an RST above the next byte that it expects with such an ACK (RFC 5961 section 3.2, challenge ACK). It comes
    about a round trip after the RST; ACKs that were on their way come sooner.
    """
    if segment.rtt_own == NEVER or packet.time - closing.rst_time < segment.rtt_own * 3 // 4 or segment.acked_bytes > 0:
        return False
    is_pure_ack = packet.length == 0 and packet.flags & (SYN | FIN | RST) == 0
    return is_pure_ack and segment.ack == closing.rst_offset - signs.ahead


def still_acknowledges(closing: Close, packet: Packet, segment: Segment) -> bool:
    """Return whether a side sends an ACK although it has sent an RST.

    The RST may have overtaken an ACK that was sent earlier, if the RST has no ACK flag or if both acknowledge the same bytes. In
    these cases, the ACK must come more than OVERTAKEN ns later.
    """
    if segment.ack == NEVER:
        return False
    if closing.rst_ack == NEVER:
        return segment.acked_bytes > 0 and packet.time - closing.rst_time > OVERTAKEN
    is_pure_ack = packet.length == 0 and packet.flags & (SYN | FIN) == 0
    return segment.ack > closing.rst_ack or (is_pure_ack and packet.time - closing.rst_time > OVERTAKEN)


def note_later(closing: Close, packet: Packet, rtt: i64, is_later: bool) -> None:
    """Store the first packet with which a side continues after its RST, and whether the side sent that packet after the RST.

    `is_later`: the packet itself shows that it was sent after the RST. Otherwise, it must come more than half a round trip after
    the RST, because until then an RST on a shorter path may have overtaken the packet. `rtt`: the round trip in ns between the
    capture point and that side, or NEVER.
    """
    signs = closing.rst_signs
    if signs is None:
        closing.rst_signs = signs = Signs()
    if is_later or packet.time - closing.rst_time > max(OVERTAKEN, rtt // 2):
        signs.has_own_ttl = True
    if signs.later_frame == NEVER:
        signs.found |= GOES_ON
        signs.later_frame = packet.frame
        signs.later_time = packet.time


def forget_rst(closing: Close) -> None:
    """Forget a side's RST, because it did not close the connection."""
    closing.rst_frame = closing.rst_time = closing.rst_ack = closing.rst_offset = closing.rst_ip = NEVER
    closing.rst_signs = None
    closing.rst_mac = NEVER


def is_closed(connection: Connection) -> bool:
    """Return whether both sides have sent a FIN, or one side an RST."""
    first, second = connection.first.close, connection.second.close
    if (first is not None and first.rst_frame != NEVER) or (second is not None and second.rst_frame != NEVER):
        return True
    return first is not None and second is not None and first.fin_frame != NEVER and second.fin_frame != NEVER


def other_mac(connection: Connection, own: Side, packet: Packet) -> i64:
    """Return the MAC address from which an RST came if it shows that another machine than the sender of the SYN sent the RST.

    Otherwise return NEVER. If packets of the side passed a router, another router may have forwarded the RST. So their time to
    live must be a start value. If packets were captured twice, both copies must be equal: others were captured at two places.
    """
    syn, copies = own.syn, None if connection.oddities is None else connection.oddities.copies
    if syn is None or syn.mac == NEVER or (copies is not None and copies.difference != 0) or own.ip == NEVER:
        return NEVER
    lowest, highest = ttl_range(own)
    mac = sender_mac(packet)
    is_start = highest == 32 or highest == 64 or highest == 128 or highest == 255
    return mac if is_start and lowest == highest and mac != syn.mac else i64(NEVER)


def ttl_range(own: Side) -> tuple[i64, i64]:
    """Return the lowest and highest time to live of a side's packets other than its FIN and RST."""
    path = own.path
    if path is not None:
        return path.lowest_ttl, path.highest_ttl
    return own.ip >> ID_BITS, own.ip >> ID_BITS


def has_other_ttl(own: Side, ip: i64, most: i64) -> bool:
    """Return whether the time to live of a packet differs by more than `most` hops from those of a side's other packets.

    Return False if the side has no other packets. `ip`: the time to live and the IP identification of the packet, packed as in
    Side.ip.
    """
    if own.ip == NEVER:
        return False
    lowest, highest = ttl_range(own)
    ttl = ip >> ID_BITS
    return ttl < lowest - most or ttl > highest + most


def signs_of(own: Side, ip: i64, signs: Signs | None) -> i64:
    """Return, as bits, all evidence that a FIN or RST of a side was not sent by its host.

    `ip`: the time to live and the IP identification of the FIN or RST, packed as in Side.ip.
    """
    found: i64 = 0 if signs is None else signs.found
    most: i64 = NEAR_TTL
    if signs is not None:
        if signs.is_filled and found & GOES_ON == 0:
            found &= ~AHEAD  # the FIN or RST only overtook the data before it
        if signs.has_own_ttl or found & NOT_BY_PATH or (found & AHEAD and signs.refusal_frame != NEVER):
            most = 0  # the host continues with its own TTL, or a change of its path would not explain the other sign
    if has_other_ttl(own, ip, most):
        found |= TTL
    return found


def origin_of(own: Side, ip: i64, signs: Signs | None) -> i64:
    """Return who sent a FIN or RST of a side: its host (ENDPOINT) or a device on the path (BETWEEN).

    DOUBTFUL: the time to live differs, but there are fewer than two signs of a device. UNKNOWN: the time to live does not differ,
    and there is one other sign, which busy hosts show now and then; or no other packet of the side was captured.
    """
    found = signs_of(own, ip, signs)
    if found & (found - 1):
        return BETWEEN
    if has_other_ttl(own, ip, 0):
        return DOUBTFUL
    return UNKNOWN if found != 0 or own.ip == NEVER else ENDPOINT


def fin_origin(own: Side, peer: Side, closing: Close) -> i64:
    """Return who sent the first FIN of a side: ENDPOINT, BETWEEN, DOUBTFUL or UNKNOWN (see `origin_of`).

    Bytes after the FIN show that the side continued. If the peer acknowledges these bytes, the FIN did not reach the peer and
    ended nothing. Return UNKNOWN in this case.
    """
    if closing.fin_ip == NEVER or peer.acknowledged > closing.fin_offset + 1:
        return UNKNOWN
    if own.reached > closing.fin_offset + 1:
        signs = closing.fin_signs
        if signs is None:
            closing.fin_signs = signs = Signs()
        signs.found |= GOES_ON
        signs.has_own_ttl = True
    return origin_of(own, closing.fin_ip, closing.fin_signs)


def has_signs(own: Side, closing: Close) -> bool:
    """Return whether something other than the time to live may indicate that a side's FIN or RST is not from its host."""
    if closing.rst_signs is not None or closing.fin_signs is not None:
        return True
    return closing.fin_frame != NEVER and own.reached > closing.fin_offset + 1


def rst_origin(own: Side, closing: Close) -> i64:
    """Return who sent the first RST of a side: ENDPOINT, BETWEEN, DOUBTFUL or UNKNOWN (see `origin_of`).

    If most packets of the side were captured before and behind a router, but the RST only once, the router itself, or a device
    between the two places, may have sent it: return UNKNOWN instead of ENDPOINT.
    """
    origin, path = origin_of(own, closing.rst_ip, closing.rst_signs), own.path
    if origin == ENDPOINT and path is not None and 2 * path.routed >= own.packets and not path.has_second_rst:
        return UNKNOWN
    return origin


def is_doubtful(own: Side) -> bool:
    """Return whether later packets may show that another device sent a side's first RST.

    Two signs prove another device. The RST is doubtful if there is only one sign, or if its time to live differs a little; this
    difference becomes a sign if the side continues.
    """
    closing = own.close
    if closing is None or closing.rst_frame == NEVER:
        return False
    found = signs_of(own, closing.rst_ip, closing.rst_signs)
    if found == 0:
        return has_other_ttl(own, closing.rst_ip, 0)
    return found & (found - 1) == 0


class ForeignCloses:
    """Writes the table `foreign_closes`: FINs and RSTs that a device on the path sent. They are rare, so each row is a tuple."""

    def __init__(self) -> None:
        self.rows: list[tuple[object, ...]] = []

    def write_rest(self, connection: Connection, client: i64) -> None:
        """Write a row for each FIN or RST of an ended connection that a device on the path sent, if it has no row yet.

        A FIN or RST that ended an exchange already has a row. `client`: the direction of the client.
        """
        for direction in range(2):
            own, peer = connection.sides(direction)
            closing = own.close
            if closing is not None and has_signs(own, closing):
                is_fin = closing.fin_frame != NEVER
                if closing.rst_frame != NEVER and (not is_fin or closing.rst_frame < closing.fin_frame):
                    is_foreign = rst_origin(own, closing) == BETWEEN
                    self.write_new(connection, direction, client, False, closing.rst_signs if is_foreign else None)
                    is_fin = is_fin and not is_foreign
                if is_fin and fin_origin(own, peer, closing) == BETWEEN:
                    self.write_new(connection, direction, client, True, closing.fin_signs)

    def write_new(self, connection: Connection, direction: i64, client: i64, is_fin: bool, signs: Signs | None) -> None:
        """Write a row for a FIN (`is_fin`) or RST that a device on the path sent, unless it already has one.

        The row names no exchange. Do nothing if `signs` is None: then the host itself sent the FIN or RST.
        """
        if signs is not None and not signs.is_written:
            self.write(connection, NONE, direction, client, is_fin)

    def write(self, connection: Connection, exchange: i64, direction: i64, client: i64, is_fin: bool) -> None:
        """Write a row of `foreign_closes` for a direction's FIN (`is_fin`) or RST.

        `exchange`: the index of the exchange that the FIN or RST ended, or NONE. `client`: the direction of the client.
        """
        own, peer = connection.sides(direction)
        closing = own.close
        assert closing is not None
        frame, time, ack, ip, signs = closing.rst_frame, closing.rst_time, closing.rst_ack, closing.rst_ip, closing.rst_signs
        reached = closing.reached
        if is_fin:
            frame, time, ack, ip, signs = closing.fin_frame, closing.fin_time, closing.fin_ack, closing.fin_ip, closing.fin_signs
            reached = NEVER
        assert signs is not None
        signs.is_written = True
        found = signs_of(own, ip, signs)
        lowest, highest = ttl_range(own)
        client_bytes, server_bytes = own.bytes, peer.bytes
        if direction != client:
            client_bytes, server_bytes = server_bytes, client_bytes
        row: tuple[object, ...] = (
            connection.id, exchange, "client" if direction == client else "server", not is_fin, ack != NEVER, frame, time,
            reached, if_found(found, TTL, ip >> ID_BITS), if_found(found, TTL, lowest), if_found(found, TTL, highest),
            if_found(found, IP_ID, (ip & ID_MASK) - 1), if_found(found, IP_ID, signs.last_id),
            if_found(found, IP_ID, signs.peer_id), found & GOES_ON != 0, signs.later_frame, signs.later_time,
            signs.trigger_time, signs.rtt, found & NO_TIMESTAMPS != 0, signs.ahead if found & AHEAD else i64(NEVER),
            signs.refusal_frame, signs.refusal_time, client_bytes, server_bytes,
        )  # fmt: skip
        self.rows.append(row)

    def take(self) -> list[tuple[object, ...]]:
        """Return the rows, and begin a new table."""
        rows = self.rows
        self.rows = []
        return rows


def if_found(found: i64, sign: i64, value: i64) -> i64:
    """Return `value` if the bit `sign` is set in `found`; otherwise NONE, because the value is only evidence for that sign."""
    return value if found & sign else i64(NONE)
