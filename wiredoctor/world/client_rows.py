"""Read what is known of the clients of some candidates: their requests, closes and connections, at most a limited number."""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

import polars as pl

from wiredoctor import limits
from wiredoctor.tables import ALL_DATA, EXCHANGES, HEAD, NOTHING, SECOND, WHOLE, of_connections
from wiredoctor.world.exchange import LATE

c = pl.col

WINDOW = 5 * SECOND
"""The time in ns before and after a client's close in which the client's other actions may show the reason."""
_BUCKET = 16 * SECOND
_PLACE = ("connection", "exchange")


class ClientRows(NamedTuple):
    """Rows about the clients of some candidates: their requests, the closes that they began, and their connections.

    `requests`, `earlier`: the columns of `_requests`; of the earlier requests, only the waits for the responses count. `closes`:
    the columns of `_closes`. `opened`: `connection`, `host`, `server`, `start`, `syns` and `is_unused` of each connection.
    """

    requests: pl.DataFrame
    closes: pl.DataFrame
    opened: pl.DataFrame
    earlier: pl.DataFrame


def read_clients(
    closes: pl.LazyFrame, exchanges: pl.LazyFrame, connections: pl.LazyFrame, wanted: pl.DataFrame,
    waits: LongestWaits | None = None,
) -> ClientRows:  # fmt: skip
    """Return those requests and closes of the candidates' clients that the rules may need.

    The result contains the clients' actions shortly before and after the time `ended_at` (ns) of each candidate. It also contains
    the requests on the candidates' own connections, the clients' range requests, and requests during the candidates' waits whose
    response took at least as long as the lowest `waited` (ns) of all candidates. At most the newest limits.CLIENT_REQUESTS are
    kept; of other requests that took as long and are similar, only the longest waits are. `exchanges` has the columns
    tables.CLIENT_COLUMNS. `wanted`: the columns `connection`, `ended_at` and `waited` of the candidates. `waits`: in a live
    capture, the longest waits so far; the tables then have only what took place near the candidates.
    """
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
        alike = plain_path().is_in(rows.select(c("target").unique()).select(plain_path().unique())["target"].implode())
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
    return ClientRows(rows, ends, opened, earlier)


def _newest(asked: pl.LazyFrame) -> pl.DataFrame:
    """Return the newest of these requests in time order, at most limits.CLIENT_REQUESTS."""
    most = limits.CLIENT_REQUESTS.value
    # first the time alone, because the other columns of all requests would take much memory
    since, count = asked.select(c("request_start").top_k(most).min().alias("since"), pl.len()).collect(engine="streaming").row(0)
    limits.leave_out(limits.CLIENT_REQUESTS, count - most)
    rows = _requests(asked.filter(c("request_start") >= (since or 0))).collect(engine="streaming")
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


def plain_path() -> pl.Expr:
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

    def remember(self, exchanges: pl.LazyFrame, closes: pl.LazyFrame, connections: pl.LazyFrame) -> None:
        """Add the waits for the responses of these exchanges."""
        asked = _requests(exchanges.filter(c("request_start").is_not_null() & c("response_start").is_not_null()))
        seen = _before_unseen(asked.collect(), closes)
        named = connections.select("connection", one_host().alias("client"), "server").unique("connection").collect()
        self.add(seen.join(named, on="connection", maintain_order="left"))

    def add(self, requests: pl.DataFrame) -> None:
        """Add requests with responses, with the columns of `_requests`, `client` and `server`."""
        rows = requests.select(*self._schema, plain_path().alias("path")).sort("answered", maintain_order=True)
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
        c("row").first().over(*keys, plain_path()).alias("similar"),
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


def server_host() -> pl.Expr:
    """Return the host of a server as `one_host` names it if it is a client of others: all loopback addresses are 127.0.0.1."""
    host = pl.col("server").str.replace(r":\d+$", "").str.strip_chars("[]")
    return pl.when(host.str.starts_with("127.") | (host == "::1")).then(pl.lit("127.0.0.1")).otherwise(host)


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
