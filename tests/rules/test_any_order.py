"""Rules that put their rows in order by themselves: of a million they get them in whatever order they were read."""

from __future__ import annotations

import random
from typing import Any

import polars as pl
import pytest

from tests.rules.frames import MS, S, answered, connection, in_order, rows
from wiredoctor.rules import RuleModule, catalogue
from wiredoctor.rules.round_trips import no_connection_reuse

ANY_ORDER = {name: module for name, module in catalogue().items() if module.rule.any_order}
SERVERS = ("10.0.0.2:80", "10.0.0.3:80")


def conversations() -> tuple[pl.DataFrame, pl.DataFrame]:
    """300 connections of five clients to two servers: refused, used once and given up, told to close."""
    chance = random.Random(1)
    connections: list[dict[str, Any]] = []
    exchanges: list[dict[str, Any]] = []
    for n in range(300):
        host, at, frame = f"10.0.1.{chance.randrange(5)}", n * S, 10 * n + 1
        ends = {"connection": n, "client": f"{host}:{40_000 + n}", "client_host": host, "server": chance.choice(SERVERS)}
        if n % 3 == 0:
            refusal = {"refused_frame": frame + 1, "refused_time": at + MS, "client_packets": 1, "server_packets": 1}
            connections.append(connection(**ends, syns=1, syn_frame=frame, syn_time=at, last_syn_frame=frame,
                                          last_syn_time=at, first_frame=frame, start=at, end=at + MS, **refusal))  # fmt: skip
            continue
        connections.append(connection(**ends, first_frame=frame, start=at, end=at + 50 * MS, exchanges=1))
        asked = {"persistent": False, "request_connection_close": True, "response_version": "HTTP/1.1"} if n % 7 == 0 else {}
        exchanges.append(answered(**{
            "connection": n, "exchange": 0, "request_frame": frame + 3, "request_start": at + 10 * MS,
            "response_last_frame": frame + 4, "response_end": at + 30 * MS, "client_close_frame": frame + 5,
            "client_close_time": at + 40 * MS,
        } | asked))  # fmt: skip
    return rows("exchanges", *exchanges), rows("connections", *connections)


def candidates(module: RuleModule) -> pl.DataFrame:
    exchanges, connections = conversations()
    tables = {"exchanges": exchanges.lazy(), "connections": connections.lazy()}
    return module.find(*(tables[name] for name in module.tables)).collect()


@pytest.mark.parametrize("module", ANY_ORDER.values(), ids=ANY_ORDER)
def test_what_is_told_does_not_depend_on_the_order(module: RuleModule) -> None:
    found = candidates(module)
    assert module.judge is not None
    told = module.judge(in_order(found), None)[0].to_dicts()
    assert len(told) > 1
    for seed in range(5):
        shuffled = found.sample(fraction=1, shuffle=True, seed=seed)
        again = module.judge(shuffled, None)[0].to_dicts()
        assert sorted(again, key=repr) == sorted(told, key=repr)


def test_words_are_made_of_the_connections_that_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[int] = []
    real = pl.format

    def counted(text: str, *names: str) -> pl.Expr:
        return real(text, *(pl.col(name).map_batches(note, return_dtype=pl.Int64) for name in names))

    def note(numbers: pl.Series) -> pl.Series:
        written.append(len(numbers))
        return numbers

    module = catalogue()["no-connection-reuse"]
    found = candidates(module)
    monkeypatch.setattr(no_connection_reuse.pl, "format", counted)
    assert module.judge is not None
    told = module.judge(found, None)[0]
    assert told["exchanges"].sum() > 100
    assert written
    assert max(written) <= no_connection_reuse.SHOWN.value * told.height
