"""How a response came piece by piece: its chunks, and the events of an event stream. Plain responses have nothing of this.

A flight is a run of packets of one body with gaps below 10 ms: what a sender let go at once. (A burst also joins what comes
within two round trips, so that slow start does not tear it apart; over a long way it holds events that were sent one by one.)
"""

from __future__ import annotations

from wiredoctor.http.events import Counter, counter_of
from wiredoctor.http.fields import Fields
from wiredoctor.http.framing import CHUNKED, LENGTH, UNTIL_CLOSE
from wiredoctor.tables import MILLISECOND, NEVER, NONE

GAP = 10 * MILLISECOND
"""Packets that follow each other faster left together."""
LARGEST = 1024
"""Chunks of more bytes count as of so many: the median of small ones is exact, and what is remembered is bounded."""
SHOWN = 3
"""Flights of held events whose packets are remembered."""
EARLY = 2
"""Chunks of the first flight that are counted."""


class Flight:
    """Packets of a body that came together: the first, and the events that ended in them. `pause`: the last packet before it
    and its time, where the application had been silent for long."""

    __slots__ = ("events", "frame", "pause", "time")

    def __init__(self, frame: int, time: int) -> None:
        self.frame, self.time, self.events = frame, time, 0
        self.pause: tuple[int, int] | None = None


class Pieces:
    """What is known of the pieces of one response so far.

    `early`: data chunks that began in the first flight, at most EARLY. `alone`: chunk-size lines in packets without content.
    `lines`: every data chunk ended with a newline. `counter`: None where events are not counted.
    `held`: flights of several events behind a long pause of the application; `shown`: the first of them.
    """

    __slots__ = (
        *("alone", "counter", "early", "events", "first", "flights", "frame", "held", "last", "lines", "newest", "shown"),
        *("sizes", "together"),
    )

    def __init__(self, counter: Counter | None) -> None:
        self.counter = counter
        self.sizes: dict[int, int] = {}
        self.alone = self.early = self.held = self.events = 0
        self.lines = self.together = True
        self.frame = self.last = NEVER
        self.first: Flight | None = None
        self.newest = Flight(NEVER, NEVER)
        self.flights: dict[int, Flight] = {}
        self.shown: list[Flight] = []

    @property
    def watching(self) -> bool:
        """Whether it matters when more packets come."""
        return self.counter is not None or self.first is None or (self.together and self.early < EARLY)

    @property
    def median(self) -> int:
        """Size of the chunk in the middle, of an even number the mean of the two, rounded down; NONE without chunks."""
        count, passed, middle = sum(self.sizes.values()), 0, list[int]()
        for size, number in sorted(self.sizes.items()):
            middle += [size for place in ((count - 1) // 2, count // 2) if passed <= place < passed + number]
            passed += number
        return sum(middle) // 2 if count else NONE

    def comes(self, frame: int, time: int) -> None:
        """A packet brings body."""
        if self.first is None:
            self.first = self._fly(frame, time)
        elif frame < self.frame:
            # out of order: what came together cannot be told
            self.lose()
        elif time - self.last >= GAP:
            self.together = False
            self._fly(frame, time)
        self.frame, self.last = frame, max(self.last, time)

    def _fly(self, frame: int, time: int) -> Flight:
        flight = Flight(frame, time)
        if self.counter is not None:
            self.newest = self.flights[frame] = flight
        return flight

    def chunk(self, size: int, *, alone: bool) -> None:
        """The line before a data chunk was read."""
        counted = min(size, LARGEST)
        self.sizes[counted] = self.sizes.get(counted, 0) + 1
        self.alone += alone
        if self.together and self.early < EARLY:
            self.early += 1

    def content(self, data: bytes) -> None:
        """Content that the newest packet brought."""
        if self.counter is not None:
            found = self.counter.count(data)
            self.newest.events += found
            self.events += found

    def lose(self) -> None:
        """What came cannot be followed: bytes are missing, or out of order."""
        self.counter, self.together = None, False
        self.flights.clear()

    def paused(self, frame: int, before: tuple[int, int]) -> None:
        """The application was silent for long before this packet; `before`: the last one and its time."""
        flight = self.flights.get(frame)
        if flight is not None:
            flight.pause = before

    def settle(self, least: int, *, over: bool = False) -> None:
        """Count the flights of `least` events or more that were held back.

        The pauses of all flights are known, and more events can come to the newest at most (not when it is `over`).
        """
        for flight in self.flights.values():
            if flight.pause is not None and flight.events >= least and (over or flight is not self.newest):
                self.held += 1
                if len(self.shown) < SHOWN:
                    self.shown.append(flight)
        self.flights = {} if over or not self.flights else {self.newest.frame: self.newest}


def pieces_of(fields: Fields, framing: int) -> Pieces | None:
    """What to watch of a response with these fields; None where its pieces mean nothing."""
    if fields.event_stream and framing in (LENGTH, CHUNKED, UNTIL_CLOSE):
        return Pieces(counter_of(fields))
    return Pieces(None) if framing == CHUNKED else None
