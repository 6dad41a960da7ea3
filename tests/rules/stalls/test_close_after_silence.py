"""Test that findings about unacknowledged data say who sent the FIN or RST that they name."""

from __future__ import annotations

import pytest

from wiredoctor.findings import Finding
from wiredoctor.testing import findings

REPEATED = r"""
  0.000  >  S    win 64240 mss 1460 id 100
  0.020  <  S.   win 64240 mss 1460 id 0 ttl 52
  0.020  >  .    id 101
  0.021  >  P.   1:29 "GET /a HTTP/1.1\r\nHost: a\r\n\r\n" id 102
  0.042  <  .    id 7000 ttl 52
  0.043  <  .    id 7001 ttl 52
  0.044  <  P.   "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" id 7002 ttl 52
  0.044  >  .    id 103
  0.500  >  P.   29:57 "GET /b HTTP/1.1\r\nHost: a\r\n\r\n" id 104
  0.720  >  P.   29:57 "GET /b HTTP/1.1\r\nHost: a\r\n\r\n" id 105
  1.160  >  P.   29:57 "GET /b HTTP/1.1\r\nHost: a\r\n\r\n" id 106
"""
FOURTH = r"""  2.040  >  P.   29:57 "GET /b HTTP/1.1\r\nHost: a\r\n\r\n" id 107
"""
GIVES_UP = "  3.000  >  F.   57:57 id 108\n"
REFUSED = "  3.500  <  R.   ack 57 id 7003 ttl 52\n"
FORGED = "  3.500  <  R.   ack 57 id 0 ttl 253\n"
DOUBT = "its TTL differs from that of the host's other packets, so a device on the path may have sent it"


def unanswered(text: str) -> list[Finding]:
    return [found for found in findings(REPEATED + text) if found.rule == "unanswered"]


def told(text: str) -> Finding:
    [found] = unanswered(text)
    return found


@pytest.mark.parametrize(
    ("ends", "origin", "notes"),
    [
        (FOURTH.replace("2.040", "3.800"), None, []),
        (GIVES_UP, "endpoint", ["the client gives up: FIN"]),
        (REFUSED, "endpoint", ["the RST of the server"]),
        (GIVES_UP + REFUSED, "endpoint", ["the client gives up: FIN", "the RST of the server"]),
        (FORGED, "between", ["the RST that a device on the path sent in the server's name"]),
    ],
)
def test_the_origin_of_a_close_in_the_evidence(ends: str, origin: str | None, notes: list[str]) -> None:
    found = told(FOURTH + ends)
    assert (found.kind, found.side, found.origin) == ("gone", None, origin)
    assert [packet.note for packet in found.evidence if "FIN" in packet.note or "RST" in packet.note] == notes


RESPONSE = r"""
  0.000  >  S    win 64240 mss 1460
  0.000  <  S.   win 64240 mss 1460
  0.020  >  .
  0.021  >  P.   "GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
  0.022  <  P.   "HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n" + body*1400
  0.240  <  P.   1:1442 "HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n" + body*1400
  0.700  <  P.   1:1442 "HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n" + body*1400
  1.600  <  P.   1:1442 "HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n" + body*1400
"""


@pytest.mark.parametrize(
    ("ends", "notes"),
    [
        (
            "  3.000  >  F.   ack 1\n  3.001  <  F.   1442:1442\n",
            ["a packet which shows that the client is alive; the FIN of the client", "the server closes, too: FIN"],
        ),
        ("  3.000  <  F.   1442:1442\n", ["the server gives up: FIN"]),
    ],
)
def test_who_closes_second_has_not_given_up(ends: str, notes: list[str]) -> None:
    [found] = [found for found in findings(RESPONSE + ends) if found.rule == "unanswered"]
    assert [packet.note for packet in found.evidence if "FIN" in packet.note] == notes


def test_two_closes_of_different_origin() -> None:
    found = told(FOURTH + GIVES_UP + FORGED)
    assert found.origin is None
    assert [packet.note for packet in found.evidence][5:] == ["the RST that a device on the path sent in the server's name"]
    assert "A device on the path ended the connection with an RST in the server's name" in found.message


@pytest.mark.parametrize("close", [GIVES_UP.replace("id 108", "id 108 ttl 60"), REFUSED.replace("ttl 52", "ttl 53")])
def test_a_close_with_another_ttl_is_doubted(close: str) -> None:
    found = told(FOURTH + close)
    assert found.origin is None
    assert DOUBT in found.evidence[-1].note


def test_a_sender_does_not_give_up_if_a_device_closes_in_its_name() -> None:
    """Three copies are enough only if the sender itself closes."""
    assert told(GIVES_UP.replace("id 108", "id 107")).origin == "endpoint"
    assert unanswered("  3.000  >  R.   57:57 id 0 ttl 253\n") == []
