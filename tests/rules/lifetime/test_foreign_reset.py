"""Test what ladders cannot express about foreign-reset.

No host can send a reset that comes too early, and only a capture at the client can show that a path overtook the server's ACK.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.support.analysis import analyze_bytes
from wiredoctor.testing import capture, findings

if TYPE_CHECKING:
    from pathlib import Path

HANDSHAKE = """
  0.000  >  S    win 64240 mss 1460 id 100
  0.020  <  S.   win 64240 mss 1460 id 0 ttl 52
  0.020  >  .    id 101
"""
REQUEST = HANDSHAKE + '  0.021  >  P.   "GET /a HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n" id 102\n'
KEPT = (
    REQUEST
    + r"""
  0.042  <  P.   "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" id 7001 ttl 52
  0.042  >  .    id 103
  {rest}  >  P.   "GET /b HTTP/1.1\r\nHost: a\r\n\r\n" id 104
"""
)


def origins(text: str) -> list[tuple[str, str | None]]:
    return [(f.rule, f.origin) for f in findings(text)]


@pytest.mark.parametrize(
    ("reset", "found"),
    [
        pytest.param("0.0220  <  R.   id 7001 ttl 253 ack 29", "between", id="1 ms after the request, and another TTL"),
        pytest.param("0.0309  <  R.   id 7001 ttl 253 ack 29", "between", id="just before half of the round trip"),
        pytest.param("0.0310  <  R.   id 7001 ttl 253 ack 29", None, id="half of the round trip later"),
        pytest.param("0.0220  <  R.   id 7001 ttl 52 ack 29", None, id="too early alone is one sign"),
        pytest.param("0.0220  <  R.   id 7001 ttl 253 ack 1", None, id="it does not acknowledge the request"),
        pytest.param("0.0220  <  R    id 0 ttl 253", "between", id="without ACK flag: no packet with that number is older"),
    ],
)
def test_a_reset_that_comes_too_early(reset: str, found: str | None) -> None:
    [(rule, origin)] = origins(f"{REQUEST}  {reset}\n") or [("", None)]
    assert (rule == "foreign-reset", origin) == (found == "between", found)


@pytest.mark.parametrize(("ttl", "hops"), [(253, "2 hops"), (116, "12 hops"), (30, "34 hops"), (65, None), (23, None)])
def test_the_distance_of_the_device(ttl: int, hops: str | None) -> None:
    """No path has 63 hops: such a device does not start with 128."""
    [found] = findings(f"{REQUEST}  0.0220  <  R.   id 7001 ttl {ttl} ack 29\n")
    assert found.rule == "foreign-reset"
    assert ("from the capture point" in found.remedy) == (hops is not None)
    assert (hops or "") in found.remedy


@pytest.mark.parametrize(
    ("rest", "reset", "rule"),
    [
        pytest.param("0.900", "0.9010", "no-response", id="after a rest of less than a second: it may answer an older ACK"),
        pytest.param("1.900", "1.9010", "keep-alive-race", id="after more it may not, but then the connection was forgotten"),
    ],
)
def test_a_reset_without_ack_flag_after_a_rest(rest: str, reset: str, rule: str) -> None:
    found = findings(f"{KEPT.format(rest=rest)}  {reset}  <  R    id 0 ttl 253\n")
    assert [f.rule for f in found if f.rule == rule] or (rule == "no-response" and not found)
    assert not [f for f in found if f.rule == "foreign-reset"]


def test_a_forgotten_connection_says_that_the_reset_is_not_the_servers() -> None:
    [found] = findings(f"{KEPT.format(rest='1.900')}  1.9010  <  R    id 0 ttl 253\n")
    assert (found.rule, found.kind, found.origin) == ("keep-alive-race", "forgotten", "between")
    assert "TTL 253" in found.message
    assert "52" in found.message
    assert found.title == "A request was lost: a device in front of the server no longer knew the idle connection"


@pytest.mark.parametrize(
    ("ttl", "origin", "who"), [(52, "endpoint", "the server"), (53, None, "a device in front of the server probably")]
)
def test_a_forgotten_connection_behind_a_router(ttl: int, origin: str | None, who: str) -> None:
    """A router one hop nearer than the server rejects a packet of a connection that it does not know; or the server does it."""
    [found] = findings(f"{KEPT.format(rest='1.900')}  1.9201  <  R    id 0 ttl {ttl}\n")
    assert (found.rule, found.kind, found.origin) == ("keep-alive-race", "forgotten", origin)
    assert found.title == f"A request was lost: {who} no longer knew the idle connection"
    assert ("NAT, firewall or balancer" in found.message) == (origin is None)


def test_round_trips_below_two_milliseconds_prove_nothing() -> None:
    near = REQUEST.replace("0.020", "0.0019").replace("0.021", "0.0029")
    assert "foreign-reset" not in [rule for rule, _ in origins(f"{near}  0.0030  <  R.   id 7001 ttl 253 ack 29\n")]


def test_what_is_missing_is_what_had_not_passed_before_the_reset() -> None:
    text = (
        REQUEST
        + r"""
  0.050  <  P.   "HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + x*1400 id 7001 ttl 52
  0.050  <  .    x*1400 id 7002 ttl 52
  0.050  <  .    x*1000 id 7003 ttl 52
  0.060  <  R    id 0 ttl 253
  0.061  <  P.   x*1200 id 7004 ttl 52
  0.061  >  R    id 0
"""
    )
    [found] = findings(text)
    assert (found.rule, found.measures) == ("foreign-reset", {"missing": 1200})
    assert "1,200 of 5,000 bytes of the body of the 200 are missing" in found.message


def test_a_response_that_begins_after_the_reset_was_not_in_progress() -> None:
    late = '  0.051  <  P.   "HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok" id 7001 ttl 52\n  0.051  >  R    id 0\n'
    [found] = findings(REQUEST + "  0.0220  <  R.   id 4660 ttl 30 ack 29\n" + late)
    assert (found.rule, found.severity, found.measures) == ("foreign-reset", "error", {})
    assert found.title.endswith("reset the connection before a response came")
    assert "The request had not been answered by then: the 200 came 29 ms later." in found.message


@pytest.mark.parametrize(
    ("after", "is_lost"),
    [
        pytest.param("0.082  >  R    id 0 ttl 52", True, id="the client, which was reset as well, answers with an RST"),
        pytest.param("0.082  >  .    id 103 ttl 52", False, id="the client acknowledges the response"),
        pytest.param("", False, id="the capture ends before an ACK can come"),
    ],
)
def test_a_response_before_a_reset_in_the_clients_name(after: str, is_lost: bool) -> None:
    text = r"""
  0.000  >  S    win 64240 mss 1460 id 100 ttl 52
  0.001  <  S.   win 64240 mss 1460 id 0
  0.040  >  .    id 101 ttl 52
  0.041  >  P.   "GET /a HTTP/1.1\r\nHost: a\r\n\r\n" id 102 ttl 52
  0.042  <  P.   "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" id 7001
  0.043  >  R    id 4660 ttl 37
"""
    [found] = findings(text + f"  {after}\n" * bool(after))
    assert (found.rule, found.severity) == ("foreign-reset", "error" if is_lost else "warning")
    assert ("never acknowledged the end" in found.message, found.confidence) == (is_lost, "medium" if is_lost else "high")


def test_an_ordinary_close_names_its_sender(tmp_path: Path) -> None:
    text = REQUEST + "  0.300  <  F.   id 7001 ttl 52\n  0.300  >  F.   id 103\n"
    report = analyze_bytes(tmp_path / "close.pcap", capture(text))
    assert [(f.rule, f.origin) for f in report.findings] == [("no-response", "endpoint")]
    [row] = report.exchanges.select("server_close_origin", "client_close_origin").rows()
    assert row == ("endpoint", "endpoint")


def test_json_says_it(tmp_path: Path) -> None:
    from wiredoctor.report.data.json import finding

    [found] = findings(REQUEST + "  0.0220  <  R.   id 0 ttl 253 ack 29\n")
    assert json.loads(json.dumps(finding(found)))["origin"] == "between"


@pytest.mark.parametrize(
    ("ttl", "time", "is_foreign"),
    [
        pytest.param(53, "0.304", False, id="a hop shorter, and less than half a round trip later"),
        pytest.param(53, "0.340", True, id="a hop shorter, but much later: the server goes on with its own TTL"),
        pytest.param(52, "0.304", False, id="the same path: one sign"),
        pytest.param(255, "0.304", True, id="a TTL that no change of path explains"),
    ],
)
def test_an_ack_after_the_reset_may_be_overtaken(ttl: int, time: str, is_foreign: bool) -> None:
    acks = f"  0.042  <  .    id 7001 ttl 52\n  0.300  <  R.   id 7003 ttl {ttl}\n  {time}  <  .    id 7002 ttl 52\n"
    told = findings(REQUEST + acks, at="client")
    assert ("foreign-reset" in {finding.rule for finding in told}) == is_foreign
