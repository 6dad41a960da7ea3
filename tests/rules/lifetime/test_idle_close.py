"""idle-close on exchanges made by hand."""

from __future__ import annotations

from typing import Any

import pytest

from tests.rules.frames import MS, S, connection, followed
from tests.rules.lifetime.lost import candidates, request
from wiredoctor.world.idle_defaults import default_of_server


def closing(number: int, after: int, **changes: Any) -> dict[str, Any]:
    """Connection `number`, whose last response ended at 30 ms + its number in seconds, closed by the server after a rest."""
    end = 30 * MS + number * S
    close = {
        "connection": number,
        "request_frame": 10 * number,
        "response_last_frame": 10 * number + 1,
        "response_end": end,
        "server_close_frame": 10 * number + 2,
        "server_close_time": end + after,
        "server_close_ack": 100,
        "server_close_offset": 40,
        "server_close_rst": 0,
    }
    return followed(**close | changes)


def used(number: int, after: int, **changes: Any) -> dict[str, Any]:
    """Connection `number`, used again after a rest, as the server saw it."""
    again = {"connection": number, "exchange": 1, "request_frame": 10 * number, "request_start": 60 * S, "rtt_server": 0}
    return followed(**again | {"previous_end": 60 * S - after} | changes)


def summaries(*exchanges: dict[str, Any], connections: dict[int, dict[str, Any]] | None = None) -> list[dict[str, Any]]:
    given = connections or {}
    known = [connection(**{"connection": n, "history": "ShADdf"} | given.get(n, {})) for n in range(1, 10)]
    return candidates("idle-close", *exchanges, connections=known)


def test_one_finding_per_server_with_what_was_observed() -> None:
    [idle] = summaries(closing(1, 4 * S), closing(2, 5 * S), closing(3, 7 * S))
    assert (idle["kind"], idle["side"], idle["server"], idle["client"]) == (None, "server", "10.0.0.2:80", None)
    assert [idle[n].total_seconds() for n in ("limit", "shortest", "longest", "least")] == [5.0, 4.0, 7.0, 4.0]
    assert idle["from_"] == " (median; shortest "
    assert (idle["closes"], idle["connection"], idle["frame"]) == (3, None, 12)
    assert [e["frame"] for e in idle["evidence"]] == [11, 21, 31, 12, 22, 32]


def test_servers_are_kept_apart() -> None:
    found = summaries(closing(1, 5 * S), closing(2, 60 * S), connections={2: {"server": "10.0.0.3:80"}})
    assert [(f["server"], f["closes"]) for f in found] == [("10.0.0.2:80", 1), ("10.0.0.3:80", 1)]
    assert [(f["from_"], f["shortest"], f["least"].total_seconds()) for f in found] == [("", None, 5.0), ("", None, 60.0)]


@pytest.mark.parametrize(("after", "speaks"), [(997 * MS, False), (997 * MS + 1, True)])
def test_edges_of_the_rest(after: int, speaks: bool) -> None:
    assert bool(summaries(closing(1, after))) is speaks


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"persistent": False}, id="the close was announced"),
        pytest.param({"last_on_connection": False}, id="a request followed"),
        pytest.param({"upgraded": True}, id="a tunnel"),
        pytest.param({"response_framing": "close-delimited"}, id="the body ends with the connection"),
        pytest.param({"response_end_reason": "fin"}, id="truncated"),
        pytest.param({"request_end_reason": "rst"}, id="request not complete"),
        pytest.param({"response_status": 100}, id="only an interim response"),
        pytest.param({"has_request": False}, id="an answer without a request"),
        pytest.param({"has_response": False}, id="no answer"),
        pytest.param({"client_close_frame": 3, "client_close_ack": 40, "client_close_rst": 0}, id="the client closed as well"),
    ],
)
def test_silent(changes: dict[str, Any]) -> None:
    assert summaries(closing(1, 5 * S, **changes)) == []


@pytest.mark.parametrize(
    ("after", "server", "default"),
    [
        (5 * S, "Apache", "Apache"),
        (4_500 * MS, "Apache", "Apache"),
        (4_499 * MS, "Apache", ""),
        (1_800 * MS, "gunicorn", "gunicorn"),
        (1_799 * MS, "gunicorn", ""),
        (61 * S, "", "AWS"),
        (65 * S, "", "Puma"),
        (75 * S, "nginx", "nginx"),
        (118 * S, "Microsoft-IIS/10.0", "IIS"),
        (130 * S, "", ""),
        (4 * S, "", ""),
    ],
)
def test_whose_default_it_is(after: int, server: str, default: str) -> None:
    [idle] = summaries(closing(1, after))
    said = default_of_server(idle["idle_limit"], server)
    assert said == "" if not default else default in said


@pytest.mark.parametrize("after", [2, 75, 120, 300, 3600])
def test_software_that_names_itself_is_not_meant_by_a_server_that_does_not(after: int) -> None:
    """gunicorn, nginx, aiohttp, IIS, waitress, Caddy and Envoy send a Server field in every response."""
    assert default_of_server(after * S, "") == ""


def test_of_a_server_that_names_nothing_only_silent_software_is_named() -> None:
    """uvicorn, hypercorn, lighttpd and Apache have the same default as Node, but name themselves."""
    assert default_of_server(5 * S, "") == "; 5 s is the default of old releases of Node (server.keepAliveTimeout)"


@pytest.mark.parametrize(
    ("after", "server", "said"),
    [
        (2, "nginx/1.22.1", ""),
        (2, "gunicorn", "; 2 s is the default of gunicorn (--keep-alive)"),
        (5, "Apache/2.4.57 (Debian)", "; 5 s is the default of Apache httpd (KeepAliveTimeout)"),
        (5, "Apache-Coyote/1.1", ""),
        (5, "uvicorn", "; 5 s is the default of uvicorn"),
        (20, "Apache-Coyote/1.1", "; 20 s is the default of Tomcat as it is shipped (connectionTimeout in server.xml)"),
        (60, "nginx", "; 60 s is the default of AWS application load balancers (idle timeout)"),
        (60, "Golfe2", ""),
        (
            60,
            "",
            "; 60 s is the default of AWS application load balancers (idle timeout) and of Tomcat without a setting "
            "(keepAliveTimeout)",
        ),
        (75, "Python/3.11 aiohttp/3.9.1", "; 75 s is the default of aiohttp's run_app (keepalive_timeout)"),
        (30, "", "; 30 s is the default of Jetty (idleTimeout)"),
        (120, "Microsoft-IIS/10.0", "; 120 s is the default of IIS (connectionTimeout)"),
        (5, "something of our own", ""),
    ],
)
def test_the_default_of_another_product_is_not_named(after: int, server: str, said: str) -> None:
    assert default_of_server(after * S, server) == said


def kind(*exchanges: dict[str, Any], connections: dict[int, dict[str, Any]] | None = None) -> tuple[str | None, str | None]:
    [idle] = summaries(*exchanges, connections=connections)
    return idle["kind"], idle["client"]


def test_inverted_by_a_rest_that_was_longer_than_the_limit() -> None:
    assert kind(closing(1, 5 * S), used(2, 5 * S + 1)) == ("inverted", "10.0.0.1")
    assert kind(closing(1, 5 * S), used(2, 5 * S)) == (None, None)
    assert kind(closing(1, 5 * S), used(2, 5 * S - 19 * MS, rtt_server=20 * MS)) == ("inverted", "10.0.0.1")


def test_only_another_connection_of_the_pair_counts() -> None:
    assert kind(closing(1, 5 * S), used(1, 6 * S)) == (None, None)
    assert kind(closing(1, 5 * S), closing(3, 5 * S), used(1, 6 * S)) == ("inverted", "10.0.0.1")
    assert kind(closing(1, 5 * S), used(2, 6 * S), connections={2: {"client_host": "10.0.0.9"}}) == (None, None)
    assert kind(closing(1, 5 * S), used(2, 6 * S), connections={2: {"server": "10.0.0.3:80"}}) == (None, None)


def test_only_a_limit_can_be_survived() -> None:
    """No default, and met at one moment only: no timeout. Idle times that differ much, and a longer one survives: a stop."""
    assert kind(closing(1, 3300 * MS), used(2, 6 * S)) == (None, None)
    assert kind(closing(1, 3300 * MS), closing(3, 3300 * MS), used(2, 6 * S)) == ("inverted", "10.0.0.1")
    together = closing(3, 1300 * MS)
    assert together["server_close_time"] == closing(1, 3300 * MS)["server_close_time"]
    assert kind(closing(1, 3300 * MS), closing(3, 1300 * MS), used(2, 6 * S)) == ("stop", None)
    assert kind(closing(1, 5 * S), closing(3, 6 * S), used(2, 6 * S)) == ("inverted", "10.0.0.1")
    assert kind(closing(1, 5 * S), closing(3, 6300 * MS), used(2, 6 * S)) == (None, None)


def test_fins_that_came_late_prove_nothing() -> None:
    """A pool that checks a connection only before it uses it sends them."""
    late = {"history": "ShADdfF"}
    assert kind(closing(1, 5 * S), closing(2, 5 * S), connections={1: late, 2: late}) == (None, None)


def test_two_clients_that_keep_connections_longer() -> None:
    other = {n: {"client_host": "10.0.0.9"} for n in (3, 4)}
    [idle] = summaries(closing(1, 5 * S), used(2, 6 * S), closing(3, 5 * S), used(4, 7 * S), connections=other)
    assert (idle["kind"], idle["client"], idle["inverted_clients"]) == ("inverted", None, "2 clients keep idle connections")


def test_confidence() -> None:
    assert [c["confidence"] for c in summaries(closing(1, 5 * S, handshake=False))] == ["medium"]
    assert [c["confidence"] for c in summaries(closing(1, 5 * S, handshake=False), closing(2, 5 * S))] == ["high"]
    assert [c["confidence"] for c in summaries(closing(1, 5 * S, gap_before=True))] == ["low"]


@pytest.mark.parametrize(
    ("after", "announced", "said"),
    [
        (5 * S, 5, "; it announces 5 s (Keep-Alive: timeout=5)"),
        (6 * S, 5, "; it announces 5 s (Keep-Alive: timeout=5), and closes a second after that, as Node does"),
        (990 * MS, 1, "; it announces 1 s (Keep-Alive: timeout=1)"),
        (2 * S, 1, "; it announces 1 s (Keep-Alive: timeout=1), and closes a second after that, as Node does"),
        (9 * S, 5, "; it announces 5 s (Keep-Alive: timeout=5)"),
    ],
)
def test_what_the_server_announces_comes_before_what_is_usual(after: int, announced: int, said: str) -> None:
    [idle] = summaries(closing(1, after, response_keep_alive_timeout=announced))
    assert (idle["announced"], idle["idle_limit"]) == (said, None)


def test_announcements_that_differ() -> None:
    [idle] = summaries(*(closing(n, 5 * S, response_keep_alive_timeout=n) for n in (3, 5)))
    assert idle["announced"] == "; it announces 3 s to 5 s (Keep-Alive: timeout)"


def test_an_announcement_makes_a_limit_of_closes_at_one_moment() -> None:
    assert kind(closing(1, 3300 * MS, response_keep_alive_timeout=3), used(2, 6 * S)) == ("inverted", "10.0.0.1")


@pytest.mark.parametrize(("acknowledged", "said"), [(100, "No request was lost in this capture, but a"), (101, "A"), (200, "A")])
def test_it_does_not_say_that_nothing_was_lost_where_something_was(acknowledged: int, said: str) -> None:
    """A request on connection 2 that a close acknowledges in part, or as a whole; what met it before is a keep-alive-race."""
    met = request(
        connection=2, server_close_frame=10, server_close_time=8 * S + MS, server_close_ack=acknowledged, server_close_offset=500,
        server_close_rst=1,
    )  # fmt: skip
    [idle] = summaries(closing(1, 5 * S), met)
    assert idle["nothing_lost"] == said
