"""A 100 Continue that the client waited for never came.

What it means
    The client announced its body with Expect: 100-continue and waited for the server's 100 (Continue). None came, and the
    client sent the body when its timeout expired. That timeout is 1 s in curl, Go and .NET, 350 ms in the .NET Framework and 3
    s in Apache HttpClient. Kind no-body: the body never came. The client may have no such timeout (Java's HttpClient), or be a
    proxy that passes Expect on (Apache httpd).

Why it hurts
    Every such request takes that much longer. HTTP clients send Expect on their own (curl does for large bodies), so the
    cause is easy to overlook.

How it is proved
    The request says Expect: 100-continue, and no interim response was captured. The first byte of the body came at least 250
    ms after the head was complete. The first three pauses within the body, less a round trip, are all shorter than half of
    that wait. With longer pauses the client may be reading the body from a slow source, and would have been as late without
    Expect. If the wait is not the timeout of a known client, confidence is low, and the finding is only a note: a source may
    give nothing at first, and a body whose first copy was lost before the capture point comes late, too.

    Kind no-body: no byte of the body and no response of any kind came for 5 s or more after the head, until the connection was
    closed, or the capture ended (then a warning). Confidence is medium: the body may have been lost before the capture point.

What it is not
    Not reported: a client that does not wait for the 100 but reads its body from a slow source, and a server that sends the 100
    late, or a final response before the body. Nor is an upload that is slow only after it has begun, or a body that is lost and
    retransmitted.

What to do
    Have the server answer 100 (Continue), or have the client send the body at once. If the server answered 417 (Expectation
    Failed), have the client leave Expect out.

References
    RFC 9110 section 10.1.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import polars as pl

from wiredoctor.findings import Advice, Reference, Rule, Threshold
from wiredoctor.rules.shared.evidence import candidate, confidence
from wiredoctor.rules.shared.words import packets
from wiredoctor.tables import MILLISECOND
from wiredoctor.text.durations import duration_text
from wiredoctor.world.numbers import DURATION
from wiredoctor.world.products import names, settings

c = pl.col

RULE = Rule(
    symptom="a second more for each upload",
    severity={None: "warning", "no-body": "error"},
    title={
        None: "The client waited {wait} for a 100 Continue that did not come",
        "no-body": "Neither a 100 Continue nor the body of the request came for {wait}",
    },
    message={
        None: "The head of {request} says Expect: 100-continue. The server sent no interim response, and the client sent the "
        "{sent} after {wait}{timer}.{refused}",
        "no-body": "The head of {request} says Expect: 100-continue. In {wait}, the server sent neither 100 (Continue) nor a "
        "final response, and no byte of the body came. Some clients wait without a limit (Java's HttpClient; Apache httpd, which "
        "passes Expect on). If this client sends the body after a timeout, as curl and Go do, the body was lost on the path.",
    },
    remedy="{remedy}",
    references=(Reference("RFC 9110 section 10.1.1, Expect", "https://www.rfc-editor.org/rfc/rfc9110.html#section-10.1.1"),),
    explained_by=(("retransmission-stall", "time"), ("zero-window-stall", "time")),
    advice=(
        Advice("client", "curl", "curl: -H 'Expect:'; libcurl: the header \"Expect:\" in CURLOPT_HTTPHEADER."),
        Advice("client", r"MSIE|\.NET|Microsoft", ".NET Framework: ServicePointManager.Expect100Continue = false."),
        Advice("client", "Apache-HttpClient", "Apache HttpClient: RequestConfig with setExpectContinueEnabled(false)."),
        Advice("client", "^$", "curl: -H 'Expect:'; .NET Framework: ServicePointManager.Expect100Continue = false."),
    ),
    absence=True,
)

_WAITS = [one.time for one in settings("continue")]

MIN_WAIT = Threshold(
    "250 ms",
    f"the minimum wait; the shortest known timeout of a client is {duration_text(min(_WAITS))}, and a late body alone is not "
    "proof",
)

MIN_SILENCE = Threshold(
    "5 s",
    "the minimum wait for kind no-body; clients that go on without the 100 (Continue) do so after "
    f"{duration_text(max(_WAITS))} at most",
)

_TIMERS = ((330, 450), (950, 1_200), (2_900, 3_300))
"""Ranges of waits (ms), each for the clients whose timeout is in the range."""
_NO_TIMER = ". No known client has that timeout, so the body may have been late for another reason"

_EXPECTATION_FAILED = 417
_REFUSED = " The server then answered 417 (Expectation Failed): it does not accept Expect."
_WITHOUT = "This server does not accept Expect: have the client leave it out, or repeat refused requests without it. "
_ANSWER = (
    "Have the client send its body without waiting, or have the server (or the proxy in front of it) answer 100 (Continue). "
)


def may_match() -> Mapping[str, pl.Expr]:
    """Return a cheap condition for each table.

    If no row of a batch meets the condition for its table, the batch has no candidate findings.
    """
    expects = c("request_expect_continue")
    return {"exchanges": expects, "closes": expects & ~c("has_response")}


class Facts(NamedTuple):
    """What is known of a request whose body came late, or (kind no-body) never. Times and durations are in ns."""

    kind: str | None
    frame: int
    start: int
    wait: int
    response_status: int | None
    whole: bool | None
    request_body_bytes: int | None
    request_body_frame: int | None
    request_body_time: int | None


def find(exchanges: pl.LazyFrame, closes: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each request whose body came late, or never, because the client waited for an interim response."""
    return pl.concat([_late(exchanges), _never(closes)], how="diagonal")


def _never(closes: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each request whose client waited for a 100 (Continue) that never came, and sent no body."""
    closed_at = pl.min_horizontal("client_close_time", "server_close_time")
    end = pl.coalesce(closed_at, "final_at")
    wait = end - c("request_end")
    unsent = (c("request_end_reason") != "complete") & (c("request_body_bytes").fill_null(0) == 0)
    # no-response reports a server that closed first
    client_left = c("client_close_frame")
    closed_first = c("server_close_frame").is_not_null() & (client_left.is_null() | (c("server_close_frame") < client_left))
    seen = c("both_directions") & ~c("request_has_gap") & ~c("gap_before")
    return (
        closes.filter(c("request_expect_continue") & unsent & ~c("has_response") & seen & (wait >= MIN_SILENCE.value))
        .filter(~closed_first.fill_null(value=False))
        .filter(c("request_version") == "HTTP/1.1")
        .select(
            *candidate("server", "medium", "request_last_frame", "request_end", end, kind=pl.lit("no-body"), delay=wait),
            pl.when(closed_at.is_not_null()).then(pl.lit("error")).otherwise(pl.lit("warning")).alias("severity"),
            wait.cast(DURATION).alias("wait"),
        )
    )


def _late(exchanges: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each request whose body came only when the client's timeout had expired."""
    wait = c("request_body_time") - c("request_head_time")
    answered = c("response_start") < c("request_body_time")
    round_trip = pl.sum_horizontal(c("rtt_client", "rtt_server").clip(0))
    near = [wait.is_between(first * MILLISECOND, last * MILLISECOND) for first, last in _TIMERS]
    unknown = ~pl.any_horizontal(near)
    sure = pl.when(unknown).then(pl.lit("low")).otherwise(confidence())
    slow_source = 2 * (c("request_body_pause") - round_trip) >= wait
    return (
        exchanges.filter(c("request_expect_continue") & (wait >= MIN_WAIT.value))
        .filter(
            c("interim").list.len() == 0,
            ~answered.fill_null(False),
            ~slow_source.fill_null(False),
            c("request_version") == "HTTP/1.1",
            c("both_directions"),
        )
        .select(
            *candidate("client", sure, "request_head_last_frame", "request_head_time", "request_body_time", delay=wait),
            pl.when(unknown).then(pl.lit("note")).otherwise(pl.lit("warning")).alias("severity"),
            wait.cast(DURATION).alias("wait"),
            ((c("request_end_reason") == "complete") & ~c("request_has_gap")).alias("whole"),
            *("response_status", "request_body_bytes", "request_body_frame", "request_body_time"),
        )
    )


def words(x: Facts) -> dict[str, Any]:
    """Return the words about the wait, and about the software whose timeout it matches."""
    refused = x.response_status == _EXPECTATION_FAILED
    body = f"the body begins, {duration_text(x.wait)} later"
    return {
        "sent": f"{x.request_body_bytes:,} bytes of the body" if x.whole else "body",
        "timer": _clients_that_wait(x.wait) or _NO_TIMER,
        "refused": _REFUSED if refused else "",
        "remedy": _WITHOUT if refused else _ANSWER,
        "evidence": packets(
            (x.frame, x.start, "the head: Expect: 100-continue"), (x.request_body_frame, x.request_body_time, body)
        ),
    }


def _clients_that_wait(wait: int) -> str:
    """Return the text about the clients whose timeout matches the wait (ns): ": curl, Go and .NET wait for 1 s"; or ""."""
    for first, last in _TIMERS:
        if first * MILLISECOND <= wait <= last * MILLISECOND:
            some = [one for one in settings("continue") if first * MILLISECOND <= one.time <= last * MILLISECOND]
            return f": {names(some, '')} {'wait' if len(some) > 1 else 'waits'} for {duration_text(some[0].time)}"
    return ""
