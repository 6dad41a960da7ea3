"""What one client did on its other connections: what else it asked for, and what else it closed.

Rules about a client that left, or that repeats what was lost, share this: the requests of the hosts in question are looked at
once, for all of them. The same client is the same host with the same User-Agent; 127.0.0.1 and ::1 are one host. Behind a gateway
X-Forwarded-For must be the same, too; one whose requests carry none has many users, who look alike.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

import polars as pl

from wiredoctor.findings import Threshold
from wiredoctor.rules.shared.evidence import EVIDENCE
from wiredoctor.tables import CLOSES, CONNECTIONS, EXCHANGES, SECOND
from wiredoctor.text.durations import duration_text

WINDOW = 5 * SECOND
"""What a client does so long before or after it has closed a connection may say why it did."""
AGAIN = Threshold("100 ms", "and two round trips: a client that repeats a lost request does so in one step")
FAILED = 500
"""From this status on an answer is a failure, too."""
MOST = 100_000
"""Requests of a client that are looked at, the newest."""
_BUCKET = 16 * SECOND

Who = tuple[str, str, str]
"""Host, User-Agent, X-Forwarded-For."""


class Request(NamedTuple):
    """A request of a client: when it began (ns), where, what it asked for, and when and with what status it was answered."""

    start: int
    connection: int
    exchange: int
    frame: int
    method: str
    host: str
    target: str
    navigation: bool
    range_start: int | None
    answered: int | None
    status: int | None

    @property
    def path(self) -> str:
        """Its target without the query."""
        return self.target.partition("?")[0]

    def asks_the_same(self, other: Request) -> bool:
        """Whether both ask for one thing."""
        return (self.method, self.host, self.target) == (other.method, other.host, other.target)


class Close(NamedTuple):
    """A connection that its client closed: when (ns), which, and how long its answer had been due (None: nothing was)."""

    time: int
    connection: int
    frame: int
    server: str
    waited: int | None


class Clients:
    """The clients of some candidates. Made of `closes`, `exchanges` and `connections`, see `known_clients`."""

    def __init__(self, requests: pl.DataFrame, closes: pl.DataFrame, opened: pl.DataFrame, gateways: Collection[int]) -> None:
        self._asked: dict[Who, list[Request]] = {}
        self._who: dict[int, str] = {}
        self._server: dict[int, str] = {}
        self._by_place: dict[tuple[int, int], tuple[Who, Request]] = {}
        self._sent: dict[tuple[str, str], list[int]] = {}
        self._closed: dict[str, list[Close]] = {}
        self._longest: dict[tuple[Who, str, str, str], list[tuple[int, int]]] | None = None
        for connection, host, server, start in opened.iter_rows():
            self._who[connection], self._server[connection] = host, server
            self._sent.setdefault((host, server), []).append(start)
        for agent, forwarded, via_gateway, *row in requests.iter_rows():
            self._add(Request(*row), agent, forwarded, many=via_gateway or row[1] in gateways)
        for times in self._sent.values():
            times.sort()
        for time, connection, frame, waited in closes.sort("time", "connection").iter_rows():
            if connection in self._who:
                close = Close(time, connection, frame, self._server[connection], waited)
                self._closed.setdefault(self._who[connection], []).append(close)

    def _add(self, request: Request, agent: str, forwarded: str, *, many: bool) -> None:
        host = self._who.get(request.connection)
        if host is None:
            return
        self._sent.setdefault((host, self._server[request.connection]), []).append(request.start)
        who = (host, agent, forwarded)
        self._by_place[request.connection, request.exchange] = who, request
        if not many or forwarded:
            self._asked.setdefault(who, []).append(request)

    def request(self, connection: int, exchange: int) -> Request | None:
        """The request of a candidate; None where it is not known."""
        found = self._by_place.get((connection, exchange))
        return None if found is None else found[1]

    def others(self, one: Request, since: int, until: int) -> Iterator[Request]:
        """The other requests of its client that began in that time (ns)."""
        who, _ = self._by_place[one.connection, one.exchange]
        asked = self._asked.get(who, [])
        first, last = bisect_left(asked, (since,)), bisect_right(asked, (until + 1,))
        return (other for other in asked[first:last] if (other.connection, other.exchange) != one[1:3])

    def longest_wait(self, one: Request, until: int) -> int:
        """How long (ns) its client had waited, at most, for an answer to such a request that it got by then; 0 where it got none.
        Paths are the same where they differ in numbers only."""
        if self._longest is None:
            self._longest = {}
            for who, asked in self._asked.items():
                for other in sorted((r for r in asked if r.answered is not None), key=_answered):
                    known = self._longest.setdefault((who, other.method, other.host, _pattern(other)), [])
                    waited = _answered(other) - other.start
                    known.append((_answered(other), max(waited, known[-1][1] if known else 0)))
        who, _ = self._by_place[one.connection, one.exchange]
        known = self._longest.get((who, one.method, one.host, _pattern(one)), [])
        place = bisect_right(known, (until + 1,))
        return known[place - 1][1] if place else 0

    def closes(self, connection: int, since: int, until: int) -> list[Close]:
        """What the host of a connection's client closed in that time (ns)."""
        closed = self._closed.get(self._who.get(connection, ""), [])
        return closed[bisect_left(closed, (since,)) : bisect_right(closed, (until + 1,))]

    def went_on(self, connection: int, since: int, until: int) -> bool:
        """Whether its host opened a connection to its server in that time (ns), or sent a request there."""
        times = self._sent.get((self._who.get(connection, ""), self._server.get(connection, "")), [])
        return bisect_left(times, since) < bisect_right(times, until)


def nobody() -> Clients:
    """No client is known. Not made on import: nothing may run in Polars before processes are forked."""
    requests = _requests(EXCHANGES.empty().lazy()).collect()
    closes = _closes(CLOSES.empty().lazy()).collect()
    return Clients(requests, closes, CONNECTIONS.empty().select("connection", "client_host", "server", "start"), ())


def _answered(one: Request) -> int:
    return one.answered or 0


_DIGITS = re.compile(r"\d+")


def _pattern(one: Request) -> str:
    return _DIGITS.sub("0", one.path)


# what was lost, and asked for again


def beside_repetitions(rows: pl.DataFrame, clients: Clients) -> pl.DataFrame:
    """Candidates of lost requests (columns `ended_at` and `round_trip`, ns) with `severity`, one level lower where the same
    client sent the request again at once, on another connection, and was answered. Only what is safe to repeat: a second POST may
    be a second order. `pending_until` (ns): an answer that begins by then still counts; null where that is decided."""
    severities: list[str | None] = []
    pending: list[int | None] = []
    additions: list[str | None] = []
    proofs: list[list[dict[str, object]]] = []
    for connection, exchange, moment, trip, proof in rows.select(
        "connection", "exchange", "ended_at", "round_trip", "evidence"
    ).iter_rows():
        repeated = _repetitions(clients.request(connection, exchange), moment, trip, clients)
        again = next((one for one in repeated if one.answered is not None), None)
        # the first of them that is answered counts
        pending.append(moment + WINDOW if repeated and repeated[0] is not again else None)
        severities.append(None if again is None else "warning")
        after = "" if again is None else duration_text(max(again.start - moment, 0))
        said = None if again is None else f"The client repeated it {after} later on another connection, and got {again.status}."
        additions.append(said)
        proofs.append(proof)
        if again is not None:
            proofs[-1] = [*proof, {"frame": again.frame, "time": again.start, "note": "the same request again"}]
    return rows.with_columns(
        pl.Series("severity", severities, pl.String),
        pl.Series("addition", additions, pl.String),
        pl.Series("evidence", proofs, EVIDENCE),
        pl.Series("pending_until", pending, pl.Int64),
    )


def _repetitions(own: Request | None, moment: int, trip: int, clients: Clients) -> list[Request]:
    """The repetitions of a request that have no answer yet, or were answered in time, and by no failure."""
    if own is None or own.method not in ("GET", "HEAD"):
        return []
    return [
        other
        for other in clients.others(own, max(moment, own.start + 1), moment + AGAIN.value + 2 * trip)
        if other.connection != own.connection and other.asks_the_same(own) and _may_count(other, moment)
    ]


def _may_count(other: Request, moment: int) -> bool:
    return other.answered is None or (other.status is not None and other.status < FAILED and other.answered - moment <= WINDOW)


def known_clients(
    closes: pl.LazyFrame, exchanges: pl.LazyFrame, connections: pl.LazyFrame, candidates: Iterable[pl.DataFrame],
    gateways: Collection[int],
) -> Clients:  # fmt: skip
    """Look at what the clients of these candidates asked for and closed near to that moment, and what else they waited for.

    Candidates have the columns `connection`, and `ended_at` and `waited` (ns); `exchanges` has the columns tables.ASKED.
    `gateways` are connections whose client asks for others.
    """
    c = pl.col
    wanted = pl.concat([rows.select("connection", "ended_at", "waited") for rows in candidates])
    places = connections.select("connection", _one_host().alias("host"), "server", "start")
    hosts = places.filter(c("connection").is_in(wanted["connection"].unique().implode())).select(c("host").unique())
    opened = places.join(hosts, on="host", how="semi").collect()
    ids = opened["connection"].implode()
    edges = [(wanted["ended_at"] + step * WINDOW) // _BUCKET for step in (-1, 0, 1)]
    buckets = pl.concat(edges).unique().implode()
    # who waited for something may have waited longer for the same before
    shortest = wanted["waited"].min()
    waited = c("response_start") - c("request_start")
    long = pl.lit(value=False) if not isinstance(shortest, int) else (waited >= shortest).fill_null(value=False)
    mine = c("connection").is_in(ids)
    near = (c("request_start") // _BUCKET).is_in(buckets)
    own = c("connection").is_in(wanted["connection"].unique().implode())
    ranges = c("request_range_start").is_not_null()
    asked = exchanges.filter(mine & c("request_start").is_not_null() & (near | own | ranges | long))
    closed = closes.filter(mine & (c("client_close_time") // _BUCKET).is_in(buckets))
    rows, ends = pl.collect_all([_requests(asked), _closes(closed)])
    return Clients(rows.sort("start", "connection", "exchange").tail(MOST), ends, opened, gateways)


def _one_host() -> pl.Expr:
    """A client host, where an IPv6 loopback address is that of IPv4."""
    host = pl.col("client_host")
    return pl.when(host == "::1").then(pl.lit("127.0.0.1")).otherwise(host)


def _requests(exchanges: pl.LazyFrame) -> pl.LazyFrame:
    """Columns as Clients takes them."""
    c = pl.col
    final = c("response_status") >= 200
    return exchanges.select(
        c("request_user_agent").cast(pl.String).alias("agent"),
        c("request_forwarded_for").cast(pl.String).alias("forwarded"),
        c("request_forwarded").alias("many"),
        c("request_start").alias("start"),
        "connection",
        c("exchange").cast(pl.Int64),
        c("request_frame").alias("frame"),
        c("request_method").cast(pl.String).alias("method"),
        c("request_host").cast(pl.String).alias("host"),
        c("request_target").cast(pl.String).alias("target"),
        c("request_navigation").alias("navigation"),
        c("request_range_start").alias("range_start"),
        pl.when(final).then("response_start").alias("answered"),
        pl.when(final).then(c("response_status").cast(pl.Int64)).alias("status"),
    )


def _closes(closes: pl.LazyFrame) -> pl.LazyFrame:
    """A row per connection that its client closed first."""
    c = pl.col
    first = c("server_close_time").is_null() | (c("server_close_time") > c("client_close_time"))
    taken = (c("client_close_ack") >= c("response_end_offset")).fill_null(value=True)
    over = c("has_response") & (c("response_end_reason") == "complete") & (c("response_end") <= c("client_close_time")) & taken
    due = c("has_request") & ~over.fill_null(value=False) & (c("request_start") <= c("client_close_time"))
    waited = pl.when(due).then(c("client_close_time") - c("request_start"))
    return (
        closes.filter(first)
        .group_by("connection")
        .agg(
            c("client_close_time").min().alias("time"), c("client_close_frame").min().alias("frame"), waited.max().alias("waited")
        )
        .select("time", "connection", "frame", "waited")
    )
