"""Something buffered a stream and delivered many parts of it at once.

What it means
    A program writes its response in small parts, so that each part can be used at once. Something between the program and the
    client collects the parts: a proxy that buffers, a compression filter that does not flush, or a framework that sends only
    the complete response.

    Kind event-stream: the media type says that the body is a sequence of events (text/event-stream, multipart/x-mixed-replace,
    or application/x-ndjson without a length). Kind chunked: the response has the chunks of a program that flushes, but the
    chunks came together.

Why it hurts
    Live updates come late or only at the end. Progress bars freeze and then jump. The tokens of a language model appear as
    one block. Clients with a timeout give up, although the stream is healthy at its source.

How it is proved
    A lump is a run of body packets in which three events or more end. Its packets are less than 5 ms apart, and it takes 20 ms at
    most. If it has fewer than two events per packet, it takes at most 0.5 ms per packet, which is faster than any program writes.
    Nothing came in the 500 ms before the lump, although all earlier data was acknowledged, the window was open and nothing was
    lost. Time in which the sender waited for ACKs or for room in the window is not counted. Events are counted in the bytes of
    the body, after decoding gzip or deflate.

    Kind event-stream is a warning if one of three facts proves it. First: a lump ends inside an event, and another lump
    follows. A full buffer ends there, but programs write complete events. A lump that ends right before a line end does
    not count, because some programs write the line end before each event. Second: at least 20 events came, nine tenths of
    them in two or more lumps, and an earlier stream of the same path came event by event. Third: the capture has both
    sides of a gateway, and events had reached the gateway half a second before it delivered them.

    Kind event-stream is a note with low confidence if buffering is only likely. In that case the complete body is one lump
    of 20 events or more, or it consists of two or more lumps of at least 10 events each. Or its content coding cannot be
    decoded, and the complete body came in one lump a second or more after the request.

    If segments carry timestamps (RFC 7323), the sender's clock must show a wait, too. Without timestamps, confidence is at most
    medium if the round trip between capture point and server is 1 ms or more: a path that delays packets delivers them together,
    too. Such a path does not end a lump inside an event, so the first of the three facts needs no timestamps.

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
from dataclasses import dataclass
from typing import Any

import polars as pl

from wiredoctor.findings import Advice, Reference, Rule, Threshold, shorten
from wiredoctor.rules.shared.bounded_memory import BoundedMap
from wiredoctor.rules.shared.evidence import CANDIDATE, EVIDENCE, NO_WITNESS, WITNESS, confidence, is_far, packet_row
from wiredoctor.tables import NEVER
from wiredoctor.text import redact
from wiredoctor.text.durations import duration_text
from wiredoctor.world.numbers import DURATION

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
        "event-stream": "The {status} to {request} is {media}: its {events_word} are meant to arrive one by one. {how} {why} "
        "{named}",
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

_FACTS = (
    *("status", "content_type", "content_encoding", "server", "via", "accel_buffering", "body_bytes", "chunks", "bursts"),
    *("frame", "start", "end", "last_frame", "body_frame", "body_time", "events", "first_events", "first_late", "held_bursts"),
    *("held_events", "large_lumps", "large_events", "cut_lumps", "first_cut", "one_flight", "flights", "held_frames"),
    *("held_times", "held_by_clock", "early_chunks", "application_pauses", "pause_frames", "pause_times", "pause_by_clock"),
    "first_event_time",
)

LIKELY, OTHER_SIDE, CUT, EARLIER, BEHIND = "likely", "other-side", "cut", "earlier-stream", "behind"
"""The proof of a candidate.

LIKELY: nothing proves that the data was held back, but it is likely.
OTHER_SIDE: there is no proof yet, and `conclude` drops the candidate unless the other side of a gateway proves it.
CUT: a burst of held-back events ends inside an event.
EARLIER: an earlier response of the server was streamed.
BEHIND: the data was seen earlier on the other side of a gateway.
"""


BEHIND_COLUMNS = {
    "response_body_frame": pl.Int64(), "response_body_time": pl.Int64(), "response_first_event_frame": pl.Int64(),
    "response_first_event_time": pl.Int64(), "response_pause_frames": pl.List(pl.Int64()),
    "response_pause_times": pl.List(pl.Int64()), "response_bursts": pl.Int64(),
    "response_chunks": pl.Int64(), "response_content_encoding": pl.String(),
}  # fmt: skip
"""The columns of exchanges that show how a gateway received a body from the server behind it."""


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


def screen() -> pl.Expr:
    """Return a cheap condition: if no row of a batch meets it, the batch has no candidate findings."""
    return _is_late().fill_null(False) | (pl.col("response_held_bursts") > 0) | _is_streamed().fill_null(False)


def find(exchanges: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each response that may have been held back, and for each response that was streamed (see `judge`)."""
    rows = exchanges.filter(screen()).filter(c("has_request") & c("has_response") & ~c("upgraded"))
    # the previous response on the connection took the same path, so no round trip is subtracted after its end
    wait = pl.min_horizontal(
        c("response_body_time") - c("request_end") - c("rtt_server"), c("response_body_time") - c("previous_end")
    )
    return rows.select(
        "connection",
        "exchange",
        confidence().alias("confidence"),
        is_far().alias("far"),
        c("response_frame").alias("frame"),
        "endpoint",
        "final_at",
        c("request_target").str.split("?").list.first().alias("path"),
        pl.max_horizontal("request_end", "previous_end").alias("asked_time"),
        c("request_last_frame").alias("asked_frame"),
        pl.when(c("rtt_server").is_not_null()).then(wait).alias("wait"),
        (c("response_end_reason") == "complete").alias("whole"),
        _is_streamed().fill_null(False).alias("streamed"),
        *(c(f"response_{name}") for name in _FACTS),
    )


@dataclass(eq=False, repr=False)
class _Streamed:
    """The first streamed response of an endpoint: when streaming was recognized (ns), when the response ended (ns), and its first
    frame.
    """

    known: int = NEVER
    end: int = NEVER
    frame: int = NEVER


def judge(rows: pl.DataFrame, state: BoundedMap[_Streamed] | None) -> tuple[pl.DataFrame, BoundedMap[_Streamed]]:
    """Return the responses that were held back, or may have been. Remember which servers have streamed a response."""
    memory = BoundedMap(_Streamed, ENDPOINTS.value) if state is None else state
    told: list[dict[str, Any]] = []
    # batches may not follow the order of frames, so sort by when a response became known
    for row in rows.sort("final_at", "connection", "exchange").iter_rows(named=True):
        is_stream = row["response_content_type"] in EVENT_STREAMS
        earlier = memory[row["endpoint"], row["response_content_type"], row["path"] if is_stream else ""]
        is_before = earlier.known != NEVER and earlier.known < row["final_at"] and earlier.end <= row["asked_time"]
        before = earlier if is_before else None
        told += _events(row, before) if is_stream else _chunks(row, before)
        passed = not _rest_at_once(row)
        if is_stream:
            passed = row["response_first_events"] < MIN_EVENTS.value and not row["response_held_bursts"]
        if row["streamed"] and row["whole"] and passed and earlier.known == NEVER:
            earlier.known, earlier.end, earlier.frame = row["final_at"], row["response_end"], row["response_frame"]
    return pl.DataFrame(told, schema=_CANDIDATE, orient="row"), memory


_CANDIDATE = CANDIDATE | {
    "evidence": EVIDENCE,
    "severity": pl.String(), "proof": pl.String(), "sure": pl.String(), "were": pl.String(),
    "first_event_time": pl.Int64(), "coding": pl.String(), "behind": pl.Struct(BEHIND_COLUMNS),
    "wait": DURATION, "body_bytes": pl.Int64(), "chunks": pl.Int64(), "media": pl.String(), "events_word": pl.String(),
    "how": pl.String(), "why": pl.String(), "cause": pl.String(), "named": pl.String(),
    "switches": pl.String(), "asked": pl.String(),
}  # fmt: skip


def _came_late(row: dict[str, Any], least: Threshold = MIN_WAIT) -> bool:
    """Return whether the client waited at least `least` for the first body packet, and the network caused at most half of that
    wait.

    The network's part is how much longer this packet was in transit than the previous packet.
    """
    late = row["response_first_late"] or 0
    return row["wait"] is not None and row["wait"] >= least.value and 2 * late <= row["wait"]


def _events(row: dict[str, Any], before: _Streamed | None) -> list[dict[str, Any]]:
    """Return a candidate of kind event-stream for each of the response's first three waits.

    These candidates become one finding, which is left out if stalls explain all of the waits. `before`: an earlier response of
    the server that was streamed, or None.
    """
    word = EVENT_STREAMS[row["response_content_type"]]
    if row["response_events"] is None:
        return _compressed_candidate(row)
    at_first = _came_late(row) and row["response_first_events"] >= MIN_EVENTS.value
    lumps = row["response_held_bursts"] + at_first
    if not lumps:
        return []
    proof = _proof(row, before, at_first=at_first)
    waits = _waits(row, word, at_first=at_first)
    every = [packet for wait in waits for packet in wait]
    if proof == EARLIER and before is not None:
        every = [packet_row(before.frame, before.end, "an earlier response for this path: its events came one by one"), *every]
    how, why = _arrival_text(row, word, lumps, at_first=at_first), _cause_text(row, proof)
    return [_candidate(row, "event-stream", word, wait, how=how, why=why, evidence=every, proof=proof) for wait in waits]


def _proof(row: dict[str, Any], before: _Streamed | None, *, at_first: bool) -> str:
    """Return the best proof that events were held back: CUT, EARLIER, LIKELY or OTHER_SIDE.

    `before`: an earlier response of the server that was streamed, or None. `at_first`: the first events of the response came late
    and together.
    """
    events, first = row["response_events"], row["response_first_events"] if at_first else 0
    if row["response_cut_lumps"] or (at_first and row["response_first_cut"]):
        return CUT
    lumps = row["response_held_bursts"] + at_first
    several, many = lumps > 1, events >= MANY_EVENTS.value
    if several and many and before and 100 * (row["response_held_events"] + first) >= MOST_OF.value * events:
        return EARLIER
    large = row["response_large_events"] + (first if first >= _LARGE else 0)
    whole = row["whole"] and not several and row["response_held_events"] + first == events
    return LIKELY if many and (whole or (several and large == events)) else OTHER_SIDE


_LARGE = 10
"""If at least this many events arrive together, they come from more than one step of a program.

The number must equal LARGE in protocols.http1.pieces.
"""


def _waits(row: dict[str, Any], word: str, *, at_first: bool) -> list[list[dict[str, Any]]]:
    """Return, for each of the first waits for held-back events, the packets before and after the wait.

    `at_first`: the first events of the response came late and together.
    """
    packets = zip(row["response_held_frames"], row["response_held_times"], strict=True)
    waits = [
        _pause(before, after, f"three or more {word}", _witness_text(row, by_clock))
        for before, after, by_clock in zip(packets, packets, row["response_held_by_clock"], strict=True)
    ]
    if at_first:
        waits.insert(0, _one_burst(row, f"{row['response_first_events']:,} {word} at once"))
    return waits


def _arrival_text(row: dict[str, Any], word: str, lumps: int, *, at_first: bool) -> str:
    events = row["response_events"]
    if at_first and row["response_first_events"] == events:
        return f"No byte of its body came for {duration_text(row['wait'])}, then {events:,} {word} came at once."
    held = row["response_held_events"] + (row["response_first_events"] if at_first else 0)
    least = f"nothing came for {duration_text(MIN_WAIT.value)} or more, and then three or more {word} came at once"
    return f"{'Once,' if lumps == 1 else f'{lumps:,} times'} {least}: {held:,} of the {events:,} {word} in all."


_WHY = {
    CUT: "A burst ended in the middle of an event, where no program pauses: a buffer between the program and the capture point "
    "was full.",
    EARLIER: "In an earlier response for this path, the parts came one by one. So something between the program and the capture "
    "point buffers them.",
    LIKELY: "Something between the program and the capture point may buffer the parts, or the program sends them all at once.",
    OTHER_SIDE: "",
}


def _cause_text(row: dict[str, Any], proof: str) -> str:
    coding = row["response_content_encoding"]
    filters = f" They are compressed ({_coding_text(coding)}): {_FILTER}"
    return _WHY[proof] + (filters if coding not in IDENTITY else "")


_FLUSHED = "Something between the program and the capture point holds back flushed data, or the program flushes only at its end."
_FILTER = "a compression filter that does not flush holds data back."


def _coding_text(coding: str) -> str:
    return redact.words("content-encoding", shorten(coding, MAX_NAMED))


def _compressed_candidate(row: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a candidate if the complete body came late, in one burst, in a content coding that cannot be decoded; or []."""
    coded = row["response_content_encoding"] not in IDENTITY and row["response_body_bytes"] >= MIN_CODED_BYTES.value
    if not (coded and row["whole"] and row["response_one_flight"] and _came_late(row, MIN_CODED_WAIT)):
        return []
    wait = _one_burst(row, f"the whole body, {row['response_body_bytes']:,} bytes")
    how = f"No byte of its body came for {duration_text(row['wait'])}, then all {row['response_body_bytes']:,} bytes at once."
    word = EVENT_STREAMS[row["response_content_type"]]
    return [_candidate(row, "event-stream", word, wait, how=how, why=_cause_text(row, LIKELY), evidence=wait, proof=LIKELY)]


def _chunks(row: dict[str, Any], before: _Streamed | None) -> list[dict[str, Any]]:
    """Return a candidate of kind chunked if the chunks of the body came together, after a wait; otherwise [].

    `before`: an earlier response of the server that was streamed, or None.
    """
    size = f"{row['response_body_bytes']:,} bytes"
    if rest := _rest_at_once(row):
        first, last, by_clock = rest
        row = row | {"wait": last[1] - first[1], "response_first_late": by_clock}
        packets = wait = _pause(first, last, "the rest of the body", _witness_text(row, by_clock))
        how = f"after its first packet, nothing came for {duration_text(row['wait'])}, then the rest of its {size} in one burst."
        return [_candidate(row, "chunked", "chunks", wait, how=how, evidence=packets, proof=OTHER_SIDE)]
    several = (row["response_chunks"] or 0) >= MIN_CHUNKS.value and row["response_early_chunks"] >= MIN_CHUNKS.value
    coded = row["response_chunks"] is not None and row["response_content_encoding"] not in IDENTITY
    if not ((several or coded) and row["whole"] and row["response_bursts"] == 1 and _came_late(row)):
        return []
    packets = wait = _one_burst(row, f"the whole body, {size}")
    how = f"nothing came for {duration_text(row['wait'])}, then all {size} in one burst."
    proof, why = OTHER_SIDE, ""
    if before is not None and several:
        proof, why = EARLIER, "this server has streamed this media type before"
        packets = [
            packet_row(before.frame, before.end, "an earlier response of this server, which came piece by piece"),
            *packets,
        ]
    return [_candidate(row, "chunked", "chunks", wait, how=how, why=why, evidence=packets, proof=proof)]


def _rest_at_once(row: dict[str, Any]) -> tuple[tuple[int, int], tuple[int, int], int | None] | None:
    """Return the pause after the first packet of a chunked body if all the rest came in one burst after it; otherwise None.

    The pause is given as frame and time (ns) of the packets before and after it, and its length by the sender's clock. The first
    packet may be the header of a compressed body, which a filter sends before it has compressed anything.
    """
    if row["response_chunks"] is None or not row["whole"] or row["response_bursts"] != 2:
        return None
    packets = zip(row["response_pause_frames"], row["response_pause_times"], strict=True)
    for before, after, by_clock in zip(packets, packets, row["response_pause_by_clock"], strict=True):
        if before[0] == row["response_body_frame"] and after[1] - before[1] >= MIN_WAIT.value:
            return before, after, by_clock
    return None


def conclude(rows: pl.DataFrame, _connections: pl.LazyFrame, _exchanges: pl.LazyFrame) -> pl.DataFrame:
    """Use packets from the other side of a gateway as proof. Drop candidates that lack this proof although they need it."""
    if not {LIKELY, OTHER_SIDE} & {*rows["proof"]}:
        return rows
    waits: dict[tuple[int, int], list[dict[str, Any]]] = {}
    for row in rows.with_columns(pl.col(DURATION).cast(pl.Int64)).iter_rows(named=True):
        waits.setdefault((row["connection"], row["exchange"]), []).append(row)
    told: list[dict[str, Any]] = []
    for some in waits.values():
        seen = _seen_behind(some) if some[0]["proof"] in (LIKELY, OTHER_SIDE) else None
        if seen is not None:
            told += [_proof_behind_gateway(row, *seen) for row in some]
        elif some[0]["proof"] != OTHER_SIDE:
            told += some
    made = pl.DataFrame(told, schema={**rows.schema, "wait": pl.Int64()}, orient="row")
    return made.with_columns(pl.col("wait").cast(DURATION))


def _seen_behind(waits: list[dict[str, Any]]) -> tuple[tuple[int, int], str, str] | None:
    """Return a packet behind the gateway that shows that the gateway held data back, or None if there is none.

    `waits`: the candidates of one response. The packet, given as its frame and time (ns), brought data at least MIN_WAIT before
    the end of one of these waits. It came after the wait had begun, so that data was not delivered before. Only if no event was
    delivered before may it have come earlier. Also return how much earlier it came, and which part of the data it brought.
    """
    behind, began = waits[0]["behind"], waits[0]["first_event_time"]
    if behind is None or (waits[0]["kind"] == "chunked" and not _in_pieces(behind)):
        return None
    parts = _parts(behind)
    for row in sorted(waits, key=lambda row: row["end"]):
        none_before = row["kind"] != "chunked" and (began is None or began >= row["end"])
        for part in parts:
            if (none_before or part[1] > row["start"]) and row["end"] - part[1] >= MIN_WAIT.value:
                which = "the first" if part == parts[0] else "some"
                return part, duration_text(row["end"] - part[1]), which
    return None


def _in_pieces(behind: dict[str, Any]) -> bool:
    """Return whether the body came to the gateway in pieces, with time between them."""
    several = behind["response_chunks"] is None or behind["response_chunks"] >= MIN_CHUNKS.value
    return several and behind["response_bursts"] > 1


def _parts(behind: dict[str, Any]) -> list[tuple[int, int]]:
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


def _proof_behind_gateway(row: dict[str, Any], packet: tuple[int, int], ahead: str, which: str) -> dict[str, Any]:
    behind, word, is_chunked = row["behind"], row["events_word"], row["kind"] == "chunked"
    filters = f"It compresses the body ({_coding_text(row['coding'])}): {_FILTER}"
    added = row["coding"] not in IDENTITY and behind["response_content_encoding"] in IDENTITY
    cause = "The gateway holds back flushed data."
    if is_chunked and behind["response_chunks"] is None:
        word = "parts"
    seen = f"on the other side of the gateway, {which} of them came {ahead} earlier"
    changed = {"why": f"O{seen[1:]}, so the gateway held them back.{f' {filters}' if added else ''}"}
    if is_chunked:
        changed = {"why": seen, "cause": f"{cause} {filters}" if added else cause, "events_word": word}
        changed["chunks"] = behind["response_chunks"] or behind["response_bursts"]
    note = f"{which} of the {word} on the other side of the gateway, {ahead} earlier"
    return row | changed | {
        "proof": BEHIND, "severity": None, "confidence": row["sure"], "were": "were",
        "named": row["named"].removesuffix(_CAPTURE),
        "evidence": [packet_row(*packet, note), *row["evidence"]],
    }  # fmt: skip


def _one_burst(row: dict[str, Any], what: str) -> list[dict[str, Any]]:
    late = row["response_first_late"]
    witness = _witness_text(row, None if late is None else row["wait"] - max(late, 0))
    return [
        packet_row(row["asked_frame"], row["asked_time"], "the last byte of the request"),
        packet_row(row["response_body_frame"], row["response_body_time"], f"{what}, {duration_text(row['wait'])} later{witness}"),
    ]


def _pause(before: tuple[int, int], after: tuple[int, int], what: str, witness: str) -> list[dict[str, Any]]:
    """Return the packets before and after a pause, each given as its frame and time (ns).

    `what`: what came after the pause. `witness`: from `_witness_text`.
    """
    return [
        packet_row(*before, "a burst of the body ends: all of it was acknowledged, and the window was open"),
        packet_row(*after, f"{what} at once, {duration_text(after[1] - before[1])} later{witness}"),
    ]


def _witness_text(row: dict[str, Any], by_clock: int | None) -> str:
    """Return the end of the note about a wait: whether the server's timestamps show the wait, too.

    This is `evidence.witness_text` for rows outside of Polars. `by_clock`: the wait (ns) by these timestamps; None if there are
    none.
    """
    if not row["far"]:
        return ""
    return NO_WITNESS if by_clock is None else WITNESS.format(duration_text(by_clock))


def _max_confidence(row: dict[str, Any], proof: str) -> str:
    """Return the highest confidence that a candidate may have with this `proof`.

    If neither the server's clock nor a short path shows that the server waited, the path may have delayed the parts. But a path
    does not cut an event in two.
    """
    shown = [row["response_first_late"], *row["response_held_by_clock"]]
    unwitnessed = row["far"] and all(time is None for time in shown)
    return "medium" if unwitnessed and proof != CUT and row["confidence"] == "high" else row["confidence"]


def _candidate(
    row: dict[str, Any], kind: str, word: str, wait: list[dict[str, Any]], *, evidence: list[dict[str, Any]], proof: str,
    how: str = "", why: str = "",
) -> dict[str, Any]:  # fmt: skip
    """Return a candidate.

    `word`: the name of the parts ("events", "chunks"). `wait`: the packets before and after the pause that the candidate reports.
    `evidence`: the packets before and after all pauses. `how`, `why`: texts about the arrival of the parts, and about the proof.
    """
    server, via = row["response_server"] or "", row["response_via"] or ""
    asked = (
        " This response already has that field, so something other than nginx holds the data back, perhaps in addition to nginx."
    )
    likely, sure = proof == LIKELY, _max_confidence(row, proof)
    return {
        "connection": row["connection"], "exchange": row["exchange"], "kind": kind, "side": "server",
        "confidence": "low" if likely else sure, "frame": row["frame"], "delay": None, "evidence": evidence,
        "start": wait[0]["time"], "end": wait[-1]["time"], "severity": "note" if likely else None, "proof": proof,
        "sure": sure, "were": "may have been" if likely else "were",
        "first_event_time": row["response_first_event_time"], "coding": row["response_content_encoding"], "behind": None,
        "wait": row["wait"], "body_bytes": row["response_body_bytes"], "chunks": row["response_chunks"],
        "media": row["response_content_type"], "events_word": word, "how": how, "why": why, "cause": _FLUSHED,
        "named": _proxy_text(server, via),
        "switches": "".join(f" {text}" for pattern, text in SWITCHES if re.search(pattern, f"{server}\n{via}", re.IGNORECASE)),
        "asked": asked if row["response_accel_buffering"] == "no" else "",
    }  # fmt: skip


def _proxy_text(server: str, via: str) -> str:
    if not server and not via:
        return f"Neither Server nor Via names a proxy.{_CAPTURE}"
    fields = [f"{name}: {shorten(value, MAX_NAMED)}" for name, value in (("Server", server), ("Via", via)) if value]
    return f"The response says {' and '.join(fields)}.{_CAPTURE}"
