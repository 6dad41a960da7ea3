"""What refused requests (413, 429, 503) cost: clauses that follow the number of their responses."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import polars as pl

from wiredoctor.report.by_status import engine_for, find_backs
from wiredoctor.report.own_answers import own_answers
from wiredoctor.report.words import SECOND, count, duration
from wiredoctor.tables import of_connections

if TYPE_CHECKING:
    from wiredoctor.findings import Report

c = pl.col

TOO_LARGE, TOO_MANY, UNAVAILABLE = 413, 429, 503
REFUSALS = (TOO_LARGE, TOO_MANY, UNAVAILABLE)
"""Content Too Large, Too Many Requests, Service Unavailable (RFC 9110 section 15, RFC 6585 section 4)."""

_OF_GATEWAYS = (TOO_LARGE, TOO_MANY)
"""The statuses with which gateways refuse requests by a limit of their own; 503 has the rule gateway-error."""

LATEST = SECOND
"""How much later (ns) than 1.1 times Retry-After a client may send its request again."""

_MAX_ROWS = 20_000
"""The maximum number of requests that are compared. If there are more, nothing is said."""
_TIMES = {1: "once", 2: "twice"}
_KEY = ["capture", "connection"]
_SAME = ("capture", "client_host", "request_method", "request_host", "request_target", "request_body_bytes")
"""The columns that two tries of a request have in common."""

Row = dict[str, Any]


def refusal_clauses(report: Report, capture: str | None = None) -> dict[int, list[str]]:
    """Return clauses about refused requests by the status to which they belong. `capture`: of one capture only.

    Requests that a gateway forwarded are not counted, because its clients sent them, too.
    """
    exchanges = report.scan_exchanges().filter(c("has_request"))
    if capture is not None:
        exchanges = exchanges.filter(c("capture") == capture)
    if (backs := find_backs(report)) is not None:
        exchanges = exchanges.join(backs.lazy(), on=[*_KEY, "exchange"], how="anti")
    of_calls = exchanges.filter(c("request_retry_count").is_not_null() | c("response_status").is_in(REFUSALS))
    clients, engine = report.scan_connections().select(*_KEY, "client_host"), engine_for(report)
    calls = of_calls.select(*_KEY, "request_method", "request_target").collect(engine=engine)
    if calls.is_empty():
        return {}
    # only requests of the same clients are compared, so most are never read
    theirs = clients.join(clients.join(calls.lazy(), on=_KEY, how="semi"), on=["capture", "client_host"], how="semi")
    theirs = theirs.collect(engine=engine)
    alike = (
        of_connections(exchanges, theirs)
        .select(*_KEY, *_SAME[2:], *_READ)
        .join(calls.lazy(), on=["request_method", "request_target"], how="semi")
        .join(theirs.lazy(), on=_KEY)
    )
    if alike.select(pl.len()).collect(engine=engine).item() > _MAX_ROWS:
        return {}
    rows = alike.sort("request_start").collect(engine=engine)
    some = rows.to_dicts()
    clauses = {status: [*_waited(some, status), *_calls(some, status)] for status in (TOO_MANY, UNAVAILABLE)}
    clauses[TOO_LARGE] = [*_before_body(some)]
    for status, number in own_answers(report, _OF_GATEWAYS, capture).items():
        if number:
            clauses[status].append(f"a gateway made {number:,} of them itself, and asked no server")
    return clauses


_READ = (
    *("request_start", "request_offset", "request_head_bytes", "request_framing", "request_body_due", "request_retry_count"),
    *("request_end", "response_ack", "response_start", "response_end", "response_status", "response_retry_after"),
)


def _waited(rows: list[Row], status: int) -> Iterator[str]:
    """Yield a clause about the time that clients waited because of Retry-After: 1 to 1.1 times as long, plus LATEST."""
    same: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in rows:
        same[tuple(row[name] for name in _SAME)].append(row)
    waits: list[tuple[int, int]] = []
    for tries in same.values():
        open_waits: list[tuple[int, int]] = []
        for one in tries:
            began = one["request_start"]
            for wait in open_waits:
                end, asked = wait
                if asked * SECOND <= began - end <= asked * SECOND * 11 // 10 + LATEST:
                    waits.append((began - end, asked))
                    open_waits.remove(wait)
                    break
            if one["response_status"] == status and one["response_retry_after"] and one["response_end"] is not None:
                open_waits.append((one["response_end"], one["response_retry_after"]))
    if waits:
        asked = sorted({asked for _, asked in waits})
        times = _TIMES.get(len(waits), f"{len(waits):,} times")
        values = f"{asked[0]} s" if len(asked) == 1 else f"{asked[0]} to {asked[-1]} s"
        whole = duration(sum(waited for waited, _ in waits) / SECOND)
        yield f"clients waited {whole} before they asked again (Retry-After: {values}, {times})"


def _calls(rows: list[Row], status: int) -> Iterator[str]:
    """Yield a clause about calls that were given up: of each number of tries, those refused that no further try followed."""
    calls: dict[tuple[Any, ...], tuple[Counter[int], Counter[int]]] = defaultdict(lambda: (Counter(), Counter()))
    for row in rows:
        if (tried := row["request_retry_count"]) is not None:
            sent, refused = calls[tuple(row[name] for name in _SAME)]
            sent[tried] += 1
            refused[tried] += row["response_status"] == status
    whole = failed = 0
    for sent, refused in calls.values():
        given_up = [refused[tried] - sent[tried + 1] for tried in refused if refused[tried]]
        if not sent[0] or min(given_up, default=0) < 0 or any(sent[tried + 1] > sent[tried] for tried in sent):
            continue  # the capture lacks tries, or other failures were repeated, too
        whole += sent[0]
        failed += sum(given_up)
    if failed:
        yield f"{failed:,} of {count(whole, 'call')} failed: the last try got {status}, too"


def _before_body(rows: list[Row]) -> Iterator[str]:
    """Yield a clause about the first request that was rejected before its whole body had arrived at the server."""
    refused = [row for row in rows if row["response_status"] == TOO_LARGE]
    for row in refused:
        due, came = row["request_body_due"], row["response_ack"]
        if row["request_framing"] == "content-length" and None not in (due, came):
            arrived = came - row["request_offset"] - row["request_head_bytes"]
            if 0 <= arrived < due:
                which = "it" if len(refused) == 1 else "one of them"
                yield f"{which} was sent when {arrived:,} of {due:,} bytes of the request's body had arrived"
                return
