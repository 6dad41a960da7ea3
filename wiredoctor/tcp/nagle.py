"""Proof that a side does not use Nagle's algorithm (RFC 9293 section 3.7.4, RFC 896).

It sent a small segment of new data while an earlier small one of its own was unacknowledged at the capture point: the
ACK cannot have reached the sender before it passed there. Captures swap close neighbours, so that the proof counts only
when no covering ACK is recorded within SWAPPED after it; what is later than that knows of it.
"""

from __future__ import annotations

import numpy as np

from wiredoctor.scan import Groups
from wiredoctor.tables import FIN, MILLISECOND, NEVER, Array, Columns
from wiredoctor.tcp.acks import Acks
from wiredoctor.tcp.state import TcpState

SWAPPED = MILLISECOND
CLOSE = 2 * MILLISECOND
"""Two small segments this close (and closer than the round trip) were not separated by a timer."""
ALONE = 150 * MILLISECOND
"""With one segment in flight, Linux' tail loss probe comes after 200 ms, its cork timer after 200 ms: before is no timer."""


def prove(s: Columns, groups: Groups, index: Array, acks: Acks, state: TcpState) -> Array:
    """Whether Nagle is proved off for the sender of each row (n,), by what is more than 1 ms older than the row."""
    off = state.directions["nagle_off"]
    side = 2 * index + s["direction"]
    gap = s["time"] - s["data_before_time"]
    rtt = np.where((s["rtt_own"] == NEVER) | (s["rtt_other"] == NEVER), 0, s["rtt_own"] + s["rtt_other"])
    close = gap <= np.minimum(CLOSE, rtt)
    alone = (gap < ALONE) & (s["in_flight_before"] <= s["data_before_length"])
    unacknowledged = (s["data_before_frame"] != NEVER) & (s["data_before_end"] > acks.other)
    proof = s["small_start"] & s["data_before_small"] & unacknowledged & (close | alone)
    proof &= ((s["flags"] & FIN) == 0) & ~s["fills_hole"] & ~s["opens_hole"] & (off[side] == NEVER)
    _pending(s, groups, index, acks, state)
    group_end = groups.last[groups.number]
    for row in np.flatnonzero(proof).tolist():
        if off[side[row]] == NEVER:
            _decide(
                s, acks, int(side[row]), row, int(group_end[row]), (int(s["time"][row]), int(s["data_before_end"][row])), state
            )
    return (off[side] != NEVER) & (s["time"] > off[side])


def _pending(s: Columns, groups: Groups, index: Array, acks: Acks, state: TcpState) -> None:
    """Proofs of earlier epochs whose millisecond had not passed."""
    if not state.proofs:
        return
    slots = index[groups.first]
    for pending in list(state.proofs):
        at = int(np.searchsorted(slots, pending // 2))
        if at < len(slots) and slots[at] == pending // 2:
            for claim in state.proofs.pop(pending):
                if state.directions["nagle_off"][pending] == NEVER:
                    _decide(s, acks, pending, int(groups.first[at]), int(groups.last[at]), claim, state)


def _decide(s: Columns, acks: Acks, side: int, first: int, last: int, claim: tuple[int, int], state: TcpState) -> None:
    time, needed = claim
    covered = acks.by[1 - side % 2][first : last + 1]
    at = first + int(np.searchsorted(covered, needed))
    if at <= last:
        proved = int(s["time"][at]) - time > SWAPPED
    elif int(s["time"][last]) - time > SWAPPED:
        proved = True
    else:
        state.proofs.setdefault(side, []).append(claim)
        return
    if proved:
        state.directions["nagle_off"][side] = time + SWAPPED
