"""Decide why each exchange failed at a gateway, and make the candidates of `gateway-error`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import polars as pl

from wiredoctor.findings import Threshold
from wiredoctor.gateways.kinds import FAILED_CALL, Failure, ended_at, failures, is_answer_due
from wiredoctor.gateways.known import Place
from wiredoctor.gateways.loose_attempts import assign_attempts, failed_at_once
from wiredoctor.gateways.tries import RETRY, Front, Route
from wiredoctor.rules.shared.evidence import candidate
from wiredoctor.rules.shared.failed_at_gateways import Failed
from wiredoctor.rules.shared.gateway_words import (
    BROKEN_OFF,
    blocked_until,
    gateway_software,
    is_close_doubtful,
    is_cut_by_device,
    is_refused_early,
    is_starved,
)
from wiredoctor.rules.shared.unforwarded_requests import UNFORWARDED, is_arp_timeout
from wiredoctor.rules.shared.unseen_gateways import UNSEEN
from wiredoctor.world.exchange import STALLED, TRY, Attempt, Connection, Exchange, ExchangeRow, Try, as_struct, read
from wiredoctor.world.numbers import DURATION

c = pl.col

WAITED = Threshold("1 s", "the minimum wait that counts as lost time; users do not notice a shorter wait")
_OF_FAILURE: dict[str, pl.DataType] = {
    **dict.fromkeys(("connection", "frame", "start", "end", "delay", "last", "lost_frame", "lost_time"), pl.Int64()),
    **dict.fromkeys(("blocked_until", "unread_on"), pl.Int64()),
    **dict.fromkeys(("kind", "side", "confidence", "software", "lost_server", "severity"), pl.String()),
    **dict.fromkeys(("whole", "guessed", "no_neighbor", "hidden"), pl.Boolean()),
    **{"exchange": pl.Int32(), "wait": DURATION, "front": pl.Int64()},
    **dict.fromkeys(("tries", "through"), pl.List(pl.Int64())),
}
"""The columns of `_facts_of`. `front`, `tries`, `through`: numbers of rows. `unread_on`: for kind unsent, the connection."""
SCHEMA = pl.Schema({
    **_OF_FAILURE,
    **{"front": TRY, "tries": pl.List(TRY), "through": pl.List(TRY), "unseen": UNSEEN, "server": pl.String()},
    **{"retry": RETRY, "made_whole": pl.Boolean(), "own_share": pl.Int64(), "interval": pl.Int64()},
    **dict.fromkeys(("closed_frame", "closed_time", "code", "responses", "total"), pl.Int64()),
    **dict.fromkeys(("late_frame", "late_time", "late_after"), pl.Int64()),
    "late_server": pl.String(),
})  # fmt: skip


class _Row(NamedTuple):
    """What else is known of a client's exchange with a gateway, and how a try was assigned to it; see Failed.rows."""

    route: str | None
    likely: bool | None
    asked_others: bool | None
    lost_server: str | None
    lost_frame: int | None
    lost_time: int | None
    response_server: str | None
    response_reason: str | None
    started: int | None
    certain: bool | None
    given: bool | None
    called: bool | None
    try_exchange: int | None
    try_server: str | None
    try_request_start: int | None


class _AtFront(NamedTuple):
    """A client's exchange with a gateway, and the rows about it, each with its try.

    The try is None if the gateway made none, or if its connection is too old to be examined.
    """

    exchange: Exchange
    rows: list[tuple[_Row, Try | None]]


def candidates(failed: Failed) -> pl.DataFrame:
    """Return the candidates of `gateway-error`, with the columns SCHEMA."""
    rows, loose, leads, unseen = failed
    asked = _exchanges_at_front(rows)
    attempts: dict[str, list[Attempt]] = {}
    for number, (of, ends) in enumerate(zip(loose["loose_of"], read(Connection, loose, "try_"), strict=True), rows.height):
        attempts.setdefault(of, []).append(Attempt(ends, number))
    known: dict[Route, set[str]] = {}
    for server, path, to in leads.select("server", "route", "leads_to").iter_rows():
        known.setdefault((server, path), set()).add(to)
    routes = {key: str(one.rows[0][0].route) for key, one in asked.items()}
    fronts = assign_attempts({key: _front(one) for key, one in asked.items()}, attempts, routes, known)
    # drop a `likely` exchange that did not fail at once: nothing else shows that its server is a gateway
    fronts = {key: one for key, one in fronts.items() if one.call or not asked[key].rows[0][0].likely or failed_at_once(one)}
    found = failures(fronts)
    # the table of tries does not connect a call with its exchange, so the failure of a call is left out here
    inner = {
        one.key for key, failure in found.items() if fronts[key].call for one in failure.through[:1] if one is fronts[key].call
    }
    until, made = _outermost(fronts, found), list[dict[str, Any]]()
    for key, one in found.items():
        if key in inner:
            continue
        # the gateway nearest to the server made the error, and the others forwarded it
        software = _software(asked[one.through[-1].key if one.through else key])
        leads_on = (asked[key].exchange.server, routes[key]) in known
        made.append(_facts_of(asked[key], one, until.get(key, 0), leads=leads_on) | {"software": software})
    told = _with_structs(pl.DataFrame(made, _OF_FAILURE), rows, loose)
    parts = [] if unseen is None else [_unseen(unseen, {asked[key].exchange.server for key in found})]
    return pl.concat([SCHEMA.to_frame(), *parts, told], how="diagonal")


def _exchanges_at_front(rows: pl.DataFrame) -> dict[Place, _AtFront]:
    made: dict[Place, _AtFront] = {}
    of_tries = read(ExchangeRow, rows, "try_"), read(Connection, rows, "try_")
    columns = zip(read(ExchangeRow, rows), read(Connection, rows), read(_Row, rows), *of_tries, strict=True)
    for number, (values, ends, row, of_try, at) in enumerate(columns):
        key = ends.connection, values.exchange
        if key not in made:
            made[key] = _AtFront(Exchange(values, ends, number), [])
        attempt = row.try_exchange is None
        is_seen = row.try_server is not None and (attempt or row.try_request_start is not None)
        made[key].rows.append((row, None if not is_seen else Attempt(at, number) if attempt else Exchange(of_try, at, number)))
    return made


def _front(asked: _AtFront) -> Front:
    calls = [(row, one) for row, one in asked.rows if row.called is not None]
    front = _front_of_tries(asked.exchange, [one for one in asked.rows if one[0].called is None])
    for row, call in calls:
        if isinstance(call, Exchange):
            return front._replace(call=call, called=bool(row.called))
    return front


def _front_of_tries(own: Exchange, rows: list[tuple[_Row, Try | None]]) -> Front:
    tried = sorted((one for one in rows if one[0].started is not None), key=_order)
    if any(one is None for _, one in tried) or (not tried and (not rows or rows[0][0].asked_others)):
        return Front(own, (), certain=False)
    certain = all(row.certain for row, _ in tried)
    # a response whose status is `given` was forwarded, so it does not belong to an exchange with another status
    fits = (certain or not row.given or (isinstance(one, Exchange) and one.status == own.status) for row, one in tried)
    return Front(own, tuple(one for (_, one), fit in zip(tried, fits, strict=True) if one is not None and fit), certain)


def _order(tried: tuple[_Row, Try | None]) -> tuple[int, ...]:
    row, one = tried
    return row.started or 0, 0 if one is None else one.ends.connection, -1 if row.try_exchange is None else row.try_exchange


def _with_structs(made: pl.DataFrame, rows: pl.DataFrame, loose: pl.DataFrame) -> pl.DataFrame:
    """Return the candidates with structs of type TRY in place of the numbers of rows."""
    names = [f"try_{name}" for name in TRY.to_schema()]
    every = pl.concat([rows.select(names), loose.select(name for name in names if name in loose.columns)], how="diagonal")
    fronts, tries = rows.select(as_struct()).to_series(), every.select(as_struct("try_")).to_series()
    lists = [_rows_of(tries, made[name]) for name in ("tries", "through")]
    return made.with_columns(fronts.gather(made["front"]).alias("front"), *lists)


def _rows_of(structs: pl.Series, numbers: pl.Series) -> pl.Series:
    """Return lists of the structs with these numbers of rows."""
    # with a null each, because `explode` drops empty lists in some versions of Polars
    ended = numbers.to_frame("number").select(pl.concat_list("number", pl.lit(None, pl.Int64)))
    flat = ended.with_row_index().explode("number")
    made = flat.select("index", structs.gather(flat["number"]).alias(numbers.name))
    return made.group_by("index", maintain_order=True).agg(pl.last().drop_nulls())[numbers.name]


def _unseen(rows: pl.DataFrame, explained: Collection[str]) -> pl.DataFrame:
    """Return the candidates of kind unseen, except those of the servers `explained`."""
    return rows.filter(~c("server").is_in([*explained])).sort("response_frame", maintain_order=True).select(
        *candidate("server", "medium", "response_frame", "request_start", "response_start", kind=pl.lit("unseen"), of="server"),
        c("median").fill_null(0).cast(DURATION).alias("wait"),
        pl.struct(name for name in UNSEEN.to_schema()).alias("unseen"),
        *("server", "code", "responses", "total"),
    )  # fmt: skip


def _software(asked: _AtFront) -> str:
    v, row = asked.exchange.values, asked.rows[0][0]
    about_body = v.response_content_type, v.response_body_bytes
    page = row.response_server, row.response_reason, v.response_status
    return "" if v.response_frame is None else gateway_software(*page, *about_body)


def _outermost(fronts: Mapping[Place, Front], found: Mapping[Place, Failure]) -> dict[Place, int]:
    """Return the requests whose failure is a part of the failure of a gateway nearer to the client, with the time (ns) of the
    latter. All of them were sent by gateways.

    Only the failure at the gateway nearest to the client is reported.
    """
    until: dict[Place, int] = {}
    for key, failure in found.items():
        tries = fronts[key].tries if fronts[key].certain else ()
        for one in (*failure.through, *(one for one in tries if isinstance(one, Exchange))):
            until[one.key] = max(until.get(one.key, 0), _failed_at(fronts[key].exchange, failure))
    return until


def _facts_of(asked: _AtFront, failure: Failure, until: int, *, leads: bool) -> dict[str, Any]:
    """Return the candidate of a failure, with the columns _OF_FAILURE except `software`.

    `until`: the time (ns) of the same failure at a gateway nearer to the client; 0 if there is none. `leads`: whether the capture
    shows a server to which the gateway forwarded requests like this one.
    """
    front, last, kind = asked.exchange, failure.last, failure.kind
    end = _failed_at(front, failure)
    # the client may still have been sending its body
    in_part = front.asked_in_part and (kind == "closed" or is_refused_early(front, failure))
    start = front.values.request_start if front.asked > end or in_part else front.asked
    wait = end - start
    unforwarded, (row, _) = kind == UNFORWARDED, asked.rows[0]
    no_neighbor = unforwarded and is_arp_timeout(wait)
    # the gateway may have contacted a server that the capture does not show, unless another fact explains why it contacted none
    hidden = unforwarded and not leads and row.lost_server is None and not no_neighbor
    blameless = kind == "unreachable" or is_cut_by_device(failure)
    return {
        "connection": front.key[0], "exchange": front.key[1], "kind": kind,
        "side": None if blameless else "client" if is_starved(front, failure) else "server",
        "confidence": "low" if no_neighbor or hidden else _confidence(front, failure),
        "frame": front.values.request_frame, "start": start, "end": max(end, until), "wait": wait,
        "severity": "error" if kind == "stream-timed-out" and is_answer_due(front) else None,
        "delay": wait if wait >= WAITED.value and kind != "stream-timed-out" else None,
        "front": front.row, "tries": [one.row for one in failure.tries], "through": [one.row for one in failure.through],
        "last": next((number for number, one in enumerate(failure.tries) if one is last), None),
        "whole": failure.whole, "guessed": failure.guessed, "no_neighbor": no_neighbor, "hidden": hidden,
        **({name: getattr(row, name) for name in ("lost_server", "lost_frame", "lost_time")} if unforwarded else {}),
        "blocked_until": blocked_until(front, failure),
        "unread_on": last.ends.connection if isinstance(last, Exchange) and kind == "unsent" else None,
    }  # fmt: skip


def _failed_at(front: Exchange, failure: Failure) -> int:
    """Return the time (ns) at which the client learned that its request had failed."""
    whole = front.begun and (failure.kind not in BROKEN_OFF or front.is_error)
    return front.began if whole else min(ended_at(front), front.left)


def _confidence(front: Exchange, failure: Failure) -> str:
    seen = [front, *(one for one in failure.tries if isinstance(one, Exchange)), *failure.through]
    # a gap that was never acknowledged is part of the failure
    given = [one.values for one in seen if not (one.headless or one.holed)]
    if any(v.gap_before or v.request_has_gap or v.response_has_gap for v in given):
        return "low"
    inferred = failure.kind in (UNFORWARDED, FAILED_CALL) or not failure.whole or not all(one.values.handshake for one in seen)
    # a server also sends 503 or closes on purpose, and another program on the same host may have tried to connect meanwhile
    on_purpose = front.status in {503, None} and all(isinstance(one, Attempt) for one in failure.tries)
    on_purpose |= failure.kind == "stream-timed-out"
    # the gateway may have been waiting for its client
    on_purpose |= failure.kind == "unsent" and front.asked_in_part and _failed_at(front, failure) - front.asked >= STALLED
    return "medium" if inferred or on_purpose or is_close_doubtful(front, failure) else "high"
