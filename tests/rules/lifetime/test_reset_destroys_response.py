"""Test the remedy of reset-destroys-response: a server whose time limit for the request expired says so with a 408."""

from __future__ import annotations

import pytest

from wiredoctor.testing import findings

CUT_OFF = r"""
  0.000  >  S    win 64240 mss 1460
  0.010  <  S.   win 64240 mss 1460
  0.010  >  .
  0.011  >  P.   "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 90000\r\n\r\n" + x*1000
  0.021  <  .
  1.000  >  P.   x*1000
  1.010  <  .
  2.011  <  P.   "HTTP/1.1 STATUS\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
  2.011  <  F.
  2.012  >  P.   x*1000
  2.022  <  R
"""


@pytest.mark.parametrize(("status", "expired"), [("408 Request Timeout", True), ("413 Content Too Large", False)])
def test_a_time_limit_is_named_only_with_a_408(status: str, expired: bool) -> None:
    [finding] = findings(CUT_OFF.replace("STATUS", status))
    assert finding.rule == "reset-destroys-response"
    assert finding.remedy.startswith("The server's time limit for receiving a request had probably expired, 2 s") == expired
    assert "read and discard the rest of the request" in finding.remedy
