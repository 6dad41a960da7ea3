"""What is judged in the candidates of `ack_release`, and what is said of those that are stalls."""

from __future__ import annotations

from typing import Any, NamedTuple

import polars as pl

JUDGED_ONLY = (
    *(
        "endpoint",
        "role",
        "http",
        "unread",
        "message",
        "handshake",
        "mss",
        "held_frame",
        "final_frame",
        "previous_ack_frame",
        "previous_ack_time",
        "in_flight",
    ),
    *("lone_ack", "waited", "prompt", "probe", "corked", "answers", "part", "ends", "small", "full", "room", "nagle"),
    *("event_stream", "nagle_seen", "pace_seen"),
    *("after", "gap", "narrow", "sharp", "wide", "lateness", "answer_frame", "answer_time", "prompt_before"),
)
"""Columns that no text of a rule needs."""


class Row(NamedTuple):
    """What judging looks at in a row of `ack_release.candidates`; times in nanoseconds."""

    connection: int
    direction: int
    exchange: int | None
    frame: int
    endpoint: int | None
    role: int | None
    http: bool
    unread: bool
    message: int | None
    handshake: bool
    mss: int
    confidence: str
    held_frame: int
    delay: int
    in_flight: int
    lone_ack: bool
    waited: bool
    prompt: bool
    probe: bool
    corked: bool
    event_stream: bool
    nagle_seen: bool
    pace_seen: bool
    answers: int
    part: str | None
    ends: bool
    small: bool
    full: bool
    room: bool
    nagle: bool
    release: int
    after: int
    gap: int
    narrow: bool
    sharp: bool
    wide: bool
    lateness: int
    sent_bytes: int


class Verdict(NamedTuple):
    """A stall. `row` is its place in the candidates, None for a probe: that may be of an earlier batch, and has its `values`.

    `prompt`: earlier on this connection such an S did not wait, because its D was acknowledged at once.
    """

    row: int | None
    values: dict[str, Any]
    kind: str | None
    delay: int
    confidence: str
    prompt: bool


def said(candidates: pl.DataFrame, verdicts: list[Verdict]) -> pl.DataFrame:
    """The candidates that are stalls, with what the verdicts say. Columns more: `answer_frame` and `answer_time` of the ACK
    of a probe, null for all others; `ack_delay`, what `delay` was, in nanoseconds; `prompt_before` of the verdict.
    """
    if not verdicts and candidates.height:
        return candidates.clear()
    answer = {"answer_frame": pl.Int64(), "answer_time": pl.Int64()}
    old = [v for v in verdicts if v.row is not None]
    new = [v for v in verdicts if v.row is None]
    here = candidates[[v.row for v in old if v.row is not None]]
    rows = here.with_columns(pl.lit(None, dtype).alias(name) for name, dtype in answer.items())
    if new:
        rows = pl.concat([rows, pl.DataFrame([v.values for v in new], schema=rows.schema)])
    verdicts = [*old, *new]
    return rows.with_columns(
        pl.col("delay").alias("ack_delay"),
        pl.Series("kind", [v.kind for v in verdicts], dtype=pl.String),
        pl.Series("delay", [v.delay for v in verdicts], dtype=pl.Int64),
        pl.Series("confidence", [v.confidence for v in verdicts], dtype=pl.String),
        pl.Series("prompt_before", [v.prompt for v in verdicts], dtype=pl.Boolean),
    )
