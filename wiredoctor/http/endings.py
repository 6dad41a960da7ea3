"""When what was open on a connection is over: some time after its close, when nothing more comes, or with the capture."""

from __future__ import annotations

import numpy as np

from wiredoctor.http.conversation import FOREVER, Conversation, close_reason
from wiredoctor.http.items import HOLE, Items
from wiredoctor.http.message import AT_CAPTURE_END, BY_FIN
from wiredoctor.http.modes import OFF
from wiredoctor.http.payload import Payload
from wiredoctor.http.spoken import Spoken
from wiredoctor.http.state import HttpState, listen
from wiredoctor.http.walk import flush, read_both
from wiredoctor.tables import FIN, NEVER, RST, SECOND, Array, Columns


def watch(s: Columns, facts: dict[str, Array], state: HttpState) -> list[tuple[int, int]]:
    """A FIN or RST: what the connection said is decided max(1 s, 2 rtt) later. Returns slots where that had passed when
    another came, and the deadlines that were over."""
    due: list[tuple[int, int]] = []
    for row in np.flatnonzero((s["flags"] & (FIN | RST)) != 0).tolist():
        slot = int(s["slot"][row])
        if slot in state.conversations:
            rtt = sum(max(int(facts["side_rtt"][2 * slot + d]), 0) for d in (0, 1))
            # by the watermark: where the clock was set back, a deadline by the packet's own time would be over before it
            time, deadline = int(s["clock"][row]), state.deadlines.get(slot, NEVER)
            if NEVER < deadline <= time:
                due.append((slot, deadline))
            state.deadlines[slot] = max(time + max(SECOND, 2 * rtt), deadline)
    return due


def close(
    slot: int, deadline: int, facts: dict[str, Array], payload: Payload, spoken: Spoken, state: HttpState
) -> None:  # fmt: skip
    """The time after a close is over. A half-close of the client leaves the response open (RFC 9112 section 9.6)."""
    conversation = state.conversations.get(slot)
    if conversation is None or conversation.client < 0:
        return
    server = 1 - conversation.client
    if close_reason(facts, slot, server, deadline) is None or not _whole(conversation, server, facts):
        return
    end(slot, facts, payload, spoken, state, AT_CAPTURE_END, deadline)


def _whole(conversation: Conversation, direction: int, facts: dict[str, Array]) -> bool:
    """Whether all bytes before the FIN of a direction were seen, or its receiver has them."""
    side = 2 * conversation.slot + direction
    fin = int(facts["side_fin_offset"][side])
    reached = conversation.readers[direction].assembler.reached
    if fin == NEVER or reached is None or reached >= fin:
        return True
    return int(facts["side_acknowledged"][side ^ 1]) >= fin


def end(
    slot: int, facts: dict[str, Array], payload: Payload, spoken: Spoken, state: HttpState,
    last_reason: int, deadline: int = FOREVER,
) -> None:  # fmt: skip
    """Ends what is open on a connection. With a `deadline` it may go on: only what was over by then ends (whatever else an
    epoch brought), and a direction that was not closed by then stays open."""
    conversation = state.conversations.get(slot)
    if conversation is None:
        return
    listen(conversation, spoken, state)
    flush(conversation, payload)
    reasons: list[int | None] = []
    for direction in (0, 1):
        reason = close_reason(facts, slot, direction, deadline)
        if reason == BY_FIN:
            _tail(conversation, direction, int(facts["side_fin_offset"][2 * slot + direction]), payload)
        reasons.append(last_reason if reason is None and deadline == FOREVER else reason)
    conversation.say_finished()
    at_capture_end = last_reason == AT_CAPTURE_END and deadline == FOREVER
    conversation.end((reasons[0], reasons[1]), at_capture_end, deadline)
    conversation.forced = False


def _tail(conversation: Conversation, direction: int, fin: int, payload: Payload) -> None:
    """Bytes between the last one seen and the FIN are missing in the capture."""
    reader = conversation.readers[direction]
    reached = reader.assembler.reached
    if reached is None or reached >= fin or reader.mode == OFF:
        return
    message = reader.message
    time, frame = (message.end, message.last_frame) if message is not None else (0, 0)
    items = Items()
    items.append((reached, fin, HOLE, time, frame, NEVER))
    reader.assembler.reached = fin
    other = Items()
    pair = [(items, 0, 1), (other, 0, 0)]
    read_both(conversation, pair if direction == 0 else pair[::-1], payload)
