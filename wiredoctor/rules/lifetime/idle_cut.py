"""Something that was open on purpose was closed because nothing passed for a while.

What it means
    An event stream, a WebSocket, a tunnel or another incomplete response carried no data in either direction for a while, and
    then one side closed the connection without notice: that side, or a proxy or balancer in front of it, has a limit for idle
    connections.

Why it hurts
    A WebSocket is closed with code 1006, an EventSource reconnects, a stream read by fetch just ends, a tunnel breaks in the
    middle of a session. Events between the close and the next connection are lost. Tests do not show it, because it takes a
    quiet time that tests do not have.

How it is proved
    All that was sent is acknowledged, there is room for more, no byte of payload passes for 5 s or longer, and the next event is
    the FIN or RST. High confidence where the server closed and that time is the default of a common proxy or balancer (within
    0.5 % or 50 ms), or where three or more of its connections, and three in four of those that one side closed after a rest,
    rested equally long (within 1 % + 20 ms, or 300 ms, by which nginx and HAProxy are early); medium where two of two did (within
    1 % + 20 ms). A single one is a note.

What it is not
    A user who left the page: the client closed, and after a time that no other connection shares. A close announced by a
    WebSocket close frame or the last chunk. A server that stops: it closes all connections at the same moment, whatever their
    idle times. A request without any response yet (a long poll): client-abort, no-response. An idle connection between two
    requests: idle-close. TCP keep-alive probes do not count as data, for proxies neither. HTTP/2.

What to do
    Let one side send something more often than that: WebSocket pings, comments in event streams. Or lengthen the limit.

References
    RFC 6455 section 5.5.2, the HTML standard on event streams, nginx on WebSockets, HAProxy's timeout tunnel, AWS and Azure on
    idle timeouts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

import polars as pl

from wiredoctor.findings import Advice, Reference, Rule, Threshold
from wiredoctor.rules.closes import streams
from wiredoctor.rules.idle_limits import IDLE_LIMITS, limit_near, whose
from wiredoctor.rules.memory import Recent
from wiredoctor.rules.proof import close_confidence, close_word, evidence, server_closed_first
from wiredoctor.rules.words import DURATION, duration
from wiredoctor.tables import MILLISECOND, SECOND

RULE = Rule(
    severity="warning",
    title="{subject} was closed after a rest of {limit}",
    message="On {subject_of} of {request} no byte passed for {rest} in either direction; then the {side} closed it with {close}, "
    "and nothing had announced that.{alike}{named}",
    remedy="Let one side send something at least every {often}: {ping}. TCP keep-alive probes do not help: they carry nothing. "
    "Or lengthen the limit where it is set: {settings}. Let clients connect again by themselves, and ask for what they missed.",
    display_filter="tcp.stream == {connection} && frame.number in {{{frames}}}",
    references=(
        Reference("RFC 6455 section 5.5.2, ping frames", "https://www.rfc-editor.org/rfc/rfc6455.html#section-5.5.2"),
        Reference("HTML, event streams", "https://html.spec.whatwg.org/multipage/server-sent-events.html#authoring-notes"),
        *dict.fromkeys(one.source for one in IDLE_LIMITS if one.closes and one.seconds in (50, 60, 240)),
    ),
    advice=(
        Advice("server", "nginx|openresty", "nginx: proxy_read_timeout in the location (60 s by default)."),
        Advice("server", "Apache(?!-Coyote|-Tomcat)", "Apache httpd: ProxyTimeout, or timeout= of ProxyPass."),
        Advice("server", "envoy", "Envoy: stream_idle_timeout, or idle_timeout of the route (5 minutes by default)."),
        Advice("server", "cloudflare", "Cloudflare: Proxy Read Timeout (120 s by default); only some plans can change it."),
        Advice("server", "awselb", "AWS: the attribute idle_timeout.timeout_seconds of the load balancer (60 s by default)."),
    ),
    absence=True,
    ends=True,
)

REST = Threshold("5 s", "users and programs pause for seconds; no common limit is shorter")
SAME = Threshold("1 %", "timers that were set to the same time fire so near to each other")
SAME_NEAR = Threshold("20 ms", "a loaded machine fires short timers so much later")
EARLY = Threshold(
    "300 ms", "nginx and HAProxy do not restart a timer for less, so it may fire that much early; for three or more rests"
)
ENOUGH = Threshold("3 rests", "of three random rests two agreed in half of the recordings, never three")
PAIR = Threshold("2 rests", "two of two that agree are hardly chance")
SHARE = Threshold("75 %", "of the rests that a side ended: else it closes for reasons of its own")
NAMED = Threshold("25 %", "of the rests that a side ended are near a common limit: fewer may be so by chance")
STOP = Threshold("50 ms", "one process closed these together: it ended, whatever each had rested")
ENDPOINTS = Threshold("1024 servers", "what is remembered of each takes some kilobytes")
REMEMBERED = Threshold("64 rests", "the newest of a server; older ones tell of another configuration")

_WHOLE_EARLY, _WHOLE_LATE = 300 * MILLISECOND, 120 * MILLISECOND
"""How early, and how late, the timers of proxies may fire."""


def screen() -> pl.Expr:
    """Return an expression that is true on at least one row if there is a candidate."""
    c = pl.col
    closed = pl.coalesce("server_close_time", "client_close_time")
    return ((closed - c("last_payload_time")) >= REST.value - SECOND) & ~c("says_goodbye") & c("last_on_connection")


def find(closes: pl.LazyFrame) -> pl.LazyFrame:
    """A row per connection that was closed after a rest, though something was open on it."""
    c = pl.col
    rows = closes.filter(screen() & c("has_request") & c("has_response") & c("both_directions")).with_columns(
        server_closed_first().alias("by_server"),
        _upgraded().alias("tunnel"),
        streams().alias("stream"),
    )
    by_server = rows.filter("by_server", c("tunnel") | _stream() | _unfinished())
    # who breaks off a download is impatient: client-abort
    by_client = rows.filter(~c("by_server"), c("client_close_frame").is_not_null(), c("tunnel") | _stream())
    sides = (_of(by_server, "server", c("last_payload_role") == 0), _of(by_client, "client", c("last_payload_role") == 1))
    return pl.concat(sides).filter(c("rest_ns") >= REST.value)


def _upgraded() -> pl.Expr:
    """Another protocol than HTTP is spoken: after 101 or CONNECT. HTTP/2 has rests of its own."""
    c = pl.col
    changed = ((c("response_status") == 101) | (c("response_framing") == "tunnel")).fill_null(value=False)
    return c("upgraded") & changed & ~c("response_upgrade").str.contains("h2c", literal=True)


def _ended_by_close() -> pl.Expr:
    return ~pl.col("upgraded") & (pl.col("request_end_reason") == "complete")


def _stream() -> pl.Expr:
    """A response whose parts come one by one, with rests between them, and that nothing but the close has ended."""
    c = pl.col
    open_end = (c("response_framing") == "close-delimited") | c("response_end_reason").is_in(["fin", "rst"])
    return _ended_by_close() & c("stream") & open_end


def _unfinished() -> pl.Expr:
    """A response that says itself that more of it was due."""
    c = pl.col
    framed = c("response_framing").is_in(["content-length", "chunked"]) & c("response_end_reason").is_in(["fin", "rst"])
    return _ended_by_close() & framed & (c("response_status") >= 200)


def _of(rows: pl.LazyFrame, side: str, from_afar: pl.Expr) -> pl.LazyFrame:
    """Candidates that this side closed. `from_afar`: the last payload came from the other side, and reached this one later than
    the capture point; so did its close."""
    c = pl.col
    way = pl.when(from_afar).then(c(f"rtt_{side}").fill_null(0)).otherwise(0)
    rest = c(f"{side}_close_time") - c("last_payload_time") - way
    close = close_word(f"{side}_close_rst")
    role = pl.when(c("last_payload_role") == 0).then(pl.lit("client")).otherwise(pl.lit("server"))
    later = duration(c(f"{side}_close_time") - c("last_payload_time"))
    rows = rows.with_columns(rest.alias("rest_ns"), close.alias("close"))
    return rows.select(
        *("connection", "exchange"),
        pl.lit(None, pl.String).alias("kind"),
        pl.lit(side).alias("side"),
        close_confidence().alias("seen"),
        c(f"{side}_close_frame").alias("frame"),
        c("last_payload_time").alias("start"),
        c(f"{side}_close_time").alias("end"),
        pl.lit(None, pl.Int64).alias("delay"),
        *("endpoint", "rest_ns", "final_at", "close"),
        # a response that breaks off has an error of its own
        (c("tunnel") | (c("response_framing") == "close-delimited")).alias("told_alone"),
        _what().alias("what"),
        evidence(
            ("response_frame", "response_start", pl.format("the response, {}", "response_status")),
            ("last_payload_frame", "last_payload_time", pl.format("the last payload, from the {}", role)),
            (f"{side}_close_frame", f"{side}_close_time", pl.format("the {}'s {}, {} later", pl.lit(side), "close", later)),
        ),
    )


def _what() -> pl.Expr:
    """What was open: a number of _WORDS."""
    c = pl.col
    return (
        pl.when(c("tunnel") & (c("response_upgrade") == "websocket"))
        .then(0)
        .when(c("tunnel") & c("response_content_type").str.starts_with("application/vnd.docker."))
        .then(6)
        .when(c("tunnel") & (c("response_framing") == "tunnel"))
        .then(1)
        .when("tunnel")
        .then(2)
        .when(c("response_content_type") == "text/event-stream")
        .then(3)
        .when("stream")
        .then(4)
        .otherwise(5)
    )


class _Words(NamedTuple):
    """How what was open is called, and what keeps it busy."""

    subject: str
    subject_of: str
    ping: str
    settings: str


_TUNNELS = (
    "nginx proxy_read_timeout, HAProxy timeout tunnel, Apache httpd ProxyTimeout, Envoy stream_idle_timeout, the idle timeout of "
    "AWS and Azure load balancers"
)
_STREAMS = (
    "nginx proxy_read_timeout, HAProxy timeout server and timeout client, Apache httpd ProxyTimeout, Envoy stream_idle_timeout, "
    "the idle timeout of AWS and Azure load balancers"
)
_WORDS = (
    _Words("A WebSocket", "the WebSocket", "WebSocket pings, which most libraries can send by themselves", _TUNNELS),
    _Words("A CONNECT tunnel", "the tunnel", "a keep-alive message of what the tunnel carries", _TUNNELS),
    _Words("An upgraded connection", "the upgraded connection", "a keep-alive message of its protocol", _TUNNELS),
    _Words("An event stream", "the event stream", 'a comment (a line ":" and an empty line), which clients ignore', _STREAMS),
    _Words("A stream", "the stream", "a part, or what its format allows between parts", _STREAMS),
    _Words("An unfinished response", "the unfinished response", "a piece of the response", _STREAMS),
    _Words("A raw stream of Docker", "the raw stream", "an output of the process now and then", _TUNNELS),
)


class _Rest(NamedTuple):
    """What is remembered of a connection that was closed after a rest: who closed it, after how long, and when (ns)."""

    side: str
    rest: int
    end: int


def judge(rows: pl.DataFrame, state: Recent[deque[_Rest]] | None) -> tuple[pl.DataFrame, Recent[deque[_Rest]]]:
    """What is said as soon as a connection is closed: by it and those before it."""
    memory = Recent(lambda: deque[_Rest](maxlen=REMEMBERED.value), ENDPOINTS.value) if state is None else state
    rows = rows.sort("final_at", "frame")
    counts: list[tuple[int, ...]] = []
    for endpoint, side, rest, end in rows.select("endpoint", "side", "rest_ns", "end").iter_rows():
        known = memory[endpoint]
        known.append(_Rest(side, rest, end))
        counts.append(_count(known, known[-1]))
    counted = pl.DataFrame(counts, schema=dict.fromkeys(_COUNTS, pl.Int64()), orient="row")
    return _told(pl.concat([rows, counted], how="horizontal")), memory


def _count(known: Iterable[_Rest], own: _Rest) -> tuple[int, ...]:
    """The columns _COUNTS of a rest among those that are known."""
    mine = sorted(one.rest for one in known if one.side == own.side)
    median = mine[len(mine) // 2]
    alike = [rest for rest in mine if abs(rest - median) <= max(_same(median), EARLY.value)]
    near = [rest for rest in mine if abs(rest - own.rest) <= _same(own.rest)]
    others = [one for one in known if abs(one.end - own.end) <= STOP.value and abs(one.rest - own.rest) > EARLY.value]
    in_it = len(alike) if own.rest in alike else 0
    return len(mine), sum(1 for _ in known), in_it, median, alike[0], alike[-1], len(near), len(others)


def _same(rest: int) -> int:
    return rest * SAME.value // 100 + SAME_NEAR.value


_COUNTS = ("rests", "all_rests", "alike_rests", "median", "shortest_ns", "longest_ns", "near", "others")
"""Of a rest: how many rests the side ended, how many both sides; how many are like their median, if it is, that median, the
shortest and the longest of these; how many are like itself; and how many unlike ones ended at the same moment."""


def judge_all(rows: pl.DataFrame) -> pl.DataFrame:
    """What is said at the end: by all connections that were closed after a rest."""
    c = pl.col
    place = ["endpoint", "side"]
    middle = c("rest_ns").sort().get(pl.len() // 2).over(place)
    within = pl.max_horizontal(c("median") * SAME.value // 100 + SAME_NEAR.value, pl.lit(EARLY.value))
    rows = rows.with_columns(
        pl.len().cast(pl.Int64).over(place).alias("rests"),
        pl.len().cast(pl.Int64).over("endpoint").alias("all_rests"),
        middle.alias("median"),
    ).with_columns(((c("rest_ns") - c("median")).abs() <= within).alias("is_alike"))
    alike = c("rest_ns").filter("is_alike")
    rows = rows.with_columns(
        pl.when("is_alike").then(c("is_alike").sum().over(place)).otherwise(0).cast(pl.Int64).alias("alike_rests"),
        alike.min().over(place).alias("shortest_ns"),
        alike.max().over(place).alias("longest_ns"),
    )
    return _told(rows.with_columns(_near(rows), _others(rows)))


def _near(rows: pl.DataFrame) -> pl.Series:
    """How many rests of the same side are like each."""
    c = pl.col
    order = rows.select("endpoint", "side", "rest_ns").with_row_index("row").sort("endpoint", "side", "rest_ns", "row")
    width = c("rest_ns") * SAME.value // 100 + SAME_NEAR.value
    places = order.with_columns((c("rest_ns") - width).alias("low"), (c("rest_ns") + width).alias("high"))
    counts: list[pl.Series] = []
    for group in places.partition_by("endpoint", "side", maintain_order=True):
        first = group["rest_ns"].search_sorted(group["low"], side="left")
        last = group["rest_ns"].search_sorted(group["high"], side="right")
        counts.append((last.cast(pl.Int64) - first.cast(pl.Int64)).alias("near"))
    near = pl.concat(counts) if counts else pl.Series("near", [], dtype=pl.Int64)
    return order.with_columns(near).sort("row")["near"]


def _others(rows: pl.DataFrame) -> pl.Series:
    """How many connections of the server that had rested differently were closed at the same moment: of neighbours in time."""
    c = pl.col
    order = rows.select("endpoint", "rest_ns", "end").with_row_index("row").sort("endpoint", "end", "row")
    unlike = pl.lit(value=False)
    for step in (-2, -1, 1, 2):
        same = (c("endpoint") == c("endpoint").shift(step)) & ((c("end") - c("end").shift(step)).abs() <= STOP.value)
        apart = (c("rest_ns") - c("rest_ns").shift(step)).abs() > EARLY.value
        unlike |= (same & apart).fill_null(value=False)
    return order.with_columns(unlike.cast(pl.Int64).alias("others")).sort("row")["others"]


def _told(rows: pl.DataFrame) -> pl.DataFrame:
    """The candidates, with what their confidence is and why."""
    c = pl.col
    common = limit_near(c("rest_ns"))
    by_server = c("side") == "server"
    many = (c("alike_rests") >= ENOUGH.value) & (c("alike_rests") * 100 >= c("rests") * SHARE.value)
    equal = c("longest_ns") - c("shortest_ns") <= c("median") * SAME.value // 100 + SAME_NEAR.value
    pair = (c("all_rests") == PAIR.value) & (c("alike_rests") == PAIR.value) & equal
    unlike = (c("others") > 0) | (c("near") * 100 < c("rests") * NAMED.value)
    named = common.is_not_null() & by_server & ~unlike
    alone = by_server & c("told_alone") & (c("others") == 0)
    verdict = pl.when(many | named).then(pl.lit("high")).when(pair).then(pl.lit("medium")).when(alone).then(pl.lit("low"))
    rows = rows.with_columns(verdict.alias("verdict"), common.alias("common"), (many | pair).alias("again")).filter(
        c("verdict").is_not_null()
    )
    limit = pl.when("again").then("longest_ns").otherwise("rest_ns")
    rows = rows.with_columns(pl.coalesce("common", _whole(limit), limit).alias("limit_ns"))
    words = {name: [getattr(one, name) for one in _WORDS] for name in _Words._fields}
    return rows.select(
        *("connection", "exchange", "kind", "side"),
        _least("verdict", "seen").alias("confidence"),
        pl.when(c("verdict") == "low").then(pl.lit("note")).otherwise(pl.lit("warning")).alias("severity"),
        *("frame", "start", "end", "delay", "evidence"),
        pl.when(c("close") == "RST").then(pl.lit("an RST")).otherwise(pl.lit("a FIN")).alias("close"),
        c("rest_ns").cast(DURATION).alias("rest"),
        c("limit_ns").cast(DURATION).alias("limit"),
        _often().cast(DURATION).alias("often"),
        *(c("what").replace_strict(dict(enumerate(texts)), return_dtype=pl.String).alias(name) for name, texts in words.items()),
        _alike().alias("alike"),
        _named().alias("named"),
    )


def _whole(rest: pl.Expr) -> pl.Expr:
    """The whole second that a rest is near to, null where it is near none."""
    nearest = ((rest + SECOND // 2) // SECOND) * SECOND
    late = rest - nearest
    return pl.when((late <= _WHOLE_LATE) & (late >= -_WHOLE_EARLY)).then(nearest)


def _often() -> pl.Expr:
    """How often something has to pass: half of the limit, at most a minute, in whole seconds."""
    half = pl.col("limit_ns") // (2 * SECOND) * SECOND
    return pl.min_horizontal(half, pl.lit(60 * SECOND))


def _least(*names: str) -> pl.Expr:
    """The lowest of these confidences."""
    values = [pl.col(name) for name in names]
    low = pl.any_horizontal(value == "low" for value in values)
    medium = pl.any_horizontal(value == "medium" for value in values)
    return pl.when(low).then(pl.lit("low")).when(medium).then(pl.lit("medium")).otherwise(pl.lit("high"))


def _alike() -> pl.Expr:
    """How many others ended like this."""
    c = pl.col
    which = (
        pl.when(c("alike_rests") == c("rests"))
        .then(pl.format(" All {} connections", "rests"))
        .otherwise(pl.format(" {} of {} connections", "alike_rests", "rests"))
    )
    shortest, longest = duration(c("shortest_ns")), duration(c("longest_ns"))
    span = pl.when(shortest == longest).then(longest).otherwise(pl.format("{} to {}", shortest, longest))
    limit = pl.format(": that is a limit of {}.", duration(c("limit_ns")))
    several = which + pl.format(" that the {} closed after a rest had rested for {}", "side", span) + limit
    single = pl.lit(" Nothing else like it is in the capture: it may be a limit, or a decision of its own.")
    differ = pl.format(" The {} rests that it ended differ: these may be decisions of its own.", "rests")
    low = pl.when(c("rests") > 1).then(differ).otherwise(single)
    return pl.when("again").then(several).when(c("verdict") == "low").then(low).otherwise(pl.lit(""))


def _named() -> pl.Expr:
    """Whose default it is."""
    c = pl.col
    told = pl.format(" {} is the default of {}.", duration(c("common")), whose(c("common")))
    return pl.when(c("common").is_not_null()).then(told).otherwise(pl.lit(""))
