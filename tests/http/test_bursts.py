"""Each burst has one row, wherever steps end."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.http.talk import HANDSHAKE
from tests.ladders import ladder_packets, to_pcap
from tests.pipeline.feeding import WHOLE, tables

STREAM = (
    HANDSHAKE
    + r"""
    0.020 > P. "GET / HTTP/1.1\r\n\r\n"
    0.030 < P. "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
    0.040 > .
    0.130 < P. "5\r\nworld\r\n"
    0.131 < P. "5\r\nagain\r\n"
    0.141 > .
    0.300 < P. "0\r\n\r\n"
    0.310 > .
"""
)


@pytest.mark.parametrize("step", [1, 2, 3, WHOLE])
def test_a_burst_that_a_pause_ends_in_a_later_step(step: int, tmp_path: Path) -> None:
    path = tmp_path / "stream.pcap"
    path.write_bytes(to_pcap(ladder_packets(STREAM)))
    bursts = tables(path, step)["bursts"]
    told = bursts.select("index", "first_frame", "last_frame", "bytes", "segments", "pause").rows()
    assert told == [(0, 5, 5, 10, 1, None), (1, 7, 8, 20, 2, 100_000_000), (2, 10, 10, 5, 1, 169_000_000)]


OVERTAKEN = (
    HANDSHAKE
    + r"""
    0.020 > P. "GET / HTTP/1.1\r\n\r\n"
    0.030 < P. "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
    0.040 > .
    0.130 < P. 68:78(10) "5\r\nagain\r\n"
    0.1301 < P. 58:68(10) "5\r\nworld\r\n"
    0.141 > .
    """
)


@pytest.mark.parametrize("step", [1, 2, 3, WHOLE])
def test_a_segment_that_overtakes_another_ends_the_pause(step: int, tmp_path: Path) -> None:
    path = tmp_path / "stream.pcap"
    path.write_bytes(to_pcap(ladder_packets(OVERTAKEN)))
    bursts = tables(path, step)["bursts"]
    told = bursts.select("index", "exchange", "first_frame", "last_frame", "bytes", "pause", "pause_application").rows()
    assert told == [(0, 0, 5, 5, 10, None, False), (1, 0, 7, 8, 20, 100_000_000, True)]


STAMPED = r"""
    connection 1, stamp 0 4294967290
    0.000 > S  win 64240 mss 1460 ts
    0.010 < S. win 64240 mss 1460 ts
    0.010 > .  ts
    0.020 > P. "GET / HTTP/1.1\r\n\r\n" ts
    0.031 < P. "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n" ts
    0.032 > .  ts
    0.061 < P. "5\r\nworld\r\n" ts
    0.062 > .  ts
    0.091 < P. "5\r\nagain\r\n" ts
    0.092 > .  ts
"""


@pytest.mark.parametrize("step", [1, WHOLE])
def test_what_left_while_the_path_stood_still(step: int, tmp_path: Path) -> None:
    """An event each 30 ms, of which the path lets five go at once; then 200 ms without one."""
    path = tmp_path / "stream.pcap"
    held = "\n".join(f'    0.{271 + i} < P. "5\\r\\nhello\\r\\n" ts left 0.{121 + 30 * i}' for i in range(5))
    text = f'{STAMPED}\n{held}\n0.280 > . ts\n0.471 < P. "5\\r\\nworld\\r\\n" ts\n0.472 > . ts\n'
    path.write_bytes(to_pcap(ladder_packets(text)))
    bursts = tables(path, step)["bursts"]
    ms = 1_000_000
    told = bursts.select("pause", "pause_waited", "pause_application", "pause_late", "span").rows()
    assert told[0] == (None, False, False, None, 0)
    assert told[3:] == [
        (180 * ms, False, False, 150 * ms, 120 * ms),
        (196 * ms, True, True, 196 * ms - 230 * ms, 0),
    ]
