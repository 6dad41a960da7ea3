"""List the exchanges and connections that did not end normally (abnormal_ends.py) and that no finding explains.

These are exchanges without a response, truncated messages, and connections that ended by a reset or without a close.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Literal, NamedTuple

import polars as pl

from wiredoctor.findings import Unjudged, printable, rfc3339, shorten
from wiredoctor.rule_engine.abnormal_ends import (
    REASONS,
    abnormal_connection_columns,
    abnormal_exchange_columns,
    exchange_facts,
    suspect_connections,
    suspect_exchanges,
)
from wiredoctor.rule_engine.rule_module import RuleModule
from wiredoctor.tables import PLAN_OF_FEW, SECOND, SMALL, of_connections
from wiredoctor.text import redact
from wiredoctor.text.durations import duration_text
from wiredoctor.world.attempts import host_of, one_host

REPEATED_WITHIN = 5 * SECOND
"""The maximum time in ns until a client repeats a request. A later request counts as a new request.

The maximum allows for clients that pause for a second or two before they repeat a request. The time counts from the end of the
connection's last response, or from the request if that is later.
"""

HELD = 20_000
"""The maximum number of suspect exchanges or connections that are held in memory. If there are more, each query reads the tables
again.
"""

MAX_REQUEST = 200
"""The maximum number of characters that are kept of a request's method and target, as in findings."""

c = pl.col


class Explained(NamedTuple):
    """The ends of connections and exchanges that findings explain.

    `connections`: rows with a connection and a list of indexes. The ends of the connection's exchanges with these indexes (-1:
    of all its exchanges), and of all its exchanges without a response, are explained.
    `endpoints`: rows with a client, a server or both; the ends of all connections of these endpoints are explained.
    """

    connections: pl.DataFrame
    endpoints: pl.DataFrame


def explained_keys(core: pl.DataFrame, modules: Mapping[str, RuleModule]) -> Explained:
    """Return the connections and exchanges whose end is explained by one of the candidates in `core`.

    `core` has the columns that `resolve` adds, including the client and the server of each candidate.
    """
    ending = [name for name, module in modules.items() if module.rule.ends]
    if core.is_empty() or not core["rule"].is_in(ending).any():
        return Explained(_NO_CONNECTIONS, _NO_ENDPOINTS)
    those = core.lazy().filter(c("rule").is_in(ending))
    connections = (
        those.filter(c("connection").is_not_null())
        .group_by("connection")
        .agg(c("exchange").fill_null(-1).cast(pl.Int64).alias("explained"))
    )
    endpoints = those.filter(c("connection").is_null()).select(host_of("client").alias("client_host"), "server")
    # a client that uses both loopback addresses is reported with the last one only
    endpoints = endpoints.with_columns(one_host("client_host"), one_host("server")).unique()
    endpoints = endpoints.filter(~pl.all_horizontal(c("client_host", "server").is_null()))
    return Explained(*pl.collect_all([connections, endpoints]))


_NO_CONNECTIONS = pl.DataFrame(schema={"connection": pl.Int64(), "explained": pl.List(pl.Int64())})
_NO_ENDPOINTS = pl.DataFrame(schema={"client_host": pl.String(), "server": pl.String()})


_ENDS = (
    *("connection", "client", "server", "closed_by", "close", "client_unseen_bytes", "server_unseen_bytes", "cut_heads"),
    "altered",
    "server_unacknowledged",
)


def _filter_unexplained(
    lost: pl.LazyFrame, broken: pl.LazyFrame, connections: pl.LazyFrame, by: Explained, overwritten_until: int | None
) -> pl.LazyFrame:
    """Return the rows of exchanges (`lost`) and connections (`broken`) that no finding explains.

    If a connection has a row in the result for one of its exchanges, it gets no row of its own. A finding about the end of a
    connection explains all of its exchanges without a response. In a pipeline, only the last request shows whether the
    connection was closed. A response that broke off is explained only by a finding about its exchange, or about the connection
    as a whole: a fault in an earlier head does not lose a later response. `overwritten_until`: as in `unjudged`.
    """
    known = by.connections.lazy()
    closed = c("closed_by").is_in(["server", "both"]) | (c("close") == "rst")
    unseen = c("client_unseen_bytes") + c("server_unseen_bytes") > 0
    pending = connections.filter(c("server_unacknowledged") > 0).select("connection").unique()
    delivered = lost.filter("if_unacknowledged").join(pending, on="connection", how="anti").select("connection", "exchange")
    lost = lost.join(delivered, on=["connection", "exchange"], how="anti").drop("if_unacknowledged")
    snapped, altered = c("cut_heads") > 0, c("altered") > 0
    facts = connections.filter(closed | unseen | snapped | altered).select(
        "connection", closed.alias("closed"), unseen.alias("unseen"), snapped.alias("snapped"), altered.alias("changed")
    )
    lost = (
        lost.join(known, on="connection", how="left")
        .filter(c("explained").is_null() | (~c("unanswered") & ~_is_among_explained()))
        .join(facts, on="connection", how="left")
        .with_columns(_as_of_the_end(overwritten_until).alias("reason"))
        .drop("explained", "closed", "unseen", "snapped", "changed")
    )
    broken = broken.join(known, on="connection", how="anti").with_columns(one_host("client_host"), one_host("server"))
    for names in (["client_host"], ["server"], ["client_host", "server"]):
        named = pl.all_horizontal(c(name).is_not_null() == (name in names) for name in ("client_host", "server"))
        if not (those := by.endpoints.filter(named)).is_empty():
            broken = broken.join(those.lazy().select(names), on=names, how="anti")
    broken = broken.drop("client_host", "server").join(lost.select("connection").unique(), on="connection", how="anti")
    return pl.concat([lost, broken])


def _is_among_explained() -> pl.Expr:
    return c("explained").list.contains(c("exchange")) | c("explained").list.contains(-1)


def _as_of_the_end(overwritten_until: int | None) -> pl.Expr:
    """Return an expression for the reason why an exchange was not judged, revised at the end of the capture.

    By then, later packets of the connection, or other requests in its pipeline, may have shown a gap or a close. A snap length
    that cut heads of the connection is the likely reason for its gaps. If the capture changed packets, that explains everything.
    `overwritten_until`: as in `unjudged`.
    """
    unseen = c("unseen").fill_null(value=False)
    if overwritten_until is not None:
        unseen |= c("time") < overwritten_until
    waiting = c("reason") == "no-answer"
    tunnels = ["websocket-cut", "tunnel-unanswered", "tunnel-reset"]
    may_be_lost = c("reason").is_in(["no-answer", "response-unfinished", "unreadable", *tunnels])
    has_gap = (c("reason") == "gap") | (may_be_lost & unseen)
    return (
        pl.when(c("changed").fill_null(value=False))
        .then(pl.lit("altered", REASONS))
        .when(has_gap & c("snapped").fill_null(value=False))
        .then(pl.lit("snap-length", REASONS))
        .when(has_gap)
        .then(pl.lit("gap", REASONS))
        .when(waiting & c("closed").fill_null(value=False))
        .then(pl.lit("closed", REASONS))
        .otherwise("reason")
    )


class Remainder(NamedTuple):
    """The exchanges and connections that no finding explains: their number for each reason, and the worst of them."""

    counts: dict[str, int]
    worst: list[Unjudged]


def unjudged(
    exchanges: pl.LazyFrame, connections: pl.LazyFrame, by: Explained, *, answers: pl.LazyFrame, hosts: pl.LazyFrame,
    counts: tuple[int, int], latest: int, overwritten_until: int | None = None, most: int, file: str, first_time: int,
    many: bool = False,
) -> Remainder:  # fmt: skip
    """Return the exchanges and connections that no finding explains: at most `most`, sorted by reason (worst first) and frame.

    `exchanges`, `connections`: the finished rows, or those selected by `suspect_exchanges` and `suspect_connections`.
    `answers`, `hosts`: all finished rows of `exchanges` and `connections`, except rows that a live capture has dropped.
    `counts`: upper bounds for the number of rows in `exchanges` and in `connections`.
    `latest`: the end of the capture (ns). `overwritten_until`: the time (ns) of the first packet after the last ones that a ring
    overwrote; None if there are none. What an exchange still waits for from an earlier time on may have been overwritten.
    `file`, `first_time`: as in `resolve`.
    `many`: stream the rows.
    """
    engine = "streaming" if many else "auto"
    few = sum(counts) <= SMALL
    rows, own = exchanges, connections
    if few and by.connections.height:  # with luck, nothing is left, so the reasons need not be planned
        of_first = by.connections.filter(c("explained").list.min() <= 0)["connection"].implode()
        rows = rows.filter(~(c("connection").is_in(of_first) & (~c("has_response") | (c("exchange") == 0))))
        own = own.filter(~c("connection").is_in(by.connections["connection"].implode()))
    sources = (
        _Source(rows, suspect_exchanges(), cache(exchange_facts), cache(partial(abnormal_exchange_columns, latest))),
        _Source(own, suspect_connections(), list, cache(partial(abnormal_connection_columns, latest))),
    )
    held = [
        source.abnormal(engine, few=few) if count and not (few and source.has_none()) else None
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
    left = _filter_unexplained(lost, broken, ends, by, overwritten_until)
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
    """A table that is searched for abnormal ends.

    `rows`: its rows. `suspects`: a cheap filter that is true for every abnormal row. `columns`: a function that returns the
    columns to report; a call takes milliseconds. `facts`: a function that returns columns that these columns need.
    """

    rows: pl.LazyFrame
    suspects: pl.Expr
    facts: Callable[[], list[pl.Expr]]
    columns: Callable[[], list[pl.Expr]]

    def has_none(self) -> bool:
        """Return whether no row is suspect."""
        return not self.rows.select(self.suspects.any()).collect(optimizations=PLAN_OF_FEW).item()

    def query(self) -> pl.LazyFrame:
        """Return a query for the exchanges and connections that ended abnormally, with all columns to report."""
        suspects = self.rows.filter(self.suspects).with_columns(self.facts())
        return suspects.select(self.columns()).filter(c("reason").is_not_null())

    def abnormal(self, engine: Literal["auto", "streaming"], *, few: bool) -> pl.DataFrame:
        """Return the rows that ended abnormally, at most HELD + 1.

        Unless `few` is true, the suspects are read first: in a single query, Polars would compute the reason of every row.
        """
        if few:
            return self.query().collect(optimizations=PLAN_OF_FEW)
        facts = {fact.meta.output_name() for fact in self.facts()}
        read = (name for column in (*self.facts(), *self.columns()) for name in column.meta.root_names())
        needed = dict.fromkeys(name for name in read if name not in facts)
        some = self.rows.filter(self.suspects).select(*needed).head(HELD + 1).collect(engine=engine)
        if some.height <= HELD:
            return self._replace(rows=some.lazy()).query().collect(optimizations=PLAN_OF_FEW)
        return self.query().head(HELD + 1).collect(engine=engine)


def _repeated(
    left: pl.LazyFrame, answers: pl.LazyFrame, connections: pl.LazyFrame, hosts: pl.LazyFrame,
    engine: Literal["auto", "streaming"],
) -> pl.LazyFrame:  # fmt: skip
    """Return the requests that came after an announced close and that the client soon repeated successfully on another
    connection.

    RFC 9112 section 9.3.2 requires a client to do that, so nothing is wrong. For each request, only the next answered request of
    the same kind on another connection is examined, because there may be very many such requests.
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
    request = printable(f"{redact.method(method)} {redact.target(str(row['request_target']))}") if method else ""
    message = _MESSAGES[reason]
    idle = row["idle"] if reason in _CUT else None
    return Unjudged(
        capture=file,
        connection=_as_int(row["connection"]),
        exchange=None if row["exchange"] is None else _as_int(row["exchange"]),
        client=str(row["client"]),
        server=str(row["server"]),
        request=shorten(request, MAX_REQUEST) or None,
        reason=reason,
        message=message(_as_int(row["waited"]), _as_int(row["bytes"])) if callable(message) else message,
        frame=_as_int(row["frame"]),
        time=rfc3339(first_time + time),
        elapsed=time / SECOND,
        waited=_as_int(row["waited"]) / SECOND if reason in _WAITING else None,
        idle=idle / SECOND if isinstance(idle, int) else None,
    )


_WAITING = (
    *("no-answer", "hello-unanswered", "silence", "breaks-off", "syn-ack-lost", "no-connection"),
    *("request-stopped", "request-unfinished", "response-unfinished"),
)
_CUT = ("websocket-cut", "tunnel-reset", "cut-short")


def _as_int(value: object) -> int:
    return value if isinstance(value, int) else 0


def _bytes(number: int) -> str:
    return f"{number:,} {'byte' if number == 1 else 'bytes'}"


_MESSAGES: Mapping[str, str | Callable[[int, int], str]] = {
    "closed": "the connection was closed before a response came",
    "cut-short": "the response broke off when the connection was closed",
    "websocket-cut": "the server closed the WebSocket without a Close frame, or reset it before the client had sent its Close "
    "frame. Programs report both as code 1006",
    "tunnel-unanswered": "the tunnel was closed, and no data from the server had come through it",
    "tunnel-reset": "the server reset the tunnel, and the packets do not show why",
    "reset-doubted": "reset, but perhaps not by the host in the source address: this host goes on sending, or the RST has no ACK "
    "flag (its sender does not know the connection) or does not fit the host's other packets (TTL, IP identification, time). "
    "This is one sign of a device on the path, and foreign-reset needs two",
    "request-cut-short": "the request broke off when the connection was closed",
    "unreadable": "the server sent something that is not a readable response",
    "request-unreadable": "the end of the request cannot be determined",
    "request-not-http": "the server rejected bytes that are not an HTTP/1.x request: TLS, or another protocol, was sent to "
    "this port",
    "head-awaited": "the server rejected a request before its head had arrived completely",
    "reset": lambda _, number: f"reset{f' while {_bytes(number)} were in transit' if number else ''}",
    "closed-unanswered": "the server closed the connection without a byte of a response",
    "hello-unanswered": "the server's kernel acknowledged the first message of TLS or HTTP/2, but no program answered it",
    "silence": lambda waited, number: f"{_bytes(number)} not acknowledged, and no packet for {duration_text(waited)}",
    "breaks-off": lambda waited, number: (
        f"{_bytes(number)} neither acknowledged nor retransmitted, and no packet for "
        f"{duration_text(waited)}: packets are missing from the capture, or the sender is gone"
    ),
    "server-reset": "the server reset the connection, and the packets do not show whether anything was in progress",
    "refused": "an RST answered the SYN",
    "syn-ack-lost": "the client repeated its SYN although the server had answered it more than once. The client gets no SYN-ACK "
    "that it accepts: the SYN-ACK is dropped or rejected by a firewall, is lost on another path, or comes from an address to "
    "which the client sent no SYN (DNAT of one direction only)",
    "no-connection": lambda waited, _: f"no connection was established, and no packet came for {duration_text(waited)}",
    "probes-unanswered": "the client sent nothing but probes, which the server did not answer. The SYN-ACK may have announced "
    "a window of 0: in that case, a SYN proxy or load balancer answered in place of the server and cannot reach the server",
    "closed-unused": "the server closed the connection less than a second after its SYN-ACK, and nothing was sent",
    "head-unfinished": "a request head that never ended",
    "after-close-announced": "sent after the previous response had announced the close, so the client has to repeat it",
    "no-answer": lambda waited, _: f"no answer for {duration_text(waited)} when the capture ended",
    "request-stopped": lambda waited, _: (
        f"no more of the request came for {duration_text(waited)} until the capture ended: the client sent nothing, or the path "
        "loses its segments (only full ones, if the path MTU is too small). A capture at the client shows which"
    ),
    "request-unfinished": "the capture ended before the request did",
    "response-unfinished": "the capture ended before the response did",
    "gap": "some packets are missing from the capture: they were lost on the path or while capturing",
    "snap-length": "the snap length cut off a part of the heads or of the chunk framing",
    "altered": "the capture changed the bytes of packets, as their checksums show",
    "one-sided": "only one direction was captured",
}
