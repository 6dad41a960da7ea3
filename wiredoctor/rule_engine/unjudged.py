"""What did not end as it should and is explained by no finding: exchanges without an answer, messages that were cut short,
connections that ended by a reset or in silence.

Normal are, and are not asked for: resets after everything was answered, connections that rest when the capture ends, streams
without an end (event streams, tunnels) whose client leaves, and of what cannot be read (TLS, other protocols) a client's reset
after the server has sent something: whether it still waited is not in the packets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

import polars as pl

from wiredoctor.findings import UNJUDGED, Unjudged, printable, rfc3339, shorten
from wiredoctor.rule_engine.catalogue import RuleModule
from wiredoctor.rules.shared.attempts import one_host
from wiredoctor.rules.shared.connection_close import streams
from wiredoctor.tables import SECOND
from wiredoctor.text import redact
from wiredoctor.text.durations import duration_text

FIRST_REPETITION = SECOND
"""After a SYN: it is repeated by then (RFC 6298 section 2)."""

SILENCE = 3 * SECOND
"""Between the last packet of a connection and the end of the capture: what is acknowledged at all is acknowledged sooner. A
sender that is still there has repeated it (RFC 6298): where it has not, the capture lacks packets."""

AT_ONCE = SECOND
"""After the SYN-ACK: who closes a connection sooner, on which nothing was sent, did not wait for it to be used."""

HELD = 20_000
"""Exchanges, or connections, that are looked at in memory: fewer scans. Of more, each query scans all rows."""

MOST_REQUEST = 200
"""Characters of a request, as in findings."""

_REASONS = pl.Enum([*UNJUDGED])
c = pl.col


class Explained(NamedTuple):
    """What findings say of ends. `connections`: from which exchange on each is explained (null: as a whole). `endpoints`: client,
    server or both of the connections that summaries name."""

    connections: pl.DataFrame
    endpoints: pl.DataFrame


def explained(core: pl.DataFrame, modules: Mapping[str, RuleModule]) -> Explained:
    """Return what these candidates explain; columns of settling, with the endpoints of each."""
    if core.is_empty():
        return Explained(_NO_CONNECTIONS, _NO_ENDPOINTS)
    those = core.filter(c("rule").is_in([name for name, module in modules.items() if module.rule.ends]))
    connections = (
        those.filter(c("connection").is_not_null())
        .group_by("connection")
        .agg(c("exchange").fill_null(-1).min().cast(pl.Int64).alias("since"))
    )
    endpoints = those.filter(c("connection").is_null()).select(_host("client").alias("client_host"), "server")
    # who asks both addresses of the host itself is told of the last one only
    endpoints = endpoints.with_columns(one_host("client_host"), one_host("server")).unique()
    return Explained(connections, endpoints.filter(~pl.all_horizontal(c("client_host", "server").is_null())))


_NO_CONNECTIONS = pl.DataFrame(schema={"connection": pl.Int64(), "since": pl.Int64()})
_NO_ENDPOINTS = pl.DataFrame(schema={"client_host": pl.String(), "server": pl.String()})


def _host(endpoint: str) -> pl.Expr:
    """An address without its port."""
    return c(endpoint).str.replace(r"^\[?([0-9A-Fa-f:]+?)\]?$", "${1}").str.replace(r":\d+$", "").str.strip_chars("[]")


def suspect_exchanges() -> pl.Expr:
    """True on each row of `exchanges` of which `_exchanges` may speak: cheap, for all of them."""
    unread = ~c("has_response") | (c("response_end_reason") != "complete") | (c("request_end_reason") != "complete")
    return unread | ((c("response_status") < 200) & ~c("upgraded"))


def suspect_connections() -> pl.Expr:
    """The same of `connections`."""
    pending = (c("client_unacknowledged") > 0) | (c("server_unacknowledged") > 0)
    one_way = (c("client_bytes") > 0) & (c("server_bytes") == 0)
    unused = (c("protocol") == "none") & ((c("syns") > 0) | (c("close") != ""))
    return pending | one_way | unused


def _exchanges(exchanges: pl.LazyFrame, latest: int) -> pl.LazyFrame:
    """A row per exchange that did not end as it should, with the reason, or null where it ended as usual after all."""
    interim = (c("has_response") & (c("response_status") < 200) & ~c("upgraded")).fill_null(value=False)
    answered = c("has_response") & ~interim
    ended = c("response_end_reason") == "complete"
    asked = c("request_end_reason") == "complete"
    client, server = c("client_close_frame").is_not_null(), c("server_close_frame").is_not_null()
    reset = c("client_close_rst").eq(1).fill_null(value=False) | c("client_rst_frame").is_not_null()
    closed = server | reset
    client_first = client & (~server | (c("client_close_time") <= c("server_close_time")).fill_null(value=True))
    endless = c("upgraded") | (c("response_framing") == "tunnel") | streams()
    left = answered & endless & (client_first | ~closed)
    # what the server sent behind all that was understood of it
    had = pl.max_horizontal("request_ack", "previous_end_offset", pl.when(c("has_response")).then("response_end_offset"))
    unread = ~answered & (c("server_close_offset") > had).fill_null(value=False)
    gap = c("hole_before") | c("request_has_hole") | c("response_has_hole") | (c("response_end_reason") == "hole")
    reason = (
        pl.when((answered & ended & asked) | (left & asked))
        .then(None)
        .when(~c("both_directions"))
        .then(pl.lit("one-sided"))
        .when(gap)
        .then(pl.lit("gap"))
        .when(c("request_end_reason") == "error")
        .then(pl.lit("request-unreadable"))
        .when(unread)
        .then(pl.lit("unreadable"))
        .when(~asked & closed & (c("request_framing") == "none"))
        .then(pl.lit("head-unfinished"))
        .when(~asked & closed)
        .then(pl.lit("request-cut-short"))
        .when(~asked)
        .then(pl.lit("request-unfinished"))
        .when(answered & (closed | (c("response_end_reason") != "capture-end")))
        .then(pl.lit("cut-short"))
        .when(answered)
        .then(pl.lit("response-unfinished"))
        .when(~closed)
        .then(pl.lit("no-answer"))
        .when(c("previous_close"))
        .then(pl.lit("after-close-announced"))
        .otherwise(pl.lit("closed"))
    )
    last = pl.coalesce("response_end", "response_start", "request_end", "request_start")
    return exchanges.filter(suspect_exchanges()).select(
        "connection",
        c("exchange").cast(pl.Int64),
        reason.cast(_REASONS).alias("reason"),
        pl.coalesce("request_frame", "response_frame").alias("frame"),
        pl.coalesce("request_start", "response_start").alias("time"),
        (~answered).alias("unanswered"),
        (pl.lit(latest, pl.Int64) - last).alias("waited"),
        pl.lit(0, pl.Int64).alias("bytes"),
        "request_method",
        "request_target",
    )


def _connections(connections: pl.LazyFrame, latest: int) -> pl.LazyFrame:
    """The same per connection."""
    pending = c("client_unacknowledged") + c("server_unacknowledged")
    quiet = pl.lit(latest, pl.Int64) - c("end")
    silent = quiet >= SILENCE
    both = (c("client_packets") > 0) & (c("server_packets") > 0)
    http = (c("protocol") == "http") & (c("exchanges") > 0)
    one_way = (c("client_bytes") > 0) & (c("server_bytes") == 0)
    reset, by_server = c("close") == "rst", c("closed_by") == "server"
    nothing = c("protocol") == "none"
    at_once = (c("end") - c("first_answer_time") < AT_ONCE).fill_null(value=False)
    refused = c("refused_frame").is_not_null() & c("first_answer_frame").is_null() & ~c("connected")
    unanswered = (c("server_packets") == 0) & (c("client_packets") == c("syns")) & ~c("one_sided")
    never_up = c("first_answer_frame").is_not_null() & ~c("connected") & (c("closed_by") == "")
    reason = (
        pl.when((c("syns") > 0) & refused)
        .then(pl.lit("refused"))
        .when((c("syns") > 0) & nothing & (unanswered | (never_up & both)) & ((quiet >= FIRST_REPETITION) | (c("syns") > 1)))
        .then(pl.lit("no-connection"))
        .when(nothing)
        .then(pl.when(c("handshake") & by_server & at_once).then(pl.lit("closed-unused")))
        .when(~both)
        .then(None)
        .when(~http & one_way & by_server & (reset | (c("protocol") == "tls")))
        .then(pl.lit("closed-unanswered"))
        .when(~http & reset & (one_way | (by_server & (pending > 0))))
        .then(pl.lit("reset"))
        .when(silent & (pending > 0) & c("history").str.contains("[Tt]") & ~c("history").str.contains("[Rr]"))
        .then(pl.lit("silence"))
    )
    return connections.filter(suspect_connections()).select(
        "connection",
        pl.lit(None, pl.Int64).alias("exchange"),
        reason.cast(_REASONS).alias("reason"),
        c("last_frame").alias("frame"),
        c("end").alias("time"),
        pl.lit(value=False).alias("unanswered"),
        quiet.alias("waited"),
        pending.alias("bytes"),
        pl.lit("").alias("request_method"),
        pl.lit("").alias("request_target"),
        one_host("client_host"),
        one_host("server"),
    )


_ENDS = ("connection", "client", "server", "closed_by", "close", "client_unseen_bytes", "server_unseen_bytes")


def _unexplained(lost: pl.LazyFrame, broken: pl.LazyFrame, connections: pl.LazyFrame, by: Explained) -> pl.LazyFrame:
    """All that is neither as it should be nor explained. An exchange speaks for its connection.

    What ended a connection explains all that was not answered on it. Of requests in a pipeline the last tells whether it was
    closed.
    """
    known = by.connections.lazy()
    closed = c("closed_by").is_in(["server", "both"]) | (c("close") == "rst")
    unseen = c("client_unseen_bytes") + c("server_unseen_bytes") > 0
    facts = connections.filter(closed | unseen).select("connection", closed.alias("closed"), unseen.alias("unseen"))
    lost = (
        lost.join(known, on="connection", how="left")
        .filter(c("since").is_null() | (~c("unanswered") & (c("exchange") < c("since"))))
        .join(facts, on="connection", how="left")
        .with_columns(_as_of_the_end().alias("reason"))
        .drop("since", "closed", "unseen")
    )
    broken = broken.join(known, on="connection", how="anti")
    for names in (["client_host"], ["server"], ["client_host", "server"]):
        named = pl.all_horizontal(c(name).is_not_null() == (name in names) for name in ("client_host", "server"))
        if not (those := by.endpoints.filter(named)).is_empty():
            broken = broken.join(those.lazy().select(names), on=names, how="anti")
    broken = broken.drop("client_host", "server").join(lost.select("connection").unique(), on="connection", how="anti")
    return pl.concat([lost, broken])


def _as_of_the_end() -> pl.Expr:
    """The reason, where the connection tells more than the exchange: its later packets, and those of others in the pipeline."""
    waiting = c("reason") == "no-answer"
    return (
        pl.when((waiting | (c("reason") == "response-unfinished")) & c("unseen").fill_null(value=False))
        .then(pl.lit("gap", _REASONS))
        .when(waiting & c("closed").fill_null(value=False))
        .then(pl.lit("closed", _REASONS))
        .otherwise("reason")
    )


class Left(NamedTuple):
    """What is not explained: how much there is of each reason, and the worst of it."""

    counts: dict[str, int]
    worst: list[Unjudged]


def unjudged(
    exchanges: pl.LazyFrame, connections: pl.LazyFrame, by: Explained, *, latest: int, most: int, file: str, first_time: int,
    many: bool = False,
) -> Left:  # fmt: skip
    """Return what no finding explains, at most so many of it, the worst reasons first, then by time.

    exchanges, connections: finished rows, or those of which `suspect_exchanges` and `suspect_connections` are true. `latest`: the
    end of the capture. `file` and `first_time` as in settling. `many`: so many rows that they are read piece by piece.
    """
    engine = "streaming" if many else "auto"
    suspects = max(_count(exchanges, suspect_exchanges(), engine), _count(connections, suspect_connections(), engine))
    if not suspects:
        return Left({}, [])
    lost, broken = (
        rows.filter(c("reason").is_not_null()) for rows in (_exchanges(exchanges, latest), _connections(connections, latest))
    )
    ends = connections.select(_ENDS)
    if suspects <= HELD:
        held = [rows.collect(engine=engine) for rows in (lost, broken)]
        wanted = pl.concat([rows["connection"] for rows in held]).unique()
        ends = ends.filter(c("connection").is_in(wanted.implode())).collect(engine=engine).lazy()
        lost, broken = (rows.lazy() for rows in held)
    left = _unexplained(lost, broken, ends, by)
    counts = left.group_by("reason").agg(pl.len()).sort("reason").collect(engine=engine)
    if counts.is_empty():
        return Left({}, [])
    found = left.sort("reason", "frame", "connection", "exchange", nulls_last=True).head(most).collect()
    named = ends.select("connection", "client", "server").join(found.lazy(), on="connection", how="semi").collect()
    rows = found.join(named.unique("connection", keep="last"), on="connection", how="left", maintain_order="left")
    told = [_told(row, file, first_time) for row in rows.iter_rows(named=True)]
    return Left({str(reason): number for reason, number in counts.iter_rows()}, told)


def _count(rows: pl.LazyFrame, suspect: pl.Expr, engine: Literal["auto", "streaming"]) -> int:
    """How much there is to look at: of healthy traffic only these few columns are made."""
    return int(rows.select(suspect.sum()).collect(engine=engine).item() or 0)


def _told(row: dict[str, object], file: str, first_time: int) -> Unjudged:
    reason, time = str(row["reason"]), _whole(row["time"])
    method = str(row["request_method"] or "")
    request = printable(f"{redact.method(method)} {redact.target(str(row['request_target']))}") if method else None
    message = _MESSAGES[reason]
    return Unjudged(
        capture=file,
        connection=_whole(row["connection"]),
        exchange=None if row["exchange"] is None else _whole(row["exchange"]),
        client=str(row["client"]),
        server=str(row["server"]),
        request=request and shorten(request, MOST_REQUEST),
        reason=reason,
        message=message(_whole(row["waited"]), _whole(row["bytes"])) if callable(message) else message,
        frame=_whole(row["frame"]),
        time=rfc3339(first_time + time),
        elapsed=time / SECOND,
        waited=_whole(row["waited"]) / SECOND if reason in _WAITING else None,
    )


_WAITING = ("no-answer", "silence", "no-connection", "request-unfinished", "response-unfinished")


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 0


def _bytes(number: int) -> str:
    return f"{number:,} {'byte' if number == 1 else 'bytes'}"


_MESSAGES: Mapping[str, str | Callable[[int, int], str]] = {
    "closed": "the connection was closed before an answer came",
    "cut-short": "the response broke off when the connection was closed",
    "request-cut-short": "the request broke off when the connection was closed",
    "unreadable": "what came is no response that can be read",
    "request-unreadable": "where the request ends cannot be read",
    "reset": lambda _, number: f"reset{f' while {_bytes(number)} were under way' if number else ''}",
    "closed-unanswered": "the server closed it without a byte of an answer",
    "silence": lambda waited, number: f"{_bytes(number)} not acknowledged, and no packet for {duration_text(waited)}",
    "refused": "an RST answered the SYN",
    "no-connection": lambda waited, _: f"no connection was established, and no packet came for {duration_text(waited)}",
    "closed-unused": "the server closed it less than a second after its SYN-ACK, and nothing was sent",
    "head-unfinished": "a request head that never ended",
    "after-close-announced": "sent when the response before it had announced the close: the client has to repeat it",
    "no-answer": lambda waited, _: f"no answer for {duration_text(waited)} when the capture ended",
    "request-unfinished": "the capture ended before the request did",
    "response-unfinished": "the capture ended before the response did",
    "gap": "packets of it are missing in the capture",
    "one-sided": "the capture has only one direction of it",
}
