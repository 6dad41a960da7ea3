"""The server ended the connection before its response was complete.

What it means
    The server's FIN or RST came before the end of the response: before all bytes of its Content-Length, before its last
    chunk, or before the end of its head.

    Kind stream: an event stream or another endless medium ended without its last chunk. Every stream ends like this if its
    server stops or is deployed. Such an end is a note, and streams that end within 50 ms share one note.

Why it hurts
    The client has only part of the response. Good clients report an error ("transfer closed with outstanding read data
    remaining", IncompleteRead, "unexpected end of stream"). Others store or show the part as if it were complete. Clients of
    event streams reconnect.

How it is proved
    Between the head of the response and the server's FIN or RST there are fewer bytes than the Content-Length announces, or
    the last chunk (size 0) is missing. Acknowledgment numbers show that the client had not closed before.

    The server may have given up because the client had not read for a second or more until shortly before the close
    (zero-window-stall). In this case the finding says so and has medium confidence.

What it is not
    Nothing is reported if the capture ends before the response does, or lacks packets of it. If the client gave up,
    client-abort reports it. Nothing is reported either if the client did not answer two or more keep-alive probes before the
    server reset the connection: the client, or the path to it, was gone. If a body has no announced end (close-delimited),
    packets do not show whether it is complete. Responses to HEAD, and 204 and 304, have no body.

What to do
    Check the server's log at that time. If a program sets Content-Length itself, have it count bytes; if it writes chunks itself,
    have it send the last chunk. Kind stream: nothing has to change if the server was stopped on purpose.

References
    RFC 9112 sections 8 and 6.3.
"""

from __future__ import annotations

from collections import deque

import polars as pl

from wiredoctor.findings import Advice, Reference, Rule, Threshold
from wiredoctor.rules.shared.bounded_memory import BoundedMap
from wiredoctor.rules.shared.evidence import (
    candidate,
    close_origin,
    confidence,
    doubt_texts,
    evidence,
    fin_or_rst,
    has_doubtful_close,
    with_doubt,
)
from wiredoctor.text.durations import duration_text
from wiredoctor.world.connection_close import BROKEN_BEFORE, may_have_closed_first, server_closed_first, streams
from wiredoctor.world.idle_times import TOGETHER, IdleTimes
from wiredoctor.world.numbers import DURATION, duration, other_connections
from wiredoctor.world.products import advice, default

c = pl.col

_NEVER_SENT = "was never sent, or was discarded by the server"
_REMEDY = (
    "{find_sender}Check the server's log at that time for a crash, or for a worker or script that was killed because it took too "
    "long. If the server is a proxy, check whether its upstream closed.{own_framing}{cut}"
)
_OWN_LENGTH = (
    " If the program sets Content-Length itself, have it count bytes instead of characters, and count them after compression."
)
_OWN_CHUNKS = " If the program writes its chunks itself, have it end the body with the last chunk (size 0)."
_STREAM = (
    "Nothing has to change if the server was stopped on purpose. Otherwise, check the server's log at that time. A server that "
    "ends a stream properly sends the last chunk before it closes, so a client can tell the end from a failure."
)

RULE = Rule(
    symptom="*unexpected end of file*, half a page",
    severity={None: "error", "stream": "note"},
    title={
        None: "The response broke off: the server{or_device} closed the connection before the end of the {status}",
        "stream": "The server ended a stream without a last chunk",
    },
    message={
        None: "{announced}{due}{unit}; {came} {came_unit} came before the server's {close}. The client had not closed before: "
        "the missing part of the {status} to {request} {missing}.{doubt}",
        "stream": "The server's {close} ended the stream in response to {request} {lasted} after the stream began, without the "
        "last chunk (size 0).{together} Streams end like this if their server stops or is deployed; their clients reconnect.",
    },
    remedy={None: _REMEDY, "stream": _STREAM},
    references=(
        Reference("RFC 9112 section 8, incomplete messages", "https://www.rfc-editor.org/rfc/rfc9112.html#section-8"),
        Reference("RFC 9112 section 6.3, message body length", "https://www.rfc-editor.org/rfc/rfc9112.html#section-6.3"),
    ),
    explained_by=(
        ("invalid-chunk", "exchange"),
        ("conflicting-framing", "exchange"),
        ("unfinished-transfer-coding", "exchange"),
        ("reset-destroys-response", "exchange"),
        ("unanswered", "exchange"),
        ("idle-cut", "exchange"),
        ("gateway-error", "exchange"),
        *BROKEN_BEFORE,
    ),
    caused_by=(("zero-window-stall/", "until"),),
    advice=(
        Advice(
            "server",
            "nginx",
            'nginx as a proxy: look for "upstream prematurely closed connection" and "upstream timed out" (proxy_read_timeout, '
            f"{default('nginx', 'proxy_read_timeout')} by default) in its error log.",
        ),
        *advice("work", "server"),
        Advice("server", "IIS|Microsoft", "IIS: look for recycled application pools in the system's event log."),
    ),
    timeless=True,
    absence=True,
    ends=True,
)


ENDPOINTS = Threshold("10000 endpoints", "the number of endpoints whose ended streams are remembered, which bounds the memory")
REMEMBERED = Threshold(
    "16 closes", "the number of closes that are remembered for each endpoint, because rows about closes are not in time order"
)


def screen() -> pl.Expr:
    """Return a cheap condition: if no row of a batch meets it, the batch has no candidate findings."""
    return c("has_request") & _is_cut_off() & may_have_closed_first()


def _is_cut_off() -> pl.Expr:
    return c("response_end_reason").is_in(["fin", "rst"])


def _is_truncated() -> pl.Expr:
    """Return whether the server closed before the end of its response."""
    cut = _is_cut_off() & c("server_close_frame").is_not_null()
    # an RST after which its host continues the response may not come from that host
    later = c("response_goes_on") & (c("response_end") > c("server_close_time"))
    goes_on = ((c("server_close_rst") == 1) & later).fill_null(value=False)
    return c("has_request") & c("has_response") & ~c("upgraded") & cut & ~goes_on & server_closed_first()


def find(closes: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each response that its server cut off."""
    rows = closes.filter(_is_truncated())
    # the close shows how much the server had sent, even if packets are missing from the capture
    sent = c("server_close_offset") - c("response_offset")
    head, sized = c("response_framing") == "none", c("response_framing") == "content-length"
    body = (sent - c("response_head_bytes")).clip(0)
    # what the server had sent when it reset may contain the last chunk, although the capture lacks it
    captured = ~c("response_has_gap") & (c("server_sent_more") == 0)
    missing = pl.when(sized).then(body < c("response_body_due")).otherwise(captured)
    known = c("response_framing").is_in(["none", "content-length", "chunked"]) & (c("server_close_time") >= c("response_start"))
    came = pl.when(head).then(sent).when(sized).then(body).otherwise("response_body_bytes")
    of_head = pl.lit("bytes of it")
    kind = pl.when(streams() & (c("response_framing") == "chunked")).then(pl.lit("stream"))
    doubted = has_doubtful_close("server")
    side = pl.when(~doubted | kind.is_not_null()).then(pl.lit("server"))
    return rows.filter(known & missing).select(
        *candidate(side, confidence(doubted), "response_frame", "request_start", "server_close_time", kind=kind),
        pl.when(head)
        .then(pl.lit("The head of the response was not complete"))
        .when(sized)
        .then(pl.lit("The response announced "))
        .otherwise(pl.lit("The body of the response comes in chunks, and the last chunk (size 0) is missing"))
        .alias("announced"),
        pl.when(sized).then("response_body_due").alias("due"),
        pl.when(sized).then(pl.lit(" bytes of body (Content-Length)")).otherwise(pl.lit("")).alias("unit"),
        came.alias("came"),
        pl.when(head).then(of_head).otherwise(pl.lit("bytes of the body")).alias("came_unit"),
        fin_or_rst("server_close_rst").alias("close"),
        close_origin("server"),
        *doubt_texts(),
        pl.when(doubted).then(pl.lit("did not come")).otherwise(pl.lit(_NEVER_SENT)).alias("missing"),
        pl.when(sized).then(pl.lit(_OWN_LENGTH)).when(~head).then(pl.lit(_OWN_CHUNKS)).otherwise(pl.lit("")).alias("own_framing"),
        _cut_text().alias("cut"),
        (c("server_close_time") - c("response_start")).cast(DURATION).alias("lasted"),
        *("endpoint", "server_close_time", "final_at"),
        evidence(
            ("request_frame", "request_start", "the request"),
            ("response_frame", "response_start", _head_note(sized, head)),
            ("server_close_frame", "server_close_time", with_doubt(doubted, _close_note(came))),
        ),
    )


def judge(rows: pl.DataFrame, state: BoundedMap[deque[int]] | None) -> tuple[pl.DataFrame, BoundedMap[deque[int]]]:
    """Add the column `silent`: true for a stream if the finding about another stream that ended at the same moment covers it."""
    memory = BoundedMap(lambda: deque[int](maxlen=REMEMBERED.value), ENDPOINTS.value) if state is None else state
    rows = rows.sort("final_at", "server_close_time", "connection", "exchange")
    silent = [_is_covered(memory, *one) for one in rows.select("kind", "endpoint", "server_close_time").iter_rows()]
    return rows.with_columns(pl.Series("silent", silent, pl.Boolean)), memory


def _is_covered(memory: BoundedMap[deque[int]], kind: str | None, endpoint: int, time: int) -> bool:
    """Return whether a stream is covered by the finding about another stream of the endpoint that ended at the same time.

    If not, remember that this stream ended at `time` (ns). A candidate without a `kind` is never covered.
    """
    if kind is None:
        return False
    closes = memory[endpoint]
    if any(abs(time - close) <= TOGETHER for close in closes):
        return True
    closes.append(time)
    return False


def by_limits(rows: pl.DataFrame, rests: IdleTimes, *, live: bool) -> pl.DataFrame:
    """Add the text about other connections that the server closed at the same moment."""
    texts: list[str] = []
    for endpoint, connection, time, final_at in rows.select(
        "endpoint", "connection", "server_close_time", "final_at"
    ).iter_rows():
        others = len(rests.closed_together(endpoint, connection, time, final_at + TOGETHER if live else None))
        closed = f" Within {duration_text(TOGETHER)} the server also closed {other_connections(others)}."
        texts.append(closed if others else "")
    return rows.with_columns(pl.Series("together", texts, pl.String))


def _cut_text() -> pl.Expr:
    reset = " The RST shows that the connection was aborted: a program that had finished would have sent a FIN."
    return pl.when(pl.col("server_close_rst") == 1).then(pl.lit(reset)).otherwise(pl.lit(""))


def _head_note(sized: pl.Expr, head: pl.Expr) -> pl.Expr:
    return (
        pl.when(sized)
        .then(pl.format("the response, {}: Content-Length {}", c("response_status"), c("response_body_due")))
        .when(head)
        .then(pl.lit("the response begins"))
        .otherwise(pl.format("the response, {}: Transfer-Encoding chunked", c("response_status")))
    )


def _close_note(came: pl.Expr) -> pl.Expr:
    after = duration((c("server_close_time") - c("response_start")).clip(0))
    return pl.format(
        "the server's {}, {} after the beginning of the response, after {} bytes", fin_or_rst("server_close_rst"), after, came
    )
