"""Compare the times at which clients gave up on an endpoint, and find the answers that they got elsewhere meanwhile.

An abort is the close of a client that was waiting for a response of which nothing had come. If a client always waits for the same
time, that time is its limit, whoever else uses the same address; another User-Agent shows another program. If it closes whenever
another endpoint has answered the same request, it had sent the request to several endpoints on purpose: a hedged request, or a
quorum of replicas.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import ClassVar, NamedTuple

import polars as pl

from wiredoctor import limits
from wiredoctor.findings import Threshold
from wiredoctor.tables import of_connections, of_exchanges
from wiredoctor.world.client_rows import one_host
from wiredoctor.world.equal_waits import limit_of, matches
from wiredoctor.world.world import CaptureTables, Index

c = pl.col

MEANWHILE = Threshold(
    "50 ms", "the maximum time from the answer of another endpoint to the close of a client that waited for both"
)
BUSY = Threshold(
    "500 ms",
    "the maximum time from the answer of another endpoint to the request, if the client sent it because it was too busy to "
    "read the answer",
)
ALWAYS = Threshold(
    "90 %",
    "the minimum share of such closes among all closes of this client while it waited, at the endpoints that it asks together",
)
REPEATEDLY = Threshold(
    "3 closes", "the minimum number of such closes that show that the client sends its requests to several servers"
)

_NEWEST = 200
"""The maximum number of closes of a client at an endpoint that are compared while a capture goes on."""
_WALK = 64
"""The maximum number of answers to the same request that are compared with a close."""


class Answer(NamedTuple):
    """The answer of another endpoint: when its request began and it ended (ns), its frame, connection, server and status."""

    ended: int
    start: int
    frame: int
    connection: int
    server: str
    status: int


class Abort(NamedTuple):
    """A close of a client that was waiting: its time (ns), connection, exchange, wait (ns), and the answer that it had by then.

    `unanswered`: no part of the response had begun. `program`: a hash of the User-Agent field.
    """

    time: int
    connection: int
    exchange: int
    waited: int
    unanswered: bool
    program: int
    answer: Answer | None


class _Place(NamedTuple):
    """A client host and an endpoint, and the program there (see Abort); None for all programs together."""

    host: str
    server: str
    program: int | None = None


_NOWHERE = _Place("", "")


class _Habit(NamedTuple):
    """How a client ends its waits at an endpoint: the limit (ns) that they show, the number of aborts, and how many of these came
    soon after the answer of another endpoint.
    """

    limit: int | None
    aborts: int
    prompt: int

    def is_meant(self) -> bool:
        """Return whether the client nearly always closes for the answer of another endpoint."""
        return self.prompt >= REPEATEDLY.value and 100 * self.prompt >= ALWAYS.value * self.aborts


class Elsewhere(NamedTuple):
    """A client that closes when another endpoint has answered: the answer, the number of such closes, and who closed what.

    `answer`: None if the capture may begin after the request that was answered, or if the client sent its request although the
    answer had come. `place`: the client's host and the endpoint at which it closes.
    """

    answer: Answer | None
    closes: int
    place: tuple[str, str]


class Aborts(Index):
    """The aborts at the endpoints of the candidates."""

    NEEDS: ClassVar[tuple[str, ...]] = ("connection", "ended_at", "waited")
    HELD: ClassVar[bool] = True

    @classmethod
    def build(cls, wanted: Sequence[pl.DataFrame], tables: CaptureTables) -> Aborts:
        """Return the aborts at the endpoints of the candidates (see world.Index)."""
        places = pl.concat([rows.select("connection") for rows in wanted])
        known = tables.connections.select("connection", one_host().alias("host"), "server")
        servers = of_connections(known, places).select("server").unique().collect()["server"]
        theirs = known.filter(c("server").is_in(servers.implode())).collect(engine="streaming")
        closes = tables.closes if tables.half_closed is None else pl.concat([tables.closes, tables.half_closed()])
        aborts = _aborts(of_connections(closes, theirs)).join(theirs.lazy(), on="connection").collect(engine="streaming")
        aborts = aborts.sort("time", "connection").tail(limits.CLIENT_REQUESTS.value)
        begun = tables.connections.select(c("start").min()).collect(engine="streaming").item()
        return cls(aborts, _answers(aborts, tables), begun or 0)

    def __init__(self, aborts: pl.DataFrame, answers: Mapping[tuple[int, int], Answer], begun: int) -> None:
        """`begun`: the time (ns) of the first packet of the capture."""
        self._answers, self._begun = answers, begun
        self._of: dict[_Place, list[Abort]] = {}
        self._places: dict[str, set[_Place]] = {}
        self._place: dict[int, _Place] = {}
        for row in aborts.select("host", "server", *Abort._fields[:-1]).iter_rows():
            host, server, time, connection, exchange, waited, unanswered, program = row
            abort = Abort(time, connection, exchange, waited, unanswered, program, answers.get((connection, exchange)))
            place = _Place(host, server, program)
            for one in (place, place._replace(program=None)):
                self._of.setdefault(one, []).append(abort)
                self._places.setdefault(server, set()).add(one)
            self._place[connection] = place
        self._habits: dict[_Place, _Habit] = {}
        self._limits_at: dict[str, list[int]] = {}

    def limit(self, connection: int, waited: int, until: int | None) -> int | None:
        """Return the limit (ns) of the client that a wait of `waited` (ns) matches; None if no limit is known.

        The client is all that uses its address, or one program there. A limit of another client of the same endpoint counts,
        too, at the end of the capture. `until`: only aborts by then (ns) count; None if the capture has ended.
        """
        place = self._place.get(connection, _NOWHERE)
        own = (self._habit(one, until).limit for one in (place._replace(program=None), place))
        every = own if until is not None else chain(own, self._limits_of(place.server))
        return next((one for one in every if one is not None and matches(waited, one)), None)

    def _limits_of(self, server: str) -> list[int]:
        """Return the limits (ns) of all clients of an endpoint, of similar ones only the shortest."""
        if server not in self._limits_at:
            limits_of = (self._habit(place, None).limit for place in self._places.get(server, ()))
            found: list[int] = []
            for one in sorted(limit for limit in limits_of if limit is not None):
                if not found or not matches(one, found[-1]):
                    found.append(one)
            self._limits_at[server] = found
        return self._limits_at[server]

    def _habit(self, place: _Place, until: int | None) -> _Habit:
        """Return how a client ends its waits at an endpoint; the newest aborts by `until` (ns) decide if that is not None."""
        every = self._of.get(place, [])
        if until is not None:
            last = bisect_right(every, until, key=lambda one: one.time)
            return _habit_of(every[max(last - _NEWEST, 0) : last])
        if place not in self._habits:
            self._habits[place] = _habit_of(every)
        return self._habits[place]

    def elsewhere(self, connection: int, exchange: int, asked: int, until: int | None) -> Elsewhere | None:
        """Return the answer of another endpoint for which a client closed this connection; None if that is not its habit.

        `asked`: when the request was sent (ns).
        """
        place = self._place.get(connection, _NOWHERE)._replace(program=None)
        habit, answer = self._habit(place, until), self._answers.get((connection, exchange))
        # at the beginning of a capture, the requests to other endpoints may be missing
        if answer is None and (until is not None or asked - self._begun > MEANWHILE.value):
            return None
        # a client whose habit it is may at times be too busy to close soon
        if not habit.is_meant() and not (2 * habit.prompt > habit.aborts and self._habit_of_group(place, until).is_meant()):
            return None
        meanwhile = answer is not None and answer.ended >= asked - MEANWHILE.value
        return Elsewhere(answer if meanwhile else None, habit.prompt, place[:2])

    def _habit_of_group(self, place: _Place, until: int | None) -> _Habit:
        """Return how a client ends its waits at an endpoint, and at those whose answers it took instead."""
        taken = {one.answer.server for one in self._of.get(place, ()) if one.answer is not None}
        habits = [self._habit(place._replace(server=server), until) for server in sorted(taken | {place.server})]
        return _Habit(None, sum(one.aborts for one in habits), sum(one.prompt for one in habits))


def _habit_of(aborts: Sequence[Abort]) -> _Habit:
    # a request that was sent although its answer had come shows how busy the client was, not what it closed for
    known = [one for one in aborts if one.answer is None or one.answer.ended >= one.time - one.waited]
    prompt = sum(one.answer is not None and one.time - one.answer.ended <= MEANWHILE.value for one in known)
    return _Habit(limit_of((one.time, one.waited) for one in aborts if one.unanswered), len(known), prompt)


def _aborts(closes: pl.LazyFrame) -> pl.LazyFrame:
    """Return the exchanges whose client closed first, while it was waiting for the response or receiving it."""
    over = c("has_response") & (c("response_end_reason") == "complete") & (c("response_end") <= c("client_close_time"))
    waits = c("has_request") & (c("request_start") <= c("client_close_time")) & ~over.fill_null(value=False)
    begun = c("has_response") & (c("response_status") >= 200) & (c("response_start") <= c("client_close_time"))
    return closes.filter((c("closed_first") == "client") & waits & c("last_on_connection")).select(
        c("client_close_time").alias("time"),
        "connection",
        c("exchange").cast(pl.Int64),
        (c("client_close_time") - c("request_start")).alias("waited"),
        (~begun).fill_null(value=True).alias("unanswered"),
        c("request_user_agent").fill_null("").hash().alias("program"),
    )


def _answers(aborts: pl.DataFrame, tables: CaptureTables) -> dict[tuple[int, int], Answer]:
    """Return the last answers of other endpoints before aborts, by connection and exchange of the abort (see _last_answer)."""
    if aborts.is_empty():
        return {}
    asked = ("request_method", "request_target")
    exchanges = tables.exchanges()
    own = of_exchanges(exchanges, aborts).select("connection", c("exchange").cast(pl.Int64), "request_start", *asked)
    own = aborts.lazy().join(own, on=["connection", "exchange"]).with_columns(_key(*asked)).collect(engine="streaming")
    hosts = own.lazy().select("host").unique()
    named = tables.connections.select("connection", one_host().alias("host"), "server").join(hosts, on="host", how="semi")
    theirs = named.collect(engine="streaming")
    since, last = pl.lit(own["request_start"].min()) - BUSY.value, own["time"].max()
    done = (c("response_end_reason") == "complete") & (c("response_status") >= 200) & c("response_end").is_between(since, last)
    others = of_connections(exchanges.filter(done.fill_null(value=False)), theirs).join(theirs.lazy(), on="connection")
    others = others.with_columns(_key(*asked)).join(own.lazy().select("key").unique(), on="key", how="semi")
    rows = others.select("key", "response_end", c("request_start").alias("start"), c("request_frame").alias("frame"),
                         "connection", "server", c("response_status").cast(pl.Int64).alias("status"))  # fmt: skip
    got = _group(rows.collect(engine="streaming").sort("response_end").tail(limits.CLIENT_REQUESTS.value))
    return {
        (connection, exchange): answer
        for key, server, connection, exchange, *times in own.select(
            "key", "server", "connection", "exchange", "request_start", "time"
        ).iter_rows()
        if (answer := _last_answer(got.get(key), server, *times)) is not None
    }


def _key(*asked: str) -> pl.Expr:
    return pl.struct("host", *(c(name).cast(pl.String) for name in asked)).hash().alias("key")


_Ended = tuple[list[int], list[Answer]]


def _group(rows: pl.DataFrame) -> dict[int, _Ended]:
    """Return the ends (ns) of the answers to each request, in ascending order, and the answers."""
    found: dict[int, _Ended] = {}
    for key, *answer in rows.iter_rows():
        ends, answers = found.setdefault(key, ([], []))
        ends.append(answer[0])
        answers.append(Answer(*answer))
    return found


def _last_answer(answers: _Ended | None, server: str, asked: int, time: int) -> Answer | None:
    """Return the last answer of another server that ended before an abort, at most BUSY before its request.

    `asked`: when the request was sent; `time`: when the client closed (both in ns).
    """
    if answers is None:
        return None
    ends, found = answers
    last = bisect_right(ends, time)
    for place in range(last - 1, max(last - _WALK, 0) - 1, -1):
        if ends[place] < asked - BUSY.value:
            return None
        if found[place].server != server:
            return found[place]
    return None
