"""The ladders of the rules as captures, a file of them in one: between other hosts each, all at the same time."""

from __future__ import annotations

from collections import Counter
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import numpy as np
import polars as pl

from tests.ladders import Packet, ladder_packets, ladders_in
from wiredoctor import gateways
from wiredoctor.gateways.attempts import FailedConnection, _of_host, other_addresses
from wiredoctor.gateways.exchange_columns import Rows, Totals
from wiredoctor.gateways.order import _lies_in
from wiredoctor.tables import Array
from wiredoctor.testing.wire import Peers

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

FILES = sorted((Path(__file__).parents[1] / "rules").glob("*/*.txt"))


@cache
def together(path: Path, without: tuple[str, ...] = ()) -> tuple[Packet, ...]:
    """The packets of all ladders of a file, in the order of time, but for those with these titles."""
    packets: list[Packet] = []
    for number, (title, text) in enumerate(ladders_in(path)):
        if title in without:
            continue
        packets += [replace(packet, peers=elsewhere(packet.peers, number)) for packet in ladder_packets(text)]
    return tuple(sorted(packets, key=lambda packet: packet.time))


def ends(packets: tuple[Packet, ...], most: int) -> list[int]:
    """Return the frames after which a step must end for none to have more than `most` packets of one ladder."""
    behind: list[int] = []
    seen: Counter[Peers] = Counter()
    for frame, packet in enumerate(packets, start=1):
        if seen[packet.peers] == most:
            behind.append(frame - 1)
            seen.clear()
        seen[packet.peers] += 1
    return behind


def elsewhere(peers: Peers, number: int) -> Peers:
    """The same ends between hosts that no other number gives."""
    return Peers(_moved(peers.client, number), _moved(peers.server, number), peers.isn)


def _moved(end: str, number: int) -> str:
    """The same port at an address that no other ladder has; on the loopback interface another port."""
    host, _, port = end.rpartition(":")
    if host in ("127.0.0.1", "[::1]"):
        return f"{host}:{int(port) + 100 * number}"
    if host.startswith("["):
        return f"[{host[1:-1].replace('::', f':{number:x}::')}]:{port}"
    return f"{host.split('.')[0]}.{100 + number // 250}.{number % 250}.{host.split('.')[3]}:{port}"


def no_gateways_between() -> AbstractContextManager[object]:
    """While this lasts, no ladder is the gateway of another, which asks for the same at the same time by chance."""
    return patch("wiredoctor.gateways.find", partial(_within_ladders, gateways.find))


def _within_ladders(
    find: Callable[..., gateways.Gateways], exchanges: pl.LazyFrame, connections: pl.LazyFrame, **how: Any
) -> gateways.Gateways:  # fmt: skip
    """Find gateways as if no exchange and no attempt to connect could belong to an exchange of another ladder."""
    server = pl.col("server")
    ladder = server.str.extract(r"^(.*)(?:\.|::)[^.:]*:\d+$").hash()
    codes = connections.select(server.hash().reinterpret(signed=True), ladder.alias("ladder")).unique().sort("server").collect()
    servers, ladders = codes["server"].to_numpy(), codes["ladder"].to_numpy()

    def ladder_of(server: Array) -> Array:
        return ladders[np.searchsorted(servers, server)]

    def lies_in(rows: Rows, x: Array, y: Array) -> Array:
        return _lies_in(rows, x, y) & (ladder_of(rows.server[x]) == ladder_of(rows.server[y]))

    def of_host(one: FailedConnection, rows: Rows, some: Array, hosts: Mapping[int, frozenset[int]]) -> list[int]:
        return _of_host(one, rows, some[ladder_of(rows.server[some]) == ladder_of(np.array(one.server))], hosts)

    def other_addresses_of_each(
        found: Sequence[FailedConnection], rows: Rows, tries: Mapping[int, Sequence[int]], _known: Collection[int]
    ) -> dict[int, set[int]]:
        made: dict[int, set[int]] = {}
        of = ladder_of(np.array([one.server for one in found], np.int64))
        for number in np.unique(of):
            own = np.flatnonzero(ladder_of(rows.server) == number)
            place = {row: n for n, row in enumerate(own.tolist())}
            mine = {place[row]: [place[one] for one in backs] for row, backs in tries.items() if row in place}
            some = rows.select(own)
            made |= other_addresses([found[n] for n in np.flatnonzero(of == number)], some, mine, Totals.of(some).addresses)
        return made

    with (
        patch("wiredoctor.gateways.order._lies_in", lies_in),
        patch("wiredoctor.gateways.attempts._of_host", of_host),
        patch("wiredoctor.gateways.pairs.other_addresses", other_addresses_of_each),
    ):
        return find(exchanges, connections, **how)
