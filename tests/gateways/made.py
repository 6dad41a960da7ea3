"""Build rows of tables.EXCHANGES and tables.CONNECTIONS with the columns that the pairing reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import polars as pl

from wiredoctor import gateways
from wiredoctor.gateways import Gateways, Place
from wiredoctor.tables import CONNECTIONS, EXCHANGES, MILLISECOND

CLIENT, OTHER_CLIENT, OUTSIDE, INSIDE = "10.0.0.1", "10.0.0.2", "10.0.0.9", "10.1.0.9"
"""Two clients; the address at which they reach the gateway, and the one from which it asks the servers behind."""
FRONT, BACK, OTHER_BACK = f"{OUTSIDE}:80", "10.1.0.1:8080", "10.1.0.2:8080"
LOOPBACK = "127.0.0.1"

Pairs = set[tuple[Place, Place, bool]]


class Traffic:
    """Connections and their exchanges. Times are milliseconds."""

    def __init__(self) -> None:
        self._connections: list[dict[str, Any]] = []
        self._exchanges: list[dict[str, Any]] = []

    def connect(self, client: str, server: str, at: float = 0.0, **columns: Any) -> int:
        """A new connection of a client."""
        number = len(self._connections)
        self._connections.append({
            "connection": number, "client": f"{client}:{40_000 + number}", "client_host": client, "server": server,
            "syn_time": _ns(at), "exchanges": 0, "client_bytes": 0, "server_bytes": 0, "first_answer_frame": 1, **columns,
        })  # fmt: skip
        return number

    def attempt(self, client: str, server: str, at: float, *, refused: bool = True) -> int:
        """A connection of which the SYN is refused, or never answered."""
        answer = {"refused_frame": 2, "refused_time": _ns(at)} if refused else {}
        return self.connect(client, server, at, first_answer_frame=None, **answer)

    def ask(
        self, connection: int, at: float, until: float | None, status: int | None = 200, target: str = "/a", *,
        method: str = "GET", agent: str = "curl/8", body: int = 10, **columns: Any,
    ) -> Place:  # fmt: skip
        """An exchange; without a status it is closed by the server then, and without a time it is open at the end."""
        own = self._connections[connection]
        index, own["exchanges"] = own["exchanges"], own["exchanges"] + 1
        own["client_bytes"] += 100
        own["server_bytes"] += 100 if status else 0
        answer: dict[str, Any] = {"has_response": False}
        if status and until is not None:
            answer = {
                "has_response": True, "response_status": status, "response_start": _ns(until), "response_end": _ns(until),
                "response_end_reason": "complete", "response_body_bytes": body, "response_has_content_length": True,
            }  # fmt: skip
        elif until is not None:
            answer["server_close_time"] = _ns(until)
        self._exchanges.append({
            "connection": connection, "exchange": index, "has_request": True, "last_on_connection": True,
            "endpoint": hash(own["server"]),
            "request_method": method, "request_target": target, "request_user_agent": agent, "request_start": _ns(at),
            "request_end": _ns(at), "request_end_reason": "complete", "request_framing": "none", "request_body_bytes": 0,
            **answer, **columns,
        })  # fmt: skip
        return connection, index

    def once(self, client: str, server: str, at: float, until: float | None, status: int | None = 200, **columns: Any) -> Place:
        """An exchange on a connection of its own."""
        return self.ask(self.connect(client, server, at), at, until, status, **columns)

    def passed(self, at: float, until: float, **columns: Any) -> tuple[Place, Place]:
        """A request of a client that the gateway passes on, and so the response."""
        front = self.once(CLIENT, FRONT, at, until, **columns)
        return front, self.once(INSIDE, BACK, at + 1, until - 1, **columns)

    def found(self, order: Callable[[list[dict[str, Any]]], Iterable[dict[str, Any]]] = iter) -> Gateways:
        """What is said of it; `order` of the rows."""
        return gateways.find(*self.tables(order))

    def tables(
        self, order: Callable[[list[dict[str, Any]]], Iterable[dict[str, Any]]] = iter
    ) -> tuple[pl.LazyFrame, pl.LazyFrame]:
        """The exchanges and the connections."""
        exchanges = pl.DataFrame([*order(self._exchanges)], EXCHANGES.schema)
        connections = pl.DataFrame([*order(self._connections)], CONNECTIONS.schema)
        texts = [name for name, dtype in EXCHANGES.schema.items() if dtype == pl.String]
        filled = exchanges.with_columns(pl.col(texts).fill_null(""), pl.col(pl.Boolean).fill_null(value=False))
        return filled.lazy(), connections.lazy()


def _ns(milliseconds: float) -> int:
    return round(milliseconds * MILLISECOND)


def pairs(known: Gateways) -> Pairs:
    """Front, back, and whether that is certain; without attempts."""
    rows = known.tries.filter(pl.col("exchange").is_not_null()).iter_rows()
    return {((a, b), (c, d), certain) for a, b, c, d, certain, _ in rows}


def attempts(known: Gateways) -> set[tuple[Place, int]]:
    """Front, and the connection that was begun for it."""
    rows = known.tries.filter(pl.col("exchange").is_null()).iter_rows()
    return {((a, b), c) for a, b, c, _, _, _ in rows}
