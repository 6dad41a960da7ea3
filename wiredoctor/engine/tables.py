"""Rows that the core wrote as tables of wiredoctor.tables."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from wiredoctor.core.connections import CLOSED_BY, CLOSES, NUMBERS, ConnectionRows
from wiredoctor.core.history import in_letters
from wiredoctor.core.loop import Core
from wiredoctor.core.pairing import Conversation, Cuts
from wiredoctor.core.rows import Rows
from wiredoctor.core.stalls import CLOSURES as CLOSURE_CELLS
from wiredoctor.core.stalls import RECOVERIES as RECOVERY_CELLS
from wiredoctor.core.stalls import RELEASES as RELEASE_CELLS
from wiredoctor.core.stalls import RUNS as RUN_CELLS
from wiredoctor.core.stalls import SORTS
from wiredoctor.engine.batch import Batch, Kind, Maker, View, take_cells
from wiredoctor.engine.frames import burst_batch, exchange_batch, fault_frame, head_part, message_batch
from wiredoctor.http.tls import SILENT
from wiredoctor.tables import (
    BURSTS,
    CLOSES_OF_STORED,
    CLOSURES,
    CONNECTIONS,
    FINISHED_EXCHANGES,
    MESSAGES,
    ODDITIES,
    RECOVERIES,
    RELEASES,
    RUNS,
    SMALL,
    Table,
)
from wiredoctor.tables import CLOSES as CLOSES_TABLE

Tables = dict[str, pl.DataFrame | View]

_PROTOCOLS = ("unknown", "http", "tls", "http2")
"""In the order of pairing.UNKNOWN, HTTP, TLS_PROTOCOL and HTTP2."""


def take_tables(core: Core) -> tuple[Tables, Batch, Batch]:
    """Take everything that the core has written: tables for rules, and the rows of exchanges and of connections to be kept."""
    stalls, http = core.story.stalls, core.http
    heads = head_part(http.codes.take())
    exchanges, stored = exchange_batch(http.exchanges, heads), exchange_batch(http.closes, heads)
    contents, core.contents = core.contents, []
    connections = connection_batch(core.connections, contents)
    oddities, core.general.oddities = core.general.oddities, []
    tables = {
        "releases": _events(RELEASES, stalls.releases, RELEASE_CELLS),
        "recoveries": _events(RECOVERIES, stalls.recoveries, RECOVERY_CELLS),
        "closures": _events(CLOSURES, stalls.closures, CLOSURE_CELLS),
        "runs": _events(RUNS, stalls.runs, RUN_CELLS),
        "exchanges": table_of(exchanges, FINISHED_EXCHANGES),
        "closes": table_of(stored, CLOSES_TABLE, CLOSES_OF_STORED),
        "faults": fault_frame(http.faults.take()),
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


def connection_batch(rows: ConnectionRows, contents: Sequence[Conversation | None]) -> Batch:
    """Take the rows of connections that are over, and what each of them carried."""
    keys, rows.keys = rows.keys, []
    cells = take_cells(rows.rows, NUMBERS)
    cells["protocol"] = np.array([0 if content is None else content.protocol + 1 for content in contents], dtype=np.int8)
    cells["exchanges"] = np.array([0 if content is None else content.next_index for content in contents], dtype=np.int64)
    cuts = [_NO_CUTS if content is None or content.cuts is None else content.cuts for content in contents]
    for name, column in (("cut_heads", "count"), ("cut_frame", "frame"), ("cut_time", "time")):
        cells[name] = np.array([getattr(one, column) for one in cuts], dtype=np.int64)
    hellos = [SILENT if content is None else content.tls_facts() for content in contents]
    said = {hello: place for place, hello in enumerate(dict.fromkeys(hellos))}
    cells["hello"] = np.array([said[hello] for hello in hellos], dtype=np.int32)
    parts = {"hellos": pl.DataFrame([SILENT, *said], schema=_HELLO, orient="row")}
    return Batch("connections", len(keys), cells, {"key": pl.Series(keys, dtype=pl.Binary)}, parts)


_NO_CUTS = Cuts()
_HELLO = {
    name: CONNECTIONS.schema[name] for name in ("tls_version", "server_name", "alpn_offered", "alpn_chosen", "encrypted_hello")
}


def _host(batch: Batch, *, is_client: bool) -> pl.Series:
    """Return the address of a side as text (IPv6 as in RFC 5952)."""
    keys = batch.texts["key"]
    size = (keys.bin.size() - 4) // 2
    is_source = _is_source(batch, is_client=is_client)
    places = pl.select(pl.when(is_source).then(0).otherwise(size)).to_series()
    addresses = pl.select(pl.lit(keys).bin.slice(places, size)).to_series()
    known = addresses.unique()
    return addresses.replace_strict(known, pl.Series([_address(one) for one in known], dtype=pl.String))


def _is_source(batch: Batch, *, is_client: bool) -> pl.Series:
    """Return whether a side sent the first packet of the connection."""
    return pl.Series((batch.cell("client_direction") == 0) == is_client)


def _endpoint(batch: Batch, *, is_client: bool) -> pl.Series:
    """Return address and port of a side as text."""
    host = batch.column("client_host") if is_client else _host(batch, is_client=False)
    keys = batch.texts["key"]
    places = pl.when(_is_source(batch, is_client=is_client)).then(-4).otherwise(-2)
    port = pl.lit(keys).bin.slice(places, 2).bin.reinterpret(dtype=pl.UInt16, endianness="big").cast(pl.String)
    is_version_4 = pl.lit(keys.bin.size() == 12)
    text = pl.when(is_version_4).then(pl.lit(host)).otherwise("[" + pl.lit(host) + "]")
    return pl.select(text + ":" + port).to_series()


def _address(octets: bytes) -> str:
    return socket.inet_ntop(socket.AF_INET if len(octets) == 4 else socket.AF_INET6, octets)


def _history(batch: Batch) -> pl.Series:
    """Return what happened on connections, a letter per kind of packet."""
    words = [batch.cell(name).tolist() for name in ("history", "more_history", "client_direction")]
    known = {one: in_letters(*one) for one in set(zip(*words, strict=True))}
    return pl.Series([known[one] for one in zip(*words, strict=True)], dtype=pl.String)


def _makers() -> dict[str, Maker]:
    """Return how the columns of CONNECTIONS are made that are no cells."""
    makers: dict[str, Maker] = {
        "client_host": lambda batch: _host(batch, is_client=True),
        "client": lambda batch: _endpoint(batch, is_client=True),
        "server": lambda batch: _endpoint(batch, is_client=False),
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
for _table in (RECOVERIES, CLOSURES, RUNS):
    Kind.of(_table, {}, {})
