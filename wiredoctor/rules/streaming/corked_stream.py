"""A gateway held back the events of a stream until a timer of its TCP expired.

What it means
    A gateway (proxy, load balancer) received an event from the server behind it, and had it ready for its client. It handed the
    event to TCP with MSG_MORE (or with TCP_CORK), which says that more data follows soon. TCP then waits for a full segment.
    If none comes, a timer sends what there is, on Linux 200 ms later.

Why it hurts
    Each event comes up to a quarter of a second late, although server, gateway and path are idle. The tokens of a language model
    come in groups, and a page that is updated live lags behind.

How it is proved
    The capture has both sides of the gateway, and both have the same content. At least three times, content came to the gateway
    and left it 100 ms or more later. During this time nothing was in flight to the client, nothing was lost, and the window was
    open. Each time it waited for at most 250 ms and two round trips, for less than a full segment. Of these waits, three
    quarters or more lasted for 190 ms or more. The last one does not count among these, because the end of the response may have
    sent the content off. Only the first 64 packets of a body that come 5 ms or more apart are compared, and at most 16 waits are
    reported.

What it is not
    A gateway that forwards events at fixed times, such as every 200 ms, holds each of them back for a different time. A buffer
    holds events back for longer, or until it is full: buffered-stream reports that. If data was in flight, the gateway's TCP may
    have waited for its ACK: nagle-delayed-ack reports that. In a capture at the client, the causes cannot be distinguished.

What to do
    haproxy: `option http-no-delay` in the frontend or backend of this stream. Another gateway: send without MSG_MORE, or clear
    TCP_CORK after each event.

References
    haproxy, option http-no-delay. Linux, send(2), MSG_MORE.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import polars as pl

from wiredoctor.findings import Reference, Rule, Threshold
from wiredoctor.rules.shared.evidence import NEAR, candidate, confidence
from wiredoctor.rules.shared.received_behind import received_behind
from wiredoctor.rules.shared.words import Nanoseconds, packets
from wiredoctor.text.durations import duration_text
from wiredoctor.world import CaptureTables, Index, World

c = pl.col

RULE = Rule(
    symptom="events of a stream come in groups, each up to 250 ms late",
    severity="warning",
    title="The gateway held back content of a stream for {held_for}, until a timer of its TCP expired: {request}",
    message="{held_bytes:,} bytes of the {status} to {request} had reached the gateway, and left it {held_for} later. Nothing "
    "was in flight to the client, and the window was open. If a program sends with MSG_MORE or TCP_CORK, TCP waits for a full "
    "segment, on Linux for 200 ms at most. This happened to {releases} parts of this response.",
    remedy="Have the gateway send each event at once. haproxy: option http-no-delay in the frontend or backend of this stream. "
    "Other gateways: send without MSG_MORE, or clear TCP_CORK after each event.",
    display_filter="frame.number in {{{frames}}}",
    references=(
        Reference("haproxy, option http-no-delay", "https://docs.haproxy.org/2.6/configuration.html#4-option%20http-no-delay"),
        Reference("Linux, send(2), MSG_MORE", "https://man7.org/linux/man-pages/man2/send.2.html"),
    ),
    explained_by=(
        ("nagle-delayed-ack", "time"),
        ("zero-window-stall", "time"),
        ("retransmission-stall", "time"),
    ),
    absence=True,
)

MIN_HELD = Threshold("100 ms", "the minimum time for which the gateway held content back; programs need less to forward it")
MAX_HELD = Threshold(
    "250 ms",
    "the maximum time (plus two round trips) for which TCP holds content back; Linux sends it after its minimum retransmission "
    "timeout of 200 ms, which contains the round trip, and 245 ms were measured",
)
BY_TIMER = Threshold("190 ms", "the minimum time of a wait that ended with the timer; 10 ms are allowed for an inexact clock")
MIN_RELEASES = Threshold("3 releases", "the minimum number of times that content was held back; fewer may be chance")
MOST_OF = Threshold(
    "75 %", "the minimum share of the waits that lasted for at least 190 ms; the others ended with a full segment"
)

SHOWN = 16
"""The maximum number of packets of a response that are reported, which bounds the memory for candidates."""


class Facts(NamedTuple):
    """What is known of a packet whose content may have been held back. Times are in ns, `held_bytes` in bytes.

    `frame`, `end`: the packet. `start`, `delay`: when its content had come to the gateway, and how long it waited.
    `arrival_frame`: the packet that brought it. `releases`: the number of such packets of the response. `decide` sets these, and
    `held_bytes`.
    """

    connection: int
    exchange: int
    frame: int
    start: int
    end: int
    delay: int | None
    arrival_frame: int | None
    held_bytes: int
    releases: int


class Moment(NamedTuple):
    """A packet of a body (see the column `response_moments` of exchanges). `before`: content bytes before it. Times are in ns."""

    frame: int
    time: int
    before: int
    idle: int


class Release(NamedTuple):
    """A packet whose content, `size` bytes, a gateway had held back for `delay` ns, since packet `arrival` at `start` (ns)."""

    arrival: int
    start: int
    delay: int
    size: int


def may_match() -> pl.Expr:
    """Return a cheap condition: if no row of a batch meets it, the batch has no candidate findings."""
    return c("response_moments").list.len() >= len(Moment._fields) * MIN_RELEASES.value


def find(exchanges: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each of the first packets of an event stream that its sender could have sent some time earlier."""
    moment = {
        name: c("response_moments").list.gather_every(len(Moment._fields), number)
        for name, number in (("frame", 0), ("end", 1), ("idle", 3))
    }
    near = (c("rtt_server") < NEAR).fill_null(value=False)
    rows = exchanges.filter(may_match() & near & c("has_request") & c("has_response")).with_columns(**moment)
    return (
        rows.explode("frame", "end", "idle")
        .filter(c("idle") >= MIN_HELD.value)
        .filter(pl.int_range(pl.len()).over("connection", "exchange") < SHOWN)
        .filter(pl.len().over("connection", "exchange") >= MIN_RELEASES.value)
        .select(
            *candidate("server", confidence(), "frame", c("end") - c("idle").clip(upper_bound=MAX_HELD.value), "end"),
            pl.lit(None, pl.Int64).alias("arrival_frame"),
            *(pl.lit(0, pl.Int64).alias(name) for name in ("held_bytes", "releases")),
        )
    )


class HeldContent(Index):
    """The packets of responses whose content a gateway held back until a timer of its TCP expired."""

    NEEDS = ("connection", "exchange")

    def __init__(self, held: Mapping[tuple[int, int], Mapping[int, Release]]) -> None:
        self._held = held

    @classmethod
    def build(cls, wanted: Sequence[pl.DataFrame], tables: CaptureTables) -> HeldContent:
        """Return the answers about these candidates."""
        places = pl.concat(wanted).unique()
        columns = ("response_moments", "response_content_encoding", "response_body_bytes", "rtt_client")
        behind = received_behind(places, tables, columns)
        if not behind:
            return cls({})
        fronts = tables.exchanges().join(places.lazy(), on=cls.NEEDS, how="semi").select(*cls.NEEDS, pl.struct(columns)).collect()
        pairs = ((place, sent, behind[place]) for *key, sent in fronts.iter_rows() if (place := (key[0], key[1])) in behind)
        return cls({place: _held(sent, received) for place, sent, received in pairs})

    def of(self, x: Facts) -> Mapping[int, Release]:
        """Return the packets of this response whose content was held back, by frame."""
        return self._held.get((x.connection, x.exchange), {})


ASKS = (HeldContent,)


def decide(x: Facts, world: World) -> Facts | None:
    """Keep packets whose content the gateway held back, as the other side of the gateway shows."""
    held = world.of(HeldContent).of(x)
    if x.frame not in held:
        return None
    arrival, start, delay, size = held[x.frame]
    return x._replace(start=start, delay=delay, arrival_frame=arrival, held_bytes=size, releases=len(held))


def _held(sent: Mapping[str, Any], received: Mapping[str, Any]) -> dict[int, Release]:
    """Return the packets of a body by which a timer released its content, or none if they are few or mostly too early.

    `sent`, `received`: columns of the exchanges on both sides of the gateway.
    """
    if sent["response_content_encoding"] != received["response_content_encoding"]:
        return {}
    longest = MAX_HELD.value + 2 * (sent["rtt_client"] or 0)
    releases = _releases(_moments(sent), _moments(received), sent["response_body_bytes"], longest)
    waits = [one.delay for one in [*releases.values()][:-1]]
    by_timer = sum(wait >= BY_TIMER.value for wait in waits)
    is_regular = len(releases) >= MIN_RELEASES.value and 100 * by_timer >= MOST_OF.value * len(waits)
    return releases if is_regular else {}


def _moments(body: Mapping[str, Any]) -> list[Moment]:
    flat = body["response_moments"]
    return [Moment(*flat[n : n + len(Moment._fields)]) for n in range(0, len(flat), len(Moment._fields))]


def _releases(sent: list[Moment], received: list[Moment], total: int, longest: int) -> dict[int, Release]:
    """Return the packets that brought content MIN_HELD or more after it had come, by frame; none if one took over `longest` ns.

    Content that waited for longer was not held back by TCP alone. `total`: the bytes of the content. If the first packet behind
    the gateway is missing, it is unknown when content came.
    """
    if not received:
        return {}
    releases: dict[int, Release] = {}
    starts = [moment.before for moment in received]
    for moment, end in zip(sent, [*(moment.before for moment in sent[1:]), total], strict=True):
        came = received[bisect_right(starts, moment.before) - 1]
        delay = moment.time - came.time
        if MIN_HELD.value <= delay <= moment.idle:
            if delay > longest:
                return {}
            releases[moment.frame] = Release(came.frame, came.time, delay, end - moment.before)
    return releases


def words(x: Facts) -> dict[str, Any]:
    """Return the words about the content and its wait."""
    return {
        "held_for": Nanoseconds(x.end - x.start),
        "evidence": packets(
            (x.arrival_frame, x.start, "the content reaches the gateway"),
            (x.frame, x.end, f"it leaves the gateway, {duration_text(x.end - x.start)} later: all earlier data was acknowledged"),
        ),
    }
