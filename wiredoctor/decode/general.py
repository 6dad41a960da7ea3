"""Packet by packet, header by header: what the core declines."""

from __future__ import annotations

from wiredoctor import limits
from wiredoctor.decode.general_link import LINKS
from wiredoctor.decode.general_names import step_bits
from wiredoctor.decode.packet import Packet, Step
from wiredoctor.decode.reasons import link_reason
from wiredoctor.decode.rows import Row


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
