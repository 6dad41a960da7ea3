"""Test that a connection on reused ports is a separate one even without its handshake, and that a gap does not begin one."""

from __future__ import annotations

from pathlib import Path

import pytest

import wiredoctor
from tests.support.analysis import analyze_bytes
from wiredoctor.testing import capture, ladders_in

LADDERS = dict(ladders_in(Path(__file__).with_name("capture_loss.txt")))
AGAIN = [title for title, text in LADDERS.items() if "connection 2" in text]
BEGUN = """
  0.000  >  S    win 64240 mss 1460
  0.010  <  S.   win 64240 mss 1460
  0.010  >  .
  0.011  >  P.   1:101(100)
  0.022  <  P.   1:301(300)
"""


def analyzed(path: Path, text: str) -> wiredoctor.Analysis:
    return analyze_bytes(path, capture(text))


@pytest.mark.parametrize("title", AGAIN)
def test_two_connections_with_an_exchange_each_and_no_bytes(tmp_path: Path, title: str) -> None:
    found = analyzed(tmp_path / "x.pcap", LADDERS[title])
    assert found.connections["exchanges"].to_list() == [1, 1]
    assert found.connections.select("client_unseen_bytes", "server_unseen_bytes").sum().row(0) == (0, 0)
    for finding in (one for one in found.findings if one.rule == "capture-loss"):
        assert (finding.measures["missing_bytes"], finding.measures["places"], finding.measures["touched"]) == (0, 1, 1)
        assert finding.title == "The capture is missing a handshake on reused ports"
        assert "The network delivered these bytes" not in finding.message


HOLES = {
    "the server's direction": ("60.0 > . 101:101(0) ack 10000301", 10_000_000),
    "the client's direction": ("60.0 > P. 2000101:2000201(100) ack 301\n  61.0 < . 301:301(0) ack 2000201", 2_000_000),
    "both, the client's less than a mebibyte": (
        "60.0 > P. 1000101:1000201(100) ack 10000301\n  61.0 < . 10000301:10000301(0) ack 1000201",
        11_000_000,
    ),
}


@pytest.mark.parametrize("where", HOLES)
def test_a_hole_of_any_length_is_no_other_connection(tmp_path: Path, where: str) -> None:
    packets, missing = HOLES[where]
    found = analyzed(tmp_path / "x.pcap", BEGUN + "  0.023  >  .\n  " + packets + "\n  => capture-loss")
    assert found.connections.height == 1
    assert found.connections.select("client_unseen_bytes", "server_unseen_bytes").sum_horizontal().to_list() == [missing]


def test_both_directions_of_a_busy_connection_may_have_gone_on_in_a_hole(tmp_path: Path) -> None:
    busy = "\n".join(
        f"  {1 + i / 100:.3f}  >  .  {101 + i * 60000}:{101 + (i + 1) * 60000}(60000)\n"
        f"  {1.005 + i / 100:.3f}  <  .  {301 + i * 60000}:{301 + (i + 1) * 60000}(60000)"
        for i in range(20)
    )
    found = analyzed(tmp_path / "x.pcap", BEGUN + busy + "\n  3.0  >  .  4000000:4000100(100) ack 4000000\n  => capture-loss")
    assert found.connections.height == 1


def test_no_more_is_missing_than_can_have_passed(tmp_path: Path) -> None:
    """Two milliseconds behind the last data: 2.5 MB at 1.25 GB/s."""
    found = analyzed(tmp_path / "x.pcap", BEGUN + "  0.023  >  .\n  0.024  >  .  101:101(0) ack 100000301\n  => capture-loss")
    assert found.connections.height == 1
    assert found.connections["server_unseen_bytes"].to_list() == [2_500_000]


def test_a_packet_without_an_acknowledgment_or_of_the_past_opens_nothing(tmp_path: Path) -> None:
    text = BEGUN + "  0.023  >  .\n  9.0  >  R.  900000000:900000000(0) ack 900000000\n  => nothing"
    assert analyzed(tmp_path / "x.pcap", text).connections.height == 1


def test_both_sides_of_a_firewall_that_changes_numbers_are_one_connection(tmp_path: Path) -> None:
    """Each packet of the server is there twice, with other numbers and the same IP id."""
    lines: list[str] = []
    for i in range(200):
        at, sent = 1 + i / 50, 301 + i * 1_000
        lines += [
            f"  {at:.4f}  <  .  {sent}:{sent + 1000}(1000) ack 101 id {i + 10}",
            f"  {at + 0.0002:.4f}  <  .  {sent + 900_000_000}:{sent + 900_001_000}(1000) ack 700000101 id {i + 10}",
        ]
    found = analyzed(tmp_path / "x.pcap", BEGUN + "\n".join(lines) + "\n  => capture-loss")
    assert found.connections.height == 1
    assert found.connections["reuse_frame"].to_list() == [None]
