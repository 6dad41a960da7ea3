"""An open stream or tunnel was closed because no data passed for a while.

What it means
    An event stream, a WebSocket, a tunnel or another incomplete response carried no data in either direction for a while.
    Then one side closed the connection without notice. Probably that side, or a proxy or balancer in front of it, has an
    idle timeout.

Why it hurts
    A WebSocket is closed with code 1006, an EventSource reconnects, a stream read by fetch just ends, and a tunnel breaks in the
    middle of a session. Events between the close and the next connection are lost. Tests seldom show the problem, because they
    contain no idle time that is long enough.

How it is proved
    All data is acknowledged, the window is open, no byte of payload passes for 5 s or longer, and the next event is the FIN or
    RST. If a server closed three or more WebSockets after the same idle time, 2 s are enough.

    Confidence is high if the server closed and the idle time is the default of a common proxy or balancer (within 0.5 % or 50
    ms). It is also high if one side closed three or more connections after the same idle time, and these are at least three
    quarters of the connections that this side closed while idle. Idle times count as the same if they differ by at most 1 % plus
    20 ms, or 300 ms if that is more, because nginx and HAProxy may close that much too early. Confidence is medium if only two
    connections were closed and both had the same idle time (within 1 % plus 20 ms). A single close by the server at another idle
    time has low confidence, and is only a note.

What it is not
    If a user leaves a page, the client closes after a time that no other connection shares. A client may close its own idle
    CONNECT tunnels for the same reason as other idle connections: its pool has a timeout. A WebSocket close frame or a last
    chunk announces a close. A server that stops closes all connections at the same moment, whatever their idle times. A request
    without any response yet (a long poll) belongs to client-abort or no-response. If the connection was idle between two
    requests, idle-close reports it. TCP keep-alive probes do not count as data, and proxies do not count them either. HTTP/2 is
    not judged.

What to do
    Have one side send something more often than the timeout: WebSocket pings, or comments in event streams. Or lengthen the
    timeout.

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
from wiredoctor.rules.shared.bounded_memory import BoundedMap
from wiredoctor.rules.shared.evidence import (
    close_origin,
    confidence,
    evidence,
    fin_or_rst,
    has_doubtful_close,
    least_confidence,
    with_doubt,
)
from wiredoctor.tables import MILLISECOND, SECOND
from wiredoctor.world.connection_close import server_closed_first, streams
from wiredoctor.world.idle_defaults import limit_near, names_of_limit
from wiredoctor.world.numbers import DURATION, duration
from wiredoctor.world.products import settings

c = pl.col

RULE = Rule(
    symptom="WebSocket close code 1006, an event stream that reconnects again and again",
    severity="warning",
    title="{subject} was closed after being idle for {limit}",
    message="On {subject_of} of {request} no byte passed for {rest} in either direction. Then the {side} closed the connection "
    "with {close}, without announcing the close.{alike}{named}",
    remedy="Have one side send something at least every {often}: {ping}. TCP keep-alive probes do not help: they carry no data. "
    "Or lengthen the timeout where it is set: {settings}. Have clients reconnect automatically and request what they missed.",
    references=(
        Reference("RFC 6455 section 5.5.2, ping frames", "https://www.rfc-editor.org/rfc/rfc6455.html#section-5.5.2"),
        Reference("HTML, event streams", "https://html.spec.whatwg.org/multipage/server-sent-events.html#authoring-notes"),
        *(one.source for one in settings("silence") if isinstance(one.source, Reference)),
    ),
    advice=tuple(Advice("server", one.pattern, one.advice) for one in settings("silence") if one.pattern),
    absence=True,
    ends=True,
)

REST = Threshold("5 s", "the minimum idle time: users and programs pause for seconds, and no common idle timeout is shorter")
SOON = Threshold(
    "2 s",
    "the minimum idle time of WebSockets that a server closed, if three idle times are equal; a server that ends a WebSocket on "
    "purpose sends a Close frame",
)
SAME = Threshold("1 %", "the tolerance for equal idle times; timers that are set to the same time differ by less")
SAME_NEAR = Threshold("20 ms", "the tolerance that is added for short idle times; a loaded machine delays timers by this much")
EARLY = Threshold(
    "300 ms",
    "the tolerance if three or more idle times are equal: nginx and HAProxy may close up to this much earlier, because "
    "they do not restart a running timer if the new data would extend it by less than this",
)
ENOUGH = Threshold(
    "3 idle times",
    "the number of equal idle times that prove a timeout; of three unrelated idle times, two were equal in half of the "
    "recordings, but never all three",
)
PAIR = Threshold(
    "2 idle times",
    "this many equal idle times suggest a timeout if no other idle times are known; two alone are seldom equal by coincidence, "
    "but of several some two often are",
)
SHARE = Threshold(
    "75 %", "the minimum share of a side's idle times that are equal; otherwise the side has other reasons to close"
)
NAMED = Threshold(
    "25 %", "the minimum share of a side's idle times that match a common timeout; a smaller share may be a coincidence"
)
STOP = Threshold("50 ms", "the maximum time in which a terminating process closes all its connections, whatever their idle times")
ENDPOINTS = Threshold("1024 servers", "the maximum number of servers that are remembered; each takes some kilobytes of memory")
REMEMBERED = Threshold(
    "64 idle times",
    "the number of a server's newest idle times that are remembered; older idle times may belong to another configuration",
)

_WHOLE_EARLY, _WHOLE_LATE = 300 * MILLISECOND, 120 * MILLISECOND
"""The tolerances in ns for timers of whole seconds: how much earlier and how much later a proxy may close."""


def screen() -> pl.Expr:
    """Return a cheap condition: if no row of a batch meets it, the batch has no candidate findings."""
    closed = pl.coalesce("server_close_time", "client_close_time")
    least = pl.when("upgraded").then(SOON.value).otherwise(REST.value)
    return ((closed - c("last_payload_time")) >= least - SECOND) & ~c("says_goodbye") & c("last_on_connection")


def find(closes: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each connection that was closed while idle although a stream or tunnel was open on it."""
    rows = closes.filter(screen() & c("has_request") & c("has_response") & c("both_directions")).with_columns(
        server_closed_first().alias("by_server"),
        _is_upgraded().alias("tunnel"),
        streams().alias("stream"),
    )
    by_server = rows.filter("by_server", c("tunnel") | _stream() | _is_unfinished())
    # client-abort reports a client that breaks off a download
    itself = (c("client_close_origin") != "between") & (c("server_close_origin") != "between")
    # the client of a CONNECT closes its idle tunnels as it closes its idle connections
    own_tunnel = (c("request_method") == "CONNECT").fill_null(value=False)
    left = (c("tunnel") & ~own_tunnel) | _stream()
    by_client = rows.filter(~c("by_server"), c("client_close_frame").is_not_null(), itself, left)
    sides = (
        _closed_by(by_server, "server", c("last_payload_role") == 0),
        _closed_by(by_client, "client", c("last_payload_role") == 1),
    )
    soon = (c("what") == _WEBSOCKET) & (c("side") == "server") & (c("rest_ns") >= SOON.value)
    return pl.concat(sides).filter((c("rest_ns") >= REST.value) | soon)


def _is_upgraded() -> pl.Expr:
    """Return whether another protocol follows a 101 or a CONNECT. HTTP/2 does not count, because it has its own idle times."""
    changed = ((c("response_status") == 101) | (c("response_framing") == "tunnel")).fill_null(value=False)
    return c("upgraded") & changed & ~c("response_upgrade").str.contains("h2c", literal=True)


def _ended_by_close() -> pl.Expr:
    return ~pl.col("upgraded") & (pl.col("request_end_reason") == "complete")


def _stream() -> pl.Expr:
    """Return True if the response is an open-ended stream, and only the close of its connection ended it.

    Such a stream may be idle between its parts.
    """
    open_end = (c("response_framing") == "close-delimited") | c("response_end_reason").is_in(["fin", "rst"])
    return _ended_by_close() & c("stream") & open_end


def _is_unfinished() -> pl.Expr:
    """Return whether, according to its framing, the response was incomplete."""
    framed = c("response_framing").is_in(["content-length", "chunked"]) & c("response_end_reason").is_in(["fin", "rst"])
    return _ended_by_close() & framed & (c("response_status") >= 200)


def _closed_by(rows: pl.LazyFrame, side: str, from_afar: pl.Expr) -> pl.LazyFrame:
    """Return candidates for the connections that `side` (client or server) closed.

    `from_afar`: true if the last payload came from the other side. In that case, the idle time at this side is shorter than at
    the capture point, by a round trip to this side.
    """
    way = pl.when(from_afar).then(c(f"rtt_{side}").fill_null(0)).otherwise(0)
    rest = c(f"{side}_close_time") - c("last_payload_time") - way
    close = fin_or_rst(f"{side}_close_rst")
    role = pl.when(c("last_payload_role") == 0).then(pl.lit("client")).otherwise(pl.lit("server"))
    later = duration(c(f"{side}_close_time") - c("last_payload_time"))
    rows = rows.with_columns(rest.alias("rest_ns"), close.alias("close"))
    return rows.select(
        *("connection", "exchange"),
        pl.lit(None, pl.String).alias("kind"),
        pl.lit(side).alias("side"),
        confidence(has_doubtful_close(side)).alias("seen"),
        close_origin(side),
        c(f"{side}_close_frame").alias("frame"),
        c("last_payload_time").alias("start"),
        c(f"{side}_close_time").alias("end"),
        pl.lit(None, pl.Int64).alias("delay"),
        *("endpoint", "rest_ns", "final_at", "close"),
        # if no timeout is proved, truncated-response reports a truncated response
        (c("tunnel") | (c("response_framing") == "close-delimited")).alias("told_alone"),
        _kind_of_stream().alias("what"),
        evidence(
            ("response_frame", "response_start", pl.format("the response, {}", "response_status")),
            ("last_payload_frame", "last_payload_time", pl.format("the last payload, from the {}", role)),
            (
                f"{side}_close_frame",
                f"{side}_close_time",
                with_doubt(has_doubtful_close(side), pl.format("the {}'s {}, {} later", pl.lit(side), "close", later)),
            ),
        ),
    )


_WEBSOCKET = 0
"""The index of WebSockets in _WORDS."""


def _kind_of_stream() -> pl.Expr:
    """Return the kind of stream or tunnel that was open, as an index into _WORDS."""
    return (
        pl.when(c("tunnel") & (c("response_upgrade") == "websocket"))
        .then(_WEBSOCKET)
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
    """The texts for one kind of stream or tunnel: its name, a way to keep it busy, and the settings for its timeout."""

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
    _Words("A WebSocket", "the WebSocket", "WebSocket pings, which most libraries can send automatically", _TUNNELS),
    _Words("A CONNECT tunnel", "the tunnel", "a keep-alive message of the protocol in the tunnel", _TUNNELS),
    _Words("An upgraded connection", "the upgraded connection", "a keep-alive message of its protocol", _TUNNELS),
    _Words("An event stream", "the event stream", 'a comment (a line ":" and an empty line), which clients ignore', _STREAMS),
    _Words("A stream", "the stream", "a part, or anything that the format of the stream allows between parts", _STREAMS),
    _Words("An unfinished response", "the unfinished response", "a piece of the response", _STREAMS),
    _Words("A raw stream of Docker", "the raw stream", "some output of the process", _TUNNELS),
)


class _IdleClose(NamedTuple):
    """A connection closed while idle: the side that closed it, its idle time (ns), and the time of the close (ns)."""

    side: str
    rest: int
    end: int


def judge(rows: pl.DataFrame, state: BoundedMap[deque[_IdleClose]] | None) -> tuple[pl.DataFrame, BoundedMap[deque[_IdleClose]]]:
    """Return the candidates with counts and texts, based on their own idle times and on earlier closes of the same endpoint."""
    memory = BoundedMap(lambda: deque[_IdleClose](maxlen=REMEMBERED.value), ENDPOINTS.value) if state is None else state
    rows = rows.sort("final_at", "frame")
    counts: list[tuple[int, ...]] = []
    for endpoint, side, rest, end in rows.select("endpoint", "side", "rest_ns", "end").iter_rows():
        known = memory[endpoint]
        known.append(_IdleClose(side, rest, end))
        counts.append(_count(known, known[-1]))
    counted = pl.DataFrame(counts, schema=dict.fromkeys(_COUNTS, pl.Int64()), orient="row")
    return _with_texts(pl.concat([rows, counted], how="horizontal")), memory


def _count(known: Iterable[_IdleClose], own: _IdleClose) -> tuple[int, ...]:
    """Compare a close with all known closes of its endpoint; return the values of the columns _COUNTS."""
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
"""The names of statistics about an idle time and the other idle times of the same endpoint.

`rests`: the number of idle times that this side ended by closing. `all_rests`: the number that either side ended.
`alike_rests`: the number of this side's idle times near their median; 0 if the idle time of this row is not near that median.
`median`, `shortest_ns`, `longest_ns`: the median of this side's idle times, and the shortest and longest near it (ns).
`near`: the number of this side's idle times near that of this row.
`others`: the number of other connections that were closed at the same moment after a different idle time.
"""


def judge_all(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the candidates with counts and texts, by comparing all connections that were closed while idle."""
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
    return _with_texts(rows.with_columns(_count_near(rows), _count_other_idle_times(rows)))


def _count_near(rows: pl.DataFrame) -> pl.Series:
    """For each idle time, return the number of similar idle times after which the same side closed."""
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


def _count_other_idle_times(rows: pl.DataFrame) -> pl.Series:
    """Return, for each close, 1 if another connection was closed at the same moment after another idle time, otherwise 0."""
    order = rows.select("endpoint", "rest_ns", "end").with_row_index("row").sort("endpoint", "end", "row")
    unlike = pl.lit(value=False)
    for step in (-2, -1, 1, 2):
        same = (c("endpoint") == c("endpoint").shift(step)) & ((c("end") - c("end").shift(step)).abs() <= STOP.value)
        apart = (c("rest_ns") - c("rest_ns").shift(step)).abs() > EARLY.value
        unlike |= (same & apart).fill_null(value=False)
    return order.with_columns(unlike.cast(pl.Int64).alias("others")).sort("row")["others"]


def _with_texts(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the candidates with their confidence and texts."""
    common = limit_near(c("rest_ns"))
    by_server = c("side") == "server"
    many = (c("alike_rests") >= ENOUGH.value) & (c("alike_rests") * 100 >= c("rests") * SHARE.value)
    equal = c("longest_ns") - c("shortest_ns") <= c("median") * SAME.value // 100 + SAME_NEAR.value
    long_enough = c("rest_ns") >= REST.value
    pair = (c("all_rests") == PAIR.value) & (c("alike_rests") == PAIR.value) & equal & long_enough
    unlike = (c("others") > 0) | (c("near") * 100 < c("rests") * NAMED.value)
    named = common.is_not_null() & by_server & ~unlike & long_enough
    alone = by_server & c("told_alone") & (c("others") == 0) & long_enough
    verdict = pl.when(many | named).then(pl.lit("high")).when(pair).then(pl.lit("medium")).when(alone).then(pl.lit("low"))
    rows = rows.with_columns(verdict.alias("verdict"), common.alias("common"), (many | pair).alias("again")).filter(
        c("verdict").is_not_null()
    )
    # data in the direction that a timer does not watch shortens the idle times, so the longest is nearest to the timeout
    limit = pl.when("again").then("longest_ns").otherwise("rest_ns")
    alike = c("again") & (c("longest_ns") - c("shortest_ns") < SECOND // 2)
    least = pl.when(alike).then(_whole_second(c("shortest_ns")))
    rows = rows.with_columns(pl.coalesce("common", _whole_second(limit), least, limit).alias("limit_ns"))
    words = {name: [getattr(one, name) for one in _WORDS] for name in _Words._fields}
    return rows.select(
        *("connection", "exchange", "kind", "side"),
        least_confidence("verdict", "seen").alias("confidence"),
        pl.when(c("verdict") == "low").then(pl.lit("note")).otherwise(pl.lit("warning")).alias("severity"),
        *("frame", "start", "end", "delay", "evidence", "origin"),
        pl.when(c("close") == "RST").then(pl.lit("an RST")).otherwise(pl.lit("a FIN")).alias("close"),
        c("rest_ns").cast(DURATION).alias("rest"),
        c("limit_ns").cast(DURATION).alias("limit"),
        _keep_alive_interval().cast(DURATION).alias("often"),
        *(c("what").replace_strict(dict(enumerate(texts)), return_dtype=pl.String).alias(name) for name, texts in words.items()),
        _similar_closes_text().alias("alike"),
        _default_text().alias("named"),
    )


def _whole_second(rest: pl.Expr) -> pl.Expr:
    """Return the whole second (in ns) near an idle time (ns); null if none is near."""
    nearest = ((rest + SECOND // 2) // SECOND) * SECOND
    late = rest - nearest
    return pl.when((late <= _WHOLE_LATE) & (late >= -_WHOLE_EARLY)).then(nearest)


def _keep_alive_interval() -> pl.Expr:
    """Return the interval (ns) at which data should be sent: half the idle timeout, in whole seconds, but at least 1 s and at
    most a minute.
    """
    return (pl.col("limit_ns") // (2 * SECOND) * SECOND).clip(SECOND, 60 * SECOND)


def _similar_closes_text() -> pl.Expr:
    """Return the text with the number of other connections that were closed after the same idle time."""
    which = (
        pl.when(c("alike_rests") == c("rests"))
        .then(pl.format(" All {} idle connections", "rests"))
        .otherwise(pl.format(" {} of {} idle connections", "alike_rests", "rests"))
    )
    shortest, longest = duration(c("shortest_ns")), duration(c("longest_ns"))
    span = pl.when(shortest == longest).then(longest).otherwise(pl.format("{} to {}", shortest, longest))
    limit = pl.format(": that is a timeout of {}.", duration(c("limit_ns")))
    several = which + pl.format(" that the {} closed had been idle for {}", "side", span) + limit
    single = pl.lit(" The capture shows no similar close: a timeout may have expired, or that side decided to close.")
    differ = pl.format(
        " The {} idle times after which that side closed connections differ: each close may have been its decision, not a "
        "timeout.",
        "rests",
    )
    low = pl.when(c("rests") > 1).then(differ).otherwise(single)
    return pl.when("again").then(several).when(c("verdict") == "low").then(low).otherwise(pl.lit(""))


def _default_text() -> pl.Expr:
    """Return a sentence that names the products with this default timeout; "" if the timeout is not a common default."""
    told = pl.format(" {} is the default of {}.", duration(c("common")), names_of_limit(c("common")))
    return pl.when(c("common").is_not_null()).then(told).otherwise(pl.lit(""))
