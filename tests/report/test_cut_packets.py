"""Packets that the snap length cut before any payload: HTTP inside is unknown, not absent."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.report.examples import connection, exchange, report
from tests.support.analysis import analyze_bytes
from wiredoctor.findings import LeftOut, Report
from wiredoctor.report.coverage import coverage_by_capture, find_coverage
from wiredoctor.report.groups import group_findings
from wiredoctor.report.headline import headline
from wiredoctor.report.terminal.sentences import checked_lines
from wiredoctor.testing import capture

# each frame of a ladder begins with 54 bytes of Ethernet, IPv4 and TCP
EXCHANGE = """
  0.000  >  S    mss 1460
  0.010  <  S.   mss 1460
  0.010  >  .
  0.011  >  P.   {request} snap {snap}
  0.022  <  P.   "answer" + x*300 snap {snap}
  0.022  >  .
"""


def analyze(folder: Path, request: str, snap: int) -> Report:
    return analyze_bytes(folder / "some.pcap", capture(EXCHANGE.format(request=request, snap=snap)))


@pytest.mark.parametrize("snap", [54, 56])
def test_a_protocol_that_was_cut_off_is_unknown(tmp_path: Path, snap: int) -> None:
    cut = analyze(tmp_path, r'"GET / HTTP/1.1\r\nHost: a\r\n\r\n"', snap)
    reach = find_coverage(cut)
    assert headline(cut, group_findings(cut.findings), reach) == (
        "Nothing wrong was found, but only stalls and connection attempts could be judged: "
        f"packets were cut after {snap} bytes, too few to see a protocol."
    )
    why = f"packets were cut after {snap} bytes, so the protocol is unknown: only stalls and connection attempts were checked"
    assert why in [one.reason for one in reach.not_judged]
    assert why in [one.reason for one in coverage_by_capture(cut)[cut.captures[0].file].not_judged]
    assert "1 connection (protocol not captured): stalls, connection attempts" in checked_lines(reach)


@pytest.mark.parametrize("snap", [70, 96, 128])
def test_a_protocol_that_is_not_recognized_in_cut_packets_may_still_be_visible(tmp_path: Path, snap: int) -> None:
    """The payload captured is that of Redis, or the beginning of a request whose HTTP version was cut."""
    seen = f"packets were cut after {snap} bytes, in which neither HTTP/1.x nor TLS was recognized"
    for request in (r'"*2\r\n$3\r\nGET\r\n$9\r\nuser:1000\r\n" + x*100', r'"GET /" + x*300 + " HTTP/1.1\r\nHost: a\r\n\r\n"'):
        cut = analyze(tmp_path, request, snap)
        reach = find_coverage(cut)
        only = "only stalls and connection attempts could be judged"
        assert headline(cut, [], reach) == f"Nothing wrong was found, but {only}: {seen}."
        assert f"{seen}: only stalls and connection attempts were checked" in [one.reason for one in reach.not_judged]
        assert "1 connection (protocol not recognized): stalls, connection attempts" in checked_lines(reach)
    assert not find_coverage(analyze(tmp_path, r'"GET / HTTP/1.1\r\nHost: a\r\n\r\n"', snap)).carried["unknown"]


def test_what_cannot_be_read_is_not_called_healthy_after_doubts(tmp_path: Path) -> None:
    """Packets were dropped, or a finding of the capture is known already: no clean bill of health, but what was judged."""
    cut = analyze(tmp_path, r'"GET / HTTP/1.1\r\nHost: a\r\n\r\n"', 54)
    reach = find_coverage(cut)
    doubtful = replace(cut, captures=[cut.captures[0]._replace(dropped=3, dropped_of=9)])
    for one in (doubtful, replace(cut, left_out=[LeftOut("ignore", "r", 1, ("no-response",))])):
        assert "Nothing wrong" not in headline(one, [], reach)
        assert headline(one, [], reach).endswith(
            "Only stalls and connection attempts could be judged: packets were cut after 54 bytes, too few to see a protocol."
        )


def test_another_protocol_is_named_if_enough_was_captured(tmp_path: Path) -> None:
    reach = find_coverage(analyze(tmp_path, '"SSH-2.0-OpenSSH_9.2" + x*100', 150))
    assert reach.snap_length is None
    assert "1 connection (neither HTTP/1.x nor TLS): stalls, connection attempts" in checked_lines(reach)


def test_health_names_what_is_encrypted() -> None:
    """Health is not said of TLS: 502s may be inside."""
    rows = [connection(0), connection(1, protocol="tls"), connection(2, protocol="tls")]
    one = report([], rows, [exchange(0)])
    said = headline(one, [], find_coverage(one))
    assert said == "Nothing wrong was found, but 2 of 3 connections are encrypted (TLS, not decrypted)."
