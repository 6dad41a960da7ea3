"""Rows that the core wrote as tables of wiredoctor.tables."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence

import polars as pl

from wiredoctor.batches import Batch, Kind, Maker, View, series, take_cells
from wiredoctor.core.closes import CLOSED_BY, CLOSES
from wiredoctor.core.connection_rows import NUMBERS, ConnectionRows
from wiredoctor.core.history import in_letters
from wiredoctor.core.icmp import ICMP_ERRORS as ICMP_CELLS
from wiredoctor.core.loop import Core
from wiredoctor.core.rows import Rows
from wiredoctor.core.stalls import CLOSURES as CLOSURE_CELLS
from wiredoctor.core.stalls import RECOVERIES as RECOVERY_CELLS
from wiredoctor.core.stalls import RELEASES as RELEASE_CELLS
from wiredoctor.core.stalls import RUNS as RUN_CELLS
from wiredoctor.core.stalls import SORTS
from wiredoctor.core.transfers import TRANSFERS as TRANSFER_CELLS
from wiredoctor.core.unacknowledged import UNACKNOWLEDGED as UNACKNOWLEDGED_CELLS
from wiredoctor.core.window_stalls import SORTS as WINDOW_SORTS
from wiredoctor.core.window_stalls import WINDOW_STALLS as WINDOW_STALL_CELLS
from wiredoctor.engine.frames import burst_batch, exchange_batch, fault_frame, foreign_frame, head_part, message_batch
from wiredoctor.protocols.tls.hello import SILENT
from wiredoctor.tables import (
    BURSTS,
    CLOSES_OF_STORED,
    CLOSURES,
    CONNECTIONS,
    FINISHED_EXCHANGES,
    ICMP_ERRORS,
    MESSAGES,
    NEVER,
    ODDITIES,
    RECOVERIES,
    RELEASES,
    RUNS,
    SMALL,
    TRANSFERS,
    UNACKNOWLEDGED,
    WINDOW_STALLS,
    Table,
)
from wiredoctor.tables import CLOSES as CLOSES_TABLE

Tables = dict[str, pl.DataFrame | View]

_PROTOCOLS = ("unknown", "http", "tls", "http2")
"""In the order of protocols.UNKNOWN, HTTP, TLS_PROTOCOL and HTTP2."""


def take_tables(core: Core) -> tuple[Tables, Batch, Batch]:
    """Take everything that the core has written: tables for rules, and the rows of exchanges and of connections to be kept."""
    stalls, http = core.story.stalls, core.http
    heads = head_part(http.codes.take())
    exchanges, stored = exchange_batch(http.exchanges, heads), exchange_batch(http.closes, heads)
    connections = connection_batch(core.connections)
    oddities, core.headers.oddities = core.headers.oddities, []
    tables = {
        "releases": _events(RELEASES, stalls.releases, RELEASE_CELLS),
        "recoveries": _events(RECOVERIES, stalls.recoveries, RECOVERY_CELLS),
        "closures": _events(CLOSURES, stalls.closures, CLOSURE_CELLS),
        "window_stalls": _events(WINDOW_STALLS, core.story.window_stalls.rows, WINDOW_STALL_CELLS),
        "runs": _events(RUNS, stalls.runs, RUN_CELLS),
        "icmp_errors": _events(ICMP_ERRORS, core.icmp.rows, ICMP_CELLS),
        "unacknowledged": _events(UNACKNOWLEDGED, core.story.repetitions.rows, UNACKNOWLEDGED_CELLS),
        "transfers": _events(TRANSFERS, http.transfers, TRANSFER_CELLS),
        "exchanges": table_of(exchanges, FINISHED_EXCHANGES),
        "closes": table_of(stored, CLOSES_TABLE, CLOSES_OF_STORED),
        "faults": fault_frame(http.faults.take()),
        "foreign_closes": foreign_frame(http.closes.foreign.take()),
        "messages": MESSAGES.empty() if http.messages is None else table_of(message_batch(http.messages, heads), MESSAGES),
        "bursts": BURSTS.empty() if http.bursts is None else table_of(burst_batch(http.bursts), BURSTS),
        "connections": table_of(connections, CONNECTIONS),
        "oddities": ODDITIES.frame(dict(zip(ODDITIES.schema, zip(*oddities, strict=True), strict=True)))
        if oddities
        else ODDITIES.empty(),
    }
    return tables, stored, connections


def table_of(batch: Batch, table: Table, names: Mapping[str, str] | None = None) -> pl.DataFrame | View:
    """Return the rows of a batch as a table; `names`: column -> column of the batch, where they differ."""
    view = View([batch], table, names)
    return view if batch.height > SMALL else view.whole()


def _events(table: Table, rows: Rows, names: Sequence[str]) -> pl.DataFrame | View:
    """Take the rows of an event table."""
    return table_of(Batch(table.name, int(rows.count), take_cells(rows, names), {}, {}), table) if rows.count else table.empty()


def connection_batch(rows: ConnectionRows) -> Batch:
    """Take the rows of connections that are over."""
    hellos, rows.hellos = rows.hellos, []
    parts = {"hellos": pl.DataFrame([SILENT, *hellos], schema=_HELLO, orient="row") if hellos else _SILENT}
    return Batch("connections", int(rows.rows.count), take_cells(rows.rows, NUMBERS), {}, parts)


_HELLO = {
    name: CONNECTIONS.schema[name] for name in ("tls_version", "server_name", "alpn_offered", "alpn_chosen", "encrypted_hello")
}
_SILENT = pl.DataFrame([SILENT], schema=_HELLO, orient="row")


def _host(batch: Batch, side: str, *, in_brackets: bool) -> pl.Series:
    """Return the addresses of a side as text (IPv6 as in RFC 5952)."""
    cells = (batch.cell("address_bytes"), batch.cell(f"{side}_high"), batch.cell(f"{side}_low"))
    ends = pl.DataFrame([series(cell).alias(name) for name, cell in zip(("size", "high", "low"), cells, strict=True)])
    known = ends.unique()
    texts = [_address(*one, in_brackets=in_brackets) for one in known.iter_rows()]
    known = known.with_columns(pl.Series("text", texts, dtype=pl.String))
    return ends.join(known, on=ends.columns, how="left", maintain_order="left")["text"]


def _address(size: int, high: int, low: int, *, in_brackets: bool) -> str:
    octets = ((high & _WORD) << 64 | low & _WORD).to_bytes(16, "big")[-size:]
    text = socket.inet_ntop(socket.AF_INET if size == 4 else socket.AF_INET6, octets)
    return f"[{text}]" if in_brackets and size != 4 else text


_WORD = (1 << 64) - 1


def _syn_error_router(batch: Batch) -> pl.Series:
    """Return who sent the ICMP error about the SYN; null where none came."""
    hosts = _host(batch, "syn_error", in_brackets=False)
    return pl.select(pl.when(series(batch.cell("syn_error_frame")) != NEVER).then(hosts)).to_series()


def _endpoint(batch: Batch, side: str) -> pl.Series:
    """Return the addresses and ports of a side as text."""
    host, port = _host(batch, side, in_brackets=True), series(batch.cell(f"{side}_port"))
    return pl.select(pl.concat_str(host, pl.lit(":"), port)).to_series()


def _history(batch: Batch) -> pl.Series:
    """Return what happened on connections, a letter per kind of packet."""
    words = [batch.cell(name).tolist() for name in ("history", "more_history", "client_direction")]
    known = {one: in_letters(*one) for one in set(zip(*words, strict=True))}
    return pl.Series([known[one] for one in zip(*words, strict=True)], dtype=pl.String)


def _makers() -> dict[str, Maker]:
    """Return how the columns of CONNECTIONS are made that are no cells."""
    makers: dict[str, Maker] = {
        "client_host": lambda batch: _host(batch, "client", in_brackets=False),
        "syn_error_router": _syn_error_router,
        "client": lambda batch: _endpoint(batch, "client"),
        "server": lambda batch: _endpoint(batch, "server"),
        "history": _history,
    }
    for name, names in (("closed_by", CLOSED_BY), ("close", CLOSES), ("protocol", ("none", *_PROTOCOLS))):
        makers[name] = _named(name, names)
    for name in _HELLO:
        makers[name] = _of_hello(name)
    return makers


def _named(cell: str, names: Sequence[str]) -> Maker:
    """Return a maker of the names whose numbers are in a cell."""
    values = pl.Series(names)
    return lambda batch: batch.gather(values, cell)


def _of_hello(name: str) -> Maker:
    return lambda batch: batch.of_part("hellos", name, "hello")


Kind.of(CONNECTIONS, _makers(), {"hello": "hellos"})
Kind.of(RELEASES, {"sort": _named("sort", SORTS)}, {})
Kind.of(WINDOW_STALLS, {"sort": _named("sort", WINDOW_SORTS)}, {})
Kind.of(ICMP_ERRORS, {"router": lambda batch: _host(batch, "router", in_brackets=False)}, {})
Kind.of(UNACKNOWLEDGED, {"icmp_router": lambda batch: _host(batch, "icmp_router", in_brackets=False)}, {})
for _table in (RECOVERIES, CLOSURES, RUNS, TRANSFERS):
    Kind.of(_table, {}, {})
