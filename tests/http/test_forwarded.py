"""Test reading the addresses of a gateway's clients from heads."""

from __future__ import annotations

from typing import Any

import pytest

from tests.http.talk import exchanges


def asked(*fields: str) -> dict[str, Any]:
    """The exchange of a request with these fields."""
    lines = "".join(f"{field}\\r\\n" for field in fields)
    [row] = exchanges(
        f'0.011 > P. "GET / HTTP/1.1\\r\\n{lines}\\r\\n"\n0.022 < P. "HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n"\n'
    )
    return row


@pytest.mark.parametrize(
    ("fields", "addresses"),
    [
        (["X-Forwarded-For: 192.0.2.1"], "192.0.2.1"),
        (["X-Forwarded-For: 192.0.2.1, 2001:DB8::1"], "192.0.2.1, 2001:db8::1"),
        (["X-Forwarded-For: 192.0.2.1", "X-Forwarded-For: 192.0.2.2:81"], "192.0.2.1, 192.0.2.2:81"),
        (["X-Forwarded-For: ann, 192.0.2.1"], "unknown, 192.0.2.1"),
        (["Forwarded: for=192.0.2.1;proto=https, FOR=192.0.2.2"], "192.0.2.1, 192.0.2.2"),
        (["Forwarded: by=192.0.2.9; for=_hidden"], "unknown"),
        (["Forwarded: for=192.0.2.1", "X-Forwarded-For: 192.0.2.2"], "192.0.2.2"),
        (["X-Real-IP: 192.0.2.1"], ""),
    ],
)
def test_addresses_of_clients(fields: list[str], addresses: str) -> None:
    row = asked(*fields)
    assert row["request_forwarded"]
    assert row["request_forwarded_for"] == addresses


@pytest.mark.parametrize("field", ["X-Forwarded-Host: a", "X-Forwarded-Server: a", "X-Real-IP: 192.0.2.1", "Via: 1.1 a"])
def test_fields_that_gateways_add(field: str) -> None:
    row = asked(field)
    assert row["request_forwarded"]
    assert row["request_forwarded_server"] == field.startswith("X-Forwarded-Server")


def test_no_gateway() -> None:
    row = asked("Host: a", "X-Forwarded-Proto: https", "User-Agent: curl/8")
    assert (row["request_forwarded"], row["request_forwarded_for"], row["request_forwarded_server"]) == (False, "", False)
