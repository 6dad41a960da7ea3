"""What many candidates have in common is held once."""

from __future__ import annotations

import polars as pl

from wiredoctor.world.exchange import Connection, read


def test_rows_share_equal_texts() -> None:
    long = "a.example:8080" * 4
    columns = dict.fromkeys(Connection._fields, pl.Series([0, 1, 2]))
    rows = pl.DataFrame(columns | {"server": [long, long, None], "syn_frame": [1, 2, 3]})
    first, second, third = read(Connection, rows)
    assert (first.server, first.syn_frame, second.syn_frame, third.server) == (long, 1, 2, None)
    assert first.server is second.server
