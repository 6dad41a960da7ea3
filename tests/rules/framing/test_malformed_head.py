"""Test what malformed-head says of several faults, and of a server that expects another protocol on its port."""

from __future__ import annotations

import pytest

from wiredoctor.testing import findings

LADDER = r"""
  0.000  >  S
  0.010  <  S.
  0.010  >  .
  0.011  >  P.  "GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
  0.022  <  P.  "{}"
  0.023  <  F.
  0.024  >  F.
"""
TLS = "expects TLS on this port"
HTTP2 = "expects HTTP/2 on this port"


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        pytest.param(r"\x16\x03\x01\x00\x02\x02\x46", TLS, id="a handshake record, RFC 8446 section 5.1"),
        pytest.param(r"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00d", HTTP2, id="SETTINGS, RFC 9113 section 6.5"),
        pytest.param(r"\x00\x00\x00\x04\x00\x00\x00\x00\x00", HTTP2, id="empty SETTINGS"),
        pytest.param(r"\x15\x04\x01\x00\x02\x02\x46", None, id="no version of TLS"),
        pytest.param(r"\x00\x00\x12\x00\x00\x00\x00\x00\x01abc", None, id="another frame"),
        pytest.param(r"Traceback (most recent call last):", None, id="a traceback"),
    ],
)
def test_a_server_that_expects_another_protocol(sent: str, said: str | None) -> None:
    [one] = findings(LADDER.format(sent))
    assert (one.rule, one.kind) == ("malformed-head", "no-status-line")
    assert [text for text in (TLS, HTTP2) if text in one.message] == ([said] if said else [])
    advice = {TLS: "Have the client use TLS", HTTP2: "Have the client speak HTTP/2", None: "Check the server's log"}[said]
    assert one.remedy.startswith(advice)


@pytest.mark.parametrize(
    ("request_field", "response_fields", "said"),
    [
        pytest.param(r"X : a\r\nnothing\r\n", "", {"space-before-colon": "no-colon"}, id="two in one head"),
        pytest.param(r"X : a\r\n", r"X : a\r\nnothing\r\n", {"space-before-colon": "", "no-colon": ""}, id="one of them again"),
    ],
)
def test_each_kind_is_said_once(request_field: str, response_fields: str, said: dict[str, str]) -> None:
    asked = LADDER.replace(r"Host: a\r\n", rf"Host: a\r\n{request_field}")
    told = findings(asked.format(rf"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{response_fields}\r\n"))
    rest = [(one.kind, one.message.partition("The same head also has: ")[2]) for one in told if one.rule == "malformed-head"]
    assert {kind: also.partition(". Only the first")[0] for kind, also in rest} == said
    assert len(rest) == len(said)


def test_each_of_several_spaces_in_a_status_line_is_shown() -> None:
    told = findings(LADDER.format(r"HTTP/1.1  200 OK\r\nContent-Length: 0\r\n\r\n"))
    assert [r'"HTTP/1.1 \x20200"' in one.message for one in told if one.rule == "malformed-head"] == [True]
