"""More connections than are remembered: which are given up, and when that is decided.

Neither may depend on how much of a capture is read at once, or on the number of processes. So connections are counted in
buckets, of which a process has whole ones, and only behind packets whose frame number is a multiple of CROWD_CHECK; an epoch
in which there may be too many is taken in parts that end there, and so is one in which very many begin.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from wiredoctor import limits
from wiredoctor.scan import BUCKETS
from wiredoctor.tables import ACK, NEVER, SYN, Array, Columns
from wiredoctor.tcp.flows import Flows, buckets, look_up
from wiredoctor.tcp.state import TcpState


@dataclass
class Part:
    """Packets of an epoch up to the frame `last`, and their pairs of endpoints."""

    packets: Columns
    flows: Flows
    last: int


def parts(packets: Columns, first: int, last: int, state: TcpState) -> Iterator[Part]:
    """The packets of the frames first .. last: together, or cut where it is counted how many connections are open."""
    flows = look_up(packets, state)
    every = limits.CROWD_CHECK.value
    cuts = [*range(first - first % every + (every if first % every else 0), last, every)]
    if not cuts or not (_opens_many(packets, flows) or _may_be_crowded(packets, flows, state)):
        yield Part(packets, flows, last)
        return
    begin = 0
    for cut in (*cuts, last):
        end = int(np.searchsorted(packets["frame"], cut, side="right"))
        some = {name: column[begin:end] for name, column in packets.items()}
        yield Part(some, look_up(some, state), cut)
        begin = end


def _opens_many(packets: Columns, flows: Flows) -> bool:
    """Whether so many connections begin that what is made of each would fill the memory, were they taken together."""
    most = limits.FINISHED_AT_ONCE.value
    new = int((flows.slots < 0).sum())
    if new > most:
        return True
    # each SYN may open one, on ports that were used before
    return int(np.count_nonzero((packets["flags"] & (SYN | ACK)) == SYN)) > most


def _may_be_crowded(packets: Columns, flows: Flows, state: TcpState) -> bool:
    """Whether a bucket can come to hold too many within these packets, whatever is given up meanwhile."""
    new = flows.row[flows.slots < 0]
    if len(state.flow_keys) + len(new) <= _most():
        return False
    fresh = np.bincount(buckets(packets, new).astype(np.int64), minlength=BUCKETS)
    return bool((_held(state, _live(state)) + fresh > _most()).any())


def crowded_out(last: int, gone: list[int], state: TcpState) -> list[int]:
    """Slots to be given up behind the frame `last`, in the order of their connections; `gone` are given up anyhow."""
    if last % limits.CROWD_CHECK.value or len(state.flow_keys) <= _most():
        return []
    live = _live(state)
    live = live[~np.isin(live, gone)]
    excess = np.maximum(_held(state, live) - _most(), 0)
    if not excess.any():
        return []
    c = state.connections
    bucket = c["bucket"][live].astype(np.int64)
    order = np.lexsort((c["id"][live], c["last_frame"][live], ~c["closed"][live], bucket))
    bucket = bucket[order]
    place = np.arange(len(order)) - np.searchsorted(bucket, np.arange(BUCKETS))[bucket]
    out = live[order[place < excess[bucket]]]
    state.met.add(limits.OPEN, int((~c["closed"][out]).sum()))
    slots: list[int] = out[np.argsort(c["id"][out])].tolist()
    return slots


def _most() -> int:
    """Connections of a bucket."""
    return max(limits.OPEN.value // BUCKETS, 1)


def _live(state: TcpState) -> Array:
    return np.flatnonzero(state.connections["id"][: state.used] != NEVER)


def _held(state: TcpState, slots: Array) -> Array:
    """How many of these slots each bucket has."""
    return np.bincount(state.connections["bucket"][slots], minlength=BUCKETS)
