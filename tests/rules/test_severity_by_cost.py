"""Test that a finding that costs next to nothing is a note, whatever the severity of its rule."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.analysis import analyze_bytes
from wiredoctor.testing import capture

REQUEST = r'"GET / HTTP/1.1\r\nHost: a\r\n\r\n"'
RESPONSE = r'"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"'


def connections(handshake: float) -> str:
    """Three requests in a row, each on a connection that the server closes, as it says; in seconds."""
    return "\n".join(
        f"""connection {number}, start {number / 10}, client 10.0.0.1:{4000 + number}, server 10.0.0.2:80
  {0:.6f}  >  S
  {handshake / 2:.6f}  <  S.
  {handshake:.6f}  >  .
  {handshake + 0.001:.6f}  >  P.  {REQUEST}
  {2 * handshake + 0.001:.6f}  <  FP.  {RESPONSE}
  {2 * handshake + 0.002:.6f}  >  F.
  {3 * handshake + 0.002:.6f}  <  ."""
        for number in range(3)
    )


# of three handshakes the first had to be
@pytest.mark.parametrize(
    ("handshake", "severity"), [(0.00002, "note"), (0.00049, "note"), (0.00051, "warning"), (0.01, "warning")]
)
def test_handshakes_that_nobody_notices_are_a_note(handshake: float, severity: str, tmp_path: Path) -> None:
    report = analyze_bytes(tmp_path / "some.pcap", capture(connections(handshake) + "\n"))
    assert [(f.rule, f.severity) for f in report.findings] == [("keep-alive-disabled", severity)]
