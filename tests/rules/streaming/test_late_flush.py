"""late-flush on exchanges made by hand, and which Referer is which page."""

from __future__ import annotations

from typing import Any

import pytest

from tests.rules.frames import MS, S, answered, connection, found, rows
from wiredoctor.rules.streaming.late_flush import _names as names  # pyright: ignore[reportPrivateUsage]

PAGE = {
    "request_host": "shop.example",
    "request_target": "/page",
    "response_content_type": "text/html",
    "response_bursts": 1,
}


def page(at: int = 0, wait: int = 500 * MS, **changes: Any) -> dict[str, Any]:
    """A page whose request ended at `at`; its end comes 10 ms behind its first byte."""
    row = answered(**PAGE | changes)
    row |= {"request_start": at, "request_end": at, "response_start": at + row["rtt_server"] + wait}
    return row | {"response_end": row["response_start"] + 10 * MS}


def asset(start: int, referer: str = "http://shop.example/page", **changes: Any) -> dict[str, Any]:
    row = answered(exchange=1, request_referer=referer, request_target="/a.css", **changes)
    return row | {
        "request_start": start,
        "request_end": start,
        "request_frame": 10,
        "response_start": start + 1,
        "response_end": start + 1,
    }


def told(*exchanges: dict[str, Any], connections: tuple[dict[str, Any], ...] = ()) -> list[dict[str, Any]]:
    return found("late-flush", rows("exchanges", *exchanges), rows("connections", *(connections or (connection(),))))


END = 520 * MS


def test_what_it_says() -> None:
    [one] = told(page(), asset(END + 1 * MS), asset(END + 2 * MS), asset(END + 3 * MS))
    assert (one["page"], one["requests"], one["times"]) == ("shop.example/page", 3, "")
    assert (one["connection"], one["delay"], one["server"], one["confidence"]) == (None, None, "10.0.0.2:80", "high")


@pytest.mark.parametrize(("wait", "speaks"), [(500 * MS, 1), (500 * MS - 1, 0)])
def test_edges_of_the_wait(wait: int, speaks: int) -> None:
    end = 20 * MS + wait
    assert len(told(page(wait=wait), asset(end + 1), asset(end + 2))) == speaks


@pytest.mark.parametrize(
    ("second", "speaks"),
    [(END + 1 * S, 1), (END + 1 * S + 1, 0), (END + 1, 1), (END, 0), (END - 1, 0)],
)
def test_edges_of_soon(second: int, speaks: int) -> None:
    assert len(told(page(), asset(END + 5 * MS), asset(second))) == speaks


def test_as_the_client_saw_it() -> None:
    """Recorded at the server, over 120 ms: what was asked for before the page had come there was on its way."""
    away = page(rtt_client=120 * MS)
    assert len(told(away, asset(END + 100 * MS), asset(END + 130 * MS))) == 0
    assert len(told(away, asset(END + 120 * MS), asset(END + 1119 * MS))) == 1


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"response_bursts": 2}, id="flushed"),
        pytest.param({"response_bursts": 0}, id="no body"),
        pytest.param({"response_end_reason": "fin"}, id="cut off"),
        pytest.param({"response_content_type": "application/json"}, id="no page"),
        pytest.param({"request_target": "/page?id=1"}, id="another query"),
    ],
)
def test_silent(changes: dict[str, Any]) -> None:
    assert len(told(page(**changes), asset(END + 1), asset(END + 2))) == 0


def test_what_is_asked_for_must_be_got() -> None:
    assert len(told(page(), asset(END + 1), asset(END + 2, request_method="POST"))) == 0


def test_without_a_round_trip_the_wait_is_unknown() -> None:
    row = page() | {"rtt_server": None}
    assert len(told(row, asset(END + 1), asset(END + 2))) == 0


def test_loads_of_a_page_are_one_finding_per_server() -> None:
    loads = [x for at in (0, 2 * S, 4 * S) for x in (page(at, response_frame=at), asset(at + END + 1), asset(at + END + 2))]
    [one] = told(*loads)
    assert one["times"] == " (the median of 3 loads)"
    other = connection(connection=1, server="10.0.0.3:80")
    elsewhere = [page(2 * S, connection=1, response_frame=2 * S), asset(2 * S + END + 1), asset(2 * S + END + 2)]
    both = told(page(), asset(END + 1), asset(END + 2), *elsewhere, connections=(connection(), other))
    assert [one["server"] for one in both] == ["10.0.0.2:80", "10.0.0.3:80"]


@pytest.mark.parametrize(
    ("referer", "host", "target"),
    [
        ("http://a/p", "a", "/p"),
        ("https://a/p", "a", "/p"),
        ("http://A:80/p", "a", "/p"),
        ("http://a/p", "a:80", "/p"),
        ("https://a:443/p", "a", "/p"),
        ("http://a", "a", "/"),
        ("http://a/", "a", "/"),
        ("http://a?q=1", "a", "/?q=1"),
        ("http://a/p?q=1", "a", "/p?q=1"),
        ("http://[fd00::1]:8080/p", "[fd00::1]:8080", "/p"),
        ("http://u:p@a/p", "a", "/p"),
        ("http://a/p", "proxy", "http://a/p"),
        ("http://a/", "proxy", "http://a"),
    ],
)
def test_the_referer_is_the_page(referer: str, host: str, target: str) -> None:
    assert names(referer, host, target)


@pytest.mark.parametrize(
    ("referer", "host", "target"),
    [
        ("http://a/", "a", "/p"),
        ("http://a/p", "b", "/p"),
        ("http://a:8080/p", "a", "/p"),
        ("http://a/p?q=1", "a", "/p"),
        ("http://a/p", "a", "/p?q=1"),
        ("http://a/P", "a", "/p"),
        ("/p", "a", "/p"),
        ("about:blank", "a", "/p"),
        ("ftp://a/p", "a", "/p"),
        ("", "", ""),
        ("http://", "a", "/"),
        ("\xff://\x00", "a", "/"),
    ],
)
def test_the_referer_is_something_else(referer: str, host: str, target: str) -> None:
    assert not names(referer, host, target)
