"""Collect what a client did on its other connections: its requests and its closes.

Rules about a client that left, or that repeats requests, share this code, so the requests of a host are examined once for
all of them. The same client is the same host with the same User-Agent; 127.0.0.1 and ::1 are one host. Behind a gateway,
X-Forwarded-For must be the same, too; a gateway that does not send it has many users, who cannot be distinguished.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import numpy as np
import polars as pl

from wiredoctor import limits
from wiredoctor.findings import Threshold
from wiredoctor.tables import ALL_DATA, EXCHANGES, HEAD, NOTHING, SECOND, WHOLE, of_connections
from wiredoctor.world.exchange import LATE, SERVER_ERROR
from wiredoctor.world.world import CaptureTables, Index, Wait, World

c = pl.col

WINDOW = 5 * SECOND
"""The time in ns before and after a client's close in which the client's other actions may show the reason."""
AGAIN = Threshold("100 ms", "the maximum time (plus two round trips) in which a client repeats a lost request")
CONCURRENT = Threshold(
    "10 %",
    "if a client sends at least this share of its answered requests (with the same target, in the last 5 s) again as soon as it "
    "repeated the lost one, that copy may not be a repetition either",
)
MANY = Threshold("20 requests", "the minimum number of other requests of a client that show whether it repeats them anyway")
UNIQUE = Threshold(
    "2 requests",
    "the maximum average number of equal requests of a client of which one still counts as the repetition of another",
)
LOST = Threshold("3 requests", "the minimum number of other unanswered requests of a client that show whether it repeats them")
_MAX_COMPARED = 500
"""The maximum number of earlier requests that are compared with a lost request, to learn whether the client
sends copies without need.
"""
_BUCKET = 16 * SECOND
_PLACE = ("connection", "exchange")


class Request(NamedTuple):
    """A request of a client. Times are in ns.

    `answered`, `status`: the start and status of the final response; None if there is none. `completed`: the time at which the
    response was complete, if it was. `body_due`: the announced size of the response body in bytes; None if there is none.
    `navigation`: the request loads a page in a browser.
    """

    start: int
    connection: int
    exchange: int
    frame: int
    method: str
    host: str
    target: str
    navigation: bool
    range_start: int | None
    has_credentials: bool
    answered: int | None
    status: int | None
    completed: int | None
    body_due: int | None

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    @property
    def asks_about_server(self) -> bool:
        """True if the request only asks what the server supports: `OPTIONS *` (RFC 9110 section 9.3.7)."""
        return (self.method, self.target) == ("OPTIONS", "*")

    @property
    def asks(self) -> tuple[str, str, str]:
        """The method, host and target."""
        return self.method, self.host, self.target

    def asks_the_same(self, other: Request) -> bool:
        """Return whether both requests have the same method, host and target."""
        return self.asks == other.asks


class ClientClose(NamedTuple):
    """A close that a client began: its time (ns), connection and frame, and how long (ns) it had been waiting for a response.

    Connections without an HTTP request have none.

    `waited` is None if the client was not waiting for a response. `had_head`: the client had received the head of that response,
    and nothing suggests that a device on the path closed in its name. `age`: the age (ns) of the connection if the client was
    waiting for the first response on it; otherwise None. `awaits`: the response to the newest request had not begun.
    """

    time: int
    connection: int
    frame: int
    server: str
    waited: int | None
    had_head: bool
    age: int | None
    awaits: bool


NOT_IDEMPOTENT = ("POST", "PATCH")
"""The methods whose repetition may have another effect than one request (RFC 9110 section 9.2.2, RFC 5789)."""


class Repetition(NamedTuple):
    """What a client did at once after it had lost a request.

    `frame`, `start` (ns), `status`: the request that counts as the repetition, and the status of its response; None if there is
    none. `severity`: the severity that the loss has because of it; None for the usual severity, because the request may not be a
    repetition. `pending_until`: the time (ns) until which a response may change all this; None if nothing can change it.
    `pending_on`: the connection on which that response would come. `unsafe`: 1 if the request is not idempotent.
    """

    frame: int | None = None
    start: int | None = None
    status: int | None = None
    severity: str | None = None
    pending_until: int | None = None
    pending_on: int | None = None
    unsafe: int | None = None

    def wait(self, world: World) -> Wait | None:
        """Return until when, and on which connection, a response may still come that changes this; None if none may."""
        if self.pending_until is None or self.pending_on is None or not world.may_change(self.pending_until):
            return None
        return Wait(self.pending_until, (self.pending_on,))


REPETITION = pl.Struct({name: pl.String if name == "severity" else pl.Int64 for name in Repetition._fields})


class _Index:
    """Numbers that are looked up by a group and by a time (ns): arrays that are sorted by both."""

    def __init__(self, groups: pl.Series, times: pl.Series, numbers: pl.Series) -> None:
        arrays = groups.to_numpy(), times.to_numpy(), numbers.to_numpy()
        order = np.lexsort((arrays[1], arrays[0]))
        self._groups, self._times, self._numbers = (one[order].data for one in arrays)

    def between(self, group: int | None, since: int, until: int) -> Sequence[int]:
        """Return the numbers of a group between `since` and `until` in the order of the times; None is an empty group."""
        if group is None:
            return ()
        first = bisect_left(self._groups, group)
        last = bisect_right(self._groups, group, first)
        return self._numbers[bisect_left(self._times, since, first, last) : bisect_right(self._times, until, first, last)]

    def last(self, group: int | None, until: int) -> int | None:
        """Return the last number of a group by `until`; None if there is none."""
        found = self.between(group, -LATE, until)
        return found[-1] if found else None


class Clients(Index):
    """The requests, closes and connections of the clients of some candidates (see `known_clients`).

    A Request is created only for a request that a rule asks for. `earlier`: further requests, of which only the waits for the
    responses count. `gateways`: the connections whose client is a gateway.
    """

    NEEDS: ClassVar[tuple[str, ...]] = ("connection", "ended_at", "waited")
    HELD: ClassVar[bool] = True

    @classmethod
    def build(cls, wanted: Sequence[pl.DataFrame], tables: CaptureTables) -> Clients:
        """Return what the candidates' clients did around their closes (see world.Index)."""
        closes = tables.closes if tables.half_closed is None else pl.concat([tables.closes, tables.half_closed()])
        waits = None if tables.remembered is None else tables.remembered[cls]
        assert waits is None or isinstance(waits, LongestWaits)
        return known_clients(closes, tables.exchanges(), tables.connections, wanted, tables.gateways(), waits)

    @classmethod
    def remember(cls, kept: Any, tables: CaptureTables) -> LongestWaits:
        """Return the waits for responses that were longer than each similar one that ended before."""
        assert kept is None or isinstance(kept, LongestWaits)
        waits = kept or LongestWaits()
        asked = _requests(tables.exchanges().filter(c("request_start").is_not_null() & c("response_start").is_not_null()))
        seen = _before_unseen(asked.collect(), tables.closes)
        named = tables.connections.select("connection", one_host().alias("client"), "server").unique("connection").collect()
        waits.add(seen.join(named, on="connection", maintain_order="left"))
        return waits

    def __init__(
        self, requests: pl.DataFrame, closes: pl.DataFrame, opened: pl.DataFrame, gateways: Collection[int],
        earlier: pl.DataFrame | None = None,
    ) -> None:  # fmt: skip
        opened = opened.unique("connection", keep="last", maintain_order=True).with_row_index("place")
        opened = opened.with_columns(c("place").first().over("host", "server"), c("place").first().over("host").alias("client"))
        every = requests if earlier is None else pl.concat([requests, earlier])
        self._every = _with_clients(every, opened, closes, gateways)
        self._asked = self._every.head(requests.height)
        self._rows = self._asked.select(Request._fields)
        self._made: dict[int, Request] = {}
        self._client, self._asks = (self._asked[name].to_numpy().data for name in ("who", "asks"))
        self._of_connection = _Index(*self._asked.select("connection", "exchange", "row"))
        self._host, self._place = _by_connection(opened, "host"), _by_connection(opened, "place")
        self._opened = _by_connection(opened, "start")
        self._repeated_syn = _by_connection(opened.filter(c("syns") > 1), "start")
        agents = self._asked.select("connection", "agent", "many").filter(~c("many"))
        agents = agents.unique("connection", keep="last", maintain_order=True)
        self._agent = _by_connection(agents, "agent")
        self._claimed: dict[tuple[int, int], tuple[int, int]] = {}
        self.ended_programs: dict[tuple[int, int, int | None], tuple[ClientClose, ...]] = {}
        """The closes that the end of a program explains, by connection, moment (ns) and timeout (s)."""
        self._longest: dict[tuple[bool, str], tuple[Sequence[int], _Index]] = {}
        self._lost: dict[int, tuple[frozenset[tuple[int, int]], list[int]]] = {}
        self._closed: dict[str, list[ClientClose]] = {}
        self._close_of: dict[int, ClientClose] = {}
        newest = self._asked.select("connection", "exchange", "answered").sort("exchange", maintain_order=True)
        ends = closes.drop_nulls("time").sort("time", "connection").join(opened, on="connection", maintain_order="left")
        ends = ends.join(newest.unique("connection", keep="last"), on="connection", how="left", maintain_order="left")
        age = pl.when(c("waited").is_not_null() & (c("exchange") == 0)).then(c("time") - c("start"))
        awaits = c("exchange").is_not_null() & (c("answered") > c("time")).fill_null(value=True)
        columns = *ClientClose._fields[:-2], age.alias("age"), awaits.alias("awaits")
        for host, *row in ends.select("host", *columns).iter_rows():
            close = ClientClose(*row)
            self._closed.setdefault(host, []).append(close)
            self._close_of[close.connection] = close
        sent = pl.concat([some.select("place", "start", "connection") for some in (opened.filter(~c("is_unused")), self._asked)])
        self._sent = _Index(*sent)

    def _request(self, row: int) -> Request:
        if row not in self._made:
            self._made[row] = Request(*self._rows.row(row))
        return self._made[row]

    def request(self, connection: int, exchange: int) -> Request | None:
        """Return an exchange's request; None if it is unknown."""
        found = self._of_connection.between(connection, exchange, exchange)
        return self._request(found[-1]) if found else None

    def newest_request(self, connection: int) -> Request | None:
        """Return the last request of a connection; None if there is none."""
        found = self._of_connection.last(connection, LATE)
        return None if found is None else self._request(found)

    def _row(self, one: Request) -> int:
        return self._of_connection.between(one.connection, one.exchange, one.exchange)[-1]

    def user_agent(self, one: Request) -> str:
        """Return the User-Agent of the client that sent this request."""
        return self._asked.item(self._row(one), "agent")

    def opened(self, connection: int) -> int:
        """Return when the first packet of a connection was captured (ns), usually its SYN."""
        return self._opened[connection]

    def repeated_syn(self, connection: int) -> int | None:
        """Return when the first of several SYNs of a connection was sent (ns); None if there was only one SYN."""
        return self._repeated_syn.get(connection)

    @cached_property
    def _similar(self) -> pl.DataFrame:
        """All waits with two more columns: `similar`, the number of the group of similar requests, and `similar_here`, that of
        those on the same connection.
        """
        one = self._every.select("row", "asks", "who", "method", "host", "target").filter(c("row") == c("asks"))
        groups = one.select("asks", c("asks").first().over("who", "method", "host", _path()).alias("similar"))
        rows = self._every.select(
            "row", "asks", "connection", "exchange", "start", "answered", "completed", "identified", "unseen"
        )
        rows = rows.join(groups, on="asks", how="left", maintain_order="left")
        return rows.with_columns(c("row").first().over("similar", "connection").alias("similar_here"))

    @cached_property
    def _identified(self) -> pl.DataFrame:
        """The requests whose client is known."""
        return self._asked.select("identified", "row", "who", "asks", "start", "answered", "navigation").filter("identified")

    @cached_property
    def _of_client(self) -> _Index:
        return _Index(*self._identified.select("who", "start", "row"))

    @cached_property
    def _same(self) -> _Index:
        return _Index(*self._identified.select("asks", "start", "row"))

    @cached_property
    def _pages(self) -> _Index:
        return _Index(*self._identified.filter("navigation").select("who", "start", "row"))

    @cached_property
    def _answered(self) -> _Index:
        return _Index(*self._identified.drop_nulls("answered").select("asks", "answered", "row"))

    def other_requests(self, one: Request, since: int, until: int) -> Iterator[Request]:
        """Yield the other requests of the same client that began between `since` and `until` (ns)."""
        return self._others(one, self._of_client.between(self._client[self._row(one)], since, until))

    def same_requests(self, one: Request, since: int, until: int) -> Iterator[Request]:
        """Yield those of `other_requests` that ask the same as `one`."""
        return self._others(one, self._same.between(self._asks[self._row(one)], since, until))

    def pages(self, one: Request, since: int, until: int) -> Iterator[Request]:
        """Yield those of `other_requests` that load a page in a browser."""
        return self._others(one, self._pages.between(self._client[self._row(one)], since, until))

    def _others(self, one: Request, rows: Iterable[int]) -> Iterator[Request]:
        return (other for other in map(self._request, rows) if other[1:3] != one[1:3])

    def answered_copies(self, one: Request, since: int, until: int) -> Iterator[Request]:
        """Yield the same client's requests on other connections that ask the same as `one` and were answered between `since` and
        `until` (ns), in the order of the responses.
        """
        copies = map(self._request, self._answered.between(self._asks[self._row(one)], since, until))
        return (other for other in copies if other.connection != one.connection)

    def same_requests_before(self, one: Request) -> list[Request]:
        """Return the client's requests that equal `one` and began before it, at most WINDOW earlier.

        At most _MAX_COMPARED requests are examined.
        """
        examined = self._of_client.between(self._client[self._row(one)], one.start - WINDOW, one.start - 1)[-_MAX_COMPARED:]
        same = self._same.between(self._asks[self._row(one)], one.start - WINDOW, one.start - 1)
        return [self._request(row) for row in same if row >= examined[0]]

    def longest_wait(self, one: Request, until: int, *, whole: bool = False, same_program: bool = False) -> int:
        """Return the client's longest wait (ns) for the response to a similar request; 0 if there is none.

        Requests are similar if they have the same method and host, and their paths differ only in numbers. The client waits
        until the response begins; if `whole` is true, until it is complete. A wait counts only if it ended by `until` (ns), and
        if the client acknowledged a part of the response. If `same_program` is true, only requests on the same connection or for
        the same target count: two programs on a host often have the same User-Agent, and different timeouts.
        """
        row, longest = self._row(one), 0
        for column in ("similar_here", "asks") if same_program else ("similar",):
            groups, waits = self._longest_waits(column, whole=whole)
            longest = max(longest, waits.last(groups[row], until) or 0)
        return longest

    def _longest_waits(self, column: str, *, whole: bool) -> tuple[Sequence[int], _Index]:
        """Return the group of each request in a column, and for each group when waits ended (ns), with the longest until then."""
        if (whole, column) not in self._longest:
            end = c("completed" if whole else "answered")
            seen = c("identified") & (c("exchange") < c("unseen")).fill_null(value=True)
            waits = self._similar.filter(seen).drop_nulls(end.meta.output_name()).sort(column, end)
            longest = waits.select(column, end, (end - c("start")).clip(0).cum_max().over(column).alias("longest"))
            self._longest[whole, column] = self._similar[column].to_numpy().data, _Index(*longest)
        return self._longest[whole, column]

    def claim(self, lost: Request, repetitions: list[Request], *, concurrent: bool) -> list[Request]:
        """Return the requests in `repetitions` that do not belong to another lost request.

        Claim the first answered repetition for `lost`. If the client sends its requests one after the other, a repetition may
        also be lost. That repetition and later ones then belong to the first lost request. `concurrent`: the client does not send
        its requests one after the other.
        """
        place = (lost.connection, lost.exchange)
        first = place if concurrent else self._claimed.get(place, place)
        free = [one for one in repetitions if self._claimed.get((one.connection, one.exchange), first) == first]
        for one in free:
            if not concurrent or one.answered is not None:
                self._claimed[one.connection, one.exchange] = first
            if one.answered is not None:
                break
        return free

    def repetition(self, connection: int, exchange: int, moment: int, trip: int, to_client: int) -> Repetition:
        """Return how the client repeated a request that was lost at `moment` (ns), and got a response.

        The repetition must come at once, from the same client, on another connection. Only GET and HEAD count, because they are
        safe to repeat: a second POST may be a second order, so it is returned as `unsafe`, with any response or none. If
        several requests were lost at the same time, a repetition counts for one of them, so this must be called in the order of
        the losses. The severity stays if the client often sends the same request concurrently even if none was lost. If the
        lost request is `OPTIONS *`, which only asks what the server supports (RFC 9110 section 9.3.7), any other request to
        that host counts, and the severity is "note". `trip`, `to_client`: the round trip (ns) between client and server, and
        its part between capture point and client. A request before `moment` plus `to_client` does not count, because the client
        did not know of the loss yet.
        """
        own = self.request(connection, exchange)
        if own is None:
            return Repetition()
        if own.method in NOT_IDEMPOTENT:
            return self._unsafe_repetition(own, moment, trip, to_client)
        only_asks = own.asks_about_server
        repeated = _repetitions(own, moment, trip, to_client, self)
        if repeated and not only_asks and self._seldom_repeats(own, repeated[0]):
            repeated = []
        again = next((one for one in repeated if one.answered is not None), None)
        concurrent = not only_asks and again is not None and _is_usual(own, max(again.start - moment, 0), trip, self)
        if not only_asks:
            repeated = self.claim(own, repeated, concurrent=concurrent)
            again = next((one for one in repeated if one.answered is not None), None)
        # the first repetition with a response counts
        pending = (moment + WINDOW, repeated[0].connection) if repeated and repeated[0] is not again else (None, None)
        if again is None:
            return Repetition(None, None, None, None, *pending)
        severity = "note" if only_asks else None if concurrent else "warning"
        return Repetition(again.frame, again.start, again.status, severity, *pending)

    def _unsafe_repetition(self, own: Request, moment: int, trip: int, to_client: int) -> Repetition:
        """Return how the client sent a request again that is not idempotent, whatever the response. See `repetition`."""
        since, until = max(moment + to_client, own.start + 1), moment + AGAIN.value + 2 * trip
        others = (other for other in self.same_requests(own, since, until) if other.connection != own.connection)
        again = next(others, None)
        if again is None:
            return Repetition()
        pending = (moment + WINDOW, again.connection) if again.answered is None else (None, None)
        return Repetition(again.frame, again.start, again.status, None, *pending, unsafe=1)

    def _seldom_repeats(self, own: Request, again: Request) -> bool:
        """Return whether the client has many users with equal requests, and repeats few of its unanswered requests.

        Then `again`, which equals `own`, is probably another user's.
        """
        who = self._client[self._row(own)]
        requests, distinct = self._distinct.get(who, (0, 0))
        if requests < MANY.value or UNIQUE.value * distinct >= requests:
            return False
        lost, delays = self._repeated(who)
        itself = own[1:3] in lost  # it seems to be repeated
        repeated = bisect_right(delays, again.start - own.start + AGAIN.value) - itself
        others = len(lost) - itself
        return others >= LOST.value and 2 * repeated < others

    @cached_property
    def _distinct(self) -> dict[int, tuple[int, int]]:
        """The number of requests of each client, and of different ones among them."""
        counts = self._identified.group_by("who").agg(pl.len().alias("requests"), c("asks").n_unique())
        return {who: (requests, asks) for who, requests, asks in counts.iter_rows()}

    def _repeated(self, who: int) -> tuple[frozenset[tuple[int, int]], list[int]]:
        """Return a client's requests without a response, as (connection, exchange), at most _MAX_COMPARED.

        The second value is how long (ns) after these the client sent the same request again, in ascending order.
        """
        if who not in self._lost:
            rows = self._identified.filter((c("who") == who) & c("answered").is_null())["row"].head(_MAX_COMPARED)
            lost = [*map(self._request, rows.to_list())]
            again = (next(self.same_requests(one, one.start + 1, LATE), None) for one in lost)
            delays = sorted(other.start - one.start for one, other in zip(lost, again, strict=True) if other is not None)
            self._lost[who] = frozenset((one.connection, one.exchange) for one in lost), delays
        return self._lost[who]

    def closes(self, connection: int, since: int, until: int) -> list[ClientClose]:
        """Return the closes by the client host of this connection between `since` and `until` (ns), at any server."""
        closed = self._closed.get(self._host.get(connection, ""), [])
        return closed[bisect_left(closed, (since,)) : bisect_right(closed, (until + 1,))]

    def close_of(self, connection: int) -> ClientClose | None:
        """Return the close of a connection by its client; None if it is unknown."""
        return self._close_of.get(connection)

    def went_on(self, connection: int, since: int, until: int) -> bool:
        """Return whether the client of a connection contacted the same server again between `since` and `until` (ns).

        A new connection and a request both count. If the User-Agent on another connection from the same host is unknown, that
        connection counts as the client's. An accepted connection on which the client sent nothing does not count: when a browser
        is closed, it first opens connections for the requests in its queue.
        """
        others = self._sent.between(self._place.get(connection), since, until)
        return any(self.may_be_same(connection, other) for other in others)

    def may_be_same(self, connection: int, other: int) -> bool:
        """Return whether the clients of two connections of one host have the same User-Agent, or one User-Agent is unknown."""
        own = self._agent.get(connection)
        return own is None or self._agent.get(other, own) == own


def _by_connection(rows: pl.DataFrame, column: str) -> dict[int, Any]:
    return dict(zip(rows["connection"].to_list(), rows[column].to_list(), strict=True))


def _with_clients(
    requests: pl.DataFrame, opened: pl.DataFrame, closes: pl.DataFrame, gateways: Collection[int]
) -> pl.DataFrame:  # fmt: skip
    """Add columns to requests: `row`, the number of the row, and numbers of groups, each the first row of the group.

    `place`: the numbers of the client host and the server. `who`: the number of the client. `asks`: that of the requests of the
    client with the same method, host and target. `many`: the client is a gateway. `identified`: the client is known. `unseen`: as
    in `_closes`.
    """
    many = c("many").fill_null(value=False) | c("connection").is_in(pl.Series([*gateways], dtype=pl.Int64).implode())
    # without the wide columns, which a join would copy
    found = requests.select("connection").join(opened, on="connection", how="left", maintain_order="left")
    found = found.join(closes, on="connection", how="left", maintain_order="left").select("place", "client", "unseen")
    rows = requests.with_columns(found).with_row_index("row")
    rows = rows.with_columns(c("row").first().over("client", "agent", "forwarded").alias("who"), many)
    known = ~c("many") | (c("forwarded") != "").fill_null(value=False)
    return rows.with_columns(c("row").first().over("who", "method", "host", "target").alias("asks"), known.alias("identified"))


# lost and repeated requests


def _repetitions(own: Request, moment: int, trip: int, to_client: int, clients: Clients) -> list[Request]:
    """Return the repetitions of a GET or HEAD request; for `OPTIONS *`, return all later requests to the same host.

    A request counts if it has no response yet, or got a timely response that was not an error.
    """
    if not (own.asks_about_server or own.method in ("GET", "HEAD")):
        return []
    # any request to the host counts as a repetition of one that only asks about the server
    some = clients.other_requests if own.asks_about_server else clients.same_requests
    return [
        other
        for other in some(own, max(moment + to_client, own.start + 1), moment + AGAIN.value + 2 * trip)
        if other.connection != own.connection
        and other.host == own.host
        and (
            other.answered is None
            or (other.status is not None and other.status < SERVER_ERROR and other.answered - moment <= WINDOW)
        )
    ]


def _is_usual(lost: Request, delay: int, trip: int, clients: Clients) -> bool:
    """Return whether the client often sends the same request again on another connection, before or soon after the response.

    If so, a request that follows `lost` may not be a repetition of `lost`. `delay`: the time (ns) from the loss to that request,
    which determines what counts as soon. Requests after an unanswered request do not count: they may be repetitions themselves.
    """
    same = clients.same_requests_before(lost)
    within = min(2 * delay, AGAIN.value) + 2 * trip
    answered = followed = 0
    for place, one in enumerate(same):
        if one.answered is None:
            continue
        answered += 1
        over = max(one.answered, one.completed or 0)
        for other in same[place + 1 :]:
            if other.answered is None or other.start > over + within:
                break
            if other.connection != one.connection:
                followed += 1
                break
    return followed > 0 and followed * 100 >= answered * CONCURRENT.value


def known_clients(
    closes: pl.LazyFrame, exchanges: pl.LazyFrame, connections: pl.LazyFrame, candidates: Iterable[pl.DataFrame],
    gateways: Collection[int], waits: LongestWaits | None = None,
) -> Clients:  # fmt: skip
    """Return those requests and closes of the candidates' clients that the rules may need.

    The result contains the clients' actions shortly before and after the time `ended_at` (ns) of each candidate. It also contains
    the requests on the candidates' own connections, the clients' range requests, and requests during the candidates' waits whose
    response took at least as long as the lowest `waited` (ns) of all candidates. At most the newest limits.CLIENT_REQUESTS are
    kept; of other requests that took as long and are similar, only the longest waits are. `exchanges` has the columns
    tables.CLIENT_COLUMNS. `gateways`: the connections whose client is a gateway, which forwards the requests of other clients.
    `waits`: in a live capture, the longest waits so far; the tables then have only what took place near the candidates.
    """
    wanted = pl.concat([rows.select(Clients.NEEDS) for rows in candidates])
    named = connections.select("connection", one_host().alias("client"))
    hosts = of_connections(named, wanted).select("client").unique()
    theirs = named.join(hosts, on="client", how="semi").collect()
    mine = _on(theirs)
    buckets = [(wanted["ended_at"] + step * WINDOW) // _BUCKET for step in (-1, 0, 1)]
    near = pl.concat(buckets).unique().implode()
    asked = exchanges.filter(mine & c("request_start").is_not_null())
    shown = (c("request_start") // _BUCKET).is_in(near) | _on(wanted) | c("request_range_start").is_not_null()
    closed = mine & (c("client_close_time") // _BUCKET).is_in(near)
    earlier = _requests(EXCHANGES.empty().lazy()).collect()
    shortest = wanted["waited"].min()
    if not isinstance(shortest, int):
        rows = _newest(asked.filter(shown))
    else:
        # a client that waited for a response may have waited longer for the response to an earlier request
        waited = pl.max_horizontal("response_start", "response_end") - c("request_start")
        long = (waited >= shortest).fill_null(value=False)
        during = (c("request_start") // _BUCKET).is_in(_while_waiting(wanted, asked.filter(_on(wanted))))
        shown |= long & (during | _on(closes.filter(closed).select("connection").unique().collect()))
        rows = _newest(asked.filter(shown))
        alike = _path().is_in(rows.select(c("target").unique()).select(_path().unique())["target"].implode())
        earlier = _longest_waits(_requests(asked.filter(long & ~shown)).filter(alike), closes, theirs)
        if waits is not None:
            old = waits.rows(theirs).filter(c("answered") - c("start") >= shortest).join(rows, on=_PLACE, how="anti")
            earlier = pl.concat([earlier, old.select(earlier.columns)]).unique(_PLACE, keep="first", maintain_order=True)
    ends = _closes(closes.filter(closed | (mine & (_on(rows) | _on(earlier))))).collect()
    needed = _on(pl.concat([some.select("connection") for some in (wanted, rows, earlier, ends)]))
    some = connections.filter(mine & (needed | (c("start") // _BUCKET).is_in(near)))
    is_unused = (c("client_bytes") == 0) & (c("connected") | (c("closed_by") == "client").fill_null(value=False))
    opened = some.select(
        "connection", one_host().alias("host"), "server", "start", "syns", is_unused.alias("is_unused")
    ).collect()
    if waits is not None:
        opened = pl.concat([waits.opened(earlier).cast(opened.schema), opened])
    return Clients(rows, ends, opened, gateways, earlier)


def _newest(asked: pl.LazyFrame) -> pl.DataFrame:
    """Return the newest of these requests in time order, at most limits.CLIENT_REQUESTS."""
    most = limits.CLIENT_REQUESTS.value
    # first the time alone, because the other columns of all requests would take much memory
    since, count = asked.select(c("request_start").top_k(most).min().alias("since"), pl.len()).collect().row(0)
    limits.leave_out(limits.CLIENT_REQUESTS, count - most)
    rows = _requests(asked.filter(c("request_start") >= (since or 0))).collect()
    return rows.sort("start", "connection", "exchange").tail(most)


def _on(places: pl.DataFrame) -> pl.Expr:
    """Return whether the connection is one of those in `places`."""
    return c("connection").is_in(places["connection"].unique().implode())


def _while_waiting(wanted: pl.DataFrame, asked: pl.LazyFrame) -> pl.Series:
    """Return the times, in units of _BUCKET, from shortly before each candidate's request to shortly after its end.

    `asked`: the requests on the connections of the candidates.
    """
    newest = asked.group_by("connection").agg(c("request_start").max().alias("start")).collect()
    since = pl.min_horizontal("start", c("ended_at") - c("waited"), "ended_at") - WINDOW
    first, last = since // _BUCKET, (c("ended_at") + WINDOW) // _BUCKET
    spans = wanted.join(newest, on="connection", how="left").select(first.alias("first"), last.alias("last"))
    longest = spans.group_by("first").agg(c("last").max())
    return longest.select(pl.int_ranges("first", c("last") + 1).explode().unique()).to_series().implode()


def _path() -> pl.Expr:
    """Return the path of the column `target`, in which each number is 0."""
    return c("target").str.replace(r"(?s)\?.*$", "").str.replace_all(r"\d+", "0")


def _longest_waits(requests: pl.LazyFrame, closes: pl.LazyFrame, clients: pl.DataFrame) -> pl.DataFrame:
    """Return the requests whose wait was longer than each similar one that ended before: `Clients.longest_wait` needs no others.

    No candidate is on their connections. At most limits.CLIENT_REQUESTS of them are in memory at a time, in addition to the
    result. `clients` has the client host of each connection.
    """
    kept = _requests(EXCHANGES.empty().lazy()).collect()
    for some in requests.collect_batches(chunk_size=limits.CLIENT_REQUESTS.value, maintain_order=False):
        kept = _longest_of(pl.concat([kept, _before_unseen(some, closes)]), clients)
    return kept


def _before_unseen(requests: pl.DataFrame, closes: pl.LazyFrame) -> pl.DataFrame:
    """Return the requests before the first one whose response the client had not seen when it closed."""
    unseen = _closes(of_connections(closes, requests)).select("connection", "unseen").collect()
    places = requests.select("connection", "exchange").join(unseen, on="connection", how="left", maintain_order="left")
    return requests.filter(places.select((c("exchange") < c("unseen")).fill_null(value=True)).to_series())


class LongestWaits:
    """In a live capture: the clients' waits that were longer than each similar one that ended before; the newest of them.

    Similar are requests of a client with the same method, host, and path except for numbers. Of the requests with the same
    target, and of those on the same connection, the longest waits are kept too.
    """

    def __init__(self) -> None:
        self._longest: dict[int, int] = {}
        """The longest wait (ns) of each group of requests, by a hash, because targets may be long."""
        self._keys: deque[list[tuple[int, int]]] = deque()
        """For each remembered request the groups in which it waited longest, with its waits."""
        self._fresh: list[tuple[Any, ...]] = []
        self._schema = _requests(EXCHANGES.empty().lazy()).collect_schema() | {"client": pl.String(), "server": pl.String()}
        self._made = pl.DataFrame(schema=self._schema)

    def add(self, requests: pl.DataFrame) -> None:
        """Add requests with responses, with the columns of `_requests`, `client` and `server`."""
        rows = requests.select(*self._schema, _path().alias("path")).sort("answered", maintain_order=True)
        who = rows.select("client", "agent", "forwarded", "many", "method", "host").rows()
        places = rows.select("path", "target", "connection", c("answered") - c("start"), c("completed") - c("start"))
        for number, (path, target, connection, *waits) in enumerate(places.iter_rows()):
            groups = ((*who[number], path), (*who[number], None, target), (connection, path))
            keys = [(hash((*group, kind)), wait) for group in groups for kind, wait in enumerate(waits) if wait is not None]
            longest = [(key, wait) for key, wait in keys if wait > self._longest.get(key, -1)]
            if longest:
                self._longest.update(longest)
                self._keys.append(longest)
                self._fresh.append(rows.row(number)[:-1])
        while len(self._keys) > limits.LONGEST_WAITS.value:
            for key, wait in self._keys.popleft():
                if self._longest.get(key) == wait:
                    del self._longest[key]
        if len(self._fresh) >= limits.LONGEST_WAITS.value:
            self._all()

    def _all(self) -> pl.DataFrame:
        if self._fresh:
            fresh = pl.DataFrame(self._fresh, self._schema, orient="row")
            self._made = pl.concat([self._made, fresh], rechunk=True).tail(len(self._keys))
            self._fresh.clear()
        return self._made

    def rows(self, clients: pl.DataFrame) -> pl.DataFrame:
        """Return the waits of the client hosts in the column `client`, with the columns of `_requests`."""
        return self._all().join(clients.select("client").unique(), on="client", how="semi", maintain_order="left")

    def opened(self, waits: pl.DataFrame) -> pl.DataFrame:
        """Return the connections of these waits with the columns that Clients needs; they are too old to show more."""
        own = self._all().filter(_on(waits)).unique("connection", keep="last", maintain_order=True)
        start = pl.lit(-LATE).alias("start")
        return own.select("connection", c("client").alias("host"), "server", start, syns=pl.lit(1), is_unused=pl.lit(value=True))


def _longest_of(requests: pl.DataFrame, clients: pl.DataFrame) -> pl.DataFrame:
    # without the wide columns, which a sort would copy
    owners = requests.select("connection").join(clients.unique("connection"), on="connection", how="left", maintain_order="left")
    keys = ("client", "agent", "forwarded", "many", "method", "host")
    groups = requests.with_columns(owners["client"]).with_row_index("row").select(
        *("row", "start", "answered", "completed"),
        c("row").first().over(*keys, _path()).alias("similar"),
        c("row").first().over(*keys, "target").alias("same"),
    )  # fmt: skip
    kept: list[pl.Series] = []
    for end in ("answered", "completed"):
        timed = groups.drop_nulls(end).with_columns((c(end) - c("start")).alias("wait")).sort(end)
        for key in ("similar", "same"):
            longest = c("wait").cum_max().shift(1).over(key)
            kept.append(timed.filter((c("wait") > longest).fill_null(value=True))["row"])
    return requests[pl.concat(kept).unique()]


def one_host() -> pl.Expr:
    """Return the client host; the IPv6 loopback address counts as 127.0.0.1."""
    host = pl.col("client_host")
    return pl.when(host == "::1").then(pl.lit("127.0.0.1")).otherwise(host)


def _requests(exchanges: pl.LazyFrame) -> pl.LazyFrame:
    """Return the columns of `exchanges` that Clients needs. Only final responses count as responses."""
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
        c("request_has_credentials").alias("has_credentials"),
        pl.when(final).then("response_start").alias("answered"),
        pl.when(final).then(c("response_status").cast(pl.Int64)).alias("status"),
        pl.when(final & (c("response_end_reason") == "complete")).then("response_end").alias("completed"),
        c("response_body_due").alias("body_due"),
    )


def _closes(closes: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each connection that its client closed.

    `time`, `frame` and `waited` are null if the server closed first. `had_head`: as in ClientClose. `unseen`: the first exchange
    whose response the client had not seen, because its close acknowledges nothing of that response; null if there is none.
    """
    # the server's FIN may have been on its way
    crossed = c("server_end_arrived") <= ALL_DATA
    first = (
        c("server_close_time").is_null()
        | (c("server_close_time") > c("client_close_time")).fill_null(value=False)
        | crossed.fill_null(value=False)
    )
    taken = (c("response_arrived") >= WHOLE).fill_null(value=True)
    over = c("has_response") & (c("response_end_reason") == "complete") & (c("response_end") <= c("client_close_time")) & taken
    due = c("has_request") & ~over.fill_null(value=False) & (c("request_start") <= c("client_close_time"))
    waited = pl.when(due).then(c("client_close_time") - c("request_start"))
    began = due & c("has_response") & (c("response_status") >= 200) & (c("response_framing") != "none")
    sure = (c("client_close_rst") == 0) | (c("client_close_origin") == "endpoint")
    had_head = began & sure & (c("response_arrived") >= HEAD)
    unseen = c("has_response") & (c("response_arrived") <= NOTHING)
    return (
        closes.filter(c("client_close_time").is_not_null())
        .group_by("connection")
        .agg(
            c("client_close_time").filter(first).min().alias("time"),
            c("client_close_frame").filter(first).min().alias("frame"),
            waited.filter(first).max().alias("waited"),
            had_head.fill_null(value=False).filter(first).any().alias("had_head"),
            c("exchange").filter(unseen).min().cast(pl.Int64).alias("unseen"),
        )
        .select("time", "connection", "frame", "waited", "had_head", "unseen")
    )
