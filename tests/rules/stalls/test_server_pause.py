"""server-pause is about servers that do nothing at all: what their hosts send meanwhile contradicts it."""

from __future__ import annotations

from pathlib import Path

import pytest

from wiredoctor.testing import findings, ladders_in

LADDERS = dict(ladders_in(Path(__file__).with_name("server_pause.txt")))
_LINES = LADDERS["speaks: two connections wait 1.2 s, and are answered together"].splitlines()
PAUSED = "\n".join(line for line in _LINES if line and "=>" not in line)
"""Two requests, sent after 1.82 and 1.84 s, and answered after 3.02 s."""


def _call(asked: float, answered: float) -> str:
    """Return a request of the server's host to another server, sent and answered at these times (s)."""
    return f"""
  connection 3, start 0.000, client 10.0.0.2:51003, server 10.0.0.3:80
  0.000  >  S    win 64240 mss 1460
  0.010  <  S.   win 64240 mss 1460
  0.010  >  .
  {asked:.3f}  >  P.   "GET /stock HTTP/1.1\\r\\nHost: stock.example\\r\\n\\r\\n"
  {asked + 0.001:.3f}  <  .
  {answered:.3f}  <  P.   "HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok"
  {answered + 0.001:.3f}  >  .
"""


@pytest.mark.parametrize(
    ("asked", "answered", "speaks"),
    [
        pytest.param(1.000, 1.200, True, id="before the pause"),
        pytest.param(1.835, 2.100, True, id="sent before the pause, answered in it"),
        pytest.param(2.400, 2.410, False, id="sent in the pause"),
        pytest.param(1.835, 3.010, False, id="the answer ends the pause"),
    ],
)
def test_a_server_that_calls_another_one_meanwhile_does_not_stand_still(asked: float, answered: float, speaks: bool) -> None:
    found = findings(PAUSED + _call(asked, answered))
    assert any(one.rule == "server-pause" for one in found) is speaks


@pytest.mark.parametrize(("answered", "speaks"), [(2.300, True), (2.450, False)])
def test_requests_that_waited_mostly_before_the_pause_are_slow_by_themselves(answered: float, speaks: bool) -> None:
    other = _call(answered - 0.02, answered).replace("10.0.0.2:51003, server 10.0.0.3:80", "10.0.0.1:41003, server 10.0.0.2:80")
    assert any(one.rule == "server-pause" for one in findings(PAUSED + other)) is speaks


def test_a_pause_begins_with_the_last_response_however_long_others_have_waited() -> None:
    """Two requests, sent at once, are never answered. The server last answered after 0.73 s, long before the late requests."""
    lost = "".join(
        f"""
  connection {n}, start 0.000, client 10.0.0.9:4100{n}, server 10.0.0.2:80
  0.000  >  S    win 64240 mss 1460
  0.010  <  S.   win 64240 mss 1460
  0.010  >  .
  0.0{n}0  >  P.   "GET /lost HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"
  0.0{n}1  <  .
"""
        for n in (6, 7)
    )
    [found] = [one for one in findings(PAUSED + lost) if one.rule == "server-pause"]
    assert "sent nothing for 2.29 s although 4 requests waited" in found.message
