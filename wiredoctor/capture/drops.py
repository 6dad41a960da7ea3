"""How many packets were dropped while a capture was made, and when.

A pcapng file says so in Interface Statistics Blocks (draft-ietf-opsawg-pcapng, section 4.6). Their counts are running totals, of
the interface (isb_ifdrop) and of the operating system (isb_osdrop). A total below the previous one means that counting began
again. The recorder of `live` writes a block whenever a total rises; its comment gives the time of an earlier, lower total.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from typing import Literal, NamedTuple

from wiredoctor.capture.pcapng.blocks import read_options

_COMMENT, _RECEIVED, _DROPPED_BY_INTERFACE, _DROPPED_BY_SYSTEM = 1, 4, 5, 7
_SAID = re.compile(rb"dropped after (\d{1,19}) ns since 1970")
_WORD: dict[str, Literal["little", "big"]] = {"<": "little", ">": "big"}
_FIXED = 20
"""Bytes of the block before its options."""
MOST_COUNTS = 10_000
"""Counts that are kept apart; after that the newest of an interface is replaced."""
_LARGEST = 1 << 48
"""More packets than any interface has seen: what counts more is damaged."""


class Count(NamedTuple):
    """A running total of an interface, read when the newest packet had the time `until`; `since`: that of the total before it,
    None for the first. Times are ns since the first packet. `received`: packets that were captured; 0 if it is not said."""

    interface: int
    since: int | None
    until: int
    total: int
    received: int = 0


class Dropped(NamedTuple):
    """Packets of an interface that were dropped between two times; `since`: None for "since capturing began"."""

    interface: int
    since: int | None
    until: int
    packets: int


class Statistics(NamedTuple):
    """What an Interface Statistics Block says: the interface, as its section numbers it, how many packets were dropped so far,
    after which time the newest of them (ns since 1970; None where it does not say), and how many were captured."""

    interface: int
    total: int
    since: int | None
    received: int


class Drops:
    """The counts of a capture, in the order of the file."""

    def __init__(self) -> None:
        self.counts: list[Count] = []
        self._newest: dict[int, int] = {}
        """Interface -> index of its newest count."""
        self._checked: dict[int, int] = {}
        """Interface -> when its newest total was read for the last time."""
        self._received: dict[int, int] = {}
        """Interface -> packets that were captured, by its newest count."""

    def add(self, count: Count) -> None:
        """Add a count; one that repeats the total before it only shows that nothing was dropped in between."""
        interface = count.interface
        at = self._newest.get(interface)
        since = self._checked.get(interface) if count.since is None else count.since
        self._checked[interface] = count.until
        self._received[interface] = count.received
        if at is None or (self.counts[at].total != count.total and len(self.counts) < MOST_COUNTS):
            self._newest[interface] = len(self.counts)
            self.counts.append(count._replace(since=since))
        elif self.counts[at].total != count.total:
            self.counts[at] = self.counts[at]._replace(until=count.until, total=count.total)

    def total(self) -> int | None:
        """Return how many packets were dropped; None if nothing counts them."""
        dropped = self.dropped()
        return None if dropped is None else sum(one.packets for one in dropped)

    def whole(self, packets: int) -> int:
        """Return how many packets the capture would have without drops. `packets`: those that are in the file.

        They may be a part of what was captured: programs that export some packets of a file copy its statistics.
        """
        received, dropped = sum(self._received.values()), self.total() or 0
        return dropped + (received if received > packets + dropped else packets)

    def dropped(self) -> list[Dropped] | None:
        """Return what was dropped and when; None if nothing counts drops."""
        if not self.counts:
            return None
        found: list[Dropped] = []
        before: dict[int, int] = {}
        for one in self.counts:
            last = before.get(one.interface, 0)
            before[one.interface] = one.total
            packets = one.total - last if one.total >= last else one.total
            if packets:
                found.append(Dropped(one.interface, one.since, one.until, packets))
        return found


def read_statistics(block: bytes, order: str) -> Statistics | None:
    """Return what an Interface Statistics Block says of dropped packets; None if nothing."""
    if len(block) < _FIXED + 4:
        return None
    (interface,) = struct.unpack_from(order + "I", block, 8)
    options = read_options(block[_FIXED:-4], order) or []
    dropped = [
        int.from_bytes(value, _WORD[order])
        for code, value in options
        if code in (_DROPPED_BY_INTERFACE, _DROPPED_BY_SYSTEM) and len(value) == 8
    ]
    said = [int(found[1]) for code, value in options if code == _COMMENT and (found := _SAID.fullmatch(value))]
    received = [int.from_bytes(value, _WORD[order]) for code, value in options if code == _RECEIVED and len(value) == 8]
    total, captured = sum(dropped), sum(received)
    if not dropped or max(total, captured) >= _LARGEST:
        return None
    return Statistics(interface, total, said[0] if said else None, captured)


def spans(dropped: Sequence[Dropped]) -> list[tuple[int | None, int]]:
    """Return the times in which packets were dropped: (since, until), apart from each other and in order."""
    found: list[tuple[int | None, int]] = []
    for since, until in sorted(((one.since, one.until) for one in dropped), key=lambda span: (span[0] is not None, span)):
        if found and (since is None or since <= found[-1][1]):
            found[-1] = (found[-1][0], max(found[-1][1], until))
        else:
            found.append((since, until))
    return found
