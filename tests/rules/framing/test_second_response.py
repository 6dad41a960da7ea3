"""Bytes behind a response that show what went wrong: a page for chunks that the server took for a request, or another head."""

from __future__ import annotations

import pytest

from wiredoctor.testing import findings

OPENED = r"""
  0.000  >  S    win 64240 mss 1460
  0.010  <  S.   win 64240 mss 1460
  0.010  >  .
"""
POST = r'"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"'
GET = r'"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"'
CHUNK = r"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"


def remedy(rule: str, request: str, response: str) -> str:
    closed = "  0.023  <  F.\n  0.024  >  F.\n"
    text = f"{OPENED}  0.011  >  P.   {request}\n  0.022  <  P.   {response}\n{closed}"
    [one] = [one for one in findings(text) if one.rule == rule]
    return one.remedy


@pytest.mark.parametrize(
    ("asked", "behind", "advised"),
    [(POST, "<!DOCTYPE HTML>", True), (GET, "<!DOCTYPE HTML>", False), (POST, "more text", False)],
)
def test_a_page_behind_the_response_to_a_chunked_request(asked: str, behind: str, advised: bool) -> None:
    response = rf'"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok{behind}"'
    assert ("have it decode chunks" in remedy("excess-body", asked, response)) is advised


@pytest.mark.parametrize(("behind", "advised"), [(r"HTTP/1.1 500 Error\r\n\r\n", True), (r"more text\r\n", False)])
def test_another_response_behind_a_chunk(behind: str, advised: bool) -> None:
    assert ("without a second response" in remedy("invalid-chunk", GET, f'"{CHUNK}{behind}"')) is advised
