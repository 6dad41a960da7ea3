"""Compute statistics of each server: requests, failures, distribution of the server time, and time lost by cause.

The statistics can also be computed for each host, path or client.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from wiredoctor.findings import Report, host
from wiredoctor.report.by_status import SERVER_ERROR, engine_for, find_backs, is_final
from wiredoctor.report.exchange_times import capture_ends
from wiredoctor.report.failed_requests import Place, failed_connections_by_server, failed_exchanges, findings_with_failures
from wiredoctor.report.row_choice import Grouping, ServerOrder
from wiredoctor.report.stream_times import first_event, is_stream
from wiredoctor.report.words import SECOND

if TYPE_CHECKING:
    from polars._typing import EngineType


c = pl.col

CLIENT_ERROR = 400
"""The lowest status code of a client error (RFC 9110 section 15.5); the highest is 499."""

NAMES = 3
"""The number of names that are kept per server, most frequent first; with virtual hosting, a server may have thousands."""

LEAST_LOST = 0.001
"""The minimum time lost (s) for which a cause is always listed. Other causes are listed if they cost at least 1 % of all time
lost.
"""

FEWEST = {"p50": 3, "p95": 20, "p99": 100}
"""The minimum number of server times for showing each percentile. With fewer, p95 and p99 would be the longest time."""

EXACT_TIMES = 100_000
"""The maximum number of exchanges for exact percentiles.

If there are more, times are rounded down by at most 0.4 %, so that more times are equal and can be counted together.
"""

_KEY = ["capture", "connection"]

_VERSION = r"^v[0-9]+(?:\.[0-9]+)*$"
"""A pattern for a path segment that names the version of an API, such as "v2"."""


_ENDS = (Grouping.server, Grouping.client)
"""The groupings by one end of a connection: its server or its client."""


class StreamStatistics(NamedTuple):
    """The event streams of a group of exchanges. Times are in seconds, percentiles by nearest rank.

    `streams`: their number. `first_event_p50`, `first_event_p95`: from the end of a request to its first event with data.
    `gap_p50`, `gap_p95`: half and 95 % of the streams have no larger median gap between events. None without such values.
    """

    streams: int = 0
    first_event_p50: float | None = None
    first_event_p95: float | None = None
    gap_p50: float | None = None
    gap_p95: float | None = None


NO_STREAMS = StreamStatistics()


class ServerStatistics(NamedTuple):
    """The statistics of a group of exchanges.

    `names`: the most frequent values of Host; for connections without HTTP, the TLS server names (SNI). `failed`: requests that
    failed according to the findings, as in the headline. A status of 500 or above alone is not a failure. If a gateway forwarded
    a failed request, the number for an upstream server includes the gateway's attempts that got no complete response, or got an
    error response from another gateway. `unanswered`: requests without a final response, if one of two conditions holds: a
    finding of severity error is about the request; or the connection ended and was captured in both directions, without a gap
    that may hide the response. `incomplete`: responses that were cut off, unless a finding of severity note shows that the client
    had received all it wanted. `p50`, `p95`, `p99` and `longest`: the server time in seconds, from the end of a request to the
    beginning of its response; None if no response was captured. `timed`: the number of server times. `lost`: the seconds lost
    according to the findings of each rule. `streams`: what is known about event streams.
    """

    key: str
    names: tuple[str, ...]
    requests: int
    failed: int
    unanswered: int
    incomplete: int
    client_errors: int
    server_errors: int
    p50: float | None
    p95: float | None
    p99: float | None
    longest: float | None
    connections: int
    lost: Mapping[str, float] = {}
    failed_connections: int = 0
    """The number of connections that, according to the findings, failed before a request. Only the statistics by server have
    this number.
    """
    unusable_connections: int = 0
    """The number of connections that were never established, or that failed before a request.

    An example is a connection whose SYN was not answered. Only the statistics by server and by client have this number.
    """
    timed: int = 0
    streams: StreamStatistics = NO_STREAMS

    @property
    def time_lost(self) -> float:
        """The seconds lost in total."""
        return sum(self.lost.values())

    @property
    def percentiles(self) -> dict[str, float | None]:
        """The percentiles of the server time (s) by name. A percentile is missing if there are too few server times for it."""
        values = {"p50": self.p50, "p95": self.p95, "p99": self.p99}
        return {name: value for name, value in values.items() if self.timed >= FEWEST[name]}

    @property
    def requests_per_connection(self) -> float | None:
        """Requests per connection; None if there are no connections."""
        return self.requests / self.connections if self.connections else None


def worth_listing(lost: Mapping[str, float], whole: float) -> dict[str, float]:
    """Return the causes that cost at least 1 ms, or at least 1 % of `whole`, which is all time lost (s)."""
    return {rule: seconds for rule, seconds in lost.items() if seconds >= LEAST_LOST or seconds >= whole / 100}


def server_statistics(report: Report, by: Grouping = Grouping.server) -> list[ServerStatistics]:
    """Return the statistics of each group, worst first.

    Groups are sorted by the number of failed requests and connections, then by the number of responses with a status of 500 or
    above, then by the time lost.
    """
    rows = _rows(report, report.scan_exchanges(), report.scan_connections(), by)
    counted, names = _count(rows, report, connections=by is not Grouping.server) if report.exchange_count else ({}, {})
    if by in {Grouping.host, Grouping.path}:
        names = {}
    ends = _count_connections(report, "client_host" if by is Grouping.client else "server") if by in _ENDS else []
    if by is Grouping.server:
        # connections without HTTP count, too
        for one in ends:
            if one.established:
                counted.setdefault(one.key, {})["connections"] = one.established
        names = {one.key: one.names for one in ends if one.names} | names
    lost = _time_lost(report, rows, by)
    streams = _count_streams(rows, report)
    made = [_statistics(key, row, names, lost, streams.get(key, NO_STREAMS)) for key, row in counted.items()]
    if by in _ENDS:
        failed = failed_connections_by_server(report) if by is Grouping.server else Counter[str]()
        never = _never_established(ends)
        unusable = _with_failed(never, report) if by is Grouping.server else never
        made += [_statistics(key, {}, names, lost) for key in {**lost, **failed, **unusable} if key not in counted]
        made = [one._replace(failed_connections=failed[one.key], unusable_connections=unusable[one.key]) for one in made]
    return sort_servers(made, ServerOrder.failed)


def sort_servers(some: list[ServerStatistics], order: ServerOrder) -> list[ServerStatistics]:
    """Sort the statistics by `order`: largest value first, or by name. Ties are broken as in the order `failed`."""
    if order is ServerOrder.names:
        return sorted(some, key=lambda one: one.key)
    value = _VALUES[order]
    return sorted(some, key=lambda one: (*(-number for number in value(one)), *_worst_first(one)))


def _worst_first(one: ServerStatistics) -> tuple[int, int, float, int, int, int, str]:
    failures = one.failed + one.failed_connections
    return -failures, -one.server_errors, -one.time_lost, -one.unusable_connections, -one.requests, -one.connections, one.key


def _times(name: str) -> Callable[[ServerStatistics], tuple[float, float]]:
    def times(one: ServerStatistics) -> tuple[float, float]:
        percentile = one.percentiles.get(name)
        return -1 if percentile is None else percentile, -1 if one.longest is None else one.longest

    return times


_VALUES: Mapping[ServerOrder, Callable[[ServerStatistics], tuple[float, ...]]] = {
    ServerOrder.failed: lambda one: (one.failed + one.failed_connections,),
    ServerOrder.requests: lambda one: (one.requests,),
    **{order: _times(order.value) for order in (ServerOrder.p50, ServerOrder.p95, ServerOrder.p99, ServerOrder.max)},
    ServerOrder.lost: lambda one: (one.time_lost,),
}


def unusable_connections(report: Report) -> Counter[str]:
    """Return, for each server, the number of connections that were never established, or that failed before a request."""
    return _with_failed(_never_established(_count_connections(report, "server")), report)


def _never_established(ends: Iterable[_Connections]) -> Counter[str]:
    return Counter({one.key: one.never_established for one in ends if one.never_established})


def _with_failed(never_established: Counter[str], report: Report) -> Counter[str]:
    """Return `never_established` (connections by server) plus the connections that failed before a request."""
    unusable = never_established.copy()
    for server, number in failed_connections_by_server(report, established=True).items():
        unusable[server] += number
    return unusable | failed_connections_by_server(report)


class _Connections(NamedTuple):
    """The number of connections of a server or client (`key`), and the server names from TLS (SNI)."""

    key: str
    established: int
    never_established: int
    names: tuple[str, ...]


def _count_connections(report: Report, key: str) -> list[_Connections]:
    """Count the connections by the value of column `key`.

    A connection with only one SYN, sent less than a second before the end of the capture, counts neither as established nor as
    never established, because the SYN-ACK may have come later.
    """
    from wiredoctor.tables import SMALL

    established = c("connected") | (c("exchanges") > 0) | (c("server_bytes") > 0)
    only_syns = (c("client_packets") == c("syns")) | c("refused_frame").is_not_null()
    ends = capture_ends(report)
    if len(report.captures) == len(ends) == 1:
        end = pl.lit(next(iter(ends.values())), pl.Int64)
    else:
        end = c("capture").replace_strict(ends, default=None, return_dtype=pl.Int64)
    over = (c("server_packets") > 0) | (c("syns") > 1) | (end - c("end") >= SECOND)
    never = ~c("connected") & (c("syns") > 0) & only_syns & over.fill_null(value=False)
    names = c("server_name").filter(established & (c("server_name") != "")).unique().sort().head(NAMES)
    numbers = established.sum().alias("established"), never.sum().alias("never_established")
    counts = report.scan_connections().group_by(key).agg(*numbers, names)
    engine: EngineType = "streaming" if report.connection_count > SMALL else "auto"
    rows = counts.collect(engine=engine).iter_rows()
    return [_Connections(end, opened, unopened, tuple(given)) for end, opened, unopened, given in rows]


def forwarded_requests(report: Report) -> int:
    """Return the number of requests that gateways certainly sent to upstream servers to serve requests of their clients.

    The statistics count these requests twice: at the gateway, as sent by the client, and at the upstream server.
    """
    if (backs := find_backs(report)) is None:
        return 0
    forwarded = report.scan_exchanges().join(backs.lazy(), on=[*_KEY, "exchange"], how="semi")
    return int(forwarded.select(pl.col("has_request").sum()).collect(engine=engine_for(report)).item())


def overall_statistics(report: Report) -> ServerStatistics:
    """Return the statistics of all exchanges, except those that a gateway certainly had with an upstream server."""
    exchanges = report.scan_exchanges()
    if (backs := find_backs(report)) is not None:
        exchanges = exchanges.join(backs.lazy(), on=[*_KEY, "exchange"], how="anti")
    counted, _ = _count(_rows(report, exchanges, report.scan_connections(), None), report, connections=True)
    lost: Counter[str] = Counter()
    for one in report.findings:
        lost[one.rule] += round((one.delay or 0.0) * SECOND)
    return _statistics("", counted.get("", {}), {}, {"": {rule: delay for rule, delay in lost.items() if delay}})


def _judged(report: Report) -> pl.LazyFrame | None:
    """Return the exchanges that are counted differently because of findings, with four flags; None if there are none.

    `is_failed`: the exchange failed. `is_error`: a finding of severity error is about the exchange. `is_left`: the client closed
    the connection early and lost nothing (a note of client-abort). `is_try`: a gateway sent the request to serve a client's
    request that failed.
    """
    failed = failed_exchanges(report)
    places: dict[tuple[str, int | None, int], list[bool]] = {place: [True, False, False, False] for place in failed}
    for place in _tries_for(failed, report):
        places.setdefault(place, [False] * 4)[3] = True
    for one in findings_with_failures(report):
        if one.exchange is not None and (one.severity == "error" or one.rule == "client-abort"):
            flags = places.setdefault((one.capture, one.connection, one.exchange), [False] * 4)
            flags[1] |= one.severity == "error"
            flags[2] |= one.rule == "client-abort" and one.severity == "note"
    if not places:
        return None
    schema = {"capture": pl.String(), "connection": pl.Int64(), "exchange": pl.Int32()}
    flags = {name: pl.Boolean() for name in _JUDGED}
    return pl.LazyFrame([(*place, *said) for place, said in places.items()], schema | flags, orient="row")


_JUDGED = ("is_failed", "is_error", "is_left", "is_try")


def _tries_for(failed: Iterable[Place], report: Report) -> Iterator[Place]:
    """Yield the exchanges in which a gateway certainly forwarded one of the requests in `failed` to a server."""
    fronts = pl.DataFrame(
        [*failed], {"capture": pl.String(), "front_connection": pl.Int64(), "front_exchange": pl.Int32()}, orient="row"
    )
    for capture, known in report.gateways.items():
        if known.tries.height and fronts.height:
            sure = known.tries.filter(c("certain") & c("exchange").is_not_null())
            mine = sure.join(fronts.filter(c("capture") == capture), on=["front_connection", "front_exchange"], how="semi")
            yield from ((capture, *row) for row in mine.select("connection", "exchange").iter_rows())


def _rows(report: Report, exchanges: pl.LazyFrame, connections: pl.LazyFrame, by: Grouping | None) -> pl.LazyFrame:
    """Return the exchanges with the columns that are counted for each group.

    `key`: the group of the exchange. `name`: a name that may be listed for the group. If `by` is None, all exchanges are in one
    group.
    """
    own = c("request_host") if by is Grouping.host else _method_and_path() if by is Grouping.path else None
    narrow = exchanges.select(  # before the joins, because a join copies every column
        *_KEY, "exchange", c("request_host").alias("host"), *_flags(), *([] if own is None else [own.alias("own")])
    )
    joined_on = _KEY if len(report.captures) > 1 else ["connection"]  # joining on a second column takes twice as long
    if (judged := _judged(report)) is None:
        narrow = narrow.with_columns(pl.lit(value=False).alias(name) for name in _JUDGED)
    else:
        narrow = narrow.join(judged.select(*joined_on, "exchange", *_JUDGED), on=[*joined_on, "exchange"], how="left")
    ends = connections.select(*_KEY, "server", "client_host", (c("closed_by") != "").alias("over"))
    lost = ((c("over") & c("captured")) | c("is_error")).fill_null(value=False)
    key = {None: pl.lit(""), Grouping.server: c("server"), Grouping.client: c("client_host")}.get(by, c("own"))
    # in a chain of gateways, an error that the outer gateway passed on counts as a failure of the inner gateway
    gateways = [server for known in report.gateways.values() for server in known.fronts]
    made_error = c("server_errors") & c("server").is_in(gateways)
    return narrow.join(ends, on=joined_on, how="left").select(
        *_KEY,
        "exchange",
        *("wait", "is_stream", "first_event", "gap"),
        *("requests", "client_errors", "server_errors"),
        (c("is_failed") | (c("is_try") & (c("no_response") | c("cut") | made_error))).fill_null(value=False).alias("failed"),
        (c("no_response") & lost).alias("unanswered"),
        (c("cut") & ~c("is_left").fill_null(value=False)).alias("incomplete"),
        key.fill_null("").alias("key"),
        (c("server") if by is Grouping.client else c("host")).fill_null("").alias("name"),
    )


def _method_and_path() -> pl.Expr:
    """Return an expression for the request's method and path, with `#` for each number in the path except in a version (v1.2)."""
    segment = pl.when(~pl.element().str.contains(_VERSION)).then(pl.element().str.replace_all("[0-9]+", "#"))
    path = c("request_target").str.replace(r"[?#].*$", "").str.split("/")
    return c("request_method") + " " + path.list.eval(segment.otherwise(pl.element())).list.join("/")


def _flags() -> list[pl.Expr]:
    """Return the columns that are computed from the exchanges alone: a flag for each number that is counted, and `wait`.

    `wait` is the server time in ns; null if there is no final response.
    """
    status = c("response_status")
    final = is_final()
    endless = (
        c("upgraded") | (c("response_framing") == "tunnel") | c("response_content_type").str.starts_with("text/event-stream")
    )
    cut = c("response_end_reason").is_in(["fin", "rst", "error"]) & ~endless.fill_null(value=False)
    return [
        c("has_request").alias("requests"),
        (c("has_request") & ~final).alias("no_response"),
        (c("both_directions") & ~c("pairing_assumed")).fill_null(value=False).alias("captured"),
        (final & (status < SERVER_ERROR) & cut).alias("cut"),
        (final & (status >= CLIENT_ERROR) & (status < SERVER_ERROR)).alias("client_errors"),
        (final & (status >= SERVER_ERROR)).alias("server_errors"),
        pl.when(final).then(c("server_time")).alias("wait"),
        is_stream().alias("is_stream"),
        first_event().alias("first_event"),
        c("response_median_gap").alias("gap"),
    ]


def _nearest_rank(percent: int) -> pl.Expr:
    """Return an expression for a percentile by nearest rank. Rows are sorted by `time` (server time in ns), which occurs `len`
    times.

    The percentile is the smallest value that at least `percent` % of the values do not exceed. The interpolation "nearest" of
    Polars rounds the rank instead, which hides the slowest requests.
    """
    number = pl.col("len").cast(pl.Int64)
    return pl.col("time").filter(number.cum_sum() * 100 >= number.sum() * percent).first()


_COUNTED = ("requests", "failed", "unanswered", "incomplete", "client_errors", "server_errors")


def _count_streams(rows: pl.LazyFrame, report: Report) -> dict[str, StreamStatistics]:
    """Return the statistics of the event streams of each group that has some."""
    times = (c(name).drop_nulls().sort() for name in ("first_event", "gap"))
    grouped = rows.filter("is_stream").group_by("key").agg(pl.len().cast(pl.Int64), *times).collect(engine=engine_for(report))
    return {
        key: StreamStatistics(number, *(_rank(some, percent) for some in (firsts, gaps) for percent in (50, 95)))
        for key, number, firsts, gaps in grouped.iter_rows()
    }


def _rank(times: list[int], percent: int) -> float | None:
    """Return a percentile (s) of times (ns) in ascending order by nearest rank; None if there are none."""
    return times[(len(times) * percent + 99) // 100 - 1] / SECOND if times else None


Counts = dict[str, int | None]
"""The numbers of one group by name. Each number is a count or a time in ns. A missing number is None or 0."""


def _count(rows: pl.LazyFrame, report: Report, *, connections: bool) -> tuple[dict[str, Counts], dict[str, tuple[str, ...]]]:
    """Return two dictionaries by group: the counts of each group, and its most frequent names.

    `connections`: also count connections.
    """
    time = c("wait") if report.exchange_count <= EXACT_TIMES else _rounded(c("wait"))
    engine = engine_for(report)
    sums = pl.len(), c(_COUNTED).sum().cast(pl.Int64), c("wait").max().alias("longest")
    by_time = rows.group_by("key", "name", time.alias("time")).agg(*sums).collect(engine=engine)
    timed = (
        by_time.filter(c("time").is_not_null())
        .sort("time")
        .group_by("key")
        .agg(
            *(_nearest_rank(percent).alias(f"p{percent}") for percent in (50, 95, 99)),
            c("longest").max(),
            c("len").sum().cast(pl.Int64).alias("timed"),
        )
    )
    counted = by_time.group_by("key").agg(c(_COUNTED).sum()).join(timed, on="key", how="left")
    made = {row.pop("key"): row for row in counted.iter_rows(named=True)}
    if connections:
        of_key = rows.select("key", *_KEY).unique().group_by("key").agg(pl.len().cast(pl.Int64))
        for key, number in of_key.collect(engine=engine).iter_rows():
            made[key]["connections"] = number
    names: dict[str, tuple[str, ...]] = {}
    by_name = by_time.group_by("key", "name").agg(c("len").sum())
    for key, name, _ in sorted(by_name.iter_rows(), key=lambda row: (-row[2], row[1])):
        if name and len(names.get(key, ())) < NAMES:
            names[key] = (*names.get(key, ()), name)
    return made, names


def _rounded(time: pl.Expr) -> pl.Expr:
    """Return a time (ns) rounded down by at most 0.4 %, so that many exchanges have few different times."""
    step = pl.lit(2).pow((time.clip(256).log(2).floor() - 8).cast(pl.UInt32)).cast(pl.Int64)
    return time // step * step


def _time_lost(report: Report, rows: pl.LazyFrame, by: Grouping) -> dict[str, Counter[str]]:
    """Return, for each group, the time lost (ns) by rule, according to the findings. Findings without a group are left out."""
    costly = [one for one in report.findings if one.delay]
    keys: dict[tuple[str, int, int], str] = {}
    if by in {Grouping.host, Grouping.path} and costly:
        keys = _keys_of({(one.capture, one.connection) for one in costly if one.connection is not None}, rows)
    lost: dict[str, Counter[str]] = {}
    for one in costly:
        if by is Grouping.server:
            key = one.server
        elif by is Grouping.client:
            key = host(one.client)
        elif one.connection is None:
            key = None
        else:
            key = keys.get((one.capture, one.connection, -1 if one.exchange is None else one.exchange))
        if key:
            lost.setdefault(key, Counter())[one.rule] += round((one.delay or 0.0) * SECOND)
    return lost


def _keys_of(places: set[tuple[str, int]], rows: pl.LazyFrame) -> dict[tuple[str, int, int], str]:
    """Return the group of each exchange on the connections in `places`, by (capture, connection, exchange).

    If all exchanges of a connection are in one group, this group is also stored with -1 as the exchange.
    """
    wanted = pl.LazyFrame([*places], {"capture": pl.String(), "connection": pl.Int64()}, orient="row")
    found = rows.join(wanted, on=_KEY, how="semi").select(*_KEY, pl.col("exchange").cast(pl.Int64), "key").collect()
    keys = {(capture, connection, exchange): key for capture, connection, exchange, key in found.iter_rows()}
    alone = found.group_by(_KEY).agg(pl.col("key").unique()).filter(pl.col("key").list.len() == 1)
    return keys | {(capture, connection, -1): only[0] for capture, connection, only in alone.iter_rows()}


def _statistics(
    key: str, counts: Counts, names: Mapping[str, tuple[str, ...]], lost: Mapping[str, Mapping[str, int]],
    streams: StreamStatistics = NO_STREAMS,
) -> ServerStatistics:  # fmt: skip
    def seconds(name: str) -> float | None:
        value = counts.get(name)
        return None if value is None else value / SECOND

    costs = sorted(lost.get(key, {}).items(), key=lambda one: (-one[1], one[0]))
    return ServerStatistics(
        key=key,
        names=names.get(key, ()),
        **{name: counts.get(name) or 0 for name in (*_COUNTED, "connections", "timed")},
        p50=seconds("p50"),
        p95=seconds("p95"),
        p99=seconds("p99"),
        longest=seconds("longest"),
        lost={rule: delay / SECOND for rule, delay in costs},
        streams=streams,
    )
