"""Test a suspended process that, when it wakes up, closes connections that were idle too long before it reads requests; and
similar traffic.
"""

from __future__ import annotations

import pytest

from tests.ladders import check
from tests.rules.lifetime.test_at_limit import ROUND_TRIPS, STOP, Server, sharp
from tests.support.sweeps import in_turn
from wiredoctor.testing import EPOCHS, POINTS, findings

FIVE = "Keep-Alive: timeout=5\\r\\n"
AWAKE = "keep-alive-race, side server, kind at-limit, severity error"
LOST = "no-response, side server, severity error"


def frozen(server: Server, *, until: float = 111.0, flags: str = "R.", asked: tuple[float, ...] = (3.0, 3.5)) -> Server:
    """It answers at 100 s, gets a request on each connection that many seconds later, and closes them all when it wakes."""
    for rest in asked:
        server.connection(100)
        server.ask(rest)
        server.close(until - 100, flags)
    return server


def answered_late(server: Server, at: float) -> None:
    """A younger connection, whose request lay there, too, and is answered on waking."""
    server.connection(103)
    server.ask(0.5)
    server.add(at, f"<  P. {server.response}")
    server.add(at, ">  .")


@pytest.mark.parametrize(("round_trip", "at"), in_turn(ROUND_TRIPS, POINTS))
def test_requests_that_lay_there(round_trip: float, at: str) -> None:
    check(frozen(Server(round_trip, FIVE)).text(f"{AWAKE}, confidence medium, x 2"), at)


@pytest.mark.parametrize("epoch_packets", EPOCHS)
def test_where_epochs_end_does_not_matter(epoch_packets: int) -> None:
    check(frozen(Server(0.03, FIVE)).text(f"{AWAKE}, x 2"), epoch_packets=epoch_packets)


def test_one_that_is_answered_on_waking_shows_that_the_process_lives() -> None:
    server = frozen(Server(0.001, FIVE))
    answered_late(server, 111.002)
    check(server.text(f"{AWAKE}, confidence high, x 2", "slow-response"), "client")


def test_what_is_said() -> None:
    [first, _] = [f for f in findings(frozen(Server(0.001, FIVE)).text()) if f.rule == "keep-alive-race"]
    assert "was paused: for 8 s it sent nothing on any connection, while requests were waiting on 2 connections." in first.message
    assert "a process of the server ended" not in first.message


def test_a_limit_that_three_closes_show_stays_what_it_is() -> None:
    """What was closed on waking teaches nothing; by FIN, too, where the limit is so well known."""
    for flags in ("R.", "F."):
        server = frozen(sharp(0.001), flags=flags)
        [found, _] = [f for f in findings(server.text()) if f.rule == "keep-alive-race"]
        assert found.side == "server"
        assert "its idle timeout is 4.99 s to 5.02 s, learned from 3 closes" in found.message


def test_one_request_alone_may_have_been_given_up() -> None:
    check(frozen(Server(0.001, FIVE), asked=(3.0,)).text(LOST), "client")


def test_a_response_in_the_meantime_shows_that_it_did_not_stand_still() -> None:
    server = frozen(Server(0.001, FIVE))
    server.connection(107)
    check(server.text(f"{LOST}, x 2"), "client")


def test_a_fin_needs_a_limit_that_is_sharply_known() -> None:
    check(frozen(Server(0.001, FIVE), flags="F.").text(f"{LOST}, x 2"), "client")


def test_a_process_that_hung_and_was_killed_refuses_the_next() -> None:
    server = frozen(Server(0.001, FIVE))
    server.lines += ["connection 50", "  111.3  >  S  win 64240 mss 1460", "  111.301  <  R."]
    check(server.text(f"{LOST}, x 2", "connect-failed"), "client")


@pytest.mark.parametrize(("answered", "found"), [(107.5, (f"{LOST}, x 2", STOP)), (106.04, (f"{AWAKE}, x 2",))])
def test_a_process_that_was_killed_takes_younger_connections_with_it(answered: float, found: tuple[str, ...]) -> None:
    """3.5 s are no limit of 5 s; 4.96 s are, but for what timers differ by."""
    server = frozen(Server(0.001, FIVE), asked=(6.6, 6.7))
    server.idle(answered, 111.0 - answered)
    check(server.text(*found), "client")


def test_a_rest_below_the_limit_is_none_of_it() -> None:
    check(frozen(Server(0.001, "Keep-Alive: timeout=30\\r\\n")).text(f"{LOST}, x 2"), "client")


def test_a_limit_that_is_only_usual_needs_one_that_lives() -> None:
    """Of a server that says nothing 5 s are usual, among others."""
    check(frozen(Server(0.001)).text(f"{LOST}, x 2"), "client")
    server = frozen(Server(0.001))
    answered_late(server, 111.002)
    check(server.text(f"{AWAKE}, confidence high, x 2", "slow-response"), "client")
