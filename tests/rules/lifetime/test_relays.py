"""no-response and connect-failed name a relay only if the port goes on accepting connections and answers no request."""

from __future__ import annotations

import pytest

from wiredoctor.testing import findings

CONNECTION = """
connection 1
  0.000  >  S    win 64240 mss 1460
  0.010  <  S.   win 64240 mss 1460
  0.010  >  .
"""
RESET = {
    "closed-at-once": "  0.0305 <  R.\n",
    "on-arrival": '  0.0105 <  R.   1:1(0) ack 1\n  0.0106 >  P.   "GET /b HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n" ack 1\n',
    "unread": '  0.011  >  P.   "GET /b HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"\n  0.0305 <  R.\n',
}


@pytest.mark.parametrize(
    ("start", "port", "relay"),
    [(0.3, 80, False), (1.3, 80, True), (0.3, 81, True)],
    ids=["the next SYN is refused", "more than a second later", "another port"],
)
@pytest.mark.parametrize("kind", RESET)
def test_a_relay_goes_on_accepting(kind: str, start: float, port: int, relay: bool) -> None:
    refused = f"connection 2, start {start}, client 10.0.0.1:4002, server 10.0.0.2:{port}\n  0.000 > S\n  0.010 < R. ack 1\n"
    [found] = [one for one in findings(CONNECTION + RESET[kind] + refused) if one.kind == kind]
    assert ("relay" in found.message) is relay
    assert ("relay" in found.remedy) is relay
    assert ("refused" in found.message) is not relay


@pytest.mark.parametrize(
    ("start", "port", "relay"),
    [(0, 80, False), (1.5, 80, True), (0, 81, True)],
    ids=["at that time", "more than a second later", "another port"],
)
@pytest.mark.parametrize("kind", ["on-arrival", "unread"])
def test_a_relay_without_a_service_answers_nothing(kind: str, start: float, port: int, relay: bool) -> None:
    answered = (
        f"connection 2, start {start}, client 10.0.0.1:4002, server 10.0.0.2:{port}\n"
        "  0.000  >  S    win 64240 mss 1460\n  0.010  <  S.   win 64240 mss 1460\n  0.010  >  .\n"
        '  0.020  >  P.   "GET /a HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"\n'
        '  0.031  <  P.   "HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n"\n'
    )
    [found] = [one for one in findings(CONNECTION + RESET[kind] + answered) if one.kind == kind]
    assert ("relay" in found.message) is relay
    assert ("relay" in found.remedy) is relay
    assert ("at its connection limit closes" in found.message) is not relay


@pytest.mark.parametrize("kind", ["on-arrival", "unread"])
def test_a_server_that_answered_only_before_may_have_ended(kind: str) -> None:
    """It is no relay without a service, and nothing shows that it still works, at a limit."""
    answered = (
        "connection 2, start 0, client 10.0.0.1:4002, server 10.0.0.2:80\n"
        "  0.000  >  S    win 64240 mss 1460\n  0.010  <  S.   win 64240 mss 1460\n  0.010  >  .\n"
        '  0.020  >  P.   "GET /a HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"\n'
        '  0.031  <  P.   "HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n"\n'
    )
    reset = CONNECTION.replace("connection 1", "connection 1, start 0.1") + RESET[kind]
    [found] = [one for one in findings(answered + reset) if one.kind == kind]
    assert "relay" not in found.message + found.remedy
    assert "connection limit" not in found.message + found.remedy


@pytest.mark.parametrize("kind", ["on-arrival", "unread"])
def test_a_server_that_accepts_before_it_refuses_had_not_ended(kind: str) -> None:
    later = (
        "connection 2, start 0.1, client 10.0.0.1:4002, server 10.0.0.2:80\n"
        "  0.000  >  S    win 64240 mss 1460\n  0.010  <  S.   win 64240 mss 1460\n  0.010  >  .\n"
        "connection 3, start 0.3, client 10.0.0.1:4003, server 10.0.0.2:80\n  0.000 > S\n  0.010 < R. ack 1\n"
    )
    [found] = [one for one in findings(CONNECTION + RESET[kind] + later) if one.kind == kind]
    assert "refused" not in found.message


def test_a_server_that_closes_after_each_response_has_not_ended() -> None:
    """Mojolicious closes connections of HTTP/1.0 after the response, as httperf sends the next request; others are answered."""
    request, response = '"GET /a HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"', '"HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n"'
    both = "".join(
        f"connection {n}, start {n / 1000}, client 10.0.0.1:400{n}, server 10.0.0.2:80\n"
        "  0.000  >  S    win 64240 mss 1460\n  0.0004 <  S.   win 64240 mss 1460\n  0.0004 >  .\n"
        f"  0.0010 >  P.   {request}\n  0.0020 <  P.   {response}\n  0.0021 >  P.   {request}\n  0.0030 <  F.\n  0.0031 >  F.\n"
        for n in (1, 2)
    )
    last = (
        "connection 3, start 0.1, client 10.0.0.1:4003, server 10.0.0.2:80\n"
        "  0.000  >  S    win 64240 mss 1460\n  0.0004 <  S.   win 64240 mss 1460\n  0.0004 >  .\n"
        f"  0.0010 >  P.   {request}\n  0.0020 <  P.   {response}\n"
    )
    ended = "a server process ended"
    assert any(ended in one.message for one in findings(both) if one.rule == "no-response")
    assert not any(ended in one.message for one in findings(both + last))
