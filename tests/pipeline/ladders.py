"""The ladders of the rules as captures, a file of them in one: between other hosts each, all at the same time."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path

from tests.ladders import Packet, ladder_packets, ladders_in
from wiredoctor.testing.wire import Peers

FILES = sorted((Path(__file__).parents[1] / "rules").glob("*/*.txt"))


@cache
def together(path: Path) -> tuple[Packet, ...]:
    """The packets of all ladders of a file, in the order of time."""
    packets: list[Packet] = []
    for number, (_, text) in enumerate(ladders_in(path)):
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
    """The same port at an address that no other ladder has."""
    host, _, port = end.rpartition(":")
    if host.startswith("["):
        return f"[{host[1:-1].replace('::', f':{number:x}::')}]:{port}"
    return f"{host.split('.')[0]}.{100 + number // 250}.{number % 250}.{host.split('.')[3]}:{port}"
