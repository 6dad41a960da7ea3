"""Look up the tries of gateways: by the exchange of the gateway's client, or by the connection and exchange of a try.

The words "gateway" and "try" are explained in across_gateways.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import polars as pl

from wiredoctor.gateways.known import FRONT, KEY
from wiredoctor.gateways.tries import never_arrived

c = pl.col

REGULAR = 10
"""Two pauses between the tries of a gateway are equal if they differ by at most 1/REGULAR of the later one."""


class Try(NamedTuple):
    """A try of a gateway: a request to a server, or an attempt to connect to it. All times are in ns.

    `front`: the connection and exchange of the gateway's client.
    `place`: the connection and exchange of the try; an attempt has no exchange.
    `start`: when the try began.
    `end`: for a request, when the response began or, if none arrived, when the connection closed. For an attempt, when an RST
    refused it or, if the server sent other packets, when the last packet came. None if none of this happened.
    `whole`: the response is complete. `head`: the header section of the response is complete.
    `over`: when the response ended; without a complete response, when the connection closed; for an attempt, as `end`.
    `sent`: for a request, when its last byte was sent.
    `last`: for a request, when the last byte of the response came; for an attempt, when an RST refused it; None if that never
    happened.
    `opened`, `connected`: when the first SYN of the request's connection was sent, and when the last SYN-ACK was received. None
    for an attempt, for a request that was not the first of its connection, and if the handshake was not captured.
    """

    front: tuple[int, int]
    place: tuple[int, int | None]
    server: str
    start: int
    end: int | None
    status: int | None
    whole: bool
    head: bool
    over: int | None
    sent: int | None
    last: int | None
    opened: int | None
    connected: int | None


class FrontExchange(NamedTuple):
    """An exchange between a client and a gateway.

    `asked`, `began`: the end of the request and the start of the response (ns). `whole`: the response is complete. `over`: when
    the response ended; without a complete response, when the connection closed, or None.
    """

    client: str
    asked: int | None
    began: int | None
    status: int | None
    whole: bool
    over: int | None


class Tries:
    """The tries of gateways, restricted to clients' exchanges that involve a connection in `some`.

    A connection is involved if it carries the exchange or one of the tries for it. A try can be looked up by the exchange of the
    gateway's client, or by the try's own connection and exchange.
    """

    def __init__(self, tries: pl.DataFrame, some: pl.Series, closes: pl.LazyFrame, connections: pl.LazyFrame) -> None:
        near = tries.filter(c("connection").is_in(some.implode()) | c("front_connection").is_in(some.implode()))
        near = tries.join(near.select(FRONT).unique(), on=FRONT, how="semi")
        ids = pl.concat([near["connection"], near["front_connection"]]).unique()
        ends = connections.select(
            *("connection", "client_host", "server", "server_packets", "refused_time", "end", "syn_time", "newest_answer_time"),
            *("server_unacknowledged", "history"),
        )
        closed = pl.min_horizontal("client_close_time", "server_close_time")
        whole = (c("response_end_reason") == "complete") & c("response_start").is_not_null()
        at = closes.join(near.lazy().select(c("connection")).unique(), on="connection", how="semi").select(
            *KEY, "request_end", "response_start", "response_end", "response_status", "response_end_reason", "response_framing",
            "response_offset", "response_end_offset", "last_on_connection",
            closed.alias("closed"),
        )  # fmt: skip
        ends = ends.filter(c("connection").is_in(ids.implode()))
        behind = near.lazy().join(ends, on="connection", how="left").join(at, on=KEY, how="left").collect()
        front = closes.join(near.lazy().select(FRONT).unique(), left_on=KEY, right_on=FRONT, how="semi")
        fronts = front.join(ends, on="connection").select(
            *KEY, "client_host", "request_end", "response_start", "response_status", whole.alias("whole"),
            pl.when(whole).then("response_end").otherwise(closed).alias("over"),
        )  # fmt: skip
        self.fronts = {(connection, exchange): FrontExchange(*front) for connection, exchange, *front in fronts.collect().rows()}
        self.tries: dict[tuple[int, int], list[Try]] = {}
        for row in behind.sort(*FRONT, "started", *KEY).iter_rows(named=True):
            one = _try(row)
            self.tries.setdefault(one.front, []).append(one)
        self.tries = {place: _until_retried(made) for place, made in self.tries.items()}
        self.by_place = {one.place: one for made in self.tries.values() for one in made}

    def at(self, row: Mapping[str, Any]) -> Try | None:
        """Return the try (request or attempt to connect) of a gateway to which the candidate `row` belongs; None if there is
        none.
        """
        return self.by_place.get((row["connection"], row["exchange"])) or self.by_place.get((row["connection"], None))

    def later(self, one: Try) -> tuple[Try, FrontExchange] | None:
        """Return the try after `one` whose response the client got, and the client's exchange with the gateway.

        Return None if the client got no response, a 5xx response, or the response to the try `one`.
        """
        front = self.fronts.get(one.front)
        if front is None or front.status is None or not 200 <= front.status < 500:
            return None
        last = self.tries[one.front][-1]
        good = last is not one and last.start >= one.start and last.status == front.status
        return (last, front) if good else None


def _try(row: Mapping[str, Any]) -> Try:
    attempt = row["exchange"] is None
    whole = row["response_end_reason"] == "complete" and row["response_start"] is not None
    connecting = row["refused_time"] or (row["end"] if row["server_packets"] else None)
    offsets = row["response_offset"], row["response_end_offset"]
    lost = whole and row["last_on_connection"] and never_arrived(*offsets, row["history"], row["server_unacknowledged"])
    end = connecting if attempt else (None if lost else row["response_start"]) or row["closed"]
    return Try(
        (row["front_connection"], row["front_exchange"]), (row["connection"], row["exchange"]), str(row["server"]),
        row["started"], end, row["response_status"], whole, whole or row["response_framing"] not in (None, "none"),
        end if attempt else row["response_end"] if whole and not lost else row["closed"],
        None if attempt else row["request_end"],
        row["refused_time"] if attempt else row["response_end"],
        *((row["syn_time"], row["newest_answer_time"]) if row["exchange"] == 0 else (None, None)),
    )  # fmt: skip


def _until_retried(tries: list[Try]) -> list[Try]:
    """Return the tries for one exchange, but let a refused attempt last until the next try, because the gateway waited for the
    server.

    This is done only if the next try goes to the same server, or follows a pause that is as long as an earlier one. Otherwise the
    request may have waited in a queue.
    """
    made: list[Try] = []
    pauses: list[int] = []
    for one, other in pairwise(tries):
        begun = other.start if other.opened is None else other.opened
        # `last` of an attempt is the time of the refusal
        pause = 0 if one.place[1] is not None or one.last is None else begun - one.last
        regular = any(abs(pause - earlier) * REGULAR <= pause for earlier in pauses)
        retried = pause > 0 and (one.server == other.server or regular)
        made.append(one._replace(end=begun, over=begun) if retried else one)
        pauses.append(pause)
    return made + tries[-1:]


def time_open(tries: Sequence[Try], start: int, end: int, *, whole: bool = False) -> int:
    """Return the time (ns) between `start` and `end` during which at least one of the tries was open or its connection was being
    established.

    A try is open until its response begins. If `whole` is true, a try is open until its response has ended and its request has
    been sent: a gateway may wait for the complete response, and a server may respond before it has the complete request.
    """
    covered, until = 0, start
    for number, one in enumerate(tries):
        following = tries[number + 1].start if number + 1 < len(tries) else end
        ended = one.over if whole else one.end
        if whole and ended is not None and one.sent is not None:
            ended = max(ended, one.sent)
        for begun, over in ((one.opened, one.connected), (one.start, following if ended is None else ended)):
            if begun is not None and over is not None and min(over, end) > max(begun, until):
                covered += min(over, end) - max(begun, until)
                until = min(over, end)
    return covered
