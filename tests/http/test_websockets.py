"""Test reading WebSocket fields from heads: whether there is a key, and the protocol version (RFC 6455 sections 4.1 and 4.4)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.http.talk import exchanges


def upgrade(asked: str = "", answered: str = "") -> dict[str, Any]:
    """The exchange of a request and a response with these field lines."""
    [row] = exchanges(
        f'0.011 > P. "GET /chat HTTP/1.1\\r\\n{asked}\\r\\n"\n'
        f'0.022 < P. "HTTP/1.1 400 No\\r\\nContent-Length: 0\\r\\n{answered}\\r\\n"\n'
    )
    return row


@pytest.mark.parametrize(("line", "there"), [("Sec-WebSocket-Key: AQ==", True), ("sec-websocket-KEY: AQ==", True),
                                             ("Sec-WebSocket-Key:", False), ("Sec-WebSocket-Keys: AQ==", False)])  # fmt: skip
def test_whether_there_is_a_key(line: str, there: bool) -> None:
    assert upgrade(f"{line}\\r\\n")["request_has_websocket_key"] == there


def test_without_the_fields_there_is_nothing() -> None:
    row = upgrade()
    assert not row["request_has_websocket_key"]
    assert row["request_websocket_version"] is None
    assert row["response_websocket_version"] is None


@pytest.mark.parametrize(("value", "version"), [("13", 13), ("13, 8, 7", 13), ("8,13", 8), ("0", 0), ("999", 999), ("1000", None),
                                                ("-1", None), ("x", None), ("", None)])  # fmt: skip
def test_the_version_is_the_first_that_is_named(value: str, version: int | None) -> None:
    line = f"Sec-WebSocket-Version: {value}\\r\\n"
    row = upgrade(line, line)
    assert row["request_websocket_version"] == version
    assert row["response_websocket_version"] == version


def test_of_two_lines_the_first_counts() -> None:
    lines = "Sec-WebSocket-Version: 13\\r\\nSec-WebSocket-Version: 8\\r\\n"
    assert upgrade(answered=lines)["response_websocket_version"] == 13
