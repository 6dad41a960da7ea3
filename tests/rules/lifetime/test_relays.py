"""Test what `client-abort` says if the client is a relay for TLS, such as stunnel, whose own timeout expired."""

from __future__ import annotations

import pytest

from wiredoctor.findings import Finding
from wiredoctor.testing import findings

HELLO = r"\x16\x03\x01\x00\x0a\x01\x00\x00\x06\x03\x03abcd"
DATA = r"\x17\x03\x03\x00\x60" + "a" * 96
FRONT = rf"""
  connection 1, client {{client}}:50001, server {{relay}}:8443
  0.0100  >  S    mss 1460
  0.0100  <  S.   mss 1460
  0.0100  >  .
  0.0100  >  P.   "{HELLO}"
  0.0102  <  P.   "{HELLO}"
  0.0150  >  P.   "{DATA}"
  {{end}}
"""
BACK = r"""
  connection 2, client 10.1.0.2:50002, server 10.0.0.3:8000
  0.0160  >  S    mss 1460
  0.0161  <  S.   mss 1460
  0.0162  >  .
  0.0164  >  P.   "GET /relayed HTTP/1.1\r\nHost: a\r\nUser-Agent: curl/7.88.1\r\n\r\n"
  0.0600  <  .
  2.0200  >  R.
"""
RESET, LATE_RESET, LEFT = "2.0201  <  R.", "2.9000  <  R.", "2.0190  >  F.\n  2.0201  <  F."


def abort(end: str, *, client: str = "10.0.0.1", relay: str = "10.0.0.2", more: str = "") -> Finding:
    front = FRONT.format(client=client, relay=relay, end=end)
    [found] = [one for one in findings(front + BACK + more) if one.rule == "client-abort"]
    return found


@pytest.mark.parametrize("end", [RESET, "2.0150  <  F.\n  2.0155  >  .\n  2.0160  >  F.\n  2.0161  <  ."])
@pytest.mark.parametrize("relay", ["10.0.0.2", "10.1.0.2"])
def test_a_relay_whose_timeout_expires(end: str, relay: str) -> None:
    found = abort(end, relay=relay)
    assert found.title.startswith("The gateway gave up 2 s after its request")
    assert "probably a gateway (a relay for TCP or TLS)" in found.message
    assert "it closed both at the same moment" in found.message
    assert "stunnel: TIMEOUTidle" in found.remedy
    assert "curl" not in found.remedy


def test_a_relay_on_the_host_of_the_server() -> None:
    front = FRONT.format(client="10.0.0.1", relay="10.1.0.2", end=RESET)
    [found] = [one for one in findings(front + BACK.replace("10.0.0.3:8000", "10.1.0.2:8000")) if one.rule == "client-abort"]
    assert found.title.startswith("The gateway gave up")


OTHERS = {
    "the relay's client closed first, and the relay followed": (LEFT, "10.0.0.1", "10.0.0.2"),
    "closed at another time": (LATE_RESET, "10.0.0.1", "10.0.0.2"),
    "still open": ("", "10.0.0.1", "10.0.0.2"),
    "another connection of the same host": (RESET, "10.1.0.2", "10.0.0.2"),
    "another connection to the same server": (RESET, "10.0.0.1", "10.0.0.3"),
}


@pytest.mark.parametrize("what", OTHERS)
def test_another_connection_is_not_that_of_a_relays_client(what: str) -> None:
    end, client, relay = OTHERS[what]
    found = abort(end, client=client, relay=relay)
    assert found.title.startswith("The client gave up")
    assert "curl: --max-time" in found.remedy
    assert "gateway" not in found.message


def test_a_connection_that_was_opened_after_it() -> None:
    front = FRONT.format(client="10.0.0.1", relay="10.0.0.2", end=RESET)
    [found] = [one for one in findings(front + BACK.replace("  0.01", "  0.00")) if one.rule == "client-abort"]
    assert "gateway" not in found.message


def test_a_connection_that_was_opened_long_before() -> None:
    later = BACK.replace("  0.0", "  1.0").replace("2.0200", "2.0210")
    front = FRONT.format(client="10.0.0.1", relay="10.0.0.2", end="2.0211  <  R.")
    [found] = [one for one in findings(front + later) if one.rule == "client-abort"]
    assert "gateway" not in found.message


def test_two_connections_of_which_either_may_be_that_of_the_relays_client() -> None:
    other = FRONT.format(client="10.0.0.8", relay="10.0.0.9", end=RESET).replace("connection 1", "connection 3")
    assert "gateway" not in abort(RESET, more=other).message
