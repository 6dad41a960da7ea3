"""Wake connections at deadlines, so decisions that are due are made before the next packet is processed."""

from __future__ import annotations

import heapq
from typing import Final

from mypy_extensions import i64, mypyc_attr

from wiredoctor.core.http1.http_state import HttpState
from wiredoctor.core.tcp.segment import FOREVER

FEWEST_ALARMS: Final = 1_024
USUAL_DELAY: Final = 1_000_000_001
"""The delay in ns of nearly all alarms. Alarms with an equal delay become due in the order in which they were set."""


@mypyc_attr(acyclic=True)
class Alarm:
    """The time at which a connection is woken up. Alarms with the same time are processed in the order in which they were set."""

    def __init__(self, time: i64, number: i64, connection: HttpState) -> None:
        self.time: i64 = time
        self.number: i64 = number
        self.connection: HttpState = connection

    def __lt__(self, other: Alarm) -> bool:
        """Return whether this alarm is processed before the other."""
        return self.time < other.time or (self.time == other.time and self.number < other.number)

    def is_due(self) -> bool:
        """Return True if the alarm is still valid: no earlier alarm replaced it, and its connection has not ended."""
        return self.time == self.connection.wakes_at and not self.connection.is_over


class Alarms:
    """All pending alarms. A queue contains those that were set in time order; a heap contains the others.

    `next` is the time (ns) of the earliest alarm.
    """

    def __init__(self) -> None:
        self.queue: list[Alarm] = []
        self.queue_first: i64 = 0
        """The index of the first pending alarm of the queue."""
        self.heap: list[Alarm] = []
        self.most: i64 = FEWEST_ALARMS
        """As soon as there are this many alarms, `add` drops those that are no longer valid."""
        self.next: i64 = FOREVER
        self.count: i64 = 0

    def add(self, time: i64, connection: HttpState) -> None:
        """Set an alarm that wakes a connection at `time` (ns)."""
        if self.pending() >= self.most:
            self.forget()
        self.count += 1
        alarm = Alarm(time, self.count, connection)
        queue = self.queue
        end: i64 = len(queue)
        # a longer delay would keep the following alarms out of the queue
        if time <= connection.clock + USUAL_DELAY and (end == self.queue_first or queue[end - 1].time <= time):
            queue.append(alarm)
        else:
            heapq.heappush(self.heap, alarm)
        if time < self.next:
            self.next = time

    def pending(self) -> i64:
        """Return the number of pending alarms, including those that are no longer valid."""
        return len(self.queue) - self.queue_first + len(self.heap)

    def take(self, clock: i64) -> HttpState | None:
        """Remove the first alarm that is due at time `clock` (ns) and return its connection. Return None if no alarm is due."""
        queue, heap, first = self.queue, self.heap, self.queue_first
        is_queued = first < len(queue)
        if is_queued and heap:
            is_queued = queue[first] < heap[0]
        if not is_queued and not heap:
            self.next = FOREVER
            return None
        alarm = queue[first] if is_queued else heap[0]
        if alarm.time > clock:
            self.next = alarm.time
            return None
        if is_queued:
            self.queue_first = first + 1
            if 2 * self.queue_first > len(queue):
                del queue[: self.queue_first]
                self.queue_first = 0
        else:
            heapq.heappop(heap)
        return alarm.connection

    def forget(self) -> None:
        """Drop the alarms of ended connections, and alarms that were replaced by an earlier alarm of the same connection."""
        self.queue = [alarm for alarm in self.queue[self.queue_first :] if alarm.is_due()]
        self.queue_first = 0
        self.heap = [alarm for alarm in self.heap if alarm.is_due()]
        heapq.heapify(self.heap)
        self.most = max(FEWEST_ALARMS, 2 * self.pending())
