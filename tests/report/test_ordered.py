"""Lines that come in any order and leave sorted."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from wiredoctor.report.row_order import Ordered

BATCHES = st.lists(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 5), st.integers(-3, 3)), max_size=8), max_size=6)


@given(BATCHES)
def test_sorted_like_a_list(batches: list[list[tuple[int, int, int]]]) -> None:
    lines, expected = Ordered(), []
    for batch in batches:
        columns = np.array(batch, np.int64).reshape(-1, 3).T
        text = [f"{key} line {len(expected) + i}\n" for i, key in enumerate(batch)]
        lines.add((columns[0], columns[1], columns[2]), "".join(text).encode())
        expected += zip(batch, text, strict=True)
    out = BytesIO()
    assert len(lines) == len(expected)
    lines.write(out)
    assert out.getvalue().decode() == "".join(line for _, line in sorted(expected, key=lambda e: e[0]))


def test_long_lines_are_copied_whole() -> None:
    lines = Ordered()
    one, zero = np.ones(1, np.int64), np.zeros(1, np.int64)
    lines.add((one, one, one), b"x" * 3_000_000 + b"\n")
    lines.add((zero, zero, zero), b"first\n")
    out = BytesIO()
    lines.write(out)
    assert out.getvalue() == b"first\n" + b"x" * 3_000_000 + b"\n"
