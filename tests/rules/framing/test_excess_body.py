"""What excess-body says about the bytes after the body."""

from __future__ import annotations

import pytest

from wiredoctor.testing import findings

NEXT = "the client takes the extra bytes for the beginning of the next response"


@pytest.mark.parametrize(("fields", "is_last"), [("", False), (r"Connection: close\r\n", True)])
def test_there_is_a_next_response_only_on_an_open_connection(fields: str, is_last: bool) -> None:
    text = rf"""
  0.000  >  S    win 64240 mss 1460
  0.010  <  S.   win 64240 mss 1460
  0.010  >  .
  0.011  >  P.   "GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
  0.022  <  P.   "HTTP/1.1 200 OK\r\n{fields}Content-Length: 3\r\n\r\nhello"
  0.023  <  F.
  0.024  >  R.
"""
    [excess] = [found for found in findings(text) if found.rule == "excess-body"]
    assert "the end of the body is lost" in excess.message
    assert (NEXT in excess.message) != is_last
