"""The state of a connection: two sides, and rarely needed parts that are created on first use.

Times are nanoseconds since the first packet of the capture, lengths are bytes, and offsets are sequence numbers unwrapped to 64
bits: 0 is the first byte after the SYN, or the first captured byte. NEVER means "not yet".
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i16, i32, i64, mypyc_attr, u8

from wiredoctor.core.tcp.segment import NEVER
from wiredoctor.core.tcp.waits import Waits

ETHERNET_MSS: Final = 1460
"""The MSS assumed without a SYN: an MTU of 1500 bytes minus 40 bytes of headers."""
ETHERNET_MSS_IPV6: Final = 1440
NO_BASE: Final = -1
"""The value of Side.base while the initial sequence number is unknown."""
SHRANK: Final = 1 << 16
"""The value of Side.widest_window once a side has announced a smaller window than before."""


@mypyc_attr(acyclic=True)
class Clock:
    """The facts about the clock that a side uses for its timestamps; see clocks.py."""

    def __init__(self, time: i64, stamp: i64) -> None:
        self.first_time: i64 = time
        self.first_stamp: i64 = stamp
        """The first TSval of the side. It shows which tick lengths are too long (clocks.is_too_long)."""
        self.time: i64 = time
        self.stamp: i64 = stamp
        """The earlier TSval with which the next TSval is compared."""
        self.unit: i64 = 0
        """The most likely tick length in ns; 0 while no common tick length fits."""
        self.votes: i64 = 0
        """The number of observations that fit the tick length `unit`, minus those that do not."""


@mypyc_attr(acyclic=True)
class Previous:
    """The newest segment with new data of a side, its newest pure ACK that acknowledged new data, and its longest segments.

    A pure ACK that widens a short window is not recorded. If the path carries no segments as long as the MSS, the longest
    segments count as full.
    """

    def __init__(self) -> None:
        self.frame: i64 = NEVER
        self.time: i64 = NEVER
        self.end: i64 = NEVER
        self.length: i64 = 0
        self.room: i64 = NEVER
        """The number of bytes that were free in the receiver's window after the segment."""
        self.message: i64 = NEVER
        self.full: bool = False
        """True if the segment was as long as the MSS, or a multiple of it (segmentation offload). See also `path_mss`."""
        self.small: bool = False
        self.push: bool = False
        self.last_in_flight: bool = False
        self.ends_head: bool = False
        self.ends_message: bool = False
        self.is_chunked: bool = False
        self.ack_frame: i64 = NEVER
        self.ack_time: i64 = NEVER
        self.ack: i64 = NEVER
        self.ack_delay: i64 = NEVER
        self.ack_bytes: i64 = 0
        self.ack_stamp: i64 = NEVER
        """The TSval of the newest pure ACK if it was delayed and the peer echoes this TSval from then on; otherwise NEVER."""
        self.advance_time: i64 = NEVER
        """The time at which a pure ACK of this side last advanced the acknowledgment number."""
        self.ack_gap: i64 = NEVER
        """The time in ns between the newest pure ACK and the previous pure ACK."""
        self.longest: i64 = 0
        """The size in bytes of the longest segment of this side."""
        self.longest_occurred: i64 = 0
        """The number of segments of size `longest` after which more data of the same message followed immediately."""
        self.path_mss: i64 = 0
        """The minimum size in bytes of a segment that counts as full; 0 while the MSS is used."""
        self.pause_start: i64 = NEVER
        """The time of the last data before the newest pause of at least one second; NEVER without such a pause."""
        self.pause_end: i64 = NEVER
        self.pause_frame: i64 = NEVER
        """The frame number of the segment that ended the newest pause of at least one second."""
        self.longest_forgotten: i64 = 0
        """The size in bytes of the longest acknowledged segment that was already dropped from the `Flight`."""
        self.repeated_time: i64 = NEVER
        """The time of the newest retransmission of this side."""
        self.stamp: i64 = NEVER
        """The TSval of the newest segment with new data."""
        self.clock: Clock | None = None
        self.clock_due: i64 = NEVER
        """The earliest time at which another TSval of this side is worth comparing."""


NOTHING: Final = Previous()
"""The state of a side before its first segment."""


@mypyc_attr(acyclic=True)
class Syn:
    """The newest SYN of a side, except that `frame` is the frame number of the side's first SYN."""

    def __init__(self, frame: i64 = NEVER) -> None:
        self.frame: i64 = frame
        """The frame number of the first SYN of this side."""
        self.time: i64 = NEVER
        self.mss: i64 = -1
        self.window_shift: i64 = -1
        self.first_window: i64 = NEVER
        """The window field of the side's first packet after its SYN, if it leaves no room for a full segment; else NEVER."""
        self.window: i64 = 0
        self.has_timestamps: bool = False
        self.stamp: i64 = NEVER
        """The TSval of the SYN."""
        self.mac: i64 = NEVER
        """The MAC address from which the SYN came; NEVER if it did not come over plain Ethernet."""
        self.repeated: bool = False
        self.rtt_is_guess: bool = False
        """True if the round trip to the peer assumes that the newest of several SYNs was answered."""
        self.scale: i64 = -1
        """The window scale shift of this side; -1 until both SYNs were captured."""


@mypyc_attr(acyclic=True)
class Gap:
    """Bytes [start, end) of a stream that were not captured, but were acknowledged or precede captured bytes.

    `most`: the maximum number of bytes that can have been sent during the time in which the gap arose.
    """

    def __init__(self, start: i64, end: i64, acknowledged: bool, most: i64) -> None:
        self.start: i64 = start
        self.end: i64 = end
        self.acknowledged: bool = acknowledged
        self.most: i64 = most


@mypyc_attr(acyclic=True)
class FirstCopy:
    """A segment that was the first to contain the bytes [start, end).

    `reached`: the highest offset that its side had sent when this segment was captured, counting a FIN.
    """

    def __init__(self, frame: i64, time: i64, start: i64, end: i64, reached: i64) -> None:
        self.frame: i64 = frame
        self.time: i64 = time
        self.start: i64 = start
        self.end: i64 = end
        self.reached: i64 = reached
        self.offset: i64 = 0
        self.length: i64 = 0
        self.captured: i64 = 0
        self.place: i64 = NEVER
        """The position of the payload in the capture, as in Packet.block_place, or NEVER if the payload will not be compared."""


@mypyc_attr(acyclic=True)
class Flight:
    """The newest segments with new data of a side, in stream order."""

    def __init__(self, side: Side) -> None:
        self.side: Side | None = side
        """The side that sent the segments; None after its connection has ended."""
        self.segments: list[FirstCopy] = []
        """The segments that arrived in order: each began where the stream had ended."""
        self.unacknowledged: i64 = 0
        """The index in `segments` of the first unacknowledged segment."""
        self.late: list[FirstCopy] | None = None
        """The segments that filled gaps."""

    def clear(self) -> None:
        """Drop all segments, because the connection has ended."""
        self.segments.clear()
        self.late = None
        self.side = None


@mypyc_attr(acyclic=True)
class Path:
    """Changes in the IP headers of a side, and the last idle time of its connection; used in origins.py."""

    def __init__(self, ttl: i64) -> None:
        self.lowest_ttl: i64 = ttl
        self.highest_ttl: i64 = ttl
        self.has_zero_id: bool = False
        """True if the IP identification was 0 after it had been nonzero."""
        self.packets: i64 = 0
        """The number of packets of this side before its IP identification last jumped."""
        self.routed: i64 = 0
        """The number of packets of this side that were captured again, with another time to live (see copies.py)."""
        self.has_second_rst: bool = False
        """True if an RST of this side was captured again, at another place."""
        self.rest_end: i64 = NEVER
        """The time at which this side sent the first packet after the connection's last idle time."""
        self.rest: i64 = 0
        """The time in ns for which the connection was idle before `rest_end`."""


@mypyc_attr(acyclic=True)
class Signs:
    """Evidence that a FIN or RST was not sent by the host that owns its source address; see origins.py."""

    def __init__(self) -> None:
        self.found: i64 = 0
        """The evidence as bits, which are constants in origins.py. The bit for the time to live is not final (see `signs_of`)."""
        self.peer_id: i64 = 0
        """The IP identification of the peer's last packet before the FIN or RST."""
        self.last_id: i64 = 0
        """The IP identification of the last packet of the same side before the FIN or RST."""
        self.trigger_time: i64 = NEVER
        """The capture time of the packet that triggered the FIN or RST, if the host itself could not have responded so early."""
        self.rtt: i64 = NEVER
        """The smallest round trip in ns between the capture point and the host, as known when the FIN or RST was captured."""
        self.ahead: i64 = 0
        """The number of bytes by which the sequence number of the FIN or RST exceeds the expected one."""
        self.later_frame: i64 = NEVER
        """The frame number of the first packet with which the side continues after the FIN or RST."""
        self.later_time: i64 = NEVER
        self.has_own_ttl: bool = False
        """True if the side sent packets after its FIN or RST. A change of path then does not explain a different time to live."""
        self.is_filled: bool = False
        """True if data below the sequence number of the RST was captured after the RST."""
        self.refusal_frame: i64 = NEVER
        """The frame number of the peer's ACK that answers the RST and does not cover the bytes before it."""
        self.refusal_time: i64 = NEVER
        self.is_written: bool = False


@mypyc_attr(acyclic=True)
class Close:
    """The first FIN and the first RST of a side.

    Each has a frame number, a time, the offset that it acknowledges (`*_ack`), a stream offset, and the evidence that another
    host sent it (`*_signs`). `*_ip`: the time to live and IP identification, as in Side.ip.

    `rest_frame` and `rest_time` describe the last payload of either side before the close (FIN or RST, whichever came first).
    They are only set if that payload had arrived and the connection was idle from then until the close. `rest_is_own`: this side
    sent that payload.
    """

    def __init__(self) -> None:
        self.fin_frame: i64 = NEVER
        self.fin_time: i64 = NEVER
        self.fin_ack: i64 = NEVER
        self.fin_offset: i64 = NEVER
        self.fin_ip: i64 = NEVER
        self.fin_signs: Signs | None = None
        self.rst_frame: i64 = NEVER
        self.rst_time: i64 = NEVER
        self.rst_ack: i64 = NEVER
        self.rst_offset: i64 = NEVER
        self.rst_ip: i64 = NEVER
        self.rst_signs: Signs | None = None
        self.rst_mac: i64 = NEVER
        """The MAC address from which the RST came, if another machine than the sender of the SYN sent it; otherwise NEVER."""
        self.reached: i64 = NEVER
        """The value of Side.reached before the RST."""
        self.rest_frame: i64 = NEVER
        self.rest_time: i64 = NEVER
        self.rest_is_own: bool = False


@mypyc_attr(acyclic=True)
class Side:
    """One direction of a connection: what its host has sent and acknowledged."""

    def __init__(self, mss: i64 = ETHERNET_MSS) -> None:
        # these fields are adjacent because they are read together when the row is written; by then the CPU cache lacks them
        self.syn: Syn | None = None
        self.gaps: list[Gap] | None = None
        self.flight: Flight | None = None
        self.previous: Previous | None = None
        self.waits: Waits | None = None
        self.close: Close | None = None
        self.path: Path | None = None
        self.packets: i64 = 0
        self.bytes: i64 = 0
        self.unseen_bytes: i64 = 0
        """The number of acknowledged bytes of this side that were not captured."""
        self.rtt: i64 = NEVER
        self.acknowledged: i64 = NEVER
        """The highest offset in the peer's stream up to which this side has acknowledged data."""
        self.ip: i64 = NEVER
        """IP identification + 1 (bits 0 to 16) and time to live (higher bits) of this side's newest packet without FIN or RST."""
        self.highest: i64 = NEVER
        """The stream offset after the highest captured or acknowledged byte of this side."""
        self.reached: i64 = NEVER
        """The stream offset after the highest byte in the captured packets of this side."""
        self.base: i64 = NO_BASE
        """The sequence number just before the first byte of this side; if a SYN was captured, its sequence number."""
        self.sequence: i64 = 0
        """The stream offset of the newest sequence number."""
        self.sequence_jump: i64 = NEVER
        """The stream offset of a sequence number far from `sequence`; it is used only if the next packet confirms it."""
        self.acknowledgment: i64 = 0
        """The stream offset of the newest acknowledgment number."""
        self.acknowledgment_jump: i64 = NEVER
        """The stream offset of an acknowledgment number far from `acknowledgment`; the next packet has to confirm it."""
        self.mss: i64 = mss
        """The MSS in bytes of this side's segments, not reduced by the timestamps option; without SYNs, the MSS of Ethernet."""
        self.window_edge: i64 = NEVER
        """The offset in the peer's stream at which the newest window of this side ends."""
        self.window: i64 = -1
        """The window field of the newest announcement."""
        self.widest_window: i64 = -1
        """The largest window field of this side after its SYN; SHRANK once a window was clearly smaller."""
        self.letters: i64 = 0
        """The kinds of packets that this side has sent, as bits: letters of history.py, and from bit 16 on those of damage.py."""
        self.last_frame: i64 = NEVER
        self.payload_frame: i64 = NEVER
        """The frame number of this side's newest packet with payload."""
        self.retransmission_frame: i64 = NEVER
        """The frame number of this side's newest retransmission."""
        self.short_window_frame: i64 = NEVER
        """The frame number of this side's newest packet that announced less room than a full segment."""
        self.recent_packet: i64 = -1
        """The number of this side's newest packet in the ring buffer of copies.py, where the search for duplicates begins."""
        self.recent_reached: i64 = 0
        """The highest sequence number of the packets kept by copies.py.

        A packet that ends after this number is not a duplicate.
        """
        self.recent_claimed: i64 = -1
        """The highest acknowledgment number of the packets kept by copies.py; -1 if they acknowledged nothing."""


def waits_of(own: Side) -> Waits:
    """Return the `Waits` of a side; create it if there is none."""
    waits = own.waits
    if waits is None:
        own.waits = waits = Waits()
    return waits


@mypyc_attr(acyclic=True)
class RepeatedSyn:
    """The second, the third and the last SYN that a client sent on one connection."""

    def __init__(self) -> None:
        self.second_frame: i64 = NEVER
        self.second_time: i64 = NEVER
        self.third_time: i64 = NEVER
        self.last_frame: i64 = NEVER
        self.last_time: i64 = NEVER
        self.last_has_extras: bool = False
        self.last_stamp: i64 = NEVER
        self.data_rtt_first: i64 = NEVER
        """The round trip in ns to the first side, measured without the packets of the handshake."""
        self.data_rtt_second: i64 = NEVER
        """The round trip in ns to the second side, measured without the packets of the handshake."""


@mypyc_attr(acyclic=True)
class SynError:
    """The first ICMP error that quotes the client's SYN: its type, its code, and its sender's address in two halves."""

    def __init__(self, frame: i64, time: i64, type: i64, code: i64, high: i64, low: i64) -> None:
        self.frame: i64 = frame
        self.time: i64 = time
        self.type: i64 = type
        self.code: i64 = code
        self.high: i64 = high
        self.low: i64 = low


@mypyc_attr(acyclic=True)
class Handshake:
    """The client's SYN and the replies to it. A SYN has extras if it requests ECN or carries data."""

    def __init__(self) -> None:
        self.syn_frame: i64 = NEVER
        self.syn_time: i64 = NEVER
        # the small fields share eight bytes, because a flood leaves many connections with nothing but a SYN
        self.syns: i32 = 0
        """The number of SYNs until the client acknowledged a SYN-ACK."""
        self.has_extras: bool = False
        self.answered_syn_has_extras: bool = False
        self.echoes_first: bool = False
        """True if the newest SYN-ACK echoes the TSval of the first SYN, and not that of the last SYN before the SYN-ACK."""
        self.answer_ttl: u8 = 0
        """The time to live of the SYN-ACK in `first_answer_frame` or, if there is none, of the RST in `refused_frame`."""
        self.stamp: i64 = NEVER
        """The TSval of the first SYN."""
        self.syn_ack_frame: i64 = NEVER
        """The frame number of the first SYN-ACK of either side."""
        self.repeated: RepeatedSyn | None = None
        self.first_answer_frame: i64 = NEVER
        """The frame number of the first SYN-ACK that came before the client acknowledged anything, or NEVER if there is none."""
        self.first_answer_time: i64 = NEVER
        self.newest_answer_frame: i64 = NEVER
        """The frame number of the last SYN-ACK that came before the client acknowledged anything, or NEVER if there is none."""
        self.newest_answer_time: i64 = NEVER
        self.answered_syn_frame: i64 = NEVER
        """The frame number of the newest SYN before `newest_answer_frame`."""
        self.answered_syn_time: i64 = NEVER
        self.refused_frame: i64 = NEVER
        """The frame number of the first RST that refuses the SYN."""
        self.refused_time: i64 = NEVER
        self.error: SynError | None = None


@mypyc_attr(acyclic=True)
class Former:
    """The previous connection on the same ports.

    `first` and `second`: the sequence number after the last byte of each side, modulo 2**32.
    """

    def __init__(self, first: i64, second: i64, is_turned: bool) -> None:
        self.first: i64 = first
        self.second: i64 = second
        self.is_turned: bool = is_turned
        """The value of Connection.is_turned of the previous connection; it shows which packets the side `first` sent."""


@mypyc_attr(acyclic=True)
class SecondCopies:
    """The number of packets of a connection that were captured twice, and facts about the first of these packets."""

    def __init__(self) -> None:
        self.count: i64 = 0
        self.has_data: bool = False
        self.frame: i64 = NEVER
        self.time: i64 = NEVER
        self.first_frame: i64 = NEVER
        """The frame number of the first copy of the first packet that was captured twice; `frame` is that of the second copy."""
        self.difference: i64 = 0
        """The difference between these copies: 1 interface, 2 link layer, 3 time to live, 4 encapsulation, 0 none."""
        self.routed_frame: i64 = NEVER
        """The frame number of the first duplicate whose time to live differs from that of its earlier copy."""
        self.first_apart: i64 = NEVER
        """The time in ns between both copies of the first packet of the side `first` that was acknowledged between them.

        NEVER if there is none. Such copies were captured by two clocks (host_clocks.py).
        """
        self.second_apart: i64 = NEVER


@mypyc_attr(acyclic=True)
class Altered:
    """The number of packets with payload and a wrong checksum, as long as no other payload of their side was captured.

    `frame`, `time`: those of the first of these packets.
    """

    def __init__(self, frame: i64, time: i64) -> None:
        self.count: i64 = 1
        self.frame: i64 = frame
        self.time: i64 = time


@mypyc_attr(acyclic=True)
class Oddities:
    """Counts and first frames of abnormal observations.

    They concern ACKs of bytes that were not captured, segments longer than their receiver accepts (segmentation offload), bytes
    that were sent twice with different content, reused ports, SYN-ACKs after the client's first ACK, ACKs of an earlier
    connection in answer to a SYN, wrong checksums, packets that were captured twice, and address translation.
    """

    def __init__(self) -> None:
        self.unseen_places: i64 = 0
        self.unseen_frame: i64 = NEVER
        self.unseen_time: i64 = NEVER
        self.unsent_bytes: i64 = 0
        """The number of acknowledged bytes that their apparent sender had never sent (delivery.note_unsent)."""
        self.unsent_frame: i64 = NEVER
        self.unsent_time: i64 = NEVER
        self.unsent_later_frame: i64 = NEVER
        """The frame number of the ACK that proves `unsent_bytes`: its sequence number lies below the acknowledged bytes."""
        self.unsent_later_time: i64 = NEVER
        self.super_segments: i64 = 0
        """The number of segments longer than their receiver accepts."""
        self.super_frame: i64 = NEVER
        self.super_time: i64 = NEVER
        self.super_mss: i64 = -1
        self.conflicts: i64 = 0
        """The number of packets whose bytes differ from those captured earlier at the same offsets."""
        self.conflict_frame: i64 = NEVER
        self.conflict_time: i64 = NEVER
        self.conflict_first_frame: i64 = NEVER
        self.reuse_frame: i64 = NEVER
        """The frame number of the first packet on reused ports, if it is not a SYN."""
        self.reuse_time: i64 = NEVER
        self.late_answer_frame: i64 = NEVER
        """The frame number of a SYN-ACK after the client's first ACK.

        It is the last of these SYN-ACKs before any payload or, if there is none, the first of them.
        """
        self.late_answer_time: i64 = NEVER
        self.challenge_frame: i64 = NEVER
        """The frame number of the first ACK that answers the client's SYN but belongs to an earlier connection."""
        self.challenge_time: i64 = NEVER
        self.clock_shift: i64 = NEVER
        """What must be added to the times of its packets (ns), as computed by host_clocks.ClockShifts; NEVER until then."""
        self.altered: Altered | None = None
        self.damaged_syns: i64 = 0
        """The number of SYNs with a wrong checksum. `damaged_syn_acks`: the number of such SYN-ACKs."""
        self.damaged_syn_acks: i64 = 0
        self.damage: i64 = 0
        """Which checksum of the newest of these packets is wrong, as a result of Checksums.verify; 0 if there is none."""
        self.copies: SecondCopies | None = None
        self.is_second_leg: bool = False
        """True if this is a connection captured a second time, after NAT (translation.py). This second leg is not analyzed."""
        self.translated: bytes | None = None
        """The addresses and ports (packet.key_of) of the client's packets after address translation; None if not captured."""
        self.translated_time: i64 = NEVER
        """The time of the first SYN that was captured after address translation; NEVER if its timestamps do not show that."""


@mypyc_attr(acyclic=True)
class Connection:
    """A TCP connection; `first` is the side that sent its first packet.

    The connection and its HTTP state refer to each other; Core.end breaks this reference cycle.
    """

    def __init__(self, number: i64, key: bytes) -> None:
        self.addresses: i64 = 0
        """A hash of both addresses, as in Packet.addresses."""
        self.ports: i64 = 0
        self.next: Connection | None = None
        """The next connection in the same chain of `Flows`. A connection stays in its chain while `is_followed` is true."""
        self.is_turned: bool = False
        self.is_followed: bool = True
        self.closed: bool = False
        """True if both FINs, or an RST, were captured."""
        self.has_both_syns: bool = False
        self.client_certainty: i16 = 0
        """The kind of evidence that shows which direction is the client's.

        3: the client's SYN, 2: the server's SYN-ACK, 1: what the client sends, 0: no evidence yet.
        """
        self.timestamps: i16 = -1
        """Whether timestamps are used. 1: both SYNs had the option, 0: not both, -1: unknown."""
        self.id: i64 = number
        self.key: bytes = key
        """The addresses and ports of the first packet (packet.key_of)."""
        self.queued_frame: i64 = NEVER
        """The frame number of the connection's newest packet when `Flows.keep_closed` put the connection in its queue."""
        self.queued_clock: i64 = NEVER
        self.first: Side = Side(ETHERNET_MSS_IPV6 if len(key) > 12 else ETHERNET_MSS)
        self.second: Side = Side(ETHERNET_MSS_IPV6 if len(key) > 12 else ETHERNET_MSS)
        self.client: i64 = -1
        """The direction of the client, 0 or 1; -1 while unknown."""
        self.handshake: Handshake | None = None
        self.first_frame: i64 = NEVER
        self.second_frame: i64 = NEVER
        """The frame number of the first packet of the second side."""
        self.last_frame: i64 = NEVER
        self.last_clock: i64 = NEVER
        """The watermark at the connection's last packet: the latest time (ns) in the capture so far."""
        self.start: i64 = NEVER
        self.end: i64 = NEVER
        self.progress_frame: i64 = NEVER
        """The frame number of the newest packet with new data or an advancing ACK."""
        self.progress_time: i64 = NEVER
        self.last_packet: i64 = NEVER
        """The direction and IP identification of the newest packet."""
        self.last_options: i64 = 0
        self.history: i64 = 0
        """The history letters in the order of their first occurrence, 5 bits each; see history.py."""
        self.more_history: i64 = 0
        self.former: Former | None = None
        """The previous connection on these ports, if late packets of it may arrive."""
        self.oddities: Oddities | None = None
        self.http: object | None = None

    def sides(self, direction: i64) -> tuple[Side, Side]:
        """Return the side that sends in a direction, and its peer."""
        return (self.first, self.second) if direction == 0 else (self.second, self.first)

    def strip(self) -> None:
        """Drop the state that only further packets would need.

        Tables, alarms and queues may still refer to the ended connection.
        """
        if self.first.flight is not None:
            self.first.flight.clear()
        if self.second.flight is not None:
            self.second.flight.clear()
        self.first = self.second = GONE
        self.handshake = None
        self.former = None
        self.oddities = None


def oddities_of(connection: Connection) -> Oddities:
    """Return the `Oddities` of a connection; create them if there are none."""
    oddities = connection.oddities
    if oddities is None:
        connection.oddities = oddities = Oddities()
    return oddities


GONE: Final = Side()
"""The placeholder for both sides of an ended connection."""
