"""Test what ladders cannot express about `websocket-failed`."""

from __future__ import annotations

from pathlib import Path

import pytest

from wiredoctor.findings import Finding
from wiredoctor.testing import findings, ladders_in

LADDERS = dict(ladders_in(Path(__file__).with_name("websocket_failed.txt")))


def of(words: str) -> list[Finding]:
    """Its findings in the ladder whose title has these words."""
    [text] = [text for title, text in LADDERS.items() if words in title]
    return findings(text, select=["websocket-failed"])


def test_a_query_is_no_path_and_requests_are_counted() -> None:
    chat, news = of("twice on one path")
    assert "answered 2 of 2 requests for a WebSocket on /2/chat with 200 OK and others." in chat.message
    assert "answered the only request for a WebSocket on /2/news with 400 Bad Request." in news.message
    assert "?" not in of("the server has no WebSocket")[0].message
    assert (chat.connection, chat.exchange, chat.delay) == (None, None, None)


def test_those_who_got_it_are_counted_too() -> None:
    [told] = of("somebody else got")
    assert "answered 1 of 2 requests" in told.message
    assert told.client == "10.0.0.1"
    assert "so the server supports it there" in told.message
    assert "proxy" not in told.message + told.remedy


def test_a_server_that_has_one_is_told_from_one_that_may_have_none() -> None:
    for words in ("426 says", "names the version that it was asked for"):
        [told] = of(words)
        assert "a proxy in between has dropped the field" in told.message
    [told] = of("the server has no WebSocket")
    assert "Either the server does not support WebSocket on this path, or a proxy" in told.message


def test_versions_are_named() -> None:
    [told] = of("another version")
    assert "requests version 8 of the protocol, but the server supports 13." in told.message
    assert told.measures["asked"] == 8
    assert told.measures["spoken"] == 13


@pytest.mark.parametrize(
    ("words", "how", "setting"),
    [
        ("asks in HTTP/1.0, and says nothing", "as HTTP/1.0 and without Upgrade: ", "nginx: proxy_http_version 1.1"),
        ("asks in HTTP/1.1, without Upgrade", "to 10.0.0.3:8001 without Upgrade: ", "HAProxy and Caddy forward the upgrade"),
        ("in HTTP/1.0, which has none", "to 10.0.0.3:8001 as HTTP/1.0: ", "nginx: proxy_http_version 1.1"),
    ],
)
def test_what_the_gateway_did_and_what_sets_it_right(words: str, how: str, setting: str) -> None:
    [told] = of(words)
    assert how in told.message
    assert setting in told.remedy
    assert told.severity == "error"
    assert [evidence.note for evidence in told.evidence][1].startswith("the gateway forwards the request to 10.0.0.3:8001 ")


def test_the_server_behind_is_told_where_the_gateway_passed_it_on() -> None:
    [told] = of("told once, of the server behind")
    assert told.server == "10.0.0.3:8001"


@pytest.mark.parametrize(
    ("words", "where"),
    [
        ("WebSocket is redirected to the path with a slash", "same path with a slash at its end. Browsers do"),
        ("to https, www.", "same path over https. Browsers do"),
        ("without its slash", "same path without the slash at its end. Browsers do"),
    ],
)
def test_a_redirection_that_browsers_do_not_follow(words: str, where: str) -> None:
    [told] = of(words)
    assert where in told.message
    assert "the URL to which the redirection leads" in told.remedy
    assert "proxy in front" not in told.remedy
