"""Runs of small segments: one after the other, without a pause and without an answer."""

from __future__ import annotations

import numpy as np

from wiredoctor.tables import NEVER, Array, Columns
from wiredoctor.tcp.sparse import blank
from wiredoctor.tcp.state import TcpState

_OF_RUN = (("bytes", "i8", 0), ("frame", "i8", NEVER), ("time", "i8", NEVER))


def follow_runs(s: Columns, index: Array, state: TcpState) -> None:
    """Adds to the segments `s` the columns small_run (how many segments the run has up to and including this one; 0 where
    it does not continue one), and of that run small_run_bytes, small_run_frame and small_run_time."""
    n = len(index)
    candidates = s["small_start"] & s["data_before_small"] & ~s["other_data_since"] & ~s["fills_hole"] & ~s["opens_hole"]
    rows = np.flatnonzero(candidates)
    gap = s["time"][rows] - s["data_before_time"][rows]
    whole = s["data_before_length"][rows] < s["mss"][rows]
    rows = rows[(gap <= state.cutoffs.max_run_interval) & (gap >= 0) & whole]
    s["small_run"] = np.zeros(n, dtype=np.int32) if len(rows) else blank(n, "i4", 0)
    for name, kind, value in _OF_RUN:
        s[f"small_run_{name}"] = np.full(n, value, dtype=kind) if len(rows) else blank(n, kind, value)
    for d in (0, 1):
        mine = rows[s["direction"][rows] == d]
        if len(mine):
            _count(s, mine, 2 * index[mine] + d, state)


def _count(s: Columns, rows: Array, side: Array, state: TcpState) -> None:
    """Rows of one direction that continue a run, in the order of connections and frames."""
    directions = state.directions
    before = s["data_before_row"][rows]
    follows = np.zeros(len(rows), dtype=bool)
    follows[1:] = before[1:] == rows[:-1]
    carried = ~follows & (before < 0) & (directions["small_run_last"][side] == s["data_before_frame"][rows])
    begin = np.flatnonzero(~follows)
    run = np.cumsum(~follows) - 1
    length = s["length"][rows].astype(np.int64)
    total = np.cumsum(length)
    first, known = rows[begin], carried[begin]

    def at_start(name: str, fresh: Array) -> Array:
        return np.where(known, directions[f"small_run_{name}"][side[begin]], fresh)

    count = at_start("count", np.ones(len(first), dtype=np.int64))
    size = at_start("bytes", s["data_before_length"][first].astype(np.int64))
    s["small_run"][rows] = count[run] + np.arange(len(rows)) - begin[run] + 1
    s["small_run_bytes"][rows] = size[run] + total - (total - length)[begin][run]
    s["small_run_frame"][rows] = at_start("frame", s["data_before_frame"][first])[run]
    s["small_run_time"][rows] = at_start("time", s["data_before_time"][first])[run]
    # of rows of one side the last one stays
    directions["small_run_count"][side] = s["small_run"][rows]
    directions["small_run_last"][side] = s["frame"][rows]
    for name, _, _ in _OF_RUN:
        directions[f"small_run_{name}"][side] = s[f"small_run_{name}"][rows]
