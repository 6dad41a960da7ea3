"""Nagle's algorithm sent the events of a stream in groups, one for each round trip.

What it means
    The server writes each event at once, but its TCP holds back a small segment as long as earlier data is not acknowledged
    (Nagle's algorithm). So all events of a round trip wait, and leave together when the ACK arrives.

Why it hurts
    On a long path, events come up to a round trip late, and in groups: the tokens of a language model come in jerks.

How it is proved
    A chunked event stream came in packets that followed one another by the round trip: at least five gaps between the first 64
    packets, four fifths of them equal to the round trip (within 2 % and 1 ms), and their median within 0.3 ms. The round trip is
    100 ms or longer. Each packet had 2.5 or more chunks of the median size, so the program wrote more often than it sent.

What it is not
    A program that sends a group of events at times of its own would look the same only if these times differed from the round
    trip by less than 0.3 ms. A receiver that delays its ACKs makes groups on a short path, too: nagle-delayed-ack reports that.

What to do
    Set TCP_NODELAY in the server. Java's com.sun.net.httpserver: -Dsun.net.httpserver.nodelay=true. nginx as a proxy:
    proxy_buffering off, with which it sends small packets at once.

References
    RFC 9293 section 3.7.4, RFC 896.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import polars as pl

from wiredoctor.findings import Advice, Reference, Rule, Threshold
from wiredoctor.rules.shared.evidence import candidate, confidence
from wiredoctor.rules.shared.words import Nanoseconds, packets
from wiredoctor.text.durations import duration_text
from wiredoctor.world.connection_close import round_trip, streams

c = pl.col

RULE = Rule(
    symptom="tokens or events that come in groups, on a long path only",
    severity="note",
    title="The events of {request} came in groups, one for each round trip",
    message="The {status} to {request} is an event stream, but its packets followed one another by {trip}, as long as the round "
    "trip ({equal} of {gaps} gaps), and each had several chunks. Nagle's algorithm in the server's TCP holds back what is "
    "written until earlier data is acknowledged. A program that writes at this pace would look the same.",
    remedy="Set TCP_NODELAY in the server. nginx as a proxy: proxy_buffering off, with which it sends small packets at once.",
    display_filter="frame.number in {{{frames}}}",
    references=(
        Reference("RFC 9293 section 3.7.4, Nagle algorithm", "https://www.rfc-editor.org/rfc/rfc9293.html#section-3.7.4"),
        Reference("RFC 896, Congestion Control in IP/TCP Internetworks", "https://www.rfc-editor.org/rfc/rfc896.html"),
    ),
    explained_by=(("nagle-delayed-ack", "exchange"), ("retransmission-stall", "exchange"), ("zero-window-stall", "exchange")),
    advice=(
        Advice(
            "server",
            "^$",
            "If the server is Java's com.sun.net.httpserver, start it with -Dsun.net.httpserver.nodelay=true.",
        ),
    ),
)

FAR = Threshold("100 ms", "the minimum round trip; users notice no shorter wait of an event")
GAPS = Threshold("5 gaps", "the minimum number of gaps between packets; fewer may be equal by chance")
MOST_OF = Threshold("80 %", "the minimum share of gaps that are equal to the round trip; the first and the last often are not")
NEAR = Threshold("1 ms", "the maximum difference, plus 2 %, between such a gap and the round trip")
MEDIAN = Threshold("300 us", "the maximum difference between the median gap and the round trip; a program's timer was 800 us off")
CHUNKS = Threshold(
    "250 %", "the minimum content of a packet, compared with a chunk; with one or two chunks, the program may write at this pace"
)

_STEP = 4
"""The number of values of each packet in `response_moments`."""


class Facts(NamedTuple):
    """What is known of a stream in groups. Times are in ns. `equal`: how many of the `gaps` are as long as the round trip."""

    frame: int
    start: int
    end: int
    trip: int
    gaps: int
    equal: int
    moments: list[int]


def may_match() -> pl.Expr:
    """Return a cheap condition: if no row of a batch meets it, the batch has no candidate findings."""
    return (c("response_moments").list.len() > _STEP * GAPS.value) & (round_trip() >= FAR.value)


def find(exchanges: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each event stream whose packets followed one another by the round trip."""
    rows = exchanges.filter(may_match() & streams() & c("has_request") & c("has_response") & (c("response_median_chunk") > 0))
    moments = c("response_moments")
    rows = rows.with_columns(
        moments.list.gather_every(_STEP, 1).list.diff(null_behavior="drop").alias("waits"),
        (moments.list.get(-2) - moments.list.get(2)).alias("content"),
        round_trip().alias("trip"),
    )
    rows = rows.with_columns(c("waits").list.len().cast(pl.Int64).alias("gaps"), c("waits").list.median().alias("median"))
    # each gap is compared in a row of its own
    each = rows.select("connection", "exchange", "trip", "waits").explode("waits")
    near = (c("waits") - c("trip")).abs() <= c("trip") // 50 + NEAR.value
    counts = each.group_by("connection", "exchange").agg(near.sum().cast(pl.Int64).alias("equal"))
    found = rows.join(counts, on=["connection", "exchange"]).filter(
        100 * c("equal") >= MOST_OF.value * c("gaps"),
        (c("median") - c("trip")).abs() <= MEDIAN.value,
        100 * c("content") >= CHUNKS.value * c("gaps") * c("response_median_chunk"),
    )
    return found.select(
        *candidate("server", confidence(pl.lit(value=True)), "response_frame", "response_start", "response_end"),
        *("trip", "gaps", "equal", moments.list.head(_STEP * 4).alias("moments"), "response_status"),
    )


def words(x: Facts) -> dict[str, Any]:
    """Return the words about the first groups."""
    places = [(x.moments[at], x.moments[at + 1]) for at in range(0, len(x.moments), _STEP)]
    notes = ["the first events", *(f"more, {duration_text(b[1] - a[1])} later" for a, b in pairwise(places))]
    return {
        "trip": Nanoseconds(x.trip),
        "evidence": packets(*((*place, note) for place, note in zip(places, notes, strict=True))),
    }
