"""The earlier names of renamed columns."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from wiredoctor.tables.table import Rows


def _prefixed(new: str, old: str, names: str) -> dict[str, str]:
    return {new + name: old + name for name in names.split()}


OLD_NAMES: Mapping[str, Mapping[str, str]] = {
    "segments": {
        **_prefixed("previous_data_", "data_before_", "frame time end length full small push last_in_flight room"),
        **_prefixed("previous_data_", "data_before_", "message ends_head ends_message"),
        **_prefixed("previous_ack_", "ack_before_", "frame time ack delay bytes"),
        "previous_ack_interval": "ack_before_gap",
        "nothing_sent_since_ack": "quiet_since_ack",
        "peer_data_since": "other_data_since",
        "message_incomplete": "owes",
        "nagle_disabled": "nagle_off",
        "retransmission_count": "stall_tries",
        **_prefixed("first_retransmission_", "first_try_", "frame time"),
        **_prefixed("retransmitted_", "resent_", "frame time bytes late"),
        "fills_gap": "fills_hole",
        "opens_gap": "opens_hole",
        "acked_unseen": "acks_unseen",
        "rtt_peer": "rtt_other",
    },
    "messages": {"has_gap": "has_hole"},
    "exchanges": {
        "request_has_gap": "request_has_hole",
        "response_has_gap": "response_has_hole",
        "gap_before": "hole_before",
        "final_at": "said_at",
        "last_on_connection": "last",
        "previous_announced_close": "previous_close",
        "response_pause_total": "response_paused",
        "response_chunk_lines_sent_separately": "response_chunk_lines_alone",
        "response_chunks_ending_in_newline": "response_chunks_end_lines",
    },
    "connections": {
        "final_at": "said_at",
        "acked_unseen_count": "unseen_places",
        "duplicate_difference": "duplicate_way",
        "syn_ecn_or_data": "syn_extras",
        "answered_syn_ecn_or_data": "answered_syn_extras",
    },
    "faults": {"excerpt": "shown", "data_in_both_directions": "both_spoke", "after_gap": "behind_hole"},
}
"""The earlier name of each renamed column, by table: table -> name -> earlier name.

Until schema version 2, exports, the Python API and rules of other packages get each column under both names.
"""


def with_old_names(table: str, rows: Rows) -> Rows:
    """Return the rows with the renamed columns also under their earlier names; the values are not copied."""
    present = rows.collect_schema().names()
    return rows.with_columns(pl.col(name).alias(old) for name, old in OLD_NAMES.get(table, {}).items() if name in present)
