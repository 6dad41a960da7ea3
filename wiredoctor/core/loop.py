"""The loop: a record becomes a packet, the packet a segment of a connection, the segment a step in the story of it."""

from __future__ import annotations

from mypy_extensions import i64

from wiredoctor.core.connection import Connection
from wiredoctor.core.connection_rows import ConnectionRows, client_direction
from wiredoctor.core.copies import Copies
from wiredoctor.core.cutoffs import Cutoffs
from wiredoctor.core.datagrams import CapturePlaces, Datagrams
from wiredoctor.core.flows import Flows, Share
from wiredoctor.core.headers import Headers
from wiredoctor.core.http import Http
from wiredoctor.core.icmp import IcmpErrors
from wiredoctor.core.layers import QUOTE, SEGMENT
from wiredoctor.core.ordering import Ordering
from wiredoctor.core.packet import Packet
from wiredoctor.core.pairing import HttpConnection, clear_unread
from wiredoctor.core.recorder import PacketRecorder
from wiredoctor.core.records import Records
from wiredoctor.core.segment import NEVER
from wiredoctor.core.story import Story
from wiredoctor.limits import Met


class Core:
    """A capture on its way through the core. Tables are written in `story.stalls`, `http`, `icmp` and `connections`. Only
    the connections of the share are followed; None: all."""

    def __init__(
        self, records: Records, cutoffs: Cutoffs, met: Met, with_messages: bool, with_bursts: bool, share: Share | None = None
    ) -> None:  # fmt: skip
        self.share: Share | None = share
        self.records: Records = records
        self.packet: Packet = Packet()
        self.datagrams: Datagrams = Datagrams()
        self.headers: Headers = Headers(self.datagrams)
        places = CapturePlaces(records.source, self.datagrams)
        self.copies: Copies = Copies(places)
        self.flows: Flows = Flows(met, share)
        self.story: Story = Story(cutoffs, met)
        self.story.places = places
        self.http: Http = Http(cutoffs, met, with_messages, with_bursts)
        self.icmp: IcmpErrors = IcmpErrors(met)
        self.connections: ConnectionRows = ConnectionRows()
        self.duplicates: i64 = 0
        self.recorder: PacketRecorder | None = None
        self.ordering: Ordering | None = None
        """Puts records in order of their times."""
        self.http_of: set[int] | None = None
        """The connections of which HTTP is read and rows are written; None: all. TCP is followed on all: ids depend on it."""

    def run(self, most: i64) -> i64:
        """Read at most this many records; return how many there were."""
        records, packet, flows, http, share = self.records, self.packet, self.flows, self.http, self.share
        alarms, stalls = http.alarms, self.story.stalls
        recorder, ordering = self.recorder, self.ordering
        count: i64 = 0
        while count < most and (records.next(packet) if ordering is None else ordering.next(packet)):
            count += 1
            if packet.clock >= alarms.next:
                http.pass_time(packet.clock)
            if packet.clock >= stalls.due:
                stalls.pass_time(packet.clock, packet.frame)
            if recorder is not None:
                recorder.begin(packet)
            kind = self.headers.read(packet)
            if stalls.watches and kind == SEGMENT and packet.length > 0:
                stalls.note_payload(packet)
            connection: i64 = NEVER
            if kind == SEGMENT and (share is None or share.has(packet)):
                connection = self.step(packet)
            elif kind == QUOTE and (share is None or share.has(packet)):
                connection = self.read_quote(packet)
            if recorder is not None:
                recorder.write(packet, connection, kind == SEGMENT)
            flows.pass_time(packet.frame, packet.clock)
            if flows.retired:
                self.retire(packet.clock)
        return count

    def put_in_order(self, is_growing: bool) -> None:
        """Hold records until those that were stamped before them have come: from the first on, or of a capture that is growing,
        and cannot be read again, from the first that is out of order."""
        self.records.times.is_ordered = True
        self.ordering = Ordering(self.records, self.flows, self.copies, self.share, is_growing)

    def step(self, packet: Packet) -> i64:
        """Follow a segment; return the id of its connection."""
        connection = self.flows.find(packet)
        if self.flows.retired:
            self.retire(packet.clock)
        if packet.is_quoted:
            self.icmp.add(self.headers.message, packet, connection, True)
            return connection.id
        if self.copies.is_second(connection, packet):
            self.duplicates += 1
            return connection.id
        was_closed = connection.closed
        self.story.follow(connection, packet)
        if self.http_of is None or connection.id in self.http_of:
            self.http.read(connection, packet, self.story.segment)
        else:
            clear_unread(self.story.segment.part)
        self.story.settle(connection, packet)
        if connection.closed and not was_closed:
            self.flows.keep_closed(connection)
            self.story.stalls.end(connection, packet.frame)
        elif was_closed and not connection.closed:
            self.flows.closed -= 1  # a SYN was refused, and a later one was answered
        return connection.id

    def read_quote(self, packet: Packet) -> i64:
        """Take note of an ICMP error that quotes less than a packet with an id of its own has; return the connection's id."""
        connection = self.flows.look_up(packet)
        self.icmp.add(self.headers.message, packet, connection, False)
        return i64(NEVER) if connection is None else connection.id

    def retire(self, clock: i64) -> None:
        """End the connections for which no packet will come any more."""
        for connection in self.flows.retired:
            self.http.retire(connection, clock)
            self.end(connection, clock)
        self.flows.retired = []

    def finish(self, connections: list[Connection], clock: i64) -> None:
        """End connections that are open when the capture ends."""
        self.http.pass_time(clock)
        for connection in connections:
            self.http.finish(connection, clock)
            self.end(connection, clock)
        self.http.alarms.forget()  # they lead back to `http` through objects that the garbage collector does not know

    def end(self, connection: Connection, clock: i64) -> None:
        """Write the row of a connection that is over; one that was only quoted has none, but for those of the errors."""
        if self.icmp.waiting:
            self.icmp.end(connection)
        if connection.first_frame == NEVER or (self.http_of is not None and connection.id not in self.http_of):
            return
        content = connection.http
        assert content is None or isinstance(content, HttpConnection)
        speaker = i64(-1) if content is None else content.client
        self.story.stalls.end(connection, self.packet.frame)
        self.story.repetitions.end(connection, clock)
        self.story.window_stalls.end(connection)
        self.connections.write(connection, speaker, content, clock)
        self.http.closes.foreign.write_rest(connection, client_direction(connection, speaker))
        connection.http = None
        connection.strip()
