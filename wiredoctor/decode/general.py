"""The general path: packet by packet, header by header, for what the fast path declines.

It knows the headers of the fast path too, so that a test can hold the two against each other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wiredoctor import limits
from wiredoctor.decode.general_link import LINKS
from wiredoctor.decode.general_names import step_bits
from wiredoctor.decode.names import names_of
from wiredoctor.decode.packet import Packet, Step
from wiredoctor.decode.reasons import link_reason
from wiredoctor.decode.rows import Row, columns_of

if TYPE_CHECKING:
    from wiredoctor.decode.state import DecodeState, Oddity
    from wiredoctor.tables import Array, Columns


def general_path(
    data: Array, rows: Array, first_frame: int, records: Columns, state: DecodeState
) -> tuple[Columns, list[Oddity]]:
    """tables.PACKETS columns of these packet records, and oddities; the others are counted in state.not_analysed."""
    found: list[Row] = []
    oddities: list[Oddity] = []
    buffer = data.data
    offset, captured, length = (records[name][rows].tolist() for name in ("offset", "captured", "length"))
    for i, (record, link_type) in enumerate(zip(rows.tolist(), records["link_type"][rows].tolist(), strict=True)):
        at, frame = offset[i], first_frame + record
        end, limit = at + captured[i], at + max(captured[i], length[i])
        packet = Packet(state, record, frame, buffer, 0, at, end, limit, captured[i])
        outcome = follow(packet, link_type)
        if isinstance(outcome, str):
            state.not_analysed[outcome] += 1
            continue
        found.append(outcome)
        for name in names_of(packet.names):
            state.encapsulations[name] += 1
        if outcome.oddity is not None:
            oddities.append((frame, "tcp", outcome.oddity))
    return columns_of(found, records), oddities


def follow(packet: Packet, link_type: int) -> Row | str:
    """Read the headers of a packet; return its row of tables.PACKETS, or why there is none."""
    step: Step | None = LINKS.get(link_type)
    if step is None:
        return link_reason(link_type)
    for _ in range(limits.HEADERS.value):
        packet.names |= step_bits().get(step, 0)
        outcome = step(packet)
        if isinstance(outcome, (Row, str)):
            return outcome
        step = outcome
    return "too many headers inside each other"
