"""The state of a connection: two sides. What is rare is made when it first occurs.

Times are nanoseconds since the first packet of the capture, lengths bytes, offsets sequence numbers unwrapped to 64 bits: 0 is
the first byte after the SYN, or the first byte seen. NEVER stands for "not yet".
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64, mypyc_attr

from wiredoctor.core.segment import NEVER

ETHERNET_MSS: Final = 1460
"""Assumed without a SYN: an MTU of 1500 less 40 bytes of headers."""
ETHERNET_MSS_IPV6: Final = 1440
NO_BASE: Final = -1
"""No sequence number."""


@mypyc_attr(acyclic=True)
class Clock:
    """The clock that the time stamps of a side come from, as far as it is known; see clocks.py."""

    def __init__(self, time: i64, stamp: i64) -> None:
        self.first_time: i64 = time
        self.first_stamp: i64 = stamp
        """The first time stamp: no later one can be further from it than the time that has passed."""
        self.time: i64 = time
        self.stamp: i64 = stamp
        """The one that the next is compared with."""
        self.unit: i64 = 0
        """Nanoseconds of a tick, by most of what was seen; 0 while nothing fits."""
        self.votes: i64 = 0
        """What speaks for it, less what speaks against it."""


@mypyc_attr(acyclic=True)
class Previous:
    """The newest segment with new data of a side; its newest pure ACK that acknowledges something new and widens no short
    window; and its longest segments, which are full if the path carries no longer ones."""

    def __init__(self) -> None:
        self.frame: i64 = NEVER
        self.time: i64 = NEVER
        self.end: i64 = NEVER
        self.length: i64 = 0
        self.room: i64 = NEVER
        """Room that it left in the receiver's window."""
        self.message: i64 = NEVER
        self.full: bool = False
        """It was full, and no super-segment with a small end."""
        self.small: bool = False
        self.push: bool = False
        self.last_in_flight: bool = False
        self.ends_head: bool = False
        self.ends_message: bool = False
        self.ack_frame: i64 = NEVER
        self.ack_time: i64 = NEVER
        self.ack: i64 = NEVER
        self.ack_delay: i64 = NEVER
        self.ack_bytes: i64 = 0
        self.advance_time: i64 = NEVER
        """When a segment of this kind advanced the acknowledgment number."""
        self.ack_gap: i64 = NEVER
        """Time since the ACK of this kind before it."""
        self.longest: i64 = 0
        """Bytes of the longest segment of this side."""
        self.longest_occurred: i64 = 0
        """How often more of the message came at once after a segment of this length."""
        self.path_mss: i64 = 0
        """Size from which on segments are full; 0 while it is the MSS."""
        self.pause_start: i64 = NEVER
        """When the data before the newest pause of a second or more was sent; NEVER if there was none."""
        self.pause_end: i64 = NEVER
        self.pause_frame: i64 = NEVER
        """The segment that ended that pause."""
        self.longest_forgotten: i64 = 0
        """Bytes of the longest acknowledged segment whose first copy is forgotten."""
        self.repeated_time: i64 = NEVER
        """Time of the newest retransmission of this side."""
        self.stamp: i64 = NEVER
        """TSval of the newest segment with new data."""
        self.clock: Clock | None = None
        self.clock_due: i64 = NEVER
        """When a time stamp of this side next tells something about its clock."""


@mypyc_attr(acyclic=True)
class Syn:
    """The newest SYN of a side, and whether it was the first."""

    def __init__(self, frame: i64 = NEVER) -> None:
        self.frame: i64 = frame
        """The first SYN."""
        self.time: i64 = NEVER
        self.mss: i64 = -1
        self.window_shift: i64 = -1
        self.has_timestamps: bool = False
        self.stamp: i64 = NEVER
        """Its TSval."""
        self.repeated: bool = False
        self.scale: i64 = -1
        """Shift of the windows that this side announces; -1 while not both SYNs were seen."""


@mypyc_attr(acyclic=True)
class Gap:
    """Bytes [start, end) that were not seen, though later ones were, or though they were acknowledged. `most`: no more can have
    passed in its time."""

    def __init__(self, start: i64, end: i64, acknowledged: bool, most: i64) -> None:
        self.start: i64 = start
        self.end: i64 = end
        self.acknowledged: bool = acknowledged
        self.most: i64 = most


@mypyc_attr(acyclic=True)
class Sent:
    """The first copy of some bytes: a segment, [start, end) of it being new.

    `reached` is the highest offset of its side after it, its FIN included.
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
        """Where its payload begins in the capture, as in Packet.place; NEVER if it is not compared."""


@mypyc_attr(acyclic=True)
class Flight:
    """The first copies of a side's newest bytes, in the order of the stream."""

    def __init__(self, side: Side) -> None:
        self.side: Side | None = side
        """None once its connection is over."""
        self.segments: list[Sent] = []
        """Those that continued the stream."""
        self.unacknowledged: i64 = 0
        """Index of the first of them that is not acknowledged."""
        self.late: list[Sent] | None = None
        """Those that came late, into a gap."""

    def clear(self) -> None:
        """Forget all copies: the connection is over."""
        self.segments.clear()
        self.late = None
        self.side = None


@mypyc_attr(acyclic=True)
class Path:
    """What changed in the IP headers of a side, or rested on its connection; see origins.py."""

    def __init__(self, ttl: i64) -> None:
        self.lowest_ttl: i64 = ttl
        self.highest_ttl: i64 = ttl
        self.has_zero_id: bool = False
        """The identification was 0 after it had been another."""
        self.packets: i64 = 0
        """Packets of the side before its identification last jumped."""
        self.rest_end: i64 = NEVER
        """When it sent the first packet after the last rest of the connection."""
        self.rest: i64 = 0
        """How long nobody had sent anything before that."""


@mypyc_attr(acyclic=True)
class Signs:
    """What speaks against a FIN or an RST being sent by the host whose address it carries; see origins.py."""

    def __init__(self) -> None:
        self.found: i64 = 0
        """As origins.NAMES, but for the time to live, which is compared with later packets, too."""
        self.peer_id: i64 = 0
        """IP identification of the peer's last packet before it."""
        self.last_id: i64 = 0
        """The same of its own side."""
        self.trigger_time: i64 = NEVER
        """When that passed the capture point which it came too early for."""
        self.rtt: i64 = NEVER
        """Smallest round trip between the capture point and its host by then."""
        self.ahead: i64 = 0
        """Bytes between the next byte expected and its sequence number."""
        self.later_frame: i64 = NEVER
        """The first packet with which its side goes on."""
        self.later_time: i64 = NEVER
        self.is_written: bool = False


@mypyc_attr(acyclic=True)
class Close:
    """The first FIN and the first RST of a side: packet, time, what it acknowledges (`*_ack`), where it is in the stream, its
    time to live and IP identification (`*_ip`, as Side.ip), and what speaks against its sender.

    `rest_frame` and `rest_time`: the newest payload of either side before the first of the two, if it had arrived and more could
    have followed; `rest_is_own`: it is of this side.
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
        self.reached: i64 = NEVER
        """Side.reached before the RST."""
        self.rest_frame: i64 = NEVER
        self.rest_time: i64 = NEVER
        self.rest_is_own: bool = False


@mypyc_attr(acyclic=True)
class Run:
    """Small segments in a row, without a pause and without an answer."""

    def __init__(self) -> None:
        self.last_frame: i64 = NEVER
        self.segments: i64 = 0
        self.bytes: i64 = 0
        self.flushes: i64 = 0
        """Those that came so late after the one before that this was flushed on purpose."""
        self.frame: i64 = NEVER
        """The first of them."""
        self.time: i64 = NEVER


@mypyc_attr(acyclic=True)
class Claim:
    """A small segment was sent at `time` after unacknowledged small data that ended at `end`. So Nagle is off, unless the ACK of
    that data was captured late."""

    def __init__(self, time: i64, end: i64) -> None:
        self.time: i64 = time
        self.end: i64 = end


@mypyc_attr(acyclic=True)
class Nagle:
    """What proves that a side does not use Nagle's algorithm, and a segment that its tail loss probe may have carried."""

    def __init__(self) -> None:
        self.off_since: i64 = NEVER
        self.claim_time: i64 = NEVER
        """When the first claim that is not settled was made, as Claim.time."""
        self.claim_end: i64 = NEVER
        """As Claim.end."""
        self.later_claims: list[Claim] | None = None
        """The others; both their times and their ends rise."""
        self.probe_frame: i64 = NEVER
        self.probe_data_end: i64 = NEVER
        self.probe_end: i64 = NEVER


@mypyc_attr(acyclic=True)
class HeldRelease:
    """A row of `releases` that is not written before it is known whether its program writes on a clock of its own (pace.py)."""

    def __init__(self, cells: bytes, start: i64, gap: i64, due: i64) -> None:
        self.cells: bytes = cells
        self.start: i64 = start
        """When the data before the segment was sent."""
        self.gap: i64 = gap
        """Time from then to the segment."""
        self.due: i64 = due
        """The watermark at which it is decided by what is known."""
        self.alike: i64 = 0
        """Gaps as long, before and after."""
        self.alike_before: i64 = 0
        self.later: i64 = 0
        """Gaps after it."""
        self.is_message: bool = False
        """Of an HTTP message that is no event stream: what comes after its end, or after the capture, is no gap of it."""
        self.is_sure: bool = True
        """Nothing of its side was lost that may show its pace."""
        self.is_over: bool = False
        """It was written, or dropped."""


@mypyc_attr(acyclic=True)
class Watch:
    """Looks for an answer on another connection of two hosts, after a delayed ACK of one of them."""

    def __init__(self, addresses: i64, ports: i64, is_turned: bool, until: i64) -> None:
        self.addresses: i64 = addresses
        """As in Packet, like the next two; of the ACK."""
        self.ports: i64 = ports
        self.is_turned: bool = is_turned
        self.until: i64 = until
        self.is_answered: bool = False


@mypyc_attr(acyclic=True)
class Pace:
    """The gaps before segments that nothing held back, the newest ones, and what waits for more of them."""

    def __init__(self) -> None:
        self.gaps: list[int] = []
        self.next: i64 = 0
        """Index of the oldest gap, once there are so many that it is replaced."""
        self.count: i64 = 0
        """All these gaps, and those of `released`."""
        self.released: i64 = 0
        """Small segments that left as a prompt ACK of the one before came."""
        self.is_torn: bool = False
        """A gap opened in what this side sent: segments that show its pace may be lost."""
        self.chances: i64 = 0
        """Segments that left as a delayed ACK came, while it was not known whether the side uses Nagle's algorithm."""
        self.held: list[HeldRelease] = []
        self.watch: Watch | None = None
        """After the newest delayed ACK of this side's data."""


@mypyc_attr(acyclic=True)
class Stall:
    """A time without forward progress that retransmissions of a side may end."""

    def __init__(self) -> None:
        self.progress_frame: i64 = NEVER
        self.progress_time: i64 = NEVER
        self.first_frame: i64 = NEVER
        self.first_time: i64 = NEVER
        self.retransmission_frame: i64 = NEVER
        self.retransmission_time: i64 = NEVER
        self.retransmission_bytes: i64 = 0
        self.is_first_copy: bool = False
        self.tries: i64 = 0
        self.duplicate_acks: i64 = 0
        self.original_stamp: i64 = NEVER
        """TSval of the first copy of what was waited for."""
        self.first_stamp: i64 = NEVER
        """TSval of the first retransmission of it."""


@mypyc_attr(acyclic=True)
class ClosedWindow:
    """A window that its receiver closed."""

    def __init__(self) -> None:
        self.is_closed: bool = False
        self.closed_frame: i64 = NEVER
        self.closed_time: i64 = NEVER
        self.closed_window: i64 = 0
        self.probes: i64 = 0
        self.probe_frame: i64 = NEVER
        self.probe_time: i64 = NEVER
        self.opened_frame: i64 = NEVER
        """The packet that opened it; NEVER while it is closed, and once the sender has gone on."""
        self.opened_time: i64 = NEVER
        self.announced_frame: i64 = NEVER
        """Its newest announcement while it was closed."""
        self.announced_time: i64 = NEVER
        self.timers: i64 = 0
        """Segments that filled what was left of it, late; and those that did so at once."""
        self.prompt: i64 = 0
        self.is_refusing: bool = False
        """It was announced while data was outstanding, and acknowledged none of it."""
        self.copies: i64 = 0
        """Segments of that data that were sent again while it was closed."""
        self.copy_frame: i64 = NEVER
        """The first of them."""
        self.copy_time: i64 = NEVER
        self.resumed_frame: i64 = NEVER
        """The first segment of it that was sent again with room."""
        self.resumed_time: i64 = NEVER


@mypyc_attr(acyclic=True)
class WindowStall:
    """Times in a row in which a window held its sender up, of one sort (window_stalls.SORTS)."""

    def __init__(self, sort: i64) -> None:
        self.sort: i64 = sort
        self.count: i64 = 0
        self.start_frame: i64 = NEVER
        """The announcement with which the first of them begins."""
        self.start_time: i64 = NEVER
        self.window: i64 = 0
        """The largest window in that time: 0, or less than one MSS."""
        self.waited: i64 = 0
        """Their sum."""
        self.shut: i64 = 0
        """What of it the window was closed."""
        self.copies: i64 = 0
        self.copy_frame: i64 = NEVER
        """The first segment that was sent again while the window was closed."""
        self.copy_time: i64 = NEVER
        self.opened_frame: i64 = NEVER
        """What opened the window in the first of them; NEVER if nothing did."""
        self.opened_time: i64 = NEVER
        self.sent_frame: i64 = NEVER
        """The segment that was sent when the first of them was over."""
        self.sent_time: i64 = NEVER
        self.sent_bytes: i64 = 0
        self.end_frame: i64 = NEVER
        """The end of the last of them."""
        self.end_time: i64 = NEVER


@mypyc_attr(acyclic=True)
class DataError:
    """An ICMP error that quotes data of a side: its place in the stream, and as core.icmp.Message."""

    def __init__(self, frame: i64, time: i64, offset: i64) -> None:
        self.frame: i64 = frame
        self.time: i64 = time
        self.offset: i64 = offset
        self.type: i64 = 0
        self.code: i64 = 0
        self.mtu: i64 = NEVER
        self.address_bytes: i64 = 0
        self.high: i64 = 0
        self.low: i64 = 0


@mypyc_attr(acyclic=True)
class Repetition:
    """The lowest data of a side that is not acknowledged, or a FIN, which it sends again and again; or data that was
    acknowledged and comes again all the same. `peer_*`: packets of the peer since the first copy."""

    def __init__(self, start: i64, was_acknowledged: bool) -> None:
        self.start: i64 = start
        """Offset of its first byte, or of the FIN."""
        self.was_acknowledged: bool = was_acknowledged
        """An ACK that covers it had passed before it came again."""
        self.is_fin: bool = False
        """A FIN without data."""
        self.copies: i64 = 1
        """With the first."""
        self.length: i64 = 0
        self.mss: i64 = 0
        self.first_frame: i64 = NEVER
        self.first_time: i64 = NEVER
        self.second_frame: i64 = NEVER
        self.second_time: i64 = NEVER
        self.last_frame: i64 = NEVER
        self.last_time: i64 = NEVER
        self.heard_frame: i64 = NEVER
        """The newest packet of the peer before the second copy."""
        self.heard_time: i64 = NEVER
        self.peer_frame: i64 = NEVER
        """Its newest packet."""
        self.peer_time: i64 = NEVER
        self.rest: i64 = 0
        """Time without payload before the first copy, or before the message that it answers."""
        self.unseen_bytes: i64 = 0
        """Bytes of the peer that the capture lacked at the second copy."""
        self.own_acknowledged: i64 = NEVER
        """What the side itself had acknowledged then."""
        self.exchange: i64 = -1
        self.is_http: bool = False
        self.is_continued: bool = False
        """An earlier part of its message was acknowledged, or the peer was sending one."""
        self.is_owed: bool = False
        """A FIN: the peer still had to send the rest of a message."""


@mypyc_attr(acyclic=True)
class Waits:
    """What few sides need: evidence about Nagle, a run of small segments, a stall, data that is sent again and again, and windows
    that this side closed."""

    def __init__(self) -> None:
        self.nagle: Nagle | None = None
        self.pace: Pace | None = None
        self.run: Run | None = None
        self.stall: Stall | None = None
        self.repetition: Repetition | None = None
        self.error: DataError | None = None
        self.duplicate_acks: i64 = 0
        """Duplicate ACKs of this side since its ACK last advanced."""
        self.sack_frame: i64 = NEVER
        """The newest packet of this side that reported by SACK what it holds after a gap."""
        self.sack_time: i64 = NEVER
        self.sack_start: i64 = NEVER
        """The first block of it: the newest data that it reports."""
        self.sack_end: i64 = NEVER
        self.zero_window: ClosedWindow | None = None
        """A window of 0 that this side announced."""
        self.short_window: ClosedWindow | None = None
        """A window of less than one MSS that it announced."""
        self.window_stall: WindowStall | None = None
        """How its windows held the peer up lately."""
        self.refused_end: i64 = NEVER
        """Offset of the peer's stream up to which data came that had no room in a window of 0."""
        self.resumed_end: i64 = NEVER
        """Offset up to which that was sent again with room."""


@mypyc_attr(acyclic=True)
class Side:
    """One direction of a connection."""

    def __init__(self, mss: i64 = ETHERNET_MSS) -> None:
        # what its row is made of and what is freed with it is close together: then the connection is in no cache any more
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
        """Bytes that the peer acknowledged and the capture lacks."""
        self.rtt: i64 = NEVER
        self.acknowledged: i64 = NEVER
        """Highest offset of the peer's stream that this side acknowledged."""
        self.ip: i64 = NEVER
        """IP identification + 1 and time to live (from bit 17 on) of its newest packet without FIN and RST."""
        self.highest: i64 = NEVER
        """Stream offset after the highest byte seen, or known by an ACK of the peer."""
        self.reached: i64 = NEVER
        """The same of its own packets alone."""
        self.base: i64 = NO_BASE
        """The sequence number before its first byte: that of its SYN."""
        self.sequence: i64 = 0
        """Offset of its newest sequence number."""
        self.sequence_jump: i64 = NEVER
        """Offset of a sequence number far from that, which counts once the next packet agrees."""
        self.acknowledgment: i64 = 0
        """Offset of its newest acknowledgment number."""
        self.acknowledgment_jump: i64 = NEVER
        """As `sequence_jump`."""
        self.mss: i64 = mss
        """Longest segment that both SYNs allow, or Ethernet; the time-stamp option still comes off."""
        self.window_edge: i64 = NEVER
        """Offset of the peer's stream after the window that this side announced last."""
        self.window: i64 = -1
        """Window field of that announcement."""
        self.letters: i64 = 0
        """Letters of the history that this side has, as bits."""
        self.last_frame: i64 = NEVER
        self.payload_frame: i64 = NEVER
        """Its newest packet with payload."""
        self.retransmission_frame: i64 = NEVER
        """Its newest retransmission."""
        self.short_window_frame: i64 = NEVER
        """Its newest packet that announced no room for a full segment."""
        self.recent_packet: i64 = -1
        """Number of its newest packet among those that copies.py remembers, in which second copies are looked for."""
        self.recent_reached: i64 = 0
        """Highest sequence number of these packets: what is not beyond it may be a second copy."""
        self.recent_claimed: i64 = -1
        """The same of their acknowledgment numbers; -1 if they acknowledged nothing."""
        self.rtt_is_guess: bool = False
        """Several SYNs were sent, and the newest was taken for the answered one."""


def waits_of(own: Side) -> Waits:
    """Return the `Waits` of a side; create it if there is none."""
    waits = own.waits
    if waits is None:
        own.waits = waits = Waits()
    return waits


@mypyc_attr(acyclic=True)
class RepeatedSyn:
    """SYNs of the client after its first."""

    def __init__(self) -> None:
        self.second_frame: i64 = NEVER
        self.second_time: i64 = NEVER
        self.third_time: i64 = NEVER
        self.last_frame: i64 = NEVER
        self.last_time: i64 = NEVER
        self.last_has_extras: bool = False
        self.data_rtt_first: i64 = NEVER
        """Round trip to the first side that data shows, without the handshake."""
        self.data_rtt_second: i64 = NEVER
        """The same to the second side."""


@mypyc_attr(acyclic=True)
class SynError:
    """The first ICMP error that quotes the client's SYN: its type and code, and the address of its sender in two halves."""

    def __init__(self, frame: i64, time: i64, type: i64, code: i64, high: i64, low: i64) -> None:
        self.frame: i64 = frame
        self.time: i64 = time
        self.type: i64 = type
        self.code: i64 = code
        self.high: i64 = high
        self.low: i64 = low


@mypyc_attr(acyclic=True)
class Handshake:
    """The client's SYN, and what came of it. It has extras if it asks for ECN or carries data."""

    def __init__(self) -> None:
        self.syn_frame: i64 = NEVER
        self.syn_time: i64 = NEVER
        self.syns: i64 = 0
        """SYNs until the client acknowledged an answer."""
        self.has_extras: bool = False
        self.syn_ack_frame: i64 = NEVER
        """The first SYN-ACK of either side."""
        self.repeated: RepeatedSyn | None = None
        self.first_answer_frame: i64 = NEVER
        """The first SYN-ACK before the client acknowledged anything."""
        self.first_answer_time: i64 = NEVER
        self.newest_answer_frame: i64 = NEVER
        """The newest such SYN-ACK."""
        self.newest_answer_time: i64 = NEVER
        self.answered_syn_frame: i64 = NEVER
        """The newest SYN before that SYN-ACK."""
        self.answered_syn_time: i64 = NEVER
        self.answered_syn_has_extras: bool = False
        self.refused_frame: i64 = NEVER
        """The first RST that refuses the SYN."""
        self.refused_time: i64 = NEVER
        self.error: SynError | None = None


@mypyc_attr(acyclic=True)
class Former:
    """Where the connection was that had the ports before: the next sequence number of each side, modulo 2**32."""

    def __init__(self, first: i64, second: i64, is_turned: bool) -> None:
        self.first: i64 = first
        self.second: i64 = second
        self.is_turned: bool = is_turned
        """As Connection.is_turned: what `first` is."""


@mypyc_attr(acyclic=True)
class Oddities:
    """What should not be in a capture: ACKs of bytes that it lacks, super-segments, copies that differ, ports used again."""

    def __init__(self) -> None:
        self.unseen_places: i64 = 0
        self.unseen_frame: i64 = NEVER
        self.unseen_time: i64 = NEVER
        self.super_segments: i64 = 0
        """Segments longer than their receiver takes."""
        self.super_frame: i64 = NEVER
        self.super_time: i64 = NEVER
        self.super_mss: i64 = -1
        self.conflicts: i64 = 0
        """Packets with other bytes than were sent before."""
        self.conflict_frame: i64 = NEVER
        self.conflict_time: i64 = NEVER
        self.conflict_first_frame: i64 = NEVER
        self.former: Former | None = None
        """The connection that had the ports before, if its packets may come late."""
        self.reuse_frame: i64 = NEVER
        """The first packet of a connection on ports that are used again, if that is no SYN."""
        self.reuse_time: i64 = NEVER


@mypyc_attr(acyclic=True)
class SecondCopies:
    """Packets of a connection that were captured twice: how many, and the first of them."""

    def __init__(self) -> None:
        self.count: i64 = 0
        self.has_data: bool = False
        self.frame: i64 = NEVER
        self.time: i64 = NEVER
        self.first_frame: i64 = NEVER
        """The frame of its first copy."""
        self.difference: i64 = 0
        """What tells the two apart: 1 interface, 2 link layer, 3 time to live, 4 encapsulation, 0 nothing."""
        self.routed_frame: i64 = NEVER
        """The first second copy with another time to live than its first copy."""


@mypyc_attr(acyclic=True)
class Connection:
    """A TCP connection; `first` is the side that sent its first packet. Core.end ends the cycle with its HTTP."""

    def __init__(self, number: i64, key: bytes) -> None:
        self.addresses: i64 = 0
        """As in Packet."""
        self.ports: i64 = 0
        self.next: Connection | None = None
        """The next one in its chain of Flows, which keeps it while `is_followed`."""
        self.is_turned: bool = False
        self.is_followed: bool = True
        self.closed: bool = False
        """Both FINs or an RST were seen."""
        self.has_both_syns: bool = False
        self.id: i64 = number
        self.key: bytes = key
        """packet.key_of its first packet."""
        self.queued_frame: i64 = NEVER
        """Its last packet when Flows noted that it is closed."""
        self.queued_clock: i64 = NEVER
        self.first: Side = Side(ETHERNET_MSS_IPV6 if len(key) > 12 else ETHERNET_MSS)
        self.second: Side = Side(ETHERNET_MSS_IPV6 if len(key) > 12 else ETHERNET_MSS)
        self.client: i64 = -1
        """Direction of the client, 0 or 1; -1 while nothing tells."""
        self.client_certainty: i64 = 0
        """3: its SYN, 2: the peer's SYN-ACK, 1: what it sends, 0: unknown."""
        self.handshake: Handshake | None = None
        self.timestamps: i64 = -1
        """1 if both SYNs carried the time-stamp option, 0 if not, -1 while unknown."""
        self.first_frame: i64 = NEVER
        self.second_frame: i64 = NEVER
        """The first packet of the second side."""
        self.last_frame: i64 = NEVER
        self.last_clock: i64 = NEVER
        """The watermark at its last packet."""
        self.start: i64 = NEVER
        self.end: i64 = NEVER
        self.progress_frame: i64 = NEVER
        """The newest packet with new data, or an ACK that advances."""
        self.progress_time: i64 = NEVER
        self.last_packet: i64 = NEVER
        """Direction and identification of the newest packet."""
        self.last_options: i64 = 0
        self.history: i64 = 0
        """Letters in the order in which they first occurred, 5 bits each; see history.py."""
        self.more_history: i64 = 0
        self.oddities: Oddities | None = None
        self.copies: SecondCopies | None = None
        self.http: object | None = None

    def strip(self) -> None:
        """Drop what only further packets need: tables, alarms and queues may refer to a connection that is over."""
        if self.first.flight is not None:
            self.first.flight.clear()
        if self.second.flight is not None:
            self.second.flight.clear()
        self.first = self.second = GONE
        self.handshake = None
        self.oddities = None
        self.copies = None


GONE: Final = Side()
"""Both sides of a connection that is over."""
