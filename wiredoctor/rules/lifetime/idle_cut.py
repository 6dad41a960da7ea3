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
    time has low confidence, and is only a note. If the server, or a proxy in front of it, cut off a chunked stream that answers a
    POST, the call failed, and the finding is an error.

    If the host that closed as a server also closed a connection as a client, within 50 ms and after the same idle time, it is a
    gateway whose timeout expired: one finding covers both connections.

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

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import polars as pl

from wiredoctor import limits
from wiredoctor.findings import Advice, Reference, Rule, Threshold
from wiredoctor.rules.shared.bounded_memory import BoundedMap
from wiredoctor.rules.shared.evidence import candidate, confidence, has_doubtful_close
from wiredoctor.rules.shared.words import Nanoseconds, fin_or_rst, packets, sender_of_close, with_doubt
from wiredoctor.tables import MILLISECOND, SECOND
from wiredoctor.text.durations import duration_text
from wiredoctor.world import CaptureTables, Index, World
from wiredoctor.world.client_rows import one_host, server_host
from wiredoctor.world.connection_close import answer_due, server_closed_first, streams
from wiredoctor.world.idle_defaults import limit_near, names_of_limit
from wiredoctor.world.products import default, settings

c = pl.col

RULE = Rule(
    symptom="WebSocket close code 1006, an event stream that reconnects again and again",
    severity="warning",
    title="{subject} was closed after being idle for {limit}",
    message="On {subject_of} of {request} no byte passed for {rest} in either direction. Then the {side} closed the connection "
    "with {close}, without announcing the close.{alike}{named}",
    remedy="Have one side send something at least every {often}: {ping}. TCP keep-alive probes do not help: they carry no data. "
    "Or lengthen the timeout where it is set: {settings}.{reconnect}",
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


def may_match() -> pl.Expr:
    """Return a cheap condition: if no row of a batch meets it, the batch has no candidate findings."""
    closed = pl.coalesce("server_close_time", "client_close_time")
    least = pl.when("upgraded").then(SOON.value).otherwise(REST.value)
    return ((closed - c("last_payload_time")) >= least - SECOND) & ~c("says_goodbye") & c("last_on_connection")


class Facts(NamedTuple):
    """What is known of a connection that was closed while idle. Times and durations are in ns.

    `is_answer`: a server ended a stream for whose end its client waits. `rest`: its idle time. `told_alone`: if no timeout is
    proved, no other rule reports the close. `what`: an index into _WORDS. `rests`: the number of idle times that this side ended
    by closing. `behind`: the closer is a gateway, which closed its connection to this server at the same moment. `silent`: the
    finding about the connection of the gateway's client covers this one. If some of them are equal and show a timeout, `equal` is
    their number, and `shortest` and `longest` are their
    range.
    """

    endpoint: int
    side: str
    confidence: str
    frame: int
    start: int
    end: int
    final_at: int
    is_answer: bool
    rest: int
    told_alone: bool
    what: int
    response_frame: int
    response_start: int
    response_status: int
    last_payload_frame: int
    last_payload_role: int | None
    close_rst: int
    close_origin: str | None
    severity: str | None
    rests: int | None
    equal: int | None
    shortest: int | None
    longest: int | None
    connection: int
    silent: bool
    behind: str | None
    behind_frame: int | None
    behind_time: int | None


def find(closes: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each connection that was closed while idle although a stream or tunnel was open on it."""
    rows = closes.filter(may_match() & c("has_request") & c("has_response") & c("both_directions")).with_columns(
        server_closed_first().alias("by_server"), _is_upgraded().alias("tunnel"), streams().alias("stream")
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
    soon = (c("what") == _WEBSOCKET) & (c("side") == "server") & (c("rest") >= SOON.value)
    return pl.concat(sides).filter((c("rest") >= REST.value) | soon)


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
    unknown = ("rests", "equal", "shortest", "longest", "behind_frame", "behind_time")
    return rows.select(
        *candidate(side, confidence(has_doubtful_close(side)), f"{side}_close_frame", "last_payload_time", f"{side}_close_time"),
        *("endpoint", "final_at"),
        (pl.lit(side == "server") & c("stream") & (c("response_framing") == "chunked") & answer_due()).alias("is_answer"),
        (c(f"{side}_close_time") - c("last_payload_time") - way).alias("rest"),
        # if no timeout is proved, truncated-response reports a truncated response
        (c("tunnel") | (c("response_framing") == "close-delimited")).alias("told_alone"),
        _kind_of_stream().alias("what"),
        *("response_frame", "response_start", "response_status", "last_payload_frame", "last_payload_role"),
        *(c(f"{side}_close_{name}").alias(f"close_{name}") for name in ("rst", "origin")),
        *(pl.lit(None, pl.String).alias(name) for name in ("severity", "behind")),
        pl.lit(value=False).alias("silent"),
        *(pl.lit(None, pl.Int64).alias(name) for name in unknown),
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
    """A connection closed while idle: the time of the close (ns), its idle time (ns), and the side that closed it."""

    end: int
    rest: int
    side: str


class _IdleCloses:
    """The closes of an endpoint's connections while they were idle, and the sorted idle times (ns) of each side."""

    def __init__(self, closes: Iterable[_IdleClose]) -> None:
        self.closes = sorted(closes)
        self.rests: dict[str, list[int]] = {}
        for rest, side in sorted((one.rest, one.side) for one in self.closes):
            self.rests.setdefault(side, []).append(rest)

    def has_other(self, end: int, rest: int) -> bool:
        """Return whether another connection was closed at the same moment after a different idle time.

        Of many closes at this moment, only the nearest REMEMBERED before and after are compared.
        """
        place = bisect_left(self.closes, (end, rest))
        first = max(bisect_left(self.closes, (end - STOP.value,)), place - REMEMBERED.value)
        last = min(bisect_left(self.closes, (end + STOP.value + 1,)), place + REMEMBERED.value)
        return any(abs(one.rest - rest) > EARLY.value for one in self.closes[first:last])


class ClosesWhileIdle(Index):
    """All connections that were closed while idle, by endpoint."""

    NEEDS: ClassVar[tuple[str, ...]] = ("endpoint", "end", "rest", "side")
    HELD: ClassVar[bool] = True

    def __init__(self, closes: Mapping[int, list[_IdleClose]]) -> None:
        self.of_endpoint = {endpoint: _IdleCloses(some) for endpoint, some in closes.items()}

    @classmethod
    def build(cls, wanted: Sequence[pl.DataFrame], tables: CaptureTables) -> ClosesWhileIdle:  # noqa: ARG003
        """Return the closes that the candidates are about (see world.Index)."""
        closes: dict[int, list[_IdleClose]] = {}
        for rows in wanted:
            for endpoint, *close in rows.iter_rows():
                closes.setdefault(endpoint, []).append(_IdleClose(*close))
        return cls(closes)


class Legs(Index):
    """The idle connections that programs closed on both sides: as a server, and at the same moment as a client of another one."""

    NEEDS: ClassVar[tuple[str, ...]] = ("connection",)
    HELD: ClassVar[bool] = True

    @classmethod
    def build(cls, wanted: Sequence[pl.DataFrame], tables: CaptureTables) -> Legs:
        """Return the pairs of closed connections (see world.Index)."""
        mine = pl.concat([rows.select("connection") for rows in wanted])["connection"].unique().implode()
        hosts = tables.connections.select("connection", "server", one_host().alias("host"))
        rows = find(tables.closes).select("connection", "side", "end", "rest", "frame").join(hosts, on="connection")
        known = rows.sort("end").tail(limits.CLIENT_REQUESTS.value).collect(engine="streaming")
        closer = pl.when(c("side") == "server").then(server_host()).otherwise("host")
        closed = known.with_columns(closer.alias("closer"))
        fronts, backs = closed.filter(c("side") == "server"), closed.filter(c("side") == "client")
        pairs = fronts.join(backs, on="closer", suffix="_behind").filter(
            (c("end") - c("end_behind")).abs() <= STOP.value,
            (c("rest") - c("rest_behind")).abs() <= c("rest") * SAME.value // 100 + SAME_NEAR.value,
            c("server") != c("server_behind"),
            c("connection").is_in(mine) | c("connection_behind").is_in(mine),
        )
        return cls(pairs.select("connection", "connection_behind", "server_behind", "frame_behind", "end_behind").rows())

    def __init__(self, legs: Iterable[tuple[Any, ...]]) -> None:
        self._behind: dict[int, tuple[str, int, int]] = {}
        self._fronts: set[int] = set()
        for front, behind, server, frame, end in legs:
            self._behind[front] = server, frame, end
            self._fronts.add(behind)

    def leg_behind(self, connection: int) -> tuple[str, int, int] | None:
        """Return the server, the frame and the time (ns) of the close behind this connection; None if there is none."""
        return self._behind.get(connection)

    def has_front(self, connection: int) -> bool:
        """Return whether the client of a connection closed another one as a server at the same moment."""
        return connection in self._fronts


ASKS = (ClosesWhileIdle, Legs)
ORDER = ("final_at", "frame")


def decide(x: Facts, world: World) -> Facts | None:
    """Compare an idle time with those of the other connections to the endpoint that were closed while idle.

    In a live capture, these are only the newest ones before this close.
    """
    closes = _closes_so_far(x, world) if world.live else world.of(ClosesWhileIdle).of_endpoint[x.endpoint]
    rests = closes.rests[x.side]
    median = rests[len(rests) // 2]
    within = max(_same(median), EARLY.value)
    first, last = bisect_left(rests, median - within), bisect_right(rests, median + within)
    equal = last - first if abs(x.rest - median) <= within else 0
    many = equal >= ENOUGH.value and equal * 100 >= len(rests) * SHARE.value
    two = x.rest >= REST.value and equal == len(closes.closes) == PAIR.value
    pair = two and rests[last - 1] - rests[first] <= _same(median)
    verdict = "high" if many else _verdict_alone(x, closes, pair=pair)
    if verdict is None:
        return None
    legs = world.of(Legs)
    behind = legs.leg_behind(x.connection) if x.side == "server" else None
    if behind is not None:
        x = x._replace(behind=behind[0], behind_frame=behind[1], behind_time=behind[2])
    x = x._replace(
        silent=x.side == "client" and legs.has_front(x.connection),
        confidence=min(verdict, x.confidence, key=("low", "medium", "high").index),
        severity="note" if verdict == "low" else "error" if x.is_answer else "warning",
        rests=len(rests),
    )
    return x._replace(equal=equal, shortest=rests[first], longest=rests[last - 1]) if many or pair else x


def _closes_so_far(x: Facts, world: World) -> _IdleCloses:
    """Remember this close. Return the newest closes of the endpoint."""
    memory: BoundedMap[deque[_IdleClose]] = world.memory.setdefault(
        "idle-cut", BoundedMap(lambda: deque[_IdleClose](maxlen=REMEMBERED.value), ENDPOINTS.value)
    )
    known = memory[x.endpoint]
    known.append(_IdleClose(x.end, x.rest, x.side))
    return _IdleCloses(known)


def _same(rest: int) -> int:
    return rest * SAME.value // 100 + SAME_NEAR.value


def _verdict_alone(x: Facts, closes: _IdleCloses, *, pair: bool) -> str | None:
    """Return the confidence in a timeout that fewer than three equal idle times show; None if nothing shows it.

    `pair`: there are only two idle times, and they are equal.
    """
    if x.side == "server" and x.rest >= REST.value and not closes.has_other(x.end, x.rest):
        rests = closes.rests[x.side]
        near = bisect_right(rests, x.rest + _same(x.rest)) - bisect_left(rests, x.rest - _same(x.rest))
        if limit_near(x.rest) is not None and near * 100 >= len(rests) * NAMED.value:
            return "high"
        if x.told_alone and not pair:
            return "low"
    return "medium" if pair else None


def words(x: Facts) -> dict[str, Any]:
    """Return the words about the stream, the close, and the timeout."""
    close, common = fin_or_rst(x.close_rst), limit_near(x.rest)
    limit = _timeout(x) if common is None else common
    sender = "client" if x.last_payload_role == 0 else "server"
    note = with_doubt(x.close_origin, f"the {x.side}'s {close}, {duration_text(x.end - x.start)} later")
    return {
        **_WORDS[x.what]._asdict(),
        "rest": Nanoseconds(x.rest),
        "limit": Nanoseconds(limit),
        # half the idle timeout, in whole seconds
        "reconnect": "" if x.is_answer else " Have clients reconnect automatically and request what they missed.",
        "often": Nanoseconds(min(max(limit // (2 * SECOND) * SECOND, SECOND), 60 * SECOND)),
        "close": "an RST" if close == "RST" else "a FIN",
        "origin": sender_of_close(x.close_origin),
        "alike": _similar_closes(x, limit),
        **({} if x.behind is None else {"addition": _BEHIND.format(x.behind), "settings": _READ_TIMEOUT}),
        "named": "" if common is None else f" {duration_text(common)} is the default of {names_of_limit(common)}.",
        "evidence": packets(
            (x.response_frame, x.response_start, f"the response, {x.response_status}"),
            (x.last_payload_frame, x.start, f"the last payload, from the {sender}"),
            (x.frame, x.end, note),
            (x.behind_frame, x.behind_time, "its host closes the connection behind it"),
        ),
    }


_BEHIND = (
    "At the same moment, the same host closed its connection to {} after the same idle time: it is a gateway, and its timeout "
    "for that server expired."
)
_READ_TIMEOUT = (
    "the read timeout of the gateway (nginx proxy_read_timeout, HAProxy timeout server, httpx: the argument timeout, "
    f"{default('httpx', 'the argument timeout')} by default, aiohttp: sock_read)"
)


def _timeout(x: Facts) -> int:
    """Return the idle timeout (ns) that the idle times show: a whole second if one is near."""
    if x.shortest is None or x.longest is None:
        return _whole_second(x.rest) or x.rest
    # data in the direction that a timer does not watch shortens the idle times, so the longest is nearest to the timeout
    least = _whole_second(x.shortest) if x.longest - x.shortest < SECOND // 2 else None
    return _whole_second(x.longest) or least or x.longest


def _whole_second(rest: int) -> int | None:
    """Return the whole second (in ns) near an idle time (ns); None if none is near."""
    nearest = (rest + SECOND // 2) // SECOND * SECOND
    return nearest if -_WHOLE_EARLY <= rest - nearest <= _WHOLE_LATE else None


def _similar_closes(x: Facts, limit: int) -> str:
    """Return the text with the number of other connections that were closed after the same idle time. `limit`: in ns."""
    if x.equal is None:
        return "" if x.severity != "note" else _NO_OTHER if x.rests == 1 else _OTHERS_DIFFER.format(x.rests)
    shortest, longest = duration_text(x.shortest or 0), duration_text(x.longest or 0)
    span = longest if shortest == longest else f"{shortest} to {longest}"
    which = f"All {x.rests}" if x.equal == x.rests else f"{x.equal} of {x.rests}"
    return (
        f" {which} idle connections that the {x.side} closed had been idle for {span}: that is a timeout of "
        f"{duration_text(limit)}."
    )


_NO_OTHER = " The capture shows no similar close: a timeout may have expired, or that side decided to close."
_OTHERS_DIFFER = (
    " The {} idle times after which that side closed connections differ: each close may have been its decision, not a timeout."
)
