"""Until when a capture went on, as its last block says."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.capture import files
from tests.capture.files import Packet
from wiredoctor.capture.end_of_capture import LONGEST, ending
from wiredoctor.capture.model import Ending

HEAD = files.section("<") + files.interface("<", resolution=9)


def statistics(comment: bytes, order: str = "<") -> bytes:
    return files.block(order, 5, bytes(12) + files.option(order, 1, comment) + bytes(4))


SAID = b"captured until 1795223636594000000 ns since 1970: 157 packets"


@pytest.mark.parametrize("order", ["<", ">"])
def test_the_last_block_says_until_when_it_was_captured(order: str) -> None:
    data = files.section(order) + files.interface(order) + statistics(SAID, order)
    assert ending(data[-LONGEST:]) == Ending(1795223636594000000, 157)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        HEAD,
        HEAD + statistics(b"captured until tomorrow: 157 packets"),
        HEAD + statistics(SAID + b" or so"),
        HEAD + statistics(SAID) + files.enhanced("<", Packet(1_000_000, bytes(60), 60)),
        HEAD + files.block("<", 6, statistics(SAID)),
        HEAD + statistics(SAID)[:-1],
        struct.pack("<I", 40) * 20,
    ],
)
def test_no_other_block_does(data: bytes) -> None:
    assert ending(data[-LONGEST:]) is None


@given(st.binary(max_size=200))
def test_any_bytes_may_stand_at_the_end(data: bytes) -> None:
    assert ending(data[-LONGEST:]) is None
    assert ending((statistics(SAID) + data)[-LONGEST:]) is None or not data
