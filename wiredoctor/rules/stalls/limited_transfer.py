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
    building up, and a larger window only makes them longer. A longer round trip counts, too, if no segment came for a quarter
    of the usual round trip: a queue would send segments all the time. If the round trip to the sender varies, confidence is
    medium at most, and send-buffer is not reported.

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

from typing import Any, NamedTuple

import polars as pl

from wiredoctor.findings import Reference, Rule, Threshold
from wiredoctor.rules.shared.evidence import candidate, grade
from wiredoctor.rules.shared.words import packets, request_or_response
from wiredoctor.tables import MILLISECOND, SERVER
from wiredoctor.text.durations import duration_text
from wiredoctor.text.rates import rate_text
from wiredoctor.world.numbers import DURATION

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


class Facts(NamedTuple):
    """What is known of a body that was limited. Times and durations are in ns, all sizes in bytes.

    `window`: the window or the amount in flight that was the limit. `loss`, `application`, `path`: the time that went to these.
    `unscaled_frame`: the SYN that lacks the window scale option.
    """

    kind: str
    role: int
    frame: int
    start: int
    end: int
    last_frame: int
    length: int
    took: int
    window: int
    rtt: int
    loss: int
    application: int
    path: int
    unscaled_frame: int | None
    unscaled_time: int | None
    window_frame: int | None
    window_time: int | None
    filled_frame: int | None
    filled_time: int | None
    in_flight: int
    in_flight_frame: int
    in_flight_time: int


def find(transfers: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each long body whose rate was limited by the receive window or the send buffer."""
    took = c("time") - c("start")
    window, buffer = (c(name) * 100 >= MIN_SHARE.value * took for name in ("receive_window", "send_buffer"))
    buffer &= ~c("uncertain_way")
    is_window = window & c("window").is_not_null()
    share = pl.when(is_window).then("receive_window").otherwise("send_buffer")
    size = pl.when(is_window).then("window").otherwise("ceiling")
    sure = grade((c("kind") == "send-buffer") | c("has_gap"), ~c("handshake") | c("uncertain_way"))
    return (
        transfers.filter((took >= MIN_TIME.value) & (c("rtt") >= MIN_RTT.value) & (is_window | buffer))
        .with_columns(_kind(is_window), took.alias("took"), share.alias("share"), size.alias("window"))
        .with_columns(_side().alias("side"))
        .select(
            *candidate(c("side"), sure, "first_frame", "start", "time", kind=c("kind")),
            *("role", "length", "window", c("frame").alias("last_frame"), c("took", "rtt").cast(DURATION)),
            (c("share") * 100 // c("took")).alias("percent"),
            c("largest_window").alias("announced"),
            (EXAMPLE * (c("rtt") // MILLISECOND) // 1000).alias("needed"),
            *(_of_unscaled_syn(what).alias(f"unscaled_{what}") for what in ("frame", "time")),
            *("loss", "application", "path", "window_frame", "window_time", "filled_frame", "filled_time"),
            *("in_flight", "in_flight_frame", "in_flight_time"),
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


def _of_unscaled_syn(what: str) -> pl.Expr:
    """Return a column of the SYN of the side that must change, if that SYN lacks the window scale option; otherwise null."""
    is_sender = (c("side") == "server") == (c("role") == SERVER)
    lacks = (c("kind") == "no-window-scaling") & (pl.when(is_sender).then("scaling_own").otherwise("scaling_peer") == 0)
    return pl.when(lacks & is_sender).then(f"syn_own_{what}").when(lacks).then(f"syn_peer_{what}")


def words(x: Facts) -> dict[str, Any]:
    """Return the rates, and the words about what was the limit."""
    full = f"the window is full: more data has to wait a round trip ({duration_text(x.rtt)}) for an ACK"
    proof: list[tuple[int | None, int | None, str]] = [
        (x.window_frame, x.window_time, f"announces a window of {x.window} bytes"),
        (x.filled_frame, x.filled_time, full),
    ]
    if x.kind == "send-buffer":
        proof = [(x.in_flight_frame, x.in_flight_time, f"{x.in_flight} bytes are in flight, the maximum")]
    return {
        "what": request_or_response(x.role),
        "limit": rate_text(x.window, x.rtt),
        "rate": rate_text(x.length, x.took),
        "rest": _remaining_time_text(x),
        "evidence": packets(
            (x.unscaled_frame, x.unscaled_time, "a SYN without the window scale option"),
            (x.frame, x.start, "the body begins"),
            *proof,
            (x.last_frame, x.end, f"the body ends, {duration_text(x.took)} after it began"),
        ),
    }


def _remaining_time_text(x: Facts) -> str:
    """Return the text about the part of the transfer time in which neither buffer was the limit."""
    others = {"losses": x.loss, "waiting for an application or a delayed ACK": x.application, "slow start and the path": x.path}
    listed = ", ".join(f"{name} ({time * 100 // x.took} %)" for name, time in others.items() if time * 20 >= x.took)
    return f" The remaining time went mainly to {listed}." if listed else ""
