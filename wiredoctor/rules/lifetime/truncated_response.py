"""The server ended the connection before its response was complete.

What it means
    The server's FIN or RST came before the end of the response: before all bytes of its Content-Length, before its last
    chunk, or before the end of its head. Or an RST ended a response whose body ends with its connection: only a FIN ends such a
    body.

    Kind stream: an event stream or another endless medium that a GET had opened ended without its last chunk. Every stream ends
    like this if its server stops or is deployed, and its client reconnects. Such an end is a note, and streams that end within
    50 ms share one note. A stream that answers a POST, as tokens of a model do, is the answer to a call: if it breaks off, the
    call failed.

    Kind too-slow: the client read so slowly that the server cut it off. Some servers have a least rate: 240 bytes per second in
    http.sys (IIS) and Kestrel.

Why it hurts
    The client has only part of the response. Good clients report an error ("transfer closed with outstanding read data
    remaining", IncompleteRead, "unexpected end of stream"). Others store or show the part as if it were complete. Clients of
    event streams reconnect.

How it is proved
    Between the head of the response and the server's FIN or RST there are fewer bytes than the Content-Length announces, or
    the last chunk (size 0) is missing. Or the body has neither, and the server sent an RST instead of a FIN: such a body is
    incomplete (RFC 9112 section 8), and curl reports error 56. Acknowledgment numbers show that the client had not closed before.

    The server may have given up because the client had not read for a second or more until shortly before the close
    (zero-window-stall). In this case the finding says so and has medium confidence. Kind too-slow: over 5 s or more, less than
    240 bytes per second of such a response came on average. At a higher rate, the time without progress was the reason (nginx
    send_timeout, haproxy timeout client).

    If an RST without ACK flag came from another MAC address than the SYN-ACK, another machine answers for the server's address
    now (under the conditions that keep-alive-race names), and the finding says that.

    If a server cuts off responses at three or more moments after the same time, counted from the request or from the last byte
    that it had sent, that time is its limit, and the finding names it. For streams that answer calls, two moments suffice if all
    that the server cut off had lasted equally long, or had been silent for equally long, 1 s or longer.

    A stream that answers a call is kind stream, too, if one of its last two events carries the mark with which its API ends an
    answer (such as [DONE] or a finish_reason), or if its client had just asked the server to stop (a DELETE, or a target with
    stop or cancel in its last part). It is a warning if its client, which accepts event streams, asks for it again within 60 s
    (Last-Event-ID, or the same POST with Accept: text/event-stream alone), or if the last part of its target is tail, watch or
    _changes: such a stream has no end. If the events cannot be read (another coding or format), the answer may be complete, and
    confidence is medium.

What it is not
    Nothing is reported if the capture ends before the response does, or lacks packets of it. If the client gave up,
    client-abort reports it. Nothing is reported either if the client did not answer two or more keep-alive probes before the
    server reset the connection: the client, or the path to it, was gone. If a FIN ends a body that ends with its
    connection (close-delimited), packets do not show whether it is complete. Responses to HEAD, and 204 and 304, have no body.

What to do
    Check the server's log at that time. If a program sets Content-Length itself, have it count bytes; if it writes chunks itself,
    have it send the last chunk. Kind stream: nothing has to change if the server was stopped on purpose.

References
    RFC 9112 sections 8 and 6.3.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from operator import itemgetter
from typing import Any, ClassVar, NamedTuple

import polars as pl

from wiredoctor import limits
from wiredoctor.findings import Advice, Reference, Rule, Threshold
from wiredoctor.gateways.tries import RETRY
from wiredoctor.rules.shared.bounded_memory import BoundedMap
from wiredoctor.rules.shared.evidence import candidate, confidence, has_doubtful_close
from wiredoctor.rules.shared.words import (
    FIND_MACHINES,
    MADE_WHOLE,
    Nanoseconds,
    another_machine,
    doubt_words,
    fin_or_rst,
    packets,
    retry_sentence,
    sender_of_close,
    with_doubt,
)
from wiredoctor.tables import SECOND
from wiredoctor.text.durations import duration_text
from wiredoctor.world import CaptureTables, Index, World, equal_waits, stream_requests
from wiredoctor.world.connection_close import (
    BROKEN_BEFORE,
    answer_due,
    is_delimited_by_close,
    is_reset_without_ack,
    may_have_closed_first,
    server_closed_first,
    streams,
)
from wiredoctor.world.equal_waits import limit_of, matches
from wiredoctor.world.numbers import DURATION, other_connections
from wiredoctor.world.products import advice, default
from wiredoctor.world.server import TOGETHER, Servers
from wiredoctor.world.stream_requests import AGAIN, StreamRequests

c = pl.col

_REMEDY = "{find_sender}{check} If the server is a proxy, check whether its upstream closed.{own_framing}{cut}"
_CRASH = "Check the server's log at that time for a crash, or for a worker or script that was killed because it took too long."
_LIMIT = "Look for a time limit of about {} in the server, and find out why its response takes longer."
_AFTER = {"request": "the request", "byte": "the last byte that it had sent"}
_LIMITED = "The server always closes about {} after {}: a time limit expired."
_STREAM_LIMITED = {
    "request": "All such streams that the server cut off ended about {} after {}: probably a time limit.",
    "byte": "All such streams that the server cut off had been silent for about {}: probably a time limit (nginx may close 0.3 s "
    "early).",
}
_STREAM = (
    "Nothing has to change if the server was stopped on purpose. Otherwise, check the server's log at that time. A server that "
    "ends a stream properly sends the last chunk before it closes, so a client can tell the end from a failure."
)

_TOO_SLOW = (
    "Have the client read the response as it comes, and process it afterwards. If such clients are expected, lower the server's "
    "least rate. http.sys: MinBytesPerSecond, and Timer_MinBytesPerSecond in the HTTPERR log; Kestrel: MinResponseDataRate."
)

RULE = Rule(
    symptom="*unexpected end of file*, half a page",
    severity={None: "error", "stream": "note", "too-slow": "error"},
    title={
        None: "The response broke off: the server{or_device} closed the connection before the end of the {status}",
        "stream": "The server ended a stream without a last chunk",
        "too-slow": "The response broke off: the client read too slowly for the server",
    },
    message={
        None: "{announced}{body_due}{unit}; {came} {came_unit} came before the server's {close}. The client had not closed "
        "before: the {part}{status} to {request} {missing}.{doubt}",
        "stream": "The server's {close} ended the stream in response to {request} {lasted} after the stream began, without the "
        "last chunk (size 0).{together} {ending}",
        "too-slow": "{announced}{body_due}{unit}; {came} {came_unit} came before the server's {close}, in {lasted}: {rate}. The "
        "client did not read faster: its window was closed for up to {stalled}. A server with a least rate (240 B/s in http.sys "
        "and Kestrel) ends such a response.",
    },
    remedy={None: _REMEDY, "stream": _STREAM, "too-slow": _TOO_SLOW},
    references=(
        Reference("RFC 9112 section 8, incomplete messages", "https://www.rfc-editor.org/rfc/rfc9112.html#section-8"),
        Reference("RFC 9112 section 6.3, message body length", "https://www.rfc-editor.org/rfc/rfc9112.html#section-6.3"),
    ),
    explained_by=(
        ("invalid-chunk", "exchange"),
        ("conflicting-framing", "exchange"),
        ("unfinished-transfer-coding", "exchange"),
        ("reset-destroys-response", "exchange"),
        ("unsolicited-response/timeout", "exchange"),
        ("unanswered", "exchange"),
        ("idle-cut", "exchange"),
        ("gateway-error", "exchange"),
        *BROKEN_BEFORE,
    ),
    caused_by=(("zero-window-stall/", "until"), ("zero-window-stall/both-closed", "until")),
    advice=(
        Advice(
            "server",
            "nginx",
            'nginx as a proxy: look for "upstream prematurely closed connection" and "upstream timed out" (proxy_read_timeout, '
            f"{default('nginx', 'proxy_read_timeout')} by default) in its error log.",
        ),
        Advice("server", "uvicorn", "uvicorn: --timeout-graceful-shutdown lets open answers end.", "answers_call"),
        Advice("server", "gunicorn", "gunicorn: --graceful-timeout and --timeout end workers with open answers.", "answers_call"),
        *advice("work", "server"),
        Advice("server", "IIS|Microsoft", "IIS: look for recycled application pools in the system's event log."),
    ),
    timeless=True,
    absence=True,
    ends=True,
)


SHARED_THRESHOLDS = (equal_waits, stream_requests)
STREAM_EQUAL = Threshold("60 ms", "the maximum difference of such waits (plus 1 % of the wait) of streams that answer calls")
_SILENT = SECOND
"""The minimum age or silence (ns) that may be a time limit of streams.

Data that comes more often shows that no limit of the silence expired, and the tolerance is too large a part of a shorter age.
"""
ENDPOINTS = Threshold("10000 endpoints", "the number of endpoints whose ended streams are remembered, which bounds the memory")
_LEFT_WAITING = SECOND
"""If an RST ends a response without framing this late (ns) after its last byte, the client was left waiting: missing-framing."""
_NEWEST = 200
"""The maximum number of closes of an endpoint that are compared while a capture goes on."""
REMEMBERED = Threshold(
    "16 closes", "the number of closes that are remembered for each endpoint, because rows about closes are not in time order"
)


def may_match() -> pl.Expr:
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


class Facts(NamedTuple):
    """What is known of a response that its server cut off. Times and durations are in ns, `body_due` and `came` are bytes.

    `is_answer`: the response is a stream for whose end its client waits. `end_mark`: one of its last events says that it is
    complete. `due`: until when (ns) its client may ask again. `since_byte`: the time from the last byte to the close. `others`:
    the number of connections that the server closed together with a stream. `again_frame`, `again_time`: the request with which
    the client asked for a stream again. `stalled`: how long the client had not read before the close. `retry`: a gateway repeated
    the request (gateways.tries.RETRY). `made_whole`: a gateway forwarded the response as if it were complete. `other_mac`: the
    MAC address of the RST, if another machine than the server sent it. `limit`: the time limit that expired, counted from
    `limit_since`: the "request", or the last "byte" that the server had sent.
    """

    connection: int
    exchange: int
    endpoint: int
    kind: str | None
    severity: str | None
    is_answer: bool
    end_mark: bool
    accepts_events: bool
    final_at: int
    due: int
    frame: int
    start: int
    end: int
    body_due: int | None
    came: int
    lasted: int
    since_byte: int
    request_frame: int
    response_start: int
    response_status: int | None
    response_framing: str
    server_close_frame: int
    server_close_rst: int
    server_close_origin: str | None
    other_mac: int | None
    silent: bool
    others: int | None
    stalled: int | None
    retry: dict[str, Any] | None
    made_whole: bool
    limit: int | None
    limit_since: str | None
    is_tail: bool
    again_frame: int | None
    again_time: int | None


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
    known = (c("response_framing").is_in(["none", "content-length", "chunked"]) | _is_reset_at_its_end()) & (
        c("server_close_time") >= c("response_start")
    )
    came = pl.when(head).then(sent).when(sized).then(body).otherwise("response_body_bytes")
    stream = streams() & (c("response_framing") == "chunked")
    is_answer, asks = stream & answer_due(), c("request_accepts_events")
    kind = pl.when(stream & ~answer_due()).then(pl.lit("stream"))
    until = pl.when(is_answer & asks).then(c("server_close_time") + AGAIN.value)
    doubted, unread = has_doubtful_close("server"), is_answer & c("response_events").is_null()
    elsewhere = _is_from_elsewhere()
    side = pl.when(~elsewhere & (~doubted | kind.is_not_null())).then(pl.lit("server"))
    return rows.filter(known & missing).select(
        *candidate(side, confidence(doubted | unread), "response_frame", "request_start", "server_close_time", kind=kind),
        pl.lit(None, pl.String).alias("severity"),
        is_answer.alias("is_answer"),
        c("response_end_mark").alias("end_mark"),
        asks.alias("accepts_events"),
        pl.max_horizontal(until, "final_at").alias("due"),
        pl.when(sized).then("response_body_due").alias("body_due"),
        came.alias("came"),
        (c("server_close_time") - c("response_start")).cast(DURATION).alias("lasted"),
        _since_byte().alias("since_byte"),
        *("endpoint", "final_at", "request_frame", "response_start", "response_status", "response_framing"),
        *("server_close_frame", "server_close_rst", "server_close_origin"),
        pl.when(elsewhere).then("server_rst_mac").alias("other_mac"),
        pl.lit(value=False).alias("silent"),
        *(pl.lit(None, pl.Int64).alias(name) for name in ("others", "stalled")),
        pl.lit(None, RETRY).alias("retry"),
        pl.lit(value=False).alias("made_whole"),
        pl.lit(None, pl.Int64).alias("limit"),
        pl.lit(None, pl.String).alias("limit_since"),
        pl.lit(value=False).alias("is_tail"),
        *(pl.lit(None, pl.Int64).alias(name) for name in ("again_frame", "again_time")),
    )


def _is_from_elsewhere() -> pl.Expr:
    """Return whether the server's close is an RST of another machine, which answers for the server's address now."""
    return is_reset_without_ack("server") & c("server_rst_mac").is_not_null()


def _is_reset_at_its_end() -> pl.Expr:
    """Return whether an RST of the server ended a body that ends with its connection.

    If nothing announced the close, and the RST came late, the client was left waiting (missing-framing).
    """
    is_reset = (c("server_close_rst") == 1) & (c("response_end_reason") == "rst")
    return is_delimited_by_close() & is_reset & ~streams() & ~(c("persistent") & (_since_byte() >= _LEFT_WAITING))


def _since_byte() -> pl.Expr:
    """Return the time (ns) from the last byte of the response to the server's close."""
    return c("server_close_time") - pl.max_horizontal("response_last_body_time", "response_start")


class CutResponses(Index):
    """The responses that servers cut off: the time limits that they show."""

    NEEDS: ClassVar[tuple[str, ...]] = ("endpoint",)
    HELD: ClassVar[bool] = True

    @classmethod
    def build(cls, wanted: Sequence[pl.DataFrame], tables: CaptureTables) -> CutResponses:
        """Return the cut responses of the candidates' servers (see world.Index)."""
        endpoints = pl.concat(wanted)["endpoint"].unique().implode()
        rows = tables.closes.filter(c("endpoint").is_in(endpoints) & may_match() & _is_truncated()).select(
            *("endpoint", (streams() & answer_due()).alias("is_answer"), "server_close_time"),
            (c("server_close_time") - c("request_start")).alias("since_request"),
            _since_byte().alias("since_byte"),
        )
        return cls(rows.collect(engine="streaming").sort("server_close_time").tail(limits.CLIENT_REQUESTS.value))

    def __init__(self, rows: pl.DataFrame) -> None:
        self._of: dict[tuple[int, bool], list[tuple[int, int, int]]] = {}
        for endpoint, is_answer, *row in rows.iter_rows():
            self._of.setdefault((endpoint, is_answer), []).append((row[0], row[1], row[2]))
        self._limits: dict[tuple[int, bool], tuple[int | None, ...]] = {}

    def limit(self, x: Facts, until: int | None) -> tuple[int, str] | None:
        """Return the time limit (ns) that ended a response, and since when it counts; None if none is known.

        `until`: only closes by then (ns) count.
        """
        known, waits = self._limits_of((x.endpoint, x.is_answer), until), (x.end - x.start, x.since_byte)
        equal = STREAM_EQUAL.value if x.is_answer else None
        fits = (
            (limit, since)
            for limit, wait, since in zip(known, waits, _AFTER, strict=True)
            if limit and matches(wait, limit, equal)
        )
        return next(fits, None)

    def _limits_of(self, of: tuple[int, bool], until: int | None) -> tuple[int | None, ...]:
        """Return the limits (ns) since the request, and since the last byte."""
        cut = self._of.get(of, [])
        find_limits = _stream_limits if of[1] else _limits
        if until is not None:
            last = bisect_right(cut, until, key=itemgetter(0))
            return find_limits(cut[max(last - _NEWEST, 0) : last])
        if of not in self._limits:
            self._limits[of] = find_limits(cut)
        return self._limits[of]


def _limits(cut: Sequence[tuple[int, int, int]]) -> tuple[int | None, ...]:
    return tuple(limit_of((row[0], row[n]) for row in cut) for n in (1, 2))


def _stream_limits(cut: Sequence[tuple[int, int, int]]) -> tuple[int | None, ...]:
    """Return the same for streams: a total limit while data came, or a limit of the silence."""
    silent = {since_byte >= _SILENT for _, _, since_byte in cut}
    if len(silent) != 1 or min(age for _, age, _ in cut) < _SILENT:
        return None, None
    if silent == {True}:
        return None, limit_of(((row[0], row[2]) for row in cut), moments=2, most=100)
    return limit_of(((row[0], row[1]) for row in cut), moments=2, equal=STREAM_EQUAL.value, most=100), None


ASKS = (Servers, CutResponses, StreamRequests)
ORDER = ("final_at", "end", "connection", "exchange")  # rows about closes are not in time order


def decide(x: Facts, world: World) -> Facts:
    """Find out what ended a response. Count the other connections that closed together with a stream, and of streams whose end
    nobody waits for, report only one that ended then.
    """
    until = world.until(x.final_at + TOGETHER)
    if x.is_answer:
        x = _as_answer(x, world.of(StreamRequests))
    if x.is_answer or x.kind == "stream":
        x = x._replace(others=len(world.of(Servers).at(x.endpoint, until).closed_together(x.connection, x.end)))
    if x.kind is None:
        limit = world.of(CutResponses).limit(x, until)
        return x if limit is None else x._replace(limit=limit[0], limit_since=limit[1])
    memory: BoundedMap[deque[int]] = world.memory.setdefault(
        "truncated-response", BoundedMap(lambda: deque[int](maxlen=REMEMBERED.value), ENDPOINTS.value)
    )
    reported = memory[x.endpoint]
    silent = any(abs(x.end - end) <= TOGETHER for end in reported)
    if not silent:
        reported.append(x.end)
    return x._replace(silent=silent)


def _as_answer(x: Facts, requests: StreamRequests) -> Facts:
    """Return the facts of a stream that answers a call, with what its client asked for around its end."""
    asked = requests.of(x.connection, x.exchange)
    if asked is None:
        return x
    if requests.stopped(x.connection, x.exchange, x.end):
        return x._replace(kind="stream")
    again = requests.repetition(asked, x.end) if x.accepts_events else None
    if again is not None:
        return x._replace(severity="warning", again_frame=again.frame, again_time=again.start)
    return x._replace(severity="warning", is_tail=True) if asked.is_tail() else x


def words(x: Facts) -> dict[str, Any]:
    """Return the words about what came of the response, about the close, and about a client that had not read."""
    beyond = MADE_WHOLE if x.made_whole else retry_sentence(x.retry)
    close, of_head = fin_or_rst(x.server_close_rst), x.response_framing == "none"
    until_close = x.response_framing == "close-delimited"
    note = f"the server's {close}, {duration_text(x.lasted)} after the beginning of the response, after {x.came} bytes"
    return {
        "announced": _ANNOUNCED[x.response_framing],
        "unit": "" if x.body_due is None else " bytes of body (Content-Length)",
        "came_unit": "bytes of it" if of_head else "bytes of the body",
        "close": close,
        "origin": sender_of_close(x.server_close_origin),
        **doubt_words(x.server_close_origin, x.server_close_rst),
        "part": "" if until_close else "missing part of the ",
        "missing": _UNKNOWN_END if until_close else "did not come" if x.server_close_origin == "doubtful" else _NEVER_SENT,
        "own_framing": _OWN_FRAMING.get(x.response_framing, ""),
        "cut": _CUT if x.server_close_rst == 1 else "",
        "check": _CRASH if x.limit is None else _LIMIT.format(duration_text(x.limit)),
        "together": _together(x) if x.kind == "stream" else "",
        "ending": _STOPPED if x.is_answer else _MARKED if x.end_mark else _RECONNECTS,
        "rate": f"{x.came * SECOND // max(x.lasted, 1):,} B/s",
        "stalled": Nanoseconds(x.stalled or 0),
        **({} if x.other_mac is None else _elsewhere(x.other_mac)),
        "addition": " ".join(text for text in (_answer_text(x), _limit_text(x), beyond, _stall_text(x)) if text),
        "evidence": packets(
            (x.request_frame, x.start, "the request"),
            (x.frame, x.response_start, _head_note(x)),
            (x.server_close_frame, x.end, with_doubt(x.server_close_origin, note)),
            *([] if x.again_frame is None else [(x.again_frame, x.again_time, "the client asks again")]),
        ),
        "answers_call": x.is_answer,
    }


def _elsewhere(mac: int) -> dict[str, str]:
    """Return the words about an RST of another machine than the server; `mac`: its address."""
    moved = {"title": "The response broke off: another machine answers for the server's address now", "missing": "did not come"}
    doubt = f" No FIN was captured: {another_machine(mac)}."
    return {**moved, "doubt": doubt, "check": FIND_MACHINES, "own_framing": "", "cut": ""}


_ANNOUNCED = {
    "none": "The head of the response was not complete",
    "content-length": "The response announced ",
    "chunked": "The body of the response comes in chunks, and the last chunk (size 0) is missing",
    "close-delimited": "Only a FIN ends this response",
}
_UNKNOWN_END = "may lack its end, and clients report an error (curl: 56)"
_NEVER_SENT = "was never sent, or was discarded by the server"
_OWN_FRAMING = {
    "content-length": " If the program sets Content-Length itself, have it count bytes instead of characters, and count them "
    "after compression.",
    "chunked": " If the program writes its chunks itself, have it end the body with the last chunk (size 0).",
}
_CUT = " The RST shows that the connection was aborted: a program that had finished would have sent a FIN."
_STOPPED = "Its client had just asked the server to stop."
_MARKED = "One of its last events says that the answer is complete."
_RECONNECTS = "Streams end like this if their server stops or is deployed; their clients reconnect."
_TOGETHER = " Within {} the server also closed {}."


def _together(x: Facts) -> str:
    return _TOGETHER.format(duration_text(TOGETHER), other_connections(x.others)) if x.others else ""


def _answer_text(x: Facts) -> str:
    """Return sentences about a stream that answers a call; "" for other responses."""
    if x.kind is not None or not x.is_answer:
        return ""
    if x.again_time is not None:
        return f"The client asked for the stream again {duration_text(x.again_time - x.end)} later."
    if x.is_tail:
        return "A stream with such a target has no end, so its client probably asks again."
    return _together(x).strip() + " Its process probably ended, or was stopped." if x.others else ""


def _limit_text(x: Facts) -> str:
    if x.limit is None:
        return ""
    limited = _STREAM_LIMITED[x.limit_since or "request"] if x.is_answer else _LIMITED
    return limited.format(duration_text(x.limit), _AFTER[x.limit_since or "request"])


def _stall_text(x: Facts) -> str:
    """Return sentences about a client that had not read before the close; "" if it had read, or if the message says so."""
    if x.stalled is None or x.kind == "too-slow":
        return ""
    return (
        f"The client had not read for {duration_text(x.stalled)} before that. The server may have timed out while it waited "
        "(nginx: send_timeout, haproxy: timeout client, Apache httpd: TimeOut), or closed for another reason."
    )


def _head_note(x: Facts) -> str:
    if x.response_framing == "none":
        return "the response begins"
    framing = "Transfer-Encoding chunked" if x.body_due is None else f"Content-Length {x.body_due}"
    if x.response_framing == "close-delimited":
        framing = "no Content-Length, no Transfer-Encoding"
    return f"the response, {x.response_status}: {framing}"
