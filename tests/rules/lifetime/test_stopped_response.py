"""A response that stops before its end, on a connection that stays open, until the client gives up."""

from __future__ import annotations

import pytest

from wiredoctor.findings import Finding
from wiredoctor.testing import findings

ASKED = r"""
  0.000  >  S    win 64240 mss 1460
  0.010  <  S.   win 64240 mss 1460
  0.010  >  .
  0.011  >  P.   "GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
"""
SIZED = r'<  P.   "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello"'
CHUNKED = r'<  P.   "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"'

UNFRAMED = r'<  P.   "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello"'


def told(response: str, begins: float, leaves: float) -> dict[str, Finding]:
    text = f"{ASKED}  {begins:.3f}  {response}\n  {begins:.3f}  >  .\n  {leaves:.3f}  >  R.\n"
    return {one.rule: one for one in findings(text)}


@pytest.mark.parametrize(
    ("response", "part", "advice"),
    [
        (SIZED, "the capture has 5 of 9 bytes of the body", "Content-Length announces more"),
        (CHUNKED, "the capture has 5 bytes of the body", "last chunk (size 0)"),
        (
            UNFRAMED,
            "some or all of the 200 (the capture has 5 bytes of the body, which ends",
            "waits until the connection closes",
        ),
    ],
)
def test_the_program_may_have_written_all(response: str, part: str, advice: str) -> None:
    abort = told(response, 0.022, 3.777)["client-abort"]
    assert part in abort.message
    assert advice in abort.remedy


@pytest.mark.parametrize("response", [SIZED, CHUNKED, UNFRAMED])
def test_no_such_advice_while_data_is_coming(response: str) -> None:
    abort = told(response, 0.022, 0.822)["client-abort"]
    assert "Check whether" not in abort.remedy
    assert abort.title.endswith("before it had the response")


@pytest.mark.parametrize(("leaves", "causes"), [(3.777, ["slow-response"]), (9.377, [])])
def test_a_slow_start_is_the_cause_of_what_it_took_most_of(leaves: float, causes: list[str]) -> None:
    """The response begins after 2.011 s."""
    found = told(SIZED, 2.022, leaves)
    assert "slow-response" in found
    assert [cause.rule for cause in found["client-abort"].caused_by] == causes


@pytest.mark.parametrize(("begins", "causes"), [(2.030, []), (2.400, ["slow-response"])])
def test_a_response_right_after_the_client_left_is_not_the_cause(begins: float, causes: list[str]) -> None:
    """The client gives up after 2 s, and the server may respond because of that."""
    answer = r'"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 2\r\n\r\nno"'
    text = f"{ASKED}  2.011  >  F.\n  {begins:.3f}  <  P.  {answer}\n  {begins:.3f}  >  R\n"
    found = {one.rule: one for one in findings(text)}
    assert "slow-response" in found
    assert [cause.rule for cause in found["client-abort"].caused_by] == causes
