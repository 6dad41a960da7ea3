"""Simulate a wire in user space between two network namespaces, for kernels without `tc netem`.

Its ends are TAP devices that become `eth0` in the two namespaces. A thread carries frames from one end to the other. It delays
and loses frames, holds ACKs back like a slower receiver (impairments.py), and passes frames through devices that drop, refuse and
forge packets (faults.py). It can record at either end and in the middle.

A wire ends with its context, and at the latest two minutes after its start. Frames go only from one end to the other.
"""

from __future__ import annotations

import fcntl
import heapq
import itertools
import os
import select
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from faults import OTHER, Made, boxes
from forging import is_icmp_error, routed
from impairments import SIDES, Conditions, DelayedAcks, Losses
from packet import Segment, segment

POINTS = ("client", "middle", "server")
"""The points where a wire can record: its ends as the hosts there see them (after ACKs were held back), and the middle."""

MIDDLE, ARRIVES = 0.5, 1.0
BOXES = {"client": 0.25, "server": 0.75}
"""The positions of the devices, as shares of the way of the client's packets."""

LASTS = 120.0
"""The time in seconds after which a wire carries no more packets."""

LARGEST = 65_535
TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x0002, 0x1000
"""linux/if_tun.h"""

URGENT = os.sched_param(1)
"""The real-time priority of the thread, which sleeps nearly always and must wake up in time."""


class Recording:
    """A capture file with microseconds (link type Ethernet), in the order in which frames pass."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb", buffering=0)
        self._file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262_144, 1))

    def add(self, frame: bytes) -> None:
        seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
        self._file.write(struct.pack("<IIII", seconds, nanoseconds // 1_000, len(frame), len(frame)) + frame)

    def close(self) -> None:
        self._file.close()


class Wire:
    """Carries frames between two TAP devices, given as file descriptors by side, until it is stopped."""

    def __init__(self, ends: dict[str, int], conditions: Conditions) -> None:
        self._ends = ends
        self._delay = conditions.delay
        self._stands = conditions.stands
        self._strung = time.monotonic()
        self._losses = Losses(conditions.lose, conditions.rate, conditions.seed)
        self._hops = conditions.hops
        self._boxes = {share: found for place, share in BOXES.items() if (found := boxes(conditions.faults, place))}
        self._acks = {side: DelayedAcks(seconds) for side, seconds in conditions.ack_delay.items()}
        self._recordings: dict[str, Recording] = {}
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._turn = itertools.count()
        self._lock = threading.Lock()
        self._stop, self._stopped = os.pipe()
        self._thread = threading.Thread(target=self._carry, daemon=True)
        self.errors: list[OSError] = []

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the thread; frames that are still on the way are lost."""
        os.close(self._stopped)
        self._thread.join(5)
        os.close(self._stop)

    def tell(self) -> None:
        """Begin the faults that wait for this call (`faults.Start`)."""
        with self._lock:
            for box in itertools.chain(*self._boxes.values()):
                box.clock.tell(time.monotonic())

    @contextmanager
    def recorded(self, point: str, path: Path) -> Iterator[None]:
        """Record the TCP packets and ICMP errors that pass a point (see POINTS) within the context."""
        if point not in POINTS:
            raise ValueError(f"a wire records at {', '.join(POINTS)}, not at {point}")
        recording = Recording(path)
        with self._lock:
            self._recordings[point] = recording
        try:
            yield
        finally:
            with self._lock:
                del self._recordings[point]
            recording.close()

    def _carry(self) -> None:
        with suppress(OSError):
            os.sched_setscheduler(threading.get_native_id(), os.SCHED_FIFO, URGENT)
        ends = {descriptor: side for side, descriptor in self._ends.items()}
        deadline = time.monotonic() + LASTS
        while (now := time.monotonic()) < deadline:
            ready, _, _ = select.select([*ends, self._stop], [], [], max(0.0, min(self._next(), deadline) - now))
            if self._stop in ready:
                return
            with self._lock:
                self._do_what_is_due()
                for descriptor in ready:
                    self._leaves(ends[descriptor], os.read(descriptor, LARGEST))

    def _next(self) -> float:
        times = [acks.next_release() for acks in self._acks.values()]
        times.append(self._agenda[0][0] if self._agenda else None)
        return min((when for when in times if when is not None), default=float("inf"))

    def _do_what_is_due(self) -> None:
        now = time.monotonic()
        while self._agenda and self._agenda[0][0] <= now:
            heapq.heappop(self._agenda)[2]()
        for side, acks in self._acks.items():
            for frame in acks.released(now):
                self._travels(side, frame, segment(frame))

    def _leaves(self, side: str, frame: bytes) -> None:
        """Handle a frame that leaves a host; its ACK may be held back."""
        content = segment(frame)
        acks = self._acks.get(side)
        if not acks or not content or acks.passes(content, frame, time.monotonic()):
            self._travels(side, frame, content)

    def _travels(self, side: str, frame: bytes, content: Segment | None) -> None:
        self._record(side, frame, content)
        self._moves(side, frame, content, 0.0, self._goes_on(time.monotonic()))

    def _goes_on(self, now: float) -> float:
        """Return the time at which a frame that is sent at `now` begins its way."""
        ends = (self._strung + at + lasts for at, lasts in self._stands if 0 <= now - self._strung - at < lasts)
        return max(ends, default=now)

    def _moves(self, side: str, frame: bytes, content: Segment | None, share: float, since: float) -> None:
        """Move a frame of a side from the position `share`, on a way that it began at `since`, to its next stop."""
        stops = [MIDDLE, ARRIVES, *(at if side == "client" else 1 - at for at in self._boxes)]
        stop = min(stop for stop in stops if stop > share)
        if self._delay or self._stands:
            when = since + stop * self._delay
            heapq.heappush(self._agenda, (when, next(self._turn), lambda: self._stops(side, frame, content, stop, since)))
        else:
            self._stops(side, frame, content, stop, since)

    def _stops(self, side: str, frame: bytes, content: Segment | None, stop: float, since: float) -> None:
        if self._hops and stop in (MIDDLE, ARRIVES):
            frame = routed(frame, self._hops)
        if stop == MIDDLE:
            self._record("middle", frame, content)
        elif stop == ARRIVES:
            if not content or not self._losses.lost(side, content):
                self._arrives(OTHER[side], frame, content)
            return
        passes, made = self._meets_boxes(side, frame, content, stop, since) if content else (True, [])
        if passes:
            self._moves(side, frame, content, stop, since)
        for toward, added in made:
            share = 1 - stop if toward == side else stop
            behind = since + (stop - share) * self._delay
            self._moves(OTHER[toward], added, segment(added), share, behind)

    def _meets_boxes(self, side: str, frame: bytes, content: Segment, stop: float, since: float) -> tuple[bool, Made]:
        """Return whether a packet passes the devices at a stop, and the frames that they add."""
        every: Made = []
        for box in self._boxes.get(stop if side == "client" else 1 - stop, ()):
            passes, made = box.meets(side, frame, content, since + stop * self._delay)
            every += made
            if not passes:
                return False, every
        return True, every

    def _arrives(self, side: str, frame: bytes, content: Segment | None) -> None:
        self._record(side, frame, content)
        if content and side in self._acks:
            self._acks[side].delivered(content, time.monotonic())
        try:
            os.write(self._ends[side], frame)
        except OSError as error:  # the device is down, as before and after the traffic
            self.errors.append(error)

    def _record(self, point: str, frame: bytes, content: Segment | None) -> None:
        if point in self._recordings and (content or is_icmp_error(frame)):
            self._recordings[point].add(frame)


def _tap(name: str) -> int:
    """Return a new TAP device, which exists as long as its file descriptor is open."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR)
    try:
        fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


@contextmanager
def strung(namespaces: dict[str, str], conditions: Conditions) -> Iterator[Wire]:
    """Create a wire between the namespaces of client and server (`namespaces`: names by side), each of which gets its end as
    `eth0`.

    This needs root and /dev/net/tun; otherwise, raise OSError. The interfaces are down and have no address yet.
    """
    with ExitStack() as cleanup:
        ends: dict[str, int] = {}
        for side in SIDES:
            device = f"wd{os.getpid()}{side[0]}"
            ends[side] = _tap(device)
            cleanup.callback(os.close, ends[side])
            move = ["ip", "link", "set", device, "netns", namespaces[side], "name", "eth0"]
            subprocess.run(move, check=True, timeout=20)
        wire = Wire(ends, conditions)
        wire.start()
        cleanup.callback(wire.stop)
        yield wire
