"""The clock of the capture was set back.

What it means
    A packet is stamped earlier than the packet that was captured before it on the same interface: the clock of the capturing
    host was set while it captured (by hand, by a virtual machine that was resumed, by a time service that found it wrong), or
    captures were joined one behind the other.

Why it hurts
    Times across such a step are wrong: a wait seems shorter, or negative, and an answer seems to come before its question.

How it is proved
    A time stamp goes back by more than 1 ms within one interface.

What it is not
    Packets that several queues or processors record a little out of order. Several interfaces whose packets are not in the
    order of time. A clock that was set forward: that looks like a pause.

What to do
    Let the time service slew the clock instead of stepping it while capturing, and merge captures by time.

References
    chrony.conf(5), makestep; mergecap(1).
"""

from __future__ import annotations

import polars as pl

from wiredoctor.findings import Reference, Rule
from wiredoctor.rules.proof import EVIDENCE, of_the_capture
from wiredoctor.rules.words import DURATION, duration

RULE = Rule(
    severity="warning",
    title="The capture's clock goes back {times}, by {worst}{at_most}",
    message="{steps:,} packets are stamped earlier than the one before on the same interface, by {worst}{at_most}. Where a "
    "connection has packets on both sides of such a step, nothing is said of the times between them.",
    remedy="Capture again while the clock is not set: let chrony or ntpd slew it (chrony: no makestep after the start). Where "
    "files were joined, join them by time (mergecap without -a; reordercap mends a file), or analyse them one by one.",
    display_filter="frame.number in {{{frames}}}",
    references=(
        Reference("chrony.conf(5), makestep", "https://chrony-project.org/doc/4.5/chrony.conf.html"),
        Reference("mergecap(1)", "https://www.wireshark.org/docs/man-pages/mergecap.html"),
    ),
    summary=True,
)


def screen() -> pl.Expr:
    """True on some row wherever there is a candidate."""
    return pl.col("clock_steps") > 0


def find(captures: pl.LazyFrame) -> pl.LazyFrame:
    """A row per capture file whose times go back."""
    c = pl.col
    once = c("clock_steps") == 1
    fields = ("frame", "time", "frame_before", "time_before")
    places = (
        captures.filter(c("clock_steps") > 0)
        .with_row_index("row")
        .explode(*(f"clock_step_{name}" for name in fields))
        .rename({f"clock_step_{name}": name for name in fields})
        .with_columns(_note().alias("note"))
    )
    before = pl.struct(
        c("frame_before").alias("frame"), c("time_before").alias("time"), pl.lit("the packet before").alias("note")
    )
    step = pl.struct("frame", "time", "note")
    return places.group_by("row", maintain_order=True).agg(
        *_of_the_capture(),
        c("frame").first(),
        c("time").min().alias("start"),
        c("time_before").max().alias("end"),
        c("clock_steps").first().alias("steps"),
        c("clock_step_worst").first().cast(DURATION).alias("worst"),
        pl.when(once.first()).then(pl.lit("once")).otherwise(pl.format("{} times", c("clock_steps").first())).alias("times"),
        pl.when(once.first()).then(pl.lit("")).otherwise(pl.lit(" at most")).alias("at_most"),
        pl.concat_list(before.implode(), step.implode()).cast(EVIDENCE).alias("evidence"),
    )


def _note() -> pl.Expr:
    back = duration(pl.col("time_before") - pl.col("time"))
    return pl.format("stamped {} earlier than the packet before it", back)


def _of_the_capture() -> list[pl.Expr]:
    """`of_the_capture` for an aggregation."""
    return [column.first() for column in of_the_capture()]
