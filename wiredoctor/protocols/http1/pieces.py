"""Track how a chunked response or an event stream arrived: its chunks and events. Other responses are not tracked.

A flight is a series of packets of one body with gaps below 5 ms, which the sender sent together. A gap does not count if the
sender had to wait for ACKs or for the receiver's window (core/tcp/lumps.py). Bursts (the table bursts) are too coarse for events:
a burst has gaps of up to two round trips, so on a long path it contains events that were sent separately.

A lump is a flight that a buffer had held back: after a long wait, its events arrive faster than a program generates them.
"""

from __future__ import annotations

from wiredoctor.protocols.http1.event_gaps import EventGaps
from wiredoctor.protocols.http1.event_streams import Coded, Counter, EventLines, has_room, make_counter, may_be_events
from wiredoctor.protocols.http1.fields import Fields
from wiredoctor.protocols.http1.framing import CHUNKED, LENGTH, UNTIL_CLOSE
from wiredoctor.protocols.http1.inflate import CodedError
from wiredoctor.tables import MILLISECOND, NEVER, NONE

GAP = 5 * MILLISECOND
"""The minimum gap in ns between two flights. A flight is a series of packets of a body that were sent together."""
CHUNK_GAP = 10 * MILLISECOND
"""The first chunks count as sent together (`Pieces.early`) until a gap between packets of at least this time (ns)."""
LONGEST = 20 * MILLISECOND
"""The maximum duration in ns of a lump (events that a buffer released together).

Gaps in which the sender waited for the receiver are subtracted. A lump counts as buffering only after a long wait (the
rule buffered-stream); this value is less than 5 % of the shortest such wait.
"""
MAX_PER_PACKET = MILLISECOND // 2
"""The maximum time in ns per packet of a lump (events that a buffer released together) with one event per packet.

The value is less than any program needs per event: none generates 2,000 events a second.
"""
AT_ONCE = MILLISECOND // 4
"""If FEWEST_AT_ONCE or more packets took at most this many ns per packet, their data was ready at the same time."""
FEWEST_AT_ONCE = 4
LARGE = 10
"""The minimum number of events in a large lump (events that a buffer released together).

A program may generate fewer events than this in a single step.
"""
LARGEST = 1024
"""Larger chunks are counted as chunks of this size in bytes. This bounds memory and keeps the median of small chunks exact."""
SHOWN = 3
"""The maximum number of lumps (events that a buffer released together) whose packets are stored."""
MAX_UNDECIDED = 64
"""The maximum number of flights of a body that are not counted as long as the sender's clock is unknown."""
LEAST_EVENTS = 3
"""The minimum number of events of a body that is an event stream by its lines alone."""
EARLY = 2
"""The maximum number of chunks that `Pieces.early` counts: those that began before the first gap of CHUNK_GAP."""


class Flight:
    """Packets of a body sent together: frame and time of the first packet, number of packets, and number of events that ended in
    them.

    `bytes`: the number of content bytes. `ticks`: by how much the sender's clock advanced over the packets. `inside`: the flight
    ends inside an event, of which more is missing than the line break. `pause`: the frame and time of the last packet before the
    flight, if the application paused for a long time after it. `emptied`: that packet was small, so nothing was left to send.
    `rtt`: the round trip in ns at that time. `gap`: the time in ns before the flight. `gap_ticks`: by how much the sender's clock
    advanced in this time; NEVER if unknown.
    """

    __slots__ = (
        *("bytes", "emptied", "events", "frame", "gap", "gap_ticks", "inside", "packets", "pause", "rtt", "span", "ticks"),
        "time",
    )

    def __init__(self, frame: int, time: int) -> None:
        self.frame, self.time, self.span, self.packets, self.events, self.bytes = frame, time, 0, 1, 0, 0
        self.pause: tuple[int, int] | None = None
        self.emptied = self.inside = False
        self.ticks, self.gap, self.gap_ticks, self.rtt = 0, 0, NEVER, 0

    def took(self, tick: int) -> int:
        """Return the duration of the flight in ns: by the capture or by the sender's clock, whichever is longer.

        `tick`: the length of a tick of that clock in ns; 0 if unknown.
        """
        return max(self.span, (self.ticks - 1) * tick)

    def is_quick(self, tick: int) -> bool:
        """Return whether the flight took so little time that all its data was probably ready before its first packet was sent.

        `tick`: the length of a tick of the sender's clock in ns; 0 if unknown.
        """
        return self.span <= LONGEST and self.ticks * tick <= LONGEST

    def is_lump(self, least: int, tick: int) -> bool:
        """Return whether at least `least` events arrived faster than a program generates them. The time before the flight is not
        checked.

        `tick`: the length of a tick of the sender's clock in ns; 0 if unknown.
        """
        together = self.events >= 2 * self.packets or self.took(tick) <= MAX_PER_PACKET * self.packets
        return self.events >= least and self.is_quick(tick) and together

    def gap_by_clock(self, tick: int) -> int | None:
        """Return by how many ns the sender's clock advanced in the time before the flight, or None if that is unknown.

        `tick`: the length of a tick of the sender's clock in ns; 0 if unknown.
        """
        return self.gap_ticks * tick if tick and self.gap_ticks != NEVER else None

    def gap_shown_by_clock(self, tick: int) -> int | None:
        """Return `gap_by_clock`, or None if it is too small to show that the sender waited (the ticks of a clock may be long)."""
        by_clock = self.gap_by_clock(tick)
        return by_clock if by_clock is not None and 2 * by_clock >= self.gap - self.rtt else None

    def was_late_in_transit(self, tick: int) -> bool:
        """Return whether the sender's clock shows that the path, not the sender, caused most of the time before the flight.

        `tick`: the length of a tick of the sender's clock in ns; 0 if unknown. The condition is the
        opposite of that in `agrees` (core/tcp/clocks.py).
        """
        by_clock = self.gap_by_clock(tick)
        return by_clock is not None and 2 * (by_clock + tick) < self.gap - self.rtt


class Pieces:
    """The chunks, flights and events of one response so far. Flights and lumps are explained at the beginning of this module.

    `early`: the number of data chunks that began before the first gap of 10 ms, at most EARLY. `alone`: the number of chunk size
    lines in packets without content. `apart`: the number of chunks that began at least a given time after the previous one.
    `began`: the time at which the newest chunk began. `lines`: every data chunk ended with a newline. `counter`: counts the
    events; None if events are not counted. `by_lines`: only the lines of the body show that it is an event stream. `is_timed`:
    flights are tracked. `full`: the number of flights with content. `gaps`: the times between events; None if the response is
    not an event stream. `reads`: `content` must be called.

    `longest_pause`: the longest time (ns) between two packets of the body.

    `held`: the number of lumps after a long pause of the application; `held_events`: the number of their events. `large`,
    `large_events`: the same for lumps with LARGE events or more. `cut`: the number of lumps that end inside an event and are
    followed by another lump. `first_cut`: whether the first flight ends inside an event and is followed by a lump. `shown`: the
    first lumps. `first_event`: frame and time of the packet in which the first event ended; NEVER if none has ended.
    """

    __slots__ = (
        *(
            "alone",
            "apart",
            "by_lines",
            "before",
            "began",
            "counter",
            "cut",
            "early",
            "events",
            "first",
            "first_cut",
            "first_event",
            "flights",
            "frame",
            "full",
            "gaps",
            "held",
            "longest_pause",
        ),
        *(
            "first_late",
            "held_events",
            "is_timed",
            "large",
            "large_events",
            "last",
            "lines",
            "newest",
            "reads",
            "settled",
            "shown",
        ),
        *("sizes", "tick", "together"),
    )

    def __init__(self, counter: Counter | None, *, is_timed: bool = False) -> None:
        self.counter = counter
        self.is_timed = is_timed
        self.by_lines = isinstance(counter, EventLines)
        self.reads = is_timed or counter is not None
        self.gaps = None if counter is None else EventGaps()
        self.sizes: dict[int, int] = {}
        self.alone = self.apart = self.early = self.events = self.full = 0
        self.held = self.held_events = self.large = self.large_events = self.cut = 0
        self.lines = self.together = True
        self.first_cut = False
        self.first_event = (NEVER, NEVER)
        self.longest_pause = 0
        self.frame = self.last = self.first_late = self.began = NEVER
        self.tick = 0
        self.first: Flight | None = None
        self.newest = self.before = Flight(NEVER, NEVER)
        self.settled: Flight | None = None
        self.flights: dict[int, Flight] = {}
        self.shown: list[Flight] = []

    @property
    def watching(self) -> bool:
        """True as long as the arrival times of further packets must be recorded."""
        return self.reads or self.first is None or (self.together and self.early < EARLY)

    @property
    def members(self) -> int:
        """The number of gzip members with content in a compressed event stream; 0 if none was decoded."""
        return self.counter.members if isinstance(self.counter, Coded) else 0

    @property
    def median(self) -> int:
        """The median chunk size in bytes, rounded down; NONE if there are no chunks."""
        count, passed, middle = sum(self.sizes.values()), 0, list[int]()
        for size, number in sorted(self.sizes.items()):
            middle += [size for place in ((count - 1) // 2, count // 2) if passed <= place < passed + number]
            passed += number
        return sum(middle) // 2 if count else NONE

    def comes(self, frame: int, time: int) -> None:
        """Record a packet that contains bytes of the body."""
        gap = max(time - self.last, 0)
        if self.first is not None and gap > self.longest_pause:
            self.longest_pause = gap
        if self.first is None:
            self.first = self._fly(frame, time)
        elif frame < self.frame:
            # out of order, so the flights are unknown
            self._stop_timing()
        elif frame > self.frame:
            self.together = self.together and gap < CHUNK_GAP
            if self.is_timed and gap >= GAP:
                self._fly(frame, time)
            else:
                self.newest.span += gap
                self.newest.packets += 1
        if frame > self.frame:  # noqa: PLR1730 - every packet of a body comes here, and `max` takes longer
            self.frame = frame
        if time > self.last:  # noqa: PLR1730
            self.last = time

    def _fly(self, frame: int, time: int) -> Flight:
        flight = Flight(frame, time)
        if self.is_timed:
            self.before, self.newest = self.newest, flight
            self.flights[frame] = flight
        return flight

    def waited(self, gap: int, *, if_quick: bool) -> bool:
        """Ignore the gap before the newest packet, in which the sender waited for the receiver. Return whether the gap is
        ignored.

        `gap`: the length of the gap in ns. `if_quick`: ignore the gap only if the packets before it were sent in quick
        succession.
        """
        flight, before = self.newest, self.newest if gap < GAP else self.before
        if not self.is_timed or before.frame == NEVER:
            return False
        packets = before.packets - (flight is before)
        span = before.span - (gap if flight is before else 0)
        if if_quick and not (packets >= FEWEST_AT_ONCE and max(span, (before.ticks - 1) * self.tick) <= AT_ONCE * packets):
            return False
        if flight is before:
            flight.span = max(span, 0)
            return True
        before.events += flight.events
        before.packets += flight.packets
        before.ticks += flight.ticks
        before.inside = flight.inside
        self.full -= bool(before.bytes and flight.bytes)
        before.bytes += flight.bytes
        self.newest = before
        self.flights.pop(flight.frame, None)
        return True

    def ticked(self, frame: int, gap: int, ticks: int) -> None:
        """Record that the sender's clock advanced by `ticks` in the `gap` (ns) since the previous packet."""
        flight = self.newest if self.is_timed or self.first is None else self.first
        if flight.frame == frame:
            flight.gap, flight.gap_ticks = gap, ticks
        else:
            flight.ticks += max(ticks, 0)

    def chunk(self, size: int, time: int, flush_gap: int, *, alone: bool) -> None:
        """Record a chunk size line. Count it in `self.apart` if at least `flush_gap` ns passed since the previous chunk began.

        `size`: the size of the chunk in bytes. `time`: in ns. `alone`: the line is in a packet without content.
        """
        self.apart += time - self.began >= flush_gap and bool(self.sizes)
        self.began = time
        counted = min(size, LARGEST)
        self.sizes[counted] = self.sizes.get(counted, 0) + 1
        self.alone += alone
        if self.together and self.early < EARLY:
            self.early += 1

    def content(self, data: bytes) -> None:
        """Count content bytes of the newest packet, and the events of the stream that end within these bytes."""
        if not self.reads or not data:
            return
        is_first = not self.newest.bytes
        self.full += is_first
        self.newest.bytes += len(data)
        if self.counter is not None:
            try:
                found = self.counter.count(data)
            except CodedError:
                if self.by_lines:
                    self.is_timed = False
                    self.flights.clear()
                self._stop_counting()
                return
            if is_first and self.counter.began_with_end:
                # some programs write the line end before each event but the first (Jackson's SequenceWriter)
                self.before.inside = False
            if found and not self.events:
                self.first_event = (self.frame, self.last)
            if self.gaps is not None and self.counter.with_data:
                self.gaps.note(self.counter.with_data, self.frame, self.last)
            self.newest.events += found
            self.newest.inside = self.counter.inside
            self.events += found

    def _stop_counting(self) -> None:
        if self.counter is not None:
            self.counter.close()
        self.counter = None
        self.reads = self.is_timed

    def lose(self) -> None:
        """Stop tracking, because bytes are missing."""
        self._stop_counting()
        self._stop_timing()

    def _stop_timing(self) -> None:
        """Stop tracking flights. Packets that wait for earlier bytes say nothing about when they were sent."""
        self.is_timed = self.together = False
        self.reads = self.counter is not None
        self.newest = Flight(NEVER, NEVER)
        self.flights.clear()

    def paused(self, frame: int, before: tuple[int, int], rtt: int, *, emptied: bool) -> None:
        """Record that the application had paused for a long time before frame `frame`.

        `before`: the frame and time of the previous packet. `rtt`: the round trip in ns. `emptied`: that packet was small, so
        nothing was left to send.
        """
        flight = self.flights.get(frame)
        if flight is not None:
            flight.pause, flight.rtt, flight.emptied = before, rtt, emptied

    def count_lumps(self, least: int, tick: int = 0, *, over: bool = False) -> None:
        """Count the lumps of `least` events or more after long pauses. A lump is a series of events that a buffer released
        together.

        `tick`: the length of a tick of the sender's clock in ns, 0 if unknown. The pauses before all flights must be known.
        `over`: the body has ended. Before that, the newest flight is not counted, because more events may belong to it. As long
        as the sender's clock is unknown, nothing is counted: that clock may show that the path delayed the packets.
        """
        self.tick = tick
        if not tick and not over and len(self.flights) < MAX_UNDECIDED:
            return
        first = self.first
        if over and first is not None and tick and first.gap_ticks != NEVER:
            self.first_late = first.gap - first.gap_ticks * tick
        for flight in self.flights.values():
            if over or flight is not self.newest:
                if flight.pause is not None and flight.is_lump(least, tick) and not flight.was_late_in_transit(tick):
                    self._hold(flight, least)
                self.settled = flight
        self.flights = {} if over or not self.flights else {self.newest.frame: self.newest}
        if over and self.counter is not None:
            self.counter.close()

    def held_by_clock(self) -> list[int | None]:
        """Return, for each of the first lumps, by how many ns the sender's clock advanced in the pause before the lump.

        The value is None if the clock does not show the pause.
        """
        return [flight.gap_shown_by_clock(self.tick) for flight in self.shown if flight.pause]

    def _hold(self, flight: Flight, least: int) -> None:
        self.held += 1
        self.held_events += flight.events
        if flight.events >= LARGE:
            self.large += 1
            self.large_events += flight.events
        before = self.settled
        if before is not None and before.inside and flight.emptied and before.is_lump(least, self.tick):
            if before is self.first:
                self.first_cut = True
            elif before.pause is not None:
                self.cut += 1
        if len(self.shown) < SHOWN:
            self.shown.append(flight)


def pieces_of(fields: Fields, framing: int) -> Pieces | None:
    """Return a new Pieces for a response with these fields and this framing.

    Return None if the response is neither chunked nor an event stream, and cannot become one by its lines.
    """
    if fields.event_stream and framing in (LENGTH, CHUNKED, UNTIL_CLOSE):
        return Pieces(make_counter(fields), is_timed=True)
    if framing in (CHUNKED, UNTIL_CLOSE) and may_be_events(fields):
        return Pieces(EventLines(), is_timed=True)
    return Pieces(None) if framing == CHUNKED else None


def is_left_out(fields: Fields) -> bool:
    """Return whether the events of a response are not counted because too many streams are being decoded."""
    return fields.event_stream and not has_room(fields)
