"""A file that ends anywhere: inside a packet that is said, between two it is not."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

import wiredoctor
from tests.ladders import ladder_packets, to_pcap
from tests.support.analysis import analyze_bytes
from wiredoctor.capture import CaptureError

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
    report = analyze_bytes(tmp_path / "cut.pcap", data[:end], select=["damaged-file"])
    inside = end <= len(data) and end not in edges(data)
    assert [(f.rule, f.confidence) for f in report.findings] == [("damaged-file", "high")] * inside
    assert report.captures[0].packets == sum(edge <= end for edge in edges(data)) - 1


def with_zeros(data: bytes, packets: int, zeros: int, tail: bytes = b"") -> bytes:
    """Return the first `packets` packets of a pcap file, then zeros, then `tail`."""
    return data[: edges(data)[packets]] + bytes(zeros) + tail


@pytest.mark.parametrize("zeros", [16, 17, 4096, 1 << 20])
@pytest.mark.parametrize("packets", [2, 6])
def test_zeros_at_the_end_were_never_written(packets: int, zeros: int, tmp_path: Path) -> None:
    report = analyze_bytes(
        tmp_path / "power.pcap", with_zeros(to_pcap(ladder_packets(LADDER)), packets, zeros), select=["capture"]
    )
    assert [(f.rule, f.severity) for f in report.findings] == [("damaged-file", "warning")]
    assert f"zeros from packet {packets + 1} on" in report.findings[0].message
    assert report.captures[0].packets == packets


def test_an_empty_record_amid_the_file_is_a_packet(tmp_path: Path) -> None:
    """Zeros with data after them are empty packets of 1970."""
    data = to_pcap(ladder_packets(LADDER))
    report = analyze_bytes(
        tmp_path / "empty.pcap", with_zeros(data, 6, 16 * 100_000, data[24 : edges(data)[1]]), select=["damaged-file"]
    )
    assert not report.findings
    assert report.captures[0].packets == 6 + 100_000 + 1


def test_a_file_of_zeros_has_no_packet(tmp_path: Path) -> None:
    path = tmp_path / "nothing.pcap"
    path.write_bytes(to_pcap(ladder_packets(LADDER))[:24] + bytes(4096))
    with pytest.raises(CaptureError, match="no packet can be read: the file contains only zeros from packet 1 on"):
        wiredoctor.analyze(path)
