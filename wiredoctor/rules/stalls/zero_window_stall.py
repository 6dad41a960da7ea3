"""A receiver kept its sender waiting with a closed window.

What it means
    The receiving application did not read, its socket's buffer ran full, and its TCP said so by announcing a window of 0,
    or of less than a segment. The sender had more and was not allowed to send it. Or the receive buffer is smaller than two
    segments: then the window never has room for a full one, however fast the application reads.

Why it hurts
    The transfer stands still however fast network and sender are. Behind it is a process that is busy, blocked or
    stopped: a client that writes to a slow disk, a server that hands an upload on to something slower.

How it is proved
    The receiver announced a window of 0 (or less than one MSS, and a full segment followed), and opened it at least 100 ms
    later. That the sender had data to send is shown by its next segment, which leaves as soon as the window update reaches
    it, or by its probes; without either, nobody waited.

    A kernel without memory throws data away that was on its way, and answers each copy with an ACK of the same number and
    window 0. Such copies are probes, no losses. The wait lasts until one of them is acknowledged: after the window has opened,
    the sender's back-off takes its time. A copy with room that is not acknowledged within a round trip, or 50 ms, was lost:
    there the wait ends, and a retransmission-stall begins.

    A window that stays below a full segment holds its sender until the override timer sends what fits: the segment comes
    100 ms or more after the announcement, fills the window exactly, as the one before it did, and nothing else was in flight.
    Two do so in a row at least, and most of those that fill the window.

    A window that was still 0 when the connection or the capture ended: the sender's probes, two of them or a second of them,
    show that it had data; that it gave up is seen by its FIN or RST.

    Own pace (a note): the window is that of a client that takes a response, and opens again on a clock (three periods in a row
    differ by 5 % at most), or so that the bytes between two openings are in proportion to the time between them (four in a row,
    5 %), for half of its closed windows at least; none of them is closed for more than two such periods, nor are these longer
    than 60 s. Or the response is audio or video, and the window opens again within 60 s. It is not said of gateways, whose own
    clients wait.

What it is not
    A small window that opens at once. A sender that had nothing to send, or whose message was complete. A full window
    with data on the way, which a round trip empties. Keep-alive probes. A segment that was lost while the window was open.

What to do
    Look at what the receiving process does in that time. A larger receive buffer only helps against short interruptions,
    and where it is smaller than two segments. A client that reads at its own pace needs nothing.

References
    RFC 9293 sections 3.8.6.1 and 3.8.6.2.
"""

from __future__ import annotations

import polars as pl

from wiredoctor.findings import Reference, Rule, Threshold
from wiredoctor.rules.proof import evidence
from wiredoctor.rules.reading_pace import with_pace
from wiredoctor.rules.words import DURATION, duration
from wiredoctor.tables import MILLISECOND

RULE = Rule(
    severity={None: "warning", "own-pace": "note"},
    title={
        None: "The {side} {did}: its {window} held the {peer} up for {wait}",
        "own-pace": "The {side} reads at its own pace{every}",
    },
    message={
        None: "The {side} announced a window of {closed_window:,} bytes{then} {closed}{why}. The {peer} {had} {wait}{shown}.",
        "own-pace": "The {side} {paced}. Its window was closed for {closed} in between, and the {peer} had more to send: nobody "
        "waited for that, as far as the packets show.",
    },
    remedy={
        None: "See what the {side}'s process does while it does not read (a full disk or a slow downstream, a lock, a pause of "
        "the garbage collector, a full thread pool); let it read ahead or drop what it cannot take. Larger receive buffers "
        "(SO_RCVBUF, net.ipv4.tcp_rmem) bridge short pauses and hide long ones{buffer}.",
        "own-pace": "Nothing, if it is meant: a rate limit (curl --limit-rate, wget --limit-rate), a player with a full buffer. "
        "Else see why the program pauses between its reads.",
    },
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
PROBES = Threshold("2 probes", "of a window that never opened: one may answer a stray segment")
PROBED = Threshold("1 s", "or so long after the window closed, where fewer were sent")
FIRST_PROBE = Threshold("3 s", "a sender with data probes a window so soon; later it is a keep-alive probe, if it is not HTTP")
OWN_PACE = Threshold("60 s", "a player that reads 2 MB at a time, of audio at 256 kbit/s; who pauses for longer may be ill")
TIMERS = Threshold("2 waits", "in a row: one such segment may have been late on the way, or written late")


def cutoffs() -> dict[str, int]:
    """Return the limit beyond which no row of `closures` and `window_stalls` is needed."""
    return {"min_closed_window": MIN_WAIT.value}


def find(closures: pl.LazyFrame, window_stalls: pl.LazyFrame) -> pl.LazyFrame:
    """A row per first segment after a closed window that kept its sender waiting, and per stall that lasted longer than that."""
    return pl.concat([_closures(closures), _stalls(window_stalls)])


def _closures(closures: pl.LazyFrame) -> pl.LazyFrame:
    c = pl.col
    since = pl.when(_at_once()).then("closed_time").otherwise("window_probe_time")
    wait = c("opened_time") - since
    return closures.filter(_had_data() & (wait >= MIN_WAIT.value)).select(
        *_of_receiver(),
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
        wait.alias("held_up"),
        *_unpaced(c("opened_time"), c("offset"), pl.lit(value=True)),
        *_words("did not read", "closed window", " and opened it", " later: " + _READS_NOT, "had data to send for", ""),
        _shown().alias("shown"),
        evidence(
            ("closed_frame", "closed_time", pl.format("the receiver announces a window of {} bytes", "closed_window")),
            ("window_probe_frame", "window_probe_time", "the sender probes the window: it has data"),
            ("opened_frame", "opened_time", pl.format("the window update, {} after it closed", duration(_closed()))),
            ("frame", "time", pl.format("the sender goes on: {} bytes", "length")),
        ),
    )


def _stalls(rows: pl.LazyFrame) -> pl.LazyFrame:
    """What `window_stalls` has of refused data, of override timers, and of windows that never opened."""
    c = pl.col
    never, timer = c("sort") == "never_opened", c("sort") == "timer"
    gave_up = c("sender_close_frame").is_not_null()
    end = pl.when(never & gave_up).then("sender_close_time").otherwise("end_time")
    start = pl.when(never & (c("copies") == 0)).then("window_probe_time").otherwise("start_time")
    wait = pl.when(never).then(end - start).otherwise("waited")
    # a window stays below a segment all the time
    closed = pl.when(never | timer).then(end - c("start_time")).otherwise("closed")
    told = pl.when(never).then(_never_opened()).otherwise(~timer | (c("count") >= TIMERS.value))
    sure = c("handshake") & pl.when(never).then(gave_up).otherwise(~timer | c("http"))
    some = rows.filter(told & (wait >= MIN_WAIT.value)).with_columns(
        never.alias("never"),
        timer.alias("timer"),
        pl.when(never & gave_up).then("sender_close_frame").otherwise("end_frame").alias("last"),
        pl.when(never & gave_up).then("sender_close_time").otherwise("end_time").alias("last_time"),
    )
    newest = pl.when(c("last") != c("sent_frame").fill_null(-1)).then("last")
    return some.with_columns(newest.alias("newest_frame")).select(
        *_of_receiver(exchange=pl.lit(None, pl.Int32)),
        pl.when(sure).then(pl.lit("high")).otherwise(pl.lit("medium")).alias("confidence"),
        c("start_frame").alias("frame"),
        pl.max_horizontal("frame", "last").alias("last_frame"),
        start.alias("start"),
        end.alias("end"),
        wait.alias("delay"),
        wait.cast(DURATION).alias("wait"),
        closed.cast(DURATION).alias("closed"),
        c("window").alias("closed_window"),
        (c("window_probes") + c("copies")).alias("probes"),
        wait.alias("held_up"),
        *_unpaced(pl.when(~c("never")).then("end_time"), pl.lit(None), c("never") & c("sender_close_frame").is_null()),
        *_stall_words(),
        _stall_evidence(),
    )


def conclude(rows: pl.DataFrame, connections: pl.LazyFrame, exchanges: pl.LazyFrame) -> pl.DataFrame:
    """The same, where a client reads at a pace of its own by its kind."""
    c = pl.col
    known = with_pace(rows.drop("of_client"), connections, exchanges, OWN_PACE.value)
    timed = c("period").is_not_null()
    paced = (timed | c("rate").is_not_null() | c("plays")) & c("may_pause")
    every, rate = duration(c("period")), pl.format("{} kB/s", c("rate") // 1000)
    return known.with_columns(
        pl.when(paced).then(pl.lit("own-pace")).alias("kind"),
        pl.when(~paced).then("held_up").alias("delay"),
        pl.when(timed)
        .then(pl.format(": every {}", every))
        .when(c("rate").is_not_null())
        .then(pl.format(": {}", rate))
        .otherwise(pl.lit(""))
        .alias("every"),
        pl.when(timed)
        .then(pl.format("reads on a clock, every {}: it limits its rate, or sleeps", every))
        .when(c("rate").is_not_null())
        .then(pl.format("reads at one rate, {}: it limits that, or what it hands the data on to takes no more", rate))
        .otherwise(pl.lit("plays what it gets, and reads when its buffer has room"))
        .alias("paced"),
    ).select(rows.columns)


def _unpaced(opened: pl.Expr, offset: pl.Expr, may_pause: pl.Expr) -> list[pl.Expr]:
    """Columns for `conclude`. `may_pause`: the window may have been closed on purpose."""
    return [
        pl.col("http"),
        opened.cast(pl.Int64).alias("opened"),
        offset.cast(pl.Int64).alias("offset"),
        may_pause.alias("may_pause"),
        pl.lit(value=False).alias("of_client"),
        pl.lit("").alias("every"),
        pl.lit("").alias("paced"),
    ]


_READS_NOT = "its application did not read in that time"


def _of_receiver(exchange: pl.Expr | None = None) -> list[pl.Expr]:
    """Columns that say where it happened, and that the receiver has to change something."""
    return [
        pl.col("connection"),
        pl.col("exchange") if exchange is None else exchange.alias("exchange"),
        pl.lit(None, pl.String).alias("kind"),
        pl.lit(None, pl.String).alias("side"),
        (1 - pl.col("direction")).alias("direction"),
    ]


def _words(*texts: str | pl.Expr) -> list[pl.Expr]:
    """Columns of the texts."""
    names = ("did", "window", "then", "why", "had", "buffer")
    return [(pl.lit(t) if isinstance(t, str) else t).alias(name) for name, t in zip(names, texts, strict=True)]


def _by_sort(timer: str | pl.Expr, never: str | pl.Expr, refused: str | pl.Expr) -> pl.Expr:
    words = [pl.lit(t) if isinstance(t, str) else t for t in (timer, never, refused)]
    return pl.when("timer").then(words[0]).when("never").then(words[1]).otherwise(words[2])


def _stall_words() -> list[pl.Expr]:
    c = pl.col
    several = c("count") > 1
    long = c("closed") >= MIN_WAIT.value
    small = "has a receive buffer smaller than two segments"
    no_memory = "its kernel had no memory for what it had allowed"
    threw = pl.lit(", threw away the data that came all the same,") + pl.when(several).then(
        pl.format(" {} times in a row, and opened it after", "count")
    ).otherwise(pl.lit(" and opened it"))
    why = pl.when(several).then(pl.lit(" in all: ")).otherwise(pl.lit(" later: ")) + pl.when(long).then(
        pl.lit(_READS_NOT)
    ).otherwise(pl.lit(no_memory))
    until = (
        pl.when(c("sender_close_frame").is_null())
        .then(pl.lit("the connection or the capture ended"))
        .otherwise(pl.format("the sender gave up ({})", pl.when("sender_close_rst").then(pl.lit("RST")).otherwise(pl.lit("FIN"))))
    )
    repeated = pl.when(c("copies") > 0).then(pl.format(" ({} of them into the closed window)", "copies")).otherwise(pl.lit(""))
    backed_off = pl.format(
        ": it sent that data again at growing intervals{}, and its back-off took {} more after the window had opened",
        *(repeated, duration(c("waited") - c("closed"))),
    )
    times = pl.format(" in all, {} times: each time its timer sent what fitted, {} bytes at most", "count", "window")
    probed = pl.format(" of it, as its probes ({}) show", c("window_probes") + c("copies"))
    return [
        *_words(
            _by_sort(small, "did not read", pl.when(long).then(pl.lit("did not read")).otherwise(pl.lit("threw data away"))),
            _by_sort("window", "closed window", "closed window"),
            _by_sort(", less than a full segment, and no larger one for", " and did not open it in", threw),
            _by_sort(": it " + small, pl.format(", until {}: its application did not read", until), why),
            _by_sort("had more to send and waited for", "had data to send for", "had data to send and waited for"),
            _by_sort(_BUFFER, "", pl.when(long).then(pl.lit("")).otherwise(pl.lit(_BUFFER))),
        ),
        _by_sort(times, probed, backed_off).alias("shown"),
    ]


_BUFFER = (
    ". Here the buffer itself is too small: leave its size to the kernel (no SO_RCVBUF, no rcvbuf= in nginx's listen), or give "
    "it 64 kB and more, before the connection is made"
)


def _never_opened() -> pl.Expr:
    """The sender had data to send."""
    c = pl.col
    again = c("copies") > 0
    first = c("window_probe_time") - c("start_time") <= FIRST_PROBE.value
    had = again | pl.when(c("http")).then(~c("message_complete")).otherwise(first)
    enough = (c("window_probes") + c("copies") >= PROBES.value) | (c("waited") >= PROBED.value)
    return had.fill_null(value=False) & enough


def _stall_evidence() -> pl.Expr:
    c = pl.col
    start = pl.format("the receiver announces a window of {} bytes", pl.when("timer").then("window").otherwise(0))
    gave_up = c("never") & c("sender_close_frame").is_not_null()
    end = _by_sort(
        pl.format("the last of {} such segments", "count"),
        pl.when(gave_up).then(pl.lit("the sender gives up")).otherwise(pl.lit("the last packet")),
        pl.when(c("count") > 1)
        .then(pl.lit("the last of these ACKs that advance"))
        .otherwise(pl.lit("the first ACK that advances")),
    )
    sent = (
        pl.when("timer")
        .then(pl.format("{} bytes, which fill the window, after {}", "sent_bytes", duration(c("sent_time") - c("start_time"))))
        .otherwise(pl.lit("what was thrown away is sent again, with room"))
    )
    return evidence(
        ("start_frame", "start_time", start),
        ("window_probe_frame", "window_probe_time", "the sender probes the window: it has data"),
        ("copy_frame", "copy_time", "the sender repeats data that has no room"),
        ("opened_frame", "opened_time", "the window opens"),
        ("sent_frame", "sent_time", sent),
        ("newest_frame", "last_time", end),
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
    return pl.lit(" of it, ") + pl.when(_at_once()).then(pl.lit("and went on as soon as it was allowed to")).otherwise(probes)
