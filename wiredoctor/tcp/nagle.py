"""Proof that a side does not use Nagle's algorithm (RFC 9293 section 3.7.4, RFC 896), and what a probe frees from it.

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
    """Whether Nagle is proved off for the sender of each row (n,), by what is more than 1 ms older than the row.

    Older by the watermark, which no packet can set back: what a row knows does not depend on the rows behind it.
    """
    off = state.directions["nagle_off"]
    side = 2 * index + s["direction"]
    gap = s["time"] - s["data_before_time"]
    rtt = np.where((s["rtt_own"] == NEVER) | (s["rtt_other"] == NEVER), 0, s["rtt_own"] + s["rtt_other"])
    close = gap <= np.minimum(CLOSE, rtt)
    alone = (gap < ALONE) & (s["in_flight_before"] <= s["data_before_length"])
    # where nothing of the receiver was captured, its ACKs were not either
    heard = acks.other != NEVER
    unacknowledged = (s["data_before_frame"] != NEVER) & heard & (s["data_before_end"] > acks.other)
    proof = s["small_start"] & s["data_before_small"] & unacknowledged & (close | alone)
    proof &= ((s["flags"] & FIN) == 0) & ~s["fills_hole"] & ~s["opens_hole"] & (off[side] == NEVER)
    _pending(s, groups, index, acks, state)
    group_end = groups.last[groups.number]
    for row in np.flatnonzero(proof).tolist():
        if off[side[row]] == NEVER:
            _decide(
                s, acks, int(side[row]), row, int(group_end[row]), (int(s["clock"][row]), int(s["data_before_end"][row])), state
            )
    return (off[side] != NEVER) & (s["clock"] > off[side])


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
        proved = int(s["clock"][at]) - time > SWAPPED
    elif int(s["clock"][last]) - time > SWAPPED:
        proved = True
    else:
        state.proofs.setdefault(side, []).append(claim)
        return
    if proved:
        state.directions["nagle_off"][side] = time + SWAPPED


def find_probes(s: Columns, groups: Groups, index: Array, acks: Acks, state: TcpState) -> Array:
    """The column `probe_frame` (n,): where an ACK shows that a held-back segment left by a timer, and no ACK freed it.

    Linux' tail loss probe sends new data that Nagle's algorithm holds back when the ACK of the only segment in flight does
    not come (RFC 8985 section 7.2; tcp_send_loss_probe in net/ipv4/tcp_output.c). An ACK that comes later than any delayed one
    (RFC 9293 section 3.8.6.3) was not waited for.
    """
    found = np.zeros(len(index), dtype=np.int64)
    _pending_probes(s, groups, index, acks, found, state)
    gap = s["time"] - s["data_before_time"]
    wait, longest = state.cutoffs.min_probe_wait, state.cutoffs.max_ack_delay
    late = s["small_start"] & s["data_before_small"] & (gap >= wait) & (s["data_before_frame"] != NEVER)
    late &= s["data_before_end"] > acks.other
    for row in np.flatnonzero(late).tolist():
        rtt = int(s["rtt_own"][row]), int(s["rtt_other"][row])
        alone = s["in_flight_before"][row] <= s["data_before_length"][row]
        if NEVER in rtt or not alone or not wait + sum(rtt) <= gap[row] <= longest + sum(rtt):
            continue
        end = int(s["offset"][row]) + int(s["length"][row])
        probe = int(s["frame"][row]), int(s["data_before_end"][row]), end
        side = 2 * int(index[row]) + int(s["direction"][row])
        _answer(s, acks, side, row, int(groups.last[groups.number[row]]), probe, found, state)
    return found


def _pending_probes(s: Columns, groups: Groups, index: Array, acks: Acks, found: Array, state: TcpState) -> None:
    """Probes of earlier epochs that were not acknowledged yet."""
    if not state.probes:
        return
    slots = index[groups.first]
    for side in list(state.probes):
        at = int(np.searchsorted(slots, side // 2))
        if at < len(slots) and slots[at] == side // 2:
            for probe in state.probes.pop(side):
                _answer(s, acks, side, int(groups.first[at]), int(groups.last[at]), probe, found, state)


def _answer(
    s: Columns, acks: Acks, side: int, first: int, last: int, probe: tuple[int, int, int], found: Array, state: TcpState
) -> None:
    frame, data_end, end = probe
    covered = acks.by[1 - side % 2][first : last + 1]
    at = first + int(np.searchsorted(covered, data_end))
    if s["retransmission"][first : min(at, last) + 1].any():
        return
    if at > last:
        state.probes.setdefault(side, []).append(probe)
    elif covered[at - first] >= end:
        found[at] = frame
