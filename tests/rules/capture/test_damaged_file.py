"""A file that ends anywhere: inside a packet that is said, between two it is not."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

import wiredoctor
from tests.ladders import ladder_packets, to_pcap

if TYPE_CHECKING:
    from pathlib import Path

LADDER = """
  0.000  >  S    win 64240 mss 1460
  0.010  <  S.   win 64240 mss 1460
  0.010  >  .
  0.011  >  P.   "GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"
  0.022  <  P.   "HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok"
  0.022  >  .
"""


def edges(data: bytes) -> list[int]:
    """Where each record of a pcap file ends, and before the first."""
    found = [24]
    while found[-1] < len(data):
        found.append(found[-1] + 16 + struct.unpack_from("<I", data, found[-1] + 8)[0])
    return found


@pytest.mark.parametrize("packets", [2, 3, 6])
@pytest.mark.parametrize("off", [-1, 0, 1, 15, 16, 17])
def test_where_a_file_ends(packets: int, off: int, tmp_path: Path) -> None:
    data = to_pcap(ladder_packets(LADDER))
    end = edges(data)[packets] + off
    path = tmp_path / "cut.pcap"
    path.write_bytes(data[:end])
    report = wiredoctor.analyze(path, select=["damaged-file"])
    inside = end <= len(data) and end not in edges(data)
    assert [(f.rule, f.confidence) for f in report.findings] == [("damaged-file", "high")] * inside
    assert report.captures[0].packets == sum(edge <= end for edge in edges(data)) - 1
