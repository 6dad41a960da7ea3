"""Count the packets that were dropped during capturing, and determine when they were dropped.

A pcapng file has these counts in Interface Statistics Blocks (draft-ietf-opsawg-pcapng, section 4.6). They are running totals of
the interface (isb_ifdrop) and of the operating system (isb_osdrop). A total below the previous one means that counting restarted.
The recorder of `live` writes a block whenever a total rises. A comment in the block contains the times at which the previous
total and this one were read. The block may precede packets that were captured before the total was read.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Literal, NamedTuple

from wiredoctor.capture.pcapng.blocks import read_options
from wiredoctor.text.regex import Regex

_COMMENT, _RECEIVED, _DROPPED_BY_INTERFACE, _DROPPED_BY_SYSTEM = 1, 4, 5, 7
_SAID = Regex(rb"dropped (?:after (\d{1,19}))?(?: and )?(?:until (\d{1,19}))? ns since 1970")
_WORD: dict[str, Literal["little", "big"]] = {"<": "little", ">": "big"}
_FIXED = 20
"""The size in bytes of an Interface Statistics Block without its options."""
MAX_COUNTS = 10_000
"""The maximum number of counts that are stored separately; after that, a new count replaces the last one of its interface."""
RING = -1
"""The interface number in `Dropped` for packets that the ring overwrote, whichever interface they came from."""
LASTS = (1 << 61) - 1
"""The end in ns of a loss that still lasts."""
_LARGEST = 1 << 48
"""A number of packets that is too large for any interface. A block with a count this large is treated as damaged."""


class Count(NamedTuple):
    """A running total of packets dropped on an interface.

    `since`: the time of the previous total; None for the first. `until`: the time at which the total was read, if known, but at
    least the latest time of the packets before the total in the file. Both times are in ns since the first packet. `received`:
    the number of captured packets; 0 if unknown.
    """

    interface: int
    since: int | None
    until: int
    total: int
    received: int = 0


class Dropped(NamedTuple):
    """The number of packets dropped on an interface between `since` and `until` (ns since the first packet).

    `since` is None if the drops may have begun with the capture.
    """

    interface: int
    since: int | None
    until: int
    packets: int


class Overwritten(NamedTuple):
    """Packets that the ring of a live capture overwrote before they could be analyzed.

    `frame`: the number of the first packet after them. `since`, `until`: the times of the packets before and after them (ns since
    the first packet); `since` is None if no packet precedes them, and `until` is None until the next packet is read. `packets`,
    `bytes`: their number, and the number of bytes that they took in the files.
    """

    frame: int
    since: int | None
    until: int
    packets: int
    bytes: int


class Statistics(NamedTuple):
    """The contents of an Interface Statistics Block.

    `interface`: the number of the interface in its section. `total`: the number of packets dropped so far. `since` and `until`:
    the times (ns since 1970) at which the previous total and this one were read, or None. `received`: the number of captured
    packets.
    """

    interface: int
    total: int
    since: int | None
    until: int | None
    received: int


class Drops:
    """The counts of dropped packets that a capture contains, in file order, and the packets that a ring overwrote."""

    def __init__(self) -> None:
        self.counts: list[Count] = []
        self.overwritten: list[Overwritten] = []
        self.first_kept = 0
        """The number of the first packet after the newest overwritten ones."""
        self._newest: dict[int, int] = {}
        """The index in `counts` of each interface's newest total."""
        self._checked: dict[int, int] = {}
        """The time at which each interface's newest total was last read."""
        self._received: dict[int, int] = {}
        """The number of captured packets that was reported with each interface's newest total."""

    def add(self, count: Count) -> None:
        """Add a total. If it equals the previous total of its interface, nothing was dropped in between."""
        interface = count.interface
        at = self._newest.get(interface)
        since = self._checked.get(interface) if count.since is None else count.since
        self._checked[interface] = count.until
        self._received[interface] = count.received
        if at is None or (self.counts[at].total != count.total and len(self.counts) < MAX_COUNTS):
            self._newest[interface] = len(self.counts)
            self.counts.append(count._replace(since=since))
        elif self.counts[at].total != count.total:
            self.counts[at] = self.counts[at]._replace(until=count.until, total=count.total)

    def overwrite(self, frame: int, since: int | None, packets: int, size: int) -> None:
        """Record that packets were overwritten, before the packet `frame` and after the time `since`. `size`: their bytes.

        If no packet was read since the previous call, or MAX_COUNTS are stored, they are added to the previous ones.
        """
        self.first_kept = frame
        last = self.overwritten[-1] if self.overwritten else None
        if last is not None and (last.until == LASTS or len(self.overwritten) >= MAX_COUNTS):
            self.overwritten[-1] = last._replace(until=LASTS, packets=last.packets + packets, bytes=last.bytes + size)
        else:
            self.overwritten.append(Overwritten(frame, since, LASTS, packets, size))

    def end_overwritten(self, until: int) -> None:
        """Set the time of the first packet after the newest overwritten packets, unless it is known."""
        if self.lasts:
            self.overwritten[-1] = self.overwritten[-1]._replace(until=until)

    @property
    def lasts(self) -> bool:
        """True if no packet was read after the newest overwritten packets."""
        return bool(self.overwritten) and self.overwritten[-1].until == LASTS

    def total(self) -> int | None:
        """Return the number of dropped packets; None if the capture has no counts, and nothing was overwritten."""
        dropped = self.dropped()
        return None if dropped is None else sum(one.packets for one in dropped)

    def packets_with_drops(self, packets: int) -> int:
        """Return how many packets the capture would have if none had been dropped. `packets`: the number of packets in the file.

        An exported file may contain fewer packets than were captured, but still carry the statistics of the original file. Then
        the number of captured packets is taken from these statistics.
        """
        received, dropped = sum(self._received.values()), self.total() or 0
        if received > packets + dropped:  # `received` includes the overwritten packets
            return dropped + received - sum(one.packets for one in self.overwritten)
        return dropped + packets

    def dropped(self) -> list[Dropped] | None:
        """Return the drops with their times; None if the capture does not count them. Overwritten packets count as dropped."""
        if not self.counts and not self.overwritten:
            return None
        found = [Dropped(RING, one.since, one.until, one.packets) for one in self.overwritten]
        before: dict[int, int] = {}
        for one in self.counts:
            last = before.get(one.interface, 0)
            before[one.interface] = one.total
            packets = one.total - last if one.total >= last else one.total
            if packets:
                found.append(Dropped(one.interface, one.since, one.until, packets))
        return found


def read_statistics(block: bytes, order: str) -> Statistics | None:
    """Return the contents of an Interface Statistics Block; None if the block does not count dropped packets."""
    if len(block) < _FIXED + 4:
        return None
    (interface,) = struct.unpack_from(order + "I", block, 8)
    options = read_options(block[_FIXED:-4], order) or []
    dropped = [
        int.from_bytes(value, _WORD[order])
        for code, value in options
        if code in (_DROPPED_BY_INTERFACE, _DROPPED_BY_SYSTEM) and len(value) == 8
    ]
    said = [found.groups() for code, value in options if code == _COMMENT and (found := _SAID.fullmatch(value))]
    received = [int.from_bytes(value, _WORD[order]) for code, value in options if code == _RECEIVED and len(value) == 8]
    total, captured = sum(dropped), sum(received)
    if not dropped or max(total, captured) >= _LARGEST:
        return None
    since, until = (None if one is None else int(one) for one in (said[0] if said else (None, None)))
    return Statistics(interface, total, since, until, captured)


def spans(dropped: Sequence[Dropped]) -> list[tuple[int | None, int]]:
    """Return the time spans with drops as (since, until) in ns, sorted and without overlaps.

    `since` is None for drops whose start is unknown.
    """
    found: list[tuple[int | None, int]] = []
    for since, until in sorted(((one.since, one.until) for one in dropped), key=lambda span: (span[0] is not None, span)):
        if found and (since is None or since <= found[-1][1]):
            found[-1] = (found[-1][0], max(found[-1][1], until))
        else:
            found.append((since, until))
    return found
