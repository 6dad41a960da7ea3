"""A Keep-Alive field that a gateway passes on promises nothing for the connections in front of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.analysis import analyze_bytes
from wiredoctor.testing import capture

GET = r'"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"'


def response(timeout: int) -> str:
    return rf'"HTTP/1.1 200 OK\r\nKeep-Alive: timeout={timeout}\r\nContent-Length: 2\r\n\r\nok"'


def both_sides(in_front: int, behind: int) -> str:
    """A gateway that closes its connection to the client after 3 s of rest; what it and the server behind it announce."""
    return f"""
connection 1, start 0, client 10.0.0.1:4001, server 10.0.0.2:80
  0.000  >  S
  0.001  <  S.
  0.001  >  .
  0.002  >  P.  {GET}
  0.050  <  P.  {response(in_front)}
  0.051  >  .
  3.050  <  F.
  3.051  >  F.
  3.051  <  .
connection 2, start 0.003, client 10.0.0.2:5001, server 10.0.9.1:8001
  0.000  >  S
  0.001  <  S.
  0.001  >  .
  0.002  >  P.  {GET}
  0.040  <  P.  {response(behind)}
  0.041  >  .
  3.500  >  F.
  3.501  <  F.
  3.501  >  .
"""


@pytest.mark.parametrize(("in_front", "behind", "broken"), [(60, 60, False), (60, 5, True)], ids=["passed on", "its own"])
def test_only_what_it_announced_itself_is_a_promise(in_front: int, behind: int, broken: bool, tmp_path: Path) -> None:
    found = [
        (f.rule, f.connection) for f in analyze_bytes(tmp_path / "both.pcap", capture(both_sides(in_front, behind))).findings
    ]
    assert (("idle-timeout-broken-promise", 0) in found) is broken
