"""Find out what other connections of the same two hosts show about unacknowledged data.

Everything that a question needs is looked up in sorted arrays, because many candidates may have the same two hosts: after a load
test against a server that hangs, all connections of the capture are candidates.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import NamedTuple

import numpy as np
import polars as pl

from wiredoctor.findings import Threshold
from wiredoctor.tables import Array, of_connections, of_exchanges
from wiredoctor.world.connection_close import client_idle_time
from wiredoctor.world.exchange import LATE

c = pl.col

TRIED = Threshold(
    "900 ms",
    "the minimum time for which the SYNs of a new connection get no answer, to show that the server cannot be reached at all; "
    "Linux repeats a SYN after 1 s, and a single SYN may be lost",
)
EVERY_PATH = Threshold(
    "1220 bytes",
    "a segment up to this length is lost for another reason than its size if another connection of the two hosts carried one "
    "as long; every path of IPv6, and nearly every path of IPv4, has an MTU of at least 1,280 bytes (RFC 8200 section 5)",
)

HOSTS = ("client_host", "server_host")
_SAME = ("request_method", "request_target")
Best = Mapping[Hashable, list[tuple[int, int]]]
"""For each key, the two greatest values of different connections, each with its connection, in descending order."""


class Sightings:
    """The times (ns) at which a host sent a packet, each with the id of the connection, which is looked up by time."""

    def __init__(self, times: Array, connections: Array) -> None:
        place = np.argsort(times, kind="stable")
        self._times, self._connections = times[place], connections[place]
        # for each packet, the index of the next packet of another connection
        last = np.append(self._connections[1:] != self._connections[:-1], True)[: len(place)]
        ends = np.where(last, np.arange(1, len(place) + 1), len(place))
        self._others = np.minimum.accumulate(ends[::-1])[::-1]

    def first_since(self, since: int, own: int) -> int:
        """Return the first time of a connection other than `own` that is not before `since`; LATE if there is none."""
        place = int(np.searchsorted(self._times, since))
        if place < len(self._times) and self._connections[place] == own:
            place = int(self._others[place])
        return int(self._times[place]) if place < len(self._times) else LATE


class Attempts:
    """Attempts to connect: for each, the times (ns) of the last and of the first SYN, and the id of the connection."""

    def __init__(self, attempts: list[tuple[int, int, int]]) -> None:
        attempts = sorted(attempts)
        self._last = [last for last, _, _ in attempts]
        self._place = {connection: place for place, (_, _, connection) in enumerate(attempts)}
        # level n has the minimum of each run of 2 ** n first SYNs
        self._least = [np.array([first for _, first, _ in attempts], np.int64)]
        while (step := 1 << len(self._least) - 1) * 2 <= len(attempts):
            self._least.append(np.minimum(self._least[-1][:-step], self._least[-1][step:]))

    def is_any(self, after: int, until: int, due: int, own: int) -> bool:
        """Return whether an attempt on a connection other than `own` had its first SYN by `due`, and its last one after `after`
        and by `until`.
        """
        begin, end = (int(place) for place in np.searchsorted(self._last, (after, until), side="right"))
        middle = self._place.get(own, end)
        if not begin <= middle < end:
            return self._first(begin, end) <= due
        return min(self._first(begin, middle), self._first(middle + 1, end)) <= due

    def _first(self, begin: int, end: int) -> int:
        if begin >= end:
            return LATE
        level = (end - begin).bit_length() - 1
        return int(min(self._least[level][begin], self._least[level][end - (1 << level)]))


class _Others(NamedTuple):
    """The facts about all connections of some pairs of hosts. `pair` and `place` are the numbers of a pair and of a server.

    `sent`: the packets, by (pair, whether the server sent them). `tries`: unanswered attempts to connect, by (pair, place).
    `answered`: when answered connections began, by (pair, place). `asked`: when connections with a request began, by (pair,
    place, method, target). `segments`: the lengths of messages that were acknowledged in one segment, by (pair, whether the
    server sent them). `rests`: the longest survived idle times (ns), by (pair, place).
    """

    sent: Mapping[tuple[int, bool], Sightings]
    tries: Mapping[tuple[int, int], Attempts]
    answered: Best
    asked: Best
    segments: Best
    rests: Mapping[tuple[int, int], int]


class _Data(NamedTuple):
    """Unacknowledged data: a row of `compare_neighbors`, with the numbers of its pair of hosts and of its server."""

    connection: int
    exchange: int | None
    first_time: int | None
    second_time: int | None
    last_time: int | None
    smallest_unacknowledged: int | None
    pair: int | None
    place: int | None
    is_client: bool | None

    @property
    def second(self) -> int:
        """The time of the second copy (ns), or a time before all others if there is none."""
        return -LATE if self.second_time is None else self.second_time

    @property
    def due(self) -> int:
        """The latest time (ns) at which the sender would have sent the data again.

        A sender doubles its pauses, so the pause before a further copy would be about as long as all earlier pauses together.
        """
        return -LATE if self.last_time is None or self.first_time is None else 2 * self.last_time - self.first_time


_ADDED = {
    **dict.fromkeys(("alive_elsewhere", "fits_elsewhere", "answered_later", "down", "repeated"), pl.Boolean()),
    "survived_rest": pl.Int64(),
}


def compare_neighbors(rows: pl.DataFrame, connections: pl.LazyFrame, exchanges: pl.LazyFrame, spread: int) -> pl.DataFrame:
    """Add columns that show what other connections of the same two hosts reveal about unacknowledged data.

    `rows` describe the data: `connection`, `exchange`, `sender_direction`, `first_time`, `second_time` and `last_time` (of the
    first, second and last copy), and `smallest_unacknowledged` (the length of the shortest segment in bytes). Some of the
    added columns describe the connection, as in the table `connections`. The others are:
    `alive_elsewhere`: the receiver sent a packet on another connection during the retransmissions;
    `fits_elsewhere`: the segment is at most EVERY_PATH bytes long, and on another connection, the receiver acknowledged a message
    in one segment of at least `smallest_unacknowledged`. The path of a larger segment may have changed in the meantime;
    `answered_later`: the server sent a response on a connection that was opened after the first copy;
    `down`: the server did not answer SYNs of the client at that time either (see `_is_down`);
    `repeated`: a connection that was opened after the first copy carries the same request;
    `survived_rest`: the longest idle time (ns) after which this server still answered a request of the client; null if unknown.
    """
    named = connections.with_columns(c("server").str.replace(r":\d+$", "").alias("server_host"))
    described = ("connection", *HOSTS, "server", "client_direction", "protocol", "history", "server_unacknowledged")
    own = of_connections(named.select(described), rows).collect().unique("connection", keep="last", maintain_order=True)
    rows = rows.join(own, on="connection", how="left", maintain_order="left")
    pairs, places = own.select(HOSTS).unique().with_row_index("pair"), own.select("server").unique().with_row_index("place")
    numbered = rows.join(pairs, on=HOSTS, how="left", maintain_order="left").join(
        places, on="server", how="left", maintain_order="left"
    )
    is_client = (c("sender_direction") == c("client_direction")).alias("is_client")
    data = [_Data(*row) for row in numbered.select(*_Data._fields[:-1], is_client).iter_rows()]
    requests = _requests(of_exchanges(exchanges, rows)).collect()
    others = _others(_ends(named, pairs, places, spread), exchanges, requests, data)
    asked: dict[tuple[int, int | None], list[tuple[str, str]]] = {}
    for connection, exchange, *same in requests.iter_rows():
        asked.setdefault((connection, exchange), []).append((same[0], same[1]))
    found = [_compare(one, others, asked) for one in data]
    return rows.hstack(pl.DataFrame(found, _ADDED, orient="row"))


def _requests(exchanges: pl.LazyFrame) -> pl.LazyFrame:
    known = (c(name).cast(pl.String) for name in _SAME)
    return exchanges.select("connection", "exchange", *known).drop_nulls(_SAME)


def _ends(connections: pl.LazyFrame, pairs: pl.DataFrame, places: pl.DataFrame, spread: int) -> pl.DataFrame:
    """Return the connections of the hosts in `pairs`, with the numbers of the pair and of the server (null: none in `places`)."""
    # a server that is up again answers a later SYN
    unanswered = (c("server_packets") == 0) | ((c("syns") > 2) & c("first_answer_frame").is_not_null())
    ends = connections.select(
        *("connection", *HOSTS, "server", "start", "first_answer_time", "syn_time", "last_syn_time"),
        ((c("server_bytes") > 0) | c("first_answer_frame").is_not_null()).alias("answered"),
        (unanswered & (c("last_syn_time") - c("syn_time") >= spread)).alias("tried"),
        *((c(f"{side}_unacknowledged") == 0).alias(f"{side}_sure") for side in ("client", "server")),
    )
    found = ends.join(pairs.lazy(), on=HOSTS).join(places.lazy(), on="server", how="left").drop(*HOSTS, "server").collect()
    return found.unique("connection", keep="last", maintain_order=True)


def _others(ends: pl.DataFrame, exchanges: pl.LazyFrame, requests: pl.DataFrame, data: list[_Data]) -> _Others:
    """Collect the facts about the connections `ends`. Each query returns few columns, or one row per connection."""
    talks = of_connections(exchanges, ends)
    tried = ends.filter("tried")
    tries: dict[tuple[int, int], list[tuple[int, int, int]]] = {}
    for pair, place, *times in tried.select("pair", "place", "last_syn_time", "syn_time", "connection").drop_nulls().iter_rows():
        tries.setdefault((pair, place), []).append((times[0], times[1], times[2]))
    latest = max((one.due for one in data), default=-LATE) if tried.is_empty() else LATE
    carried = talks.group_by("connection").agg(
        *(_length_in_one_segment(message).max().alias(message) for message in ("request", "response")),
        client_idle_time().filter(c("response_frame").is_not_null()).max().alias("rest"),
    )
    of_each = carried.collect(engine="streaming").join(ends, on="connection")
    sides = ((False, "request", "client"), (True, "response", "server"))
    sizes = [
        of_each.filter(f"{side}_sure").select("pair", "connection", c(message).alias("size"), by_server=pl.lit(by_server))
        for by_server, message, side in sides
    ]
    same = requests.select(_SAME).unique()
    again = _requests(talks.filter(c("request_target").cast(pl.String).is_in(same["request_target"].implode())))
    asked = again.select("connection", *_SAME).unique().collect(engine="streaming").join(same, on=_SAME, how="semi")
    asked = asked.join(ends.select("connection", "pair", "place", "start"), on="connection")
    rests = of_each.group_by("pair", "place").agg(c("rest").max()).drop_nulls()
    return _Others(
        _sightings(ends, talks, min((one.second for one in data), default=LATE), latest),
        {key: Attempts(some) for key, some in tries.items()},
        _best(ends.filter("answered"), ("pair", "place"), "start"),
        _best(asked, ("pair", "place", *_SAME), "start"),
        _best(pl.concat(sizes), ("pair", "by_server"), "size"),
        {(pair, place): rest for pair, place, rest in rests.iter_rows()},
    )


def _length_in_one_segment(message: str) -> pl.Expr:
    """Return the length in bytes of a request or response (`message`) that was sent in one segment, otherwise null."""
    in_one = c(f"{message}_frame") == c(f"{message}_last_frame")
    return pl.when(in_one).then(c(f"{message}_head_bytes") + c(f"{message}_body_bytes"))


def _sightings(ends: pl.DataFrame, talks: pl.LazyFrame, since: int, until: int) -> dict[tuple[int, bool], Sightings]:
    """Return the times between `since` and `until` (ns) at which the hosts opened and answered connections, or sent messages."""
    found: dict[tuple[int, bool], Sightings] = {}
    pair_of = ends.select("connection", "pair")
    for by_server, opened, sent in ((False, "syn_time", "request_start"), (True, "first_answer_time", "response_start")):
        times = (
            talks.filter(c(sent).is_between(since, until)).select("connection", c(sent).alias("time")).collect(),
            ends.filter(c(opened).is_between(since, until)).select("connection", c(opened).alias("time")),
        )
        for _, rows in pl.concat(times).join(pair_of, on="connection").group_by("pair"):
            found[rows["pair"][0], by_server] = Sightings(rows["time"].to_numpy(), rows["connection"].to_numpy())
    return found


def _best(rows: pl.DataFrame, keys: tuple[str, ...], value: str) -> Best:
    """Return the two greatest values of different connections for each key."""
    of_each = rows.drop_nulls((*keys, value)).group_by(*keys, "connection").agg(c(value).max())
    two = of_each.sort(value, "connection", descending=True).group_by(*keys, maintain_order=True).head(2)
    best: dict[Hashable, list[tuple[int, int]]] = {}
    for *key, number, connection in two.select(*keys, value, "connection").iter_rows():
        best.setdefault((*key,), []).append((number, connection))
    return best


def _best_of_others(best: Best, key: Hashable, own: int) -> int:
    """Return the greatest value of a connection other than `own`; -LATE if there is none."""
    return next((value for value, connection in best.get(key, ()) if connection != own), -LATE)


def _compare(
    data: _Data, others: _Others, asked: Mapping[tuple[int, int | None], list[tuple[str, str]]]
) -> tuple[bool, bool, bool, bool, bool, int | None]:
    """Return the values of the columns in _ADDED."""
    own, pair, place = data.connection, data.pair, data.place
    if pair is None or place is None:
        return False, False, False, False, False, None
    sent, first = others.sent.get((pair, bool(data.is_client))), data.first_time
    alive = sent is not None and data.second_time is not None and sent.first_since(data.second_time, own) <= data.due
    least = data.smallest_unacknowledged
    carried = -LATE if data.is_client is None else _best_of_others(others.segments, (pair, not data.is_client), own)
    same = asked.get((own, data.exchange), ())
    return (
        alive,
        least is not None and least <= EVERY_PATH.value and carried >= least,
        first is not None and _best_of_others(others.answered, (pair, place), own) > first,
        _is_down(data, others.tries.get((pair, place)), sent),
        first is not None and any(_best_of_others(others.asked, (pair, place, *one), own) > first for one in same),
        others.rests.get((pair, place)),
    )


def _is_down(data: _Data, tries: Attempts | None, sent: Sightings | None) -> bool:
    """Return whether a client's unanswered attempts to connect show that the server that does not acknowledge its data is down.

    An attempt counts if at least two SYNs were not answered, the SYNs span at least `spread` ns, the last SYN was sent after the
    first copy, and the first SYN before a further copy was due. From the second copy to the last SYN, the server must not have
    sent a packet on another connection.
    """
    if not data.is_client or tries is None or data.first_time is None:
        return False
    heard = LATE if sent is None else sent.first_since(data.second, data.connection)
    return tries.is_any(data.first_time, heard, data.due, data.connection)
