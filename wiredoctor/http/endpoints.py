"""What stands for an address and port in integer columns: the same on all connections, in all processes."""

from __future__ import annotations

import numpy as np

from wiredoctor.tables import Array


def endpoint_hash(side: Array, facts: dict[str, Array]) -> Array:
    """Hashes of address and port of sides (2 * slot + direction), in the shape of `side`. `facts` are TCP's arrays."""
    with np.errstate(over="ignore"):
        mixed = facts["side_port"][side].astype(np.uint64)
        for name in ("side_address_high", "side_address_low"):
            mixed = (mixed ^ facts[name][side]) * np.uint64(0x9E3779B97F4A7C15)
            mixed ^= mixed >> np.uint64(32)
    return mixed.view(np.int64)
