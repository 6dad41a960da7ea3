"""Test reading credentials and challenges from heads: scheme, user, and whether a nonce is stale."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from tests.http.talk import exchanges

REFUSAL = "HTTP/1.1 401 No\\r\\nContent-Length: 0\\r\\n{fields}\\r\\n"


def asked(authorization: str, field: str = "Authorization") -> dict[str, Any]:
    """The exchange of a request with this field."""
    [row] = exchanges(
        f'0.011 > P. "GET / HTTP/1.1\\r\\n{field}: {authorization}\\r\\n\\r\\n"\n'
        '0.022 < P. "HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n"\n'
    )
    return row


def basic(text: str) -> str:
    """Credentials of the scheme Basic, RFC 7617."""
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize("field", ["Authorization", "Proxy-Authorization", "AUTHORIZATION"])
def test_the_scheme_of_credentials(field: str) -> None:
    assert asked("NTLM TlRMTVNTUAAB", field)["request_credentials_scheme"] == "ntlm"
    row = asked(basic("ann:secret"), field)
    assert (row["request_has_credentials"], row["request_credentials_scheme"]) == (True, "basic")


def test_the_same_user_is_known_whatever_the_password() -> None:
    ann, changed, bob = (asked(basic(text))["request_credentials_user"] for text in ("ann:secret", "ann:other:one", "bob:secret"))
    assert ann == changed != bob
    digest = [asked(f"Digest username='{name}', nonce='{nonce}'".replace("'", '\\"')) for name, nonce in
              (("ann", 1), ("ann", 2), ("bob", 3))]  # fmt: skip
    one, again, other = (row["request_credentials_user"] for row in digest)
    assert one == again == ann
    assert other == bob


@pytest.mark.parametrize("authorization", ["NTLM TlRMTVNTUAAB", "Bearer abc", "Digest nonce=1", "", "Basic"])
def test_whose_they_are_is_not_always_said(authorization: str) -> None:
    row = asked(authorization)
    assert row["request_has_credentials"]
    assert row["request_credentials_user"] in (None, 0)


def test_nothing_that_is_no_base64_raises() -> None:
    assert asked("Basic a")["request_credentials_user"] is not None
    assert asked("Basic \\xff\\xfe=")["request_credentials_scheme"] == "basic"


def test_without_credentials_there_is_no_user() -> None:
    [row] = exchanges('0.011 > P. "GET / HTTP/1.1\\r\\n\\r\\n"\n0.022 < P. "HTTP/1.1 204 No\\r\\n\\r\\n"\n')
    assert (row["request_has_credentials"], row["request_credentials_scheme"], row["request_credentials_user"]) == (
        False,
        "",
        None,
    )


@pytest.mark.parametrize(
    ("fields", "stale"),
    [
        ("WWW-Authenticate: Digest realm=a, nonce=b, stale=true\\r\\n", True),
        ("WWW-Authenticate: Digest realm=a, stale = TRUE, nonce=b\\r\\n", True),
        ('Proxy-Authenticate: Digest nonce=b, stale=\\"true\\"\\r\\n', True),
        ("WWW-Authenticate: Basic realm=a\\r\\nWWW-Authenticate: Digest stale=true\\r\\n", True),
        ("WWW-Authenticate: Digest realm=a, stale=false\\r\\n", False),
        ("WWW-Authenticate: Digest realm=a\\r\\n", False),
    ],
)
def test_a_stale_nonce(fields: str, stale: bool) -> None:
    text = REFUSAL.format(fields=fields)
    [row] = exchanges(f'0.011 > P. "GET / HTTP/1.1\\r\\n\\r\\n"\n0.022 < P. "{text}"\n')
    assert row["response_auth_stale"] is stale
