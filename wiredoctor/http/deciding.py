"""Until a head tells which side is the client, both are read packet by packet in the order of the capture: which of them is
heard first must not depend on where an epoch ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wiredoctor.http import seeking
from wiredoctor.http.modes import OFF, SEEK
from wiredoctor.tables import NEVER

if TYPE_CHECKING:
    from wiredoctor.http.conversation import Conversation
    from wiredoctor.http.items import Items
    from wiredoctor.http.payload import Payload
    from wiredoctor.http.reader import Reader


def decide(conversation: Conversation, both: tuple[Items, Items], at: list[int], stops: tuple[int, int], read: Payload) -> None:
    """Reads both sides from `at` on, until one is known to be the client or nothing is left up to `stops`."""
    readers = conversation.readers
    newest = [NEVER, NEVER]
    while conversation.client < 0:
        ahead: list[tuple[int, int, int]] = []
        for direction in (0, 1):
            if at[direction] < stops[direction]:
                k = _next(readers[direction], both[direction], at[direction], stops[direction])
                if k < stops[direction]:
                    # what had to wait for bytes in front of it could not be read before they came
                    newest[direction] = max(newest[direction], both[direction].frame[k])
                ahead.append((newest[direction] if k < stops[direction] else NEVER, direction, k))
        if not ahead:
            return
        _, direction, k = min(ahead)
        other = readers[1 - direction]
        begun = other.pos != NEVER or other.assembler.begun
        conversation.unread = begun and at[1 - direction] < stops[1 - direction]
        stop = min(k + 1, stops[direction])
        at[direction] = readers[direction].run(both[direction], at[direction], stop, read, conversation.parser)


def _next(reader: Reader, items: Items, i: int, stop: int) -> int:
    """The first of items[i:stop] that may tell something; `stop` where none can."""
    if reader.mode == OFF:
        return stop
    heads = seeking.heads_of(items) if reader.mode == SEEK else None
    return i if heads is None else seeking.next_head(heads, i, stop)
