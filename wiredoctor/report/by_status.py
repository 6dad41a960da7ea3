"""Count each server's final responses by status class, and find out which server caused responses of 500 and above."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakKeyDictionary

import polars as pl

if TYPE_CHECKING:
    from polars._typing import EngineType

    from wiredoctor.findings import Report
    from wiredoctor.gateways import Gateways, Place

c = pl.col

SERVER_ERROR = 500
"""The lowest status code of a server error (RFC 9110 section 15.6)."""

REJECTIONS = (400, 408, 411, 413, 414, 417, 421, 426, 429, 431)
"""The statuses below 500 with which a server rejects a request because of its form, size, rate or connection (RFC 9110 section
15.5, RFC 6585), not because of the resource that it requests.
"""
FINAL = 200
"""The lowest status code of a final response. Lower codes are those of interim responses, except 101 (Switching Protocols)."""


@dataclass(frozen=True, repr=False)
class Failures:
    """The responses of one server with the same status, which is 500 or above.

    `own`: the number of responses that the server generated as a gateway, by kind of gateway-error finding. `passed_on`: the
    number of responses that the server forwarded as a gateway, by upstream server. `repeated`: the number of responses that a
    gateway received from this server but did not forward, because the gateway repeated the request.
    """

    status: int
    count: int
    own: dict[str, int] = field(default_factory=dict[str, int])
    passed_on: dict[str, int] = field(default_factory=dict[str, int])
    repeated: int = 0

    @property
    def unexplained(self) -> int:
        """The number of failures without a known reason."""
        return self.count - sum(self.own.values()) - sum(self.passed_on.values()) - self.repeated


class ServerAnswers(NamedTuple):
    """The final responses of a server endpoint.

    `server`: None stands for all servers that `live` could not count individually in a long capture, because there were too many.
    `classes`: the number of responses by class, such as "2xx". `hidden`: the number of server errors (500 or above), by
    status, that a gateway received in its last attempt for a client's request, although the client got no server error. Requests
    with a gateway-error finding are not counted.
    """

    server: str | None
    classes: dict[str, int]
    failures: tuple[Failures, ...]
    hidden: Mapping[int, int] = {}

    @property
    def responses(self) -> int:
        """The number of responses."""
        return sum(self.classes.values())

    @property
    def failed(self) -> int:
        """The number of responses with a status of 500 or above."""
        return sum(one.count for one in self.failures)


class Answered(NamedTuple):
    """The number of exchanges (`rows`) with the same values in all other fields.

    `status`: the exact status if it is 500 or above or one of REJECTIONS. Other statuses are counted together as the last status
    of their class, such as 299. `is_back`: true if a gateway had these exchanges with upstream servers, and the capture also
    contains the exchanges with its clients.
    """

    capture: str
    server: str | None
    has_request: bool
    is_final: bool
    status: int | None
    is_back: bool
    rows: int


_counted: WeakKeyDictionary[Report, list[Answered]] = WeakKeyDictionary()
"""The results of `count_by_status`, which several parts of a report and several output formats need."""


def count_by_status(report: Report) -> list[Answered]:
    """Count the exchanges by server and status. The table of exchanges is read only once for each report, which saves time."""
    if report not in _counted:
        _counted[report] = _count_by_status(report)
    return _counted[report]


def _count_by_status(report: Report) -> list[Answered]:
    if not report.exchange_count:
        return []
    status, names = c("response_status"), [capture.file for capture in report.captures]
    exact = (status >= SERVER_ERROR) | status.is_in(REJECTIONS)
    kinds = (c("has_request"), is_final().alias("final"), pl.when(exact).then(status).otherwise(status // 100 * 100 + 99))
    backs = find_backs(report)
    # grouping by fewer columns is faster, so columns with only one value are added afterwards
    constant: dict[str, str | bool] = {"capture": names[0]} if len(names) == 1 else {}
    rows = report.scan_exchanges().select("capture", "endpoint", "connection", *([] if backs is None else ["exchange"]), *kinds)
    if backs is None:
        constant["back"] = False
    else:
        passed_on = rows.join(backs.lazy(), on=["capture", "connection", "exchange"], how="left").drop("exchange")
        rows = passed_on.with_columns(c("back").fill_null(value=False))
    rows = rows.group_by(pl.exclude("connection", *constant)).agg(pl.len().cast(pl.Int64).alias("rows"), c("connection").min())
    rows = rows.with_columns(pl.lit(value).alias(name) for name, value in constant.items())
    parts = [_with_server_names(report, rows.collect(engine=engine_for(report)))]
    if (old := report.forgotten.get("exchanges")) is not None and names:
        server = c("server") if "server" in old.columns else pl.lit(None, pl.String).alias("server")
        at_no_back = pl.lit(value=False).alias("back")
        parts.append(old.select(pl.lit(names[0]).alias("capture"), server, *kinds, at_no_back, c("rows").cast(pl.Int64)))
    counted = pl.concat(parts).sort("capture", "server", "response_status", nulls_last=True)
    return [Answered(*row) for row in counted.iter_rows()]


def is_final() -> pl.Expr:
    """Return an expression that is true for exchanges with a final response (RFC 9110 section 15) or an upgrade (101)."""
    return (c("has_response") & ((c("response_status") >= FINAL) | c("upgraded"))).fill_null(value=False)


def engine_for(report: Report) -> EngineType:
    """Return the Polars engine for queries of a report's exchanges.

    The streaming engine saves memory if there are many rows, but takes milliseconds to start.
    """
    from wiredoctor.tables import SMALL

    return "streaming" if report.exchange_count > SMALL else "auto"


def _with_server_names(report: Report, rows: pl.DataFrame) -> pl.DataFrame:
    """Replace the hash of the server (column `endpoint`) with its name (column `server`), or with null if it is not known."""
    key = ["capture", "connection"]
    first = rows.lazy().group_by("capture", "endpoint").agg(pl.col("connection").min()).collect()
    wanted = pl.col("connection").is_in(first["connection"].unique().implode())
    known = report.scan_connections().select(*key, "server").filter(wanted)
    places = first.lazy().join(known, on=key, how="left").drop("connection")
    named = rows.lazy().join(places, on=["capture", "endpoint"], how="left")
    return named.select("capture", "server", "has_request", "final", "response_status", "back", "rows").collect()


def find_backs(report: Report) -> pl.DataFrame | None:
    """Return the capture, connection and exchange of each exchange that a gateway certainly had with an upstream server.

    It may still be unknown which client request the gateway forwarded in the exchange. Return None if there are no exchanges with
    upstream servers. The table of exchanges is read only once for each report.
    """
    if report not in _backs:
        _backs[report] = _find_backs(report)
    return _backs[report]


_backs: WeakKeyDictionary[Report, pl.DataFrame | None] = WeakKeyDictionary()
"""The results of `find_backs`, which several parts of a report need."""


def _find_backs(report: Report) -> pl.DataFrame | None:
    key = ["connection", "exchange"]
    parts: list[pl.DataFrame] = []
    for capture, known in report.gateways.items():
        if known.tries.height:
            theirs = (c("capture") == capture) & c("connection").is_in(pl.Series([*known.behind], dtype=pl.Int64).implode())
            behind = report.scan_exchanges().filter(theirs).select(key).collect(engine=engine_for(report))
            backs = pl.concat([known.tries.filter(_is_back(known)).select(key), behind]).unique(maintain_order=True)
            parts.append(backs.select(pl.lit(capture).alias("capture"), *key, pl.lit(value=True).alias("back")))
    found = pl.concat(parts) if parts else None
    return found if found is not None and found.height else None


def _is_back(known: Gateways) -> pl.Expr:
    """Return an expression that is true for rows of gateways.TRIES in which a gateway certainly had an exchange with a server."""
    of_gateway = c("connection").is_in(pl.Series([*known.clients], dtype=pl.Int64).implode())
    return (c("certain") | of_gateway) & c("exchange").is_not_null()


def by_server(report: Report, rows: Iterable[Answered], capture: str | None = None) -> tuple[ServerAnswers, ...]:
    """Return the final responses of each server, sorted by failures, then by responses, with the largest numbers first.

    `capture`: the only capture to count; None for all.
    """
    counts: dict[str | None, Counter[int]] = {}
    for row in rows:
        if row.is_final and row.status is not None and capture in (None, row.capture):
            counts.setdefault(row.server, Counter())[row.status] += row.rows
    blamed = _Blamed(report, capture) if any(status >= SERVER_ERROR for each in counts.values() for status in each) else None
    made = [_of_server(server, each, blamed) for server, each in counts.items()]
    return tuple(sorted(made, key=lambda one: (-one.failed, -one.responses, one.server is None, one.server or "")))


def count_classes(statuses: Mapping[int, int]) -> dict[str, int]:
    """Return the number of responses by class, such as "2xx". `statuses`: the number of responses by status."""
    classes: Counter[str] = Counter()
    for status, number in sorted(statuses.items()):
        classes[f"{status // 100}xx"] += number
    return {**classes}


def _of_server(server: str | None, statuses: Mapping[int, int], blamed: _Blamed | None) -> ServerAnswers:
    failed = [(status, number) for status, number in sorted(statuses.items()) if status >= SERVER_ERROR]
    return ServerAnswers(
        server,
        count_classes(statuses),
        tuple(Failures(*one) if blamed is None else blamed.failures(server, *one) for one in failed),
        {} if blamed is None else blamed.hidden(server, *(status for status, _ in failed)),
    )


class _Blamed:
    """Finds out which failures a gateway generated, passed on, or hid by repeating the request.

    Failures are responses with a status of 500 or above, counted by server and status.
    """

    def __init__(self, report: Report, only: str | None) -> None:
        self._own: dict[tuple[str | None, int], Counter[str]] = {}
        self._passed_on: dict[tuple[str | None, int], Counter[str]] = {}
        self._repeated: Counter[tuple[str | None, int]] = Counter()
        self._hidden: Counter[tuple[str | None, int]] = Counter()
        told: dict[tuple[str, int, int], str] = {}
        for one in chain(report.findings, *(left.failures for left in report.left_out)):
            if one.rule == "gateway-error" and one.connection is not None and one.exchange is not None:
                told[one.capture, one.connection, one.exchange] = one.kind or ""
        for capture, known in report.gateways.items():
            if known.tries.height and only in (None, capture):
                self._count(capture, _failed_exchanges(report, capture), known, told)

    def _count(
        self, capture: str, failed: Mapping[Place, tuple[str, int]], known: Gateways,
        told: Mapping[tuple[str, int, int], str],
    ) -> None:  # fmt: skip
        last: dict[Place, tuple[int, int | None]] = {}
        front_of: dict[tuple[int, int | None], Place] = {}
        for front, index, connection, exchange in _near(known.tries, failed).iter_rows():
            before = last.get((front, index))
            if before is not None and before[1] is not None and (before[0], before[1]) in failed:
                self._repeated[failed[before[0], before[1]]] += 1
            last[front, index] = connection, exchange
            front_of[connection, exchange] = front, index
        for place, (connection, exchange) in last.items():
            sent = None if exchange is None else failed.get((connection, exchange))
            if sent is not None and place not in failed and (capture, *place) not in told:
                self._hidden[sent] += 1
        for place, (server, status) in failed.items():
            behind = last.get(place)
            kind, outer = told.get((capture, *place)), place
            # in a chain of gateways, the finding may be about the exchange of an outer gateway
            while not kind and server in known.fronts and outer in front_of:
                outer = front_of[outer]
                kind = told.get((capture, *outer))
            there, same = failed.get((behind[0], behind[1]), ("", 0)) if behind and behind[1] is not None else ("", 0)
            if kind and not (same == status and there in known.fronts):
                self._own.setdefault((server, status), Counter())[kind] += 1
            elif same == status:
                self._passed_on.setdefault((server, status), Counter())[there] += 1
        for doubt in known.doubtful:
            fronts = Counter(failed[one] for one in doubt.fronts if one in failed and (capture, *one) not in told)
            backs = [failed[one] for one in doubt.backs if one in failed]
            for (server, status), number in fronts.items():
                servers = [there for there, other in backs if other == status]
                # if servers sent this status as often as clients got it, all these responses were passed on
                if len(servers) == number and all(one == (server, status) or one[1] != status for one in fronts):
                    self._passed_on.setdefault((server, status), Counter()).update(servers)

    def failures(self, server: str | None, status: int, number: int) -> Failures:
        """Return the failed responses of a server with this status. `number`: how many there are."""
        place = server, status
        own, passed_on = self._own.get(place, Counter[str]()), self._passed_on.get(place, Counter[str]())
        return Failures(status, number, {**own}, {**passed_on}, self._repeated[place])

    def hidden(self, server: str | None, *statuses: int) -> dict[int, int]:
        """Return, by status, the number of responses of a server after which the gateway's client got no server error."""
        return {status: number for status in statuses if (number := self._hidden[server, status])}


def _near(tries: pl.DataFrame, failed: Iterable[Place]) -> pl.DataFrame:
    """Return all attempts for each client request if the request or one of the attempts failed.

    An attempt is an exchange of a gateway with an upstream server. Attempts that may belong to another request are left out.
    `tries`: rows of gateways.TRIES. `failed`: the failed exchanges as (connection, exchange).
    """
    front, back = ["front_connection", "front_exchange"], ["connection", "exchange"]
    sure = tries.filter("certain").select(*front, *back)
    places = pl.DataFrame([*failed], {name: sure.schema[name] for name in back}, orient="row")
    fronts = pl.concat(
        [
            sure.join(places, left_on=front, right_on=back, how="semi").select(front),
            sure.join(places, on=back, how="semi").select(front),
        ]
    )
    return sure.join(fronts, on=front, how="semi", maintain_order="left")


def _failed_exchanges(report: Report, capture: str) -> dict[tuple[int, int], tuple[str, int]]:
    """Return the exchanges with a status of 500 or above: (server, status) by (connection, exchange)."""
    of_it = c("capture") == capture
    rows = (
        report.scan_exchanges()
        .filter(c("has_response") & (c("response_status") >= SERVER_ERROR) & of_it)
        .select("connection", "exchange", "response_status")
        .collect()
    )
    servers = (
        report.scan_connections()
        .filter(of_it & c("connection").is_in(rows["connection"].unique().implode()))
        .select("connection", "server")
        .collect()
    )
    named = rows.join(servers, on="connection")
    return {(connection, exchange): (server, status) for connection, exchange, status, server in named.iter_rows()}
