"""The ladders of the rules as captures, a file of them in one: between other hosts each, all at the same time."""

from __future__ import annotations

from collections import Counter
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

import polars as pl

from tests.ladders import Packet, ladder_packets, ladders_in
from wiredoctor import gateways
from wiredoctor.testing.wire import Peers

if TYPE_CHECKING:
    from collections.abc import Callable

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
    find: Callable[..., gateways.Gateways], exchanges: pl.LazyFrame, connections: pl.LazyFrame, *, possible: bool = False
) -> gateways.Gateways:  # fmt: skip
    """What is known of gateways, but for those that only are because other ladders ask for the same at the same time."""
    known = find(exchanges, connections, possible=possible)
    ladders = dict(connections.select("connection", pl.col("server").str.extract(r"^([\d.]*)\.\d+:")).collect().iter_rows())
    places = known.tries.select("front_connection", "connection").iter_rows()
    own = pl.Series([ladders[front] == ladders[back] for front, back in places], dtype=pl.Boolean)
    pairs = known.possible.select("front_connection", "connection").iter_rows()
    possible_here = pl.Series([ladders[front] == ladders[back] for front, back in pairs], dtype=pl.Boolean)
    fronts = {front: tuple(b for b in behind if _ladder(b) == _ladder(front)) for front, behind in known.fronts.items()}
    doubtful = tuple(one for one in known.doubtful if len({ladders[c] for c, _ in (*one.fronts, *one.backs)}) == 1)
    backs = {*known.tries["connection"], *(c for one in known.doubtful for c, _ in one.backs)}
    mine = {*known.tries.filter(own)["connection"], *(c for one in doubtful for c, _ in one.backs)}
    return known._replace(
        tries=known.tries.filter(own),
        possible=known.possible.filter(possible_here),
        fronts={front: behind for front, behind in fronts.items() if behind},
        doubtful=doubtful,
        clients=known.clients - (backs - mine),
    )


def _ladder(endpoint: str) -> str:
    return endpoint.rpartition(".")[0]
