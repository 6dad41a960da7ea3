"""Texts that are cut keep their masks whole."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from wiredoctor.text.escape import shorten
from wiredoctor.text.redact import MASKED, cut

TEXTS = st.lists(st.sampled_from(["a", "(", "=", "masked", MASKED]), max_size=30).map("".join)


def is_whole(text: str, of: str) -> bool:
    """Whether no part of a mask of `of` is left over in `text`; a sign that was sent may look like one."""
    return re.search(r"\(m?a?s?k?e?d?$|^m?a?s?k?e?d?\)", text) is None or MASKED not in of


@given(
    TEXTS.filter(lambda text: "(" not in text.replace(MASKED, "") and "masked" not in text.replace(MASKED, "")),
    st.integers(5, 60),
)
def test_no_part_of_a_mask_is_left(text: str, width: int) -> None:
    short = shorten(text, width)
    assert len(short) <= max(width, 0)
    assert all(is_whole(part, text) for part in short.split("..."))
    assert cut(text, width).replace(MASKED, "").isascii()
    assert is_whole(cut(text, width).replace(MASKED, "") or "a", text)


def test_a_text_is_cut_in_its_middle() -> None:
    assert shorten("/abcdefghij", 9) == "/ab...hij"
    assert shorten(f"/a?b={MASKED}&c=d", 12) == "/a?b=...&c=d"
