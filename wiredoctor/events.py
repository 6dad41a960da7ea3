"""Event tables, filtered from the segments of an epoch: the few rows that rules judge, in place of a row per packet.

Only what one segment and its neighbors prove is decided here, and that it lies within the cutoffs. Rules judge the rest.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl

from wiredoctor.cutoffs import Cutoffs
from wiredoctor.tables import CLOSURES, NEVER, RECOVERIES, RELEASES, RUNS, Array, Columns, Table


def event_tables(segments: Columns, cutoffs: Cutoffs) -> dict[str, pl.DataFrame]:
    """Return the rows of tables.EVENT_TABLES in these segments (tables.SEGMENTS as columns; none at all if empty)."""
    return {table.name: find(segments, cutoffs) if segments else table.empty() for table, find in _FILTERS}


def find_releases(s: Columns, cutoffs: Cutoffs) -> pl.DataFrame:
    """Return segments that may have waited for an ACK or a timer, and ACKs that show that it was a timer."""
    new = (s["new_bytes"] > 0) & ~(s["retransmission"] | s["overlap"] | s["fills_hole"] | s["opens_hole"])
    undisturbed = s["data_before_last_in_flight"] & ~s["other_data_since"] & ~s["retransmission_since"]
    waiting = (s["quiet_since_ack"] & (s["owes"] | ~s["http"])) | (s["small_start"] & s["data_before_small"])
    rows = np.flatnonzero((s["small_start"] | s["full"]) & new & undisturbed & waiting & ~s["keep_alive_probe"])
    some = _Rows(s, rows)
    sort = np.where(s["probe_frame"] > 0, _ANSWERS_PROBE, 0)
    for number, is_one in ((_PROBE, _probe), (_WAITED, _waited), (_PROMPT, _prompt)):
        sort[rows[is_one(some, cutoffs)]] = number
    rows = np.flatnonzero(sort)
    return _frame(RELEASES, _Rows(s, rows), {"sort": np.array(_SORTS)[sort[rows]]})


def find_recoveries(s: Columns, cutoffs: Cutoffs) -> pl.DataFrame:
    """Return the ACKs that show that a retransmission ended a time without progress."""
    rows = np.flatnonzero(s["ends_stall"])
    long = s["resent_time"][rows] - s["stall_time"][rows] >= cutoffs.min_stall
    return _frame(RECOVERIES, _Rows(s, rows[long]))


def find_closures(s: Columns, cutoffs: Cutoffs) -> pl.DataFrame:
    """Return the first segments with new data after a closed window."""
    rows = np.flatnonzero(s["after_closed_window"])
    long = s["opened_time"][rows] - s["closed_time"][rows] >= cutoffs.min_closed_window
    return _frame(CLOSURES, _Rows(s, rows[long]))


def find_runs(s: Columns, cutoffs: Cutoffs) -> pl.DataFrame:
    """Return the small segments of long runs, and those that begin another message within a run."""
    rows = np.flatnonzero(s["small_run"] >= 2)
    some = _Rows(s, rows)
    long, known = some["small_run"] >= cutoffs.min_run, some["message"] != NEVER
    begins_message = some["message"] != some["data_before_message"]
    return _frame(RUNS, _Rows(s, rows[known & (long | begins_message) & (some["small_run"] <= cutoffs.max_run)]))


_SORTS = ("", "waited", "prompt", "probe", "answers_probe")
_WAITED, _PROMPT, _PROBE, _ANSWERS_PROBE = range(1, 5)

_FILTERS: tuple[tuple[Table, Callable[[Columns, Cutoffs], pl.DataFrame]], ...] = (
    (RELEASES, find_releases),
    (RECOVERIES, find_recoveries),
    (CLOSURES, find_closures),
    (RUNS, find_runs),
)


class _Rows:
    """Some rows of segments: each column is selected when it is needed."""

    def __init__(self, segments: Columns, rows: Array) -> None:
        self.segments, self.rows = segments, rows

    def __getitem__(self, name: str) -> Array:
        return self.segments[name][self.rows]


def _frame(table: Table, some: _Rows, more: Columns | None = None) -> pl.DataFrame:
    """Return the rows as a frame of `table`; `more` are columns that segments do not have."""
    if not len(some.rows):
        return table.empty()
    made = more or {}
    return table.frame({c.name: made[c.name] if c.name in made else some[_SOURCE.get(c.name, c.name)] for c in table.columns})


_SOURCE = {
    **{f"previous_{name}": f"data_before_{name.removeprefix('data_')}" for name in (
        "data_frame", "data_time", "data_length", "data_full", "data_small", "data_room", "data_ends_head", "data_ends_message",
        "data_last_in_flight", "data_message",
    )},
    **{f"previous_ack_{name}": f"ack_before_{name}" for name in ("frame", "time", "delay", "bytes")},
    "previous_ack_interval": "ack_before_gap",
    "peer_data_since": "other_data_since",
    "nagle_disabled": "nagle_off",
    "message_incomplete": "owes",
    "acked_unseen": "acks_unseen",
    "rtt_peer": "rtt_other",
    "opens_gap": "opens_hole",
    "fills_gap": "fills_hole",
    "retransmission_count": "stall_tries",
    **{f"first_retransmission_{name}": f"first_try_{name}" for name in ("frame", "time")},
    **{f"retransmitted_{name}": f"resent_{name}" for name in ("frame", "time", "bytes", "late")},
}  # fmt: skip
"""Columns of event tables that have another name in `segments`."""


def _next_after_ack(s: _Rows) -> Array:
    """Return which segments are the next that their side sent after K, which acknowledged D and nothing unseen after it, while
    the side still had to send; and of which the round trips are known."""
    answered = (s["ack_before_ack"] == s["data_before_end"]) & s["quiet_since_ack"] & (s["ack_before_delay"] != NEVER)
    return answered & (s["owes"] | ~s["http"]) & _round_trips_known(s)


def _waited(s: _Rows, cutoffs: Cutoffs) -> Array:
    delay = s["ack_before_delay"]
    return _next_after_ack(s) & (delay >= cutoffs.min_ack_delay) & (delay <= cutoffs.max_ack_delay)


def _prompt(s: _Rows, cutoffs: Cutoffs) -> Array:
    """Return which segments show how late such a segment is by itself if its D is acknowledged at once.

    After a full D only late ones do: every download has one that is not.
    """
    head = s["data_before_ends_head"] & ~s["data_before_ends_message"]
    lateness = s["time"] - s["data_before_time"] - s["rtt_own"] - s["rtt_other"]
    late_end = s["data_before_full"] & s["ends_message"] & (lateness >= cutoffs.min_lateness)
    shows = s["http"] & s["small_start"] & ~s["nagle_off"] & (head | s["data_before_small"] | late_end)
    return _next_after_ack(s) & shows & (s["ack_before_delay"] <= cutoffs.max_quick_ack)


def _probe(s: _Rows, cutoffs: Cutoffs) -> Array:
    """Return which segments were sent so long after D, which was not acknowledged, that a tail loss probe may be the reason."""
    same_message = (s["message"] != NEVER) & (s["message"] == s["data_before_message"])
    held = s["small_start"] & s["data_before_small"] & same_message & ~s["nagle_off"]
    room = (s["data_before_room"] == NEVER) | (s["data_before_room"] >= s["length"])
    unacknowledged = (s["data_before_frame"] != NEVER) & (s["ack_before_frame"] == NEVER)
    long = s["time"] - s["data_before_time"] >= cutoffs.min_probe_wait
    return held & room & unacknowledged & long & _round_trips_known(s)


def _round_trips_known(s: _Rows) -> Array:
    return (s["rtt_own"] != NEVER) & (s["rtt_other"] != NEVER)
