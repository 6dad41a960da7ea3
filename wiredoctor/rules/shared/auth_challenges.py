"""Challenges (401, 407) that came again though the client's credentials had been accepted: what is remembered to tell them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

K = TypeVar("K")
V = TypeVar("V")

REFUSED = (401, 407)
"""Statuses that ask for credentials, RFC 9110 sections 15.5.2 and 15.5.8."""

BOUND = ("ntlm", "negotiate")
"""Schemes that authenticate the connection and not the request."""

MOST = 10_000
"""Of what is remembered of a client and a server: places where credentials were good, and requests that wait to be repeated."""

DEEPEST = 32
"""Levels of a path that are looked at."""


class Row(NamedTuple):
    """A request that has credentials, or that was refused for want of them (`scheme` ""); times in nanoseconds."""

    client_host: str
    server: str
    connection: int
    host: str
    method: str
    target: str
    scheme: str
    user: int | None
    status: int
    request_frame: int
    request_start: int
    response_frame: int
    response_start: int
    response_end: int
    rtt_client: int
    doubtful: bool

    @property
    def accepted(self) -> bool:
        """Its credentials were good."""
        return self.status not in REFUSED


@dataclass
class Pair:
    """A client host and a server. `repeated`: the needlessly challenged requests, with their repetitions."""

    repeated: list[tuple[Row, Row]] = field(default_factory=list[tuple[Row, Row]])
    _places: dict[tuple[str, int | None, str], int] = field(default_factory=dict[tuple[str, int | None, str], int])
    _users: dict[int | None, int] = field(default_factory=dict[int | None, int])
    _connections: dict[int, int] = field(default_factory=dict[int, int])
    _refused: dict[tuple[str, str, str], Row] = field(default_factory=dict[tuple[str, str, str], Row])

    def follow(self, row: Row) -> None:
        """Takes in the next request."""
        key = row.host, row.method, row.target
        if not row.scheme:
            _remember(self._refused, key, row)
            return
        before = self._refused.pop(key, None)
        if before is not None and before.response_start <= row.request_start and self._needless(before, row):
            self.repeated.append((before, row))
        if row.accepted:
            _remember(self._connections, row.connection, self._connections.get(row.connection, row.response_end))
            _remember(self._users, row.user, self._users.get(row.user, row.response_end))
            place = row.host, row.user, _directory(row)
            _remember(self._places, place, self._places.get(place, row.response_end))

    def _needless(self, refused: Row, again: Row) -> bool:
        """The client knew, when it sent the request without credentials, that they are wanted and good."""
        now = refused.request_start
        if again.scheme in BOUND:
            return self._connections.get(refused.connection, now + 1) <= now
        if not again.accepted:
            return False
        if refused.status == 407:
            return self._users.get(again.user, now + 1) <= now
        places = [(refused.host, again.user, place) for place in ("", *_above(_path(refused.target)))]
        return any(self._places.get(place, now + 1) <= now for place in places)


def _remember(known: dict[K, V], key: K, value: V) -> None:
    if len(known) >= MOST and key not in known:
        del known[next(iter(known))]
    known[key] = value


def _directory(row: Row) -> str:
    """Where its credentials are good: Basic's below the same directory (RFC 7617 section 2.2), others' on the whole server."""
    return _path(row.target).rpartition("/")[0] + "/" if row.scheme == "basic" else ""


def _above(path: str) -> Iterator[str]:
    """/a/b -> /, /a/"""
    parts = path.split("/", DEEPEST)[:-1]
    for end in range(1, len(parts) + 1):
        yield "/".join(parts[:end]) + "/"


def _path(target: str) -> str:
    """The path of a request target in any form, without query."""
    path = target.partition("?")[0]
    return path if path.startswith("/") else "/" + path.partition("://")[2].partition("/")[2]
