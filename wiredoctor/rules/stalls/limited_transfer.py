"""A long transfer was limited by a buffer at one of its ends.

What it means
    A sender may have no more bytes in flight than the receiver's window allows. It also keeps sent data in its own send
    buffer until the data is acknowledged. Either way at most one buffer is transferred per round trip, whatever the network
    could carry: 64 kB per 80 ms is 0.8 MB/s. Here the sender was at such a limit most of the time.

    Kind receive-window: the limit is the window that the receiver announced. Kind no-window-scaling: the window cannot grow
    beyond 65,535 bytes, because a SYN lacks the window scale option (RFC 7323). Kind send-buffer: the bytes in flight reached a
    ceiling below the window.

Why it hurts
    On a fast network, each download or upload over a long distance is still slow. Several parallel connections hide the
    limit.

How it is proved
    The body takes at least 1 s and has 40 segments or more. Its time is divided into round trips.

    A round trip counts as limited by the receiver's window on three conditions. The sender had less than a segment of the
    window left. The window was as large as it had ever been. And the round-trip time did not grow: if it grows, queues are
    building up, and a larger window only makes them longer.

    A round trip counts as limited by the send buffer if the bytes in flight stay at the same ceiling. There are at least ten
    round trips, and most of them reach this ceiling. It does not grow, is seldom exceeded, and leaves room for two segments in
    the window. The sender may wait longer than a round trip: Linux fills a send buffer again when a third of it is free.

    Together, the round trips that count as limited take at least 60 % of the transfer time, and the round trip is at least
    5 ms. For send-buffer, confidence is low: a congestion window that does not grow, and a program that writes at a steady
    pace, can look the same.

What it is not
    Slow start, a growing congestion window and losses are other limits. A program may have nothing to send. If segments carry
    timestamps, a pause is attributed to the program only if the timestamps show that the next segment was sent late. Otherwise
    the path stalled. A receiver that does not read shrinks its window; if the window closes, zero-window-stall reports it. Full
    queues on the path lengthen the round trip. Without the handshake in the capture, the scale of the windows is unknown.

What to do
    Kinds receive-window, send-buffer: let the kernel size the buffers. A program that sets SO_RCVBUF or SO_SNDBUF turns that
    off. If bandwidth x round trip is larger than the kernel's limits allow, raise the limits. Kind no-window-scaling: turn
    window scaling on, and check that nothing removes the window scale option from SYNs.

References
    RFC 7323 section 2. Zhang et al., SIGCOMM 2002.
"""

from __future__ import annotations

import polars as pl

from wiredoctor.findings import Reference, Rule, Threshold
from wiredoctor.rules.shared.evidence import candidate, evidence, grade, request_or_response
from wiredoctor.tables import MILLISECOND, SECOND, SERVER
from wiredoctor.world.numbers import DURATION, duration

c = pl.col

_WINDOW = (
    "The body of the {what} ({length:,} bytes) took {took}, {rate} on average. For {percent} % of that time the receive window "
    "of the {side} was full: the {peer} can have {window:,} bytes in flight, and then has to wait a round trip ({rtt}) for their "
    "ACK. {window:,} bytes / {rtt} = {limit} at most, whatever the path can carry"
)
_NEEDED = " A rate of 100 Mbit/s over this round trip needs {needed:,} bytes in flight (bandwidth x round trip)."
_CHECK = " On Linux `ss -ti` at the {peer} shows such a connection as rwnd_limited."

RULE = Rule(
    symptom="a slow download or upload over a long distance, on a link that could carry more",
    severity="note",
    title={
        "receive-window": "The receive window of the {side}, {window:,} bytes, limited the {what} to {rate}",
        "no-window-scaling": "Without window scaling the {what} reached only {rate}: {window:,} bytes per round trip of {rtt}",
        "send-buffer": "The {what} reached only {rate}: the {side} had about {window:,} bytes in flight",
    },
    message={
        "receive-window": _WINDOW + ".{rest}" + _NEEDED,
        "no-window-scaling": "The body of the {what} ({length:,} bytes) took {took}, {rate} on average. For {percent} % of that "
        "time the window of its receiver was full, and the window cannot be larger: the SYN of the {side} lacks the window scale "
        "option, so no window of this connection exceeds 65,535 bytes. {window:,} bytes / {rtt} = {limit} at most, whatever the "
        "path can carry.{rest}" + _NEEDED,
        "send-buffer": "The body of the {what} ({length:,} bytes) took {took}, {rate} on average. For {percent} % of that time "
        "the {side} had about the same amount of data in flight ({window:,} bytes), although the {peer} announced a window of "
        "{announced:,} bytes. A constant amount in flight is what a full "
        "send buffer looks like. One such amount per round trip ({rtt}) is {limit} at most.{rest}" + _NEEDED,
    },
    remedy={
        "receive-window": "Have the {side} announce a larger window. Linux sizes receive buffers up to the third value of "
        "net.ipv4.tcp_rmem, unless the program sets SO_RCVBUF: remove that setting (nginx: rcvbuf of listen; Apache httpd: "
        "ReceiveBufferSize; HAProxy: tune.rcvbuf.client, tune.rcvbuf.server), or raise the limit above bandwidth x round trip. "
        "On Windows `netsh interface tcp show global` should show normal as the Receive Window Auto-Tuning Level." + _CHECK,
        "no-window-scaling": "Have the {side} offer window scaling: net.ipv4.tcp_window_scaling = 1 on Linux (the default), a "
        "Receive Window Auto-Tuning Level of normal on Windows (`netsh interface tcp show global`). If the SYN has the option "
        "when it leaves the {side}, something on the path removes it: look for firewalls and balancers that normalize TCP "
        "options (Cisco ASA: tcp-options window-scale in a tcp-map). A Linux server that answers with SYN cookies can use the "
        "option only if timestamps are on, too.",
        "send-buffer": "On Linux `ss -ti` at the {side} shows, while such a transfer runs, whether the connection is "
        "sndbuf_limited, or whether its congestion window (cwnd) or the program (app_limited) is the limit. Linux sizes send "
        "buffers up to the third value of net.ipv4.tcp_wmem, unless the program sets SO_SNDBUF: remove that setting (nginx: "
        "sndbuf of listen; Apache httpd: SendBufferSize; HAProxy: tune.sndbuf.client, tune.sndbuf.server), or raise tcp_wmem.",
    },
    display_filter="tcp.stream == {connection} && frame.number >= {first_frame} && frame.number <= {last_frame}",
    references=(
        Reference("RFC 7323 section 2, window scale option", "https://www.rfc-editor.org/rfc/rfc7323.html#section-2"),
        Reference(
            "On the Characteristics and Origins of Internet Flow Rates, SIGCOMM 2002", "https://doi.org/10.1145/633025.633055"
        ),
        Reference("Linux: ip-sysctl, tcp_rmem, tcp_wmem", "https://docs.kernel.org/networking/ip-sysctl.html"),
        Reference("nginx: listen", "https://nginx.org/en/docs/http/ngx_http_core_module.html#listen"),
    ),
    explained_by=(("zero-window-stall", "time"), ("delayed-ack-stall", "time"), ("nagle-delayed-ack", "time")),
)

MIN_TIME = Threshold(
    "1 s",
    "the minimum duration of a transfer; users do not perceive a shorter transfer as slow, and it may end while still in slow "
    "start",
)
MIN_SHARE = Threshold(
    "60 %",
    "the minimum share of the transfer time for the round trips that the buffer limited; if their share is lower, the buffer is "
    "not the main limit",
)
MIN_RTT = Threshold(
    "5 ms",
    "the minimum round trip: over a shorter one, even a window of 64 kB permits more than 13 MB/s, and scheduling delays are as "
    "long as round trips",
)
MIN_UNSCALED = Threshold(
    "32768 bytes",
    "the minimum window for kind no-window-scaling; the largest unscaled window is 65,535 bytes, and a window of less than half "
    "of that is small for another reason",
)
LARGEST_UNSCALED = 65_535
"""The largest value of the window field, in bytes."""
EXAMPLE = 12_500_000
"""A network rate in bytes per second, used as an example in texts: 100 Mbit/s."""


def cutoffs() -> dict[str, int]:
    """Return the cutoff for the core (wiredoctor.core): the minimum transfer time (ns) of a body for a row of `transfers`."""
    return {"min_transfer": MIN_TIME.value}


def find(transfers: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each long body whose rate was limited by the receive window or the send buffer."""
    took = c("time") - c("start")
    window, buffer = (c(name) * 100 >= MIN_SHARE.value * took for name in ("receive_window", "send_buffer"))
    is_window = window & c("window").is_not_null()
    share = pl.when(is_window).then("receive_window").otherwise("send_buffer")
    size = pl.when(is_window).then("window").otherwise("ceiling")
    sure = grade((c("kind") == "send-buffer") | c("has_gap"), ~c("handshake"))
    return (
        transfers.filter((took >= MIN_TIME.value) & (c("rtt") >= MIN_RTT.value) & (is_window | buffer))
        .with_columns(_kind(is_window), took.alias("took"), share.alias("share"), size.alias("size"))
        .with_columns(_proof_frames(c("kind") == "no-window-scaling", c("kind") != "send-buffer"))
        .select(
            *candidate(_side(), sure, "first_frame", "start", "time", kind=c("kind")),
            c("frame").alias("last_frame"),
            "length",
            request_or_response().alias("what"),
            c("took").cast(DURATION).alias("took"),
            (c("share") * 100 // c("took")).alias("percent"),
            c("size").alias("window"),
            c("largest_window").alias("announced"),
            c("rtt").cast(DURATION).alias("rtt"),
            _rate(c("size"), c("rtt")).alias("limit"),
            _rate(c("length"), c("took")).alias("rate"),
            (EXAMPLE * (c("rtt") // MILLISECOND) // 1000).alias("needed"),
            _remaining_time_text().alias("rest"),
            _evidence(),
        )
    )


def _kind(is_window: pl.Expr) -> pl.Expr:
    missing = (c("scaling_own") == 0) | (c("scaling_peer") == 0)
    is_unscaled = missing & (c("largest_window") <= LARGEST_UNSCALED) & (c("window") >= MIN_UNSCALED.value)
    return (
        pl.when(is_window & is_unscaled.fill_null(False))
        .then(pl.lit("no-window-scaling"))
        .when(is_window)
        .then(pl.lit("receive-window"))
        .otherwise(pl.lit("send-buffer"))
        .alias("kind")
    )


def _side() -> pl.Expr:
    """Return the side that must change: the sender for a send buffer, the receiver for a receive window.

    Without window scaling, it is the client, or the server if the client offers window scaling.
    """
    is_server = c("role") == SERVER
    sender, receiver = (pl.when(is_server == flag).then(pl.lit("server")).otherwise(pl.lit("client")) for flag in (True, False))
    client_offers = pl.when(is_server).then("scaling_peer").otherwise("scaling_own") == 1
    unscaled = pl.when(client_offers).then(pl.lit("server")).otherwise(pl.lit("client"))
    return (
        pl.when(c("kind") == "no-window-scaling").then(unscaled).when(c("kind") == "send-buffer").then(sender).otherwise(receiver)
    )


def _rate(size: pl.Expr, time: pl.Expr) -> pl.Expr:
    """Format a rate (an amount per time) as text: "0.8 MB/s"."""
    rate = size.cast(pl.Float64) * SECOND / time
    unit = pl.when(rate < 1e5).then(1e3).otherwise(1e6)
    number = (rate / unit).round_sig_figs(2)
    text = pl.when(number < 10).then(number.cast(pl.String)).otherwise(number.cast(pl.Int64).cast(pl.String))
    return pl.format("{} {}", text, pl.when(rate < 1e5).then(pl.lit("kB/s")).otherwise(pl.lit("MB/s")))


def _remaining_time_text() -> pl.Expr:
    """Return the text about the part of the transfer time in which neither buffer was the limit."""
    parts = [
        pl.when(c(name) * 20 >= c("took")).then(pl.format("{} ({} %)", pl.lit(word), c(name) * 100 // c("took")))
        for name, word in (
            ("loss", "losses"),
            ("application", "waiting for an application or a delayed ACK"),
            ("path", "slow start and the path"),
        )
    ]
    listed = pl.concat_str(parts, separator=", ", ignore_nulls=True)
    return pl.when(listed != "").then(pl.format(" The remaining time went mainly to {}.", listed)).otherwise(pl.lit(""))


def _proof_frames(lacks_scaling: pl.Expr, is_window: pl.Expr) -> list[pl.Expr]:
    """Return the columns with the frames that are evidence.

    In each row, a frame that is not evidence for the candidate's kind is null.
    """
    # the server's SYN-ACK has no such option anyway if the client's SYN has none
    is_server = c("role") == SERVER
    syns = [
        pl.when(lacks_scaling & (c(f"scaling_{of}") == 0) & (is_client | (c(f"scaling_{other}") == 1)))
        .then(f"syn_{of}_frame")
        .alias(f"syn_{of}_frame")
        for of, other, is_client in (("own", "peer", ~is_server), ("peer", "own", is_server))
    ]
    windows = [pl.when(is_window).then(name).alias(name) for name in ("window_frame", "filled_frame")]
    return [*syns, *windows, pl.when(~is_window).then("in_flight_frame").alias("in_flight_frame")]


def _evidence() -> pl.Expr:
    unscaled = "a SYN without the window scale option"
    return evidence(
        ("syn_own_frame", "syn_own_time", unscaled),
        ("syn_peer_frame", "syn_peer_time", unscaled),
        ("first_frame", "start", "the body begins"),
        ("window_frame", "window_time", pl.format("announces a window of {} bytes", "window")),
        (
            "filled_frame",
            "filled_time",
            pl.format("the window is full: more data has to wait a round trip ({}) for an ACK", duration(pl.col("rtt"))),
        ),
        ("in_flight_frame", "in_flight_time", pl.format("{} bytes are in flight, the maximum", "in_flight")),
        ("frame", "time", pl.format("the body ends, {} after it began", duration(pl.col("took")))),
    )
