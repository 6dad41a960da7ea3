"""Fourth stage: what the streams said. Segments in; segments with their messages, bursts, messages and exchanges out.

Heads are visited, bodies are jumped over; framing follows RFC 9112 section 6.3. A hole is stepped over when the framing
says where the next message begins, otherwise the reader finds its feet again at the next head.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from wiredoctor.http import endings
from wiredoctor.http.annotate import annotate
from wiredoctor.http.bursts import find_bursts
from wiredoctor.http.conversation import Conversation
from wiredoctor.http.effective_mss import lower
from wiredoctor.http.endpoints import endpoint_hash
from wiredoctor.http.exchanges import Exchanges, exchange_tables
from wiredoctor.http.faults import fault_table
from wiredoctor.http.message import ABSENT, AT_CAPTURE_END, IN_HOLE
from wiredoctor.http.messages import message_table
from wiredoctor.http.modes import OFF
from wiredoctor.http.payload import Payload
from wiredoctor.http.plain import read as read_plain
from wiredoctor.http.plain_rows import Plain
from wiredoctor.http.rows import rows_of
from wiredoctor.http.spoken import Said, Spoken
from wiredoctor.http.state import HttpState, listen
from wiredoctor.http.tls import SILENT, Told
from wiredoctor.http.undecided import (
    ANSWERED,
    all_said,
    answered,
    client_is_known,
    has_said,
    is_not_http,
    oldest_place,
    undecided_since,
)
from wiredoctor.http.walk import Walk, flow_of, retry
from wiredoctor.scan import Groups
from wiredoctor.tables import BURSTS, NEVER, Array, Columns

__all__ = [
    "ANSWERED",
    "Exchanges",
    "Heard",
    "HttpState",
    "all_said",
    "answered",
    "client_is_known",
    "finish",
    "forget",
    "has_said",
    "heard",
    "is_not_http",
    "oldest_place",
    "read",
    "undecided_since",
]


@dataclass
class Heard:
    """What an epoch adds: finished rows of bursts, messages and faults (tables of these names), and of exchanges."""

    bursts: pl.DataFrame
    messages: pl.DataFrame
    faults: pl.DataFrame
    exchanges: Exchanges


def read(
    s: Columns, groups: Groups, pieces: list[tuple[int, int, int]], acknowledged: tuple[Array, Array], data: Array,
    payload: Payload, facts: dict[str, Array], clock: int, retired: list[int], state: HttpState,
    tell: Callable[[Exchanges], None],
) -> Heard:  # fmt: skip
    """Reads what an epoch brought and adds the HTTP columns to the segments `s`.

    `facts` are TCP's arrays by slot, `clock` the watermark, `retired` the slots that no packet will come for any more.
    `tell` takes rows of exchanges where there are more than memory should hold at once; they are not in what is returned.
    """
    spoken = _spoken(state)

    def early(said: list[Said]) -> None:
        tell(_exchanges(said, facts, clock, state, (s, groups)))

    spoken.tell = early if s else None
    rows: Columns = {}
    plain: Plain | None = None
    touched: list[Conversation] = []
    due: list[tuple[int, int]] = []
    if s:
        every = np.ones(len(s["frame"]), dtype=bool)
        walk = Walk(
            s, groups, flow_of(s, groups, pieces, data), _by_row(pieces), acknowledged, facts["side_syn_frame"], payload, every
        )
        touched, plain = _walk(walk, spoken, state)
        for conversation in touched:
            conversation.tentative()
        client, heard_frame = _roles(s, groups, state)
        endpoint, lower_port = _endpoints(s["slot"][groups.first], facts)
        intervals = np.array(spoken.intervals, dtype=np.int64).reshape(-1, 7)
        if plain is not None:
            intervals = np.concatenate((plain.intervals, intervals))
        ended = np.array(spoken.ended, dtype=np.int64).reshape(-1, 3)
        late = np.array(spoken.late, dtype=np.int64).reshape(-1, 3)
        heard_so_far = client, heard_frame, endpoint, lower_port
        annotate(s, groups, walk.in_order, (intervals, ended, late), heard_so_far, state.last, spoken.event_streams)
        lower(s, groups, facts["ip_version"][s["slot"]] == 6, state.path)
        rows = find_bursts(s, state.bursts)
        due = endings.watch(s, facts, state)
    told = len(spoken.intervals)
    walked = {conversation.slot for conversation in touched}
    for slot in [x for x in state.ripening | (state.stalled & walked) if x in state.conversations]:
        conversation = state.conversations[slot]
        listen(conversation, spoken, state)
        retry(conversation, clock, state.frame, payload)
        touched.append(conversation)
    stalled = {c.slot for c in touched if _stalls(c)}
    state.stalled.difference_update([c.slot for c in touched])
    state.stalled |= stalled
    state.ripening = {c.slot for c in touched if c.slot in stalled and (c.slot in walked or _ripens(c))}
    for conversation in touched:
        conversation.say_finished()
    over = [(slot, deadline) for slot, deadline in state.deadlines.items() if deadline <= clock]
    for slot, deadline in due + over:
        endings.close(slot, deadline, facts, payload, spoken, state)
    for slot, _ in over:
        del state.deadlines[slot]
    for slot in retired:
        endings.end(slot, facts, payload, spoken, state, last_reason=IN_HOLE)
    _answered_late(spoken.intervals[told:], state)
    bursts = _burst_table(rows, state.bursts.close(retired), state)
    ended = _ended(state)
    _rest(state)
    return _tables(spoken, bursts, facts, clock, state, (s, groups) if s else None, plain, ended)


def finish(open_slots: list[int], payload: Payload, facts: dict[str, Array], clock: int, state: HttpState) -> Heard:
    """The capture is over: what is open in these slots, which are in the order of their connections, ends here."""
    spoken = _spoken(state)
    slots = [slot for slot in open_slots if slot in state.conversations]
    for slot in slots:
        endings.end(slot, facts, payload, spoken, state, last_reason=AT_CAPTURE_END)
    bursts = _burst_table({}, state.bursts.close(slots), state)
    _rest(state)
    return _tables(spoken, bursts, facts, clock, state)


def _ended(state: HttpState) -> list[Said]:
    """Return the exchanges that ended in this epoch and of which it is not known what follows, one of a connection at most."""
    speaking = {conversation.slot: conversation for conversation in state.speaking if conversation.open}
    first = [(conversation, conversation.open[0]) for conversation in speaking.values()]
    return [(c, x, False, ABSENT, c.previous, NEVER) for c, x in first if x.final and x.written is None]


def _rest(state: HttpState) -> None:
    """What an epoch said is not held by connections that stay open for long."""
    for conversation in state.speaking:
        conversation.rest(_NOTHING)
    state.speaking.clear()


def heard(slots: list[int], state: HttpState) -> dict[int, tuple[int, str, int, int, int, int, Told]]:
    """Per slot: direction of the HTTP client (-1: none), protocol, number of exchanges; packets that the snap length cut
    inside heads or chunk framing, frame and time of the first; what a TLS handshake said."""
    found = {slot: state.conversations[slot] for slot in slots if slot in state.conversations}
    return {
        slot: (c.client, c.protocol, c.next_index, *c.cut, SILENT if c.tls is None else c.tls.said()) for slot, c in found.items()
    }


def forget(slots: list[int], state: HttpState) -> None:
    """Finished connections; their slots will be used again."""
    for slot in slots:
        conversation = state.conversations.pop(slot, None)
        if conversation is not None:
            conversation.take_apart()
        state.deadlines.pop(slot, None)
    state.stalled.difference_update(slots)
    state.ripening.difference_update(slots)
    state.last.forget(slots)
    state.path.forget(slots)


_NOTHING = Spoken()


def _spoken(state: HttpState) -> Spoken:
    """For what an epoch will say."""
    return Spoken(messages=[] if state.keep_messages else None, pieces=state.bursts.pieces, streams=state.bursts.streams)


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
            conversation = state.conversations[slot] = Conversation(ids[group], slot, state.templates, state.met)
        if all(reader.mode == OFF for reader in conversation.readers):
            continue
        listen(conversation, spoken, state)
        visited.append((conversation, group))
    plain = read_plain(walk, visited, state.templates) if spoken.messages is None else None
    for conversation, group in visited:
        walk.visit(conversation, group)
    return [conversation for conversation, _ in visited], plain


def _ripens(conversation: Conversation) -> bool:
    """Whether time alone may give something up: a hole that was acknowledged, or a response whose request is not there."""
    waits = ((r.leftover is not None or r.paused, r.assembler) for r in conversation.readers)
    return any(held or (there.waiting and there.acknowledged_at != NEVER) for held, there in waits)


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
    lower = facts["side_port"][side[:, 1]] <= facts["side_port"][side[:, 0]]
    return endpoint_hash(side, facts), lower.astype(np.int64)


def _answered_late(intervals: array[int], state: HttpState) -> None:
    """Requests and responses that ended behind this epoch's segments: the segments of the next one know it."""
    for side, ended in zip(intervals[::7], intervals[6::7], strict=True):
        conversation = state.conversations.get(side >> 1)
        if conversation is not None and ended != NEVER:
            state.last.outstanding[side >> 1] += 1 if side & 1 == conversation.client else -1


def _burst_table(rows: Columns, closed: list[dict[str, int]], state: HttpState) -> pl.DataFrame:
    if not state.keep_bursts:
        return BURSTS.empty()
    frames = [BURSTS.frame(rows)] if rows else []
    if closed:
        frames.append(BURSTS.frame({name: [row[name] for row in closed] for name in closed[0]}))
    return pl.concat(frames) if frames else BURSTS.empty()


def _tables(
    spoken: Spoken, bursts: pl.DataFrame, facts: dict[str, Array], clock: int, state: HttpState,
    epoch: tuple[Columns, Groups] | None = None, plain: Plain | None = None, ended: Sequence[Said] = (),
) -> Heard:  # fmt: skip
    exchanges = _exchanges(spoken.said, facts, clock, state, epoch, plain, ended)
    messages = message_table(spoken.messages or [])
    return Heard(bursts, messages, fault_table(spoken.faults, facts), exchanges)


def _exchanges(
    said: list[Said], facts: dict[str, Array], clock: int, state: HttpState,
    epoch: tuple[Columns, Groups] | None, plain: Plain | None = None, ended: Sequence[Said] = (),
) -> Exchanges:  # fmt: skip
    """The rows of exchanges that were `said`, of `plain` ones, and of those that `ended` only."""
    fresh = [*ended, *(one for one in said if one[1].written is None)]
    old = [one for one in said if one[1].written is not None]
    rows = rows_of(fresh) if plain is None else rows_of(fresh) + plain.rows
    ends = len(rows.slot)
    listed = [*enumerate(fresh), *enumerate(old, ends)]
    some = {i: x for i, (_, x, *_) in listed if i < len(ended) or x.interim or x.parts or x.written}
    return exchange_tables(
        rows + rows_of(old) if old else rows, some, len(ended), ends, facts, clock, state.bursts, epoch
    )  # fmt: skip
