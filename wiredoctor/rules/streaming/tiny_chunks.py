"""A response was sent in tiny chunks.

What it means
    The program wrote the body in many small pieces, and each piece became a chunk. Or it wrote the chunk size line separately,
    and the line traveled in its own packet.

Why it hurts
    Each chunk costs its size in hexadecimal and two line ends (five bytes or more), a system call, and a step of the parser
    on both sides. A small write may also cost a packet. A compressor that is flushed at every write compresses badly, and a
    proxy that forwards each chunk has the same costs again.

How it is proved
    The response has 2 kB or more in ten or more data chunks, and their median is below 128 bytes. Or at least five
    chunk size lines came in packets of their own, without content.

What it is not
    The parts of an event stream (text/event-stream, application/x-ndjson, multipart/x-mixed-replace) and of other endless media
    are meant to leave one by one. The same holds for small chunks of any stream in which at least half of the chunks come 1.5
    ms or more (in an HTML page 5 ms or more) after the previous one: each can be read when it comes. Their size lines need no
    packets of their own: with Nagle's algorithm, the rest of an event waits for the ACK of its size line. In an event stream
    this is reported if the round trip is 10 ms or more. Not reported either: a few small chunks among large ones, such as the
    last ones of a response, and responses below 2 kB. If each chunk left at once in its own packet, tinygrams reports it
    instead.

What to do
    Put a buffer of some kilobytes between the program and the response. Flush it only when a reader can use its contents. Write
    the size line, the data and the end of a chunk in one call.

References
    RFC 9112 section 7.1.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import polars as pl

from wiredoctor.findings import Advice, Reference, Rule, Threshold
from wiredoctor.rules.shared.evidence import candidate, confidence
from wiredoctor.rules.shared.words import packets
from wiredoctor.world.connection_close import round_trip, streams

RULE = Rule(
    symptom="many packets and system calls for few bytes",
    severity="note",
    title="The response{to}{request} came in {kind_of_chunks}",
    message="The body of the {status}{to}{request} ({body_bytes:,} bytes) came in {chunks:,} chunks. {median_note} {alone_note}",
    remedy="Put a buffer of some kilobytes between the program and the response (a buffered writer), and flush it only when "
    "the reader can use its contents. Write the size line, the data and the end of a chunk in one call (writev, TCP_CORK).",
    display_filter="tcp.stream == {connection} && frame.number >= {first_frame} && frame.number <= {last_frame}",
    references=(Reference("RFC 9112 section 7.1, chunked", "https://www.rfc-editor.org/rfc/rfc9112.html#section-7.1"),),
    explained_by=(("tinygrams", "exchange"),),
    advice=(
        Advice("server", "^$", "If the server is Node: collect related data in one res.write()."),
        Advice(
            "server",
            "gunicorn|uvicorn|hypercorn|waitress|Python",
            "Python: yield blocks of text, not lines, or use io.BufferedWriter.",
        ),
        Advice(
            "server",
            "Apache-Coyote|Tomcat|Jetty|Java",
            "Java: enlarge the buffer (setBufferSize() of the response), and call flush() less often.",
        ),
        Advice(
            "server", "IIS|Microsoft|ASP|Kestrel", "ASP.NET: leave Response.BufferOutput on, and call Response.Flush() rarely."
        ),
    ),
)

MIN_CHUNKS = Threshold(
    "10 chunks",
    "the minimum number of data chunks; a program that sends this many small chunks does so regularly, and fewer may be the end "
    "of a response",
)
TINY = Threshold(
    "128 bytes", "the maximum median chunk size; the framing of a smaller chunk adds about 5 % or more to it", most="1024 bytes"
)
MIN_BYTES = Threshold("2000 bytes", "the minimum size of the body; with less there is nothing to save")
MIN_ALONE = Threshold(
    "5 lines",
    "the minimum number of chunk size lines in packets without content; a single line may be there because a full packet had no "
    "room for it",
)
FAR = Threshold("10 ms", "the minimum round trip for size lines of an event stream: so long may the rest of an event wait")


def may_match() -> pl.Expr:
    """Return a cheap condition: if no row of a batch meets it, the batch has no candidate findings."""
    return pl.col("response_chunks") >= min(MIN_CHUNKS.value, MIN_ALONE.value)


class Facts(NamedTuple):
    """What is known of a response in tiny chunks. Times are in ns, `median` in bytes. `streams`: it is an event stream."""

    frame: int
    start: int
    end: int
    has_request: bool
    streams: bool
    chunks: int
    median: int
    alone: int | None
    response_body_frame: int | None
    response_body_time: int | None
    response_last_frame: int | None


def find(exchanges: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each response in tiny chunks."""
    c = pl.col
    # a program that flushes its chunks should not buffer them: buffered-stream reports that
    flushed = 2 * c("response_chunks_apart") >= c("response_chunks") - 1
    tiny = (c("response_chunks") >= MIN_CHUNKS.value) & (c("response_median_chunk") < TINY.value) & ~flushed
    alone = c("response_chunk_lines_sent_separately") >= MIN_ALONE.value
    # on a shorter path, it costs an event stream nothing that the rest of an event waits for the ACK of its size line
    alone &= ~streams() | (round_trip() >= FAR.value)
    return (
        exchanges.filter((c("response_body_bytes") >= MIN_BYTES.value) | (streams() & alone))
        .filter(((tiny & ~streams()) | alone) & ~c("upgraded"))
        .select(
            *candidate("server", confidence(), "response_frame", "response_start", "response_end"),
            "has_request",
            streams().alias("streams"),
            c("response_body_bytes").alias("body_bytes"),
            c("response_chunks").alias("chunks"),
            c("response_median_chunk").alias("median"),
            c("response_chunk_lines_sent_separately").alias("alone"),
            *("response_body_frame", "response_body_time", "response_last_frame"),
        )
    )


def words(x: Facts) -> dict[str, Any]:
    """Return the words about the chunks."""
    tiny = x.median < TINY.value and x.chunks >= MIN_CHUNKS.value and not x.streams
    alone = x.alone is not None and x.alone >= MIN_ALONE.value
    return {
        "to": " to " if x.has_request else "",
        "kind_of_chunks": "tiny chunks" if tiny else "chunks whose size lines were sent alone",
        "median_note": f"Their median size is {x.median} bytes." if tiny else "",
        "alone_note": f"{x.alone} chunk size lines were sent in packets of their own." if alone else "",
        "evidence": packets(
            (x.frame, x.start, "the response's head: Transfer-Encoding: chunked"),
            (x.response_body_frame, x.response_body_time, "its first chunk begins"),
            (x.response_last_frame, x.end, f"{x.chunks} chunks so far"),
        ),
    }
