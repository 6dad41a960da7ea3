"""How a connection came about: the client's SYNs, which of them was answered, and by what."""

from __future__ import annotations

import numpy as np

from wiredoctor.scan import Groups, before, group_rows, last_where
from wiredoctor.tables import ACK, CWR, ECE, NEVER, RST, SYN, Array, Columns
from wiredoctor.tcp.acks import Acks
from wiredoctor.tcp.state import FAR, TcpState

LONGEST_SYN = 1 << 16
"""Bytes. What answers a SYN acknowledges it and the data that it may carry (RFC 7413), which are one packet."""


def follow_connects(s: Columns, index: Array, acks: Acks, state: TcpState) -> None:
    """Counts the SYNs of clients and remembers what answered them; what comes after the handshake is no part of it."""
    rows = np.flatnonzero((s["flags"] & (SYN | RST)) != 0)
    if len(rows):
        _handshakes(s, rows, index[rows], acks, state)
    _round_trips(s, index, acks, state)


def _handshakes(s: Columns, rows: Array, slot: Array, acks: Acks, state: TcpState) -> None:
    c = state.connections
    frame, time, flags = s["frame"][rows], s["time"][rows], s["flags"][rows] & (SYN | ACK | RST)
    client = s["direction"][rows] == c["client_direction"][slot]
    acknowledged = np.where(client, acks.own_before[rows], acks.other[rows])
    begun = (c["syn_frame"][slot] != NEVER) & (frame >= c["syn_frame"][slot]) & (acknowledged == NEVER)
    fits = begun & ~client & (s["ack"][rows] >= 0) & (s["ack"][rows] <= LONGEST_SYN)
    groups = group_rows(slot)
    syn = begun & client & (flags == SYN)
    answer = fits & (flags == (SYN | ACK))
    unanswered = (c["answer_frame"][slot] == NEVER) | (c["answer_frame"][slot] > frame)
    newest = last_where(syn, groups)
    asked = [np.where(newest >= 0, now[newest], c[f"last_syn_{name}"][slot]) for name, now in (("frame", frame), ("time", time))]
    asked_more = np.where(newest >= 0, _extras(s, rows)[newest], c["last_syn_extras"][slot])
    # it acknowledges the SYN and nothing behind it: what does was sent on a connection that came about unseen
    refused = fits & unanswered & (flags == (RST | ACK)) & ((s["ack"][rows] == 0) | asked_more)
    _note("refused", np.flatnonzero(refused), slot, frame, time, state)
    _count_syns(s, rows, slot, np.flatnonzero(syn), groups, state)
    answers = np.flatnonzero(answer)
    _note("first_answer", answers, slot, frame, time, state)
    # of several rows of a slot the last one stays
    for name, values in (("newest_answer_frame", frame), ("newest_answer_time", time), ("answered_syn_frame", asked[0]),
                         ("answered_syn_time", asked[1]), ("answered_syn_extras", asked_more)):  # fmt: skip
        c[name][slot[answers]] = values[answers]


def _extras(s: Columns, rows: Array) -> Array:
    """What a SYN asks for that middleboxes are known to drop: ECN (RFC 3168 section 6.1.1), data (RFC 7413)."""
    return ((s["flags"][rows] & (ECE | CWR)) != 0) | (s["length"][rows] > 0)


def _count_syns(s: Columns, rows: Array, slot: Array, syns: Array, groups: Groups, state: TcpState) -> None:
    """Number of each SYN, and the times of the first three and of the newest."""
    if not len(syns):
        return
    c, at = state.connections, slot[syns]
    is_syn = np.zeros(len(rows), dtype=np.int64)
    is_syn[syns] = 1
    count = np.cumsum(is_syn)
    earlier = before(count, groups, none=0)
    earlier[groups.first] = (count - is_syn)[groups.first]
    number = (count - earlier[groups.start])[syns] + c["syns"][at]
    frame, time = s["frame"][rows[syns]], s["time"][rows[syns]]
    extras = _extras(s, rows[syns])
    for nth, name in ((1, "syn_time"), (2, "second_syn_time"), (3, "third_syn_time")):
        those = number == nth
        c[name][at[those]] = time[those]
    c["second_syn_frame"][at[number == 2]] = frame[number == 2]
    c["syn_extras"][at[number == 1]] = extras[number == 1]
    c["last_syn_frame"][at], c["last_syn_time"][at], c["last_syn_extras"][at] = frame, time, extras
    c["syns"][at] = number


def _note(name: str, rows: Array, slot: Array, frame: Array, time: Array, state: TcpState) -> None:
    """Frame and time of the first of these rows in each slot that has none yet."""
    c = state.connections
    fresh = rows[c[f"{name}_frame"][slot[rows]] == NEVER][::-1]
    c[f"{name}_frame"][slot[fresh]], c[f"{name}_time"][slot[fresh]] = frame[fresh], time[fresh]


def _round_trips(s: Columns, index: Array, acks: Acks, state: TcpState) -> None:
    """Shortest times from data to its ACK where a SYN was repeated: there SYN and SYN-ACK do not tell which belong together
    (RFC 6298 section 3)."""
    second = state.connections["second_syn_frame"][index]
    again = second != NEVER
    if not again.any():
        return
    rows = np.flatnonzero(again & (s["frame"] > second) & (acks.newest != NEVER))
    sample = s["time"][rows] - acks.newest[rows]
    rows, sample = rows[sample >= 0], sample[sample >= 0]
    side = 2 * index[rows] + s["direction"][rows]
    np.minimum.at(state.directions["data_rtt"], side, sample)


def told_by_data(data_rtt: tuple[Array, Array], second_syn: Array) -> Array:
    """Round trip of both sides as data shows it, as far as it does, where a SYN was repeated; else NEVER."""
    known = np.where(data_rtt[0] == FAR, 0, data_rtt[0]) + np.where(data_rtt[1] == FAR, 0, data_rtt[1])
    return np.where(second_syn == NEVER, NEVER, known)
