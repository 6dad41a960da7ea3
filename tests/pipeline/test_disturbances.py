"""No finding blames a host for what a worse capture of the same traffic lacks.

A seeded selection; `python -m tests.pipeline.disturb` looks at as many as one likes.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest

import wiredoctor
from tests.captures.papers import CAPTURES, ONE_EACH
from tests.ladders import to_pcap
from tests.pipeline import judging, recording
from tests.pipeline.disturb import OF_TIME
from tests.pipeline.disturbances import DISTURBANCES
from tests.pipeline.ladders import FILES, no_gateways_between, together
from wiredoctor.tables import ACK

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.pipeline.recording import Seen

SMALL = [path for path in ONE_EACH if path.stat().st_size < 20_000][::3]
NAMES = list(DISTURBANCES)
TIMELESS = [name for name in NAMES if name not in OF_TIME]


def blamed(path: Path, names: Sequence[str], tmp_path: Path) -> list[str]:
    """What is said of a host in disturbed copies of a capture, and must not be."""
    packets = recording.read(path)
    world = judging.World(packets, wiredoctor.analyze(path).findings)
    told: list[str] = []
    for name in names:
        disturbed = DISTURBANCES[name](packets, Random(f"{path.stem} {name}"))
        if not disturbed:
            continue
        worse = tmp_path / "worse.pcapng"
        recording.write(worse, disturbed)
        report = wiredoctor.analyze(worse)
        told += [f"{name}: {judging.told(finding)}" for finding in judging.alarms(world, disturbed, report)]
    return told


CRUMBS = {("werkzeug-two-pages", name) for name in NAMES if name.startswith("drop-acks")}
"""Known: the server writes its heads in crumbs; without the ACKs between them they look as if they had not waited for any."""


@pytest.mark.parametrize("path", SMALL, ids=lambda path: path.stem)
def test_recordings(path: Path, tmp_path: Path) -> None:
    names = [name for name in NAMES if (path.stem, name) not in CRUMBS]
    assert blamed(path, Random(path.stem).sample(names, 2), tmp_path) == []


UNKNOWABLE = {
    # what shows that a reset is foreign came before, or comes later
    "foreign_reset": ("middle", "ends-early"),
    # of a gateway that passed on a refusal, the side that shows the server behind is lost: the refusal is told of the gateway.
    # What is left of it is, packet for packet, a server that refuses by itself
    "websocket_failed": ("drop-flow-sides",),
    # what the server said shows that it is no HTTP; the client's side alone is, byte for byte, a request with a body
    "malformed_head": ("drop-side-1",),
    # what shows that a client went on, and was not impatient, is on another connection, whose requests are lost. The connection
    # in question is whole, and the same as that of an impatient client
    "client_abort": ("drop-flow-sides",),
}
"""Ladders with disturbances that take away what tells who it was."""


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_ladders(file: Path, tmp_path: Path) -> None:
    path = tmp_path / f"{file.stem}.pcap"
    path.write_bytes(to_pcap(together(file)))
    names = [name for name in TIMELESS if name not in UNKNOWABLE.get(file.stem, ())]
    with no_gateways_between():
        assert blamed(path, Random(file.stem).sample(names, 3), tmp_path) == []


def test_what_is_written_is_what_was_read(tmp_path: Path) -> None:
    path = SMALL[0]
    packets = recording.read(path)
    copy = tmp_path / "copy.pcapng"
    recording.write(copy, packets)
    assert recording.read(copy) == packets


def content(packets: Sequence[Seen]) -> dict[tuple[object, int], bytes]:
    """The payload of each side of each flow, as if nothing was lost or repeated."""
    sides: dict[tuple[object, int], dict[int, int]] = {}
    # side 0 is that of the first packet
    turned = int(next(p.flags & ACK for p in packets if p.flow) != 0)
    for p in packets:
        stream = sides.setdefault((p.flow, p.side ^ turned), {})
        for i, byte in enumerate(p.data[p.payload : p.payload + p.size] if p.size else b""):
            stream.setdefault(p.seq + i, byte)
    return {place: bytes(stream[at] for at in sorted(stream)) for place, stream in sides.items()}


@pytest.mark.parametrize("name", ["mirror", "mirror-routed", "two-points", "shuffle", "jitter", "queues", "coalesce", "split"])
def test_what_loses_nothing_keeps_every_byte(name: str, tmp_path: Path) -> None:
    path = CAPTURES / "events-with-pauses.pcap"
    packets = recording.read(path)
    disturbed = DISTURBANCES[name](packets, Random(1))
    assert disturbed is not None
    copy = tmp_path / "copy.pcapng"
    recording.write(copy, disturbed)
    assert content(recording.read(copy)) == content(packets)
