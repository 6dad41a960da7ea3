"""Test the body of a 204 that arrives after the next request was sent.

These are no ladders, because the announcement is reported as well if rows are handed on before the body comes.
"""

from __future__ import annotations

import pytest

from wiredoctor.testing import check

CONVERSATION = r"""
  0.000  >  S    win 64240 mss 1460
  0.010  <  S.   win 64240 mss 1460
  0.010  >  .
  0.011  >  P.   "GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
  0.022  <  P.   "HTTP/1.1 204 No Content\r\n{field}\r\n\r\n"
  0.023  >  P.   "POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{{}}"
  0.034  <  P.   "{body}"
  0.050  >  F.
  0.060  <  F.
  => body-not-allowed, side server, severity error, frames 4 5 7
"""


@pytest.mark.parametrize(
    ("field", "body"), [("Transfer-Encoding: chunked", r"5\r\nhello\r\n0\r\n\r\n"), ("Content-Length: 5", "hello")]
)
def test_a_late_body_is_no_answer_to_the_next_request(field: str, body: str) -> None:
    check(CONVERSATION.format(field=field, body=body))
