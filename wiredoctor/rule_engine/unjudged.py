"""Find exchanges and connections that did not end normally and that no finding explains.

These are exchanges without a response, truncated messages, and connections that ended by a reset or without a close.

The following is normal and not reported: resets after all responses, idle connections at the end of the capture, endless
streams (event streams, tunnels) whose client leaves, and tunnels other than WebSockets that the server closes. In protocols that
cannot be read (TLS and others), a client's close or reset after the server has sent data is not reported either: the packets do
not show whether the client still waited.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Literal, NamedTuple

import polars as pl

from wiredoctor.findings import UNJUDGED, Unjudged, rfc3339, shorten
from wiredoctor.rule_engine.catalogue import RuleModule
from wiredoctor.rules.shared.attempts import one_host
from wiredoctor.rules.shared.connection_close import streams
from wiredoctor.tables import MILLISECOND, SECOND, SMALL, of_connections
from wiredoctor.text import redact
from wiredoctor.text.durations import duration_text

FIRST_REPETITION = SECOND
"""The maximum time in ns until a SYN is retransmitted for the first time (RFC 6298 section 2)."""

SILENCE = 3 * SECOND
"""The minimum time in ns from the last packet to the end of the capture if unacknowledged data, or an incomplete request, is to
count as abnormal.

A sender would have retransmitted by then (RFC 6298). If it has not, packets are missing from the capture, or the sender is gone.
"""

GOODBYE = 85
"""The length of the longest TLS alert record in bytes (5 header, 16 IV, 64 encrypted).

A client responds to the server's close with an alert (close_notify, RFC 8446 section 6.1), or in HTTP/2 with an even shorter
GOAWAY frame. Nothing is lost if the server does not read it.
"""

REPLY = 50 * MILLISECOND
"""The maximum time in ns, plus a round trip, in which a host answers a segment of a connection that it does not know."""
CLOSED_WITHIN = SECOND
"""The maximum time in ns from the SYN-ACK until a host closes an unused connection, if it did not wait for a request."""

REPEATED_WITHIN = 5 * SECOND
"""The maximum time in ns until a client repeats a request, even if it pauses for a second or two. A later one is a new request.

The time counts from the end of the connection's last response, or from the request if that is later.
"""

CLIENT_ERROR = 400
"""The lowest status of a response that rejects its request (RFC 9110 section 15.5)."""

PROBES = 2
"""The minimum number of unanswered probes of a connection without data. A single probe, or its answer, may be lost."""

HELD = 20_000
"""The maximum number of suspect exchanges or connections that are held in memory. If there are more, each query reads the tables
again.
"""

MAX_REQUEST = 200
"""The maximum number of characters of a request, as in findings."""

_REASONS = pl.Enum([*UNJUDGED])
c = pl.col


class Explained(NamedTuple):
    """The ends of connections and exchanges that findings explain.

    `connections`: for each connection, `since`, the index of an exchange; the ends of this exchange and of all later ones are
    explained (-1: of all exchanges).
    `endpoints`: rows with a client, a server or both; the ends of all connections of these endpoints are explained.
    """

    connections: pl.DataFrame
    endpoints: pl.DataFrame


def explained_keys(core: pl.DataFrame, modules: Mapping[str, RuleModule]) -> Explained:
    """Return the connections and exchanges whose ends these candidates explain.

    `core` has the columns that `resolve` adds, including the client and the server of each candidate.
    """
    if core.is_empty():
        return Explained(_NO_CONNECTIONS, _NO_ENDPOINTS)
    those = core.lazy().filter(c("rule").is_in([name for name, module in modules.items() if module.rule.ends]))
    connections = (
        those.filter(c("connection").is_not_null())
        .group_by("connection")
        .agg(c("exchange").fill_null(-1).min().cast(pl.Int64).alias("since"))
    )
    endpoints = those.filter(c("connection").is_null()).select(_host("client").alias("client_host"), "server")
    # a client that uses both loopback addresses is reported with the last one only
    endpoints = endpoints.with_columns(one_host("client_host"), one_host("server")).unique()
    endpoints = endpoints.filter(~pl.all_horizontal(c("client_host", "server").is_null()))
    return Explained(*pl.collect_all([connections, endpoints]))


_NO_CONNECTIONS = pl.DataFrame(schema={"connection": pl.Int64(), "since": pl.Int64()})
_NO_ENDPOINTS = pl.DataFrame(schema={"client_host": pl.String(), "server": pl.String()})


def _host(endpoint: str) -> pl.Expr:
    """Return an expression for an endpoint's address without its port; an address without a port stays as it is."""
    return c(endpoint).str.replace(r"^\[([^\]]*)\](?::\d+)?$", "${1}").str.replace(r"^([\d.]+):\d+$", "${1}")


def suspect_exchanges() -> pl.Expr:
    """Return a cheap filter of `exchanges` that is true for every row that `_exchanges` may report."""
    unread = ~c("has_response") | (c("response_end_reason") != "complete") | (c("request_end_reason") != "complete")
    cut = c("upgraded") & c("server_close_frame").is_not_null()  # perhaps a WebSocket; to compare texts is not cheap
    return unread | ~c("has_request") | ((c("response_status") < 200) & ~c("upgraded")) | _met_no_connection() | cut


def _met_no_connection() -> pl.Expr:
    """Return whether the client's host answered a response with an RST without ACK flag: it no longer knew the connection.

    The client may have acknowledged the response before that; only the row of the connection shows whether it did.
    """
    flagless = (c("client_close_rst") == 1) & c("client_close_ack").is_null() & c("server_close_frame").is_null()
    answer = c("client_close_time") - c("response_end")
    return (flagless & (answer >= 0) & (answer <= c("rtt_client") + REPLY)).fill_null(value=False)


def _is_cut_websocket() -> pl.Expr:
    """Return whether the server was the first to close a WebSocket, without a Close frame or with an RST right after its own."""
    is_websocket = c("upgraded") & (c("response_upgrade") == "websocket")
    by_server = c("client_close_frame").is_null() | (c("server_close_frame") < c("client_close_frame"))
    return (is_websocket & c("server_close_frame").is_not_null() & by_server & ~c("says_goodbye")).fill_null(value=False)


def suspect_connections() -> pl.Expr:
    """Return a cheap filter of `connections` that is true for every row that `_connections` may report."""
    pending = (c("client_unacknowledged") > 0) | (c("server_unacknowledged") > 0)
    one_way = (c("client_bytes") > 0) & (c("server_bytes") == 0)
    unused = (c("protocol") == "none") & ((c("syns") > 0) | (c("close") != ""))
    return pending | one_way | unused


def _of_exchanges(latest: int) -> list[pl.Expr]:
    """Return the columns to report for a suspect exchange, with the `reason` why it did not end normally; null if it did.

    `latest`: the end of the capture (ns).
    """
    last = pl.coalesce("response_end", "response_start", "request_end", "request_start")
    return [
        c("connection"),
        c("exchange").cast(pl.Int64),
        _reason(pl.lit(latest, pl.Int64) - last).cast(_REASONS).alias("reason"),
        pl.coalesce("request_frame", "response_frame").alias("frame"),
        pl.coalesce("request_start", "response_start").alias("time"),
        (~_is_answered()).alias("unanswered"),
        (pl.lit(latest, pl.Int64) - last).alias("waited"),
        pl.max_horizontal("request_start", "previous_end").alias("over"),
        pl.lit(0, pl.Int64).alias("bytes"),
        c("request_method"),
        c("request_target"),
        _may_be_lost().alias("if_unacknowledged"),
    ]


def _is_answered() -> pl.Expr:
    """Return whether an exchange has a response that is not only interim."""
    interim = (c("has_response") & (c("response_status") < 200) & ~c("upgraded")).fill_null(value=False)
    return c("has_response") & ~interim


def _is_closed() -> pl.Expr:
    """Return whether the server closed the connection, or the client reset it."""
    reset = c("client_close_rst").eq(1).fill_null(value=False) | c("client_rst_frame").is_not_null()
    return c("server_close_frame").is_not_null() | reset


def _is_left() -> pl.Expr:
    """Return whether the response is a tunnel or stream without an end of its own, and the server was not the first to close."""
    client, server = c("client_close_frame").is_not_null(), c("server_close_frame").is_not_null()
    client_first = client & (~server | (c("client_close_time") <= c("server_close_time")).fill_null(value=True))
    return (c("upgraded") | (c("response_framing") == "tunnel") | streams()) & (client_first | ~_is_closed())


def _has_gap() -> pl.Expr:
    """Return whether packets are missing from the capture, in the exchange or earlier on its connection."""
    return c("gap_before") | c("request_has_gap") | c("response_has_gap") | (c("response_end_reason") == "hole")


def _may_be_lost() -> pl.Expr:
    """Return whether the exchange is complete, but the client's host no longer knew the connection when the response came.

    The response was lost if it had not been acknowledged before; only the row of the connection shows that.
    """
    ends = (c("response_end_reason") == "complete") & (c("request_end_reason") == "complete")
    return _is_answered() & ends & ~_is_left() & c("both_directions") & ~_has_gap() & _met_no_connection()


def _needs_no_rest() -> pl.Expr:
    """Return whether the response shows that the server does not need the rest of the request, so that the client may stop.

    It announces the close or rejects the request (RFC 9112 section 9.6), and came before the client closed.
    """
    told = c("response_connection_close") | (c("response_status") >= 400)
    return (told & (c("client_close_time").is_null() | (c("client_close_time") > c("response_end")))).fill_null(value=False)


def _reason(waited: pl.Expr) -> pl.Expr:
    """Return why an exchange did not end normally; null if it did. `waited`: the time in ns from its last byte to the end of the
    capture."""
    answered = _is_answered()
    ended = c("response_end_reason") == "complete"
    asked = c("request_end_reason") == "complete"
    # a client that waited for 100 (Continue) and was refused need not send its body (RFC 9110 section 10.1.1)
    unsent = c("request_expect_continue") & (c("request_body_bytes").fill_null(0) == 0)
    asked |= (unsent & answered & ended).fill_null(value=False)
    closed, left, gap = _is_closed(), answered & _is_left(), _has_gap()
    # data from the server after everything that was parsed
    had = pl.max_horizontal("request_ack", "previous_end_offset", pl.when(c("has_response")).then("response_end_offset"))
    unread = ~answered & (c("server_close_offset") > had).fill_null(value=False)
    return (
        pl.when(_rejects_foreign_bytes())
        .then(pl.lit("request-not-http"))
        .when(((answered & ended & asked) | (left & asked)) & ~_may_be_lost() & ~_is_cut_websocket())
        .then(None)
        .when(~c("both_directions"))
        .then(pl.lit("one-sided"))
        .when(gap)
        .then(pl.lit("gap"))
        .when(_is_cut_websocket())
        .then(pl.lit("websocket-cut"))
        .when(c("request_end_reason") == "error")
        .then(pl.lit("request-unreadable"))
        .when(unread)
        .then(pl.lit("unreadable"))
        .when(~asked & closed & (c("request_framing") == "none"))
        .then(pl.lit("head-unfinished"))
        .when(~asked & closed & answered & ended & _needs_no_rest())
        .then(None)
        .when(~asked & closed)
        .then(pl.lit("request-cut-short"))
        .when(~asked & (waited >= SILENCE) & ~answered)
        .then(pl.lit("request-stopped"))
        .when(~asked)
        .then(pl.lit("request-unfinished"))
        .when(_is_doubted(answered))
        .then(pl.lit("reset-doubted"))
        .when(answered & (closed | (c("response_end_reason") != "capture-end")))
        .then(pl.lit("cut-short"))
        .when(answered)
        .then(pl.lit("response-unfinished"))
        .when(~closed)
        .then(pl.lit("no-answer"))
        .when(c("previous_announced_close"))
        .then(pl.lit("after-close-announced"))
        .otherwise(pl.lit("closed"))
    )


def _rejects_foreign_bytes() -> pl.Expr:
    """Return an expression that is true if the server's first response is an error that acknowledges bytes of the client, but
    none of these bytes is part of an HTTP/1.x request. All bytes were captured.
    """
    first = ~c("has_request") & (c("exchange") == 0) & c("handshake") & c("both_directions") & ~_has_gap()
    return (first & (c("response_status") >= CLIENT_ERROR) & (c("response_ack") > 0)).fill_null(value=False)


def _is_doubted(answered: pl.Expr) -> pl.Expr:
    """Return an expression that is true if an RST ended the exchange, but the host in its source address may not have sent it.

    There are two signs. The server continues the response after an RST with its address. Or the client's first close is an RST
    without the ACK flag: hosts answer a segment of an unknown connection like that, but programs do not close like that.

    `answered`: an expression that is true if a final response has begun.
    """
    later = (c("response_end_offset") > c("server_close_offset")) & (c("response_end") > c("server_close_time"))
    goes_on = answered & (c("server_close_rst") == 1) & later
    unknown = (c("client_close_rst") == 1) & c("client_close_ack").is_null() & c("server_close_frame").is_null()
    return (goes_on | unknown).fill_null(value=False)


def _of_connections(latest: int) -> list[pl.Expr]:
    """Return the columns to report for a suspect connection, with the `reason` why it did not end normally; null if it did.

    `latest`: the end of the capture (ns).
    """
    pending = c("client_unacknowledged") + c("server_unacknowledged")
    quiet = pl.lit(latest, pl.Int64) - c("end")
    silent = quiet >= SILENCE
    both = (c("client_packets") > 0) & (c("server_packets") > 0)
    http = (c("protocol") == "http") & (c("exchanges") > 0)
    one_way = (c("client_bytes") > 0) & (c("server_bytes") == 0)
    reset, by_server = c("close") == "rst", c("closed_by") == "server"
    nothing = c("protocol") == "none"
    at_once = (c("end") - c("first_answer_time") < CLOSED_WITHIN).fill_null(value=False)
    refused = c("refused_frame").is_not_null() & c("first_answer_frame").is_null() & ~c("connected")
    only_syns = (c("client_packets") == c("syns")) | (c("history") == "STR")
    unanswered = (c("server_packets") == 0) & only_syns & ~c("one_sided")
    never_up = ~c("connected") & (c("closed_by") == "")
    says_goodbye = (c("protocol") == "tls") | (c("protocol") == "http2")
    late = c("client_unacknowledged") > pl.when(says_goodbye).then(GOODBYE).otherwise(0)
    refused_data = (by_server | one_way) & ~reset & late & c("history").str.contains("[Rr]")
    unfinished = silent & (pending > 0) & ~c("history").str.contains("[FfRr]")
    # each of the client's packets after its SYNs answers one of the server's; the others probe it, as a closed window is probed
    probed = c("client_packets") - c("syns") - c("server_packets") >= PROBES
    reason = (
        pl.when((c("syns") > 0) & refused)
        .then(pl.lit("refused"))
        .when((c("syns") > 0) & (unanswered | (nothing & never_up & both)) & ((quiet >= FIRST_REPETITION) | (c("syns") > 1)))
        .then(pl.lit("no-connection"))
        .when(nothing & c("handshake") & (c("close") == "") & probed)
        .then(pl.lit("probes-unanswered"))
        .when(nothing)
        .then(pl.when(c("handshake") & by_server & at_once).then(pl.lit("closed-unused")))
        .when(~both)
        .then(None)
        .when(~http & one_way & by_server & (reset | (c("protocol") == "tls") | refused_data))
        .then(pl.lit("closed-unanswered"))
        .when(~http & ((reset & (one_way | (by_server & (pending > 0)))) | refused_data))
        .then(pl.lit("reset"))
        .when(silent & (pending > 0) & c("history").str.contains("[Tt]") & ~c("history").str.contains("[Rr]"))
        .then(pl.lit("silence"))
        .when(~http & unfinished)
        .then(pl.lit("breaks-off"))
    )
    return [
        c("connection"),
        pl.lit(None, pl.Int64).alias("exchange"),
        reason.cast(_REASONS).alias("reason"),
        c("last_frame").alias("frame"),
        c("end").alias("time"),
        pl.lit(value=False).alias("unanswered"),
        quiet.alias("waited"),
        c("end").alias("over"),
        pending.alias("bytes"),
        pl.lit("").alias("request_method"),
        pl.lit("").alias("request_target"),
        c("client_host"),
        c("server"),
    ]


_ENDS = (
    "connection",
    "client",
    "server",
    "closed_by",
    "close",
    "client_unseen_bytes",
    "server_unseen_bytes",
    "cut_heads",
    "server_unacknowledged",
)


def _filter_unexplained(lost: pl.LazyFrame, broken: pl.LazyFrame, connections: pl.LazyFrame, by: Explained) -> pl.LazyFrame:
    """Return the rows of exchanges (`lost`) and connections (`broken`) that no finding explains.

    If a connection has a row in the result for one of its exchanges, it gets no row of its own. A finding about the end of a
    connection explains all of its exchanges without a response. In a pipeline, only the last request shows whether the
    connection was closed.
    """
    known = by.connections.lazy()
    closed = c("closed_by").is_in(["server", "both"]) | (c("close") == "rst")
    unseen = c("client_unseen_bytes") + c("server_unseen_bytes") > 0
    pending = connections.filter(c("server_unacknowledged") > 0).select("connection").unique()
    delivered = lost.filter("if_unacknowledged").join(pending, on="connection", how="anti").select("connection", "exchange")
    lost = lost.join(delivered, on=["connection", "exchange"], how="anti").drop("if_unacknowledged")
    snapped = c("cut_heads") > 0
    facts = connections.filter(closed | unseen | snapped).select(
        "connection", closed.alias("closed"), unseen.alias("unseen"), snapped.alias("snapped")
    )
    lost = (
        lost.join(known, on="connection", how="left")
        .filter(c("since").is_null() | (~c("unanswered") & (c("exchange") < c("since"))))
        .join(facts, on="connection", how="left")
        .with_columns(_as_of_the_end().alias("reason"))
        .drop("since", "closed", "unseen", "snapped")
    )
    broken = broken.join(known, on="connection", how="anti").with_columns(one_host("client_host"), one_host("server"))
    for names in (["client_host"], ["server"], ["client_host", "server"]):
        named = pl.all_horizontal(c(name).is_not_null() == (name in names) for name in ("client_host", "server"))
        if not (those := by.endpoints.filter(named)).is_empty():
            broken = broken.join(those.lazy().select(names), on=names, how="anti")
    broken = broken.drop("client_host", "server").join(lost.select("connection").unique(), on="connection", how="anti")
    return pl.concat([lost, broken])


def _as_of_the_end() -> pl.Expr:
    """Return an expression for the reason why an exchange was not judged, revised at the end of the capture.

    By then, later packets of the connection, or other requests in its pipeline, may have shown a gap or a close. A snap length
    that cut heads of the connection is the likely reason for its gaps.
    """
    waiting = c("reason") == "no-answer"
    may_be_lost = c("reason").is_in(["no-answer", "response-unfinished", "unreadable", "websocket-cut"])
    has_gap = (c("reason") == "gap") | (may_be_lost & c("unseen").fill_null(value=False))
    return (
        pl.when(has_gap & c("snapped").fill_null(value=False))
        .then(pl.lit("snap-length", _REASONS))
        .when(has_gap)
        .then(pl.lit("gap", _REASONS))
        .when(waiting & c("closed").fill_null(value=False))
        .then(pl.lit("closed", _REASONS))
        .otherwise("reason")
    )


class Remainder(NamedTuple):
    """The exchanges and connections that no finding explains: their number for each reason, and the worst of them."""

    counts: dict[str, int]
    worst: list[Unjudged]


def unjudged(
    exchanges: pl.LazyFrame, connections: pl.LazyFrame, by: Explained, *, answers: pl.LazyFrame, hosts: pl.LazyFrame,
    counts: tuple[int, int], latest: int, most: int, file: str, first_time: int, many: bool = False,
) -> Remainder:  # fmt: skip
    """Return the exchanges and connections that no finding explains: at most `most`, sorted by reason (worst first) and frame.

    `exchanges`, `connections`: the finished rows, or those selected by `suspect_exchanges` and `suspect_connections`.
    `answers`, `hosts`: all finished rows of `exchanges` and `connections`, except rows that a live capture has dropped.
    `counts`: upper bounds for the number of rows in `exchanges` and in `connections`.
    `latest`: the end of the capture (ns).
    `file`, `first_time`: as in `resolve`.
    `many`: stream the rows.
    """
    engine = "streaming" if many else "auto"
    few = sum(counts) <= SMALL
    sources = (
        _Source(exchanges, suspect_exchanges(), partial(_of_exchanges, latest)),
        _Source(connections, suspect_connections(), partial(_of_connections, latest)),
    )
    held = [
        source.abnormal(engine) if count and not (few and source.has_none()) else None
        for count, source in zip(counts, sources, strict=True)
    ]
    if all(rows is None or rows.is_empty() for rows in held):
        return Remainder({}, [])
    ends = connections.select(_ENDS)
    lost, broken = (source.query() for source in sources)
    are_few = all(rows is None or rows.height <= HELD for rows in held)
    if are_few:
        wanted = pl.concat([rows["connection"] for rows in held if rows is not None]).unique()
        ends = ends.filter(c("connection").is_in(wanted.implode())).collect(engine=engine).lazy()
        lost, broken = (query if rows is None else rows.lazy() for rows, query in zip(held, (lost, broken), strict=True))
    left = _filter_unexplained(lost, broken, ends, by)
    of_left: Literal["auto", "streaming"] = "auto" if are_few else engine  # the streaming engine takes milliseconds to start
    if are_few:
        left = left.collect().lazy()
    repeated = _repeated(left, answers, connections, hosts, engine)
    left = left.join(repeated, on=["connection", "exchange"], how="anti", nulls_equal=True)
    by_reason = left.group_by("reason").agg(pl.len()).sort("reason").collect(engine=of_left)
    if by_reason.is_empty():
        return Remainder({}, [])
    found = left.sort("reason", "frame", "connection", "exchange", nulls_last=True).head(most).collect(engine=of_left)
    named = of_connections(ends, found).select("connection", "client", "server").collect()
    rows = found.join(named.unique("connection", keep="last"), on="connection", how="left", maintain_order="left")
    told = [_unjudged_item(row, file, first_time) for row in rows.iter_rows(named=True)]
    return Remainder({str(reason): number for reason, number in by_reason.iter_rows()}, told)


class _Source(NamedTuple):
    """A table in which abnormal ends are searched.

    `rows`: its rows. `suspects`: a cheap filter that no abnormal row fails. `columns`: returns the columns to report; it takes
    milliseconds.
    """

    rows: pl.LazyFrame
    suspects: pl.Expr
    columns: Callable[[], list[pl.Expr]]

    def has_none(self) -> bool:
        """Return whether no row is suspect."""
        return not self.rows.select(self.suspects.any()).collect(optimizations=pl.QueryOptFlags.none()).item()

    def query(self) -> pl.LazyFrame:
        """Return the rows that have a reason, in full."""
        return self.rows.filter(self.suspects).select(self.columns()).filter(c("reason").is_not_null())

    def abnormal(self, engine: Literal["auto", "streaming"]) -> pl.DataFrame:
        """Return the rows that have a reason, at most HELD + 1.

        The suspects are read first: in a single query, Polars would compute the reason of every row of the table.
        """
        needed = dict.fromkeys(name for column in self.columns() for name in column.meta.root_names())
        some = self.rows.filter(self.suspects).select(*needed).head(HELD + 1).collect(engine=engine)
        source = self._replace(rows=some.lazy()) if some.height <= HELD else self
        return source.query().head(HELD + 1).collect(engine=engine if source is self else "auto")


def _repeated(
    left: pl.LazyFrame, answers: pl.LazyFrame, connections: pl.LazyFrame, hosts: pl.LazyFrame,
    engine: Literal["auto", "streaming"],
) -> pl.LazyFrame:  # fmt: skip
    """Return the requests after an announced close that the client soon repeated successfully on another connection.

    RFC 9112 section 9.3.2 requires a client to do that, so nothing is wrong. For each request, only the next answered request of
    the same kind on another connection is examined, because the capture may contain very many of them.
    `left`, `connections`: the unjudged requests, and their connections.
    `answers`, `hosts`: all exchanges, among which are the repetitions, and the connections of these exchanges.
    """
    key = ["request_method", "request_target", "client_host", "server"]
    waiting = left.filter(c("reason") == "after-close-announced").select("connection", "exchange", "time", "over", *key[:2])
    asked = waiting.collect(engine=engine)
    if asked.is_empty():
        return asked.lazy().select("connection", "exchange")
    own, hosts = (rows.select("connection", *key[2:]).unique("connection", keep="last") for rows in (connections, hosts))
    asked = (
        asked.lazy().join(own, on="connection").with_columns(pl.struct(key).rank("dense").alias("same")).collect(engine=engine)
    )
    those = asked.lazy().select("same", *key).unique()
    answered = answers.filter(c("has_response") & (c("response_status") >= 200) & (c("request_start") > asked["time"].min()))
    again = (
        answered.select("connection", c("request_start").alias("again"), *key[:2])
        .join(hosts, on="connection")
        .join(those, on=key)
        .select("same", "connection", "again")
        .collect(engine=engine)
        .sort("again")
    )
    following = c("again").shift(-1).over("same")
    moved = c("connection") != c("connection").shift(-1).over("same")
    elsewhere = pl.when(moved).then(following).fill_null(strategy="backward").over("same")
    again = again.with_columns(elsewhere.alias("elsewhere"))
    same = asked.sort("time").join_asof(
        again, left_on="time", right_on="again", by="same", strategy="forward", allow_exact_matches=False, check_sortedness=False
    )
    first = pl.when(c("connection") != c("connection_right")).then("again").otherwise("elsewhere")
    return same.lazy().filter(first - c("over") <= REPEATED_WITHIN).select("connection", "exchange")


def _unjudged_item(row: dict[str, object], file: str, first_time: int) -> Unjudged:
    reason, time = str(row["reason"]), _as_int(row["time"])
    method = str(row["request_method"] or "")
    marked = redact.escape_around_masks(f"{redact.method(method)} {redact.target(str(row['request_target']))}") if method else ""
    request, masked = (shorten(marked.replace(redact.MASK, mask), MAX_REQUEST) or None for mask in ("*", redact.MASKED))
    message = _MESSAGES[reason]
    return Unjudged(
        capture=file,
        connection=_as_int(row["connection"]),
        exchange=None if row["exchange"] is None else _as_int(row["exchange"]),
        client=str(row["client"]),
        server=str(row["server"]),
        request=request,
        masked_request=masked if redact.MASK in marked else None,
        reason=reason,
        message=message(_as_int(row["waited"]), _as_int(row["bytes"])) if callable(message) else message,
        frame=_as_int(row["frame"]),
        time=rfc3339(first_time + time),
        elapsed=time / SECOND,
        waited=_as_int(row["waited"]) / SECOND if reason in _WAITING else None,
    )


_WAITING = (
    *("no-answer", "silence", "breaks-off", "no-connection"),
    *("request-stopped", "request-unfinished", "response-unfinished"),
)


def _as_int(value: object) -> int:
    return value if isinstance(value, int) else 0


def _bytes(number: int) -> str:
    return f"{number:,} {'byte' if number == 1 else 'bytes'}"


_MESSAGES: Mapping[str, str | Callable[[int, int], str]] = {
    "closed": "the connection was closed before a response came",
    "cut-short": "the response broke off when the connection was closed",
    "websocket-cut": "the server closed the WebSocket without a Close frame, or reset it before the client had sent one, which "
    "programs report as code 1006",
    "reset-doubted": "reset, but perhaps not by that host: it goes on sending, or the RST has no ACK flag. This is one sign of "
    "a device on the path, and foreign-reset needs two",
    "request-cut-short": "the request broke off when the connection was closed",
    "unreadable": "the server sent something that is not a readable response",
    "request-unreadable": "the end of the request cannot be determined",
    "request-not-http": "the server rejected bytes that are not an HTTP/1.x request: TLS, or another protocol, was sent to "
    "this port",
    "reset": lambda _, number: f"reset{f' while {_bytes(number)} were in transit' if number else ''}",
    "closed-unanswered": "the server closed the connection without a byte of a response",
    "silence": lambda waited, number: f"{_bytes(number)} not acknowledged, and no packet for {duration_text(waited)}",
    "breaks-off": lambda waited, number: (
        f"{_bytes(number)} neither acknowledged nor retransmitted, and no packet for "
        f"{duration_text(waited)}: packets are missing from the capture, or the sender is gone"
    ),
    "refused": "an RST answered the SYN",
    "no-connection": lambda waited, _: f"no connection was established, and no packet came for {duration_text(waited)}",
    "probes-unanswered": "the client sent nothing but probes, which the server did not answer. The SYN-ACK may have announced "
    "a window of 0: then a device answers in place of the server (a SYN proxy, a balancer) and does not reach it",
    "closed-unused": "the server closed the connection less than a second after its SYN-ACK, and nothing was sent",
    "head-unfinished": "a request head that never ended",
    "after-close-announced": "sent after the previous response had announced the close, so the client has to repeat it",
    "no-answer": lambda waited, _: f"no answer for {duration_text(waited)} when the capture ended",
    "request-stopped": lambda waited, _: (
        f"no more of the request came for {duration_text(waited)} until the capture ended: the client sent nothing, or the path "
        "loses its segments (if only full ones, because of a small path MTU). A capture at the client shows which"
    ),
    "request-unfinished": "the capture ended before the request did",
    "response-unfinished": "the capture ended before the response did",
    "gap": "some of its packets are not in the capture: they were lost on the path or while capturing",
    "snap-length": "the snap length cut off a part of its heads or of its chunk framing",
    "one-sided": "only one of its directions was captured",
}
