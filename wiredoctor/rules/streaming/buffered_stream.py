"""What was meant to arrive piece by piece was held back, and arrived at once.

What it means
    A program writes its response bit by bit, so that each bit can be used at once, and something on the way collects the bits:
    a proxy that buffers, a compression filter that does not flush, a framework that hands on the whole.

    Kinds: event-stream, the media type says that events follow each other (text/event-stream, multipart/x-mixed-replace,
    application/x-ndjson without a length); chunked, the response has chunks as of a program that flushes, but they came together.

Why it hurts
    Live updates come late or all at the end, progress bars stand still and then jump, tokens of a language model appear as one
    block. Clients that time out on silence give up on a stream that is healthy where it is made.

How it is proved
    A lump is a run of packets of the body, 5 ms apart at most and over within 20 ms, in which three events or more end. For
    500 ms before it nothing came, though all that was sent before had been acknowledged, the window was open and nothing was
    lost. Times in which the sender waited for ACKs or for room in the window are taken out. Where events come one in a packet,
    the packets follow each other faster than any program writes. Events are counted in the bytes, decoded where they are gzip
    or deflate.

    Kind event-stream, proved (a warning): a lump ends inside an event, and another lump follows: no program stops there, but a
    buffer that is full does. Or two lumps or more hold nine tenths of 20 events or more, and an earlier stream of the same path
    came one by one. Or the capture has both sides of a gateway, and the pieces had come there half a second before.

    Likely (a note, low confidence): the whole body is one lump of 20 events or more, or two lumps or more of 10 hold all of it.
    Where the coding cannot be decoded: the whole body came in one lump a second or more after the request.

    Kind chunked (a note): two data chunks or more came at once, 500 ms or more after the request, and either both sides of a
    gateway show that the pieces were there before, or the server has streamed a response of this media type before.

What it is not
    Events that come one by one, however fast or slowly. Several events at each step of a program, as of agents and dashboards:
    what happens at once is said at once. A path that stands still, a slow reader, a loss, a stall. Lines of JSON with a length
    or as an attachment: a file. A query that takes its time and then gives all its rows.

What to do
    Look for the first place on the way, from the program outwards, behind which the pieces come together: capture before and
    behind each proxy. Switch buffering and compression off there for this media type, or let the filter flush.

References
    WHATWG HTML, server-sent events. nginx, proxy_buffering. RFC 9112 section 7.1.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import polars as pl

from wiredoctor.durations import duration_text
from wiredoctor.findings import Advice, Reference, Rule, Threshold, shorten
from wiredoctor.rules.memory import Recent
from wiredoctor.rules.proof import EVIDENCE, confidence
from wiredoctor.rules.words import DURATION
from wiredoctor.tables import NEVER

_NAMED = "{named} A capture on each side of every proxy shows where the pieces come together."

RULE = Rule(
    severity={"event-stream": "warning", "chunked": "note"},
    title={
        "event-stream": "Events {were} held back and came together: {request}",
        "chunked": "Chunks were held back and came together: {request}",
    },
    message={
        "event-stream": "The {status} to {request} is {media}: its {events_word} are meant to arrive one by one. {how} {why} "
        + _NAMED,
        "chunked": "The body of the {status} to {request} was written in {chunks:,} chunks ({why}), but they came together: "
        "nothing of it for {wait}, then all {body_bytes:,} bytes in one burst. Something between the program and this point "
        "holds back what is flushed, or the program flushes only at its end. " + _NAMED,
    },
    remedy="Find the first place, from the program outwards, behind which the pieces come together, and switch buffering and "
    "compression off there for this media type.{switches} A program that runs behind nginx can ask for it in its response: "
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
            "Python: a compressing middleware (GZipMiddleware) collects what a generator yields; leave this path out.",
        ),
        Advice("server", "Express|^$", "If it is Express: the middleware compression() needs res.flush() behind each write."),
    ),
    absence=True,
)

MIN_WAIT = Threshold("500 ms", "longer than programs need to begin a stream")
MIN_CODED_WAIT = Threshold("1 s", "for a body that cannot be decoded, whose one event may have taken its time")
MIN_CODED_BYTES = Threshold("300 bytes", "compressed: one or two events are smaller")
MIN_EVENTS = Threshold("3 events", "at once; two may be a coincidence")
MANY_EVENTS = Threshold("20 events", "in all: fewer may be what a program says at once")
MOST_OF = Threshold("90 %", "of the events came in lumps")
MIN_CHUNKS = Threshold("2 chunks", "one chunk is a body of unknown length, two are a program that flushes")
ENDPOINTS = Threshold("16384 servers", "and media types or paths, of which it is remembered that they have streamed")

MOST_NAMED = 80
"""Characters of a Server or Via field that are shown."""

EVENT_STREAMS = {"text/event-stream": "events", "application/x-ndjson": "lines", "multipart/x-mixed-replace": "parts"}
"""Media types whose parts are meant to arrive one by one, and what these are called."""

IDENTITY = ("", "identity")

SWITCHES = (
    ("nginx|openresty|tengine", 'nginx: proxy_buffering off, proxy_http_version 1.1 and proxy_set_header Connection "" in that '
     "location (towards HTTP/1.0, its old default, a program cannot chunk), and gzip off for this media type."),
    ("Apache", "Apache httpd: flushpackets=on at the ProxyPass, and no mod_deflate for this media type (SetEnv no-gzip)."),
    ("IIS|Microsoft|ARR", "IIS: dynamic compression collects what is flushed: leave this media type out of dynamicTypes, or set "
     'doDynamicCompression="false" in urlCompression; Response.BufferOutput = false in the program.'),
    ("varnish", "Varnish: beresp.do_stream must not be false, and do_gzip and do_esi off for this media type."),
)  # fmt: skip
"""What Server or Via may name, and what to do there."""

_FACTS = (
    *("status", "content_type", "content_encoding", "server", "via", "accel_buffering", "body_bytes", "chunks", "bursts"),
    *("frame", "start", "end", "last_frame", "body_frame", "body_time", "events", "first_events", "first_late", "held_bursts"),
    *("held_events", "large_lumps", "large_events", "cut_lumps", "first_cut", "one_flight", "flights", "held_frames"),
    *("held_times", "early_chunks", "application_pauses"),
)

LIKELY, OTHER_SIDE, CUT, EARLIER, BEHIND = "likely", "other-side", "cut", "earlier-stream", "behind"
"""How a candidate is proved: not yet; only if the other side of a gateway proves it (`conclude`), else it is dropped; by a lump
that ends inside an event; by an earlier stream; by that other side."""


def cutoffs() -> dict[str, int]:
    """Return which lumps of held-back events must be counted."""
    return {"min_event_pause": MIN_WAIT.value, "min_held_events": MIN_EVENTS.value}


def _late() -> pl.Expr:
    return pl.col("response_body_time") - pl.col("request_end") >= MIN_WAIT.value


def _streamed() -> pl.Expr:
    """The response came piece by piece: in chunks with pauses, or as so many events that are no step of a program."""
    c = pl.col
    one_by_one = (c("response_events") >= MANY_EVENTS.value) & (2 * c("response_flights") >= c("response_events"))
    return ((c("response_application_pauses") > 0) & (c("response_chunks") > 0)) | one_by_one.fill_null(value=False)


def screen() -> pl.Expr:
    """True on some row wherever there is a candidate."""
    return _late().fill_null(False) | (pl.col("response_held_bursts") > 0) | _streamed().fill_null(False)


def find(exchanges: pl.LazyFrame) -> pl.LazyFrame:
    """A row per response that may have been held back, and per one that was streamed (see `judge`)."""
    c = pl.col
    rows = exchanges.filter(screen()).filter(c("has_request") & c("has_response") & ~c("upgraded"))
    # a response behind another one on the connection has the same way as that
    wait = pl.min_horizontal(
        c("response_body_time") - c("request_end") - c("rtt_server"), c("response_body_time") - c("previous_end")
    )
    return rows.select(
        "connection",
        "exchange",
        confidence().alias("confidence"),
        c("response_frame").alias("frame"),
        "endpoint",
        "final_at",
        c("request_target").str.split("?").list.first().alias("path"),
        pl.max_horizontal("request_end", "previous_end").alias("asked_time"),
        c("request_last_frame").alias("asked_frame"),
        pl.when(c("rtt_server").is_not_null()).then(wait).alias("wait"),
        (c("response_end_reason") == "complete").alias("whole"),
        _streamed().fill_null(False).alias("streamed"),
        *(c(f"response_{name}") for name in _FACTS),
    )


@dataclass
class _Streamed:
    """The first response of a kind that was seen to stream: as of when it was known, its end, and a packet of it."""

    known: int = NEVER
    end: int = NEVER
    frame: int = NEVER


def judge(rows: pl.DataFrame, state: Recent[_Streamed] | None) -> tuple[pl.DataFrame, Recent[_Streamed]]:
    """The responses that were held back, or may have been; remembers which servers have streamed what."""
    memory = Recent(_Streamed, ENDPOINTS.value) if state is None else state
    told: list[dict[str, Any]] = []
    # in the order in which they were known: that of frames may not be that of batches
    for row in rows.sort("final_at", "connection", "exchange").iter_rows(named=True):
        is_stream = row["response_content_type"] in EVENT_STREAMS
        earlier = memory[row["endpoint"], row["response_content_type"], row["path"] if is_stream else ""]
        is_before = earlier.known != NEVER and earlier.known < row["final_at"] and earlier.end <= row["asked_time"]
        before = earlier if is_before else None
        told += _events(row, before) if is_stream else _chunks(row, before)
        passed = not is_stream or (row["response_first_events"] < MIN_EVENTS.value and not row["response_held_bursts"])
        if row["streamed"] and row["whole"] and passed and earlier.known == NEVER:
            earlier.known, earlier.end, earlier.frame = row["final_at"], row["response_end"], row["response_frame"]
    return pl.DataFrame(told, schema=_CANDIDATE, orient="row"), memory


_CANDIDATE = {
    "connection": pl.Int64(), "exchange": pl.Int32(), "kind": pl.String(), "side": pl.String(), "confidence": pl.String(),
    "frame": pl.Int64(), "start": pl.Int64(), "end": pl.Int64(), "delay": pl.Int64(), "evidence": EVIDENCE,
    "severity": pl.String(), "proof": pl.String(), "sure": pl.String(), "body_time": pl.Int64(), "were": pl.String(),
    "earlier_frame": pl.Int64(), "earlier_time": pl.Int64(),
    "wait": DURATION, "body_bytes": pl.Int64(), "chunks": pl.Int64(), "media": pl.String(), "events_word": pl.String(),
    "how": pl.String(), "why": pl.String(), "named": pl.String(), "switches": pl.String(), "asked": pl.String(),
}  # fmt: skip


def _waited(row: dict[str, Any], least: Threshold = MIN_WAIT) -> bool:
    """Nothing of the body came for so long, and that was not the path: it was on its way for less than half of that."""
    late = row["response_first_late"] or 0
    return row["wait"] is not None and row["wait"] >= least.value and 2 * late <= row["wait"]


def _events(row: dict[str, Any], before: _Streamed | None) -> list[dict[str, Any]]:
    """Kind event-stream: a candidate per wait (the first three), which are one unless a stall explains each."""
    word = EVENT_STREAMS[row["response_content_type"]]
    if row["response_events"] is None:
        return _coded(row)
    at_first = _waited(row) and row["response_first_events"] >= MIN_EVENTS.value
    lumps = row["response_held_bursts"] + at_first
    if not lumps:
        return []
    proof = _proof(row, before, at_first=at_first)
    waits = _waits(row, word, at_first=at_first)
    every = [packet for wait in waits for packet in wait]
    if proof == EARLIER and before is not None:
        every = [_packet(before.frame, before.end, "an earlier response to this path: its events came one by one"), *every]
    how, why = _how(row, word, lumps, at_first=at_first), _why(row, proof)
    return [_candidate(row, "event-stream", word, wait, how=how, why=why, evidence=every, proof=proof) for wait in waits]


def _proof(row: dict[str, Any], before: _Streamed | None, *, at_first: bool) -> str:
    """How it is proved that the lumps were held back; LIKELY, or OTHER_SIDE where only that can prove it."""
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
"""As http.pieces.LARGE."""


def _waits(row: dict[str, Any], word: str, *, at_first: bool) -> list[list[dict[str, Any]]]:
    """The packets around the wait before each of the first lumps."""
    frames, times = row["response_held_frames"], row["response_held_times"]
    waits = [_pause(frames[i : i + 2], times[i : i + 2], word) for i in range(0, len(frames), 2)]
    if at_first:
        waits.insert(0, _one_burst(row, f"{row['response_first_events']:,} {word} at once"))
    return waits


def _how(row: dict[str, Any], word: str, lumps: int, *, at_first: bool) -> str:
    events = row["response_events"]
    if at_first and row["response_first_events"] == events:
        return f"Nothing of its body came for {duration_text(row['wait'])}, then {events:,} {word} at once."
    held = row["response_held_events"] + (row["response_first_events"] if at_first else 0)
    least = f"nothing came for {duration_text(MIN_WAIT.value)} or more, then three {word} or more at once"
    return f"{lumps:,} times {least}: {held:,} of its {events:,} {word}."


_WHY = {
    CUT: "A program does not stop inside an event: the buffer of something between it and this point was full.",
    EARLIER: "An earlier response to this path came one by one: something between the program and this point collects them.",
    LIKELY: "Something between the program and this point may collect them; or the program has them all at once.",
    OTHER_SIDE: "",
}


def _why(row: dict[str, Any], proof: str) -> str:
    coding = row["response_content_encoding"]
    filters = f" They are compressed ({shorten(coding, MOST_NAMED)}): a filter that does not flush holds what it is given."
    return _WHY[proof] + (filters if coding not in IDENTITY else "")


def _coded(row: dict[str, Any]) -> list[dict[str, Any]]:
    """The whole body in one lump, of a coding that cannot be decoded."""
    coded = row["response_content_encoding"] not in IDENTITY and row["response_body_bytes"] >= MIN_CODED_BYTES.value
    if not (coded and row["whole"] and row["response_one_flight"] and _waited(row, MIN_CODED_WAIT)):
        return []
    wait = _one_burst(row, f"the whole body, {row['response_body_bytes']:,} bytes")
    how = f"Nothing of its body came for {duration_text(row['wait'])}, then all {row['response_body_bytes']:,} bytes at once."
    word = EVENT_STREAMS[row["response_content_type"]]
    return [_candidate(row, "event-stream", word, wait, how=how, why=_why(row, LIKELY), evidence=wait, proof=LIKELY)]


def _chunks(row: dict[str, Any], before: _Streamed | None) -> list[dict[str, Any]]:
    """Kind chunked."""
    several = (row["response_chunks"] or 0) >= MIN_CHUNKS.value and row["response_early_chunks"] >= MIN_CHUNKS.value
    if not (several and row["whole"] and row["response_bursts"] == 1 and _waited(row)):
        return []
    packets = wait = _one_burst(row, f"the whole body, {row['response_chunks']:,} chunks")
    proof, why = OTHER_SIDE, "the other side of the gateway shows them apart"
    if before is not None:
        proof, why = EARLIER, "and this server has streamed this media type before"
        packets = [_packet(before.frame, before.end, "an earlier response of this server: it came piece by piece"), *packets]
    return [_candidate(row, "chunked", "chunks", wait, why=why, evidence=packets, proof=proof)]


def conclude(rows: pl.DataFrame, _connections: pl.LazyFrame, _exchanges: pl.LazyFrame) -> pl.DataFrame:
    """What the other side of a gateway proves; without what nothing else proves or makes likely."""
    if not {LIKELY, OTHER_SIDE} & {*rows["proof"]}:
        return rows
    told: list[dict[str, Any]] = []
    for row in rows.with_columns(pl.col(DURATION).cast(pl.Int64)).iter_rows(named=True):
        ahead = None if row["earlier_time"] is None else row["body_time"] - row["earlier_time"]
        if row["proof"] in (LIKELY, OTHER_SIDE) and ahead is not None and ahead >= MIN_WAIT.value:
            told.append(_proved_behind(row, duration_text(ahead)))
        elif row["proof"] != OTHER_SIDE:
            told.append(row)
    made = pl.DataFrame(told, schema={**rows.schema, "wait": pl.Int64()}, orient="row")
    return made.with_columns(pl.col("wait").cast(DURATION))


def _proved_behind(row: dict[str, Any], ahead: str) -> dict[str, Any]:
    note = f"the first piece of it at the other side of the gateway, {ahead} earlier"
    events = f"At the other side of the gateway the first of them was there {ahead} earlier."
    return row | {
        "proof": BEHIND, "severity": None, "confidence": row["sure"], "were": "were",
        "why": row["why"] if row["kind"] == "chunked" else events,
        "evidence": [_packet(row["earlier_frame"], row["earlier_time"], note), *row["evidence"]],
    }  # fmt: skip


def _one_burst(row: dict[str, Any], what: str) -> list[dict[str, Any]]:
    return [
        _packet(row["asked_frame"], row["asked_time"], "the last byte of the request"),
        _packet(row["response_body_frame"], row["response_body_time"], f"{what}, {duration_text(row['wait'])} later"),
    ]


def _pause(frames: list[int], times: list[int], word: str) -> list[dict[str, Any]]:
    return [
        _packet(frames[0], times[0], "a burst of the body ends: all of it was acknowledged, and the window was open"),
        _packet(frames[1], times[1], f"three {word} or more at once, {duration_text(times[1] - times[0])} later"),
    ]


def _packet(frame: int, time: int, note: str) -> dict[str, Any]:
    return {"frame": frame, "time": time, "note": note}


def _candidate(
    row: dict[str, Any], kind: str, word: str, wait: list[dict[str, Any]], *, evidence: list[dict[str, Any]], proof: str,
    how: str = "", why: str = "",
) -> dict[str, Any]:  # fmt: skip
    """`wait`: the packets before and after one that this candidate explains; `evidence`: those of all."""
    server, via = row["response_server"] or "", row["response_via"] or ""
    asked = " This response says so itself, so that it is not nginx, or not only, that holds it back."
    likely = proof == LIKELY
    return {
        "connection": row["connection"], "exchange": row["exchange"], "kind": kind, "side": "server",
        "confidence": "low" if likely else row["confidence"], "frame": row["frame"], "delay": None, "evidence": evidence,
        "start": wait[0]["time"], "end": wait[-1]["time"], "severity": "note" if likely else None, "proof": proof,
        "sure": row["confidence"], "body_time": row["response_body_time"], "were": "may have been" if likely else "were",
        "earlier_frame": None, "earlier_time": None,
        "wait": row["wait"], "body_bytes": row["response_body_bytes"], "chunks": row["response_chunks"],
        "media": row["response_content_type"], "events_word": word, "how": how, "why": why, "named": _named(server, via),
        "switches": "".join(f" {text}" for pattern, text in SWITCHES if re.search(pattern, f"{server}\n{via}", re.IGNORECASE)),
        "asked": asked if row["response_accel_buffering"] == "no" else "",
    }  # fmt: skip


def _named(server: str, via: str) -> str:
    if not server and not via:
        return "Neither Server nor Via names a proxy."
    fields = [f"{name}: {shorten(value, MOST_NAMED)}" for name, value in (("Server", server), ("Via", via)) if value]
    return f"The response names {' and '.join(fields)}."
