"""Track which ACKs have reached a sender, and thus the receive window that the sender knows.

An ACK is captured before it reaches the sender. The sender's reaction to it is captured one round trip (between capture point and
sender) after the ACK.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64, mypyc_attr

from wiredoctor.core.tcp.segment import MILLISECOND, NEVER

NO_WAY: Final = 200_000
"""If the round trip (ns) between capture point and sender is at most this long, an ACK counts as received when it is captured."""
FINENESS: Final = 256
"""ACKs that are captured within 1/FINENESS of a round trip count as one ACK."""


@mypyc_attr(acyclic=True)
class Ack:
    """An ACK: the offsets up to which it acknowledges data (`ack`) and permits the sender to send (`edge`).

    Several ACKs in quick succession count as one ACK; its `time` is that of the first of them.
    """

    def __init__(self, frame: i64, time: i64, ack: i64, edge: i64) -> None:
        self.frame: i64 = frame
        self.time: i64 = time
        self.ack: i64 = ack
        self.edge: i64 = edge


@mypyc_attr(acyclic=True)
class KnownWindow:
    """What a sender knows about its receiver: the newest ACK that has reached the sender, and the ACKs in transit."""

    def __init__(self) -> None:
        self.ack: i64 = NEVER
        self.edge: i64 = NEVER
        """The offset at the end of the announced window; NEVER while the window scale is unknown."""
        self.frame: i64 = NEVER
        self.time: i64 = NEVER
        self.reached: i64 = NEVER
        """The expected capture time of data that the sender sends as soon as it has received the ACK in packet `frame`."""
        self.coming: list[Ack] = []
        self.first: i64 = 0
        """The index of the first ACK in transit."""
        self.last: Ack | None = None
        """The last ACK in transit."""

    def passes(self, frame: i64, time: i64, ack: i64, edge: i64, way: i64) -> None:
        """Record that an ACK was captured at `time` on its way to the sender.

        `way`: the round-trip time in ns between the capture point and the sender.
        """
        last = self.last
        if last is not None and time - last.time < way // FINENESS:
            last.frame = frame
            last.ack = ack
            last.edge = edge
        elif way <= NO_WAY:
            self.frame = frame
            self.time = time
            self.ack = max(ack, self.ack)
            self.edge = edge
            self.reached = time + way
        else:
            self.last = last = Ack(frame, time, ack, edge)
            self.coming.append(last)

    def wait(self, now: i64, way: i64) -> None:
        """Record that the ACKs that have reached the sender by `now` are no longer in transit.

        `way`: the time in ns that an ACK takes from the capture point to the sender, and data from there back.
        """
        coming = self.coming
        i, count = self.first, i64(len(coming))
        while i < count and coming[i].time + way <= now:
            i += 1
        self.take(i, way)

    def take(self, count: i64, way: i64) -> None:
        """Record that the sender has received the ACKs before index `count`, so they are no longer in transit.

        `way`: the time in ns from the capture of the newest of these ACKs to the capture of data sent in response.
        """
        if count == self.first:
            return
        coming = self.coming
        newest = coming[count - 1]
        self.frame = newest.frame
        self.time = newest.time
        self.ack = max(newest.ack, self.ack)
        self.edge = newest.edge
        self.reached = newest.time + way
        self.first = count
        if count == len(coming):
            self.coming = []
            self.first = 0
            self.last = None
        elif count > FINENESS:
            self.coming = coming[count:]
            self.first = 0

    def allow(self, end: i64, now: i64) -> i64:
        """Record that the sender has sent up to offset `end`, so an ACK with a large enough window must have reached the sender.

        Remove the first ACK in transit whose window ends at `end` or later, and all earlier ACKs. Return the time in ns from the
        capture of that ACK to `now`; NEVER if there is none.
        """
        coming = self.coming
        i, count = self.first, i64(len(coming))
        while i < count and coming[i].edge < end:
            i += 1
        if i == count:
            return NEVER
        way = now - coming[i].time
        self.take(i + 1, way)
        return way

    def releases(self, now: i64, way: i64) -> bool:
        """Return whether an ACK that had just reached the sender seems to have triggered the packet captured at `now` (ns).

        `way`: the round-trip time in ns between the capture point and the sender.
        """
        near = max(MILLISECOND, way // 64)
        if now - self.reached <= near:
            return True
        return self.first < len(self.coming) and self.coming[self.first].time + way - now <= near
