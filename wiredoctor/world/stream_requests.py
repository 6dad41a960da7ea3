"""Find out what the clients of streams asked for around the end of a stream: to stop it, or to have it again."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import ClassVar, NamedTuple

import polars as pl

from wiredoctor.findings import Threshold
from wiredoctor.tables import SECOND
from wiredoctor.world.client_rows import one_host
from wiredoctor.world.world import CaptureTables, Index

c = pl.col

AGAIN = Threshold("60 s", "the time within which a client that asks again for a stream that ended continues that stream")
_STOP = 2 * SECOND
"""The time (ns) within which a server ends a stream that it was asked to stop."""
_STOPS = re.compile(r"(?i)/[^/?]*(?:stop|cancel|abort|interrupt|terminate)[^/?]*(?:\?|$)")
_TAILS = re.compile(r"/(?:tail|watch|_changes)(?:\?|$)")


class StreamRequest(NamedTuple):
    """A request of the client of a stream; `start` in ns. `has_stop`: its body names something that stops."""

    start: int
    frame: int
    connection: int
    exchange: int
    method: str
    target: str
    event_source: bool
    last_event_id: bool
    has_stop: bool

    def continues(self, stream: StreamRequest) -> bool:
        """Return whether this asks for the same stream again (WHATWG HTML section 9.2.3, and libraries that send POST)."""
        same = self.event_source and (self.method, self.target) == (stream.method, stream.target)
        return same or (self.last_event_id and self.method == "GET")

    def stops(self) -> bool:
        """Return whether this asks the server to stop what it is doing."""
        return self.has_stop or self.method == "DELETE" or _STOPS.search(self.target) is not None

    def is_tail(self) -> bool:
        """Return whether the target has a name that is used for streams without an end."""
        return _TAILS.search(self.target) is not None


class StreamRequests(Index):
    """The requests of the candidates' clients to the same servers that concern streams."""

    NEEDS: ClassVar[tuple[str, ...]] = ("connection", "is_answer")
    HELD: ClassVar[bool] = True

    @classmethod
    def build(cls, wanted: Sequence[pl.DataFrame], tables: CaptureTables) -> StreamRequests:
        """Return the requests of the clients whose streams are candidates (see world.Index)."""
        own = pl.concat([rows.filter("is_answer")["connection"] for rows in wanted]).unique().implode()
        if not own.list.len().item():
            return cls({}, {})
        names = ("host", "server")
        places = tables.connections.select("connection", one_host().alias("host"), "server").collect()
        ours = places.filter(c("connection").is_in(own))
        places = places.join(ours.select(names).unique(), on=names, how="semi")
        stops = (c("request_method") == "DELETE") | c("request_target").cast(pl.String).str.contains(_STOPS.pattern)
        stops |= c("request_stops")
        wanted_rows = c("connection").is_in(own) | stops | c("request_event_source") | c("request_last_event_id")
        rows = (
            tables.exchanges()
            .filter(c("connection").is_in(places["connection"].implode()) & wanted_rows & c("request_start").is_not_null())
            .select(
                *("request_start", "request_frame", "connection", c("exchange").cast(pl.Int64)),
                *(c(name).cast(pl.String) for name in ("request_method", "request_target")),
                *("request_event_source", "request_last_event_id", "request_stops"),
            )
            .collect()
            .sort("request_start", "request_frame")
        )
        of = {number: (host, server) for number, host, server in places.iter_rows()}
        known: dict[tuple[str, str], list[StreamRequest]] = {}
        for row in rows.iter_rows():
            known.setdefault(of[row[2]], []).append(StreamRequest._make(row))
        return cls(known, of)

    def __init__(self, requests: dict[tuple[str, str], list[StreamRequest]], places: dict[int, tuple[str, str]]) -> None:
        self._requests, self._places = requests, places
        self._of = {(one.connection, one.exchange): one for known in requests.values() for one in known}

    def of(self, connection: int, exchange: int) -> StreamRequest | None:
        """Return the request that a stream answers; None if it is unknown."""
        return self._of.get((connection, exchange))

    def stopped(self, connection: int, exchange: int, time: int) -> bool:
        """Return whether the client of a stream had asked the server to stop shortly before `time` (ns)."""
        own = connection, exchange
        near = self._near(connection, time - _STOP, time)
        return any(one.stops() and (one.connection, one.exchange) != own for one in near)

    def repetition(self, stream: StreamRequest, time: int) -> StreamRequest | None:
        """Return the first request after `time` (ns) with which the client asks for a stream again; None if there is none."""
        return next((one for one in self._near(stream.connection, time + 1, time + AGAIN.value) if one.continues(stream)), None)

    def _near(self, connection: int, since: int, until: int) -> Iterator[StreamRequest]:
        """Yield the requests of a connection's client to its server that began from `since` to `until` (ns)."""
        place = self._places.get(connection)
        known = [] if place is None else self._requests.get(place, [])
        first = bisect_left(known, since, key=attrgetter("start"))
        yield from known[first : bisect_right(known, until, key=attrgetter("start"))]
