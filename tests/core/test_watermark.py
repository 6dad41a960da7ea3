"""The watermark: one packet that is stamped far ahead of all others does not advance it."""

from __future__ import annotations

import pytest

from tests.capture import files
from tests.core.feeding import Memory
from wiredoctor.core.capture.file_formats import open_records
from wiredoctor.core.capture.packet import Packet
from wiredoctor.tables import SECOND

DAY = 86_400 * SECOND
YEAR = 365 * DAY


def watermarks(*times: int) -> list[int]:
    """Return the watermark after each packet of a file with packets at these times (ns)."""
    start = YEAR // 1000 * 50
    content = files.pcap([files.Packet(start + time // 1000, b"", 0) for time in times])
    records, packet = open_records(Memory(content, len(content)), "x"), Packet()
    found: list[int] = []
    while records.next(packet):
        assert packet.clock == records.times.latest
        found.append(records.times.latest)
    return found


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        pytest.param((0, 1000, 2000), [0, 1000, 2000], id="packet by packet"),
        pytest.param((0, DAY, 2 * DAY), [0, DAY, 2 * DAY], id="a day of silence"),
        pytest.param((0, DAY + 1000, 1000), [0, 0, 1000], id="more than a day ahead, once"),
        pytest.param((0, 10 * YEAR, 1000, 2000), [0, 0, 1000, 2000], id="ten years ahead, once"),
        pytest.param((0, 10 * YEAR, 1000, 10 * YEAR + 1000, 2000), [0, 0, 1000, 1000, 2000], id="ten years ahead, now and then"),
        pytest.param((0, 10 * YEAR, 20 * YEAR, 1000), [0, 0, 0, 1000], id="two that have nothing in common"),
        pytest.param((0, 10 * YEAR, 10 * YEAR, 1000), [0, 0, 0, 1000], id="the same time twice, as of packets without one"),
        pytest.param((0, YEAR, YEAR + 1000, YEAR + 2000), [0, 0, YEAR + 1000, YEAR + 2000], id="a year of silence"),
        pytest.param((YEAR, 0, 1000), [0, 0, 0], id="the first packet is ahead: that is a clock that was set back"),
    ],
)
def test_watermark(times: tuple[int, ...], expected: list[int]) -> None:
    assert watermarks(*times) == expected
