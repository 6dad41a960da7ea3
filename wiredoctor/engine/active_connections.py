"""Find open connections by their last packets, without examining all of them: a live capture may follow many that are idle."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from wiredoctor.core.tcp.connection import Connection
from wiredoctor.core.tcp.flows import Flows
from wiredoctor.engine import open_exchanges

SPARE = 256
"""The number of ended connections, or a quarter of the open ones, that are kept until they are dropped together."""


class ActiveConnections:
    """The connections that `flows` tracks, in the order of their last packets, and those of them that are busy.

    A connection is busy if an exchange on it is open, if bytes on it cannot be parsed yet, or if the attempt to connect has not
    succeeded. Only a packet makes it busy.
    """

    def __init__(self, flows: Flows) -> None:
        self._flows = flows
        flows.touched = set()
        self._by_id: dict[int, tuple[Connection, int]] = {}
        """Each connection with the watermark (ns) at its last packet, those with the oldest packets first."""
        self._busy: dict[int, Connection] = {}

    def since(self, clock: int) -> list[Connection]:
        """Return the connections with a packet at `clock` (ns) or later, in the order of their ids."""
        self._update()
        found: list[Connection] = []
        for connection, last in reversed(self._by_id.values()):
            if last < clock:
                break
            if connection.is_followed:
                found.append(connection)
        return sorted(found, key=_number)

    def newest(self) -> Iterator[Connection]:
        """Yield the connections, those with the newest packets first."""
        self._update()
        return (connection for connection, _ in reversed(self._by_id.values()) if connection.is_followed)

    def of_ids(self, ids: Collection[int]) -> list[Connection]:
        """Return the connections with these ids, in this order."""
        self._update()
        found = (self._by_id[number][0] for number in sorted(ids) if number in self._by_id)
        return [connection for connection in found if connection.is_followed]

    def busy(self) -> list[Connection]:
        """Return the connections that are busy, in the order of their ids."""
        self._update()
        self._busy = {number: one for number, one in self._busy.items() if one.is_followed and open_exchanges.is_busy(one)}
        return sorted(self._busy.values(), key=_number)

    def _update(self) -> None:
        """Take over the connections that had packets since the last call."""
        touched = self._flows.touched
        if not touched:
            return
        self._flows.touched = set()
        for connection in sorted(touched, key=_last_packet):
            number, last = connection.id, connection.last_clock
            if not connection.is_followed:
                self._by_id.pop(number, None)
                continue
            if number not in self._by_id or self._by_id[number][1] != last:
                self._by_id.pop(number, None)
                self._by_id[number] = connection, last
            self._busy[number] = connection
        if len(self._by_id) > self._flows.count + max(self._flows.count // 4, SPARE):
            self._by_id = {number: one for number, one in self._by_id.items() if one[0].is_followed}


def _number(connection: Connection) -> int:
    return connection.id


def _last_packet(connection: Connection) -> int:
    return connection.last_frame
