"""Fourth stage: what the streams said. Segments in; segments with their messages, bursts, messages and exchanges out.

Heads are visited, bodies are jumped over; framing follows RFC 9112 section 6.3. A hole is stepped over when the framing
says where the next message begins, otherwise the reader finds its feet again at the next head.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from wiredoctor.http.annotate import LastData, annotate
from wiredoctor.http.bursts import BurstState, find_bursts
from wiredoctor.http.conversation import AT_CAPTURE_END, FOREVER, IN_HOLE, Conversation, Spoken, close_reason
from wiredoctor.http.effective_mss import PathState, lower
from wiredoctor.http.exchanges import exchange_table
from wiredoctor.http.head import HeadParser
from wiredoctor.http.items import HOLE, Items
from wiredoctor.http.message import BY_FIN
from wiredoctor.http.messages import message_table
from wiredoctor.http.modes import OFF
from wiredoctor.http.payload import Payload
from wiredoctor.http.plain import Plain
from wiredoctor.http.plain import read as read_plain
from wiredoctor.http.rows import rows_of
from wiredoctor.http.templates import RequestTemplates
from wiredoctor.http.walk import Walk, flow_of, flush, read_both, retry
from wiredoctor.scan import Groups
from wiredoctor.tables import BURSTS, FIN, NEVER, RST, SECOND, Array, Columns

__all__ = ["Heard", "HttpState", "finish", "forget", "heard", "read"]


@dataclass
class HttpState:
    """What is remembered between epochs. `keep_messages`, `keep_bursts`: whether these tables are wanted."""

    keep_messages: bool = False
    keep_bursts: bool = False
    templates: RequestTemplates = field(default_factory=lambda: RequestTemplates(HeadParser()))
    conversations: dict[int, Conversation] = field(default_factory=dict[int, Conversation])
    speaking: list[Conversation] = field(default_factory=list[Conversation])
    stalled: set[int] = field(default_factory=set[int])
    deadlines: dict[int, int] = field(default_factory=dict[int, int])
    last: LastData = field(default_factory=LastData)
    path: PathState = field(default_factory=PathState)
    bursts: BurstState = field(default_factory=BurstState)


@dataclass
class Heard:
    """What an epoch adds: finished rows of bursts, messages and exchanges (tables of these names)."""

    bursts: pl.DataFrame
    messages: pl.DataFrame
    exchanges: pl.DataFrame


def read(
    s: Columns, groups: Groups, pieces: list[tuple[int, int, int]], acknowledged: tuple[Array, Array], data: Array,
    payload: Payload, facts: dict[str, Array], clock: int, retired: list[int], state: HttpState,
) -> Heard:  # fmt: skip
    """Reads what an epoch brought and adds the HTTP columns to the segments `s`.

    `facts` are TCP's arrays by slot, `clock` the watermark, `retired` the slots that no packet will come for any more.
    """
    spoken = Spoken(messages=[] if state.keep_messages else None)
    rows: Columns = {}
    plain: Plain | None = None
    touched: list[Conversation] = []
    due: list[tuple[int, int]] = []
    if s:
        every = np.ones(len(s["frame"]), dtype=bool)
        walk = Walk(
            s, groups, flow_of(s, groups, pieces, data), _by_row(pieces), acknowledged, facts["side_syn_seen"], payload, every
        )
        touched, plain = _walk(walk, spoken, state)
        for conversation in touched:
            conversation.tentative()
        client, heard_frame = _roles(s, groups, state)
        endpoint, lower_port = _endpoints(s["slot"][groups.first], facts)
        intervals = np.array(spoken.intervals, dtype=np.int64).reshape(-1, 7)
        event_streams = spoken.event_streams
        if plain is not None:
            event_streams = event_streams + plain.event_streams
            intervals = np.concatenate((plain.intervals, intervals))
        annotate(s, groups, walk.in_order, intervals, client, heard_frame, endpoint, lower_port, state.last, event_streams)
        lower(s, groups, facts["ip_version"][s["slot"]] == 6, state.path)
        rows = find_bursts(s, state.bursts)
        due = _watch(s, facts, state)
    told = len(spoken.intervals)
    for slot in [x for x in state.stalled if x in state.conversations]:
        conversation = state.conversations[slot]
        _listen(conversation, spoken, state)
        retry(conversation, clock, payload)
        touched.append(conversation)
    state.stalled = {c.slot for c in touched if _stalls(c)}
    for conversation in touched:
        conversation.say_finished()
    over = [(slot, deadline) for slot, deadline in state.deadlines.items() if deadline <= clock]
    for slot, deadline in due + over:
        _close(slot, deadline, facts, payload, spoken, state)
    for slot, _ in over:
        del state.deadlines[slot]
    for slot in retired:
        _end(slot, facts, payload, spoken, state, last_reason=IN_HOLE)
    _answered_late(spoken.intervals[told:], state)
    bursts = _burst_table(rows, state.bursts.close(retired), state)
    for conversation in state.speaking:
        # what an epoch said is not held by connections that stay open for long
        conversation.spoken = _NOTHING
    state.speaking.clear()
    return _tables(spoken, bursts, facts, clock, state, (s, groups) if s else None, plain)


def finish(open_slots: list[int], payload: Payload, facts: dict[str, Array], clock: int, state: HttpState) -> Heard:
    """The capture is over: what is open in these slots, which are in the order of their connections, ends here."""
    spoken = Spoken(messages=[] if state.keep_messages else None)
    slots = [slot for slot in open_slots if slot in state.conversations]
    for slot in slots:
        _end(slot, facts, payload, spoken, state, last_reason=AT_CAPTURE_END)
    bursts = _burst_table({}, state.bursts.close(slots), state)
    return _tables(spoken, bursts, facts, clock, state)


def heard(slots: list[int], state: HttpState) -> dict[int, tuple[int, str, int]]:
    """Per slot: direction of the HTTP client (-1: none), protocol, number of exchanges."""
    found = {slot: state.conversations[slot] for slot in slots if slot in state.conversations}
    return {slot: (c.client, c.protocol, c.next_index) for slot, c in found.items()}


def forget(slots: list[int], state: HttpState) -> None:
    """Finished connections; their slots will be used again."""
    for slot in slots:
        conversation = state.conversations.pop(slot, None)
        if conversation is not None:
            conversation.take_apart()
        state.deadlines.pop(slot, None)
    state.stalled.difference_update(slots)
    state.last.forget(slots)
    state.path.forget(slots)


_NOTHING = Spoken()


def _listen(conversation: Conversation, spoken: Spoken, state: HttpState) -> None:
    """What the connection says from now on goes to this epoch."""
    conversation.spoken = spoken
    state.speaking.append(conversation)


def _by_row(pieces: list[tuple[int, int, int]]) -> dict[int, list[tuple[int, int]]]:
    found: dict[int, list[tuple[int, int]]] = {}
    for row, start, end in pieces:
        found.setdefault(row, []).append((start, end))
    return found


def _walk(walk: Walk, spoken: Spoken, state: HttpState) -> tuple[list[Conversation], Plain | None]:
    """Visits the connections that got payload."""
    s, groups, bounds = walk.s, walk.groups, walk.flow.bounds
    some = np.diff(bounds[0]) + np.diff(bounds[1]) > 0
    if state.stalled:
        # without payload there may be the ACK that says that a hole will not be filled
        some |= np.isin(s["slot"][groups.first], list(state.stalled))
    slots = s["slot"][groups.first].tolist()
    ids = s["connection"][groups.first].tolist()
    visited: list[tuple[Conversation, int]] = []
    for group in np.flatnonzero(some).tolist():
        slot = slots[group]
        conversation = state.conversations.get(slot)
        if conversation is None:
            conversation = state.conversations[slot] = Conversation(ids[group], slot, state.templates)
        if all(reader.mode == OFF for reader in conversation.readers):
            continue
        _listen(conversation, spoken, state)
        visited.append((conversation, group))
    plain = read_plain(walk, visited, state.templates) if spoken.messages is None else None
    for conversation, group in visited:
        walk.visit(conversation, group)
    return [conversation for conversation, _ in visited], plain


def _stalls(conversation: Conversation) -> bool:
    return any(r.leftover is not None or r.assembler.waiting for r in conversation.readers)


def _roles(s: Columns, groups: Groups, state: HttpState) -> tuple[Array, Array]:
    found = [state.conversations.get(slot) for slot in s["slot"][groups.first].tolist()]
    client = np.array([-1 if c is None else c.client for c in found], dtype=np.int64)
    frame = np.array([NEVER if c is None else c.heard_frame for c in found], dtype=np.int64)
    return client, frame


def _endpoints(slots: Array, facts: dict[str, Array]) -> tuple[Array, Array]:
    """Hashes of address and port per slot and direction (k, 2), and the direction of the lower port (k,)."""
    side = 2 * slots[:, None] + np.arange(2)
    with np.errstate(over="ignore"):
        mixed = facts["side_port"][side].astype(np.uint64)
        for name in ("side_address_high", "side_address_low"):
            mixed = (mixed ^ facts[name][side]) * np.uint64(0x9E3779B97F4A7C15)
            mixed ^= mixed >> np.uint64(32)
    lower = facts["side_port"][side[:, 1]] <= facts["side_port"][side[:, 0]]
    return mixed.view(np.int64), lower.astype(np.int64)


def _answered_late(intervals: array[int], state: HttpState) -> None:
    """Requests and responses that ended behind this epoch's segments: the segments of the next one know it."""
    for side, ended in zip(intervals[::7], intervals[6::7], strict=True):
        conversation = state.conversations.get(side >> 1)
        if conversation is not None and ended != NEVER:
            state.last.outstanding[side >> 1] += 1 if side & 1 == conversation.client else -1


def _watch(s: Columns, facts: dict[str, Array], state: HttpState) -> list[tuple[int, int]]:
    """A FIN or RST: what the connection said is decided max(1 s, 2 rtt) later. Returns slots where that had passed when
    another came, and the deadlines that were over."""
    due: list[tuple[int, int]] = []
    for row in np.flatnonzero((s["flags"] & (FIN | RST)) != 0).tolist():
        slot = int(s["slot"][row])
        if slot in state.conversations:
            rtt = sum(max(int(facts["side_rtt"][2 * slot + d]), 0) for d in (0, 1))
            time, deadline = int(s["time"][row]), state.deadlines.get(slot, NEVER)
            if NEVER < deadline <= time:
                due.append((slot, deadline))
            state.deadlines[slot] = max(time + max(SECOND, 2 * rtt), deadline)
    return due


def _close(
    slot: int, deadline: int, facts: dict[str, Array], payload: Payload, spoken: Spoken, state: HttpState
) -> None:  # fmt: skip
    """The time after a close is over. A half-close of the client leaves the response open (RFC 9112 section 9.6)."""
    conversation = state.conversations.get(slot)
    if conversation is None or conversation.client < 0:
        return
    server = 1 - conversation.client
    if close_reason(facts, slot, server, deadline) is None or not _whole(conversation, server, facts):
        return
    _end(slot, facts, payload, spoken, state, AT_CAPTURE_END, deadline)


def _whole(conversation: Conversation, direction: int, facts: dict[str, Array]) -> bool:
    """Whether all bytes before the FIN of a direction were seen, or its receiver has them."""
    side = 2 * conversation.slot + direction
    fin = int(facts["side_fin_offset"][side])
    reached = conversation.readers[direction].assembler.reached
    if fin == NEVER or reached is None or reached >= fin:
        return True
    return int(facts["side_acknowledged"][side ^ 1]) >= fin


def _end(
    slot: int, facts: dict[str, Array], payload: Payload, spoken: Spoken, state: HttpState,
    last_reason: int, deadline: int = FOREVER,
) -> None:  # fmt: skip
    """Ends what is open on a connection. With a `deadline` it may go on: only what was over by then ends (whatever else an
    epoch brought), and a direction that was not closed by then stays open."""
    conversation = state.conversations.get(slot)
    if conversation is None:
        return
    _listen(conversation, spoken, state)
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


def _burst_table(rows: Columns, closed: list[dict[str, int]], state: HttpState) -> pl.DataFrame:
    if not state.keep_bursts:
        return BURSTS.empty()
    frames = [BURSTS.frame(rows)] if rows else []
    if closed:
        frames.append(BURSTS.frame({name: [row[name] for row in closed] for name in closed[0]}))
    return pl.concat(frames) if frames else BURSTS.empty()


def _tables(
    spoken: Spoken, bursts: pl.DataFrame, facts: dict[str, Array], clock: int, state: HttpState,
    epoch: tuple[Columns, Groups] | None = None, plain: Plain | None = None,
) -> Heard:  # fmt: skip
    rows = rows_of(spoken.said)
    some = {i: x for i, (_, x, *_) in enumerate(spoken.said) if x.interim or x.parts}
    exchanges = exchange_table(rows if plain is None else rows + plain.rows, some, facts, clock, state.bursts, epoch)
    messages = message_table(spoken.messages or [])
    return Heard(bursts, messages, exchanges)
