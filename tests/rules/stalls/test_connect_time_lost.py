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


def polled(number: int, start: float, server: str = "10.0.0.2:80", after: float = 0.05) -> str:
    return f"""connection {number}, start {start}, client 10.0.0.1:{40000 + number}, server {server}
  0.000  >  S    mss 1460
  {after:.3f}  <  R.   0:0(0) ack 1"""


@pytest.mark.parametrize(("tries", "lost"), [(2, 0.1), (3, None)])
def test_nobody_waits_for_the_tries_of_a_program_that_polls(tries: int, lost: float | None) -> None:
    """Over a round trip of 50 ms, every 5 s."""
    [one] = of(*(polled(number, 5.0 * number) for number in range(1, tries + 1)))
    assert (one.count, one.severity, one.delay) == (tries, "error", lost if lost is None else pytest.approx(lost))


@pytest.mark.parametrize(("apart", "lost"), [(0.0, 0.4), (0.1, 0.5), (2.0, 0.8)])
def test_both_addresses_at_once_cost_the_time_once(apart: float, lost: float) -> None:
    """Each attempt takes 400 ms; the second begins `apart` seconds after the first."""
    ipv6 = polled(2, apart, "[2001:db8::2]:80", after=0.4).replace("client 10.0.0.1:", "client [2001:db8::1]:")
    found = of(polled(1, 0.0, after=0.4), ipv6)
    assert len(found) == 2
    assert sum(one.delay or 0 for one in found) == pytest.approx(lost)
