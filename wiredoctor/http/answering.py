"""From when on a response can be read: it may come before its request, which was captured late or lies behind a hole.

A response waits for the bytes that it acknowledges, PATIENCE at most. What counts is in which packet, or behind which, bytes
were there to be read, not where an epoch ends: with more than one of these in an epoch, the earliest is what was waited for.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wiredoctor.http.items import PATIENCE, Items, Moment
from wiredoctor.http.modes import OFF
from wiredoctor.tables import NEVER

if TYPE_CHECKING:
    from wiredoctor.http.conversation import Conversation
    from wiredoctor.http.reader import Reader

BEFORE: Moment = (NEVER, NEVER)
"""Earlier than what is read now."""


@dataclass
class Reading:
    """What is read at a time: the items of both sides, the clock behind them, and the moment at which a time was over."""

    both: tuple[Items, Items]
    now: int
    when: Callable[[int], Moment]


def ready(conversation: Conversation, own: Moment, ack: int, time: int) -> tuple[Moment, bool] | None:
    """The moment from which on a response could be read that was there at `own`, and whether it had waited in vain, so that a
    request of which the rest came later is not the one that it answers; None while it has to wait."""
    reading, asking = conversation.reading, conversation.readers[conversation.client]
    request = conversation.request_before(ack)
    if conversation.forced or reading is None or (request is not None and request.known() <= own):
        return own, False
    over = max(reading.when(time + PATIENCE), own) if reading.now >= time + PATIENCE else None
    unread = request is None and conversation.unread and (0 if asking.pos == NEVER else asking.pos) < ack
    if unread and not asking.paused:
        return None
    if ack == NEVER or not _begun(asking, reading.both[conversation.client], own):
        return own, True
    there = None if unread else _seen(asking, reading.both[conversation.client], ack)
    if there is not None and there <= own:
        # a head of which the first line had come by then is answered, one of which less had come is not
        return own, request is not None and request.told() > own
    known = [moment for moment in (there, None if request is None else request.known()) if moment is not None]
    first = min(known, default=None)
    if first is not None and (over is None or first <= over):
        return max(first, own), False
    return None if over is None else (over, True)


def _begun(asking: Reader, items: Items, own: Moment) -> bool:
    """Whether it was known at this moment where the bytes of the client begin."""
    there = asking.assembler
    return there.begun or not items.start or items.known(0) <= own


def _seen(asking: Reader, items: Items, ack: int) -> Moment | None:
    """When the bytes that the server acknowledges had been captured; None while they have not."""
    reached = asking.assembler.reached
    if asking.mode == OFF or reached is None:
        return BEFORE
    # one number more is a FIN
    if ack > reached + 1:
        return None
    k = bisect_left(items.end, ack - 1)
    return BEFORE if k == len(items.end) or items.start[k] >= ack - 1 else items.known(k)
