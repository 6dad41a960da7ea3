"""Which packets belong to which share of the connections: told by a hash that both directions have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from wiredoctor.scan import BUCKETS, bucket

if TYPE_CHECKING:
    from wiredoctor.tables import Array, Columns


LESS = 0.1
"""By so much the last share is smaller than the others: whoever has it has decoded the packets for all."""


def shares(packets: Columns, count: int) -> list[Array]:
    """The rows of these packets (tables.PACKETS) that each of `count` shares of the connections has: whole buckets."""
    addresses = (packets["source_high"], packets["source_low"], packets["destination_high"], packets["destination_low"])
    place = bucket(addresses, (packets["source_port"], packets["destination_port"]))
    share = np.floor(place * ((count - LESS) / BUCKETS))
    return [np.flatnonzero(share == number) for number in range(count)]
