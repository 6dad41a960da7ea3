"""Test the time that a client lost by a failed connection attempt."""

from __future__ import annotations

import pytest

from wiredoctor.findings import Finding
from wiredoctor.testing import findings

LATER = """
connection 99, start 60.0, client 10.0.0.9:4000, server 10.0.0.8:81
  0.000  >  S    mss 1460
"""
"""The capture goes on for so long that a missing answer is certain."""


def of(*connections: str) -> list[Finding]:
    return [f for f in findings("\n".join(connections) + LATER) if f.rule == "connect-failed"]


def refused(number: int, start: float, *, at: float, server: str = "10.0.0.2:80") -> str:
    """The SYN is repeated after half of the time; the answer to it is an RST at `at` seconds."""
    return f"""connection {number}, start {start}, client 10.0.0.1:{40000 + number}, server {server}
  0.000  >  S    mss 1460
  {at / 2:.4f}  >  S    mss 1460
  {at:.4f}  <  R.   0:0(0) ack 1"""


def silent(number: int, server: str = "10.0.0.2:80") -> str:
    return f"""connection {number}, start 0, client 10.0.0.1:{40000 + number}, server {server}
  0.000  >  S    mss 1460
  1.000  >  S    mss 1460
  3.000  >  S    mss 1460"""


def test_without_an_answer_the_client_waited_until_its_last_syn_at_least() -> None:
    [one] = of(silent(1))
    assert (one.kind, one.delay) == ("timed-out", 3.0)


def test_a_refusal_after_tries_cost_the_time_until_it_came() -> None:
    [one] = of(refused(1, 0, at=2.0))
    assert (one.kind, one.delay) == ("refused", pytest.approx(2.0))


def test_a_refusal_at_once_cost_no_time_and_stays_an_error() -> None:
    [one] = of(refused(1, 0, at=0.0004))
    assert (one.kind, one.severity, one.delay) == ("refused", "error", None)


def test_attempts_that_overlap_count_once() -> None:
    """From 0 to 2 s, from 1 to 3 s, and from 10 to 12 s: the client waited for 5 s."""
    [one] = of(*(refused(number, start, at=2.0) for number, start in ((1, 0.0), (2, 1.0), (3, 10.0))))
    assert (one.count, one.delay) == (3, pytest.approx(5.0))


def test_a_client_that_looks_for_open_ports_waits_for_none_of_them() -> None:
    [one] = of(*(silent(number, server=f"10.0.0.2:{8000 + number}") for number in range(1, 22)))
    assert (one.count, one.delay) == (21, None)
