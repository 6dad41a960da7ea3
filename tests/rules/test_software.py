"""Whose software it is, also where the exchange at hand has no answer."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from tests.rules.frames import answered, connection, rows
from tests.rules.test_settle import candidate, candidates, module, settled
from wiredoctor.findings import Advice, Finding
from wiredoctor.gateways import TRIES, Gateways

ADVICE = (Advice("server", "nginx", "N."), Advice("server", "^$", "U."))


def told(exchanges: list[dict[str, Any]], **changes: Any) -> Finding:
    connections = rows("connections", connection(), connection(connection=1, client="10.0.0.1:1235"))
    given = candidates(candidate(**changes))
    [finding] = settled(
        [module("a", advice=ADVICE)],
        {"a": given},
        exchanges=rows("exchanges", *exchanges).lazy(),
        connections=connections.lazy(),
    )
    return finding


def unanswered(number: int) -> dict[str, Any]:
    blank = {n: None for n in answered() if n.startswith("response_")}
    return answered(exchange=number) | blank | {"has_response": False, "response_server": None, "response_status": None}


def test_the_exchange_at_hand_says_it() -> None:
    one = told([answered(response_server="nginx/1.22.1", request_user_agent="curl/8")])
    assert (one.client_software, one.server_software, one.remedy) == ("curl/8", "nginx/1.22.1", "mend it N.")


def test_a_lost_request_has_the_server_of_the_answers_before_it() -> None:
    said = [answered(response_server="old/1"), answered(exchange=1, response_server="nginx/1.22.1"), unanswered(2)]
    for exchanges in (said, said[::-1]):
        one = told(exchanges, exchange=2)
        assert (one.server_software, one.remedy) == ("nginx/1.22.1", "mend it N.")


def test_an_answer_that_does_not_say_it_is_not_given_the_words_of_another() -> None:
    one = told([answered(), answered(exchange=1, response_server="nginx/1.22.1")])
    assert (one.server_software, one.remedy) == (None, "mend it U.")


def test_another_connection_does_not_count() -> None:
    one = told([unanswered(0), answered(connection=1, response_server="nginx/1.22.1")])
    assert one.server_software is None


def test_text_from_packets_is_made_safe_and_short() -> None:
    one = told([answered(response_server="nginx\x1b[2J" + "A" * 9000)])
    assert one.server_software is not None
    assert one.server_software.startswith("nginx\\x1b[2J")
    assert len(one.server_software) == 120


def test_about_an_endpoint() -> None:
    import polars as pl

    connections = rows("connections", connection(), connection(connection=1, server="10.0.0.3:80"))
    exchanges = rows(
        "exchanges", answered(response_server="nginx/1.22.1"), answered(connection=1, response_server="Apache"), unanswered(1)
    )
    given = candidates(candidate(connection=None, exchange=None, server="10.0.0.2:80"), server=pl.String())
    [one] = settled([module("a")], {"a": given}, exchanges=exchanges.lazy(), connections=connections.lazy())
    assert (one.client_software, one.server_software) == (None, "nginx/1.22.1")


def test_about_a_client_host_and_an_endpoint() -> None:
    """The software of another client of that server is not that of this one."""
    import polars as pl

    hosts = [connection(client_host="10.0.0.1"), connection(connection=1, client_host="10.0.0.9", client="10.0.0.9:7")]
    exchanges = rows("exchanges", answered(request_user_agent="curl/8"), answered(connection=1, request_user_agent="other/1"))
    given = candidates(
        candidate(connection=None, exchange=None, server="10.0.0.2:80", client="10.0.0.1"), server=pl.String(), client=pl.String()
    )
    [one] = settled([module("a")], {"a": given}, exchanges=exchanges.lazy(), connections=rows("connections", *hosts).lazy())
    assert one.client_software == "curl/8"


def test_where_nobody_speaks_http_no_http_server_is_guessed_at() -> None:
    one = told([], exchange=None)
    assert (one.exchange, one.server_software, one.remedy) == (None, None, "mend it")


# A gateway passes on what others say of themselves

POOL = (Advice("client", "curl", "curl: C."), Advice("gateway", "^$", "G."), Advice("gateway", "^httpd$", "H."))


def at_a_gateway(exchanges: list[dict[str, Any]], known: Gateways, **changes: Any) -> Finding:
    """Connection 0 is in front of 10.0.0.2:80, connection 1 behind it."""
    connections = rows("connections", connection(), connection(connection=1, client="10.0.0.2:5000", server="10.0.0.9:8001"))
    given = candidates(candidate(**changes))
    [finding] = settled(
        [module("a", advice=(*ADVICE, *POOL))], {"a": given}, exchanges=rows("exchanges", *exchanges).lazy(),
        connections=connections.lazy(), known=known,
    )  # fmt: skip
    return finding


def gateways(*, certain: bool = True) -> Gateways:
    front = str(connection()["server"])
    tries = pl.DataFrame([(0, 0, 1, 0, certain, 1)], TRIES, orient="row")
    return Gateways(tries, {front: ("10.0.0.9:8001",)}, (), frozenset({1}))


def test_the_client_behind_a_gateway_is_the_gateway() -> None:
    said = [answered(connection=1, request_user_agent="curl/8", response_server="nginx/1.22.1")]
    one = at_a_gateway(said, gateways(), connection=1, side="client")
    assert (one.client_software, one.server_software, one.remedy) == (None, "nginx/1.22.1", "mend it G.")
    one = at_a_gateway([said[0] | {"request_forwarded_server": True}], gateways(), connection=1, side="client")
    assert one.remedy == "mend it H."


def test_where_nothing_shows_a_gateway_the_advice_says_if() -> None:
    said = [answered(request_user_agent="curl/8")]
    assert at_a_gateway(said, gateways(), side="client").remedy == "mend it If the client is curl: C."


def test_a_server_field_that_is_passed_on_is_not_the_gateways() -> None:
    front, back = answered(response_server="nginx/1.22.1"), answered(connection=1, response_server="nginx/1.22.1")
    one = at_a_gateway([front, back], gateways())
    assert (one.server_software, one.remedy) == (None, "mend it")
    own = at_a_gateway([front, back | {"response_server": "gunicorn"}], gateways())
    assert (own.server_software, own.remedy) == ("nginx/1.22.1", "mend it N.")
    # who is not certain to be behind it tells nothing
    assert at_a_gateway([front, back], gateways(certain=False)).server_software == "nginx/1.22.1"
    # the server behind says it of itself
    assert at_a_gateway([front, back], gateways(), connection=1).server_software == "nginx/1.22.1"


PROGRAMS = (*ADVICE, Advice("client", "curl", "curl: C."), Advice("client", "^$", "If the client is .NET: N."))


@pytest.mark.parametrize(
    ("other", "known", "found", "remedy"),
    [
        ("ab/2", {}, None, "mend it"),
        ("ab/2", {"user_agent": "ocaml-cohttp/4"}, "ocaml-cohttp/4", "mend it"),
        ("ab/2", {"user_agent": "curl/8"}, "curl/8", "mend it If the client is curl: C."),
        ("curl/8", {}, "curl/8", "mend it If the client is curl: C."),
        ("curl/8", {"user_agent": ""}, None, "mend it If the client is .NET: N."),
    ],
)
def test_a_host_that_runs_two_programs_has_no_name(other: str, known: dict[str, str], found: str | None, remedy: str) -> None:
    """A finding about a host may be about any of its programs, unless the candidate knows about which. Advice for unknown
    software is not for several known programs."""
    of_client = candidates(
        candidate(connection=None, exchange=None, client="10.0.0.1", server="10.0.0.2:80", side="client", **known),
        client=pl.String(), server=pl.String(), user_agent=pl.String(),
    )  # fmt: skip
    [one] = settled(
        [module("a", advice=PROGRAMS)],
        {"a": of_client},
        exchanges=rows(
            "exchanges", answered(request_user_agent="curl/8"), answered(connection=1, request_user_agent=other)
        ).lazy(),
        connections=rows("connections", connection(), connection(connection=1)).lazy(),
    )
    assert (one.client_software, one.remedy) == (found, remedy)
