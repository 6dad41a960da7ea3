"""The clock of the capture was set back, or its packets are not in time order.

What it means
    A packet has an earlier timestamp than the previous packet on the same interface. The clock of the capturing host was set
    during the capture: by hand, by a virtual machine that resumed, or by a time service that corrected it. Kind out-of-order (a
    note): the clock was right. Several threads or processors captured, and some wrote their packets a little later than others;
    dumpcap does this when it captures on several interfaces. Kind unsorted (a note): packets are far out of order. Captures were
    appended to one file (mergecap -a, cat), or the packets of one interface were written much later than those of another.

Why it hurts
    Times across such a step are wrong: a wait seems shorter, or negative, and a response seems to come before its request. In a
    file that is out of order, a response may come before its request, too. wiredoctor sorts such packets by time before it
    analyzes them. Wireshark does not, and may show them as lost or retransmitted. In the report, frame numbers are those of the
    file (kind out-of-order), or those of the file after reordercap (kind unsorted). If a clock was also set back, packets are not
    sorted across that step, so their numbers differ from those after reordercap. Connection numbers are always those of the file.

How it is proved
    A packet's timestamp is more than 1 ms earlier than that of the previous packet on the same interface, and later packets
    continue from the earlier time.

    Kind out-of-order: the timestamp goes backward by 50 ms at most. Connections with packets before and after that place show
    that the timestamps are right and the order is wrong: a segment is acknowledged before it comes, or acknowledgment numbers go
    backward. If no connection shows this, the earlier times must belong to fewer than five packets that span less than 10 ms.
    Packets of different interfaces may also be out of order: there the limit is 500 ms, and only the evidence of connections is
    accepted.

    Kind unsorted: the timestamp goes backward by more, and connections give the same evidence. If no connection has packets
    before and after that place, the parts of the file before and after it are compared. Their times must not overlap, or
    must overlap for more than half of the longer part. A clock that was set back leads to a short overlap.

What it is not
    Packets less than 1 ms out of order are normal if several queues or processors capture. Different clocks of several
    interfaces are not a step. A clock that was set forward looks like a pause and is not reported.

    A replay that is slower than the original connections is not a step either. The report says so as a limit, and no finding
    depends on times. The TCP timestamps show it: the clocks of all hosts, at least two, advance by fewer than 100 ticks per
    second of the capture, and their rates differ by at most 15 %. Rates within 5 % of 1, 2, 10 or 100 are those of real clocks. A
    host counts from 20 ticks on, and a host with fewer ticks must not contradict the rate.

What to do
    Have the time service slew the clock instead of stepping it during a capture, and merge captures by time. Kinds
    out-of-order and unsorted: nothing has to be done for this report; for other programs, sort the file with reordercap.

References
    chrony.conf(5), makestep; mergecap(1); reordercap(1).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import polars as pl

from wiredoctor.findings import Reference, Rule
from wiredoctor.rules.shared.evidence import capture_columns
from wiredoctor.rules.shared.words import packets
from wiredoctor.tables import PROTOCOLS
from wiredoctor.text.durations import duration_text
from wiredoctor.world.numbers import DURATION

RULE = Rule(
    symptom="nothing (the rule shows between which packets the times are wrong)",
    severity={None: "warning", "out-of-order": "note", "unsorted": "note"},
    title={
        None: "The timestamps of the capture go backward {times}, by {up_to}{worst}",
        "out-of-order": "Packets are out of order in the file, by {up_to}{worst}: they were sorted before the analysis",
        "unsorted": "The file is not in time order, by {up_to}{worst}: its packets were sorted before the analysis",
    },
    message={
        None: "{steps:,} packets have an earlier timestamp than the previous packet on the same interface, by {up_to}{worst}: "
        "the clock was set back, or one capture was appended to another. If a connection has packets before and after such a "
        "step, times between them are not used.",
        "out-of-order": (
            "{steps:,} packets have an earlier timestamp than a preceding packet of the file, by {up_to}{worst}: several threads "
            "or processors captured. The packets were analyzed in the order of their times; frame numbers are as in the file. "
            "Findings that depend on times between such packets have medium confidence at most."
        ),
        "unsorted": (
            "{steps:,} packets have an earlier timestamp than a preceding packet of the file, by {up_to}{worst}: one capture was "
            "appended to another, or the packets of one interface were written later than those of another. The packets were "
            "sorted by time{numbers}. Findings that depend on times between such packets have medium confidence at most."
        ),
    },
    remedy={
        None: "Capture again without setting the clock: have chrony or ntpd slew it (chrony: no makestep after the start). If "
        "files were joined, join them by time (mergecap without -a; reordercap repairs a file), or analyze them one by one.",
        "out-of-order": "This report needs no action. Before Wireshark or another program reads the file, sort it: "
        "reordercap in.pcap out.pcap.",
        "unsorted": "This report needs no action. {in_wireshark}. Join captures by time: mergecap without -a.",
    },
    display_filter="frame.number in {{{frames}}}",
    references=(
        Reference("chrony.conf(5), makestep", "https://chrony-project.org/doc/4.5/chrony.conf.html"),
        Reference("mergecap(1)", "https://www.wireshark.org/docs/man-pages/mergecap.html"),
        Reference("reordercap(1)", "https://www.wireshark.org/docs/man-pages/reordercap.html"),
    ),
    summary=True,
    protocols=PROTOCOLS,
)


def may_match() -> pl.Expr:
    """Return a cheap condition: if no row of a batch meets it, the batch has no candidate findings."""
    return (pl.col("clock_steps") > 0) | (pl.col("shuffled") > 0)


class Facts(NamedTuple):
    """What is known of the steps in a file. The lists describe the first steps; times are in ns.

    `stepped`: the clock was set back, whether or not packets are also out of order.
    """

    kind: str | None
    steps: int
    stepped: bool
    step_frame: list[int]
    step_time: list[int]
    step_frame_before: list[int]
    step_time_before: list[int]


def find(captures: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each capture file with a clock step, and a row for each file that is out of order."""
    kind = pl.when("sorted").then(pl.lit("unsorted")).otherwise(pl.lit("out-of-order"))
    stepped = _candidates(captures, "clock_steps", "clock_step", pl.lit(None, pl.String))
    return pl.concat([stepped, _candidates(captures, "shuffled", "shuffled", kind)])


def _candidates(captures: pl.LazyFrame, steps: str, prefix: str, kind: pl.Expr) -> pl.LazyFrame:
    """Return a row for each capture with steps. `steps`: the column with their number. `prefix`: that of the other columns."""
    c = pl.col
    lists = [c(f"{prefix}_{name}").alias(f"step_{name}") for name in ("frame", "time", "frame_before", "time_before")]
    return captures.filter(c(steps) > 0).select(
        *(one for one in capture_columns() if one.meta.output_name() != "kind"),
        kind.alias("kind"),
        c(f"{prefix}_frame").list.first().alias("frame"),
        c(f"{prefix}_time").list.min().alias("start"),
        c(f"{prefix}_time_before").list.max().alias("end"),
        c(steps).alias("steps"),
        c(f"{prefix}_worst").cast(DURATION).alias("worst"),
        (c("clock_steps") > 0).alias("stepped"),
        *lists,
    )


def words(x: Facts) -> dict[str, Any]:
    """Return the words about the steps, and the packets before and after the first steps."""
    once = x.steps == 1
    before, after = "an earlier packet of the file", "a timestamp {} earlier"
    if x.kind is None:
        before, after = "the previous packet", "a timestamp {} earlier than the previous packet's"
    steps = [*zip(x.step_frame, x.step_time, x.step_frame_before, x.step_time_before, strict=True)]
    return {
        "times": "once" if once else f"{x.steps} times",
        "up_to": "" if once else "up to ",
        **(_STEPPED if x.stepped else _PLAIN),
        "evidence": packets(
            *((frame_before, time_before, before) for _, _, frame_before, time_before in steps),
            *((frame, time, after.format(duration_text(time_before - time))) for frame, time, _, time_before in steps),
        ),
    }


_PLAIN = {
    "numbers": "; frame numbers are those after reordercap, connection numbers those of the file",
    "in_wireshark": "To find the frames of this report in Wireshark, sort the file: reordercap in.pcap out.pcap. Display filters "
    "with tcp.stream are for the unsorted file",
}
_STEPPED = {
    "numbers": ", but not across the places where the clock was set back. Frame numbers count packets in this order, which is "
    "not that of reordercap",
    "in_wireshark": "To find the packets of this report in Wireshark, compare their times of day",
}
"""The texts about a file whose packets were sorted: _STEPPED if the clock was also set back, otherwise _PLAIN."""
