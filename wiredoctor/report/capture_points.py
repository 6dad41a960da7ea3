"""Recognize conversations that several captures contain, because each capture was made at another point of the path.

Each capture is analyzed by itself, so requests and problems of such a conversation count once per point. Addresses that a NAT
changed are not recognized.
"""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

from wiredoctor.findings import Report
from wiredoctor.report.words import SECOND, count
from wiredoctor.text.time_of_day import nanoseconds

c = pl.col

CLOCK_OFFSET = 60 * SECOND
"""The maximum difference in ns between the clocks of two points.

A host does not reuse the ports of a closed connection within this time (TIME_WAIT).
"""

MAX_POINTS = 4
"""The maximum number of points of one conversation that are compared: client, server, and both sides of a router."""

_ENDS = ["client", "server"]
_SIZE = ["client_bytes", "server_bytes", "exchanges"]


class SharedConversations(NamedTuple):
    """The number of conversations that were captured at several points.

    `points`: the largest number of points at which one of them was captured.
    """

    conversations: int
    points: int


def shared_conversations(report: Report) -> SharedConversations:
    """Return how many conversations were captured at several points.

    Two connections of different captures are one conversation if their addresses and ports are equal, and if one of two
    conditions holds. First: they transferred the same number of bytes in each direction and the same number of exchanges, and
    began within CLOCK_OFFSET of each other. In addition, the later connection began with a SYN, or before the earlier one ended.
    Second: both connections existed at the same time for more than half of the lifetime of the shorter connection. The second
    condition recognizes conversations that look different at both points because of losses. Loopback addresses exist on every
    host, so only the first condition counts for them.
    """
    if len(report.captures) < 2:
        return SharedConversations(0, 0)
    begun = {one.file: nanoseconds(one.first_time) or 0 for one in report.captures}
    rows = report.scan_connections().select("capture", "connection", *_ENDS, "start", "end", "syns", *_SIZE)
    several = rows.group_by(_ENDS).agg(c("capture").n_unique().alias("captures")).filter(c("captures") > 1)
    found = rows.join(several.select(_ENDS), on=_ENDS, how="semi").collect(engine="streaming")
    if found.is_empty():
        return SharedConversations(0, 0)
    # timestamps of a capture may lie beyond the year 2262, where nanoseconds exceed 64 bits
    offset = c("capture").replace_strict([*begun], pl.Series([*begun.values()], dtype=pl.Int128), return_dtype=pl.Int128)
    found = found.with_columns(c("start") + offset, c("end") + offset).sort(*_ENDS, "start", "capture")
    again = found.select(
        pl.any_horizontal(_is_same(before) for before in range(1, MAX_POINTS)).fill_null(value=False)
    ).to_series()
    points = found.group_by((~again).cum_sum().alias("conversation")).agg(c("capture").n_unique().alias("points"))["points"]
    several_points: list[int] = [number for number in points.to_list() if number > 1]
    return SharedConversations(len(several_points), max(several_points, default=0))


def _is_same(before: int) -> pl.Expr:
    """Return an expression that is true for a row if the row `before` positions above it belongs to the same conversation.

    Rows are sorted by addresses and ports, then by time.
    """

    def earlier(name: str) -> pl.Expr:
        return pl.col(name).shift(before)

    ends = pl.all_horizontal(c(name) == earlier(name) for name in _ENDS) & (c("capture") != earlier("capture"))
    alike = pl.all_horizontal(c(name) == earlier(name) for name in _SIZE) & (c("client_bytes") + c("server_bytes") > 0)
    together = pl.min_horizontal(c("end"), earlier("end")) - c("start")
    # without a SYN, this row may be the rest of a connection that began in the previous file
    soon = (c("start") - earlier("start") <= CLOCK_OFFSET) & ((c("syns") > 0) | (together > 0))
    shorter = pl.min_horizontal(c("end") - c("start"), earlier("end") - earlier("start"))
    local = c("server").str.contains(r"^(127\.|\[::1\])")
    return ends & ((alike & soon) | (~local & (together > 0) & (2 * together > shorter)))


def shared_sentence(report: Report) -> list[str]:
    """Return a list with a sentence about conversations captured at several points; an empty list if there are none."""
    conversations, points = shared_conversations(report)
    if not conversations:
        return []
    were, each = ("was", "its") if conversations == 1 else ("were", "their")
    at = f"{'up to ' if points > 2 and conversations > 1 else ''}{points:,} points"
    many = f"{count(conversations, 'conversation')} {were} captured at {at}: {each} requests and problems count once per point."
    return [f"{many} Compare the two captures: wiredoctor compare --both-sides." if len(report.captures) == 2 else many]
