"""Test the facts about a client's other connections: its identity, its requests at about a time, and its earlier waits."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.recordings import find_recording
from wiredoctor import limits, pipeline
from wiredoctor.limits import LimitsReached
from wiredoctor.tables import AT_THE_CLOSE, CLIENT_COLUMNS, CONNECTIONS, EXCHANGES, SECOND
from wiredoctor.world.client_rows import WINDOW, read_clients
from wiredoctor.world.clients import Clients, Repetition

ASK = {
    "exchange": 0, "request_frame": 4, "request_start": 10 * SECOND, "request_method": "GET", "request_host": "a",
    "request_target": "/poll/1", "request_user_agent": "u", "request_forwarded": False, "request_forwarded_for": "",
    "request_navigation": False, "request_range_start": None,
    "request_event_source": False, "request_last_event_id": False, "request_stops": False,
    "request_has_credentials": False, "response_start": 18 * SECOND,
    "response_status": 200, "response_end": 19 * SECOND, "response_end_reason": "complete", "response_body_due": 5,
}  # fmt: skip


def clients(*asked: dict[str, Any], hosts: tuple[str, ...] = (), gateways: tuple[int, ...] = ()) -> Clients:
    """Of requests, one on each connection; all of one host where none are named, and a candidate on the first, at 20 s."""
    rows = [{"connection": number} | ASK | changes for number, changes in enumerate(asked)]
    exchanges = pl.DataFrame(
        [[row[name] for name in CLIENT_COLUMNS] for row in rows], EXCHANGES.empty().select(CLIENT_COLUMNS).schema, orient="row"
    )
    opened = ("10.0.0.2:80", 0, 1, 80, "client", True)
    places = [(number, hosts[number] if hosts else "10.0.0.1", *opened) for number in range(len(asked))]
    names = ("connection", "client_host", "server", "start", "syns", "client_bytes", "closed_by", "connected")
    connections = pl.DataFrame(places, CONNECTIONS.empty().select(names).schema, orient="row")
    candidates = pl.DataFrame({"connection": [0], "ended_at": [20 * SECOND], "waited": [2 * SECOND]})
    closes = AT_THE_CLOSE.table.empty().lazy()
    return Clients(read_clients(closes, exchanges.lazy(), connections.lazy(), candidates), gateways)


def test_the_newest_requests_are_kept_and_the_others_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five requests near the candidate's close, a second apart, of which three are kept."""
    asked = [{"request_start": (15 + second) * SECOND} for second in range(5)]
    monkeypatch.setattr(limits.CLIENT_REQUESTS, "value", 3)
    met = LimitsReached()
    with limits.counting(met):
        known = clients(*asked)
    assert met.counts == {"client-requests": 2}
    assert [number for number in range(5) if known.request(number, 0) is not None] == [2, 3, 4]
    monkeypatch.setattr(limits.CLIENT_REQUESTS, "value", 5)
    met = LimitsReached()
    with limits.counting(met):
        clients(*asked)
    assert not met.counts


def test_the_report_says_how_many_requests_were_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The recording has twelve requests, all near the failures of the same client."""
    monkeypatch.setattr(limits.CLIENT_REQUESTS, "value", 3)
    report = pipeline.analyze(find_recording("apache-met.pcap"))
    assert report.limits == [
        "The newest 3 requests of clients with failures are compared with these failures; 9 more were left out"
    ]


def others(known: Clients) -> list[int]:
    own = known.request(0, 0)
    assert own is not None
    return [one.connection for one in known.other_requests(own, 20 * SECOND - WINDOW, 20 * SECOND + WINDOW)]


def test_the_same_client_is_a_host_with_a_user_agent() -> None:
    near = {"request_start": 21 * SECOND}
    assert others(clients({}, near)) == [1]
    assert others(clients({}, near | {"request_user_agent": "v"})) == []
    assert others(clients({}, near, hosts=("10.0.0.1", "10.0.0.9"))) == []
    assert others(clients({}, near, hosts=("127.0.0.1", "::1"))) == [1]


def test_behind_a_gateway_it_is_who_is_forwarded() -> None:
    near = {"request_start": 21 * SECOND}
    one, other = {"request_forwarded": True, "request_forwarded_for": "10.9.9.1"}, {"request_forwarded_for": "10.9.9.2"}
    assert others(clients(one, near | one)) == [1]
    assert others(clients(one, near | one | other)) == []
    assert others(clients({"request_forwarded": True}, near | {"request_forwarded": True})) == []
    assert others(clients({}, near, gateways=(0, 1))) == []


def test_only_what_is_near_counts() -> None:
    assert others(clients({}, {"request_start": 26 * SECOND})) == []
    assert others(clients({}, {"request_start": 15 * SECOND})) == [1]


UNANSWERED = {
    "request_start": 18 * SECOND, "request_target": "/poll/2", "response_start": None, "response_end": None,
    "response_end_reason": None,
}  # fmt: skip


def test_the_longest_wait_before() -> None:
    known = clients(UNANSWERED, {})
    own = known.request(0, 0)
    assert own is not None
    assert known.longest_wait(own, 20 * SECOND) == 8 * SECOND
    assert known.longest_wait(own, 18 * SECOND - 1) == 0
    assert clients({"request_target": "/poll"}, {}).longest_wait(own, 20 * SECOND) == 8 * SECOND


def test_the_longest_wait_for_the_end_of_a_response() -> None:
    known = clients(UNANSWERED, {})
    own = known.request(0, 0)
    assert own is not None
    assert known.longest_wait(own, 20 * SECOND, whole=True) == 9 * SECOND
    assert known.longest_wait(own, 19 * SECOND - 2, whole=True) == 0
    assert clients(UNANSWERED, {"response_end_reason": "fin"}).longest_wait(own, 20 * SECOND, whole=True) == 0


def test_a_longer_wait_of_another_client_hides_none() -> None:
    """Minutes ago, another program of the host waited for 9 s, or another host did; then this client waited for 8 s."""
    longer = {"request_start": -200 * SECOND, "response_start": -191 * SECOND, "response_end": -191 * SECOND}
    shorter = {"request_start": -100 * SECOND, "response_start": -92 * SECOND, "response_end": -92 * SECOND}
    for who, hosts in (({"request_user_agent": "v"}, ()), ({}, ("10.0.0.1", "10.0.0.9", "10.0.0.1"))):
        known = clients(UNANSWERED, longer | who, shorter, hosts=hosts)
        own = known.request(0, 0)
        assert own is not None
        assert known.longest_wait(own, 20 * SECOND) == 8 * SECOND
        assert known.longest_wait(own, 20 * SECOND, whole=True) == 8 * SECOND


def test_two_programs_may_have_one_user_agent() -> None:
    other = clients(UNANSWERED, {})
    same = clients(UNANSWERED, {"request_target": UNANSWERED["request_target"]})
    for known, longest in ((other, 0), (same, 8 * SECOND)):
        own = known.request(0, 0)
        assert own is not None
        assert known.longest_wait(own, 20 * SECOND, same_program=True) == longest


NO_ANSWER = dict.fromkeys(("response_start", "response_status", "response_end", "response_end_reason"))
WAITING = st.fixed_dictionaries(
    {
        "request_start": st.integers(-60, 15).map(lambda second: second * SECOND),
        "took": st.integers(1, 9),
        "reads": st.integers(0, 3),
        "request_target": st.sampled_from(["/poll/1", "/poll/1", "/poll/2", "/other"]),
        "request_user_agent": st.sampled_from(["u", "u", "u", "v"]),
        "host": st.sampled_from(["10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.9"]),
        "answered": st.booleans(),
    }
)


@settings(max_examples=40, deadline=None)
@given(st.lists(WAITING, min_size=4, max_size=12))
def test_the_longest_wait_is_that_of_all_requests(waits: list[dict[str, Any]]) -> None:
    asked: list[dict[str, Any]] = [{"request_start": 18 * SECOND} | NO_ANSWER]
    for wait in waits:
        start = wait["request_start"] + wait["took"] * SECOND
        answer = {"response_start": start, "response_end": start + wait["reads"] * SECOND}
        columns = {name: value for name, value in wait.items() if name.startswith("request_")}
        asked.append(columns | (answer if wait["answered"] else NO_ANSWER))
    known = clients(*asked, hosts=("10.0.0.1", *(wait["host"] for wait in waits)))
    own = known.request(0, 0)
    assert own is not None
    for whole in (False, True):
        times = [
            wait["took"] + (wait["reads"] if whole else 0)
            for wait in waits
            if (wait["host"], wait["request_user_agent"]) == ("10.0.0.1", "u") and wait["answered"]
            if wait["request_target"] != "/other"
            if wait["request_start"] // SECOND + wait["took"] + (wait["reads"] if whole else 0) <= 20
        ]
        # a wait that is shorter than that of each candidate does not count
        longest = max((time for time in times if time >= 2), default=0) * SECOND
        found = known.longest_wait(own, 20 * SECOND, whole=whole)
        assert found == longest or (not longest and found < 2 * SECOND)


AGAIN = {"request_start": 20 * SECOND + 1, "response_start": 21 * SECOND, "response_end": 21 * SECOND}


@pytest.mark.parametrize(
    ("changes", "repetition"),
    [
        ({}, Repetition(1, 20 * SECOND + 1, 200, "warning")),
        ({"request_start": 20 * SECOND}, Repetition(1, 20 * SECOND, 200, "warning")),
        ({"request_start": 20 * SECOND - 1}, Repetition()),
        ({"request_method": "POST"}, Repetition(1, 20 * SECOND + 1, 200, unsafe=1)),
        ({"request_target": "/other"}, Repetition()),
        ({"response_status": 500}, Repetition()),
        ({"response_start": 25 * SECOND + 1}, Repetition()),
        (NO_ANSWER, Repetition(pending_until=25 * SECOND, pending_on=1)),
    ],
)
def test_a_lost_request_is_repeated(changes: dict[str, Any], repetition: Repetition) -> None:
    """The request on connection 0 is lost at 20 s."""
    lost = NO_ANSWER | {"request_start": 18 * SECOND}
    both = {name: value for name, value in changes.items() if name == "request_method"}
    found = clients(lost | both, AGAIN | {"request_frame": 1} | changes).repetition(0, 0, 20 * SECOND, 0, 0)
    assert found == repetition


def test_any_request_follows_one_that_only_asks_what_the_server_supports() -> None:
    lost = NO_ANSWER | {"request_start": 18 * SECOND, "request_method": "OPTIONS", "request_target": "*"}
    found = clients(lost, AGAIN | {"request_target": "/other"}).repetition(0, 0, 20 * SECOND, 0, 0)
    assert (found.status, found.severity) == (200, "note")


def test_a_repetition_counts_for_one_lost_request() -> None:
    lost = NO_ANSWER | {"request_start": 18 * SECOND}
    known = clients(lost, lost, AGAIN)
    assert [known.repetition(number, 0, 20 * SECOND, 0, 0).severity for number in (0, 1)] == ["warning", None]
