"""Collect what a client did on its other connections: its requests and its closes.

Rules about a client that left, or that repeats requests, share this code, so the requests of a host are examined once for
all of them. The same client is the same host with the same User-Agent; 127.0.0.1 and ::1 are one host. Behind a gateway,
X-Forwarded-For must be the same, too; a gateway that does not send it has many users, who cannot be distinguished.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import numpy as np
import polars as pl

from wiredoctor.findings import Threshold
from wiredoctor.world.client_rows import WINDOW, ClientRows, LongestWaits, plain_path, read_clients
from wiredoctor.world.exchange import LATE, SERVER_ERROR
from wiredoctor.world.world import CaptureTables, Index, Wait, World

c = pl.col

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
    """The requests, closes and connections of the clients of some candidates.

    A Request is created only for a request that a rule asks for. `gateways`: the connections whose client is a gateway, which
    forwards the requests of other clients.
    """

    NEEDS: ClassVar[tuple[str, ...]] = ("connection", "ended_at", "waited")
    HELD: ClassVar[bool] = True

    @classmethod
    def build(cls, wanted: Sequence[pl.DataFrame], tables: CaptureTables) -> Clients:
        """Return what the candidates' clients did around their closes (see world.Index)."""
        closes = tables.closes if tables.half_closed is None else pl.concat([tables.closes, tables.half_closed()])
        waits = None if tables.remembered is None else tables.remembered[cls]
        assert waits is None or isinstance(waits, LongestWaits)
        asked = pl.concat([rows.select(cls.NEEDS) for rows in wanted])
        return Clients(read_clients(closes, tables.exchanges(), tables.connections, asked, waits), tables.gateways())

    @classmethod
    def remember(cls, kept: Any, tables: CaptureTables) -> LongestWaits:
        """Return the waits for responses that were longer than each similar one that ended before."""
        assert kept is None or isinstance(kept, LongestWaits)
        waits = kept or LongestWaits()
        waits.remember(tables.exchanges(), tables.closes, tables.connections)
        return waits

    def __init__(self, rows: ClientRows, gateways: Collection[int]) -> None:
        opened = rows.opened.unique("connection", keep="last", maintain_order=True).with_row_index("place")
        opened = opened.with_columns(c("place").first().over("host", "server"), c("place").first().over("host").alias("client"))
        self._every = _with_clients(pl.concat([rows.requests, rows.earlier]), opened, rows.closes, gateways)
        self._asked = self._every.head(rows.requests.height)
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
        ends = rows.closes.drop_nulls("time").sort("time", "connection").join(opened, on="connection", maintain_order="left")
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
        groups = one.select("asks", c("asks").first().over("who", "method", "host", plain_path()).alias("similar"))
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

    def unsafe_repetition(self, connection: int, exchange: int, moment: int, trip: int) -> Repetition:
        """Return how the client sent a request again that is not idempotent, after it had given up waiting at `moment` (ns).

        `trip`: the round trip (ns). An idempotent request has no such repetition.
        """
        own = self.request(connection, exchange)
        if own is None or own.method not in NOT_IDEMPOTENT:
            return Repetition()
        return self._unsafe_repetition(own, moment, trip, 0)

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
