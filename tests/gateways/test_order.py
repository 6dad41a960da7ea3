"""Test which endpoints count as gateways: clients that ask several servers for the same things are none."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.gateways.made import BACK, CLIENT, FRONT, INSIDE, LOOPBACK, OTHER_BACK, OTHER_CLIENT, Traffic, pairs
from wiredoctor.gateways import Place

ONE, OTHER = "10.2.0.1:80", "10.2.0.2:80"
"""Two servers; as hosts they are peers of each other in some tests."""


@pytest.mark.parametrize(("asks_both", "siblings"), [(True, True), (False, False)])
def test_clients_on_several_hosts_that_ask_siblings_for_the_same_target(asks_both: bool, siblings: bool) -> None:
    """Each exchange at the other server lies within one at the first. Its client is no gateway if it asks the first one, too."""
    made = Traffic()
    for n in range(6):
        made.once(CLIENT, ONE, 100 * n, 100 * n + 40, target="/config")
        made.once(OTHER_CLIENT, OTHER, 100 * n + 5, 100 * n + 30, target="/config")
        if asks_both:
            made.once(OTHER_CLIENT, ONE, 100 * n + 60, 100 * n + 80, target="/config")
    assert (made.found().fronts == {}) is siblings


def test_a_gateway_that_asks_itself_for_its_health_is_still_one() -> None:
    made = Traffic()
    expected = {(*made.passed(100 * n, 100 * n + 40), True) for n in range(6)}
    made.once("10.0.0.9", FRONT, 700, 710, target="/health")
    assert pairs(made.found()) == expected


def _forwarded(made: Traffic, at: float, client: str, peer: str, owner: str, named: str | None) -> tuple[Place, Place]:
    """A client asks a peer, which asks the owner."""
    front = made.once(client, peer, at, at + 40, target="/key")
    host = peer.rpartition(":")[0]
    return front, made.once(host, owner, at + 5, at + 30, target="/key", **({"request_forwarded_for": named} if named else {}))


@pytest.mark.parametrize("named", [True, False])
def test_peers_that_forward_to_each_other_are_paired_if_they_name_the_client(named: bool) -> None:
    made = Traffic()
    both = ((ONE, OTHER), (OTHER, ONE))
    told = {
        (*_forwarded(made, 200 * n + 100 * way, CLIENT, *both[way], CLIENT if named else None), True)
        for n in range(4)
        for way in range(2)
    }
    known = made.found()
    assert (pairs(known) == told) is named
    assert (known.fronts == {ONE: (OTHER,), OTHER: (ONE,)}) is named


CUT = {
    "the head of the request": {"request_end_reason": "hole", "request_head_time": None},
    "the head of the response": {"response_end_reason": "hole", "response_framing": "none"},
}


@pytest.mark.parametrize("what", CUT)
def test_heads_that_are_cut_off_show_no_gateway(what: str) -> None:
    """What is cut off cannot contradict; with whole heads, these exchanges are pairs."""
    whole, cut = Traffic(), Traffic()
    for n in range(6):
        whole.passed(100 * n, 100 * n + 40)
        cut.once(CLIENT, FRONT, 100 * n, 100 * n + 40)
        cut.once(INSIDE, BACK, 100 * n + 1, 100 * n + 39, **CUT[what])
    assert whole.found().fronts == {FRONT: (BACK,)}
    assert cut.found().fronts == {}


@pytest.mark.parametrize(("later", "is_gateway"), [(2, True), (150, False)])
def test_services_on_a_single_host(later: float, is_gateway: bool) -> None:
    """A client asks two services at once for the same target. A gateway would answer soon after the server behind it did."""
    made = Traffic()
    for n in range(6):
        made.once(LOOPBACK, "127.0.0.1:8001", 500 * n, 500 * n + 20 + later, target="/product")
        made.once(LOOPBACK, "127.0.0.1:8002", 500 * n + 1, 500 * n + 20, target="/product")
    assert (made.found().fronts != {}) is is_gateway


@pytest.mark.parametrize(("alike", "is_gateway"), [(6, True), (2, False)])
def test_other_responses_show_no_gateway_on_a_single_host(alike: int, is_gateway: bool) -> None:
    """Two services that are asked at once for the same target, of which the first is always the slower one."""
    size = {"response_framing": "content-length", "response_has_content_length": True, "response_body_bytes": 40}
    made = Traffic()
    for n in range(6):
        made.once(LOOPBACK, "127.0.0.1:8001", 100 * n, 100 * n + 40, **size)
        other = {} if n < alike else {"response_body_bytes": 55}
        made.once(LOOPBACK, "127.0.0.1:8002", 100 * n + 1, 100 * n + 30, **size | other)
    assert (made.found().fronts != {}) is is_gateway


@pytest.mark.parametrize("forwards", [True, False])
def test_a_gateway_may_ask_for_permission_first(forwards: bool) -> None:
    """Each request to it makes one to a server that answers otherwise: it is a gateway only if it forwards requests, too."""
    size = {"response_framing": "content-length", "response_has_content_length": True, "response_body_bytes": 40}
    made = Traffic()
    for n in range(6):
        made.once(CLIENT, FRONT, 100 * n, 100 * n + 40, **size)
        made.once(INSIDE, BACK, 100 * n + 1, 100 * n + 10, **size | {"response_body_bytes": 2})
        if forwards:
            made.once(INSIDE, OTHER_BACK, 100 * n + 11, 100 * n + 39, **size)
    made.once(CLIENT, FRONT, 600, 640, 500)
    made.once(INSIDE, BACK, 601, 610, 500)
    assert made.found().fronts == ({FRONT: (BACK, OTHER_BACK)} if forwards else {})


def test_the_loopback_addresses_of_two_hosts_in_one_capture_are_two() -> None:
    """Captures of two hosts with sidecars, merged: the hop from the second sidecar to its application is one more pair."""
    made = Traffic()
    hops = ((CLIENT, ONE), (LOOPBACK, f"{LOOPBACK}:15001"), ("10.2.0.1", "10.2.0.2:15006"), (LOOPBACK, f"{LOOPBACK}:8080"))
    expected: set[tuple[Place, Place, bool]] = set()
    for n in range(6):
        places = [
            made.once(*hop, 100 * n + 2 * depth, 100 * n + 40 - 2 * depth, target=f"/item/{n}") for depth, hop in enumerate(hops)
        ]
        expected |= {(front, back, True) for front, back in pairwise(places)}
    assert pairs(made.found()) == expected


@pytest.mark.parametrize(("count", "own"), [(12, True), (100, True), (2, True), (12, False)])
def test_equal_requests_at_once_are_counted_once_although_no_pair_is_certain(count: int, own: bool) -> None:
    """Each request of the gateway lies within all requests of its clients. With one front too few, one of them is another's."""
    made = Traffic()
    for n in range(count if own else count - 1):
        made.once(CLIENT, FRONT, n / 100, 50)
    backs = [made.once(INSIDE, BACK, 2 + n / 100, 48) for n in range(count)]
    known = made.found()
    assert not known.tries["certain"].any()
    assert (known.clients == {connection for connection, _ in backs}) is (own and count > 2)
