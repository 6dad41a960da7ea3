"""Test that findings say who sent the FIN or RST that they name, and blame no host for one that a device on the path sent."""

from __future__ import annotations

import pytest

from tests.captures.reports import report_of
from tests.support.recordings import find_recording
from wiredoctor.findings import Finding
from wiredoctor.testing import findings

HANDSHAKE = r"""
  0.000  >  S    win 64240 mss 1460 id 100
  0.020  <  S.   win 64240 mss 1460 id 0 ttl 52
  0.020  >  .    id 101
"""
GET = (
    HANDSHAKE
    + r"""
  0.021  >  P.   "GET /a HTTP/1.1\r\nHost: a\r\n\r\n" id 102
  0.042  <  .    id 7000 ttl 52
  0.043  <  .    id 7001 ttl 52
  0.044  <  P.   "HTTP/1.1 200 OK\r\nFIELDS\r\nok" id 7002 ttl 52
  0.044  >  .    id 103
"""
)
WEBSOCKET = (
    HANDSHAKE
    + r"""
  0.021  >  P.   "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n" id 102
  0.042  <  P.   "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n" id 7001 ttl 52
  0.042  >  .    id 103
  1.000  <  P.   "\x81\x02hi" id 7002 ttl 52
  1.000  >  .    id 104
"""
)
ANNOUNCED = GET.replace("FIELDS", r"Content-Length: 2\r\nConnection: close\r\n")
KEPT = GET.replace("FIELDS", r"Content-Length: 2\r\n")
UNFRAMED = GET.replace("FIELDS", "")
DELIMITED = GET.replace("FIELDS", r"Connection: close\r\n")
CONVERSATIONS = {
    "idle-cut": (WEBSOCKET, "61.020"),
    "lingering-close": (ANNOUNCED, "6.020"),
    "idle-close": (KEPT, "5.044"),
    "missing-framing": (UNFRAMED, "6.020"),
    "close-delimited": (DELIMITED, "0.060"),
}
DOUBT = "its TTL differs from that of the host's other packets, so a device on the path may have sent it"


def told(text: str, rule: str) -> Finding:
    return next(found for found in findings(text) if found.rule == rule)


@pytest.mark.parametrize("rule", CONVERSATIONS)
def test_the_server_closes(rule: str) -> None:
    text, at = CONVERSATIONS[rule]
    found = told(f"{text}  {at}  <  F.  id 7003 ttl 52\n", rule)
    assert (found.origin, found.confidence) == ("endpoint", "high")
    assert "the server's FIN" in found.evidence[-1].note


@pytest.mark.parametrize("rule", CONVERSATIONS)
def test_a_close_with_another_ttl_is_doubted(rule: str) -> None:
    text, at = CONVERSATIONS[rule]
    found = told(f"{text}  {at}  <  F.  id 7003 ttl 63\n", rule)
    assert found.origin is None
    assert DOUBT in found.evidence[-1].note
    # how the response ends does not depend on who closed
    assert found.confidence == ("high" if found.family == "framing" else "medium")


@pytest.mark.parametrize("rule", CONVERSATIONS)
def test_a_device_closes_in_the_servers_name(rule: str) -> None:
    text, at = CONVERSATIONS[rule]
    found = findings(f"{text}  {at}  <  R.  id 0 ttl 253\n")
    assert ("foreign-reset", "between") in [(one.rule, one.origin) for one in found]
    assert rule not in [one.rule for one in found if one.origin != "between"]
    assert not [packet.note for one in found for packet in one.evidence if "the server's RST" in packet.note]


@pytest.mark.parametrize(("rule", "side"), [("idle-cut", "client"), ("lingering-close", "server"), ("missing-framing", "server")])
def test_the_client_closes(rule: str, side: str) -> None:
    """Where the client is blamed for its close, two of three rests are alike."""
    text, at = CONVERSATIONS[rule]
    end = f"{text}  {at}  >  F.  id 105\n"
    several = "".join(f"\n  connection {n}, start {n * 0.3}\n{end}" for n in (1, 2, 3))
    found = told(several if rule == "idle-cut" else end, rule)
    assert (found.origin, found.side) == ("endpoint", side)


@pytest.mark.parametrize("rule", ["idle-cut", "missing-framing"])
@pytest.mark.parametrize("reply", ["", "  61.030  <  R.  id 0 ttl 253\n"])
def test_a_device_closes_in_the_clients_name(rule: str, reply: str) -> None:
    text, _ = CONVERSATIONS[rule]
    found = findings(f"{text}  61.020  >  R.  id 0 ttl 253\n{reply}")
    assert [(one.rule, one.origin) for one in found] == [("foreign-reset", "between")]


def test_an_idle_timeout_of_several_closes() -> None:
    """The origin is that of all closes; otherwise it is unknown."""
    text, _ = CONVERSATIONS["idle-close"]
    for ttl, origin in ((52, "endpoint"), (63, None)):
        ends = [f"{text}  5.044  <  F.  id 7003 ttl {each}\n" for each in (52, ttl)]
        two = f"  connection 1\n{ends[0]}  connection 2, start 0.5\n{ends[1]}"
        found = told(two, "idle-close")
        assert (found.origin, found.confidence, found.measures["closes"]) == (origin, "high", 2)


def test_a_recording_of_each_rule_says_it() -> None:
    for name in (
        "websockets-cut-server.pcap",
        "apache-idle-close.pcap",
        "behind-haproxy-timeout.pcap",
        "node-close-delimited.pcap",
    ):
        origins = {one.origin for one in report_of(find_recording(name)).findings if one.rule != "slow-response"}
        assert origins == {"endpoint"}, name


ON_BOTH_SIDES = r"""
  0.000  >  S    win 64240 mss 1460 id 1 ttl 64
  0.0001 >  S    0:0 win 64240 mss 1460 id 1 ttl 63
  0.010  <  S.   win 64240 mss 1460 id 0 ttl 64
  0.0101 <  S.   0:0 win 64240 mss 1460 id 0 ttl 63
  0.011  >  .    id 2 ttl 64
  0.012  >  P.   "GET /a HTTP/1.1\r\nHost: a\r\n\r\n" id 3 ttl 64
  0.0121 >  P.   1:29 "GET /a HTTP/1.1\r\nHost: a\r\n\r\n" id 3 ttl 63
  0.023  <  P.   "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" id 7 ttl 64
  0.0231 <  P.   1:41 "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" id 7 ttl 63
  0.024  >  .    id 4 ttl 64
  9.000  >  P.   "GET /b HTTP/1.1\r\nHost: a\r\n\r\n" id 5 ttl 64
"""
"""Packets that were captured on both sides of a router, up to a request after 9 s."""
REQUEST_PASSED = '  9.0001 >  P.   29:57 "GET /b HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n" id 5 ttl 63\n'


def test_a_router_that_answers_a_request_in_the_servers_name() -> None:
    found = told(ON_BOTH_SIDES + "  9.0001 <  R    41:41(0) id 0 ttl 64\n", "keep-alive-race")
    assert (found.kind, found.origin) == ("forgotten", None)
    assert "a device in front of the server probably no longer knew" in found.title


def test_a_server_that_answers_through_a_router() -> None:
    rst = "  9.011 <  R    41:41(0) id 0 ttl 64\n  9.0111 <  R    41:41(0) id 0 ttl 63\n"
    found = told(ON_BOTH_SIDES + REQUEST_PASSED + rst, "keep-alive-race")
    assert (found.kind, found.origin) == ("forgotten", "endpoint")
    assert ": the server no longer knew" in found.title


def test_a_server_whose_packets_were_captured_once() -> None:
    once = "".join(line for line in ON_BOTH_SIDES.splitlines(keepends=True) if "ttl 63" not in line or ">" in line)
    found = told(once + REQUEST_PASSED + "  9.011 <  R    41:41(0) id 0 ttl 64\n", "keep-alive-race")
    assert found.origin == "endpoint"
