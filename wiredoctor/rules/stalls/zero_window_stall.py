"""A closed receive window kept the sender waiting.

What it means
    The receiving application did not read, so its socket buffer became full. Its TCP announced a window of 0, or of less
    than a segment. The sender had more data and was not allowed to send it. Or the receive buffer is so small (less than two
    segments) that the announced window stays below a full segment, however fast the application reads.

Why it hurts
    The transfer stalls, however fast the network and the sender are. The cause is a process that is busy, blocked or
    stopped: a client that writes to a slow disk, or a server that forwards an upload to something slower.

How it is proved
    The receiver announced a window of 0. Or it announced less than one MSS, and a full segment was sent when the window opened.
    The receiver opened the window at least 100 ms later. The sender had data to send: its next segment leaves as soon as the
    window update reaches it, or it sent probes. Without either of these, the sender was not waiting.

    A kernel whose receive buffer is exhausted discards data that was on its way, and answers each copy with the same ACK
    number and window 0. Such copies are probes, not losses. The wait lasts until such a copy is acknowledged, because the
    sender may wait for its back-off timer although the window has opened. If the window has room for a copy and no ACK comes
    within 50 ms plus a round trip, the copy was lost. Then the wait ends, and a retransmission-stall begins.

    If the window is smaller than a full segment, the sender waits until its override timer sends the data that fits. That
    segment comes 100 ms or more after the announcement and fills the window exactly, with nothing else in flight. The
    segment before it had filled the window too. At least two such segments in a row are needed, with no window for two full
    segments between them. And of the segments that fill such a window, more must come late than at once.

    A window may still be 0 when the connection or the capture ends. Then two probes, or one at least a second after the
    window closed, show that the sender had data. The sender's FIN or RST shows that it gave up.

    Scaling removed: the sender's SYN offered window scaling, the receiver's SYN has no window scale option, and the small
    windows are the window of that SYN divided by a power of two. A receiver that believes scaling was agreed announces such
    windows. If the buffer grows afterwards, it is enough that the first window after the SYN is such a fraction.

    Beyond window: the receiver's SYN offered window scaling, the sender's SYN has no window scale option, and more than 65,535
    bytes were in flight when the receiver discarded data. No unscaled window is that large, so the sender believes that
    scaling was agreed, and multiplies the windows.

    Server behind: the receiver is a gateway, and the capture shows how it forwarded the same request. The server behind it did
    not read: its window was full, and smaller than before, for at least 80 % of the time in which the gateway sent the body (1
    s or longer). At least 80 % of the stall is in that time. So the gateway could not read faster.

    Both closed: each side had closed its window, and had data to send, for 500 ms or more at the same time. So each program wrote
    and did not read: neither could go on before the other read. This is one finding, and packets do not show which program has to
    change.

    Own pace (a note): a client reads a response at its own pace. Its window opens at regular times (three periods in a row
    differ by 5 % at most). Or the bytes between two openings are in proportion to the time between them (four times in a row,
    within 10 %; two if there are no more, within 1 %). Windows that were closed for 20 ms or longer count. At least half of its
    closed windows must fit this pace. No window is closed for more than two such periods, and no period is longer than 60 s. Only
    the first window may be closed for longer, because the client had read ahead. That is assumed if the average rate up to the
    end of that window was at least the client's rate afterwards. Or the response is audio or video, or the client is a player
    (User-Agent), and the window is closed for at most 60 s. That window need not open again: a player that is paused, or plays
    another part, reads no more. Gateways are excluded, because their own clients may be the reason.

    Severity note: the pauses of a client cannot have cost its user much. The response is complete, none of its windows was
    closed for more than 500 ms, and the closed windows took at most 25 % of its time. That is common where a program processes
    what it reads, and reads on when it has room (backpressure). Or the client is a program that downloads: curl, Wget, htslib
    and the like (by User-Agent), or a client of FTP with a control connection to port 21. In this case, no window of the
    response was closed for more than 3 s. Such pauses come from the program's rate limit, from the processing of its data, or
    from a slow program that it feeds. Gateways are excluded here, too.

What it is not
    Not reported: a gateway's closed window if the closed window of the server behind it is reported for at least half of the same
    time, a small window that opens at once, a sender that has nothing to send or whose message is complete, and
    keep-alive probes. A window that was 0 before any data was sent is not reported either, because nothing can be unread: a
    SYN proxy or a balancer keeps its window closed until it has connected to its server. A full window with data in flight
    empties within a round trip. retransmission-stall reports a segment that is lost while the window is open. One or two long
    pauses of any other client that limits its rate may show no regular pace, so they are reported as a warning: a process that
    was stopped looks the same. Linux opens a full receive buffer only after the application has read much of it, and on a fast
    network the buffer is megabytes large.

What to do
    Find out what the receiving process does during the stall. A larger receive buffer helps only against short
    interruptions, or if the present buffer is smaller than two segments. Kind server-behind: find out why the server behind the
    gateway reads slowly. Kind both-closed: have one of the programs read while it
    writes. Kind own-pace: nothing has to change if the rate is limited on purpose. Kinds scaling-removed and
    beyond-window: find the firewall or balancer that strips the window scale option from SYN packets.

References
    RFC 9293 sections 3.8.6.1 and 3.8.6.2, RFC 7323 section 2.2.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import polars as pl

from wiredoctor.findings import Reference, Rule, Threshold
from wiredoctor.rules.shared.evidence import candidate, grade
from wiredoctor.rules.shared.words import Nanoseconds, Packet, fin_or_rst, packets
from wiredoctor.tables import MILLISECOND, PROTOCOLS, SECOND
from wiredoctor.text.durations import duration_text
from wiredoctor.text.rates import rate_text
from wiredoctor.world import World, closed_together, reading_pace
from wiredoctor.world.closed_together import ClosedTogether
from wiredoctor.world.numbers import DURATION
from wiredoctor.world.reading_pace import Pace, ReadingPace

c = pl.col

_PASS_IT_ON = (
    "Capture the SYN packets at both ends to find the device between them (a firewall, a balancer, a SYN proxy) that removes the "
    "window scale option, and have that device pass the option on. Until then turn scaling off at one end (on Linux "
    "net.ipv4.tcp_window_scaling = 0)."
)

RULE = Rule(
    symptom="a transfer that stalls",
    severity={
        None: "warning",
        "own-pace": "note",
        "both-closed": "warning",
        "scaling-removed": "warning",
        "beyond-window": "warning",
        "server-behind": "warning",
    },
    title={
        None: "The {side} {did}: its {window} held the {peer} up for {wait}",
        "own-pace": "The {side} reads at its own pace{every}",
        "both-closed": "Client and server each waited for the other to read: both windows were closed for {together}",
        "scaling-removed": "The {side}'s window scale option was probably removed, which held the {peer} up for {wait}",
        "server-behind": "The server behind the gateway read slowly: the gateway's {window} held the {peer} up for {wait}",
        "beyond-window": "The {peer} sent more than the {side}'s window allowed, and was held up for {wait}",
    },
    message={
        None: "The {side} announced a window of {closed_window:,} bytes{then} {closed}{why}. The {peer} {had} {wait}{shown}.",
        "scaling-removed": "The {side} announced a window of {closed_window:,} bytes, less than a full segment, and no larger "
        "one for {closed}. Its SYN had announced {unscaled_window:,} bytes{next_window}, so the later windows look scaled. But "
        "that SYN has no window scale option, although the {peer}'s SYN offered scaling. A device on the path probably removed "
        "the option, so the {peer} takes the scaled windows for bytes. It {had} {wait}{shown}.",
        "beyond-window": "The {side} announced a window of 0 bytes, and discarded data. {unscaled_flight:,} bytes were in "
        "flight, but without window scaling no window is larger than 65,535 bytes. The {side}'s SYN offers scaling, and the "
        "{peer}'s has no window scale option, but the {peer} sends as if scaling had been agreed. A device on the path probably "
        "removed the option, so the {peer} takes the {side}'s windows for larger than they are. It {had} {wait}{shown}.",
        "server-behind": "The gateway announced a window of {closed_window:,} bytes{then} {closed}{later}. It could not forward "
        "the request faster: it sent the body to {behind} in {passed}, and for {full} % of that time the window of that server "
        "was full, and smaller than before. So that server did not keep up. The {peer} {had} {wait}{shown}.",
        "both-closed": "Each side announced a window of 0 bytes, or of less than a full segment, while the other had data to "
        "send. For {together} both windows were closed. So each program wrote, and read nothing until it had written all: "
        "neither could go on before the other read{ended}.",
        "own-pace": "The {side} {paced}. Its window was closed for {closed}{until}, and the {peer} had more to send. As far as "
        "the packets show, no user waited for that.",
    },
    remedy={
        None: "Find out what the {side}'s process does while it does not read (a full disk, a slow downstream, a lock, a "
        "garbage collection, a full thread pool). Have it read ahead, or drop data that it cannot process. Larger receive "
        "buffers (SO_RCVBUF, net.ipv4.tcp_rmem) bridge short pauses and hide long ones{buffer}. "
        "If the process limits its rate on purpose (curl --limit-rate), nothing has to change.",
        "scaling-removed": _PASS_IT_ON,
        "beyond-window": _PASS_IT_ON,
        "server-behind": "Find out why {behind} reads slowly (a full disk, a slow downstream, a lock, a garbage collection, a "
        "full thread pool). The gateway reads as fast as it can forward. A gateway that stores requests first (nginx "
        "proxy_request_buffering on) takes them from the client sooner, but they reach the server no sooner.",
        "both-closed": "Have at least one of the two programs read while it writes: a thread or task for each direction, or "
        "writes that do not block. A message that is larger than the buffers of both ends together cannot be written completely "
        "before anything is read. An HTTP client has to read the response while it sends the body, and a server that answers "
        "early has to go on reading the request, or close.",
        "own-pace": "Nothing has to change if the pauses are intended: a rate limit (curl --limit-rate, wget --limit-rate), or a "
        "player with a full buffer. Otherwise find out why the program pauses between its reads.",
    },
    display_filter="tcp.stream == {connection} && frame.number >= {first_frame} && frame.number <= {last_frame}",
    references=(
        Reference("RFC 9293 section 3.8.6.1, zero-window probing", "https://www.rfc-editor.org/rfc/rfc9293.html#section-3.8.6.1"),
        Reference(
            "RFC 9293 section 3.8.6.2, silly window syndrome", "https://www.rfc-editor.org/rfc/rfc9293.html#section-3.8.6.2"
        ),
        Reference("RFC 7323 section 2.2, window scale option", "https://www.rfc-editor.org/rfc/rfc7323.html#section-2.2"),
    ),
    explained_by=(("truncated-response/too-slow", "connection"),),
    absence=True,
    protocols=PROTOCOLS,
)

MIN_WAIT = Threshold("100 ms", "the minimum wait: shorter pauses are scheduling delays of a busy receiver")
PACE_WAIT = Threshold("20 ms", "the minimum wait that may come from the client's pace; shorter waits have other causes")
PROBES = Threshold(
    "2 probes",
    "the minimum number of probes of a window that never opened; a single small segment may be a reply to a stray segment",
)
PROBED = Threshold("1 s", "the minimum time for which the window stayed closed, if there was only one probe")
FIRST_PROBE = Threshold(
    "3 s",
    "the maximum time until a sender with data probes the window; a later probe, on a connection without HTTP, is a keep-alive "
    "probe",
)
BRIEF_PAUSE = Threshold(
    "500 ms", "the maximum pause of a client for severity note; during a longer pause, users notice that nothing moves"
)
DOWNLOAD_PAUSE = Threshold(
    "3 s",
    "the maximum pause of a program that downloads, for severity note; a longer pause is unusual, even with a low rate limit",
)
BRIEF_SHARE = Threshold("25 %", "the maximum share of a response's duration that its pauses take together, for severity note")
UNANSWERED = Threshold(
    "3 probes",
    "the minimum number of unanswered probes before a window update that show lost ACKs; Linux ignores a probe less than 500 ms "
    "after the previous one, and the update may answer the last one",
)
TIMERS = Threshold(
    "2 waits",
    "the minimum number of consecutive waits for the override timer; a single segment may have been delayed on the "
    "path, or written late",
)
SHARED_THRESHOLDS = (reading_pace, closed_together)

SHIFTS = range(1, 15)
"""The window scale shifts of RFC 7323, except 0."""
MIN_SCALED = 16
"""The smallest window (bytes) that may count as scaled. A smaller one may look like a scaled window by chance."""
LARGEST_UNSCALED = 65_535
"""The largest window (bytes) that can be announced without the window scale option."""


def cutoffs() -> dict[str, int]:
    """Return the cutoffs for the core (wiredoctor.core): the shortest waits (ns) for rows of `closures` and `window_stalls`."""
    return {"min_closed_window": min(PACE_WAIT.value, MIN_WAIT.value), "min_window_wait": MIN_WAIT.value}


class Facts(NamedTuple):
    """What is known of a closed or small window. Times and durations are in ns.

    `sort`: "closure", or that of the row of `window_stalls`; fields that such a row does not have are None. `window_time`: the
    time of the packet `frame`, which announced the window. `at_once`: the sender sent data as soon as the window update reached
    it. `lost`: packets of the receiver were lost before the window update. `end_frame`, `end_time`: the last packet.
    `opened`: the time at which the window opened; None if it never did. `first_window`: the first window, if it is scaled.
    `period`, `rate`: the client's pace (see world.reading_pace). `brief_percent`: the time that the pauses took, if that is
    little. `stalls`: how many there were in a row. `downloads`: the client is a program that downloads. `direction`: the one in
    which the receiver sends; None if neither side alone has to change. `together`: how long the sender's window was closed, too;
    `second_frame`, `second_time`: the later announcement of the two.
    """

    connection: int | None
    direction: int | None
    kind: str | None
    sort: str
    frame: int
    end: int
    confidence: str
    delay: int | None
    held_up: int
    may_pause: bool
    window_time: int
    closed: int
    closed_window: int
    probes: int
    window_probe_frame: int | None
    window_probe_time: int | None
    opened: int | None
    opened_frame: int | None
    opened_time: int | None
    end_frame: int
    end_time: int
    length: int | None
    at_once: bool | None
    lost: bool | None
    unanswered_probes: int | None
    stalls: int | None
    waited: int | None
    copies: int | None
    copy_frame: int | None
    copy_time: int | None
    sent_frame: int | None
    sent_time: int | None
    sent_bytes: int | None
    sender_close_frame: int | None
    sender_close_rst: bool | None
    first_window: int | None
    of_client: bool
    severity: str | None
    period: int | None
    rate: int | None
    brief_percent: int | None
    downloads: bool | None
    together: int | None
    second_frame: int | None
    second_time: int | None


def find(closures: pl.LazyFrame, window_stalls: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each closed window that delayed the other side's data, and for each stall in `window_stalls`.

    The stalls in `window_stalls` have three possible reasons: the receiver discarded data, the sender waited for its override
    timer, or the window never opened. Delays that are too short to report are included, because they show how fast a client
    reads.
    """
    rows = pl.concat([_closures(closures), _stalls(window_stalls)], how="diagonal")
    return rows.with_columns(pl.coalesce("opened", "end_time").alias("until"))


def _closures(closures: pl.LazyFrame) -> pl.LazyFrame:
    since = pl.when(_at_once()).then("closed_time").otherwise("window_probe_time")
    wait = c("opened_time") - since
    lost = c("unanswered_probes") >= UNANSWERED.value
    sure = pl.when(lost).then(pl.lit("low")).otherwise(_confidence())
    return closures.filter(_had_data() & (wait >= min(PACE_WAIT.value, MIN_WAIT.value))).select(
        *candidate(None, sure, "closed_frame", since, "opened_time", delay=wait),
        *_columns(wait, c("opened_time") - c("closed_time"), opened="opened_time", may_pause=pl.lit(value=True)),
        pl.lit("closure").alias("sort"),
        c("closed_time").alias("window_time"),
        c("window_probes").alias("probes"),
        c("frame").alias("last_frame"),
        c("frame").alias("end_frame"),
        c("time").alias("end_time"),
        (c("handshake") & (c("offset") <= 1)).alias("from_start"),
        lost.alias("lost"),
        _at_once().alias("at_once"),
        *("offset", "closed_window", "length", "unanswered_probes"),
    )


def _stalls(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each stall due to discarded data, an override timer, or a window that never opened."""
    never, timer = c("sort") == "never_opened", c("sort") == "timer"
    gave_up = never & c("sender_close_frame").is_not_null()
    last, end = (pl.when(gave_up).then(f"sender_close_{name}").otherwise(f"end_{name}") for name in ("frame", "time"))
    start = pl.when(never & (c("copies") == 0)).then("window_probe_time").otherwise("start_time")
    wait = pl.when(never).then(end - start).otherwise("waited")
    # in both cases, the window stays below a full segment all the time
    closed = pl.when(never | timer).then(end - c("start_time")).otherwise("closed")
    told = pl.when(never).then(_never_opened()).otherwise(~timer | (c("count") >= TIMERS.value))
    sure = c("handshake") & pl.when(never).then(gave_up).otherwise(~timer | c("http"))
    # the buffer of a receiver that scales its windows may grow; a window that looks scaled by chance does not grow
    grows = _is_scaled(c("first_window")) & (c("first_window") <= c("window")).fill_null(value=False)
    scaled = timer & (_is_scaled(c("window")) | _is_scaled(c("sent_bytes")) | grows)
    beyond = ~never & ~timer & (c("unscaled_flight") > LARGEST_UNSCALED).fill_null(value=False)
    kind = pl.when(scaled).then(pl.lit("scaling-removed")).when(beyond).then(pl.lit("beyond-window"))
    confident = pl.when(sure).then(pl.lit("high")).otherwise(pl.lit("medium"))
    opened = pl.when(~never).then("end_time")
    return rows.filter(told & (wait >= MIN_WAIT.value)).select(
        *candidate(None, confident, "start_frame", start, end, kind=kind, delay=wait, of="connection"),
        *_columns(wait, closed, opened=opened, may_pause=never & ~gave_up),
        c("start_time").alias("window_time"),
        c("window").alias("closed_window"),
        (c("window_probes") + c("copies")).alias("probes"),
        pl.max_horizontal("frame", last).alias("last_frame"),
        last.alias("end_frame"),
        end.alias("end_time"),
        (c("handshake") & never).alias("from_start"),
        pl.when(grows).then("first_window").alias("first_window"),
        c("count").alias("stalls"),
        *("sort", "waited", "copies", "copy_frame", "copy_time", "sent_frame", "sent_time", "sent_bytes"),
        *("sender_close_frame", "sender_close_rst", "unscaled_window", "unscaled_flight"),
    )


def _columns(wait: pl.Expr, closed: pl.Expr, *, opened: str | pl.Expr, may_pause: pl.Expr) -> list[pl.Expr]:
    """Return columns of all candidates. `opened`: the time (ns) when the window opened. `may_pause`: true if the client may have
    closed the window on purpose.
    """
    return [
        (1 - c("direction")).alias("direction"),  # of the receiver, which is the side that must change
        wait.cast(DURATION).alias("wait"),
        wait.alias("held_up"),
        closed.cast(DURATION).alias("closed"),
        (c(opened) if isinstance(opened, str) else opened).alias("opened"),
        may_pause.alias("may_pause"),
        *(c(name) for name in ("http", "window_probe_frame", "window_probe_time", "opened_frame", "opened_time")),
        pl.lit(value=False).alias("of_client"),
        *(pl.lit(None, pl.Int64).alias(name) for name in ("period", "rate", "brief_percent")),
        *(pl.lit(None, pl.Int64).alias(name) for name in ("together", "second_frame", "second_time")),
        pl.lit(None, pl.Boolean).alias("downloads"),
        pl.lit(None, pl.String).alias("severity"),
    ]


def _is_scaled(window: pl.Expr) -> pl.Expr:
    """Return whether `window` (bytes) is the window of the receiver's SYN divided by a power of two, rounded up or down."""
    unscaled = pl.col("unscaled_window")
    divided = pl.any_horizontal((window - unscaled / 2**shift).abs() < 1 for shift in SHIFTS)
    return ((window >= MIN_SCALED) & divided).fill_null(value=False)


ASKS = (ReadingPace, ClosedTogether)


def decide(x: Facts, world: World) -> Facts | None:
    """Give the kind own-pace to a client that reads at its own pace, and the severity note to pauses that cost little.

    Drop candidates that are too short to report, and candidates whose receiver never had anything to read. If both sides had
    closed their windows, keep one candidate.
    """
    pace = world.of(ReadingPace).of(x.frame, x.end)
    if pace is None or x.held_up < MIN_WAIT.value:
        return None
    if x.kind is None and (both := world.of(ClosedTogether).of(x.connection, x.frame)) is not None:
        if x.frame != both.first.frame:
            return None
        second = both.second
        x = x._replace(kind="both-closed", direction=None, confidence="high", delay=both.time, together=both.time)
        return x._replace(second_frame=second.frame, second_time=second.start)
    x = x._replace(of_client=pace.of_client, period=pace.period, rate=pace.rate)
    if not x.may_pause:
        return x
    if pace.period is not None or pace.rate is not None or pace.plays:
        return x._replace(kind="own-pace", delay=None)
    percent = _brief_percent(pace)
    downloads = pace.downloads and pace.longest_pause is not None and pace.longest_pause <= DOWNLOAD_PAUSE.value
    severity = "note" if downloads or percent is not None else None
    return x._replace(severity=severity, brief_percent=percent, downloads=downloads)


def _brief_percent(pace: Pace) -> int | None:
    """Return the percentage of a response's time that its pauses took; None if they are not brief."""
    pause, percent = pace.longest_pause, pace.paused_percent
    if pause is None or pause > BRIEF_PAUSE.value or percent is None or percent > BRIEF_SHARE.value:
        return None
    return int(percent)


def _never_opened() -> pl.Expr:
    """Return whether the window never opened although the sender had data to send and tried often or long enough."""
    again = c("copies") > 0
    first = c("window_probe_time") - c("start_time") <= FIRST_PROBE.value
    had = again | pl.when(c("http")).then(~c("message_complete")).otherwise(first)
    enough = (c("window_probes") + c("copies") >= PROBES.value) | (c("waited") >= PROBED.value)
    return had.fill_null(value=False) & enough


def _at_once() -> pl.Expr:
    """Return whether the sender sent data as soon as the window update reached it, so it was waiting only for that update."""
    rtt = pl.col("rtt_own")
    after = pl.col("time") - pl.col("opened_time") - rtt
    earliest = pl.when(pl.col("handshake")).then(-pl.max_horizontal(pl.lit(MILLISECOND), rtt // 10)).otherwise(-rtt)
    latest = pl.max_horizontal(pl.lit(3 * MILLISECOND // 2), rtt // 10)
    return after.is_between(earliest, latest).fill_null(False)


def _had_data() -> pl.Expr:
    """Return whether the sender had data to send while the window was closed.

    With HTTP, it had more data if its last data did not end a message. If that data was a retransmission that filled a gap, data
    sent earlier may have ended the message, so window probes must confirm that there was more. With other protocols, the sender
    had data if the receiver sent none in the meantime.
    """
    known = c("previous_data_last_in_flight") | (c("window_probes") > 0)
    unfinished = known & ~c("previous_data_ends_message")
    return pl.when(c("http")).then(unfinished).otherwise(~c("peer_data_since"))


def _confidence() -> pl.Expr:
    hole = pl.col("opens_gap") | pl.col("fills_gap")
    # without HTTP it is unknown whether more data was due
    inferred = ~pl.col("handshake") | ~_at_once() | (~pl.col("http") & (pl.col("window_probes") == 0))
    return grade(hole, inferred)


def words(x: Facts) -> dict[str, Any]:
    """Return the words about the window, about the client's pace, and about the gateway that does not read."""
    if x.together is not None:
        return _of_both(x, x.together)
    of_sort = {"closure": _of_closure, "timer": _of_timer, "never_opened": _of_unopened}.get(x.sort, _of_refusal)
    after = " later" if x.opened is not None else _UNTIL_END
    first = "" if x.first_window is None else f", and its next packet {x.first_window}"
    return {"window": "closed window", "buffer": "", "next_window": first, "later": after, **_of_pace(x), **of_sort(x)}


def _of_both(x: Facts, together: int) -> dict[str, Any]:
    """Return the words about two windows that were closed at once."""
    gave_up = x.sender_close_frame is not None
    end = "a side gives up" if gave_up else "a window has opened" if x.opened is not None else "the last packet"
    return {
        "together": Nanoseconds(together),
        "ended": f", until {'one gave up' if gave_up else 'one did'}" if gave_up or x.opened is not None else "",
        "evidence": packets(
            (x.frame, x.window_time, "one side closes its window"),
            (x.second_frame, x.second_time, "the other side closes its window, too"),
            (x.window_probe_frame, x.window_probe_time, _PROBES),
            (x.end_frame, x.end_time, end),
        ),
    }


_UNTIL_END = ", until the last packet of the connection"


def _of_pace(x: Facts) -> dict[str, Any]:
    """Return the words about the client's pace, and about its pauses if they cost little."""
    every = ""
    if x.period is not None:
        pace = f"every {duration_text(x.period)}"
        every = f": its window opens {pace}"
        paced = f"opened its window at regular times, {pace}: it limits its rate, or sleeps between reads"
    elif x.rate is not None:
        every = f": {rate_text(x.rate, SECOND)}"
        paced = f"reads at a constant rate, {rate_text(x.rate, SECOND)}: it limits the rate, or its downstream takes no more"
    elif x.opened is None:
        paced = "plays media, and stopped reading: its user paused it, or it has what it wanted"
    else:
        paced = "plays the data, and reads when its buffer has room"
    addition = _DOWNLOADS if x.downloads else None
    if x.brief_percent is not None:
        addition = f"The closed windows of this response took at most {x.brief_percent} % of its time."
    return {"every": every, "paced": paced, "until": _UNTIL_END if x.opened is None else " in between", "addition": addition}


_DOWNLOADS = (
    "The client is a program that downloads. With a rate limit, or while it processes what it has read, it pauses like this. "
    "A process that was stopped for this long looks the same."
)
_READS_NOT = "its application read nothing in that time, or too little"


def _of_closure(x: Facts) -> dict[str, Any]:
    """Return the words about a window that was closed, and that a window update opened."""
    did, why = "did not read fast enough", _READS_NOT
    shown = "and went on as soon as it was allowed to" if x.at_once else f"as its probes ({x.probes}) show"
    words = {"then": " and opened it", "had": "had data to send for", "shown": f" of that time, {shown}"}
    evidence = packets(
        (x.frame, x.window_time, f"the receiver announces a window of {x.closed_window} bytes"),
        (x.window_probe_frame, x.window_probe_time, _PROBES),
        (x.opened_frame, x.opened_time, f"the window update, {duration_text(x.closed)} after the window closed"),
        (x.end_frame, x.end_time, f"the sender goes on: {x.length} bytes"),
    )
    if not x.lost:
        return {**words, "did": did, "why": f" later: {why}", "evidence": evidence}
    return {**words, "did": _UPDATES_LOST, "why": _UNHEARD.format(x.unanswered_probes), "evidence": evidence}


_PROBES = "the sender probes the window: it has data"
_UPDATES_LOST = "did not read, or its window updates were lost"
_UNHEARD = (
    " later. But a host answers window probes, and the last {} got no answer before that: packets were lost, so the window may "
    "have been open earlier"
)


def _of_timer(x: Facts) -> dict[str, Any]:
    """Return the words about windows smaller than a segment, in which only the sender's timer sent data."""
    sent = f"{x.sent_bytes} bytes, which fill the window, after {duration_text((x.sent_time or 0) - x.window_time)}"
    return {
        "did": _SMALL,
        "window": "window",
        "then": ", less than a full segment, and no larger one for",
        "why": f": it {_SMALL}",
        "had": "had more to send and waited for",
        "buffer": _BUFFER,
        "shown": f" in all, {x.stalls} times. Each time, only its timer made it send what fit into the window, {x.closed_window} "
        "bytes at most",
        "evidence": _stall_packets(x, x.closed_window, sent, f"the last of {x.stalls} segments that fill the window"),
    }


_SMALL = "has a receive buffer smaller than two segments"
_BUFFER = (
    ". Here the buffer itself is too small: leave its size to the kernel (no SO_RCVBUF, no rcvbuf= in nginx's listen), or give "
    "it 64 kB and more, before the connection is made"
)


def _of_unopened(x: Facts) -> dict[str, Any]:
    """Return the words about a window that never opened."""
    until, end = "the last packet of the connection", "the last packet"
    if x.sender_close_frame is not None:
        until, end = f"the sender gave up ({fin_or_rst(x.sender_close_rst)})", "the sender gives up"
    return {
        "did": "did not read",
        "then": " and did not open it for",
        "why": f", until {until}: its application did not read",
        "had": "had data to send for",
        "shown": f" of that time, as its probes ({x.probes}) show",
        "evidence": _stall_packets(x, 0, _SENT_AGAIN, end),
    }


def _of_refusal(x: Facts) -> dict[str, Any]:
    """Return the words about data that the receiver discarded, and that the sender's timer sent again."""
    copies, long, several = x.copies or 0, x.closed >= MIN_WAIT.value, (x.stalls or 0) > 1
    opened = f" {x.stalls} times in a row, and opened the window after" if several else " and opened the window"
    repeated = "it sent that data again into the closed window" if copies else "it had to send that data again"
    if copies > 1:
        repeated = f"it sent that data {copies} times into the closed window, at growing intervals"
    late = duration_text((x.waited or 0) - x.closed)
    end = "the last of these ACKs that acknowledges new data" if several else "the first ACK of new data"
    return {
        "did": "did not read" if long else "discarded data",
        "then": f", discarded the data that still arrived{opened}",
        "why": (" in all: " if several else " later: ") + (_READS_NOT if long else _NO_MEMORY),
        "had": "had data to send and waited for",
        "buffer": "" if long else _BUFFER,
        "shown": f": {repeated}, and its timer did not expire until {late} after the window had opened",
        "evidence": _stall_packets(x, 0, _SENT_AGAIN, end),
    }


_SENT_AGAIN = "the discarded data is sent again, now that the window has room"
_NO_MEMORY = "its kernel had no memory for the data that its window had allowed"


def _stall_packets(x: Facts, window: int, sent: str, end: str) -> list[Packet]:
    """Return the evidence of a stall. `sent`, `end`: the notes of the first segment sent after it, and of the last packet."""
    return packets(
        (x.frame, x.window_time, f"the receiver announces a window of {window} bytes"),
        (x.window_probe_frame, x.window_probe_time, _PROBES),
        (x.copy_frame, x.copy_time, "the sender retransmits data for which there is no room"),
        (x.opened_frame, x.opened_time, "the window opens"),
        (x.sent_frame, x.sent_time, sent),
        (None if x.end_frame == x.sent_frame else x.end_frame, x.end_time, end),
    )
