"""Test the pairing of exchanges with invented conversations, whose pairs are known."""

from __future__ import annotations

from typing import Any

import pytest

from tests.gateways.made import (
    BACK,
    CLIENT,
    FRONT,
    INSIDE,
    LOOPBACK,
    OTHER_BACK,
    OTHER_CLIENT,
    OUTSIDE,
    Pairs,
    Traffic,
    attempts,
    pairs,
)
from tests.support.sweeps import WHOLE
from wiredoctor.gateways import Place, edges
from wiredoctor.tables import MILLISECOND


def test_a_request_that_is_passed_on() -> None:
    made = Traffic()
    front, back = made.passed(0, 20)
    known = made.found()
    assert pairs(known) == {(front, back, True)}
    assert known.fronts == {FRONT: (BACK,)}
    assert known.clients == {back[0]}
    assert known.doubtful == ()


def test_everything_on_one_host() -> None:
    made = Traffic()
    front = made.once(LOOPBACK, "127.0.0.1:80", 0, 20)
    back = made.once("::1", "[::1]:8080", 1, 19)
    assert pairs(made.found()) == {(front, back, True)}


def test_a_client_that_asks_several_servers_is_no_gateway() -> None:
    made = Traffic()
    made.once(CLIENT, "10.2.0.1:80", 0, 20)
    made.once(CLIENT, "10.2.0.2:80", 1, 19)
    assert made.found().fronts == {}


def test_two_servers_behind_are_no_chain() -> None:
    made = Traffic()
    front = made.once(LOOPBACK, "127.0.0.1:80", 0, 30)
    first = made.once(LOOPBACK, "127.0.0.1:8001", 1, 10, None)
    second = made.once(LOOPBACK, "127.0.0.1:8002", 11, 29)
    known = made.found()
    assert pairs(known) == {(front, first, True), (front, second, True)}
    assert known.fronts == {"127.0.0.1:80": ("127.0.0.1:8001", "127.0.0.1:8002")}


def test_services_on_one_host_that_are_asked_at_the_same_time_are_no_chain() -> None:
    made = Traffic()
    for n in range(10):
        for port, took in ((8001, 20), (8002, 15 if n % 3 else 25)):
            made.once(LOOPBACK, f"127.0.0.1:{port}", 100 * n + port - 8000, 100 * n + took)
    assert made.found().fronts == {}


def test_a_server_that_is_given_up_for_another_is_not_before_it() -> None:
    made = Traffic()
    for n in range(6):
        made.once(LOOPBACK, "127.0.0.1:80", 100 * n, 100 * n + 20)
        made.once(LOOPBACK, f"127.0.0.1:{8001 + n % 2 * (n < 2)}", 100 * n + 1, 100 * n + 19)
    made.once(LOOPBACK, "127.0.0.1:80", 1000, 1030)
    made.once(LOOPBACK, "127.0.0.1:8002", 1001, None)
    made.once(LOOPBACK, "127.0.0.1:8001", 1011, 1029)
    assert made.found().fronts == {"127.0.0.1:80": ("127.0.0.1:8001", "127.0.0.1:8002")}


def test_a_response_whose_head_breaks_off_is_not_forwarded() -> None:
    made = Traffic()
    front, back = made.passed(0, 20)
    late = made.once(CLIENT, FRONT, 100, 140)
    early = made.once(OTHER_CLIENT, FRONT, 100.1, 112)
    cut_off = {"response_end_reason": "fin", "response_framing": "none", "server_close_time": 130 * MILLISECOND}
    cut = made.once(INSIDE, BACK, 101, 103, **cut_off)  # until 130 ms, when the early client has its response
    silent = made.once(INSIDE, BACK, 101.1, 110, None)
    second, last = made.once(INSIDE, OTHER_BACK, 111, 111.9), made.once(INSIDE, OTHER_BACK, 131, 139)
    found = pairs(made.found())
    assert found == {(front, back, True), (late, cut, True), (late, last, True), (early, silent, True), (early, second, True)}


def test_two_gateways_in_a_row() -> None:
    made = Traffic()
    outer, inner, back = (made.once(LOOPBACK, f"127.0.0.1:{port}", at, 20 - at) for at, port in enumerate((80, 8080, 9000)))
    known = made.found()
    assert pairs(known) == {(outer, inner, True), (inner, back, True)}
    assert known.fronts == {"127.0.0.1:80": ("127.0.0.1:8080",), "127.0.0.1:8080": ("127.0.0.1:9000",)}


def test_two_gateways_in_a_row_of_which_the_outer_rewrites_paths() -> None:
    made = Traffic()
    expected: Pairs = set()
    for n, target in enumerate(("/x", "/y")):
        outer = made.once(CLIENT, FRONT, 100 * n, 100 * n + 20, target="/api" + target)
        inner = made.once(INSIDE, BACK, 100 * n + 1, 100 * n + 19, target=target)
        back = made.once("10.1.0.1", OTHER_BACK, 100 * n + 2, 100 * n + 18, target=target)
        expected |= {(outer, inner, True), (inner, back, True)}
    assert pairs(made.found()) == expected


@pytest.mark.parametrize(("before", "behind"), [("/api/v1", ""), ("", "/service"), ("/old", "/new"), ("http://www", "")])
def test_rewritten_paths(before: str, behind: str) -> None:
    made = Traffic()
    expected: Pairs = set()
    for n, target in enumerate(("/a/b?c=1", "/a/d", "/")):
        front = made.once(CLIENT, FRONT, 100 * n, 100 * n + 20, target=before + target)
        expected.add((front, made.once(INSIDE, BACK, 100 * n + 1, 100 * n + 19, target=behind + target), True))
    assert pairs(made.found()) == expected


def test_another_query_is_another_target() -> None:
    made = Traffic()
    made.passed(0, 20)
    made.once(CLIENT, FRONT, 100, 120, target="/a?n=1")
    made.once(INSIDE, BACK, 101, 119, target="/a?n=2")
    assert len(pairs(made.found())) == 1


CONTRADICTIONS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "method": ({"method": "POST"}, {"method": "GET"}),
    "user agent": ({"agent": "curl/8"}, {"agent": "Wget/1"}),
    "referer": ({"request_referer": "http://a/1"}, {"request_referer": "http://a/2"}),
    "type of the request": ({"request_content_type": "text/plain"}, {"request_content_type": "text/html"}),
    "length of the request": ({"request_body_bytes": 4}, {"request_body_bytes": 5}),
    "length of the response": ({"body": 4}, {"body": 5}),
    "type of the response": ({"response_content_type": "text/plain"}, {"response_content_type": "text/html"}),
    "user": (
        {"request_has_credentials": True, "request_credentials_scheme": "basic", "request_credentials_user": 1},
        {"request_has_credentials": True, "request_credentials_scheme": "basic", "request_credentials_user": 2},
    ),
}


@pytest.mark.parametrize("what", CONTRADICTIONS)
def test_what_contradicts_a_pair(what: str) -> None:
    made = Traffic()
    alike = made.passed(0, 20)
    one, other = CONTRADICTIONS[what]
    made.once(CLIENT, FRONT, 100, 120, **one)
    made.once(INSIDE, BACK, 101, 119, **other)
    assert pairs(made.found()) == {(*alike, True)}


@pytest.mark.parametrize("other", [OTHER_CLIENT, f"{CLIENT}, {OTHER_CLIENT}", f"{CLIENT}:1"])
def test_another_client_is_named_by_a_gateway_that_names_its_clients(other: str) -> None:
    made = Traffic()
    alike = made.once(CLIENT, FRONT, 0, 20), made.once(INSIDE, BACK, 1, 19, request_forwarded_for=CLIENT)
    made.once(CLIENT, FRONT, 100, 120)
    made.once(INSIDE, BACK, 101, 119, request_forwarded_for=other)
    assert pairs(made.found()) == {(*alike, True)}


def test_a_gateway_that_names_other_addresses_than_those_of_its_tcp_clients() -> None:
    made = Traffic()
    expected: Pairs = set()
    for n, real in enumerate(("203.0.113.9", "203.0.113.10")):
        front = made.once(LOOPBACK, "127.0.0.1:8080", 100 * n, 100 * n + 20)
        expected.add((front, made.once(INSIDE, BACK, 100 * n + 1, 100 * n + 19, request_forwarded_for=real), True))
    assert pairs(made.found()) == expected


def test_a_gateway_that_names_its_tcp_client_only_in_health_checks() -> None:
    made = Traffic()
    expected: Pairs = set()
    for n, named in enumerate((LOOPBACK, "203.0.113.9", "203.0.113.10")):
        front = made.once(LOOPBACK, "127.0.0.1:8080", 100 * n, 100 * n + 20)
        expected.add((front, made.once(INSIDE, BACK, 100 * n + 1, 100 * n + 19, request_forwarded_for=named), True))
    assert pairs(made.found()) == expected


@pytest.mark.parametrize("named", [(CLIENT, OTHER_CLIENT), ("203.0.113.9", "203.0.113.10")])
def test_equal_requests_at_the_same_time_are_told_apart_by_the_clients_that_are_named(named: tuple[str, str]) -> None:
    made = Traffic()
    one, other = made.once(CLIENT, FRONT, 0, 20), made.once(OTHER_CLIENT, FRONT, 0.2, 20)
    second, first = (made.once(INSIDE, BACK, 1 + n, 15, request_forwarded_for=who) for n, who in enumerate(reversed(named)))
    certain = named == (CLIENT, OTHER_CLIENT)
    right, crossed = {(one, first), (other, second)}, {(one, second), (other, first)}
    told = pairs(made.found())
    assert {(*pair, certain) for pair in (right if certain else crossed)} == told


def test_one_request_for_several_clients_does_not_show_that_the_gateway_names_others() -> None:
    made = Traffic()
    waiting = [made.once(f"10.0.1.{n}", FRONT, n * 0.1, 20) for n in range(5)]
    back = made.once(INSIDE, BACK, 1, 19, request_forwarded_for="10.0.1.2")
    made.once(CLIENT, FRONT, 100, 120)
    made.once(INSIDE, BACK, 101, 119, request_forwarded_for=OTHER_CLIENT)
    assert pairs(made.found()) == {(waiting[2], back, True)}


AGREEMENTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "a client that is named": ({}, {"request_forwarded_for": f"192.0.2.7, {CLIENT}"}),
    "a client that was named before": ({"request_forwarded_for": "192.0.2.7"}, {"request_forwarded_for": "192.0.2.7"}),
    "no user agent behind": ({}, {"agent": ""}),
    "another coding": ({"body": 4, "response_content_encoding": "gzip"}, {"body": 5}),
    "pieces": ({"request_body_bytes": 4, "request_framing": "chunked"}, {"request_body_bytes": 5}),
    "HEAD": ({"method": "HEAD", "body": 0}, {"method": "GET", "body": 5}),
    "own error": ({"status": 502, "body": 4}, {"status": 200, "body": 5}),
}


@pytest.mark.parametrize("what", AGREEMENTS)
def test_what_does_not_contradict_a_pair(what: str) -> None:
    made = Traffic()
    alike = made.passed(0, 20)
    one, other = AGREEMENTS[what]
    front = made.once(CLIENT, FRONT, 100, 120, **one)
    back = made.once(INSIDE, BACK, 101, 119, **other)
    assert pairs(made.found()) == {(*alike, True), (front, back, True)}


@pytest.mark.parametrize(
    ("at", "until", "status"),
    [
        (90, 119, 200),  # begins before
        (121, 130, 200),  # begins later than the gateway answered
        (101, 125, 200),  # its response begins later than the one that it would be
        (101, 125, None),  # the gateway answered while this one was open, and did not wait for its close
    ],
)
def test_times_that_contradict(at: float, until: float, status: int | None) -> None:
    made = Traffic()
    alike = made.passed(0, 20)
    made.once(CLIENT, FRONT, 100, 120)
    made.once(INSIDE, BACK, at, until, status)
    assert pairs(made.found()) == {(*alike, True)}


@WHOLE
@pytest.mark.parametrize(("close", "paired"), [(None, False), (110, True), (120, True), (121, False)])
def test_a_client_that_closed_before_does_not_show_whose_response_it_got(close: float | None, paired: bool) -> None:
    """Both gateways of a row reject a request of which the rest never comes, the inner one a millisecond later."""
    made = Traffic()
    alike = made.passed(0, 20)
    left = {} if close is None else {"client_close_time": round(close * MILLISECOND)}
    front = made.once(CLIENT, FRONT, 100, 120, 408, **left)
    back = made.once(INSIDE, BACK, 101, 121, 408)
    assert pairs(made.found()) == {(*alike, True), *([(front, back, True)] if paired else [])}


def test_a_server_that_answers_later_than_the_gateway_gave_up() -> None:
    made = Traffic()
    alike = made.passed(0, 20)
    front = made.once(CLIENT, FRONT, 100, 120, 504)
    back = made.once(INSIDE, BACK, 101, 150)
    assert pairs(made.found()) == {(*alike, True), (front, back, True)}


def test_who_asks_a_server_directly_is_no_gateway() -> None:
    made = Traffic()
    expected = {(*made.passed(100 * n, 100 * n + 20), True) for n in range(3)}
    made.once(CLIENT, FRONT, 900, 920)
    made.once("10.1.0.77", BACK, 901, 919, target="/a")
    # a single vote of three is no tenth of them, and no certain pair of any
    made.passed(1000, 1020)
    assert expected <= pairs(made.found())


def test_a_gateway_that_repeats() -> None:
    made = Traffic()
    front = made.once(CLIENT, FRONT, 0, 60)
    tries = [made.once(INSIDE, BACK, 1, 10, None), made.once(INSIDE, OTHER_BACK, 11, 20, 502), made.once(INSIDE, BACK, 21, 59)]
    known = made.found()
    assert pairs(known) == {(front, one, True) for one in tries}
    assert known.tries["connection"].to_list() == [one[0] for one in tries]


def _timed_out(made: Traffic, server: str, at: float, until: float, answered: float) -> Place:
    """A request that the gateway gives up; the server answers later."""
    return made.once(INSIDE, server, at, answered, client_close_time=round(until * MILLISECOND))


def test_a_response_that_comes_after_the_gateway_gave_up_decides_nothing() -> None:
    made = Traffic()
    front = made.once(CLIENT, FRONT, 0, 31, 504)
    tries = [_timed_out(made, BACK, 1, 15, 40), _timed_out(made, OTHER_BACK, 16, 30, 55)]
    known = made.found()
    assert pairs(known) == {(front, one, True) for one in tries}
    assert known.doubtful == ()


def test_a_retry_after_such_a_response_belongs_to_no_other_request() -> None:
    """Both clients may have caused the second try, because the other one asked before it, and its own request comes late."""
    made = Traffic()
    for n in (1, 2, 3):
        made.passed(100 * n, 100 * n + 20)
    front, other = made.once(CLIENT, FRONT, 0, 31, 504), made.once(CLIENT, FRONT, 14, 45, 504)
    first, second = _timed_out(made, BACK, 1, 15, 60), _timed_out(made, OTHER_BACK, 16, 30, 60)
    found = pairs(made.found())
    assert (front, first, True) in found
    assert (other, second, True) not in found


def test_requests_that_the_gateway_gives_up_after_the_next_one_began_are_no_tries() -> None:
    made = Traffic()
    made.once(CLIENT, FRONT, 0, 31, 504)
    _timed_out(made, BACK, 1, 20, 40)
    _timed_out(made, OTHER_BACK, 16, 30, 55)
    assert not made.found().tries["certain"].any()


def test_copies_that_are_sent_to_two_servers_are_no_tries() -> None:
    made = Traffic()
    front = made.once(CLIENT, FRONT, 0, 60)
    both = [made.once(INSIDE, server, 1, 59) for server in (BACK, OTHER_BACK)]
    known = made.found()
    assert not known.tries["certain"].any()
    assert known.doubtful == (((front,), tuple(both)),)


def test_the_next_request_of_a_client_that_gave_up_is_no_part_of_the_one_that_still_waits() -> None:
    made = Traffic()
    alike = made.passed(0, 20)
    made.once(CLIENT, FRONT, 100, None, None, client_close_time=110 * MILLISECOND)
    back = made.once(INSIDE, BACK, 101, 129)
    made.once(CLIENT, f"{OUTSIDE}:8090", 111, None, None, client_close_time=121 * MILLISECOND)
    known = made.found()
    assert known.fronts == {FRONT: (BACK,)}
    assert (*alike, True) in pairs(known)
    assert back not in {front for front, _, _ in pairs(known)}


def test_alike_and_at_the_same_time() -> None:
    made = Traffic()
    fronts = [made.once(host, FRONT, 0, 20) for host in (CLIENT, OTHER_CLIENT)]
    backs = [made.once(INSIDE, BACK, 1, 19) for _ in fronts]
    known = made.found()
    # by order of time, and told as such
    assert pairs(known) == {(front, back, False) for front, back in zip(fronts, backs, strict=True)}
    assert known.doubtful == ((tuple(fronts), tuple(backs)),)


@WHOLE
@pytest.mark.parametrize(("late", "paired"), [(0.05, True), (0.06, False)])
def test_in_a_crowd_a_client_may_leave_just_before_its_request_is_forwarded(
    late: float, paired: bool, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    """A busy gateway sees the close up to 50 µs late."""
    monkeypatch.setattr(edges, "MAX_POSSIBLE", 1)
    made = Traffic()
    alike = made.passed(0, 20)
    waiting = [made.once(host, FRONT, 100, 130) for host in (OTHER_CLIENT, "10.0.0.3")]
    left = made.once(CLIENT, FRONT, 99, None, None, client_close_time=110 * MILLISECOND)
    backs = [made.once(INSIDE, BACK, at, 129) for at in (110 + late, 111, 112)]
    expected = zip([left, *waiting] if paired else waiting, backs, strict=False)
    assert pairs(made.found()) == {(*alike, True), *((*pair, False) for pair in expected)}


def test_alike_and_told_apart_by_what_follows() -> None:
    made = Traffic()
    early = made.once(CLIENT, FRONT, 0, 20)
    late = made.once(OTHER_CLIENT, FRONT, 5, 40)
    # one of them began before the second request, so the other one is that's
    first, second = made.once(INSIDE, BACK, 1, 19), made.once(INSIDE, BACK, 6, 39)
    assert pairs(made.found()) == {(early, first, True), (late, second, True)}


def test_tries_that_contradict_each_other_are_not_certain() -> None:
    """Two at the same time, each repeated once. The first try of one broke off behind its status, and looks like the answer."""
    made = Traffic()
    one, two = made.once(CLIENT, FRONT, 0, 134), made.once(OTHER_CLIENT, FRONT, 27, 137)
    made.once(INSIDE, BACK, 21, 48, response_end_reason="fin", response_body_bytes=3)
    made.once(INSIDE, BACK, 47, 60, None)
    again = [made.once(INSIDE, OTHER_BACK, 110, 133.9), made.once(INSIDE, OTHER_BACK, 117, 136.9)]
    true = {(one, again[0]), (two, again[1])}
    assert {(front, back) for front, back, certain in pairs(made.found()) if certain and back in again} <= true


def test_a_failure_that_may_be_the_earlier_try_of_another_is_not_assigned() -> None:
    made = Traffic()
    made.once(CLIENT, FRONT, 0, 50, 502)
    made.once(OTHER_CLIENT, FRONT, 0, 40)
    failed = made.once(INSIDE, BACK, 1, 10, None)
    made.once(INSIDE, BACK, 11, 39)
    assert not [pair for pair in pairs(made.found()) if pair[1] == failed and pair[2]]


def test_attempts() -> None:
    made = Traffic()
    alike = made.passed(0, 20)
    failed = made.once(CLIENT, FRONT, 100, 120, 502)
    refused = made.attempt(INSIDE, BACK, 101)
    mended = made.once(CLIENT, FRONT, 200, 260)
    unanswered = made.attempt(INSIDE, OTHER_BACK, 201, refused=False)
    made.once(INSIDE, BACK, 231, 259)
    known = made.found()
    assert attempts(known) == {(failed, refused), (mended, unanswered)}
    assert known.fronts == {FRONT: tuple(sorted((BACK, OTHER_BACK)))}
    assert {refused, unanswered, alike[1][0]} <= known.clients


@pytest.mark.parametrize("status", [502, 503, 504])
def test_attempts_without_anything_behind(status: int) -> None:
    made = Traffic()
    front = made.once(CLIENT, FRONT, 0, 20, status)
    refused = made.attempt(OUTSIDE, BACK, 1)
    known = made.found()
    assert attempts(known) == {(front, refused)}
    assert known.fronts == {FRONT: (BACK,)}


def test_attempts_of_another_address_one_after_the_other() -> None:
    """Caddy tries for lb_try_duration, every 250 ms: the first attempt begins at once, and the response follows the last one."""
    made = Traffic()
    front = made.once(CLIENT, FRONT, 0, 502, 502)
    tried = [made.attempt(INSIDE, BACK, at) for at in (1, 251, 501)]
    assert attempts(made.found()) == {(front, one) for one in tried}


def test_attempts_of_the_inner_of_two_gateways_from_another_address() -> None:
    made = Traffic()
    expected: set[tuple[Place, int]] = set()
    for at in (0, 100):
        made.once(CLIENT, FRONT, at, at + 20, 502)
        inner = made.once(OUTSIDE, f"{OUTSIDE}:8081", at + 1, at + 19, 502)
        expected.add((inner, made.attempt(INSIDE, BACK, at + 2)))
    known = made.found()
    assert attempts(known) == expected
    assert known.fronts == {FRONT: (f"{OUTSIDE}:8081",), f"{OUTSIDE}:8081": (BACK,)}


@pytest.mark.parametrize("status", [None, 200, 500])
def test_a_server_that_connects_to_another_is_no_gateway(status: int | None) -> None:
    made = Traffic()
    made.once(CLIENT, FRONT, 0, 20, status)
    made.attempt(OUTSIDE, BACK, 1)
    assert made.found().fronts == {}


def test_what_is_open_when_the_capture_ends_says_nothing() -> None:
    made = Traffic()
    made.once(CLIENT, "10.2.0.1:80", 0, None, None)
    made.once(OTHER_CLIENT, "10.2.0.2:80", 1, None, None)
    assert made.found().fronts == {}


def test_attempts_of_others() -> None:
    made = Traffic()
    made.passed(0, 20)
    made.once(CLIENT, FRONT, 100, 120, 502)
    made.attempt(CLIENT, BACK, 101)  # not the gateway
    made.attempt(INSIDE, BACK, 90)  # before
    made.attempt(INSIDE, BACK, 130)  # later
    made.attempt(INSIDE, FRONT, 101)  # to itself
    assert attempts(made.found()) == set()


def test_an_attempt_while_two_wait_belongs_to_the_one_that_failed() -> None:
    made = Traffic()
    made.passed(0, 20)
    failed = made.once(CLIENT, FRONT, 100, 120, 502, target="/b")
    made.once(OTHER_CLIENT, FRONT, 100, 120, 200, target="/c")
    refused = made.attempt(INSIDE, BACK, 101)
    assert attempts(made.found()) == {(failed, refused)}


def test_an_attempt_while_two_fail_belongs_to_neither() -> None:
    made = Traffic()
    made.passed(0, 20)
    for target in ("/b", "/c"):
        made.once(CLIENT, FRONT, 100, 120, 502, target=target)
    made.attempt(INSIDE, BACK, 101)
    assert attempts(made.found()) == set()


def test_an_attempt_while_a_server_is_asked_belongs_to_another() -> None:
    made = Traffic()
    made.passed(0, 20)
    front = made.once(CLIENT, FRONT, 100, 200, 504)
    made.once(INSIDE, BACK, 101, 199, None)
    made.attempt(INSIDE, OTHER_BACK, 150)
    known = made.found()
    assert attempts(known) == set()
    assert front in {pair[0] for pair in pairs(known)}


def test_a_relay_of_tcp_connects_before_there_is_a_request() -> None:
    made = Traffic()
    made.passed(0, 20)
    client = made.connect(CLIENT, FRONT, 100)
    refused = made.attempt(INSIDE, BACK, 110)
    front = made.ask(client, 115, 120, None)
    assert attempts(made.found()) == {(front, refused)}


def test_clients_that_say_they_are_gateways() -> None:
    made = Traffic()
    made.once(CLIENT, BACK, 0, 10)
    gateway = made.once(INSIDE, BACK, 20, 30, request_forwarded=True)
    assert made.found().clients == {gateway[0]}


def test_a_connection_of_several_users_is_a_gateway_s() -> None:
    made = Traffic()
    connection = made.connect(INSIDE, BACK)
    for n, value in enumerate(("a", "", "b")):
        made.ask(connection, 20 * n, 20 * n + 10, agent=value)
    same = made.connect(OTHER_CLIENT, BACK)
    for n, value in enumerate(("a", "", "a")):
        made.ask(same, 20 * n, 20 * n + 10, agent=value)
    known = made.found()
    assert (connection in known.clients, same in known.clients) == (True, False)


def test_nothing() -> None:
    known = Traffic().found()
    assert (known.fronts, known.doubtful, known.clients, known.tries.height) == ({}, (), frozenset(), 0)


@pytest.mark.parametrize(("status", "certain"), [(429, True), (425, True), (408, True), (404, False), (200, False)])
def test_a_gateway_repeats_a_request_that_was_refused_for_now(status: int, certain: bool) -> None:
    made = Traffic()
    front = made.once(CLIENT, FRONT, 0, 40, status)
    tries = [made.once(INSIDE, BACK, at, at + 8, status) for at in (1, 11, 21, 31)]
    assert pairs(made.found()) == {(front, one, certain) for one in tries}
