"""Test that no-response allows for a gateway whose server failed: some close without an answer if a connection had been used."""

from __future__ import annotations

import pytest

from wiredoctor.testing import findings

OPENED = """
connection 1
  0.000  >  S    win 64240 mss 1460
  0.010  <  S.   win 64240 mss 1460
  0.010  >  .
"""
ANSWERED = r"""
  0.011  >  P.   "GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
  0.022  <  P.   "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
  0.022  >  .
"""
ASKED = r"""
  0.300  >  P.   "GET /b HTTP/1.1\r\nHost: a\r\n\r\n"
"""
CLOSED = {"at-once": "  0.3105 <  F.\n", "later": "  0.511  <  F.\n", "unread": "  0.3105 <  R.\n"}


@pytest.mark.parametrize("before", ["", ANSWERED], ids=["first", "used before"])
@pytest.mark.parametrize("kind", CLOSED)
def test_a_close_may_come_from_behind_a_gateway(kind: str, before: str) -> None:
    """HAProxy and httpd send 502 to the first request of a connection, and an RST only if they have not read the request."""
    [found] = [one for one in findings(OPENED + before + ASKED + CLOSED[kind]) if one.rule == "no-response"]
    assert found.kind == kind
    silent = bool(before) and kind != "unread"
    assert ("a server behind it failed" in found.message) is silent
    assert ("capture both sides" in found.remedy) is silent
