"""Convert the core's rows to the tables of wiredoctor.tables."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from functools import lru_cache, partial

import polars as pl

from wiredoctor.core.http1.bursts import COLUMNS as BURST_CELLS
from wiredoctor.core.http1.recognition import OPENINGS
from wiredoctor.core.http1.transfers import TRANSFERS as TRANSFER_CELLS
from wiredoctor.core.loop import Core
from wiredoctor.core.rows.cells import Rows
from wiredoctor.core.rows.connection_rows import NUMBERS, ConnectionRows
from wiredoctor.core.rows.handshake_rows import HANDSHAKE_CELLS, SIDES, WAYS, HandshakeRows
from wiredoctor.core.rows.stall_rows import CLOSURES as CLOSURE_CELLS
from wiredoctor.core.rows.stall_rows import RECOVERIES as RECOVERY_CELLS
from wiredoctor.core.rows.stall_rows import RUNS as RUN_CELLS
from wiredoctor.core.tcp.closes import CLOSED_BY, CLOSES
from wiredoctor.core.tcp.history import in_letters
from wiredoctor.core.tcp.icmp import ICMP_ERRORS as ICMP_CELLS
from wiredoctor.core.tcp.origins import ORIGINS
from wiredoctor.core.tcp.releases import RELEASES as RELEASE_CELLS
from wiredoctor.core.tcp.releases import SORTS
from wiredoctor.core.tcp.segment import FOREVER
from wiredoctor.core.tcp.unacknowledged import UNACKNOWLEDGED as UNACKNOWLEDGED_CELLS
from wiredoctor.core.tcp.window_stalls import SORTS as WINDOW_SORTS
from wiredoctor.core.tcp.window_stalls import WINDOW_STALLS as WINDOW_STALL_CELLS
from wiredoctor.core.tls.tls_hello import NOTHING, SILENT, Hello, TlsFacts
from wiredoctor.engine.frames import event_frame, exchange_batches, head_part, message_batch
from wiredoctor.protocols.tls.certificates import Chain
from wiredoctor.storage.batches import Batch, Kind, Maker, Texts, View, make_texts, series, take_cells, with_texts
from wiredoctor.tables import (
    AT_ITS_END,
    AT_THE_CLOSE,
    BURSTS,
    CLOSURES,
    CONNECTIONS,
    FAULTS,
    FOREIGN_CLOSES,
    HANDSHAKES,
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
from wiredoctor.text.tls_names import group_name, suite_name

Tables = dict[str, pl.DataFrame | View]

_PROTOCOLS = ("unknown", "http", "tls", "http2")
"""The texts for the values protocols.UNKNOWN, HTTP, TLS_PROTOCOL and HTTP2, in this order."""

_OPENINGS = (("client_opening", OPENINGS), ("server_opening", OPENINGS))


def take_tables(core: Core, first: int | None = None) -> tuple[Tables, Batch, Batch]:
    """Take all new rows from the core. `first`: the time of the capture's first packet (ns since 1970), or None if it is unknown.

    Return the tables for rules, the rows of exchanges to store, and the rows of connections to store.
    """
    http = core.http
    of_heads = [http.exchanges.rows, http.exchanges.repeated, *([] if http.messages is None else [http.messages.rows])]
    codes = http.codes.take()
    heads = head_part(codes) if any(rows.count for rows in of_heads) else pl.DataFrame()
    exchanges, stored = exchange_batches(http.closes, heads)
    connections = connection_batch(core.connections)
    oddities, core.headers.oddities = core.headers.oddities, []
    tables: Tables = {
        **{table.name: _events(table, rows, cells) for table, rows, cells in _event_rows(core)},
        "exchanges": View([exchanges], *AT_ITS_END),
        "closes": View([stored], *AT_THE_CLOSE),
        "faults": event_frame(FAULTS, http.faults.take()),
        "foreign_closes": event_frame(FOREIGN_CLOSES, http.closes.foreign.take()),
        "handshakes": handshakes(core.connections.handshakes, first),
        "messages": View([] if http.messages is None else [message_batch(http.messages, heads)], MESSAGES),
        "connections": View([connections], CONNECTIONS),
        "oddities": event_frame(ODDITIES, oddities),
    }
    return tables, stored, connections


def count_rows(core: Core) -> int:
    """Return the number of new rows in all tables except `segments`."""
    http = core.http
    tables = [http.closes.rows, http.exchanges.rows, core.connections.rows, *(rows for _, rows, _ in _event_rows(core))]
    if http.messages is not None:
        tables.append(http.messages.rows)
    return sum(int(rows.count) for rows in tables) + len(http.faults.rows) + len(core.headers.oddities)


def _event_rows(core: Core) -> tuple[tuple[Table, Rows, Sequence[str]], ...]:
    """Return for each event table: the table, the core's new rows for it, and the names of the values in each row."""
    tcp = core.tcp
    return (
        (RELEASES, tcp.releases.rows, RELEASE_CELLS),
        (RECOVERIES, tcp.stall_rows.recoveries, RECOVERY_CELLS),
        (CLOSURES, tcp.stall_rows.closures, CLOSURE_CELLS),
        (WINDOW_STALLS, tcp.window_stalls.rows, WINDOW_STALL_CELLS),
        (RUNS, tcp.stall_rows.runs, RUN_CELLS),
        (ICMP_ERRORS, core.icmp.rows, ICMP_CELLS),
        (UNACKNOWLEDGED, tcp.repetitions.rows, UNACKNOWLEDGED_CELLS),
        (TRANSFERS, core.http.transfers, TRANSFER_CELLS),
        *([] if core.http.bursts is None else [(BURSTS, core.http.bursts, BURST_CELLS)]),
    )


def _events(table: Table, rows: Rows, names: Sequence[str]) -> View:
    """Take the rows of an event table from the core. `names`: the names of the values in each row."""
    return View([Batch(table.name, int(rows.count), take_cells(rows, names), {}, {})] if rows.count else [], table)


def connection_batch(rows: ConnectionRows) -> Batch:
    """Take the rows of finished connections from the core."""
    hellos, rows.hellos = rows.hellos, {}
    keys, rows.translated = rows.translated, []
    parts = {
        "hellos": pl.DataFrame(list(map(_facts, (SILENT, *hellos))), schema=_HELLO, orient="row") if hellos else _SILENT,
        "translated": pl.DataFrame([_UNKNOWN, *map(_ends_of, keys)], schema=_TRANSLATED, orient="row") if keys else _NOTHING,
    }
    batch = Batch("connections", int(rows.rows.count), take_cells(rows.rows, NUMBERS), {}, parts)
    return with_texts(batch) if batch.height > SMALL else batch


def _facts(facts: TlsFacts) -> tuple[object, ...]:
    """Return the values of the columns _HELLO for the facts from both hellos of a connection."""
    *texts, hides, suite, resumed = facts
    return (*texts, hides, suite_name(suite), resumed)


_HELLO = {
    name: CONNECTIONS.schema[name]
    for name in ("tls_version", "server_name", "alpn_offered", "alpn_chosen", "encrypted_hello", "cipher_suite", "resumed")
}
_SILENT = pl.DataFrame([_facts(SILENT)], schema=_HELLO, orient="row")


def handshakes(rows: HandshakeRows, first: int | None) -> View:
    """Take the rows of `handshakes` from the core. `first`: see `take_tables`."""
    hellos, rows.hellos = rows.hellos, {}
    chains, rows.certificates = rows.certificates, {}
    count = int(rows.rows.count)
    if not count:
        return View([], HANDSHAKES)
    offers = [_offer(NOTHING, NOTHING, -1), *(_offer(*one) for one in hellos)]
    parts = {
        "hellos": pl.DataFrame(offers, schema=_OFFER, orient="row"),
        "certificates": pl.DataFrame([_NO_CHAIN, *(_chain(one, first) for one in chains)], schema=_CHAIN, orient="row"),
    }
    return View([Batch("handshakes", count, take_cells(rows.rows, HANDSHAKE_CELLS), {}, parts)], HANDSHAKES)


def _offer(client: Hello, server: Hello, retry_group: int) -> tuple[object, ...]:
    """Return the values of the columns _OFFER for both hellos of a connection."""
    shares = ", ".join(map(group_name, client.shares))
    offered = (client.name, client.protocols, client.versions, client.suites, client.offers_session, shares)
    return (server.version or client.version, suite_name(server.suite), *offered, group_name(retry_group))


def _chain(chain: Chain, first: int | None) -> tuple[object, ...]:
    """Return the values of the columns _CHAIN for the certificates of a server."""
    moments = (chain.valid_from, chain.valid_until, chain.issued)
    times = [None if first is None else max(NEVER + 1, min(moment - first, FOREVER)) for moment in moments]
    names = ", ".join(chain.names[:3])
    return (chain.fingerprint, *times, names, len(chain.names), chain.issuer, chain.length, chain.is_self_signed)


_OFFER = {
    name: HANDSHAKES.schema[name]
    for name in (
        *("tls_version", "cipher_suite", "server_name", "alpn_offered", "versions_offered", "suites_offered", "session_offered"),
        *("shares_offered", "retry_group"),
    )
}
_NO_CHAIN = (None,) * 8 + (False,)
_CHAIN = {
    name: HANDSHAKES.schema[name]
    for name in (
        *("certificate_sha256", "valid_from", "valid_until", "certificate_issued", "certificate_names"),
        *("certificate_name_count", "certificate_issuer", "chain_length", "self_signed"),
    )
}
_TRANSLATED = {name: CONNECTIONS.schema[name] for name in ("translated_client", "translated_server")}
_UNKNOWN = (None, None)
_NOTHING = pl.DataFrame([_UNKNOWN], schema=_TRANSLATED, orient="row")


def _ends_of(key: bytes) -> tuple[str, str]:
    """Return the two endpoints in a connection's key as text: source, then destination."""
    size = (len(key) - 4) // 2
    return endpoint_text(key[:size] + key[-4:-2]), endpoint_text(key[size : 2 * size] + key[-2:])


def endpoint_text(end: bytes) -> str:
    """Return an endpoint as text. `end`: the bytes of the address, followed by those of the port."""
    size = len(end) - 2
    return _address_and_port(size, *divmod(int.from_bytes(end[:size]), _WORD + 1), int.from_bytes(end[size:]))


def _of_cells(batch: Batch, names: Sequence[str], make: Callable[..., str]) -> pl.Series:
    """Return a column of texts: `make` is called with the values of the columns `names`, and returns the text.

    `make` is called only once for each distinct combination of values.
    """
    texts, numbers = make_texts(batch, names, make)
    made = pl.Series(texts, dtype=pl.String)
    return made.new_from_index(0, batch.height) if len(numbers) == 1 else made[series(numbers).cast(pl.UInt32)]


def _address_cells(side: str) -> tuple[str, str, str]:
    """Return the names of the three columns that hold an address: its length and its two halves. `side`: the address's owner,
    such as "client".
    """
    return "address_bytes", f"{side}_high", f"{side}_low"


def _host(batch: Batch, side: str, *, in_brackets: bool) -> pl.Series:
    """Return, for each row, an address as text (IPv6 as in RFC 5952). `side`: the owner of the address, such as "client"."""
    return _of_cells(batch, _address_cells(side), _in_brackets if in_brackets else _address)


@lru_cache(maxsize=4096)
def _address(size: int, high: int, low: int) -> str:
    octets = ((high & _WORD) << 64 | low & _WORD).to_bytes(16, "big")[-size:]
    return socket.inet_ntop(socket.AF_INET if size == 4 else socket.AF_INET6, octets)


def _in_brackets(size: int, high: int, low: int) -> str:
    return _address(size, high, low) if size == 4 else f"[{_address(size, high, low)}]"


_WORD = (1 << 64) - 1


def _syn_error_router(batch: Batch) -> pl.Series:
    """Return for each connection the address that sent an ICMP error about its SYN; null if there was no such error."""
    frame = batch.cells["syn_error_frame"]
    if len(frame) == 1 and frame.item() == NEVER:
        return pl.Series([None], dtype=pl.String).new_from_index(0, batch.height)
    hosts = _host(batch, "syn_error", in_brackets=False)
    return pl.select(pl.when(series(batch.cell("syn_error_frame")) != NEVER).then(hosts)).to_series()


def _endpoint(batch: Batch, side: str) -> pl.Series:
    """Return, for each row, the address and port of a side (client or server) as text."""
    names = (*_address_cells(side), f"{side}_port")
    if batch.height <= SMALL or all(len(batch.cells[name]) == 1 for name in names):
        return _of_cells(batch, names, _address_and_port)
    host, port = _host(batch, side, in_brackets=True), series(batch.cell(f"{side}_port"))
    return pl.select(pl.concat_str(host, pl.lit(":"), port)).to_series()


def _address_and_port(size: int, high: int, low: int, port: int) -> str:
    return f"{_in_brackets(size, high, low)}:{port}"


def _client(batch: Batch) -> pl.Series:
    """Return the address and port of each client as text. The hosts are among the texts of the batch."""
    host, size = batch.of_part("client_host", "client_host", "client_host"), batch.cells["address_bytes"]
    if (size != 4).any():
        is_short = series(batch.cell("address_bytes") == 4)
        host = pl.select(pl.when(is_short).then(host).otherwise(pl.concat_str(pl.lit("["), host, pl.lit("]")))).to_series()
    return pl.select(pl.concat_str(host, pl.lit(":"), series(batch.cell("client_port")))).to_series()


def _makers() -> dict[str, Maker]:
    """Return, by column name, functions for the columns of CONNECTIONS that the core does not write."""
    makers: dict[str, Maker] = {
        "client_host": lambda batch: _host(batch, "client", in_brackets=False),
        "syn_error_router": _syn_error_router,
        "client": lambda batch: _endpoint(batch, "client"),
        "server": lambda batch: _endpoint(batch, "server"),
        "history": lambda batch: _of_cells(batch, *_TEXTS["history"][:2]),
    }
    for name, names in (("closed_by", CLOSED_BY), ("close", CLOSES), ("protocol", ("none", *_PROTOCOLS)), *_OPENINGS):
        makers[name] = _name_maker(name, names)
    for name in _HELLO:
        makers[name] = partial(Batch.of_part, part="hellos", name=name, cell="hello")
    for name in _TRANSLATED:
        makers[name] = partial(Batch.of_part, part="translated", name=name, cell="translated")
    return makers


def _name_maker(cell: str, names: Sequence[str]) -> Maker:
    """Return a function that makes a column of names; the core's column `cell` contains indexes into `names`."""
    return partial(Batch.gather, values=pl.Series(names), cell=cell)


_TEXTS = {
    "client_host": Texts(_address_cells("client"), _address, ("client_high", "client_low")),
    "server": Texts((*_address_cells("server"), "server_port"), _address_and_port, ("server_high", "server_low", "server_port")),
    "history": Texts(("history", "more_history", "client_direction"), in_letters, ("more_history",)),
}
Kind.of(CONNECTIONS, _makers(), {"hello": "hellos", "translated": "translated"}, _TEXTS, {"client": _client})
Kind.of(RELEASES, {"sort": _name_maker("sort", SORTS)}, {})
Kind.of(WINDOW_STALLS, {"sort": _name_maker("sort", WINDOW_SORTS)}, {})
Kind.of(ICMP_ERRORS, {"router": lambda batch: _host(batch, "router", in_brackets=False)}, {})
_UNACKNOWLEDGED: dict[str, Maker] = {
    "icmp_router": lambda batch: _host(batch, "icmp_router", in_brackets=False),
    **{f"{side}_close_origin": _name_maker(f"{side}_close_origin", ORIGINS) for side in ("own", "peer")},
}
Kind.of(UNACKNOWLEDGED, _UNACKNOWLEDGED, {})
_HANDSHAKES: dict[str, Maker] = {
    **{name: partial(Batch.of_part, part="hellos", name=name, cell="hello") for name in _OFFER},
    **{name: partial(Batch.of_part, part="certificates", name=name, cell="certificate") for name in _CHAIN},
    "ended_by": _name_maker("ended_by", SIDES),
    "ended_how": _name_maker("ended_how", WAYS),
}
Kind.of(HANDSHAKES, _HANDSHAKES, {"hello": "hellos", "certificate": "certificates"})
for _table in (RECOVERIES, CLOSURES, RUNS, TRANSFERS):
    Kind.of(_table, {}, {})
