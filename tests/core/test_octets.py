"""The functions of librt and their substitutes in Python read and write the same."""

from __future__ import annotations

from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wiredoctor.core import octets, octets_python

strings = pytest.importorskip("librt.strings", reason="not installed: package librt")

SIZES = {"read_i16_be": 2, "read_i32_be": 4, "read_i32_le": 4, "read_i64_be": 8, "read_i64_le": 8}


def test_librt_is_used_where_it_is_installed() -> None:
    assert all(getattr(octets, name) is getattr(strings, name) for name in octets.__all__)


@pytest.mark.parametrize("name", SIZES)
@given(content=st.binary(min_size=8, max_size=24), index=st.integers(-9, 25))
def test_numbers_are_read_alike(name: str, content: bytes, index: int) -> None:
    def read(module: ModuleType) -> int | type:
        try:
            return getattr(module, name)(content, index)
        except (IndexError, ValueError) as error:
            return type(error)

    order = "big" if name.endswith("be") else "little"
    expected: int | type = int.from_bytes(content[max(index, 0) :][: SIZES[name]], order, signed=True)
    if index > len(content) - SIZES[name]:
        expected = IndexError
    elif index < 0:
        expected = ValueError
    assert [read(module) for module in (strings, octets_python)] == [expected, expected]


@given(numbers=st.lists(st.integers(-(1 << 63), (1 << 63) - 1), max_size=20), size=st.integers(0, 160), octet=st.integers(0, 255))
def test_rows_are_written_alike(numbers: list[int], size: int, octet: int) -> None:
    written: list[bytes] = []
    for module in (strings, octets_python):
        writer = module.BytesWriter()
        for number in numbers:
            module.write_i64_le(writer, number)
        assert writer.getvalue() == b"".join(number.to_bytes(8, "little", signed=True) for number in numbers)
        writer.truncate(min(size, len(writer)))
        writer.write(b"abc")
        writer.append(octet)
        written.append(writer.getvalue())
        assert len(writer) == len(written[-1])
        with pytest.raises(ValueError):
            writer.truncate(len(writer) + 1)
    assert written[0] == written[1]
