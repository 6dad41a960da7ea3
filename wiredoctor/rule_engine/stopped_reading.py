"""Find responses that a server cut off after its client had stopped reading: the server may have timed out waiting."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from wiredoctor.rule_engine.summary_columns import Rows
from wiredoctor.tables import SECOND
from wiredoctor.text.durations import duration_text

c = pl.col

LEAST = SECOND
"""The shortest stall in ns that counts: servers wait longer before they give up on a client that does not read."""

DRAINED = 5 * SECOND
"""The maximum time in ns between the end of the stall and the server's close: its kernel first sends buffered data."""


def until_close(start: str, end: str) -> pl.Expr:
    """Return an expression that is true if a stall may be the reason why the server closed.

    `start` and `end` are the names of the columns with the times of the stall. The rows also need a column named "end" with the
    time of the close. All times are in ns.
    """
    lasted = c(end) - c(start) >= LEAST
    return (lasted & (c(start) < c("end")) & (c(end) >= c("end") - DRAINED)).fill_null(value=False)


def after_stalls(found: Mapping[str, Rows]) -> Mapping[str, Rows]:
    """Return the candidates; change `truncated-response` candidates if a `zero-window-stall` of the client may be their cause.

    The changed text names the stall as a possible cause, and the confidence becomes medium.
    """
    if not {"truncated-response", "zero-window-stall"} <= found.keys():
        return found
    stalls, cut = (_frame(found[name]) for name in ("zero-window-stall", "truncated-response"))
    own = stalls.filter(c("of_client"), c("kind").is_null()).select("connection", stall_start="start", stall_end="end")
    numbered = cut.with_row_index("number")
    behind = (
        numbered.filter(c("kind").is_null())
        .join(own, on="connection")
        .filter(until_close("stall_start", "stall_end"))
        .group_by("number")
        .agg((c("stall_end") - c("stall_start")).max().alias("stalled"))
    )
    if behind.is_empty():
        return found
    added = {number: _addition(stalled) for number, stalled in behind.iter_rows()}
    before = cut["addition"].to_list() if "addition" in cut.columns else [None] * cut.height
    texts = [" ".join(text for text in (one, added.get(number)) if text) or None for number, one in enumerate(before)]
    surely = pl.int_range(pl.len()).is_in([*added]) & (c("confidence") == "high")
    changed = cut.with_columns(
        pl.when(surely).then(pl.lit("medium")).otherwise("confidence").alias("confidence"),
        pl.Series("addition", texts, pl.String),
    )
    return {**found, "truncated-response": changed}


def _frame(rows: Rows) -> pl.DataFrame:
    return rows if isinstance(rows, pl.DataFrame) else pl.concat([*rows.iter_slices(max(rows.height, 1))])


def _addition(stalled: int) -> str:
    return (
        f"The client had not read for {duration_text(stalled)} before that. The server may have timed out while it waited "
        "(nginx: send_timeout, haproxy: timeout client, Apache httpd: TimeOut), or it broke off for another reason."
    )
