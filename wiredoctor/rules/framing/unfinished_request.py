"""The client closed the connection before its request was complete.

What it means
    The client sent the head of a request and part of its body, then closed: before all bytes of its Content-Length, or before
    the last chunk (size 0).

    Kind canceled: the client broke off an upload. That is an everyday event (a user left, a program was stopped), and a note.
    Kind rejected: after the client's FIN, the server answered 400 or 408, and the client accepted this response: it had sent all
    that it meant to send. A client that is gone answers the response with an RST: then the upload was canceled.
    Kind left-waiting: after the client's FIN, the server waited for the rest of the body, and closed only later or not at all.

Why it hurts
    The server has only a part of the data. A program that sends chunks and closes instead of sending the last one believes that
    it has sent everything. Servers log "Early EOF", "request aborted" or "unexpected end of file", and some store the part.

How it is proved
    Between the head and the client's FIN or RST there are fewer bytes than Content-Length announces, or the last chunk is
    missing. The server had not closed before, and had not begun to respond. Kind left-waiting: for a round trip and 50 ms after
    the client's FIN, the server sent neither a response nor a FIN or RST.

What it is not
    Nothing is reported if the capture lacks bytes of the request, or ends before it does. If the server had already responded (a
    413 or a redirect), the client had a reason to stop. If the server closed first, no-response or truncated-response reports
    it. Live sources, such as a PUT of media without an announced end, and tunnels end like this. A client that waited for its
    response and gave up is reported by client-abort.

What to do
    Kind canceled: nothing has to change, unless the uploads should have been completed. Kinds rejected and left-waiting: have the
    client end the body: with the last chunk (0, CRLF, CRLF), or with as many bytes as Content-Length announces. Close only after
    the response.

References
    RFC 9112 sections 8 and 7.1.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import polars as pl

from wiredoctor.findings import Advice, Reference, Rule, Threshold
from wiredoctor.rules.shared.evidence import candidate, confidence, has_doubtful_close
from wiredoctor.rules.shared.words import fin_or_rst, packets, sender_of_close, with_doubt
from wiredoctor.text.durations import duration_text
from wiredoctor.world.connection_close import BROKEN_BEFORE

c = pl.col

_BROKE_OFF = (
    "{request} announced a body {announced}; {came:,} bytes of the body came before the client's {close}. The server had not "
    "closed before. "
)

RULE = Rule(
    symptom="half an upload, *Early EOF*, *request aborted*",
    severity={"canceled": "note", "rejected": "warning", "left-waiting": "warning"},
    title={
        "canceled": "The client broke off its request before the body was complete",
        "rejected": "The client closed before its request was complete, and the server answered {status}",
        "left-waiting": "The client closed before its request was complete, and the server waited for the rest",
    },
    message={
        "canceled": _BROKE_OFF + "Users and programs cancel uploads every day.",
        "rejected": _BROKE_OFF + "The server then answered {status}: for it, the request was invalid.",
        "left-waiting": _BROKE_OFF + "The server waited for the rest: {reaction}.",
    },
    remedy={
        "canceled": "Nothing has to change if the upload was canceled on purpose.",
        **dict.fromkeys(
            ("rejected", "left-waiting"),
            "Have the client end its request: {ending}. Have it close only after it has the response.",
        ),
    },
    references=(
        Reference("RFC 9112 section 8, incomplete messages", "https://www.rfc-editor.org/rfc/rfc9112.html#section-8"),
        Reference("RFC 9112 section 7.1, chunked", "https://www.rfc-editor.org/rfc/rfc9112.html#section-7.1"),
    ),
    explained_by=(
        ("client-abort", "exchange"),
        ("conflicting-framing", "exchange"),
        ("invalid-chunk", "exchange"),
        ("unfinished-transfer-coding", "exchange"),
        *(("gateway-error", scope) for scope in ("exchange", "front")),
        *((name, "front") for name in ("client-abort", "unfinished-request")),
        *BROKEN_BEFORE,
    ),
    caused_by=(("zero-window-stall/", "connection"),),
    advice=(
        Advice(
            "client", "^node|axios|undici", "Node: call end() on the request; pipe() does so only when its source ends properly."
        ),
        Advice("client", r"\.NET|MS Web Services", ".NET: close the request stream before you read the response."),
    ),
    absence=True,
    ends=True,
)

WAITS = Threshold(
    "50 ms",
    "the minimum time after the client's FIN, besides a round trip, for which a server that waits for the rest sends nothing; "
    "servers that take the FIN for the end answer or close within a few milliseconds",
)
REJECTED = (400, 408)
"""The statuses by which a server rejects a request without an end (RFC 9110 sections 15.5.1 and 15.5.9)."""


def may_match() -> pl.Expr:
    """Return a cheap condition: if no row of a batch meets it, the batch has no candidate findings."""
    return c("has_request") & c("request_end_reason").is_in(["fin", "rst"]) & c("client_close_frame").is_not_null()


class Facts(NamedTuple):
    """What is known of a request that its client broke off. Times and durations are in ns, `came` is bytes.

    `waited`: the time from the client's close to the server's first reaction, or to the end of what is known.
    """

    kind: str
    frame: int
    start: int
    end: int
    waited: int
    request_framing: str
    request_body_due: int | None
    client_close_frame: int
    client_close_rst: int
    client_close_origin: str | None
    response_frame: int | None
    response_start: int | None
    response_status: int | None
    server_close_frame: int | None
    server_close_time: int | None
    server_close_rst: int | None


def find(closes: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each request whose client closed before its body was complete."""
    sized = c("request_framing") == "content-length"
    short = pl.when(sized).then(c("request_body_bytes").fill_null(0) < c("request_body_due")).otherwise(pl.lit(value=True))
    first = (c("closed_first") == "client") & (c("response_start").is_null() | (c("response_start") > c("client_close_time")))
    of_body = c("request_framing").is_in(["content-length", "chunked"]) & ~c("upgraded") & ~c("request_endless")
    known = ~c("request_has_gap") & c("both_directions")
    rows = closes.filter(may_match() & of_body & known & short & first).with_columns(_waited().alias("waited"))
    doubted = has_doubtful_close("client")
    return rows.select(
        *candidate(
            pl.when(~doubted).then(pl.lit("client")), confidence(doubted), "request_frame", "request_start", "client_close_time",
            kind=_kind(),
        ),
        c("request_body_bytes").fill_null(0).alias("came"),
        "waited",
        *(name for name in Facts._fields[5:]),
    )  # fmt: skip


def _waited() -> pl.Expr:
    """Return the time (ns) from the client's close to the server's response or close, or to the end of what is known."""
    reacted = pl.min_horizontal("response_start", "server_close_time")
    return pl.coalesce(reacted, "final_at") - c("client_close_time")


def _kind() -> pl.Expr:
    is_gone = (c("client_rst_time") >= c("response_start")).fill_null(value=False)
    rejected = c("response_status").is_in(REJECTED).fill_null(value=False) & ~is_gone
    waits = (c("client_close_rst") == 0) & (c("waited") >= c("rtt_server").fill_null(0) + WAITS.value)
    return pl.when(rejected).then(pl.lit("rejected")).when(waits).then(pl.lit("left-waiting")).otherwise(pl.lit("canceled"))


def words(x: Facts) -> dict[str, Any]:
    """Return the words about what had come, about the client's close, and about what the server did."""
    close, chunked = fin_or_rst(x.client_close_rst), x.request_framing == "chunked"
    server_close = fin_or_rst(x.server_close_rst)
    note = f"the client's {close}: {_announced(x)}"
    return {
        "announced": _announced(x),
        "close": close,
        "ending": "with the last chunk (0, CRLF, CRLF)" if chunked else "with as many bytes as Content-Length announces",
        "reaction": f"{_reaction(x, server_close)} {duration_text(x.waited)} later",
        "origin": sender_of_close(x.client_close_origin),
        "evidence": packets(
            (x.frame, x.start, "the head of the request"),
            (x.client_close_frame, x.end, with_doubt(x.client_close_origin, note)),
            (x.response_frame, x.response_start, f"the response, {x.response_status}, begins"),
            (x.server_close_frame, x.server_close_time, f"the server's {server_close}"),
        ),
    }


def _announced(x: Facts) -> str:
    """Return what the head of the request announced, and that it did not come."""
    if x.request_framing == "chunked":
        return "in chunks, but the last chunk (size 0) never came"
    return f"of {x.request_body_due:,} bytes (Content-Length), but not all of them came"


def _reaction(x: Facts, close: str) -> str:
    if x.response_start is not None:
        return "it responded"
    return "nothing had come from it" if x.server_close_frame is None else f"it closed ({close})"
