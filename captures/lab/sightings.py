"""Read exchanges with tshark, for traffic whose client decides how many connections it opens."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING

import evidence
from scenario import SEEN, Connection, Exchange

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def each(connection: Connection) -> list[Exchange]:
    """Return one entry per exchange."""
    return [exchange for exchange in connection.exchanges for _ in range(exchange.repeat)]


def with_sizes(path: Path, number: int, connection: Connection) -> tuple[Exchange, ...]:
    """Return the exchanges of a connection, with the body sizes that the script did not know."""
    exchanges = each(connection)
    _, responses = evidence.bodies(path, number, len([exchange for exchange in exchanges if exchange.status]))
    return _alike(
        replace(exchange, repeat=1, response_body=body.size) if exchange.response_body == SEEN else replace(exchange, repeat=1)
        for exchange, body in zip(exchanges, responses, strict=True)
    )


def connections(path: Path) -> list[Connection]:
    """Return all connections in the order of tcp.stream, with their exchanges and who closed them first."""
    heads, others = (evidence.heads(path, whole=whole) for whole in (False, True))
    for number, other in others.items():
        # Where head and body are segments of their own, tshark misses responses unless it may assemble them.
        if number not in heads or len(other.statuses) > len(heads[number].statuses):
            heads[number] = other
    return [
        Connection(_exchanges(path, number, heads.get(number)), closed_by=evidence.closed_by(stream))
        for number, stream in sorted(evidence.segments(path).items())
    ]


def kinds(connections: Iterable[Connection]) -> set[Exchange]:
    """Return the distinct exchanges of the connections."""
    return {replace(exchange, repeat=1) for connection in connections for exchange in connection.exchanges}


def differences(meant: set[Exchange], met: set[Exchange]) -> tuple[set[Exchange], set[Exchange]]:
    """Return the intended exchanges that did not occur, and the unintended ones that did. An unknown size may be any."""
    free = {(one.method, one.target) for one in meant if one.response_body == SEEN}
    freed = {replace(one, response_body=SEEN) if (one.method, one.target) in free else one for one in met}
    return meant - freed, freed - meant


def _exchanges(path: Path, number: int, heads: evidence.Heads | None) -> tuple[Exchange, ...]:
    """Return the requests with their final responses in order; the last requests may have none."""
    if not heads:
        return ()
    statuses = [status for status in heads.statuses if status >= 200]
    requests, responses = evidence.bodies(path, number, len(statuses))
    answered = [
        Exchange(method, target, body.status, body.size, body.framing, request.size)
        for method, target, request, body in zip(heads.methods, heads.targets, requests, responses, strict=False)
    ]
    unanswered = zip(heads.methods[len(statuses) :], heads.targets[len(statuses) :], strict=True)
    return _alike([*answered, *(Exchange(method, target, None, None, "") for method, target in unanswered)])


def _alike(exchanges: Iterable[Exchange]) -> tuple[Exchange, ...]:
    """Join equal consecutive exchanges into one entry."""
    return tuple(replace(exchange, repeat=len(list(alike))) for exchange, alike in groupby(exchanges))
