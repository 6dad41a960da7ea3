"""Decodes records with the core."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tests.core.front import by_core
from tests.decode.packets import Record, capture
from wiredoctor.tables import SCRATCH, Columns


class State(NamedTuple):
    """What is known besides packets. `scratch`: datagrams put together; `tunnels`: fragmented ones with the port of a tunnel."""

    not_analysed: dict[str, int]
    encapsulations: dict[str, int]
    longest_cut: int
    limits: dict[str, str]
    scratch: bytes
    tunnels: dict[int, None]


Decoded = tuple[Columns, list[tuple[int, str, str]], State]


def decoded(records: list[Record]) -> Decoded:
    """Their rows of tables.PACKETS, what is odd in them, and the state; each packet is a row or counted, or a short quote."""
    rows, front = by_core(*capture(records))
    facts = front.facts()
    state = State(
        facts["not analyzed"], facts["encapsulations"], facts["longest cut"], facts["limits"], facts["scratch"],
        front.datagrams.tunnels,
    )  # fmt: skip
    assert len(rows["frame"]) + sum(state.not_analysed.values()) + front.quotes == len(records)
    assert (np.diff(rows["frame"]) > 0).all()
    assert (rows["captured"] >= 0).all()
    assert (rows["captured"] <= rows["length"]).all()
    return rows, facts["oddities"], state


def payloads(records: list[Record], answer: Decoded) -> list[bytes]:
    """The captured payload of each row."""
    rows, _, state = answer
    file = capture(records)[0].tobytes()
    found = []
    for at, size in zip(rows["payload"].tolist(), rows["captured"].tolist(), strict=True):
        found.append(state.scratch[at - SCRATCH :][:size] if at >= SCRATCH else file[at : at + size])
    return found
