"""Rows that the core wrote as frames with the columns of wiredoctor.tables."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import polars as pl

from wiredoctor.core.closes import CLOSED_BY, CLOSES
from wiredoctor.core.connections import NUMBERS, ConnectionRows
from wiredoctor.core.history import in_letters
from wiredoctor.core.loop import Core
from wiredoctor.core.pairing import Conversation, Cuts
from wiredoctor.core.rows import Rows
from wiredoctor.core.stalls import CLOSURES as CLOSURE_CELLS
from wiredoctor.core.stalls import RECOVERIES as RECOVERY_CELLS
from wiredoctor.core.stalls import RELEASES as RELEASE_CELLS
from wiredoctor.core.stalls import RUNS as RUN_CELLS
from wiredoctor.core.stalls import SORTS
from wiredoctor.engine.frames import HeadColumns, burst_frame, cells_of, exchange_frame, fault_frame, make_frame, message_frame
from wiredoctor.http.tls import SILENT
from wiredoctor.tables import (
    BURSTS,
    CLOSURES,
    CONNECTIONS,
    FINISHED_EXCHANGES,
    MESSAGES,
    ODDITIES,
    RECOVERIES,
    RELEASES,
    RUNS,
    STORED_EXCHANGES,
    Table,
    closes,
)

Tables = dict[str, pl.DataFrame]

_PROTOCOLS = ("unknown", "http", "tls", "http2")
"""In the order of pairing.UNKNOWN, HTTP, TLS_PROTOCOL and HTTP2."""


def take_tables(core: Core) -> Tables:
    """Take everything that the core has written: table -> rows, and under "stored" those of tables.STORED_EXCHANGES."""
    stalls, http = core.story.stalls, core.http
    heads = HeadColumns(http.codes.take())
    stored = exchange_frame(STORED_EXCHANGES, http.closes, heads)
    oddities, core.general.oddities = core.general.oddities, []
    contents, core.contents = core.contents, []
    return {
        "releases": _events(RELEASES, stalls.releases, RELEASE_CELLS),
        "recoveries": _events(RECOVERIES, stalls.recoveries, RECOVERY_CELLS),
        "closures": _events(CLOSURES, stalls.closures, CLOSURE_CELLS),
        "runs": _events(RUNS, stalls.runs, RUN_CELLS),
        "exchanges": exchange_frame(FINISHED_EXCHANGES, http.exchanges, heads),
        "closes": closes(stored),
        "stored": stored,
        "faults": fault_frame(http.faults.take()),
        "messages": message_frame(http.messages, heads) if http.messages is not None else MESSAGES.empty(),
        "bursts": burst_frame(http.bursts) if http.bursts is not None else BURSTS.empty(),
        "connections": connection_frame(core.connections, contents),
        "oddities": ODDITIES.frame(dict(zip(ODDITIES.schema, zip(*oddities, strict=True), strict=True)))
        if oddities
        else ODDITIES.empty(),
    }


def _events(table: Table, rows: Rows, names: Sequence[str]) -> pl.DataFrame:
    """Take the rows of an event table."""
    if not rows.count:
        return table.empty()
    columns: dict[str, Any] = cells_of(rows, names)
    if "sort" in columns:
        columns["sort"] = pl.Series(SORTS).gather(columns["sort"])
    return make_frame(table, columns)


def connection_frame(rows: ConnectionRows, contents: Sequence[Conversation | None]) -> pl.DataFrame:
    """Take the rows of connections that are over, and what each of them carried."""
    if not contents:
        return CONNECTIONS.empty()
    columns: dict[str, Any] = cells_of(rows.rows, NUMBERS)
    keys, rows.keys = rows.keys, []
    directions = columns["client_direction"].tolist()
    columns["client"], columns["server"], columns["client_host"] = _endpoints(keys, directions)
    letters = zip(columns["history"].tolist(), columns["more_history"].tolist(), directions, strict=True)
    columns["history"] = [_in_letters(*one) for one in letters]
    columns["closed_by"] = pl.Series(CLOSED_BY).gather(columns["closed_by"])
    columns["close"] = pl.Series(CLOSES).gather(columns["close"])
    columns["protocol"] = ["none" if content is None else _PROTOCOLS[content.protocol] for content in contents]
    columns["exchanges"] = [0 if content is None else content.next_index for content in contents]
    cuts = [_NO_CUTS if content is None or content.cuts is None else content.cuts for content in contents]
    for name, column in (("cut_heads", "count"), ("cut_frame", "frame"), ("cut_time", "time")):
        columns[name] = [getattr(one, column) for one in cuts]
    hellos = [SILENT if content is None else content.tls_facts() for content in contents]
    for place, name in enumerate(("tls_version", "server_name", "alpn_offered", "alpn_chosen", "encrypted_hello")):
        columns[name] = [hello[place] for hello in hellos]
    return make_frame(CONNECTIONS, columns)


_NO_CUTS = Cuts()
_in_letters = lru_cache(4096)(in_letters)


def _endpoints(keys: Sequence[bytes], directions: Sequence[int]) -> tuple[list[str], list[str], list[str]]:
    """Return the endpoints of clients and of servers, and the addresses of clients, as text (IPv6 as in RFC 5952)."""
    clients: list[str] = []
    servers: list[str] = []
    hosts: list[str] = []
    for key, direction in zip(keys, directions, strict=True):
        size = 4 if len(key) == 12 else 16
        ends = (
            (_host(key[:size]), key[-4] << 8 | key[-3]),
            (_host(key[size:-4]), key[-2] << 8 | key[-1]),
        )
        host, port = ends[direction]
        server, server_port = ends[1 - direction]
        hosts.append(host)
        clients.append(f"{host}:{port}" if size == 4 else f"[{host}]:{port}")
        servers.append(f"{server}:{server_port}" if size == 4 else f"[{server}]:{server_port}")
    return clients, servers, hosts


@lru_cache(65_536)
def _host(address: bytes) -> str:
    return socket.inet_ntop(socket.AF_INET if len(address) == 4 else socket.AF_INET6, address)
