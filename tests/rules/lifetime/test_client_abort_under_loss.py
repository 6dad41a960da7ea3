"""Test what `client-abort` says of a client that left while segments of its response were lost."""

from __future__ import annotations

import pytest

from wiredoctor.findings import Finding
from wiredoctor.testing import POINTS, findings

LOSS = """
  0.000  >  S    win 64240 mss 1460
  0.000  <  S.   win 64240 mss 1460
  0.010  >  .
  0.011  >  P.   "GET /a HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"
  0.012  <  .    1:1001 "HTTP/1.1 200 OK\\r\\nContent-Length: 20000\\r\\n\\r\\n" + x*958
  0.012  <  .    1001:2001 x*1000
  0.012  <  .    2001:3001 x*1000
  0.012  <  .    3001:4001 x*1000
  0.022  >  .    ack 1001 sack 3001:4001
  0.022  <  .    1001:2001 x*1000
  0.250  <  .    1001:2001 x*1000
  0.700  <  .    1001:2001 x*1000
"""


def _abort(close: str, at: str) -> Finding:
    [found] = [one for one in findings(LOSS + close, at=at) if one.rule == "client-abort"]
    return found


@pytest.mark.parametrize("at", POINTS)
def test_a_client_that_waits_for_a_retransmission_is_not_told_that_the_server_stopped(at: str) -> None:
    told = _abort(
        """
  0.710  >  .    ack 2001 sack 3001:4001
  0.710  <  .    2001:3001 x*1000
  2.100  >  F.   ack 2001 sack 3001:4001
  2.300  <  .    2001:3001 x*1000
  2.310  >  R    29:29
""",
        at,
    )
    assert "nothing had come" not in told.message
    assert "had written its complete response" not in told.remedy


@pytest.mark.parametrize("at", POINTS)
def test_a_server_that_stopped_after_a_retransmission_is_told_from_then_on(at: str) -> None:
    told = _abort("  0.710  >  .   ack 4001\n  4.100  >  F.\n  4.101  <  .\n", at)
    assert "nothing had come for 3." in told.message
    assert "had written its complete response" in told.remedy
