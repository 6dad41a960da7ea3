"""Find what a proxy changed, by comparing each received message with the forwarded one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from wiredoctor.compare.proxy.field_names import Head, names_of_heads
from wiredoctor.compare.proxy.result import Rewritten
from wiredoctor.compare.proxy.rewriting import Message, rewritten

if TYPE_CHECKING:
    from wiredoctor.compare.input import ProxySide

MAX_HEADS = 1_000
"""The maximum number of exchanges whose field names are compared, because this requires reading their packets again."""

Row = dict[str, Any]

Pairs = Callable[[], Iterator[tuple[Row, Row]]]

Ends = dict[int, list[Any]]
"""The client, the server and the client's direction (0 or 1) of each connection."""


def changes(pairs: Pairs, recorded: tuple[ProxySide, ProxySide], ends: tuple[Ends, Ends]) -> list[Rewritten]:
    """Return one row per kind of change, the most frequent first.

    The front is the side of the clients; the back is the side of the servers. `pairs`: a function that returns the matched
    exchanges as (front row, back row). `recorded`: the data of the front and of the back. `ends`: the endpoints of the
    connections at the front and at the back.
    """
    fields = _fields(pairs, recorded, ends)
    found: dict[tuple[str, str, str, str], list[tuple[Row, Row]]] = {}
    for here, there in pairs():
        for message in ("request", "response"):
            if not there[f"has_{message}"] or not here[f"has_{message}"]:
                continue
            first, second = (here, there) if message == "request" else (there, here)
            one, two = (_message(row, message, fields[int(row is there)]) for row in (first, second))
            for what, received, passed_on in rewritten(one, two):
                found.setdefault((message, what, received, passed_on), []).append((here, there))
    made: list[Rewritten] = []
    for (message, what, received, passed_on), alike in found.items():
        here, there = alike[0]
        made.append(
            Rewritten(
                "request" if message == "request" else "response", what, received, passed_on, len(alike),
                here["connection"], here["exchange"], there["connection"], there["exchange"],
            )
        )  # fmt: skip
    return sorted(made, key=lambda c: (c.message, -c.exchanges, c.what, c.received, c.passed_on))


Fields = dict[tuple[int, int, str], tuple[str, ...]]
"""The names of a message's header fields, by connection, exchange and message."""


def _fields(pairs: Pairs, recorded: tuple[ProxySide, ProxySide], ends: tuple[Ends, Ends]) -> tuple[Fields, Fields]:
    """Return the field names at the front and at the back, for the first MAX_HEADS matched exchanges."""
    chosen: tuple[dict[Head, tuple[int, int, str]], ...] = ({}, {})
    for number, rows in enumerate(pairs()):
        if number >= MAX_HEADS:
            break
        for side, row in enumerate(rows):
            for message in ("request", "response"):
                if (head := _head(row, message, ends[side])) is not None:
                    chosen[side][head] = (row["connection"], row["exchange"], message)
    made: list[Fields] = []
    for side, one in enumerate(recorded):
        read = names_of_heads(one.packets, chosen[side])
        made.append({chosen[side][head]: found for head, found in read.items()})
    return made[0], made[1]


def _head(row: Row, message: str, ends: Ends) -> Head | None:
    offset, length = row[f"{message}_offset"], row[f"{message}_head_bytes"]
    if offset is None or not length or row["connection"] not in ends:
        return None
    from_client = int(ends[row["connection"]][2])
    return Head(row["connection"], from_client if message == "request" else 1 - from_client, offset, length)


def _message(row: Row, message: str, fields: Fields) -> Message:
    def of(name: str) -> Any:
        return row[f"{message}_{name}"]

    connection = "close" if of("connection_close") else "keep-alive" if of("connection_keep_alive") else ""
    return Message(
        of("version"), of("framing"), connection, of("content_encoding") or "", of("body_bytes"), of("chunks"),
        of("end_reason") == "complete", fields.get((row["connection"], row["exchange"], message)),
        row["response_bursts"] if message == "response" else None, row["request_host"] if message == "request" else "",
        (row["request_target"] or "") if message == "request" else "",
        row["response_status"] if message == "response" else None,
    )  # fmt: skip
