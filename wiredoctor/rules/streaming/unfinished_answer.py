"""A streamed answer is complete for HTTP, but the call that it answers failed.

What it means
    A program streams its answer to a POST, as the tokens of a model, in events. The body ended properly, with its last chunk, so
    no program on the way noticed anything. But the events show that the answer is not what the client asked for.

    Kind no-end-mark: the API ends each answer with an event of its own (`data: [DONE]`, a `finish_reason`, `message_stop`,
    `response.completed`, `"done": true`), and this answer has none. Its user got a part of the answer.

    Kind error-event: the last event is an error. The status had already been sent when the error occurred, so it is 200.

Why it hurts
    Logs, metrics and load balancers count such a call as a success. Many clients show the part of the answer as if it were
    complete. Clients that check it report an error, such as "stream ended before [DONE]".

How it is proved
    The response to a request that is neither GET nor HEAD is of type text/event-stream or application/x-ndjson, is complete, and
    the client had not closed before its end. After an error, the client may have closed before the end: some do so at once.

    Kind no-end-mark: none of the last two events has an end mark, and the last one has the name, the type and the members of an
    earlier one, as one token looks like another. It is a warning if the server ended another answer for the same path, whose
    first event has the same name, type and members, with [DONE], at any time before or within 60 s. If the first three events
    have the format of an API with an end mark (such as `"object": "chat.completion.chunk"`, `message_start` or `"done":
    false`), any mark of another answer suffices; without such an answer, the finding is a note of low confidence.

    Kind error-event: the last event, or the one before [DONE], is named error, has the type "error", or has a member `error`: a
    text, or an object whose code is not 0. No other event has one, as lists of results do. It is a warning if the event says
    that it is an error (name or type), or if the events have the format of such an API. Otherwise it is a note.

What it is not
    APIs without an end mark are not reported, nor is an answer that ends with an event of its own kind, such as a request for
    approval. If the client had asked the server to stop in the 2 s before the end (a DELETE, or a target or a short body with
    stop, cancel or abort), the answer ended as intended. Answers to JSON-RPC calls (MCP) may contain errors: a member `jsonrpc`,
    `result` or `method` shows them. If the response broke off, truncated-response reports it.

What to do
    Kind no-end-mark: check the server's log at that time. Have the program report an exception instead of ending its answer. A
    gateway cannot see that the server behind it died if that server's body ends with the connection: use HTTP/1.1 there (nginx:
    proxy_http_version 1.1). Kind error-event: find the error in the server's log. Have clients check the last event of each
    answer, whatever the status is.

References
    WHATWG HTML section 9.2 (event streams), RFC 9112 section 7.1.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import polars as pl

from wiredoctor.findings import Advice, Reference, Rule
from wiredoctor.rules.shared.evidence import candidate, confidence
from wiredoctor.rules.shared.words import packets
from wiredoctor.tables import ERROR_EVENT, MAYBE_ERROR_EVENT, REPEATED_EVENT
from wiredoctor.world import World, stream_answers, stream_requests
from wiredoctor.world.connection_close import OPEN_STREAMS, is_complete, streams
from wiredoctor.world.stream_answers import ANY, LATER, StreamAnswers
from wiredoctor.world.stream_requests import StreamRequests

c = pl.col

_UNMARKED, _FAILED = "no-end-mark", "error-event"
_CHECK = "Have clients check the last event of each answer, whatever the status is."

RULE = Rule(
    symptom="half an answer of a model, although all went well",
    severity="warning",
    title={
        _UNMARKED: "The streamed answer ended without the event that ends such answers",
        _FAILED: "The last event of the streamed answer is an error",
    },
    message={
        _UNMARKED: "The {status} to {request} is complete, and has {amount}, but its last event looks like the ones before "
        "it. {shown} So the client probably has only a part of the answer.",
        _FAILED: "The {status} to {request} has {amount}; the last one {shown}. So the call failed, although the status does "
        "not say so.",
    },
    remedy={
        _UNMARKED: "Check the server's log at that time for an exception, or for a server behind it that closed. Have the "
        "program report an exception instead of ending its answer. " + _CHECK,
        _FAILED: "Find the error in the server's log at that time. " + _CHECK,
    },
    references=(
        Reference("WHATWG HTML section 9.2, event streams", "https://html.spec.whatwg.org/multipage/server-sent-events.html"),
        Reference("RFC 9112 section 7.1, chunked", "https://www.rfc-editor.org/rfc/rfc9112.html#section-7.1"),
    ),
    explained_by=(("gateway-error", "exchange"),),
    caused_by=(("truncated-response", "tries"), ("unfinished-answer", "tries")),
    advice=(
        Advice(
            "server",
            "nginx",
            "nginx as a proxy: with proxy_http_version 1.1, it can tell that the server behind it died; with 1.0, the default of "
            "older versions, the end of a body is the end of the connection.",
            "is_unmarked",
        ),
    ),
)

SHARED_THRESHOLDS = (stream_answers, stream_requests)


def may_match() -> pl.Expr:
    """Return a cheap condition: if no row of a batch meets it, the batch has no candidate findings."""
    return c("response_last_event").is_in([ERROR_EVENT, MAYBE_ERROR_EVENT, REPEATED_EVENT]) & ~c("request_method").is_in(
        OPEN_STREAMS
    )


class Facts(NamedTuple):
    """What is known of an answer whose events do not end it well. Times are in ns.

    `due`: until when another answer may show how the API ends answers. `by_format`: the events have the format of an API with
    an end mark. `shape`: of the first event. `is_shown`: another answer for the same path has one. `says_error`: the last event
    says that it is an error.
    """

    connection: int
    exchange: int
    endpoint: int
    kind: str
    severity: str | None
    confidence: str
    frame: int
    start: int
    end: int
    due: int
    is_answer: bool
    by_format: bool
    shape: int
    is_shown: bool
    says_error: bool
    response_events: int
    response_frame: int
    response_start: int
    response_last_frame: int


def find(closes: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each complete answer whose last event is an error, or like an earlier one."""
    stayed = c("client_close_time").is_null() | (c("client_close_time") >= c("response_end"))
    # clients that read the error close at once
    left = (c("response_last_event") != REPEATED_EVENT) & (c("closed_first") == "client")
    over = left | (is_complete() & stayed)
    answer = streams() & over & c("response_status").is_between(200, 299) & c("response_events").is_not_null()
    kind = pl.when(c("response_last_event") == REPEATED_EVENT).then(pl.lit(_UNMARKED)).otherwise(pl.lit(_FAILED))
    wanted = (c("response_last_event") != REPEATED_EVENT) | ~c("response_end_mark")
    later = pl.when(c("response_last_event") == REPEATED_EVENT).then(c("response_end") + LATER.value)
    return closes.filter(may_match() & answer & wanted).select(
        *candidate("server", confidence(), "request_frame", "request_start", "response_end", kind=kind),
        pl.lit(None, pl.String).alias("severity"),
        pl.max_horizontal("final_at", later).alias("due"),
        pl.lit(value=True).alias("is_answer"),
        c("response_api_format").alias("by_format"),
        c("response_first_shape").alias("shape"),
        pl.lit(value=False).alias("is_shown"),
        (c("response_last_event") == ERROR_EVENT).alias("says_error"),
        *("endpoint", "response_events", "response_frame", "response_start", "response_last_frame", "response_status"),
    )


ASKS = (StreamAnswers, StreamRequests)


def decide(x: Facts, world: World) -> Facts | None:
    """Drop answers that their clients stopped, and those of APIs that are not known to end answers with a mark."""
    if world.of(StreamRequests).stopped(x.connection, x.exchange, x.end):
        return None
    if x.kind == _FAILED:
        return x if x.says_error or x.by_format else x._replace(severity="note")
    of = x.endpoint, x.connection, x.exchange
    if world.of(StreamAnswers).is_marked(*of, shape=ANY if x.by_format else x.shape, until=x.due):
        return x._replace(is_shown=True)
    return x._replace(severity="note", confidence="low") if x.by_format else None


def words(x: Facts) -> dict[str, Any]:
    """Return the words about the last event of an answer."""
    if x.kind == _FAILED:
        shown = "says that it is an error" if x.says_error else "has a member `error`, as no other"
    elif x.is_shown:
        shown = "The server ended other answers for this path with an event of its own, such as [DONE]."
    else:
        shown = "Its first events have the format of an API that ends answers with an event of its own, such as [DONE]."
    note = "no other event follows" if x.kind == _UNMARKED else "the error"
    return {
        "amount": "1 event" if x.response_events == 1 else f"{x.response_events:,} events",
        "shown": shown,
        "is_unmarked": x.kind == _UNMARKED,
        "evidence": packets(
            (x.frame, x.start, "the request"),
            (x.response_frame, x.response_start, "the response begins"),
            (x.response_last_frame, x.end, f"its end: {note}"),
        ),
    }
