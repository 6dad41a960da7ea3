"""A receiver kept its sender waiting with a closed window.

What it means
    The receiving application did not read, its socket's buffer ran full, and its TCP said so by announcing a window of 0,
    or of less than a segment. The sender had more and was not allowed to send it.

Why it hurts
    The transfer stands still however fast network and sender are. Behind it is a process that is busy, blocked or
    stopped: a client that writes to a slow disk, a server that hands an upload on to something slower.

How it is proved
    The receiver announced a window of 0 (or less than one MSS, and a full segment followed), and opened it at least 100 ms
    later. That the sender had data to send is shown by its next segment, which leaves as soon as the window update reaches
    it, or by its probes; without either, nobody waited.

What it is not
    A small window that opens at once. A sender that had nothing to send, or whose message was complete. A full window
    with data on the way, which a round trip empties. Keep-alive probes.

What to do
    Look at what the receiving process does in that time. A larger receive buffer only helps against short interruptions.

References
    RFC 9293 sections 3.8.6.1 and 3.8.6.2.
"""

from __future__ import annotations

import polars as pl

from wiredoctor.findings import Reference, Rule, Threshold
from wiredoctor.rules.proof import evidence
from wiredoctor.rules.words import DURATION, duration
from wiredoctor.tables import MILLISECOND

RULE = Rule(
    severity="warning",
    title="The {side} did not read: its closed window held the {peer} up for {wait}",
    message="The {side} announced a window of {closed_window:,} bytes and opened it {closed} later: its application did not read "
    "in that time. The {peer} had data to send for {wait} of it, {shown}.",
    remedy="See what the {side}'s process does while it does not read (a full disk or a slow downstream, a lock, a pause of the "
    "garbage collector, a full thread pool); let it read ahead or drop what it cannot take. Larger receive buffers "
    "(SO_RCVBUF, net.ipv4.tcp_rmem) bridge short pauses and hide long ones.",
    display_filter="tcp.stream == {connection} && frame.number >= {first_frame} && frame.number <= {last_frame}",
    references=(
        Reference("RFC 9293 section 3.8.6.1, zero-window probing", "https://www.rfc-editor.org/rfc/rfc9293.html#section-3.8.6.1"),
        Reference(
            "RFC 9293 section 3.8.6.2, silly window syndrome", "https://www.rfc-editor.org/rfc/rfc9293.html#section-3.8.6.2"
        ),
    ),
    absence=True,
)

MIN_WAIT = Threshold("100 ms", "shorter pauses are the scheduling of a busy receiver")


def cutoffs() -> dict[str, int]:
    """Return the limit beyond which no row of `closures` is needed."""
    return {"min_closed_window": MIN_WAIT.value}


def find(closures: pl.LazyFrame) -> pl.LazyFrame:
    """A row per first segment after a closed window that kept its sender waiting."""
    c = pl.col
    since = pl.when(_at_once()).then("closed_time").otherwise("window_probe_time")
    wait = c("opened_time") - since
    return closures.filter(_had_data() & (wait >= MIN_WAIT.value)).select(
        "connection",
        "exchange",
        pl.lit(None, pl.String).alias("kind"),
        pl.lit(None, pl.String).alias("side"),
        (1 - c("direction")).alias("direction"),
        _confidence().alias("confidence"),
        c("closed_frame").alias("frame"),
        c("frame").alias("last_frame"),
        since.alias("start"),
        c("opened_time").alias("end"),
        wait.alias("delay"),
        wait.cast(DURATION).alias("wait"),
        (c("opened_time") - c("closed_time")).cast(DURATION).alias("closed"),
        "closed_window",
        c("window_probes").alias("probes"),
        _shown().alias("shown"),
        evidence(
            ("closed_frame", "closed_time", pl.format("the receiver announces a window of {} bytes", "closed_window")),
            ("window_probe_frame", "window_probe_time", "the sender probes the window: it has data"),
            ("opened_frame", "opened_time", pl.format("the window update, {} after it closed", duration(_closed()))),
            ("frame", "time", pl.format("the sender goes on: {} bytes", "length")),
        ),
    )


def _closed() -> pl.Expr:
    return pl.col("opened_time") - pl.col("closed_time")


def _at_once() -> pl.Expr:
    """The sender sent when the window update came to it: it had waited for that, and for nothing else."""
    rtt = pl.col("rtt_own")
    after = pl.col("time") - pl.col("opened_time") - rtt
    earliest = pl.when(pl.col("handshake")).then(-pl.max_horizontal(pl.lit(MILLISECOND), rtt // 10)).otherwise(-rtt)
    latest = pl.max_horizontal(pl.lit(3 * MILLISECOND // 2), rtt // 10)
    return after.is_between(earliest, latest).fill_null(False)


def _had_data() -> pl.Expr:
    """What the sender had sent before was not the end of a message, nor did the receiver say something in between.

    Where that filled a hole, the message may have ended with what came before it: then only probes show that there was more.
    """
    c = pl.col
    known = c("previous_data_last_in_flight") | (c("window_probes") > 0)
    unfinished = known & ~c("previous_data_ends_message")
    return pl.when(c("http")).then(unfinished).otherwise(~c("peer_data_since"))


def _confidence() -> pl.Expr:
    hole = pl.col("opens_gap") | pl.col("fills_gap")
    # of payload that is not HTTP it is not known what was due
    inferred = ~pl.col("handshake") | ~_at_once() | (~pl.col("http") & (pl.col("window_probes") == 0))
    return pl.when(hole).then(pl.lit("low")).when(inferred).then(pl.lit("medium")).otherwise(pl.lit("high"))


def _shown() -> pl.Expr:
    probes = pl.format("as its probes ({}) show", "window_probes")
    return pl.when(_at_once()).then(pl.lit("and went on as soon as it was allowed to")).otherwise(probes)
