"""Declare the columns that decide whether a held-back segment is a stall, and add the verdicts to the stalls."""

from typing import Any, NamedTuple

import polars as pl

from wiredoctor.world.numbers import DURATION

JUDGED_ONLY = (
    *("endpoint", "unread", "message", "handshake", "mss", "final_frame", "lone_ack", "waited", "prompt", "probe", "corked"),
    *("answers", "ends", "small", "full", "nagle", "nagle_seen", "pace_seen", "after", "gap", "narrow", "sharp", "wide"),
    *("lateness", "usual"),
)
"""The columns that are needed only to decide whether a segment stalled. The words of the rules do not use them."""


class Row(NamedTuple):
    """The columns of `delayed_acks.candidates` on which the decision is based. Times are in nanoseconds."""

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
    begins: bool
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
    usual: int | None
    sent_bytes: int


class Verdict(NamedTuple):
    """A stall that a rule reports.

    `row`: its index in the candidates; None if the verdict had to wait for later rows.
    `values`: the columns of the stall if `row` is None.
    `delay`: in ns.
    `prompt`: true if an earlier segment in this direction did not have to wait, because the previous data was acknowledged
    promptly.
    """

    row: int | None
    values: dict[str, Any]
    kind: str | None
    delay: int
    confidence: str
    prompt: bool


def stalls_with_verdicts(candidates: pl.DataFrame, verdicts: list[Verdict]) -> pl.DataFrame:
    """Return the candidates that are stalls, with the kind, delay (ns) and confidence of their verdicts.

    Added columns: `answer_frame` and `answer_time` (the ACK of a tail loss probe; null for other stalls), `ack_delay` (the
    original `delay`, a duration), `is_doubtful` (the confidence is low), and `prompt_before` (`prompt` of the verdict). The
    columns JUDGED_ONLY are removed.
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
        pl.col("delay").cast(DURATION).alias("ack_delay"),
        pl.Series("kind", [v.kind for v in verdicts], dtype=pl.String),
        pl.Series("delay", [v.delay for v in verdicts], dtype=pl.Int64),
        pl.Series("confidence", [v.confidence for v in verdicts], dtype=pl.String),
        pl.Series("is_doubtful", [v.confidence == "low" for v in verdicts], dtype=pl.Boolean),
        pl.Series("prompt_before", [v.prompt for v in verdicts], dtype=pl.Boolean),
    ).drop(JUDGED_ONLY)
