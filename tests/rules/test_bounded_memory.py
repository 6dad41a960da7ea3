"""What many candidates have in common is held once."""

from __future__ import annotations

import polars as pl

from wiredoctor.rules.shared.bounded_memory import sharing_equal
from wiredoctor.rules.shared.gateway_kinds import Row


def test_texts_that_share_memory_are_the_same_texts() -> None:
    texts = ["the server behind it refused the connection", None, "", "the server behind it refused the connection"]
    assert sharing_equal("why", texts).to_list() == texts
    assert sharing_equal("why", []).dtype == pl.String


def test_rows_share_equal_texts() -> None:
    long = "a.example:8080" * 4
    first, second, third = Row.of(pl.DataFrame({"server": [long, long, None], "frame": [1, 2, 3]}))
    assert (first["server"], first["frame"], second["frame"], third["server"]) == (long, 1, 2, None)
    assert first["server"] is second["server"]
