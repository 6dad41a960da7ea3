"""The state of a side that waits for an ACK, a window or a retransmission, or whose data is released after a wait.

Most connections need none of it; each part is created on first use. For units and NEVER, see connection.py.
"""

from __future__ import annotations

from mypy_extensions import i64, mypyc_attr

from wiredoctor.core.tcp.segment import NEVER


@mypyc_attr(acyclic=True)
class Run:
    """A run of consecutive small segments without a pause or a reply."""

    def __init__(self) -> None:
        self.last_frame: i64 = NEVER
        self.segments: i64 = 0
        self.bytes: i64 = 0
        self.flushes: i64 = 0
        """The number of segments that followed so late that the application must have flushed the previous one on purpose."""
        self.frame: i64 = NEVER
        """The frame number of the first segment of the run."""
        self.time: i64 = NEVER


@mypyc_attr(acyclic=True)
class Claim:
    """A small segment that was sent at `time` although small data up to offset `end` was unacknowledged.

    The segment proves that Nagle's algorithm is off, unless the ACK of that data was captured too late. `next_end`: the offset at
    which the segment ends. `time` is a watermark (Packet.clock).
    """

    def __init__(self, time: i64, end: i64, next_end: i64) -> None:
        self.time: i64 = time
        self.end: i64 = end
        self.next_end: i64 = next_end


@mypyc_attr(acyclic=True)
class Nagle:
    """Evidence that a side does not use Nagle's algorithm, and a segment of this side that may be a tail loss probe."""

    def __init__(self) -> None:
        self.off_since: i64 = NEVER
        self.claim_time: i64 = NEVER
        """The `time` of the first Claim that is neither proved nor refuted, or NEVER if there is none."""
        self.claim_end: i64 = NEVER
        """The `end` of the first Claim that is neither proved nor refuted, or NEVER if there is none."""
        self.claim_next_end: i64 = NEVER
        """The `next_end` of the first Claim that is neither proved nor refuted, or NEVER if there is none."""
        self.later_claims: list[Claim] | None = None
        """The other claims that are neither proved nor refuted, in ascending order of `time` and `end`."""
        self.probe_frame: i64 = NEVER
        self.probe_data_end: i64 = NEVER
        self.probe_end: i64 = NEVER


@mypyc_attr(acyclic=True)
class HeldRelease:
    """A row of `releases` that is held until it is known whether the sending program writes at regular times (pace.py)."""

    def __init__(self, cells: bytes, start: i64, gap: i64, due: i64) -> None:
        self.cells: bytes = cells
        self.start: i64 = start
        """The time of the previous data: the last segment with new data before the one that the row describes."""
        self.gap: i64 = gap
        """The time in ns from `start` to the segment that the row describes."""
        self.due: i64 = due
        """The watermark at which the row is written or dropped at the latest."""
        self.alike: i64 = 0
        """The number of gaps before and after the segment that are about as long as `gap`.

        `alike_before`: the number of those gaps that come before the segment.
        """
        self.alike_before: i64 = 0
        self.later: i64 = 0
        """The number of known gaps after the segment."""
        self.is_message: bool = False
        """True if the segment is part of an HTTP message other than an event stream."""
        self.is_sure: bool = True
        """True if all packets of this side that may show a regular interval were captured."""
        self.is_over: bool = False
        """True if the row was written or dropped."""


@mypyc_attr(acyclic=True)
class Watch:
    """Waits for data on another connection of the same two hosts, soon after one of the hosts sent a delayed ACK.

    Such data may be a reaction to the data that the ACK acknowledges.
    """

    def __init__(self, addresses: i64, ports: i64, is_turned: bool, until: i64) -> None:
        self.addresses: i64 = addresses
        """Packet.addresses of the delayed ACK. `ports` and `is_turned` are also from this packet."""
        self.ports: i64 = ports
        self.is_turned: bool = is_turned
        self.until: i64 = until
        self.is_answered: bool = False


@mypyc_attr(acyclic=True)
class Write:
    """A segment with data that may have been written together with equal segments for other receivers (broadcasts.py)."""

    def __init__(self, host: i64, addresses: i64, ports: i64, length: i64, time: i64, quiet: i64) -> None:
        self.host: i64 = host
        """A number for the address of the sender."""
        self.addresses: i64 = addresses
        """Packet.addresses of the segment. `ports` is also from this packet."""
        self.ports: i64 = ports
        self.length: i64 = length
        self.time: i64 = time
        self.quiet: i64 = quiet
        """The time in ns since the peer's newest packet.

        While a row about the segment is held, another segment counts as its copy only after at least the same quiet time.
        """
        self.held: HeldRelease | None = None
        """The held row about the segment, if there is one."""


@mypyc_attr(acyclic=True)
class Pace:
    """The newest gaps of a side whose length its program chose. They show whether the program writes at regular times.

    A gap is the time between two segments with new data (pace.py). `held`: pending rows, which are written or dropped when later
    gaps are known.
    """

    def __init__(self) -> None:
        self.gaps: list[int] = []
        self.next: i64 = 0
        """The index of the oldest gap, which the next gap replaces once the list is full."""
        self.written: list[int] = []
        """The newest gaps after segments that were sent as soon as they were written, as far as is known."""
        self.waited_frame: i64 = NEVER
        """The frame number of the newest segment that may have waited for a delayed ACK, which makes the gap after it shorter."""
        self.count: i64 = 0
        """The number of recorded gaps: those that the program chose, and those before the segments in `released`."""
        self.released: i64 = 0
        """The number of segments that were sent when a prompt ACK of the previous, small segment arrived."""
        self.release_time: i64 = 0
        """The sum of the times in ns from the arrival of a prompt ACK to the segment, over the segments in `released`."""
        self.is_torn: bool = False
        """True if bytes of this side's stream were not captured. They may include segments that show regular writes."""
        self.chances: i64 = 0
        """The number of segments that came just after a delayed ACK while it was unknown whether this side uses Nagle's
        algorithm.
        """
        self.slow_ack: i64 = 0
        """The longest recent delay in ns of an ACK before a segment that a cork may have held back."""
        self.held: list[HeldRelease] = []
        self.watch: Watch | None = None
        """The watch that began with the newest delayed ACK of this side's data."""


@mypyc_attr(acyclic=True)
class Damage:
    """What the checksums of the copies of repeated data show (damage.py)."""

    def __init__(self, start: i64) -> None:
        self.start: i64 = start
        """The offset of the data."""
        self.frame: i64 = NEVER
        """The frame number of the newest copy."""
        self.newest: i64 = 0
        """The result of Checksums.verify for the newest copy."""
        self.copies: i64 = 0
        """The number of copies with a wrong checksum."""
        self.checksum: i64 = 0
        """The newest result of Checksums.verify that means a wrong checksum; 0 if there is none."""


@mypyc_attr(acyclic=True)
class Stall:
    """A time without progress (new data, a FIN, or an ACK of more bytes) that retransmissions by one side may have ended."""

    def __init__(self) -> None:
        self.progress_frame: i64 = NEVER
        self.progress_time: i64 = NEVER
        self.highest: i64 = NEVER
        """The highest offset that the sender had sent when the stall was recorded."""
        self.peer_highest: i64 = NEVER
        """The highest offset that the sender's peer had sent when the stall was recorded."""
        self.first_frame: i64 = NEVER
        self.first_time: i64 = NEVER
        self.retransmission_frame: i64 = NEVER
        self.retransmission_time: i64 = NEVER
        self.retransmission_bytes: i64 = 0
        self.lost_bytes: i64 = 0
        """The payload length of the largest earlier retransmission that was no larger than the MSS."""
        self.is_first_copy: bool = False
        self.tries: i64 = 0
        self.duplicate_acks: i64 = 0
        self.original_stamp: i64 = NEVER
        """The TSval of the missing segment when it was first sent."""
        self.first_stamp: i64 = NEVER
        """The TSval of the first retransmission of the missing segment."""
        self.last_stamp: i64 = NEVER
        """The TSval of the newest retransmission of the missing segment."""
        self.echo: i64 = NEVER
        """The TSecr of a segment that may be a retransmission (`Waits.lone`), or of the newest retransmission of acknowledged
        data (`Waits.unheard`); NEVER for other segments.
        """


@mypyc_attr(acyclic=True)
class ClosedWindow:
    """A receive window that the receiver closed, and what the sender sent before it resumed sending new data."""

    def __init__(self) -> None:
        self.is_closed: bool = False
        self.closed_frame: i64 = NEVER
        self.closed_time: i64 = NEVER
        self.closed_window: i64 = 0
        self.probes: i64 = 0
        self.probe_frame: i64 = NEVER
        self.probe_time: i64 = NEVER
        self.unanswered: i64 = 0
        """The number of probes since the newest announcement of the closed window."""
        self.opened_frame: i64 = NEVER
        """The frame number of the packet that opened the window; NEVER while it is closed, or after the sender has continued."""
        self.opened_time: i64 = NEVER
        self.announced_frame: i64 = NEVER
        """The frame number of the newest packet that announced the closed window."""
        self.announced_time: i64 = NEVER
        self.timers: i64 = 0
        """The number of segments that filled a small window after a wait. `prompt`: the number that filled it at once."""
        self.prompt: i64 = 0
        self.is_refusing: bool = False
        """True if the closed window was announced while data was in flight. The receiver probably discarded that data."""
        self.copies: i64 = 0
        """The number of retransmissions of more than one byte while the window was closed; smaller ones are window probes."""
        self.copy_frame: i64 = NEVER
        """The frame number of the first retransmission that `copies` counts."""
        self.copy_time: i64 = NEVER
        self.refused: i64 = 0
        """The maximum number of bytes in flight at an announcement of the closed window."""
        self.resumed_frame: i64 = NEVER
        """The frame number of the first retransmission of discarded data after the window had opened."""
        self.resumed_time: i64 = NEVER


@mypyc_attr(acyclic=True)
class WindowStall:
    """Consecutive delays of one kind (window_stalls.SORTS) that small or closed windows of the sender's peer caused."""

    def __init__(self, sort: i64) -> None:
        self.sort: i64 = sort
        self.count: i64 = 0
        self.start_frame: i64 = NEVER
        """The frame number of the window announcement with which the first delay begins."""
        self.start_time: i64 = NEVER
        self.window: i64 = 0
        """The largest window in bytes during the first delay: 0, or less than one MSS."""
        self.waited: i64 = 0
        """The sum of the delays in ns."""
        self.shut: i64 = 0
        """The part of `waited`, in ns, during which the window was 0."""
        self.refused: i64 = 0
        """The largest ClosedWindow.refused of the delays."""
        self.copies: i64 = 0
        self.copy_frame: i64 = NEVER
        """The frame number of the first segment that was retransmitted while the window was closed."""
        self.copy_time: i64 = NEVER
        self.opened_frame: i64 = NEVER
        """The frame number of the packet that opened the window in the first delay, or NEVER if none did."""
        self.opened_time: i64 = NEVER
        self.sent_frame: i64 = NEVER
        """The frame number of the segment that was sent at the end of the first delay."""
        self.sent_time: i64 = NEVER
        self.sent_bytes: i64 = 0
        self.end_frame: i64 = NEVER
        """The frame number of the packet that ended the last delay."""
        self.end_time: i64 = NEVER


@mypyc_attr(acyclic=True)
class DataError:
    """An ICMP error that quotes data of a side: the stream offset of that data, and the fields of icmp.Message."""

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
    """Data or a FIN that a side sends repeatedly: its lowest unacknowledged bytes, or bytes that were acknowledged before.

    The fields `peer_*` describe packets that the peer sent after the data was first sent.
    """

    def __init__(self, start: i64, was_acknowledged: bool) -> None:
        self.start: i64 = start
        """The offset of the first repeated byte, or of the FIN."""
        self.was_acknowledged: bool = was_acknowledged
        """True if an ACK of the data had already been captured when the data was sent for the second time."""
        self.is_fin: bool = False
        """True if a FIN without data is repeated."""
        self.is_probe: bool = False
        """True if keep-alive probes are repeated. Then `start` is their offset, just below the highest sequence number."""
        self.bare: i64 = 0
        """The number of retransmissions or probes without the timestamps option, although both SYNs had it."""
        self.was_reset: bool = False
        """True if the peer answered the data with the RST of a host that does not know the connection."""
        self.is_answer: bool = False
        """True if the peer sent the newest payload before the first transmission of the data, so the data may answer it."""
        self.copies: i64 = 1
        """The number of known captured copies of the data, including the first; 0 for missing data (unacknowledged.py)."""
        self.length: i64 = 0
        self.mss: i64 = 0
        self.first_frame: i64 = NEVER
        self.first_time: i64 = NEVER
        self.second_frame: i64 = NEVER
        self.second_time: i64 = NEVER
        self.last_frame: i64 = NEVER
        self.last_time: i64 = NEVER
        self.heard_frame: i64 = NEVER
        """The frame number of the peer's newest packet before the data was sent for the second time."""
        self.heard_time: i64 = NEVER
        self.peer_frame: i64 = NEVER
        """The frame number of the peer's newest packet after the data was first sent."""
        self.peer_time: i64 = NEVER
        self.copies_before_ack: i64 = 0
        """The value of `copies` when the peer first sent an ACK without data; 0 if the peer has sent none."""
        self.rest: i64 = 0
        """The idle time in ns before the data was first sent, or before the peer's message to which the data responds."""
        self.unseen_bytes: i64 = 0
        """The number of bytes of the peer known to be missing from the capture when the data was sent for the second time."""
        self.own_acknowledged: i64 = NEVER
        """The offset up to which this side had acknowledged the peer's data when the data was retransmitted for the first time.
        """
        self.exchange: i64 = -1
        self.is_http: bool = False
        self.is_continued: bool = False
        """True if an earlier part of the same message was acknowledged, or if the peer was sending a message."""
        self.is_owed: bool = False
        """True if the repeated data is a FIN or a probe, and the peer still had to send the rest of a message."""
        self.is_answered_early: bool = False
        """True if the missing data belongs to a request, and a response came before the end of this request."""
        self.has_early_row: bool = False
        """True if a row about missing data, or about probes, was already written. If the data arrives after all, or a probe is
        answered, a second row withdraws the first.
        """


@mypyc_attr(acyclic=True)
class Waits:
    """State that few sides of connections need, so it is created on first use.

    It consists of evidence about Nagle's algorithm, a run of small segments, a stall, repeated data, and windows that this side
    closed. A stall is a time without progress (see `Stall`).
    """

    def __init__(self) -> None:
        self.nagle: Nagle | None = None
        self.pace: Pace | None = None
        self.run: Run | None = None
        self.stall: Stall | None = None
        self.damage: Damage | None = None
        self.lone: Stall | None = None
        """The newest time without progress before a full segment of this side. A timer of this side may have sent that segment.
        """
        self.unheard: Stall | None = None
        """The newest time without progress in which this side retransmitted data that the peer had acknowledged before."""
        self.repetition: Repetition | None = None
        self.missing: Repetition | None = None
        """Data of this side that was never captured, although other packets of this side show that it was sent."""
        self.probing: Repetition | None = None
        """The keep-alive probes that this side has sent since the peer's newest packet; None if there are none."""
        self.error: DataError | None = None
        self.duplicate_acks: i64 = 0
        """The number of duplicate ACKs that this side has sent since its acknowledgment number last advanced."""
        self.sack_frame: i64 = NEVER
        """The frame number of this side's newest packet whose SACK option reports data after a gap."""
        self.sack_time: i64 = NEVER
        self.sack_start: i64 = NEVER
        """The start offset of the first SACK block in the packet `sack_frame`; the first block reports the newest data."""
        self.strange_sack_frame: i64 = NEVER
        """The frame number of this side's first packet with a SACK block outside the peer's stream."""
        self.strange_sack_time: i64 = NEVER
        self.sacked: list[int] = []
        """The ranges that this side has reported by SACK: start offset, end offset, start offset, end offset, ..."""
        self.zero_window: ClosedWindow | None = None
        """The window of 0 that this side announced, until the peer continues to send; None if there is none."""
        self.short_window: ClosedWindow | None = None
        """The window of less than one MSS that this side announced, until the peer continues to send; None if there is none."""
        self.window_stall: WindowStall | None = None
        """The recent delays of the peer that the windows of this side caused."""
        self.refused_end: i64 = NEVER
        """The end offset of the peer's data that this side probably discarded when its window was 0; NEVER without such data."""
        self.resumed_end: i64 = NEVER
        """The offset in the peer's stream up to which discarded data was retransmitted after the window had opened."""
