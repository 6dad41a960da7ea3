"""Number the connections of a sorted file by their first packets in the file, as Wireshark does.

The packets of such a file are analyzed in time order. Their headers are read once before that, in the order of the file.
"""

from __future__ import annotations

from mypy_extensions import i64

from wiredoctor import limits
from wiredoctor.core.connection import NO_BASE
from wiredoctor.core.datagrams import Datagrams
from wiredoctor.core.flows import Flows
from wiredoctor.core.headers import Headers
from wiredoctor.core.layers import SEGMENT
from wiredoctor.core.packet import Packet, key_of, reverse
from wiredoctor.core.records import Records
from wiredoctor.core.segment import ACK, SYN


def reserve_ids(records: Records, flows: Flows) -> None:
    """Reserve the ids of the first connections in `records`, which are in the order of the file. Their number is limits.OPEN.

    Later connections are numbered in time order, after these.
    """
    headers, packet = Headers(Datagrams()), Packet()
    sequences: dict[bytes, list[int]] = {}  # for each pair of endpoints, the sequence numbers of the newest SYN of both sides
    count: i64 = 0
    most: i64 = limits.OPEN.value
    while count < most and records.next(packet):
        if headers.read(packet) != SEGMENT:
            continue
        key = reverse(key_of(packet)) if packet.is_turned else key_of(packet)
        side: i64 = 1 if packet.is_turned else 0
        is_new = key not in sequences
        if not is_new and not packet.is_quoted and packet.flags & (SYN | ACK) == SYN:
            last: i64 = sequences[key][side]
            is_new = last != NO_BASE and last != packet.sequence
        if is_new:
            sequences[key] = [NO_BASE, NO_BASE]
            count += 1
            if flows.share is None or flows.share.has(packet):
                flows.reserve(key, packet)
        if packet.flags & SYN and not packet.is_quoted:
            sequences[key][side] = packet.sequence
    flows.after = records.frame
