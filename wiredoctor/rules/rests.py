"""After what rest the servers of a capture close connections: learned from their closes, announced, or only usual.

Rules that speak of the end of connections share this: the closes of an endpoint are looked at once, for all of them.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from typing import NamedTuple

import polars as pl

from wiredoctor.durations import duration_text
from wiredoctor.rules.closes import SELF_FRAMED
from wiredoctor.rules.defaults import usual_limits
from wiredoctor.rules.proof import server_closed_first
from wiredoctor.tables import MILLISECOND, SECOND

TOGETHER = 50 * MILLISECOND
"""Closes that one host sends of its own accord within this time are one event: a process ended."""
DECIDED_ONCE = 20 * MILLISECOND
"""Closes within this time of one another, of rests that are alike, count once: one process decided once."""
EARLIEST = 950 * MILLISECOND
"""Rests from here on teach a limit; shorter ones come from workers that end."""
AT_ONCE = 20 * MILLISECOND
"""A close so soon after a response belongs to that response."""
NEAR = 20 * MILLISECOND
"""Timers fire so late on a machine that is not idle; and by a share of their time."""
LATE = 300 * MILLISECOND
"""A process may look for connections whose limit has passed so much later."""
SURVIVED = 2
SURVIVED_SHARE = 4
"""So many requests answered after a longer rest refute a limit; of one that many requests met, a fourth of these."""
LEARNED_SHARE = 2
"""A limit that several closes show is refuted by more than twice as many requests: processes ended, and the client has a pace of
its own (recorded: 22 times as many; of 46 real limits at most as many)."""
_EVER = 1 << 62
MOST = 4096
"""Closes of an endpoint from which its limit is learned, the newest: older ones tell of another configuration."""


class Limit(NamedTuple):
    """An idle limit of an endpoint, from `low` to `high` (ns): how it is known, and from how many `closes`, where it is learned.

    `how`: soon (it closes after its answers), sharp, coarse (it looks after its connections now and then), single (from one
    close), met (from requests that met it), announced, usual. `said`: the seconds that were announced.
    """

    how: str
    low: int
    high: int
    closes: int = 0
    said: int | None = None

    @property
    def tolerance(self) -> int:
        """How much (ns) a rest may be beside it."""
        return NEAR + self.low // 100

    def has(self, rest: int) -> bool:
        """Whether a close after this rest (ns) is explained by it."""
        return self.low - self.tolerance <= rest <= self.high + self.tolerance + LATE

    def words(self) -> str:
        """How long it is: "5 s", "5 s to 5.1 s"."""
        low, high = duration_text(self.low), duration_text(self.high)
        return low if low == high else f"{low} to {high}"

    def origin(self) -> str:
        """How it is known."""
        closes = "one close" if self.closes == 1 else f"{self.closes:,} closes"
        if self.how == "announced":
            beyond = "" if self.low == (self.said or 0) * SECOND else "; it closes a second after that, as Node does"
            return f"announced: Keep-Alive: timeout={self.said}{beyond}"
        if self.how == "usual":
            return "only usual: nothing in the capture shows it"
        if self.how == "met":
            return f"learned from {self.closes:,} requests that met it"
        return f"learned from {closes}" + (": it looks for idle connections only now and then" if self.how == "coarse" else "")


class End(NamedTuple):
    """A close of the server: when, after what rest (ns; None where there was none), of which connection, and when it is known.

    `teaches`: nothing that it acknowledges was unanswered. `reset`: an RST with ACK flag that met a request.
    """

    time: int
    rest: int | None
    connection: int
    known: int
    teaches: bool
    reset: bool


class Rests:
    """How the servers of some candidates close connections. Made of `closes`, see `known_rests`."""

    def __init__(self, ends: pl.DataFrame, said: pl.DataFrame, used: pl.DataFrame) -> None:
        self._ends: dict[int, list[End]] = {}
        for endpoint, *end in ends.sort("time", "connection").iter_rows():
            self._ends.setdefault(endpoint, []).append(End(*end))
        self._said: dict[int, tuple[int | None, str]] = {
            number: (most, server or "") for number, most, server in said.iter_rows()
        }
        self._used: dict[int, list[tuple[int, int]]] = {}
        for endpoint, rest, known in used.sort("rest").iter_rows():
            self._used.setdefault(endpoint, []).append((rest, known))
        self._learned: dict[int, Limit | None] = {}

    def limits(self, endpoint: int, connection: int, until: int | None = None) -> list[Limit]:
        """The idle limits of an endpoint that are known best: what was learned, else what it announced on this connection, else
        what is usual for its software; empty where nothing is known. `until` (ns): by then."""
        learned = self.learned(endpoint, until)
        said, server = self._said.get(connection, (None, ""))
        if learned is not None:
            limits = [learned]
        elif said is not None:
            limits = [Limit("announced", n * SECOND, n * SECOND, said=said) for n in (said, said + 1)]
        else:
            limits = [Limit("usual", n * SECOND, n * SECOND) for n in usual_limits(server)]
        return [limit for limit in limits if not self._is_refuted(limit, endpoint, until)]

    def _is_refuted(self, limit: Limit, endpoint: int, until: int | None) -> bool:
        """Whether requests that came after a longer rest were answered, so that this is no limit, but the pace of a client, or a
        habit of other servers."""
        if limit.how == "soon":
            return False
        used = self._used.get(endpoint, [])
        learned = limit.how in ("sharp", "coarse")
        longest = (limit.high if learned else limit.low) + limit.tolerance
        answered = sum(until is None or known <= until for _, known in used[bisect_right(used, (longest, _EVER)) :])
        if learned:
            return answered > LEARNED_SHARE * limit.closes
        return answered >= SURVIVED and SURVIVED_SHARE * answered >= limit.closes

    def learned(self, endpoint: int, until: int | None = None) -> Limit | None:
        """What the closes of an endpoint teach."""
        ends = self._ends.get(endpoint, [])
        if until is not None:
            return learn([end for end in ends if end.known <= until])
        if endpoint not in self._learned:
            self._learned[endpoint] = learn(ends)
        return self._learned[endpoint]

    def announced(self, connection: int) -> int | None:
        """The seconds that the last response on a connection announced."""
        return self._said.get(connection, (None, ""))[0]

    def server(self, connection: int) -> str:
        """The Server field of the last response on a connection that has one."""
        return self._said.get(connection, (None, ""))[1]

    def others(self, endpoint: int, connection: int, time: int, until: int | None = None) -> list[int]:
        """The rests (ns) of other connections of the endpoint that the server closed at the same moment; 0 where a request or a
        response was under way on one that had not rested."""
        ends = self._ends.get(endpoint, [])
        first = bisect_left(ends, time - TOGETHER, key=_time)
        last = bisect_right(ends, time + TOGETHER, key=_time)
        near = (end for end in ends[first:last] if end.connection != connection)
        return [end.rest or 0 for end in near if until is None or end.known <= until]


def _time(end: End) -> int:
    return end.time


def nothing_known() -> Rests:
    """No closes. Not made on import: nothing may run in Polars before processes are forked."""
    times = dict.fromkeys(("endpoint", "time", "rest", "connection", "known"), pl.Int64())
    ends = pl.DataFrame(schema={**times, **dict.fromkeys(("teaches", "reset"), pl.Boolean())})
    said = pl.DataFrame(schema={"connection": pl.Int64(), "said": pl.Int32(), "software": pl.String()})
    return Rests(ends, said, pl.DataFrame(schema=dict.fromkeys(("endpoint", "rest", "known"), pl.Int64())))


def known_rests(closes: pl.LazyFrame, candidates: Iterable[pl.DataFrame]) -> Rests:
    """Look at all closes of the endpoints that are in the column `endpoint` of these candidates."""
    frames = [rows.select("endpoint", "connection") for rows in candidates]
    if not frames:
        return nothing_known()
    wanted = pl.concat(frames).unique().drop_nulls()
    theirs = closes.filter(pl.col("endpoint").is_in(wanted["endpoint"].unique().implode()))
    said = _said(closes.filter(pl.col("connection").is_in(wanted["connection"].unique().implode())))
    return Rests(*pl.collect_all([_ends(theirs), said, _used(theirs)]))


def _ends(closes: pl.LazyFrame) -> pl.LazyFrame:
    """A row per connection that the server closed first, while both sides had left it open; columns of End behind `endpoint`."""
    c = pl.col
    flagged = (c("server_close_rst") == 0) | c("server_close_ack").is_not_null()
    rows = closes.filter(c("server_close_frame").is_not_null() & flagged & ~c("upgraded") & c("has_request"))
    asked = c("request_end_reason") == "complete"
    final = c("has_response") & (c("response_status") >= 200)
    whole = final & asked & (c("response_end_reason") == "complete") & c("response_framing").is_in(SELF_FRAMED)
    idle = whole & c("persistent") & c("last_on_connection") & (c("server_close_time") >= c("response_start"))
    open_before = ~final & ~c("previous_announced_close")
    met = open_before & (c("server_close_ack") > c("request_offset"))
    unaware = open_before & (c("server_close_ack") <= c("request_offset")) & c("previous_end").is_not_null()
    broken = final & c("response_end_reason").is_in(["fin", "rst"]) & c("response_framing").is_in(["content-length", "chunked"])
    since = pl.when(idle).then("response_end").otherwise("previous_end")
    rest = c("server_close_time") - since
    first = server_closed_first() | (unaware & ~c("server_close_contradicted") & (c("server_close_origin") != "between"))
    return (
        rows.filter((idle | met | unaware | broken).fill_null(value=False) & first)
        .select(
            "endpoint",
            c("server_close_time").alias("time"),
            # of a pipeline, or of a response under way, there was none
            pl.when((rest >= 0) | idle).then(rest.clip(0)).alias("rest"),
            "connection",
            c("final_at").alias("known"),
            (idle | unaware).fill_null(value=False).alias("teaches"),
            (met & (c("server_close_rst") == 1)).fill_null(value=False).alias("reset"),
            "exchange",
        )
        .sort("connection", "exchange")
        .unique("connection", keep="first", maintain_order=True)
        .drop("exchange")
    )


def _used(closes: pl.LazyFrame) -> pl.LazyFrame:
    """The rests after which a request came and was answered: `endpoint`, `rest` as the server saw it, when it is known."""
    c = pl.col
    rest = c("request_start") + c("rtt_server").fill_null(0) - c("previous_end")
    rows = closes.filter(c("has_request") & c("has_response") & (c("response_status") >= 200) & (rest >= EARLIEST))
    return rows.select("endpoint", rest.alias("rest"), c("final_at").alias("known"))


def _said(closes: pl.LazyFrame) -> pl.LazyFrame:
    """What the last responses on connections announce, and of what software they are."""
    c = pl.col
    rows = closes.filter(c("has_response") & (c("response_status") >= 200)).sort("connection", "exchange")
    server = c("response_server").cast(pl.String)
    return rows.group_by("connection").agg(
        c("response_keep_alive_timeout").last().alias("said"), server.filter(server != "").last().alias("software")
    )


def learn(ends: list[End]) -> Limit | None:
    """What the closes of one endpoint, in their order, teach of its idle limit; None where that is nothing."""
    ends = _once(ends[-MOST:])
    rests = sorted(end.rest for end in ends if end.teaches and end.rest is not None)
    soon = sum(end.rest is not None and end.rest <= AT_ONCE for end in ends)
    if bisect_right(rests, AT_ONCE) > 1 and 2 * soon >= len(ends):
        return Limit("soon", 0, AT_ONCE, soon)
    long = rests[bisect_left(rests, EARLIEST) :]
    met = _met(ends)
    if not long:
        return met
    alike = _alike(long)
    if len(alike) > 1 and 2 * len(alike) >= len(rests):
        return Limit("sharp", alike[0], alike[-1], len(alike))
    if len(long) > 2 and len(long) == len(rests) and long[-1] <= 2 * long[0] + NEAR:
        return Limit("coarse", long[0], long[-1], len(long))
    if len(long) == 1 and len(rests) <= 2:
        return met or Limit("single", long[0], long[0], 1)
    return met


def _met(ends: list[End]) -> Limit | None:
    """The limit that requests met, where most closes met one: nothing else can show it."""
    rests = sorted(end.rest for end in ends if end.reset and end.rest is not None and end.rest >= EARLIEST)
    if len(rests) < 3 or 2 * len(rests) < len(ends) or len(_alike(rests)) < len(rests):
        return None
    return Limit("met", rests[0], rests[-1], len(rests))


def _alike(rests: list[int]) -> list[int]:
    """Of sorted rests those that are near their median."""
    median = rests[len(rests) // 2]
    return [rest for rest in rests if abs(rest - median) <= _same(median)]


def _same(rest: int) -> int:
    return rest * 5 // 100 + NEAR


def _once(ends: list[End]) -> list[End]:
    """Of closes at one moment, after rests that are alike, one."""
    kept: list[End] = []
    for end in ends:
        if not any(_is_again(end, other) for other in _newest(kept, end.time)):
            kept.append(end)
    return kept


def _newest(kept: list[End], time: int) -> Iterable[End]:
    for end in reversed(kept):
        if time - end.time > DECIDED_ONCE:
            return
        yield end


def _is_again(end: End, other: End) -> bool:
    if end.rest is None or other.rest is None or end.teaches != other.teaches:
        return False
    return abs(end.rest - other.rest) <= _same(min(end.rest, other.rest))
