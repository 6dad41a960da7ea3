"""The vectorised forms agree with the plain ones."""

from __future__ import annotations

import json

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from wiredoctor.findings import printable
from wiredoctor.report.columns import escape_column, seconds, with_divisor

LATIN = st.text(st.characters(max_codepoint=255))


@given(st.lists(st.one_of(LATIN, st.text()), max_size=20))
def test_escaped_is_printable(texts: list[str]) -> None:
    frame = pl.DataFrame({"t": texts}, schema={"t": pl.String})
    assert frame.select(escape_column("t")).to_series().to_list() == [printable(t) for t in texts]


@given(st.lists(st.one_of(st.none(), st.integers(-(10**15), 10**15)), min_size=1))
def test_seconds_are_the_nearest_double(times: list[int | None]) -> None:
    frame = with_divisor(pl.DataFrame({"t": times}, schema={"t": pl.Int64}))
    assert frame.select(seconds("t")).to_series().to_list() == [None if t is None else t / 1e9 for t in times]


def test_seconds_print_with_nine_decimals() -> None:
    frame = with_divisor(pl.DataFrame({"t": [44_123_456, 1, 1_000_000_000_000_001]}))
    lines = frame.select(seconds("t")).write_ndjson().splitlines()
    assert [json.loads(line, parse_float=str)["t"] for line in lines] == ["0.044123456", "1e-9", "1000000.000000001"]
