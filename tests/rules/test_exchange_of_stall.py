"""The exchange of a stall where messages are cut or missing: that of its packets, none if it is unknown whose they are."""

from __future__ import annotations

import re
from typing import Any

import pytest

from wiredoctor.testing import EPOCHS, POINTS, findings

HANDSHAKE = """
  0.000  >  S    win 64240 mss 1460
  0.010  <  S.   win 64240 mss 1460
  0.010  >  .
"""

FIRST = r"""
  0.011  >  P.   "GET /a HTTP/1.1\r\nHost: a.example.org\r\n\r\n" snap 74
  0.022  <  P.   "HTTP/1.1 200 OK\r\nContent-Length: 1460\r\n\r\n" snap 74
  0.022  >  .
  0.023  <  P.   x*1460 snap 74
  0.023  >  .
"""

SECOND = r"""
  0.050  >  P.   "GET /b HTTP/1.1\r\nHost: a.example.org\r\n\r\n" snap 74
  0.061  <  P.   "HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\n" snap 74
  0.261  >  .
  0.271  <  P.   "hello" snap 74
"""

IN_A_BODY = r"""
  0.011  >  P.   "GET /a HTTP/1.1\r\nHost: a.example.org\r\n\r\n" snap 74
  0.022  <  P.   "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n" snap 74
  0.022  >  .
  0.042  <  P.   "hello" snap 74
  0.242  >  .
  0.252  <  P.   "hello" snap 74
"""

MISSING = r"""
  0.011  >  P.   "GET /a HTTP/1.1\r\nHost: a.example.org\r\n\r\n"
  0.022  <  P.   "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" uncaptured
  0.032  >  .
"""


def whole(text: str) -> str:
    return re.sub(r" snap \d+", "", text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(FIRST + SECOND, (1, "GET /b", 404), id="both heads cut"),
        pytest.param(whole(FIRST + SECOND), (1, "GET /b", 404), id="nothing cut"),
        pytest.param(FIRST + whole(SECOND), (1, "GET /b", 404), id="only the first heads cut"),
        pytest.param(IN_A_BODY, (None, None, None), id="in a body of unknown length"),
        pytest.param(whole(IN_A_BODY), (0, "GET /a", 200), id="in a body of known length"),
        pytest.param(MISSING + whole(SECOND), (1, "GET /b", 404), id="after a missing response"),
        pytest.param(MISSING + SECOND, (1, "GET /b", 404), id="after a missing response, heads cut"),
    ],
)
def test_the_exchange_of_a_stall_is_that_of_its_packets(text: str, expected: tuple[int | None, str | None, int | None]) -> None:
    ways: list[dict[str, Any]] = [*({"at": at} for at in POINTS), *({"epoch_packets": size} for size in EPOCHS)]
    for how in ways:
        told = [one for one in findings(HANDSHAKE + text, **how) if one.rule == "nagle-delayed-ack"]
        assert [(one.exchange, one.request, one.status) for one in told] == [expected], how
        # without an exchange, no HTTP server is guessed at
        assert [("com.sun.net.httpserver" in one.remedy) for one in told] == [expected[0] is not None], how
