"""Redirects that lead back to the same URL, and what only looks like them: forms, logins, cookies and other users in between."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from wiredoctor.findings import Finding
from wiredoctor.rules.round_trips.redirect_loop import ENOUGH, MOST
from wiredoctor.testing import findings

Exchange = tuple[str, str]
"""A request and its response, as payloads of a ladder."""

OK = r'"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"'


def asks(target: str, fields: str = "", method: str = "GET", host: str = "a") -> str:
    return rf'"{method} {target} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n"'


def leads_to(location: str, status: int = 302) -> str:
    return rf'"HTTP/1.1 {status} R\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"'


def field(name: str, value: object) -> str:
    return rf"{name}: {value}\r\n"


def loops(exchanges: Iterable[Exchange], answer: float = 0.002, pause: float = 0.02, again: str = "") -> list[Finding]:
    """Return the loops in these exchanges of a connection.

    `answer`: s from a request to its response, including the round trip. `pause`: s from there to the next request.
    `again`: other connections, as in a ladder.
    """
    round_trip = min(answer, 0.0004)
    time, lines = 0.02, ["  0.000  >  S    mss 1460", f"  {round_trip:.4f}  <  S.   mss 1460", f"  {round_trip:.4f}  >  ."]
    for request, response in exchanges:
        lines += [f"  {time:.4f}  >  P.   {request}", f"  {time + answer:.4f}  <  P.   {response}"]
        time += answer + pause
    return [one for one in findings("\n".join([*lines, again])) if one.rule == "redirect-loop"]


@pytest.mark.parametrize(
    ("target", "location"),
    [
        ("/a?x=1", "?x=1"),
        ("/a/b", "b"),
        ("/a", "http://a:80/a"),
        ("/a", "//A/a"),
        ("/", "http://a"),
        ("http://a/a", "/a#top"),
        ("/a?x=1", "#top"),
    ],
)
def test_a_location_is_resolved(target: str, location: str) -> None:
    [found] = loops([(asks(target), leads_to(location))] * ENOUGH.value)
    assert (found.severity, found.confidence, found.measures["requests"]) == ("error", "high", ENOUGH.value)


def test_another_location_is_not_the_same_url() -> None:
    for location in ("http://a:8080/a", "/A", "b", "?x=1", "http://b/a"):
        assert loops([(asks("/a"), leads_to(location))] * 8) == []


def forms() -> Iterable[Exchange]:
    """POST, redirect, GET (RFC 9110 section 15.4.4), of a page whose form has the URL of the page."""
    return [(asks("/form", field("Content-Length", 0), "POST"), leads_to("/form", 303)), (asks("/form"), OK)] * 8


def users(exchanges: Callable[[str], list[Exchange]]) -> Iterable[Exchange]:
    """Eight users behind a gateway, one after another, on one connection."""
    return [one for n in range(8) for one in exchanges(field("X-Forwarded-For", f"192.0.2.{n}"))]


def login(user: str) -> list[Exchange]:
    posts = user + field("Content-Length", 0)
    return [
        (asks("/cart", user), leads_to("/login")),
        (asks("/login", posts, "POST"), leads_to("/cart")),
        (asks("/cart", user), OK),
    ]


def bounce(user: str) -> list[Exchange]:
    return [(asks("/x", user), leads_to("/x")), (asks("/x", user + field("Cookie", "c=1")), OK)]


def to_https(user: str) -> list[Exchange]:
    plain, secure = (user + field("X-Forwarded-Proto", scheme) for scheme in ("http", "https"))
    return [(asks("/", plain), leads_to("https://a/", 301)), (asks("/", secure), OK)]


def once_each(user: str) -> list[Exchange]:
    """Every user follows the redirect once, and gets it again: by chance, the next user asks at once."""
    return [(asks("/x", user), leads_to("/x"))] * 2


@pytest.mark.parametrize("exchanges", [forms(), *map(users, (login, bounce, to_https, once_each))])
def test_a_redirect_that_leads_to_another_response_is_no_loop(exchanges: Iterable[Exchange]) -> None:
    assert loops(exchanges) == []


def test_a_long_poll_that_redirects_to_itself_is_no_loop() -> None:
    assert loops([(asks("/?id=1"), leads_to("/?id=1", 303))] * 8, answer=150) == []
    assert loops([(asks("/?id=1"), leads_to("/?id=1", 303))] * 8, answer=2) != []


def test_a_client_that_asks_again_later_does_not_follow() -> None:
    assert loops([(asks("/a"), leads_to("/a"))] * 8, pause=1.1) == []
    assert loops([(asks("/a"), leads_to("/a"))] * 8, pause=0.9) != []


def test_two_programs_of_one_host_are_two_clients() -> None:
    agents = [field("User-Agent", name) for name in ("curl/8", "wget/1")]
    half = [(asks("/a", agent), leads_to("/a")) for agent in agents for _ in range(ENOUGH.value - 1)]
    assert loops(half) == []
    assert loops([(asks("/a", agent), leads_to("/a")) for agent in agents for _ in range(ENOUGH.value)]) != []


@pytest.mark.parametrize(("number", "is_loop"), [(MOST.value, True), (MOST.value + 1, False)])
def test_a_load_test_does_not_follow_to_https(number: int, is_loop: bool) -> None:
    found = loops([(asks("/", field("X-Forwarded-For", "192.0.2.1")), leads_to("https://a/", 301))] * number)
    assert [(one.severity, one.confidence) for one in found] == [("error", "medium")] * is_loop


def test_the_longest_of_several_loops_is_told_and_the_others_are_counted() -> None:
    [found] = loops([(asks(url), leads_to(url)) for url, times in (("/a", 8), ("/b", 20), ("/c", 6)) for _ in range(times)])
    assert found.request == "GET /b"
    assert found.measures["requests"] == 20
    assert "Other redirect loops between the same hosts: 2." in found.message


def test_a_response_with_the_time_of_its_request() -> None:
    """The clock of the capture is coarse."""
    assert loops([(asks("/a"), leads_to("/a"))] * 8, answer=0) != []


def test_a_loop_at_a_gateway_is_caused_by_that_behind_it() -> None:
    time, back = 0.022, ["connection 2, client 10.0.0.2:50001, server 10.0.0.3:8080"]
    back += ["  0.0010  >  S    mss 1460", "  0.0014  <  S.   mss 1460", "  0.0014  >  ."]
    for _ in range(8):
        request = asks("/a", field("X-Forwarded-For", "10.0.0.1"))
        back += [f"  {time:.4f}  >  P.   {request}", f"  {time + 0.006:.4f}  <  P.   {leads_to('/a')}"]
        time += 0.03
    behind, front = loops([(asks("/a"), leads_to("/a"))] * 8, answer=0.01, again="\n".join(back))
    assert (behind.server, front.server) == ("10.0.0.3:8080", "10.0.0.2:80")
    assert behind.caused_by == ()
    assert [(cause.rule, cause.connection) for cause in front.caused_by] == [("redirect-loop", behind.connection)]
