"""A smaller path MTU: a size counts as full once it occurred three times in front of more data (rules.md, MSS)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ladders import ladder_packets, to_pcap
from tests.pipeline.feeding import tables

HANDSHAKE = """
0.000  >  S    0:0(0)                  win 64240 mss 1460
0.010  <  S.   0:0(0)        ack 1     win 64240 mss 1460
0.010  >  .    1:1(0)        ack 1
0.011  >  P.   "GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"
0.022  <  P.   "HTTP/1.1 200 OK\\r\\nContent-Length: 9000\\r\\n\\r\\n"
"""


def server_sizes(tmp_path: Path, body: str, epoch: int) -> list[tuple[int, int, bool]]:
    """Length, MSS and fullness of the server's body segments."""
    path = tmp_path / "ladder.pcap"
    path.write_bytes(to_pcap(ladder_packets(HANDSHAKE + body)))
    rows = tables(path, epoch)["segments"]
    rows = rows.filter((rows["direction"] == 1) & (rows["length"] > 100))
    return rows.select("length", "mss", "full").rows()


@pytest.mark.parametrize("epoch", [1, 3, 100])
def test_a_size_that_fills_the_path_counts_as_full(tmp_path: Path, epoch: int) -> None:
    body = "".join(f'0.0220{i}  <  .  "{"x" * 1000}"\n' for i in range(1, 8))
    sizes = server_sizes(tmp_path, body, epoch)
    # the first three were followed at once when the fourth leaves: from the fourth on 1000 bytes are full
    assert sizes == [(1000, 1460, False)] * 3 + [(1000, 1000, True)] * 4


def test_a_longer_segment_before_forbids_it(tmp_path: Path) -> None:
    body = f'0.02200  <  .  "{"x" * 1200}"\n' + "".join(f'0.0220{i}  <  .  "{"x" * 1000}"\n' for i in range(1, 8))
    assert {mss for _, mss, _ in server_sizes(tmp_path, body, 100)} == {1460}


def test_writes_with_pauses_between_are_the_applications(tmp_path: Path) -> None:
    body = "".join(f'0.03{i}  <  .  "{"x" * 1000}"\n' for i in range(1, 8))
    assert {mss for _, mss, _ in server_sizes(tmp_path, body, 100)} == {1460}
