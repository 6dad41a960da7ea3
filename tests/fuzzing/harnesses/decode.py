"""Link types and bytes of packets, through the decoder: both paths agree, and epochs and shares do not matter."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from tests.decode.packets import Record, capture
from tests.decode.twins import both, decoded
from tests.fuzzing.capturefile import Recorded
from tests.fuzzing.choices import Choices
from tests.fuzzing.guard import must
from tests.fuzzing.mutators import LINK_TYPES
from wiredoctor.decode import Shares
from wiredoctor.tables import SCRATCH

MOST = 60
"""Packets of an input."""


def run(data: bytes) -> None:
    """A byte for the epochs; then per packet the link type, what it is longer on the wire than in the file, and its bytes."""
    choices = Choices(data)
    epoch, records = choices.one((1_000, 1, 3)), list[Record]()
    while choices and len(records) < MOST:
        link_type, more, size = choices.one(LINK_TYPES), choices.byte(), choices.whole(2)
        content = choices.bytes(size % 2_048)
        records.append(Record(content, link_type, len(content) + more * more))
    if records:
        check(records, epoch)


def check(records: list[Record], epoch: int) -> None:
    """What must hold of these packets."""
    answer = decoded(records)
    rows, oddities, state = answer
    file, columns = capture(records)
    must(((rows["captured"] >= 0) & (rows["captured"] <= rows["length"])).all(), "what is captured is some of the payload")
    inside = (rows["payload"] >= 0) & (rows["payload"] + rows["captured"] <= len(file))
    scratch = (rows["payload"] >= SCRATCH) & (rows["payload"] + rows["captured"] <= SCRATCH + len(state.scratch))
    must((inside | scratch | (rows["captured"] == 0)).all(), "payload lies in its file")
    own = columns["offset"][rows["frame"] - 1]
    begins = (rows["payload"] >= own) & (rows["payload"] + rows["captured"] <= own + columns["captured"][rows["frame"] - 1])
    must((begins | scratch | (rows["captured"] == 0)).all(), "payload lies in its packet")
    must(all(1 <= frame <= len(records) for frame, _, _ in oddities), "oddities are of packets")
    must(all(what.isprintable() for _, _, what in oddities), "oddities are told in words", oddities[:3])
    if epoch < len(records):
        starts = range(0, len(records), epoch)
        parts, odd, other = both(file, [(at + 1, {n: c[at : at + epoch] for n, c in columns.items()}) for at in starts])
        _same(rows, parts, "in epochs")
        must(
            odd == oddities and other.not_analysed == state.not_analysed, "what was odd does not depend on epochs", odd, oddities
        )
    _check_shares(rows)


def _check_shares(rows: Any) -> None:
    """Two processes have all the rows between them, and both directions of a connection in one."""
    halves = Shares(2).rows(rows)
    must(sorted(np.concatenate(halves).tolist()) == list(range(len(rows["frame"]))), "every row is in one share")
    ends = [{tuple(sorted(e)) for e in zip(*_ends(rows, half), strict=True)} for half in halves]
    must(not ends[0] & ends[1], "a connection is in one share", list(ends[0] & ends[1])[:2])


def _ends(rows: Any, some: Any) -> tuple[list[Any], list[Any]]:
    columns = {name: rows[name][some].tolist() for name in (*_SOURCE, *_DESTINATION)}
    source, destination = (list(zip(*(columns[n] for n in names), strict=True)) for names in (_SOURCE, _DESTINATION))
    return source, destination


_SOURCE = ("source_high", "source_low", "source_port")
_DESTINATION = ("destination_high", "destination_low", "destination_port")


def _same(expected: Any, seen: Any, how: str) -> None:
    for name, column in expected.items():
        must(column.tolist() == seen[name].tolist(), f"packets.{name} is the same {how}", column.tolist(), seen[name].tolist())


def seed(packets: Iterable[Recorded]) -> bytes:
    """The input that stands for these packets."""
    out = [b"\0"]
    for p in packets:
        if p.link_type in LINK_TYPES:
            content = p.data[:2_047]
            more = min(int(max(p.length - len(content), 0) ** 0.5), 255)
            out.append(bytes((LINK_TYPES.index(p.link_type), more)) + len(content).to_bytes(2) + content)
    return b"".join(out)
