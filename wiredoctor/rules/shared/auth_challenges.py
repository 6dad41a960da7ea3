"""Find needless challenges (401, 407), which came after the client's credentials had been accepted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

K = TypeVar("K")
V = TypeVar("V")

REFUSED = (401, 407)
"""The statuses that request credentials (RFC 9110 sections 15.5.2 and 15.5.8)."""

BOUND = ("ntlm", "negotiate")
"""The schemes that authenticate the connection instead of the request."""

MAX_ENTRIES = 10_000
"""The maximum number of entries per client and server: directories with accepted credentials, and challenged requests."""

DEEPEST = 32
"""The maximum number of path levels that are examined."""


class Row(NamedTuple):
    """A request with credentials, or a request that was refused because it had no credentials (`scheme` is ""). Times are in ns.

    `opened`, `ended`: the times of its connection's SYN and of the client's close, or an estimate; `ended` is None if the
    connection was not closed. `agent`: the User-Agent.
    """

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
    exchange: int
    opened: int
    ended: int | None
    rtt: int
    agent: str

    @property
    def is_accepted(self) -> bool:
        """True if the server accepted the request's credentials."""
        return self.status not in REFUSED


class Repeated(NamedTuple):
    """A needlessly challenged request, and its repetition with credentials.

    `pause`: the time (ns) since the last response to credentials, in which another process may have started. None if the request
    was not the first of its connection, or if a connection on which the client had sent credentials was open.
    `same_connection`: true if credentials had been accepted on the same connection, so the same process was challenged again.
    """

    refused: Row
    again: Row
    pause: int | None
    same_connection: bool


@dataclass(eq=False, repr=False)
class Pair:
    """The state that is kept for a client host and a server. `repeated`: the needlessly challenged requests."""

    repeated: list[Repeated] = field(default_factory=list[Repeated])
    _over: int = 0
    _all_ended: int | None = 0
    _places: dict[tuple[str, int | None, str], int] = field(default_factory=dict[tuple[str, int | None, str], int])
    _users: dict[int | None, int] = field(default_factory=dict[int | None, int])
    _connections: dict[int, int] = field(default_factory=dict[int, int])
    _refused: dict[tuple[str, str, str], tuple[Row, int | None]] = field(
        default_factory=dict[tuple[str, str, str], tuple[Row, int | None]]
    )

    def follow(self, row: Row) -> None:
        """Process the next request, in order of time. If it repeats a request that was challenged needlessly, add both to
        `repeated`.
        """
        key = row.host, row.method, row.target
        if not row.scheme:
            _remember(self._refused, key, (row, self._pause_before(row)))
            return
        before, pause = self._refused.pop(key, (None, None))
        if before is not None and before.response_start <= row.request_start and self._needless(before, row):
            self.repeated.append(Repeated(before, row, pause, self._was_accepted_on(before)))
        self._over = max(self._over, row.response_end)
        self._all_ended = None if self._all_ended is None or row.ended is None else max(self._all_ended, row.ended)
        if row.is_accepted:
            _remember(self._connections, row.connection, self._connections.get(row.connection, row.response_end))
            _remember(self._users, row.user, self._users.get(row.user, row.response_end))
            place = row.host, row.user, _directory(row)
            _remember(self._places, place, self._places.get(place, row.response_end))

    def _pause_before(self, refused: Row) -> int | None:
        """Return the time (ns) since the last response to credentials, or None, as described for `Repeated.pause`."""
        if refused.exchange or self._all_ended is None or self._all_ended > refused.opened:
            return None
        return refused.opened - self._over - refused.rtt

    def _was_accepted_on(self, refused: Row) -> bool:
        """Return whether credentials had been accepted on the connection of a refused request before it was sent."""
        now = refused.request_start
        return self._connections.get(refused.connection, now + 1) <= now

    def _needless(self, refused: Row, again: Row) -> bool:
        """Return whether the challenge was needless, because the credentials in `again`, the repetition, had been accepted
        before.
        """
        now = refused.request_start
        if again.scheme in BOUND:
            return self._was_accepted_on(refused)
        if not again.is_accepted:
            return False
        if refused.status == 407:
            return self._users.get(again.user, now + 1) <= now
        places = [(refused.host, again.user, place) for place in ("", *_above(_path(refused.target)))]
        return any(self._places.get(place, now + 1) <= now for place in places)


def _remember(known: dict[K, V], key: K, value: V) -> None:
    if len(known) >= MAX_ENTRIES and key not in known:
        del known[next(iter(known))]
    known[key] = value


def _directory(row: Row) -> str:
    """Return the directory in which the credentials of a request are valid; "" if they are valid everywhere.

    Basic credentials are valid in the directory of the request and below it (RFC 7617 section 2.2).
    """
    return _path(row.target).rpartition("/")[0] + "/" if row.scheme == "basic" else ""


def _above(path: str) -> Iterator[str]:
    """Yield the parent directories of a path: /a/b -> /, /a/."""
    parts = path.split("/", DEEPEST)[:-1]
    for end in range(1, len(parts) + 1):
        yield "/".join(parts[:end]) + "/"


def _path(target: str) -> str:
    """Return the path of a request target in any form, without its query."""
    path = target.partition("?")[0]
    return path if path.startswith("/") else "/" + path.partition("://")[2].partition("/")[2]
