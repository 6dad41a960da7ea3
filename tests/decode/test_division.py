"""How packets are divided between processes: by connection, for good, and about evenly."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from wiredoctor.decode import Shares
from wiredoctor.scan import bucket
from wiredoctor.tables import PACKETS, Columns


def packets(ports: list[int], *, back: bool = False) -> Columns:
    """Packets of clients at these ports, or what their server sends back."""
    rows = {column.name: np.zeros(len(ports), np.uint64) for column in PACKETS.columns}
    client, server = ("destination", "source") if back else ("source", "destination")
    rows[f"{client}_low"] += np.uint64(0xFFFF0A000001)
    rows[f"{server}_low"] += np.uint64(0xFFFF0A000002)
    rows[f"{client}_port"][:] = ports
    rows[f"{server}_port"] += 80
    return rows


@given(st.lists(st.lists(st.integers(1, 65_535), max_size=50), min_size=1, max_size=5), st.integers(2, 5))
def test_a_connection_is_in_one_share_for_good(epochs: list[list[int]], count: int) -> None:
    shares, having = Shares(count), dict[int, int]()
    for ports in epochs:
        for back in (False, True):
            rows = shares.rows(packets(ports, back=back))
            assert sorted(np.concatenate(rows).tolist()) == list(range(len(ports)))
            for number, some in enumerate(rows):
                assert all(having.setdefault(ports[row], number) == number for row in some.tolist())


@given(st.sets(st.integers(1_024, 65_535), min_size=16, max_size=16))
def test_few_busy_connections_are_divided_evenly(ports: set[int]) -> None:
    """Each of sixteen has a hundred packets; by a hash alone, one share would often have three quarters of them."""
    first, second = Shares(2).rows(packets(sorted(ports) * 100))
    busiest = 100 * max(Counter(place(port) for port in ports).values())
    assert max(len(first), len(second)) <= (1.1 * 1_600 + busiest) / 2  # of what is given out last, at most all is too much


def place(port: int) -> int:
    """Connections of one bucket stay together."""
    rows = packets([port])
    addresses = (rows["source_high"], rows["source_low"], rows["destination_high"], rows["destination_low"])
    return int(bucket(addresses, (rows["source_port"], rows["destination_port"]))[0])
