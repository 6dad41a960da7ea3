"""Rules that put their rows in order by themselves: of a million they get them in whatever order they were read."""

from __future__ import annotations

import random
from typing import Any

import polars as pl
import pytest

from tests.rules.frames import MS, S, answered, connection, followed, in_order, rows
from wiredoctor.rule_engine import RuleModule, catalogue
from wiredoctor.rules.round_trips import no_connection_reuse

ANY_ORDER = {name: module for name, module in catalogue().items() if module.rule.any_order}
SERVERS = ("10.0.0.2:80", "10.0.0.3:80")
CLOSING = ("10.0.0.4:80", "10.0.0.5:80")


def conversations() -> dict[str, pl.DataFrame]:
    """300 connections of five clients to two servers: refused, used once and given up, told to close. And 60 to two servers
    that say so themselves, of which two begin at a time. And three times three servers, one of which is slow,
    and one of which fails. And two that stand still once, two that refuse requests that are repeated at once, and two whose
    client never closes. And two with a worker each, for which others wait."""
    chance = random.Random(1)
    connections: list[dict[str, Any]] = []
    exchanges: list[dict[str, Any]] = []
    closes: list[dict[str, Any]] = []
    for n in range(300):
        host, at, frame = f"10.0.1.{chance.randrange(5)}", n * 100 * MS, 10 * n + 1
        ends = {"connection": n, "client": f"{host}:{40_000 + n}", "client_host": host, "server": chance.choice(SERVERS)}
        if n % 3 == 0:
            refusal = {"refused_frame": frame + 1, "refused_time": at + MS, "client_packets": 1, "server_packets": 1}
            connections.append(connection(**ends, syns=1, syn_frame=frame, syn_time=at, last_syn_frame=frame,
                                          last_syn_time=at, first_frame=frame, start=at, end=at + MS, **refusal))  # fmt: skip
            continue
        connections.append(connection(**ends, first_frame=frame, start=at, end=at + 50 * MS, exchanges=1))
        asked = {"persistent": False, "request_connection_close": True, "response_version": "HTTP/1.1"} if n % 7 == 0 else {}
        exchange: dict[str, Any] = {
            "connection": n, "exchange": 0, "request_frame": frame + 3, "request_start": at + 10 * MS,
            "response_last_frame": frame + 4, "response_end": at + 30 * MS,
        } | asked  # fmt: skip
        exchanges.append(answered(**exchange))
        closes.append(followed(**exchange, client_close_frame=frame + 5, client_close_time=at + 40 * MS))
    for n in range(300, 360):
        host, at, frame = f"10.0.1.{chance.randrange(5)}", n // 2 * S, 10 * n + 1
        ends = {"connection": n, "client": f"{host}:{40_000 + n}", "client_host": host, "server": chance.choice(CLOSING)}
        connections.append(connection(**ends, first_frame=frame, start=at, end=at + 50 * MS, exchanges=1, handshake=True,
                                      rtt_client=0, rtt_server=chance.randrange(9) * MS))  # fmt: skip
        exchange = {
            "connection": n, "exchange": 0, "request_frame": frame + 3, "request_start": at + 10 * MS,
            "response_connection_close": True, "persistent": False, "response_frame": frame + 4,
            "response_end": at + 30 * MS + chance.randrange(9) * S,
        }  # fmt: skip
        exchanges.append(answered(**exchange))
        closes.append(followed(**exchange))
    for n in range(360, 369):
        ends = {"connection": n, "client": f"10.0.1.1:{40_000 + n}", "client_host": "10.0.1.1", "server": f"10.0.0.{n}:80"}
        connections.append(connection(**ends, first_frame=10 * n, start=n * S, end=(n + 1) * S, exchanges=12))
        exchanges += [
            answered(connection=n, exchange=one, endpoint=n, request_target=f"/{'abc'[n // 3 % 3]}/{one}", rtt_server=MS,
                     request_frame=40 * n + one, request_start=n * S + one * MS, response_frame=40 * n + one + 20,
                     response_start=n * S + one * MS + 200 * MS, response_end=n * S + one * MS + 200 * MS,
                     server_time=(200 + one if n % 3 == 1 else 5) * MS, response_status=500 if n % 3 == 0 and one % 2 else 200)
            for one in range(12)
        ]  # fmt: skip
    for n in range(370, 374):
        server = n // 2
        ends = {"connection": n, "client": f"10.0.1.1:{40_000 + n}", "client_host": "10.0.1.1", "server": f"10.0.0.{server}:80"}
        connections.append(connection(**ends, first_frame=40 * n, start=n * S, end=(n + 20) * S, exchanges=8))
        for one in range(8):
            at = (server * 20 + one) * S + n % 2 * MS
            took = 900 * MS if one == 5 else 5 * MS
            exchanges.append(answered(
                connection=n, exchange=one, endpoint=server, request_target=f"/paused/{one}/{n % 2}", rtt_server=MS,
                request_frame=80 * n + one, request_last_frame=80 * n + one, request_start=at, request_end=at,
                response_frame=80 * n + one + 20, response_start=at + took, response_end=at + took, server_time=took,
            ))  # fmt: skip
    for n in (380, 381):
        ends = {"connection": n, "client": f"10.0.1.1:{40_000 + n}", "client_host": "10.0.1.1", "server": f"10.0.0.{n - 200}:80"}
        connections.append(connection(**ends, first_frame=80 * n, start=n * S, end=(n + 2) * S, exchanges=20))
        exchanges += [
            answered(connection=n, exchange=one, endpoint=n, request_target="/busy", rtt_server=MS, response_status=429,
                     request_frame=80 * n + 2 * one, request_start=n * S + one * 50 * MS, response_frame=80 * n + 2 * one + 1,
                     response_start=n * S + one * 50 * MS + MS, response_end=n * S + one * 50 * MS + MS, server_time=MS)
            for one in range(20)
        ]  # fmt: skip
    for n in range(400, 440):
        at = n * 100 * MS
        ends = {"connection": n, "client": f"10.0.1.1:{40_000 + n}", "client_host": "10.0.1.1", "server": f"10.0.0.{n // 20}:80"}
        connections.append(
            connection(**ends, first_frame=80 * n, start=at, syn_time=at, end=at + 50 * MS, exchanges=1, history="SHADdf")
        )
        closed = {
            "closed_first": "server",
            "server_close_rst": 0,
            "server_close_frame": 80 * n + 9,
            "server_close_time": at + 40 * MS,
        }
        closes.append(followed(connection=n, exchange=0, both_directions=True, last_on_connection=True, **closed))
    for n in range(450, 484):
        server, one = divmod(n - 450, 17)
        ends = {"connection": n, "client": f"10.0.1.1:{40_000 + n}", "client_host": "10.0.1.1", "server": f"10.0.0.{server}:81"}
        connections.append(connection(**ends, first_frame=80 * n, start=n * S, end=(n + 1) * S, exchanges=1))
        # four requests in turn, then a long one for which twelve others wait
        at, took = (one * 100, 20) if one < 4 else (1000, 500) if one == 4 else (1000 + one, 500 + 19 * one - 80)
        began = (500 + server * 10) * S + (at + took) * MS
        exchanges.append(answered(
            connection=n, exchange=0, endpoint=1000 + server, request_target="/report" if one == 4 else f"/item/{one}",
            request_frame=80 * n, request_last_frame=80 * n, request_start=began - took * MS, request_end=began - took * MS,
            response_frame=80 * n + 1, response_last_frame=80 * n + 1, response_start=began, response_end=began,
            server_time=took * MS, rtt_server=MS,
        ))  # fmt: skip
    tables = {"exchanges": exchanges, "closes": closes, "connections": connections, "tries": []}
    return {name: rows(name, *given) for name, given in tables.items()}


def candidates(module: RuleModule, seed: int | None = None) -> pl.DataFrame:
    """What `find` says of the tables, with rows in the order of this seed."""
    tables = conversations()
    some = (tables[name] if seed is None else shuffled(tables[name], seed) for name in module.tables)
    return module.find(*(table.lazy() for table in some)).collect()


def shuffled(rows: pl.DataFrame, seed: int) -> pl.DataFrame:
    return rows.sample(fraction=1, shuffle=True, seed=seed)


def told(module: RuleModule, found: pl.DataFrame) -> list[dict[str, Any]]:
    return sorted(found.to_dicts(), key=repr)


@pytest.mark.parametrize("module", ANY_ORDER.values(), ids=ANY_ORDER)
def test_what_is_told_does_not_depend_on_the_order(module: RuleModule) -> None:
    found = candidates(module)
    in_turn = told(module, in_order(found))
    assert len(in_turn) > 1
    for seed in range(5):
        assert told(module, candidates(module, seed)) == in_turn


def test_few_connections_of_many_are_kept_to_be_shown() -> None:
    found = candidates(catalogue()["no-connection-reuse"])
    assert found["exchanges"].sum() > 100
    assert {*found["shown"].list.len()} == {no_connection_reuse.SHOWN.value}
