"""close-delimited on exchanges made by hand."""

from __future__ import annotations

from typing import Any

import pytest

from tests.rules.frames import followed, found, rows

UNFRAMED = {"response_framing": "close-delimited", "persistent": False, "response_connection_close": True}


def delimited(**changes: Any) -> list[dict[str, Any]]:
    return found("close-delimited", rows("closes", followed(**UNFRAMED | changes)))


@pytest.mark.parametrize(
    ("changes", "who"),
    [
        ({}, "it says Connection: close"),
        ({"response_connection_close": False, "request_connection_close": True}, "the request said Connection: close"),
        ({"response_connection_close": False, "response_version": "HTTP/1.0"}, "it is HTTP/1.0"),
        ({"response_connection_close": False, "request_version": "HTTP/1.0"}, "the request was HTTP/1.0"),
    ],
)
def test_who_announced_the_close(changes: dict[str, Any], who: str) -> None:
    assert [who in c["announced"] for c in delimited(**changes)] == [True]


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"persistent": True}, id="missing-framing"),
        pytest.param({"response_framing": "content-length"}, id="length is known"),
        pytest.param({"response_framing": "none"}, id="204, 304, HEAD"),
        pytest.param({"response_has_transfer_encoding": True}, id="unfinished-transfer-coding"),
        pytest.param({"request_method": "CONNECT"}, id="CONNECT"),
        pytest.param({"upgraded": True}, id="101"),
        pytest.param({"has_request": False}, id="request not captured"),
    ],
)
def test_silent(changes: dict[str, Any]) -> None:
    assert delimited(**changes) == []


def test_an_empty_body_is_a_body() -> None:
    assert [c["body_bytes"] for c in delimited(response_body_bytes=None)] == [0]


@pytest.mark.parametrize(("version", "may_be_chunked"), [("HTTP/1.1", True), ("HTTP/1.0", False)])
def test_a_client_of_http_1_0_gets_no_chunks(version: str, may_be_chunked: bool) -> None:
    [one] = delimited(request_version=version)
    assert one["if_unknown"].startswith(", or Transfer-Encoding: chunked") == may_be_chunked
    assert ("have the client send HTTP/1.1" in one["if_unknown"]) != may_be_chunked
