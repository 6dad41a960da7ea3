"""Find the clocks of connections on loopback addresses, in a capture that was merged from captures of several hosts.

Such an address does not show which host captured the connection. But with the times of the right clock, nearly all exchanges of
a server behind a gateway lie within exchanges of the gateway.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from wiredoctor.gateways.exchange_columns import Rows, groups
from wiredoctor.gateways.known import LATE
from wiredoctor.gateways.order import votes_of
from wiredoctor.tables import Array

NEARLY_ALL = 0.9
"""The minimum share of an endpoint's exchanges that lie within those of another one, or around them, if the times of both are
correct.
"""

_TIMES = ("start", "head", "answered", "began", "left", "dropped", "gone", "over", "opened")


def with_own_clocks(rows: Rows, corrections: Sequence[int]) -> Rows:
    """Return exchanges whose times are corrected at endpoints on loopback, where this shows more of them to be a gateway's.

    `corrections`: the times in ns that may have to be added; one clock's for each endpoint.
    """
    itself = rows.server_host == rows.client_host
    for server in np.unique(rows.server[itself]).tolist():
        own = itself & (rows.server == server)
        tried = [(_nested(moved := _moved(rows, own, by), server), moved) for by in sorted({0, *corrections})]
        best = max(tried, key=_count)
        if best[0] >= NEARLY_ALL * np.count_nonzero(own) and best[0] > tried[0][0]:
            rows = best[1]
            itself = rows.server_host == rows.client_host
    return rows


def _count(tried: tuple[int, Rows]) -> int:
    return tried[0]


def _moved(rows: Rows, own: Array, by: int) -> Rows:
    """Return exchanges in time order, after `by` ns were added to the times of those in `own`."""
    times: dict[str, Array] = {name: getattr(rows, name) for name in _TIMES}
    moved = replace(rows, **{name: np.where(own & (some != LATE), some + by, some) for name, some in times.items()})
    return moved.select(np.lexsort((moved.exchange, moved.connection, moved.start)))


def _nested(rows: Rows, server: int) -> int:
    """Return how many exchanges of an endpoint lie within such of another endpoint, or around them, with the same response."""
    votes = votes_of(rows, groups(rows.method, rows.tail)).alike
    around = [n for (before, _, _), n in votes.items() if before == server]
    inside = [n for (_, behind, _), n in votes.items() if behind == server]
    return max(*around, *inside, 0, 0)
