"""Test what `client-abort` says of a client that left while its own receive window was closed."""

from __future__ import annotations

from wiredoctor.findings import Finding
from wiredoctor.testing import findings

ABORT = """
  0.000  >  S    win 3000 mss 1460
  0.010  <  S.   win 64240 mss 1460
  0.010  >  .
  0.011  >  P.   "GET /a HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"
  0.022  <  P.   "HTTP/1.1 200 OK\\r\\nContent-Length: 20000\\r\\n\\r\\n" + b*1000
  0.022  >  .    win {window}
  0.242  <  .    1042:1042
  0.242  >  .    win {window}
  0.702  <  .    1042:1042
  0.702  >  .    win {window}
  1.602  <  .    1042:1042
  1.602  >  .    win {window}
  2.400  >  F.   win {window}
  2.410  <  .
"""


def _abort(window: int) -> Finding:
    [found] = [one for one in findings(ABORT.format(window=window)) if one.rule == "client-abort"]
    return found


def test_a_client_that_did_not_read_is_not_told_to_look_at_the_server() -> None:
    told = _abort(0)
    assert "nothing had come for 2.38 s, because the client's receive window was closed" in told.message
    assert "because the client's receive window was closed" in told.evidence[-1].note
    assert "Find out why the client did not read" in told.remedy
    assert "had written its complete response" not in told.remedy
    assert "Only then raise a timeout." in told.remedy
    assert "why the response took longer" not in told.remedy


def test_a_server_that_stopped_is_suspected_if_the_window_was_open() -> None:
    told = _abort(3000)
    assert "nothing had come for 2.38 s." in told.message
    assert "had written its complete response" in told.remedy
    assert "why the response took longer" in told.remedy
