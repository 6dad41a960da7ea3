"""Which packets belong to a share of the connections: told by a hash that both directions have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from wiredoctor.tables import Array, Columns


def in_share(share: tuple[int, int], addresses: tuple[Array, Array, Array, Array], ports: tuple[Array, Array]) -> Array:
    """Whether each packet (n,) is of share `share[0]` of `share[1]`. Addresses: source high, low, destination high, low."""
    number, count = share
    mixed = addresses[0] ^ addresses[1] ^ addresses[2] ^ addresses[3]
    mixed = mixed ^ (ports[0].astype(np.uint64) * ports[1].astype(np.uint64))
    with np.errstate(over="ignore"):
        mixed *= np.uint64(0x9E3779B97F4A7C15)
    return (mixed >> np.uint64(40)) % np.uint64(count) == number


def only_share(share: tuple[int, int], packets: Columns) -> Columns:
    """The packets (tables.PACKETS) of a share."""
    addresses = (packets["source_high"], packets["source_low"], packets["destination_high"], packets["destination_low"])
    mine = np.flatnonzero(in_share(share, addresses, (packets["source_port"], packets["destination_port"])))
    return {name: column.take(mine) for name, column in packets.items()}
