"""A response was sent in tiny chunks.

What it means
    The body was written in many small pieces, and each became a chunk of its own; or the line that says how long a chunk is was
    written by itself, and travelled in a packet of its own.

Why it hurts
    Each chunk costs a line with its size and two ends of line (six bytes and more), a system call, and on both sides a step of
    the parser; a small write may also cost a packet. Compression and proxies work chunk by chunk, and lose as much.

How it is proved
    The response has 2 kB or more in ten data chunks or more, and their median is below 128 bytes; or five times or more
    a chunk-size line came in a packet that held no content.

What it is not
    An event stream (text/event-stream, application/x-ndjson, multipart/x-mixed-replace) or another endless medium, whose parts
    are meant to leave one by one, and any other stream of which half of the chunks or more come 5 ms or more after the one
    before: there is something to be read in each. A few small chunks among large ones, as at the end of a response, and
    responses below 2 kB. Where each chunk left at once in a packet of its own, tinygrams says so instead.

What to do
    Put a buffer of some kilobytes between the program and the response, and flush it where a reader can use what there is. Write
    the chunk's size, its data and its end in one call.

References
    RFC 9112 section 7.1.
"""

from __future__ import annotations

import polars as pl

from wiredoctor.findings import Advice, Reference, Rule, Threshold
from wiredoctor.rules.closes import streams
from wiredoctor.rules.proof import confidence, evidence

RULE = Rule(
    severity="note",
    title="The response{to}{request} came in tiny chunks",
    message="The body of the {status}{to}{request} ({body_bytes:,} bytes) came in {chunks:,} chunks. {median_note} {alone_note}",
    remedy="Put a buffer of some kilobytes between the program and the response (a buffered writer), and flush it only where "
    "the reader can use what there is. Write the size line, the data and the end of a chunk in one call (writev, TCP_CORK).",
    display_filter="tcp.stream == {connection} && frame.number >= {first_frame} && frame.number <= {last_frame}",
    references=(Reference("RFC 9112 section 7.1, chunked", "https://www.rfc-editor.org/rfc/rfc9112.html#section-7.1"),),
    explained_by=(("tinygrams", "exchange"),),
    advice=(
        Advice("server", "^$", "If it is Node: collect what belongs together in one res.write()."),
        Advice(
            "server", "gunicorn|uvicorn|hypercorn|waitress|Python", "Python: yield blocks of text, not lines; io.BufferedWriter."
        ),
        Advice("server", "Apache-Coyote|Tomcat|Jetty|Java", "Java: the response's setBufferSize(), and fewer calls of flush()."),
        Advice(
            "server", "IIS|Microsoft|ASP|Kestrel", "ASP.NET: leave Response.BufferOutput on, and call Response.Flush() seldom."
        ),
    ),
)

MIN_CHUNKS = Threshold("10 chunks", "so many small chunks are a habit of the program; fewer are the end of something")
TINY = Threshold("128 bytes", "as median; the framing of a smaller chunk is 5 % of it and more")
MIN_BYTES = Threshold("2000 bytes", "in all: of less nothing can be saved")
MIN_ALONE = Threshold("5 lines", "once it may be where a full packet ended")


def screen() -> pl.Expr:
    """True on some row wherever there is a candidate."""
    return pl.col("response_chunks") >= MIN_CHUNKS.value


def find(exchanges: pl.LazyFrame) -> pl.LazyFrame:
    """A row per response."""
    c = pl.col
    # to buffer these would be the fault that buffered-stream is about
    flushed = 2 * c("response_chunks_apart") >= c("response_chunks") - 1
    tiny = c("response_median_chunk") < TINY.value
    alone = c("response_chunk_lines_alone") >= MIN_ALONE.value
    median = pl.format("Their median is {} bytes.", "response_median_chunk")
    lines = pl.format("{} lines that say how long a chunk is came in packets without content.", "response_chunk_lines_alone")
    return (
        exchanges.filter(c("response_chunks") >= MIN_CHUNKS.value)
        .filter(c("response_body_bytes") >= MIN_BYTES.value)
        .filter((tiny | alone) & ~flushed & ~streams() & ~c("upgraded"))
        .select(
            "connection",
            "exchange",
            pl.lit(None, pl.String).alias("kind"),
            pl.lit("server").alias("side"),
            confidence().alias("confidence"),
            c("response_frame").alias("frame"),
            c("response_start").alias("start"),
            c("response_end").alias("end"),
            pl.lit(None, pl.Int64).alias("delay"),
            pl.when("has_request").then(pl.lit(" to ")).otherwise(pl.lit("")).alias("to"),
            c("response_body_bytes").alias("body_bytes"),
            c("response_chunks").alias("chunks"),
            c("response_median_chunk").alias("median"),
            pl.when(tiny).then(median).otherwise(pl.lit("")).alias("median_note"),
            pl.when(alone).then(lines).otherwise(pl.lit("")).alias("alone_note"),
            evidence(
                ("response_frame", "response_start", "the response's head: Transfer-Encoding: chunked"),
                ("response_body_frame", "response_body_time", "its first chunk begins"),
                ("response_last_frame", "response_end", pl.format("{} chunks so far", "response_chunks")),
            ),
        )
    )
