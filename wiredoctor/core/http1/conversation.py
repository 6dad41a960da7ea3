"""The HTTP of a connection, with what it shares with all connections: it reports faults, and is woken up at a time."""

from __future__ import annotations

from mypy_extensions import i64, mypyc_attr

from wiredoctor.core.http1.http_state import HttpState
from wiredoctor.core.http1.message import Fault
from wiredoctor.core.http1.shared_http import SharedHttp
from wiredoctor.core.tcp.connection import Connection
from wiredoctor.core.tcp.damage import is_altered
from wiredoctor.core.tcp.segment import NEVER


@mypyc_attr(acyclic=True)
class Conversation(HttpState):
    """The HTTP state of one connection, and in `http` what all connections share."""

    def __init__(self, http: SharedHttp, connection: Connection) -> None:
        super().__init__(connection)
        self.http: SharedHttp = http

    def add_fault(self, fault: Fault) -> None:
        """Write a row of `faults`, unless the capture does not have the bytes that were sent."""
        if not is_altered(self.connection):
            self.http.faults.write(self, fault)

    def wake_at(self, time: i64) -> None:
        """Schedule a call of endings.wake at `time` (ns)."""
        if self.wakes_at == NEVER or time < self.wakes_at:
            self.wakes_at = time
            self.http.alarms.add(time, self)
