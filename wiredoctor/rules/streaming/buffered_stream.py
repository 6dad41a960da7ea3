"""What was meant to arrive piece by piece was held back, and arrived at once.

What it means
    A program writes its response bit by bit, so that each bit can be used at once, and something on the way collects the bits:
    a proxy that buffers, a compression filter, a framework that hands on the whole.

    Kinds: event-stream, the media type says that events follow each other (text/event-stream, application/x-ndjson,
    multipart/x-mixed-replace); chunked, the response has chunks as of a program that flushes, but they came together.

Why it hurts
    Live updates come late or all at the end, progress bars stand still and then jump, tokens of a language model appear as one
    block. Clients that time out on silence give up on a stream that is healthy where it is made.

How it is proved
    For 500 ms or more after the request nothing of the body came, then the whole body in one burst, with three events or
    more at once. Or three bursts or more began with three events or more each, all behind such a wait in which all that was
    sent before had been acknowledged, the window was open and nothing was lost. Events are counted in the bytes. For the kind
    chunked: two data chunks or more at once, and every chunk ends with a newline, or the server has streamed before.

What it is not
    Events that come one by one, however fast or slowly. A burst of two. A slow reader, a loss, a stall. A compressed event
    stream, whose events cannot be counted. A body in one chunk.

What to do
    Look for the first place on the way, from the program outwards, behind which the pieces come together: capture before and
    behind each proxy. Switch buffering and compression off there for this media type.

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
        "event-stream": "Events were held back and came together: {request}",
        "chunked": "Chunks were held back and came together: {request}",
    },
    message={
        "event-stream": "The {status} to {request} is {media}: its {events_word} are meant to arrive one by one. {how} Something "
        "between the program and this point collects them. " + _NAMED,
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
MIN_EVENTS = Threshold("3 events", "at once; two may be a coincidence")
MIN_BURSTS = Threshold("3 bursts", "of held events, where the body came in several: fewer may be a program that does so itself")
MIN_CHUNKS = Threshold("2 chunks", "one chunk is a body of unknown length, two are a program that flushes")
ENDPOINTS = Threshold("16384 servers", "of which it is remembered that they have streamed")

MOST_NAMED = 80
"""Characters of a Server or Via field that are shown."""

EVENT_STREAMS = {"text/event-stream": "events", "application/x-ndjson": "lines", "multipart/x-mixed-replace": "parts"}
"""Media types whose parts are meant to arrive one by one, and what these are called."""

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
    *("status", "content_type", "content_encoding", "framing", "server", "via", "accel_buffering", "body_bytes", "chunks"),
    *("bursts", "frame", "start", "end", "last_frame", "body_frame", "body_time", "events", "first_events", "held_bursts"),
    *("held_frames", "held_times", "chunks_end_lines", "early_chunks", "application_pauses"),
)


def cutoffs() -> dict[str, int]:
    """Return which bursts of held-back events must be counted."""
    return {"min_event_pause": MIN_WAIT.value, "min_held_events": MIN_EVENTS.value}


def _late() -> pl.Expr:
    return pl.col("response_body_time") - pl.col("request_end") >= MIN_WAIT.value


def _streamed() -> pl.Expr:
    return (pl.col("response_application_pauses") > 0) & (pl.col("response_chunks") > 0)


def screen() -> pl.Expr:
    """True on some row wherever there is a candidate."""
    return _late().fill_null(False) | (pl.col("response_held_bursts") > 0) | _streamed().fill_null(False)


def find(exchanges: pl.LazyFrame) -> pl.LazyFrame:
    """A row per response that may have been held back, and per one that was streamed in chunks (see `judge`)."""
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
        pl.max_horizontal("request_end", "previous_end").alias("asked_time"),
        c("request_last_frame").alias("asked_frame"),
        pl.when(c("rtt_server").is_not_null()).then(wait).alias("wait"),
        (c("response_end_reason") == "complete").alias("whole"),
        _streamed().fill_null(False).alias("streamed"),
        *(c(f"response_{name}") for name in _FACTS),
    )


@dataclass
class _Streamed:
    """The first response of a server that was seen to stream: as of when it was known, its end, and a packet of it."""

    known: int = NEVER
    end: int = NEVER
    frame: int = NEVER


def judge(rows: pl.DataFrame, state: Recent[_Streamed] | None) -> tuple[pl.DataFrame, Recent[_Streamed]]:
    """The responses that were held back; remembers which servers have streamed."""
    memory = Recent(_Streamed, ENDPOINTS.value) if state is None else state
    told: list[dict[str, Any]] = []
    # in the order in which they were known: that of frames may not be that of batches
    for row in rows.sort("final_at", "connection", "exchange").iter_rows(named=True):
        server = memory[row["endpoint"]]
        before = server if server.known != NEVER and server.known < row["final_at"] and server.end <= row["asked_time"] else None
        if row["response_content_type"] in EVENT_STREAMS:
            told += _events(row)
        else:
            told += _chunks(row, before)
        if row["streamed"] and row["whole"] and server.known == NEVER:
            server.known, server.end, server.frame = row["final_at"], row["response_end"], row["response_frame"]
    return pl.DataFrame(told, schema=_CANDIDATE, orient="row"), memory


_CANDIDATE = {
    "connection": pl.Int64(), "exchange": pl.Int32(), "kind": pl.String(), "side": pl.String(), "confidence": pl.String(),
    "frame": pl.Int64(), "start": pl.Int64(), "end": pl.Int64(), "delay": pl.Int64(), "evidence": EVIDENCE,
    "wait": DURATION, "body_bytes": pl.Int64(), "chunks": pl.Int64(), "media": pl.String(), "events_word": pl.String(),
    "how": pl.String(), "why": pl.String(), "named": pl.String(), "switches": pl.String(), "asked": pl.String(),
}  # fmt: skip


def _waited(row: dict[str, Any]) -> bool:
    return row["wait"] is not None and row["wait"] >= MIN_WAIT.value


def _events(row: dict[str, Any]) -> list[dict[str, Any]]:
    """Kind event-stream: a candidate per wait (the first three), which are one unless a stall explains each."""
    if row["response_events"] is None:
        return []
    at_first = _waited(row) and row["response_first_events"] >= MIN_EVENTS.value
    events, word = row["response_events"], EVENT_STREAMS[row["response_content_type"]]
    if row["response_bursts"] == 1:
        if not (at_first and row["whole"]):
            return []
        how = (
            f"Nothing of its body came for {duration_text(row['wait'])}, then all of it at once: {events:,} {word} in one burst."
        )
        packets = _one_burst(row, f"the whole body, {events:,} {word}")
        return [_candidate(row, "event-stream", word, packets, how=how, evidence=packets)]
    held = row["response_held_bursts"] + at_first
    if held < MIN_BURSTS.value:
        return []
    least = f"nothing came for {duration_text(MIN_WAIT.value)} or more, then three {word} or more at once"
    how = f"{held:,} times {least} ({events:,} in all)."
    frames, times = row["response_held_frames"], row["response_held_times"]
    waits = [_pause(frames[i : i + 2], times[i : i + 2], word) for i in range(0, len(frames), 2)]
    if at_first:
        waits.insert(0, _one_burst(row, f"{row['response_first_events']:,} {word} at once"))
    every = [packet for wait in waits for packet in wait]
    return [_candidate(row, "event-stream", word, wait, how=how, evidence=every) for wait in waits]


def _chunks(row: dict[str, Any], before: _Streamed | None) -> list[dict[str, Any]]:
    """Kind chunked."""
    several = (row["response_chunks"] or 0) >= MIN_CHUNKS.value and row["response_early_chunks"] >= MIN_CHUNKS.value
    if not (several and row["whole"] and row["response_bursts"] == 1 and _waited(row)):
        return []
    records = row["response_chunks_end_lines"] and row["response_content_encoding"] in ("", "identity")
    packets = wait = _one_burst(row, f"the whole body, {row['response_chunks']:,} chunks")
    if records:
        why = "each ends with a newline"
    elif before is not None:
        why = "and this server has streamed before"
        packets = [_packet(before.frame, before.end, "an earlier response of this server: it came piece by piece"), *packets]
    else:
        return []
    return [_candidate(row, "chunked", "chunks", wait, why=why, evidence=packets)]


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
    row: dict[str, Any], kind: str, word: str, wait: list[dict[str, Any]], *, evidence: list[dict[str, Any]], how: str = "",
    why: str = "",
) -> dict[str, Any]:  # fmt: skip
    """`wait`: the packets before and after one that this candidate explains; `evidence`: those of all."""
    server, via = row["response_server"] or "", row["response_via"] or ""
    asked = " This response says so itself, so that it is not nginx, or not only, that holds it back."
    return {
        "connection": row["connection"], "exchange": row["exchange"], "kind": kind, "side": "server",
        "confidence": row["confidence"], "frame": row["frame"], "delay": None, "evidence": evidence,
        "start": wait[0]["time"], "end": wait[-1]["time"],
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
