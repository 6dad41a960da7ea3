"""Name the causes that limited the speed of long responses, with the same words in all formats."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from wiredoctor.report.columns import seconds

LIMITS: Mapping[str, tuple[str, str]] = {
    "receive-window": ("response_receive_window_time", "window"),
    "send-buffer": ("response_send_buffer_time", "buffer"),
    "loss": ("response_loss_time", "loss"),
    "application": ("response_application_time", "application"),
    "path": ("response_path_time", "path"),
}
"""The causes that limit the speed of a response, each with the column that contains its time, and a short word for it."""

COLUMNS = [column for column, _ in LIMITS.values()]
_LIMITED = pl.List(pl.Struct({"by": pl.String, "time": pl.Float64}))


def parts() -> pl.Expr:
    """Return an expression for the list of causes that limited the speed of a response, with the seconds of each, in LIMITS
    order.

    The list is empty for responses that are too short to judge.
    """
    listed = [pl.struct(pl.lit(name).alias("by"), seconds(column).alias("time")) for name, (column, _) in LIMITS.items()]
    some = pl.concat_list(listed).list.filter(pl.element().struct.field("time") > 0)
    return pl.when(pl.col("response_path_time").is_not_null()).then(some).otherwise(pl.lit([], dtype=_LIMITED))


def shares(times: list[int | None], *, short: bool = False) -> list[str]:
    """Return the causes that limited the speed of a response, each with its percentage of the time, largest first.

    Causes below 1 % are omitted. For example, "receive-window 82 %" or, with `short`, "window 82 %". `times`: the time (ns) of
    each cause in LIMITS.
    """
    known = [(time or 0, name, word) for time, (name, (_, word)) in zip(times, LIMITS.items(), strict=True)]
    whole = sum(time for time, _, _ in known)
    ordered = sorted(known, key=lambda one: -one[0])
    return [f"{word if short else name} {time * 100 // whole} %" for time, name, word in ordered if time * 100 >= max(whole, 1)]
