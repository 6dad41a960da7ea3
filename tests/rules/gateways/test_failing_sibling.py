"""failing-sibling compares servers, and not a gateway with the server behind it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl
import pytest

from tests.rules.frames import S, answered, connection, found, rows
from wiredoctor.gateways.known import TRIES
from wiredoctor.rules.gateways.failing_sibling import Facts, words

SERVERS = ("10.0.0.2:80", "10.0.0.3:80", "10.0.0.4:80")


def failing(
    client: str = "10.0.0.1",
    *,
    tries: Sequence[tuple[int, ...]] = (),
    paths: tuple[str, ...] = ("/a", "/a", "/a"),
    apart: int = S // 5,
) -> list[dict[str, Any]]:
    """A client asks each server ten times; the first one answers seven times with 500. `tries`: rows of TRIES.

    `apart`: the time (ns) from a request to the same one to the next server.
    """
    ends = [
        connection(connection=n, client=f"{client}:{4000 + n}", client_host=client, server=server)
        for n, server in enumerate(SERVERS)
    ]
    asked = [
        answered(connection=n, exchange=one, endpoint=n, request_target=f"{path}/{one}", request_frame=100 * n + one,
                 request_start=one * S + n * apart, response_frame=100 * n + one + 50, response_start=one * S + n * apart + 5,
                 response_end=one * S + n * apart + 5,
                 response_status=500 if n == 0 and one > 2 else 200)
        for n, path in enumerate(paths)
        for one in range(10)
    ]  # fmt: skip
    known = pl.DataFrame(tries, TRIES, orient="row")
    return found("failing-sibling", rows("exchanges", *asked), rows("connections", *ends), known)


def test_one_of_three() -> None:
    [one] = failing()
    assert (one["server"], one["servers"], one["requests"], one["errors"], one["others_requests"]) == (SERVERS[0], 3, 10, 7, 20)


@pytest.mark.parametrize(("apart", "kind"), [(0, "fan-out"), (S // 200, "fan-out"), (S // 50, None)])
def test_servers_that_each_get_every_request_do_not_share_the_work(apart: int, kind: str | None) -> None:
    [one] = failing(apart=apart)
    assert (one["kind"], one["servers"], one["errors"]) == (kind, 3, 7)


def test_a_gateway_is_not_compared_with_the_server_behind_it() -> None:
    assert failing(tries=[(0, 0, 9, 0, True, 0)]) == []


def test_peers_are_compared_by_what_they_answer_themselves() -> None:
    forwarded = [(0, 9, 1, 0, True, 0), (1, 0, 0, 0, True, 0)]
    [one] = failing(tries=forwarded)
    assert (one["server"], one["requests"], one["errors"], one["others_requests"]) == (SERVERS[0], 9, 6, 19)
    assert failing(tries=[*forwarded, (0, 8, 2, 0, True, 0)]) == [], "the third server forwards nothing to the first"


def test_a_client_on_the_host_of_the_server_is_not_compared() -> None:
    assert failing("10.0.0.2") == []


def test_servers_that_get_other_requests_are_not_compared() -> None:
    assert failing(paths=("/a", "/b", "/c")) == []
    [one] = failing(paths=("/a", "/a", "/c"))
    assert (one["servers"], one["others_requests"]) == (2, 10)


@pytest.mark.parametrize(("servers", "others"), [(3, "b (9) and c (8)"), (5, "b (9), c (8) and 2 more")])
def test_servers_that_are_not_listed_are_counted(servers: int, others: str) -> None:
    listed = [{"server": "b", "requests": 9}, {"server": "c", "requests": 8}]
    error = {"request_method": "GET", "request_target": "/a", "response_status": 500}
    shown = error | dict.fromkeys(("request_frame", "request_start", "response_frame", "response_start"), 1)
    assert words(Facts(servers, None, [500], listed, [shown]))["others"] == others
