"""Test the comparison with other connections of the same hosts against one that looks at each pair of connections."""

from __future__ import annotations

from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.sweeps import SLOW
from wiredoctor.tables import CLIENT, SERVER
from wiredoctor.world.exchange import LATE
from wiredoctor.world.neighbors import Attempts, Sightings, compare_neighbors

SPREAD = 2
TIME = st.integers(0, 7)
MAYBE = TIME | st.none()
Row = dict[str, Any]

CONNECTION = st.fixed_dictionaries(
    {
        "client_host": st.sampled_from(["a", "a", "a", "b"]),
        "server": st.sampled_from(["s:80", "s:80", "s:80", "s:81", "t:80"]),
        "client_direction": st.sampled_from([CLIENT, SERVER]),
        "start": st.integers(0, 3),
        "server_bytes": st.integers(0, 1),
        "first_answer_frame": MAYBE,
        "first_answer_time": MAYBE,
        "syn_time": MAYBE,
        "last_syn_time": MAYBE,
        "syns": st.integers(2, 3),
        "server_packets": st.integers(0, 1),
        "history": st.sampled_from(["S", "Sr"]),
        "protocol": st.sampled_from(["http", "tls"]),
        "client_unacknowledged": st.integers(0, 1),
        "server_unacknowledged": st.integers(0, 1),
    }
)
EXCHANGE = st.fixed_dictionaries(
    {
        "connection": st.integers(0, 5),
        "request_method": st.sampled_from(["GET", "GET", "PUT"]),
        "request_target": st.sampled_from(["/", "/", "/x", None]),
        "request_start": TIME,
        "response_frame": MAYBE,
        "response_start": MAYBE,
        "previous_end": MAYBE,
        "rtt_client": st.none() | st.integers(0, 1),
        **{
            f"{message}_{part}": st.integers(0, 1)
            for message in ("request", "response")
            for part in ("frame", "last_frame", "head_bytes", "body_bytes")
        },
    }
)
DATA = st.fixed_dictionaries(
    {
        "connection": st.integers(0, 5),
        "exchange": st.sampled_from([0, 0, 1, None]),
        "sender_direction": st.sampled_from([CLIENT, SERVER]),
        "first_time": st.integers(0, 3),
        "second_time": MAYBE,
        "last_time": TIME,
        "smallest_unacknowledged": st.integers(0, 3),
    }
)
ADDED = ("alive_elsewhere", "fits_elsewhere", "answered_later", "down", "repeated", "survived_rest")


def compared(data: Row, connections: list[Row], exchanges: list[Row]) -> tuple[bool | int | None, ...]:
    """Return the values of ADDED, from each other connection of the two hosts in turn."""
    own = connections[data["connection"]]
    pair = [one for one in connections if (one["client_host"], one["server"][0]) == (own["client_host"], own["server"][0])]
    others = [one for one in pair if one is not own]
    is_client = data["sender_direction"] == own["client_direction"]
    due = data["last_time"] + data["last_time"] - data["first_time"]

    def talks(one: Row) -> list[Row]:
        return [talk for talk in exchanges if talk["connection"] == one["connection"]]

    def sent(one: Row, *, by_server: bool) -> list[int]:
        times = [one["first_answer_time" if by_server else "syn_time"]]
        times += [talk["response_start" if by_server else "request_start"] for talk in talks(one)]
        return [time for time in times if time is not None]

    def is_down(one: Row) -> bool:
        unanswered = one["server_packets"] == 0 or (one["syns"] > 2 and one["first_answer_frame"] is not None)
        if None in (one["syn_time"], one["last_syn_time"]) or one["server"] != own["server"] or not unanswered:
            return False
        long = one["last_syn_time"] - one["syn_time"] >= SPREAD
        before = [time for other in others for time in sent(other, by_server=True) if time < one["last_syn_time"]]
        silent = not before or (data["second_time"] is not None and max(before) < data["second_time"])
        return is_client and long and data["first_time"] < one["last_syn_time"] and one["syn_time"] <= due and silent

    message, side = ("request", "client") if is_client else ("response", "server")
    sizes = [
        talk[f"{message}_head_bytes"] + talk[f"{message}_body_bytes"]
        for one in others
        for talk in talks(one)
        if one[f"{side}_unacknowledged"] == 0 and talk[f"{message}_frame"] == talk[f"{message}_last_frame"]
    ]
    same = [(t["request_method"], t["request_target"]) for t in talks(own) if t["exchange"] == data["exchange"]]
    same = [one for one in same if None not in one]
    later = [one for one in others if one["server"] == own["server"] and one["start"] > data["first_time"]]
    rests = [
        talk["request_start"] - talk["previous_end"] - (talk["rtt_client"] or 0)
        for one in pair
        for talk in talks(one)
        if one["server"] == own["server"] and None not in (talk["response_frame"], talk["previous_end"])
    ]
    second = data["second_time"]
    heard = [time for one in others for time in sent(one, by_server=is_client)]
    return (
        second is not None and any(second <= time <= due for time in heard),
        any(size >= data["smallest_unacknowledged"] for size in sizes),
        any(one["server_bytes"] > 0 or one["first_answer_frame"] is not None for one in later),
        any(map(is_down, others)),
        any((talk["request_method"], talk["request_target"]) in same for one in later for talk in talks(one)),
        max(rests, default=None),
    )


@SLOW
@settings(max_examples=60, deadline=None)
@given(st.lists(CONNECTION, min_size=6, max_size=6), st.lists(EXCHANGE, max_size=12), st.lists(DATA, min_size=1, max_size=8))
def test_neighbors_are_found_as_by_looking_at_each(ends: list[Row], talks: list[Row], data: list[Row]) -> None:
    connections = [{"connection": number, **end} for number, end in enumerate(ends)]
    seen: dict[int, int] = {}
    exchanges: list[Row] = []
    for talk in talks:
        exchanges.append({**talk, "exchange": seen.get(talk["connection"], 0)})
        seen[talk["connection"]] = exchanges[-1]["exchange"] + 1
    kinds = dict.fromkeys(CONNECTION_NUMBERS, pl.Int64()) | {"client_direction": pl.Int8()}
    known = pl.DataFrame(connections, schema_overrides=kinds)
    names = ("connection", "exchange", *EXCHANGE_NAMES)
    said = pl.DataFrame(exchanges, {name: pl.String() if name in TEXTS else pl.Int64() for name in names})
    rows = pl.DataFrame(data, schema_overrides={"exchange": pl.Int64(), "second_time": pl.Int64(), "sender_direction": pl.Int8()})
    found = compare_neighbors(rows, known.lazy(), said.lazy(), SPREAD)
    assert found.select(ADDED).rows() == [compared(one, connections, exchanges) for one in data]
    assert found["history"].to_list() == [connections[one["connection"]]["history"] for one in data]


CONNECTION_NUMBERS = ("first_answer_frame", "first_answer_time", "syn_time", "last_syn_time")
TEXTS = ("request_method", "request_target")
EXCHANGE_NAMES = (
    *("request_method", "request_target", "request_start", "response_start", "previous_end", "rtt_client"),
    *(f"{message}_{part}" for message in ("request", "response") for part in ("frame", "last_frame", "head_bytes", "body_bytes")),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(TIME, st.integers(0, 3)), max_size=10), TIME, st.integers(0, 3))
def test_first_packet_of_another_connection(packets: list[tuple[int, int]], since: int, own: int) -> None:
    rows = pl.DataFrame(packets, {"time": pl.Int64(), "connection": pl.Int64()}, orient="row")
    sightings = Sightings(rows["time"].to_numpy(), rows["connection"].to_numpy())
    others = [time for time, connection in packets if connection != own and time >= since]
    assert sightings.first_since(since, own) == min(others, default=LATE)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(TIME, TIME), max_size=10), TIME, TIME, TIME, st.integers(0, 10))
def test_attempts_between_two_times(times: list[tuple[int, int]], after: int, until: int, due: int, own: int) -> None:
    made = [(last, first, number) for number, (last, first) in enumerate(times)]
    some = [first for last, first, number in made if number != own and after < last <= until]
    assert Attempts(made).is_any(after, until, due, own) == any(first <= due for first in some)
