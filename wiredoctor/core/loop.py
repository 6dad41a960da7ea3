"""Process packet records: parse the headers, assign each segment to a connection, and update the state of that connection."""

from __future__ import annotations

from mypy_extensions import i64

from wiredoctor.core.capture.checksums import Checksums
from wiredoctor.core.capture.datagrams import CapturePlaces, Datagrams
from wiredoctor.core.capture.layers import QUOTE, SEGMENT
from wiredoctor.core.capture.ordering import Ordering
from wiredoctor.core.capture.packet import Packet
from wiredoctor.core.capture.packet_headers import Headers
from wiredoctor.core.capture.packet_readers import PacketReader
from wiredoctor.core.capture.records import LATEST, Records
from wiredoctor.core.capture.sorting import SortedRecords
from wiredoctor.core.cutoffs import Cutoffs
from wiredoctor.core.http1.conversation import Conversation
from wiredoctor.core.http1.http import Http
from wiredoctor.core.http1.message import AT_CAPTURE_END, IN_GAP
from wiredoctor.core.http1.message_parts import clear_unread
from wiredoctor.core.rows.connection_rows import ConnectionRows, client_direction
from wiredoctor.core.rows.recorder import PacketRecorder
from wiredoctor.core.tcp.connection import Connection, oddities_of
from wiredoctor.core.tcp.copies import Copies
from wiredoctor.core.tcp.flows import Flows, Share
from wiredoctor.core.tcp.host_clocks import ClockShifts
from wiredoctor.core.tcp.icmp import IcmpErrors
from wiredoctor.core.tcp.segment import NEVER, SYN
from wiredoctor.core.tcp.tcp_analysis import TcpAnalysis
from wiredoctor.core.tcp.translation import Translation, follow_close, is_second_leg
from wiredoctor.limits import LimitsReached


class Core:
    """The state of a capture's analysis.

    The tables are in `tcp`, `http`, `icmp` and `connections`. Only the connections of `share` are analyzed; None means all
    connections.
    """

    def __init__(
        self, records: Records, cutoffs: Cutoffs, met: LimitsReached, with_messages: bool, with_bursts: bool,
        share: Share | None = None,
    ) -> None:  # fmt: skip
        self.share: Share | None = share
        self.records: Records = records
        self.packet: Packet = Packet()
        self.datagrams: Datagrams = Datagrams()
        self.headers: Headers = Headers(self.datagrams)
        places = CapturePlaces(records.source, self.datagrams)
        self.copies: Copies = Copies(places)
        if records.shifts is not None:
            self.copies.keep()
        self.translation: Translation = Translation()
        self.flows: Flows = Flows(met, share)
        if isinstance(records, SortedRecords):
            self.flows.follow_file(records.lanes.order)
        self.tcp: TcpAnalysis = TcpAnalysis(cutoffs, met)
        self.tcp.places = places
        self.tcp.checksums = Checksums(self.headers.layers, places)
        self.http: Http = Http(cutoffs, met, with_messages, with_bursts)
        self.icmp: IcmpErrors = IcmpErrors(met, self.flows, self.headers.message)
        self.readers: dict[int, PacketReader] = {QUOTE: self.icmp}
        """What reads the packets that are no segments, by their kind (layers.py)."""
        self.connections: ConnectionRows = ConnectionRows()
        self.duplicates: i64 = 0
        self.latest: i64 = -LATEST
        """The latest time of a packet whose clock was corrected."""
        self.recorder: PacketRecorder | None = None
        self.ordering: Ordering | None = None
        """The object that sorts records by time; None if records are not sorted."""
        self.http_of: set[int] | None = None
        """The ids of the connections whose HTTP is read and whose rows are written; None means all.

        TCP is analyzed for all connections, because connection ids depend on it.
        """

    def run(self, most: i64) -> i64:
        """Read at most `most` records; return how many were read."""
        records, packet, flows, http, share = self.records, self.packet, self.flows, self.http, self.share
        alarms, releases = http.alarms, self.tcp.releases
        recorder, ordering = self.recorder, self.ordering
        count: i64 = 0
        while count < most and (records.next(packet) if ordering is None else ordering.next(packet)):
            count += 1
            if packet.clock >= alarms.next:
                http.pass_time(packet.clock)
            if packet.clock >= releases.due:
                releases.pass_time(packet.clock, packet.frame)
            if recorder is not None:
                recorder.begin(packet)
            kind = self.headers.read(packet)
            if releases.watches and kind == SEGMENT and packet.length > 0:
                releases.note_payload(packet)
            if packet.clock <= releases.broadcasts.until and kind == SEGMENT:
                releases.broadcasts.note(packet)
            if kind == SEGMENT and packet.flags & SYN and not packet.is_quoted:
                self.translation.read(packet)
            connection: i64 = NEVER
            if kind == SEGMENT and (share is None or share.has(packet)):
                connection = self.step(packet)
            elif kind in self.readers and (share is None or share.has(packet)):
                connection = self.readers[kind].read(packet)
            if recorder is not None:
                recorder.write(packet, connection, kind == SEGMENT)
            flows.pass_time(packet.frame, packet.clock)
            if flows.retired:
                self.retire(packet.clock)
        return count

    def put_in_order(self, is_growing: bool, is_proved: bool = False) -> None:
        """Sort records by time from now on. Each record is held until no record with an earlier time can follow.

        `is_growing`: the capture is still being written. A growing capture cannot be read again, so sorting begins at the first
        record that is out of order. `is_proved`: connections have shown that the packets are out of order.
        """
        self.records.times.is_ordered = True
        self.ordering = Ordering(self.records, self.flows, self.copies, self.share, is_growing)
        self.ordering.is_known = self.ordering.sorts = is_proved

    def step(self, packet: Packet) -> i64:
        """Analyze a segment, or an ICMP error that quotes a complete TCP header; return the id of its connection."""
        connection = self.flows.find(packet)
        if self.flows.retired:
            self.retire(packet.clock)
        if self.records.shifts is not None:
            self.correct_clock(connection, packet, self.records.shifts)
        if packet.flags & SYN and not packet.is_quoted:
            self.translation.enter(connection, packet)
            if packet.time < connection.start:  # disorder of less than 1 ms matters only if a handshake comes too late
                self.records.times.is_shuffled = True
        if is_second_leg(connection):
            self.leave_out(connection, packet)
            return connection.id
        if packet.is_quoted:
            self.icmp.add(packet, connection, True)
            return connection.id
        if self.copies.is_second(connection, packet):
            self.duplicates += 1
            return connection.id
        was_closed = connection.closed
        self.tcp.follow(connection, packet)
        if self.http_of is None or connection.id in self.http_of:
            self.http.read(connection, packet, self.tcp.segment)
        else:
            clear_unread(self.tcp.segment.part)
        self.tcp.write_events(connection, packet)
        if connection.closed and not was_closed:
            self.flows.keep_closed(connection)
            self.tcp.releases.end(connection, packet.frame)
        elif was_closed and not connection.closed:
            self.flows.closed -= 1  # a SYN was refused, but a later SYN was answered
        return connection.id

    def correct_clock(self, connection: Connection, packet: Packet, shifts: ClockShifts) -> None:
        """Correct the time of a packet that was captured by a host whose clock is behind those of others (host_clocks.py)."""
        oddities = oddities_of(connection)
        if oddities.clock_shift == NEVER:
            oddities.clock_shift = shifts.of(connection.key, packet.interface, packet.time)
        packet.time += oddities.clock_shift
        self.latest = max(self.latest, packet.time)

    def leave_out(self, connection: Connection, packet: Packet) -> None:
        """Count a packet of a second leg, which repeats a packet captured before address translation. Ignore ICMP errors."""
        if packet.is_quoted:
            return
        self.http.discard(connection)  # a SYN with data begins an exchange before the connection is known to be a second leg
        self.duplicates += 1
        if follow_close(connection, packet):
            self.flows.keep_closed(connection)

    def retire(self, clock: i64) -> None:
        """End the connections that can no longer get packets."""
        for connection in self.flows.retired:
            self.end(connection, IN_GAP, clock)
        self.flows.retired = []

    def finish(self, connections: list[Connection], clock: i64) -> None:
        """End all `connections`, which are still open at the end of the capture. `clock`: the latest time (ns)."""
        clock = max(clock, self.latest)
        self.http.pass_time(clock)
        for connection in connections:
            self.end(connection, AT_CAPTURE_END, clock)
        self.http.alarms.forget()  # the alarms refer back to `http` through objects that the garbage collector does not track
        self.tcp.drop_ended()

    def end(self, connection: Connection, reason: i64, clock: i64) -> None:
        """Write the rows of an ended connection: only those of ICMP errors if the connection is known only from such errors.

        `reason`: the end reason of its open messages (message.IN_GAP or message.AT_CAPTURE_END).
        """
        if is_second_leg(connection):
            self.http.discard(connection)
            self.icmp.waiting.pop(connection.id, None)
            connection.strip()
            return
        self.http.end(connection, reason, clock)
        if self.icmp.waiting:
            self.icmp.end(connection)
        if connection.first_frame == NEVER or (self.http_of is not None and connection.id not in self.http_of):
            return
        content = connection.http
        assert content is None or isinstance(content, Conversation)
        speaker = i64(-1) if content is None else content.client
        self.tcp.end(connection, self.packet.frame, clock)
        self.connections.write(connection, speaker, content, clock)
        self.http.closes.foreign.write_rest(connection, client_direction(connection, speaker))
        connection.http = None
        connection.strip()
