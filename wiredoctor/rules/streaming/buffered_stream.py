"""Something buffered a stream and delivered many parts of it at once.

What it means
    A program writes its response in small parts, so that each part can be used at once. Something between the program and the
    client collects the parts: a proxy that buffers, a compression filter that does not flush, or a framework that sends only
    the complete response.

    Kind event-stream: the media type says that the body is a sequence of events (text/event-stream, multipart/x-mixed-replace,
    or application/x-ndjson without a length). Or the body is text of another type, without a length, but all of its lines are
    those of text/event-stream, with three events or more. Kind chunked: the response has the chunks of a program that flushes,
    but the chunks came together.

Why it hurts
    Live updates come late or only at the end. Progress bars freeze and then jump. The tokens of a language model appear as
    one block. Clients with a timeout give up, although the stream is healthy at its source.

How it is proved
    A lump is a run of body packets in which three events or more end. Its packets are less than 5 ms apart, and it takes 20 ms at
    most. If it has fewer than two events per packet, it takes at most 0.5 ms per packet, which is faster than any program writes.
    Nothing came in the 500 ms before the lump, although all earlier data was acknowledged, the window was open and nothing was
    lost. Time in which the sender waited for ACKs or for room in the window is not counted. Events are counted in the bytes of
    the body, after decoding gzip or deflate.

    Kind event-stream is a warning if one of four facts proves it. First: a lump ends inside an event, and another lump
    follows. A full buffer ends there, but programs write complete events. A lump that ends right before a line end does
    not count, because some programs write the line end before each event. Second: at least 20 events came, nine tenths of
    them in two or more lumps, and an earlier stream of the same path came event by event. Third: the capture has both
    sides of a gateway, and events had reached the gateway half a second before it delivered them. Fourth: the response
    to a POST has a Content-Length and three events or more, and its head came 500 ms or more after the request: a program had
    collected the body.

    Kind event-stream is a note with low confidence if buffering is only likely. In that case the complete body is one lump
    of 20 events or more, or it consists of two or more lumps of at least 10 events each. Or its content coding cannot be
    decoded, and the complete body came in one lump a second or more after the request. The same holds for the response
    to a POST that comes completely, head and body together, 1 s or more after the request, with eight events or more.

    If segments carry timestamps (RFC 7323), the sender's clock must show a wait, too. Without timestamps, confidence is at most
    medium if the round trip between capture point and server is 1 ms or more: a path that delays packets delivers them together,
    too. Such a path does not end a lump inside an event, so the first of the four facts needs no timestamps.

    Kind chunked is a note. The complete body came in one burst, 500 ms or more after the request, and at least two of its
    data chunks came together. In addition, the server has already streamed a response of this media type. If instead the
    capture has both sides of a gateway, chunks must have reached the gateway 500 ms before it delivered them. Then a single
    compressed chunk is enough, and the first packet of the body may have come early: many compression filters send the header
    of the compressed data at once, and hold back the data. That header is no event either.

What it is not
    Events that come one by one, however fast or slow, are a healthy stream. So are several events at each step of a program,
    as agents and dashboards send them: these events occurred together. A slow reader, a lost packet and other stalls have
    their own rules. JSON lines with a Content-Length or sent as an attachment are a file. A query may also run for a while
    and then return all its rows at once.

What to do
    Capture on both sides of each proxy, beginning at the program, and find the first hop after which the parts arrive
    together. Turn buffering and compression off there for this media type, or make the filter flush.

References
    WHATWG HTML, server-sent events. nginx, proxy_buffering. RFC 9112 section 7.1.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import polars as pl

from wiredoctor.findings import Advice, Reference, Rule, Threshold, shorten
from wiredoctor.rules.shared.evidence import NEAR, candidate, confidence
from wiredoctor.rules.shared.received_behind import BEHIND_COLUMNS, ReceivedBehind
from wiredoctor.rules.shared.words import Packet, packets, witness
from wiredoctor.text import redact
from wiredoctor.text.durations import duration_text
from wiredoctor.world import CaptureTables, Index, World

c = pl.col

_CAPTURE = " A capture on each side of every proxy shows which proxy holds the data back."

RULE = Rule(
    symptom="live updates (server-sent events, SSE) that come all at once, at the end",
    severity={"event-stream": "warning", "chunked": "note"},
    title={
        "event-stream": "Events {were} held back and came together: {request}",
        "chunked": "Chunks were held back and came together: {request}",
    },
    message={
        "event-stream": "The {status} to {request} is {media_note}: its {events_word} are meant to arrive one by one. {how} "
        "{why} {named}",
        "chunked": "The body of the {status} to {request} was written in {chunks:,} {events_word} ({why}), but they came "
        "together: {how} {cause} {named}",
    },
    remedy="Starting at the program, find the first hop after which the parts arrive together, and turn buffering and "
    "compression off there for this media type.{switches} A program behind nginx can turn buffering off in its response: "
    "X-Accel-Buffering: no.{asked}",
    display_filter="tcp.stream == {connection} && frame.number >= {first_frame} && frame.number <= {last_frame}",
    references=(
        Reference("WHATWG HTML, server-sent events", "https://html.spec.whatwg.org/multipage/server-sent-events.html"),
        Reference("nginx, proxy_buffering", "https://nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_buffering"),
        Reference("RFC 9112 section 7.1, chunked", "https://www.rfc-editor.org/rfc/rfc9112.html#section-7.1"),
    ),
    explained_by=(
        ("nagle-delayed-ack", "time"),
        ("delayed-ack-stall", "time"),
        ("expect-continue-stall", "time"),
        ("zero-window-stall", "time"),
        ("retransmission-stall", "time"),
    ),
    advice=(
        Advice(
            "server",
            "gunicorn|uvicorn|hypercorn|waitress|Werkzeug|Python",
            "Python: exempt this path from compressing middleware (GZipMiddleware), which buffers what a generator yields.",
        ),
        Advice(
            "server",
            "Express|^$",
            "If the server is Express: call res.flush() after each write if the middleware compression() is used.",
        ),
    ),
    absence=True,
)

MIN_WAIT = Threshold(
    "500 ms", "the minimum wait before a lump (events that arrive together); programs send the first event of a stream earlier"
)
MIN_CODED_WAIT = Threshold(
    "1 s", "the minimum wait before a body that cannot be decoded; such a body may be a single event that took long to compute"
)
MIN_CODED_BYTES = Threshold("300 bytes", "the minimum size of a compressed body; one or two events are smaller")
MIN_EVENTS = Threshold("3 events", "the minimum number of events that arrive together (a lump); two may be a coincidence")
MANY_EVENTS = Threshold(
    "20 events", "the minimum number of events in the whole body; a program may write fewer than this at once"
)
CALL_EVENTS = Threshold(
    "8 events",
    "the same for the answer to a call (a POST) that comes completely, head and body together, 1 s or more after the request; "
    "with five, programs that compute first were reported",
)
MOST_OF = Threshold("90 %", "the minimum share of the events that arrive in lumps, which are several events at once")
MIN_CHUNKS = Threshold(
    "2 chunks",
    "the minimum number of data chunks: any body of unknown length may be one chunk, but two come from a program that flushes",
    most="2 chunks",
)
ENDPOINTS = Threshold(
    "16384 servers",
    "the number of combinations of server, media type and path that are remembered as having streamed, which bounds the memory",
)

MAX_NAMED = 80
"""The maximum number of characters of a Server or Via field in a message."""

EVENT_STREAMS = {"text/event-stream": "events", "application/x-ndjson": "lines", "multipart/x-mixed-replace": "parts"}
"""Media types whose parts are meant to arrive one by one, each with the word for its parts."""

IDENTITY = ("", "identity")

SWITCHES = (
    ("nginx|openresty|tengine", 'nginx: proxy_buffering off, proxy_http_version 1.1 and proxy_set_header Connection "" in that '
     "location (a program cannot send chunks to HTTP/1.0, nginx's old default), and gzip off for this media type."),
    ("Apache", "Apache httpd: flushpackets=on in ProxyPass, and no mod_deflate for this media type (SetEnv no-gzip)."),
    ("IIS|Microsoft|ARR", "IIS: dynamic compression buffers flushed data: remove this media type from dynamicTypes, or set "
     'doDynamicCompression="false" in urlCompression; Response.BufferOutput = false in the program.'),
    ("varnish", "Varnish: beresp.do_stream must not be false; turn do_gzip and do_esi off for this media type."),
)  # fmt: skip
"""Patterns for the fields Server and Via, each with the settings that stop this software from buffering."""

LIKELY, OTHER_SIDE, CUT, EARLIER, BEHIND, MEASURED = "likely", "other-side", "cut", "earlier-stream", "behind", "measured"
"""The proof of a candidate.

LIKELY: nothing proves that the data was held back, but it is likely.
OTHER_SIDE: there is no proof yet, and `decide` drops the candidate unless the other side of a gateway proves it.
CUT: a burst of held-back events ends inside an event.
EARLIER: an earlier response of the server was streamed.
BEHIND: the data was seen earlier on the other side of a gateway.
MEASURED: the response has a Content-Length, so it was complete before its head was sent.
"""


def cutoffs() -> dict[str, int]:
    """Return the cutoffs for the core (wiredoctor.core): the shortest pause (ns) between events, and the minimum number of
    held-back events.
    """
    return {"min_event_pause": MIN_WAIT.value, "min_held_events": MIN_EVENTS.value}


def _is_late() -> pl.Expr:
    return pl.col("response_body_time") - pl.col("request_end") >= MIN_WAIT.value


def _is_streamed() -> pl.Expr:
    """Return whether the response was streamed.

    Either its chunks came with pauses of the application between them, or it had many events, of which at most two on average
    arrived together.
    """
    one_by_one = (c("response_events") >= MANY_EVENTS.value) & (2 * c("response_flights") >= c("response_events"))
    return ((c("response_application_pauses") > 0) & (c("response_chunks") > 0)) | one_by_one.fill_null(value=False)


def may_match() -> pl.Expr:
    """Return a cheap condition: if no row of a batch meets it, the batch has no candidate findings."""
    return _is_late().fill_null(False) | (pl.col("response_held_bursts") > 0) | _is_streamed().fill_null(False)


class Facts(NamedTuple):
    """What is known of a wait in a response that may have been held back. Times and durations are in ns.

    `media`: the media type. `coding`: the content coding. `path`: that of the request, or "" for kind chunked. `asked_frame`,
    `asked_time`: the end of the request; the time is that of the previous response's end if that came later. `wait`: the wait
    for the body, less a round trip; 0 if the round trip is unknown. `at_first`: the body, or its first events, came late and
    together. `is_call`: the response to a POST, whose head came with its body. `is_measured`: it also has a Content-Length.
    `pause_frames`, `pause_times`: the packets before and after the pauses in the body after which parts came
    together. `pause_clocks`: the lengths of these pauses by the server's timestamps. `behind`: how a gateway received the body,
    with the columns BEHIND_COLUMNS. `earlier_frame`, `earlier_time`: the first packet and the end of the earlier response that
    proves the candidate.
    """

    connection: int
    exchange: int
    kind: str
    confidence: str
    severity: str | None
    endpoint: int
    final_at: int
    rtt_server: int | None
    media: str
    coding: str
    path: str
    whole: bool
    is_call: bool
    is_measured: bool
    asked_frame: int
    asked_time: int
    response_body_frame: int
    response_body_time: int
    wait: int
    at_first: bool
    pause_frames: list[int]
    pause_times: list[int]
    pause_clocks: list[int | None]
    chunks: int | None
    response_body_bytes: int
    response_early_chunks: int
    response_first_late: int | None
    response_events: int | None
    response_first_events: int
    response_first_event_time: int | None
    response_first_cut: bool
    response_held_bursts: int
    response_held_events: int
    response_large_events: int
    response_cut_lumps: int
    response_server: str | None
    response_via: str | None
    response_accel_buffering: str | None
    behind: Mapping[str, Any] | None
    proof: str | None
    earlier_frame: int | None
    earlier_time: int | None

    @property
    def lumps(self) -> int:
        """The number of times that events came together."""
        return self.response_held_bursts + self.at_first

    @property
    def held_events(self) -> int:
        """The number of events that came together."""
        return self.response_held_events + (self.response_first_events if self.at_first else 0)


def find(exchanges: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each of the first waits of a response that may have been held back.

    The rows of a response become one finding, which is left out if stalls explain all of its waits.
    """
    # the previous response on the connection took the same path, so no round trip is subtracted after its end
    body = c("response_body_time")
    wait = pl.min_horizontal(body - c("request_end") - c("rtt_server"), body - c("previous_end"))
    pauses = {"pause_frames": ("frames", 2), "pause_times": ("times", 2), "pause_clocks": ("by_clock", 1)}
    rows = _requested(exchanges.filter(may_match())).with_columns(
        pl.when(c("rtt_server").is_not_null()).then(wait).alias("wait"),
        _is_whole().alias("whole"),
        _is_event_stream().alias("is_event_stream"),
        pl.max_horizontal("request_end", "previous_end").alias("asked_time"),
        *(
            pl.when(~_is_event_stream() & _came_rest_at_once())
            .then(c(f"response_pause_{name}").list.head(number))
            .otherwise(c(f"response_held_{name}"))
            .alias(column)
            for column, (name, number) in pauses.items()
        ),
    )
    starts, ends = (c("pause_times").list.gather_every(2, first) for first in (0, 1))
    waits = rows.with_columns(_is_late_at_first().alias("at_first")).with_columns(
        pl.when("at_first").then(pl.concat_list("asked_time", starts)).otherwise(starts).alias("start"),
        pl.when("at_first").then(pl.concat_list("response_body_time", ends)).otherwise(ends).alias("end"),
    )
    kind = pl.when("is_event_stream").then(pl.lit("event-stream")).otherwise(pl.lit("chunked"))
    return (
        waits.explode("start", "end")
        .filter(c("start").is_not_null())
        .select(
            *candidate("server", confidence(), "response_frame", "start", "end", kind=kind),
            *_key(),
            *("final_at", "rtt_server", "whole", c("wait").fill_null(0), "at_first", "asked_time", *pauses),
            _is_call().alias("is_call"),
            (_is_call() & (c("response_framing") == "content-length")).alias("is_measured"),
            c("request_last_frame").alias("asked_frame"),
            c("response_content_encoding").alias("coding"),
            c("response_chunks").alias("chunks"),
            *(name for name in Facts._fields if name.startswith("response_")),
            pl.lit(None, pl.Struct(BEHIND_COLUMNS)).alias("behind"),
            *(pl.lit(None, pl.String).alias(name) for name in ("severity", "proof")),
            *(pl.lit(None, pl.Int64).alias(name) for name in ("earlier_frame", "earlier_time")),
        )
    )


def _requested(exchanges: pl.LazyFrame) -> pl.LazyFrame:
    return exchanges.filter(c("has_request") & c("has_response") & ~c("upgraded"))


def _is_whole() -> pl.Expr:
    return c("response_end_reason") == "complete"


def _is_event_stream() -> pl.Expr:
    return c("response_content_type").is_in([*EVENT_STREAMS]) | c("response_event_lines")


def _key() -> list[pl.Expr]:
    """Return the columns by which responses are compared with an earlier one. Event streams differ by path, too."""
    path = c("request_target").str.split("?").list.first()
    return [
        c("endpoint"),
        c("response_content_type").alias("media"),
        pl.when(_is_event_stream()).then(path).otherwise(pl.lit("")).alias("path"),
    ]


def _is_call() -> pl.Expr:
    """Return whether the events of a late body answer a call, and the head came together with them."""
    late_head = c("response_start") - c("request_end") >= MIN_WAIT.value
    return _is_event_stream() & (c("request_method") == "POST") & late_head & c("at_first")


def _is_late_at_first() -> pl.Expr:
    """Return whether the body, or its first events, came together and late.

    The network caused at most half of the wait: the first packet was in transit for so much longer than the previous packet.
    """
    wait, events = c("wait"), c("response_events")
    by_path = 2 * c("response_first_late").fill_null(0) > wait
    coded = ~c("response_content_encoding").is_in(IDENTITY)
    several = (c("response_chunks") >= MIN_CHUNKS.value) & (c("response_early_chunks") >= MIN_CHUNKS.value)
    chunked = several | (c("response_chunks").is_not_null() & coded)
    undecoded = coded & (c("response_body_bytes") >= MIN_CODED_BYTES.value) & (wait >= MIN_CODED_WAIT.value)
    together = (
        pl.when(~c("is_event_stream"))
        .then(chunked & c("whole") & (c("response_bursts") == 1))
        .when(events.is_null())
        .then(undecoded & c("whole") & c("response_one_flight"))
        .otherwise(c("response_first_events") >= MIN_EVENTS.value)
    )
    return (together & (wait >= MIN_WAIT.value) & ~by_path).fill_null(value=False)


def _came_rest_at_once() -> pl.Expr:
    """Return whether all of a chunked body after its first packet came in one burst, after a pause.

    The first packet may be the header of a compressed body, which a filter sends before it has compressed anything.
    """
    first = c("response_pause_frames").list.get(0, null_on_oob=True) == c("response_body_frame")
    before, after = (c("response_pause_times").list.get(place, null_on_oob=True) for place in (0, 1))
    in_two = c("response_chunks").is_not_null() & _is_whole() & (c("response_bursts") == 2)
    return (in_two & first & (after - before >= MIN_WAIT.value)).fill_null(value=False)


_Key = tuple[Any, ...]
"""The server, media type and path of a response."""

_First = tuple[int, int, int]
"""When a streamed response was known (ns), its frame, and its end (ns)."""


def _first_streamed(exchanges: pl.LazyFrame, keys: pl.DataFrame | None = None) -> dict[_Key, _First]:
    """Return the first streamed response of each key; `keys`: only of these."""
    at_once = (c("response_first_events") >= MIN_EVENTS.value) | (c("response_held_bursts") > 0)
    passed = pl.when(_is_event_stream()).then(~at_once).otherwise(~_came_rest_at_once())
    streamed = _requested(exchanges).filter(_is_streamed() & _is_whole() & passed)
    order, facts = ("final_at", "connection", "exchange"), ("final_at", "response_frame", "response_end")
    those = streamed.select(*_key(), *order, *facts[1:])
    if keys is not None:
        those = those.join(keys.lazy(), on=StreamedResponses.NEEDS, how="semi")
    first = those.group_by(StreamedResponses.NEEDS).agg(c(*facts).sort_by(*order).first())
    return {row[:3]: row[3:] for row in first.collect(engine="streaming").iter_rows()}


def _earliest(first: Mapping[_Key, _First], second: Mapping[_Key, _First]) -> dict[_Key, _First]:
    """Return the earlier response of both for each key."""
    both = {key: min(found, second.get(key, found)) for key, found in first.items()}
    return both | {key: found for key, found in second.items() if key not in both}


class StreamedResponses(Index):
    """The first response of a server that came piece by piece, by server, media type and path."""

    NEEDS = ("endpoint", "media", "path")

    def __init__(self, first: Mapping[tuple[Any, ...], tuple[int, int, int]]) -> None:
        self._first = first

    @classmethod
    def build(cls, wanted: Sequence[pl.DataFrame], tables: CaptureTables) -> StreamedResponses:
        """Return the answers about these candidates."""
        keys = pl.concat(wanted).unique(maintain_order=True).head(ENDPOINTS.value)
        found = _first_streamed(tables.exchanges(), keys)
        if tables.remembered is not None:
            found = _earliest(found, tables.remembered[cls])
        return cls(found)

    @classmethod
    def remember(cls, kept: dict[_Key, _First] | None, tables: CaptureTables) -> dict[_Key, _First]:
        """Return the first streamed responses by server, media type and path, at most those of the newest ENDPOINTS."""
        known = _earliest(kept or {}, _first_streamed(tables.exchanges()))
        return dict([*known.items()][-ENDPOINTS.value :])

    def earlier_than(self, x: Facts) -> tuple[int, int] | None:
        """Return the frame and the end (ns) of the first streamed response if it was over, and known, before this one began.

        If the clock was set back, a later response may have earlier times, but not an earlier frame.
        """
        known, frame, end = self._first.get((x.endpoint, x.media, x.path), (x.final_at, 0, 0))
        return (frame, end) if known < x.final_at and end <= x.asked_time and frame < x.response_body_frame else None


ASKS = (StreamedResponses, ReceivedBehind)


def decide(x: Facts, world: World) -> Facts | None:
    """Find the proof that the data was held back. Drop candidates without one, unless it is likely."""
    x = x._replace(behind=world.of(ReceivedBehind).of(x.connection, x.exchange))
    proof = _proof(x)
    earlier = world.of(StreamedResponses).earlier_than(x) if proof != CUT and _shows_beside_earlier(x) else None
    if earlier is not None:
        proof = EARLIER
    elif proof != CUT and _seen_behind(x) is not None:
        proof = BEHIND
    if proof == OTHER_SIDE:
        return None
    chunks = x.chunks
    if proof == BEHIND and x.behind and x.kind == "chunked":
        chunks = x.behind["response_chunks"] or x.behind["response_bursts"]
    frame, time = earlier or (None, None)
    x = x._replace(proof=proof, chunks=chunks, earlier_frame=frame, earlier_time=time)
    return x._replace(confidence="low", severity="note") if proof == LIKELY else x._replace(confidence=_max_confidence(x))


def _proof(x: Facts) -> str:
    """Return what the response itself proves: CUT, LIKELY or OTHER_SIDE."""
    if x.kind == "chunked":
        return OTHER_SIDE
    if x.response_events is None:
        return LIKELY
    if x.is_measured:
        return MEASURED
    if x.response_cut_lumps or (x.at_first and x.response_first_cut):
        return CUT
    first = x.response_first_events if x.at_first and x.response_first_events >= _LARGE else 0
    large = x.lumps > 1 and x.response_large_events + first == x.response_events
    whole = x.lumps == 1 and x.whole and x.held_events == x.response_events
    call = x.is_call and x.response_events >= CALL_EVENTS.value and x.wait >= MIN_CODED_WAIT.value
    return LIKELY if (x.response_events >= MANY_EVENTS.value and (whole or large)) or (call and whole) else OTHER_SIDE


_LARGE = 10
"""If at least this many events arrive together, they come from more than one step of a program.

The number must equal LARGE in protocols.http1.pieces.
"""


def _shows_beside_earlier(x: Facts) -> bool:
    """Return whether an earlier response that came piece by piece would prove that the parts were held back."""
    if x.kind == "chunked":
        return x.at_first and (x.chunks or 0) >= MIN_CHUNKS.value and x.response_early_chunks >= MIN_CHUNKS.value
    events = x.response_events or 0
    return x.lumps > 1 and events >= MANY_EVENTS.value and 100 * x.held_events >= MOST_OF.value * events


def _max_confidence(x: Facts) -> str:
    """Return the highest confidence that a candidate may have with its proof.

    If neither the server's clock nor a short path shows that the server waited, the path may have delayed the parts. But a path
    does not cut an event in two.
    """
    by_clock = x.pause_clocks if x.kind == "chunked" and not x.at_first else [x.response_first_late, *x.pause_clocks]
    far = x.rtt_server is None or x.rtt_server >= NEAR
    unwitnessed = far and all(time is None for time in by_clock)
    return "medium" if unwitnessed and x.proof != CUT and x.confidence == "high" else x.confidence


class _PacketBehind(NamedTuple):
    """A packet behind a gateway that shows that the gateway held data back.

    `ahead`: how much earlier (ns) it came than the data in front of the gateway. `is_first`: it brought the first of the data.
    """

    frame: int
    time: int
    ahead: int
    is_first: bool

    @property
    def which(self) -> str:
        """Words for the part of the data."""
        return "the first" if self.is_first else "some"


def _seen_behind(x: Facts) -> _PacketBehind | None:
    """Return a packet behind the gateway that shows that the gateway held data back, or None if there is none.

    The packet brought data at least MIN_WAIT before the end of one of the waits. It came after the wait had begun, so that data
    was not delivered before. Only if no event was delivered before may it have come earlier.
    """
    if x.behind is None or (x.kind == "chunked" and not _in_pieces(x.behind)):
        return None
    first = [(x.asked_time, x.response_body_time)] if x.at_first else []
    parts, began = _parts(x.behind), x.response_first_event_time
    for start, end in [*first, *zip(x.pause_times[::2], x.pause_times[1::2], strict=True)]:
        none_before = x.kind != "chunked" and (began is None or began >= end)
        for frame, time in parts:
            if (none_before or time > start) and end - time >= MIN_WAIT.value:
                return _PacketBehind(frame, time, end - time, (frame, time) == parts[0])
    return None


def _in_pieces(behind: Mapping[str, Any]) -> bool:
    """Return whether the body came to the gateway in pieces, with time between them."""
    several = behind["response_chunks"] is None or behind["response_chunks"] >= MIN_CHUNKS.value
    return several and behind["response_bursts"] > 1


def _parts(behind: Mapping[str, Any]) -> list[tuple[int, int]]:
    """Return packets that brought parts of a body to a gateway, each as its frame and time (ns): the first, and those at pauses.

    The first packets of a compressed body may bring only its header, so they are left out unless an event ended in them.
    """
    coded = behind["response_content_encoding"] not in IDENTITY
    first = (behind["response_first_event_frame"], behind["response_first_event_time"])
    if first[0] is None and not coded:
        first = (behind["response_body_frame"], behind["response_body_time"])
    # before the first pause, there may be only the head of the response
    at_pauses = [*zip(behind["response_pause_frames"], behind["response_pause_times"], strict=True)][3 if coded else 1 :]
    return sorted({*at_pauses, *([] if first[0] is None else [first])}, key=lambda part: part[1])


def words(x: Facts) -> dict[str, Any]:
    """Return the words about the parts that came together, and about what may have held them back."""
    seen = _seen_behind(x) if x.proof in (BEHIND, CUT) else None
    parts = "chunks" if x.kind == "chunked" else _word(x)
    if seen and x.kind == "chunked" and x.behind and x.behind["response_chunks"] is None:
        parts = "parts"
    server, via = x.response_server or "", x.response_via or ""
    return {
        "were": "may have been" if x.proof == LIKELY else "were",
        "media_note": x.media
        if x.media in EVENT_STREAMS
        else f"{x.media or 'of no type'}, but its lines are those of an event stream",
        "events_word": parts,
        "how": _chunks_arrived(x) if x.kind == "chunked" else _events_arrived(x),
        **(_why(x) if seen is None else _why_behind(x, seen)),
        "named": _named(server, via) + ("" if seen or x.behind else _CAPTURE),
        "switches": "".join(f" {text}" for pattern, text in SWITCHES if re.search(pattern, f"{server}\n{via}", re.IGNORECASE)),
        "asked": _ASKED if x.response_accel_buffering == "no" else "",
        "evidence": [*_other_packets(x, seen, parts), *_waits(x)],
    }


def _word(x: Facts) -> str:
    """Return the word for the parts of an event stream."""
    return EVENT_STREAMS.get(x.media, "events")


def _chunks_arrived(x: Facts) -> str:
    size = f"{x.response_body_bytes:,} bytes"
    if x.at_first:
        return f"nothing came for {duration_text(x.wait)}, then all {size} in one burst."
    pause = duration_text(x.pause_times[1] - x.pause_times[0])
    return f"after its first packet, nothing came for {pause}, then the rest of its {size} in one burst."


def _events_arrived(x: Facts) -> str:
    events, word = x.response_events, _word(x)
    none = f"No byte of its body came for {duration_text(x.wait)}, then"
    if events is None:
        return f"{none} all {x.response_body_bytes:,} bytes at once."
    if x.at_first and x.response_first_events == events:
        return f"{none} {events:,} {word} came at once."
    least = f"nothing came for {duration_text(MIN_WAIT.value)} or more, and then three or more {word} came at once"
    return f"{'Once,' if x.lumps == 1 else f'{x.lumps:,} times'} {least}: {x.held_events:,} of the {events:,} {word} in all."


_FILTER = "a compression filter that does not flush holds data back."
_FLUSHED = "Something between the program and the capture point holds back flushed data, or the program flushes only at its end."
_WHY = {
    CUT: "A burst ended in the middle of an event, where no program pauses: a buffer between the program and the capture point "
    "was full.",
    EARLIER: "In an earlier response for this path, the parts came one by one. So something between the program and the capture "
    "point buffers them.",
    MEASURED: "It has a Content-Length, so a program or proxy had collected the whole body before it sent the head.",
    LIKELY: "Something between the program and the capture point may buffer the parts, or the program sends them all at once.",
}


def _why(x: Facts) -> dict[str, str]:
    """Return the words about the proof (`why`), and about the cause of kind chunked (`cause`)."""
    if x.kind == "chunked":
        return {"why": "this server has streamed this media type before" if x.proof == EARLIER else "", "cause": _FLUSHED}
    filters = f" They are compressed ({_coding(x)}): {_FILTER}" if x.coding not in IDENTITY else ""
    return {"why": _WHY.get(x.proof or "", "") + filters, "cause": ""}


def _why_behind(x: Facts, seen: _PacketBehind) -> dict[str, str]:
    """Return the same words if the other side of a gateway is the proof."""
    added = x.behind and x.coding not in IDENTITY and x.behind["response_content_encoding"] in IDENTITY
    filters = f" It compresses the body ({_coding(x)}): {_FILTER}" if added else ""
    earlier = f"n the other side of the gateway, {seen.which} of them came {duration_text(seen.ahead)} earlier"
    if x.kind == "chunked":
        return {"why": f"o{earlier}", "cause": f"The gateway holds back flushed data.{filters}"}
    return {"why": f"O{earlier}, so the gateway held them back.{filters}", "cause": ""}


def _coding(x: Facts) -> str:
    return redact.words("content-encoding", shorten(x.coding, MAX_NAMED))


def _other_packets(x: Facts, seen: _PacketBehind | None, parts: str) -> list[Packet]:
    """Return the packet of another response, or on the other side of a gateway, that is the proof."""
    if seen is not None:
        note = f"{seen.which} of the {parts} on the other side of the gateway, {duration_text(seen.ahead)} earlier"
        return packets((seen.frame, seen.time, note))
    of_server = "an earlier response of this server, which came piece by piece"
    of_path = "an earlier response for this path: its events came one by one"
    return packets((x.earlier_frame, x.earlier_time, of_server if x.kind == "chunked" else of_path))


def _waits(x: Facts) -> list[Packet]:
    """Return the packets before and after each wait."""
    what = "the rest of the body" if x.kind == "chunked" else f"three or more {_word(x)}"
    places = zip(x.pause_frames, x.pause_times, strict=True)
    made = _first_wait(x) if x.at_first else []
    for before, after, by_clock in zip(places, places, x.pause_clocks, strict=True):
        later = f"{duration_text(after[1] - before[1])} later{witness(by_clock, x.rtt_server)}"
        made += packets(
            (*before, "a burst of the body ends: all of it was acknowledged, and the window was open"),
            (*after, f"{what} at once, {later}"),
        )
    return made


def _first_wait(x: Facts) -> list[Packet]:
    late = x.response_first_late
    what = f"the whole body, {x.response_body_bytes:,} bytes"
    if x.response_events is not None and x.kind != "chunked":
        what = f"{x.response_first_events:,} {_word(x)} at once"
    shown = witness(None if late is None else x.wait - max(late, 0), x.rtt_server)
    return packets(
        (x.asked_frame, x.asked_time, "the last byte of the request"),
        (x.response_body_frame, x.response_body_time, f"{what}, {duration_text(x.wait)} later{shown}"),
    )


_ASKED = " This response already has that field, so something other than nginx holds the data back, perhaps in addition to nginx."


def _named(server: str, via: str) -> str:
    """Return the sentence about the proxies that the response names."""
    if not server and not via:
        return "Neither Server nor Via names a proxy."
    fields = [f"{name}: {shorten(value, MAX_NAMED)}" for name, value in (("Server", server), ("Via", via)) if value]
    return f"The response says {' and '.join(fields)}."
