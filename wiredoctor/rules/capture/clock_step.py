"""The clock of the capture was set back, or its packets are out of order.

What it means
    A packet is stamped earlier than the packet that was captured before it on the same interface: the clock of the capturing
    host was set while it captured (by hand, by a virtual machine that was resumed, by a time service that found it wrong), or
    captures were joined one behind the other. Out-of-order (a note): the clock was right, but several threads or processors
    captured, and some wrote their packets a little later than others; dumpcap does so with several interfaces.

Why it hurts
    Times across such a step are wrong: a wait seems shorter, or negative, and an answer seems to come before its question. Out of
    order, an answer stands before its question in the file: the packets are put in order of their times before they are
    analyzed, and keep their frame numbers. Wireshark does not do that, and may call them lost or retransmitted.

How it is proved
    A time stamp goes back by more than 1 ms within one interface, and later times go on from there. Out-of-order: it goes back by
    50 ms at most, and the connections that have packets on both sides show that the time stamps are right and the order is not
    (a segment is acknowledged before it comes, acknowledgements go back). Where no connection shows anything, the times are soon
    where they had been: before 10 ms, or five packets, have gone on from the lower value. Between interfaces 500 ms count, and
    only what connections show.

What it is not
    Packets that several queues or processors record less than 1 ms out of order. Several interfaces whose clocks differ. A clock
    that was set forward: that looks like a pause.

What to do
    Let the time service slew the clock instead of stepping it while capturing, and merge captures by time. Out-of-order: nothing
    for this report; for other programs put the file in order with reordercap.

References
    chrony.conf(5), makestep; mergecap(1); reordercap(1).
"""

from __future__ import annotations

import polars as pl

from wiredoctor.findings import Reference, Rule
from wiredoctor.rules.proof import EVIDENCE, of_the_capture
from wiredoctor.rules.words import DURATION, duration

RULE = Rule(
    severity={None: "warning", "out-of-order": "note"},
    title={
        None: "The capture's clock goes back {times}, by {worst}{at_most}",
        "out-of-order": "Packets are out of order in the file, by {worst}{at_most}: they were put in order",
    },
    message={
        None: "{steps:,} packets are stamped earlier than the one before on the same interface, by {worst}{at_most}. Where a "
        "connection has packets on both sides of such a step, nothing is said of the times between them.",
        "out-of-order": "{steps:,} packets stand behind others in the file that are stamped up to {worst} later: several threads "
        "or processors captured. They were analyzed in the order of their times; frame numbers are those of the file. What rests "
        "on times between such packets has medium confidence at most.",
    },
    remedy={
        None: "Capture again while the clock is not set: let chrony or ntpd slew it (chrony: no makestep after the start). Where "
        "files were joined, join them by time (mergecap without -a; reordercap mends a file), or analyse them one by one.",
        "out-of-order": "Nothing has to be done for this report. Before Wireshark or another program reads the file, put it in "
        "order: reordercap in.pcap out.pcap.",
    },
    display_filter="frame.number in {{{frames}}}",
    references=(
        Reference("chrony.conf(5), makestep", "https://chrony-project.org/doc/4.5/chrony.conf.html"),
        Reference("mergecap(1)", "https://www.wireshark.org/docs/man-pages/mergecap.html"),
        Reference("reordercap(1)", "https://www.wireshark.org/docs/man-pages/reordercap.html"),
    ),
    summary=True,
)


def screen() -> pl.Expr:
    """Return an expression that is true on at least one row if there is a candidate."""
    return (pl.col("clock_steps") > 0) | (pl.col("shuffled") > 0)


def find(captures: pl.LazyFrame) -> pl.LazyFrame:
    """A row per capture file whose times go back, and one per file that is out of order."""
    steps = captures.rename({"clock_steps": "steps", "clock_step_worst": "worst", **_named("clock_step")})
    shuffled = captures.rename({"shuffled": "steps", "shuffled_worst": "worst", **_named("shuffled")})
    back = duration(pl.col("time_before") - pl.col("time"))
    return pl.concat(
        [
            _of(steps, None, "the packet before", pl.format("stamped {} earlier than the packet before it", back)),
            _of(shuffled, "out-of-order", "a packet that stands before it", pl.format("stamped {} earlier", back)),
        ]
    )


_FIELDS = ("frame", "time", "frame_before", "time_before")


def _named(prefix: str) -> dict[str, str]:
    return {f"{prefix}_{name}": name for name in _FIELDS}


def _of(captures: pl.LazyFrame, kind: str | None, note_before: str, note: pl.Expr) -> pl.LazyFrame:
    """A row per capture with such packets, of which the first are named by _FIELDS; `worst` is in ns."""
    c = pl.col
    once = c("steps").first() == 1
    places = captures.filter(c("steps") > 0).with_row_index("row").explode(*_FIELDS).with_columns(note.alias("note"))
    before = pl.struct(c("frame_before").alias("frame"), c("time_before").alias("time"), pl.lit(note_before).alias("note"))
    step = pl.struct("frame", "time", "note")
    return (
        places.group_by("row", maintain_order=True)
        .agg(
            *_of_the_capture(),
            c("frame").first(),
            c("time").min().alias("start"),
            c("time_before").max().alias("end"),
            c("steps").first(),
            c("worst").first().cast(DURATION),
            pl.when(once).then(pl.lit("once")).otherwise(pl.format("{} times", c("steps").first())).alias("times"),
            pl.when(once).then(pl.lit("")).otherwise(pl.lit(" at most")).alias("at_most"),
            pl.concat_list(before.implode(), step.implode()).cast(EVIDENCE).alias("evidence"),
        )
        .with_columns(pl.lit(kind, pl.String).alias("kind"))
    )


def _of_the_capture() -> list[pl.Expr]:
    """`of_the_capture` for an aggregation."""
    return [column.first() for column in of_the_capture()]
