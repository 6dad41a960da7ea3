"""Link types and bytes of packets: what is read lies in the packet, and shares do not matter."""

from __future__ import annotations

from collections.abc import Iterable

from tests.core.front import Front, records_of
from tests.decode.decoding import decoded
from tests.decode.packets import Record, capture
from tests.fuzzing.capturefile import Recorded
from tests.fuzzing.choices import Choices
from tests.fuzzing.guard import must
from tests.fuzzing.mutators import LINK_TYPES
from wiredoctor.core.capture.packet import Packet, key_of, reverse
from wiredoctor.core.tcp.flows import Share
from wiredoctor.tables import SCRATCH

MAX_RECORDS = 60
"""Packets of an input."""


def run(data: bytes) -> None:
    """Per packet the link type, what it is longer on the wire than in the file, and its bytes."""
    choices = Choices(data)
    records: list[Record] = []
    while choices and len(records) < MAX_RECORDS:
        link_type, more, size = choices.one(LINK_TYPES), choices.byte(), choices.whole(2)
        content = choices.bytes(size % 2_048)
        records.append(Record(content, link_type, len(content) + more * more))
    if records:
        check(records)


def check(records: list[Record]) -> None:
    """What must hold of these packets."""
    rows, oddities, state = decoded(records)
    file, columns = capture(records)
    inside = (rows["payload"] >= 0) & (rows["payload"] + rows["captured"] <= len(file))
    scratch = (rows["payload"] >= SCRATCH) & (rows["payload"] + rows["captured"] <= SCRATCH + len(state.scratch))
    must((inside | scratch | (rows["captured"] == 0)).all(), "payload lies in its file")
    own = columns["offset"][rows["frame"] - 1]
    begins = (rows["payload"] >= own) & (rows["payload"] + rows["captured"] <= own + columns["captured"][rows["frame"] - 1])
    must((begins | scratch | (rows["captured"] == 0)).all(), "payload lies in its packet")
    must(all(1 <= frame <= len(records) for frame, _, _ in oddities), "oddities are of packets")
    must(all(what.isprintable() for _, _, what in oddities), "oddities are told in words", oddities[:3])
    _check_shares(records)


def _check_shares(records: list[Record]) -> None:
    """Two processes have all packets between them, and both directions of a connection in one."""
    front, shares, owner = Front(), (Share(0, 2), Share(1, 2)), dict[bytes, int]()
    for packet in records_of(*capture(records), Packet()):
        if front.read(packet):
            owners = [share.number for share in shares if share.has(packet)]
            must(len(owners) == 1, "every packet is in one share", owners)
            key = key_of(packet)
            here = all(owner.setdefault(one, owners[0]) == owners[0] for one in (key, reverse(key)))
            must(here, "a connection is in one share", key)


def seed(packets: Iterable[Recorded]) -> bytes:
    """The input that stands for these packets."""
    out: list[bytes] = []
    for p in packets:
        if p.link_type in LINK_TYPES:
            content = p.data[:2_047]
            more = min(int(max(p.length - len(content), 0) ** 0.5), 255)
            out.append(bytes((LINK_TYPES.index(p.link_type), more)) + len(content).to_bytes(2) + content)
    return b"".join(out)
