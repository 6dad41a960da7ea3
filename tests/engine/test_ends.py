"""What had arrived when a side closed (engine/ends.py), compared with the arithmetic of one row by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.rules.arrivals import arrivals
from wiredoctor.core.tcp.origins import ORIGINS
from wiredoctor.engine.ends import MAKERS
from wiredoctor.storage.batches import Batch
from wiredoctor.tables import AT_THE_CLOSE, NEVER, NONE

_PLACES = st.none() | st.integers(0, 12)
_ROWS = st.fixed_dictionaries(
    {
        **dict.fromkeys(
            (
                *("client_close_ack", "client_rst_ack", "server_close_ack", "server_close_offset", "request_ack"),
                *("response_ack", "previous_end_offset", "client_close_frame", "server_close_frame"),
            ),
            _PLACES,
        ),
        "response_frame": st.integers(0, 12),
        **{f"{side}_close_rst": st.sampled_from([None, 0, 1]) for side in ("client", "server")},
        **dict.fromkeys(("request", "response"), st.none() | st.tuples(*[st.integers(0, 4)] * 3, st.booleans())),
        **dict.fromkeys(("handshake", "gap_before", "server_close_contradicted"), st.booleans()),
        "server_close_origin": st.sampled_from(ORIGINS),
        "server_unanswered_probes": st.integers(0, 3),
    }
)


def _row(made: dict[str, Any]) -> dict[str, Any]:
    """A row of `closes`: messages begin at their first number, with a head and a body, whose end may be unknown."""
    row = {name: value for name, value in made.items() if name not in ("request", "response")}
    for side in ("request", "response"):
        message = made[side]
        start, head, body, ended = (None, 0, 0, False) if message is None else message
        row[f"has_{side}"] = message is not None
        row[f"{side}_offset"], row[f"{side}_head_bytes"] = start, head
        row[f"{side}_end_offset"] = start + max(head, 1) + body if ended else None
    if not row["has_response"]:
        row["response_ack"] = row["response_frame"] = None
    return row


@given(st.lists(_ROWS, min_size=1, max_size=30))
def test_each_row_is_told_as_by_hand(made: list[dict[str, Any]]) -> None:
    rows = [_row(one) for one in made]
    names = rows[0].keys() - {"server_close_origin"}
    cells = {name: np.array([NEVER if row[name] is None else row[name] for row in rows]) for name in names}
    for side in ("client", "server"):
        cells[f"{side}_close_rst"] = np.array(
            [NONE if row[f"{side}_close_rst"] is None else row[f"{side}_close_rst"] for row in rows]
        )
    for side in ("request", "response"):
        cells[f"{side}_head"] = np.array([0 if row[f"has_{side}"] else -1 for row in rows])
    cells |= {AT_THE_CLOSE.columns[name]: cells[name] for name in ("handshake", "gap_before")}
    cells["server_close_origin"] = np.array([ORIGINS.index(row["server_close_origin"]) for row in rows])
    # the core's batches hold a single number if it is the same for all rows
    cells = {name: values[:1] if (values == values[0]).all() else values for name, values in cells.items()}
    batch = Batch("exchanges", len(rows), cells, {}, {})
    expected = [arrivals(row) for row in rows]
    for name in MAKERS:
        values = MAKERS[name](batch)
        found = [None if value == NONE else value for value in values] * (1 if len(values) > 1 else len(rows))
        assert found == [one[name] for one in expected], name
