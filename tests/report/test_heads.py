"""Heads show the values that docs/pages/secrets.md lists, and mask all others."""

from __future__ import annotations

import pytest

from wiredoctor.report.packets.heads import MOST_LINE, MOST_LINES, lines_of, masked_field
from wiredoctor.text.redact import showing


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("Server: nginx/1.25", "Server: nginx/1.25"),
        ("content-length: 12", "content-length: 12"),
        ("Content-Length: 12 hunter2", "Content-Length: *"),
        ("Content-Type: text/html; charset=utf-8", "Content-Type: text/html; *"),
        ("Content-Type: hunter2", "Content-Type: *"),
        ("Connection: keep-alive, hunter2", "Connection: keep-alive, *"),
        ("Keep-Alive: timeout=5, max=100, x=hunter2", "Keep-Alive: timeout=5, max=100, *"),
        ("Transfer-Encoding: gzip, chunked", "Transfer-Encoding: gzip, chunked"),
        ("Authorization: Basic aHVudGVyMg==", "Authorization: Basic *"),
        ("Authorization: hunter2", "Authorization: *"),
        ('WWW-Authenticate: Digest realm="hunter2"', "WWW-Authenticate: Digest *"),
        ("Host: ann:hunter2@example.com", "Host: *@example.com"),
        ("Cookie: sid=hunter2", "Cookie: *"),
        ("Location: /?code=hunter2", "Location: *"),
        ("User-Agent: curl\rCookie: hunter2", "User-Agent: curl *"),
        (" hunter2", "  *"),
        ("hunter2zzA91b : x", "*: *"),
        ("hunter2", "*"),
        ("Upgrade: websocket", "Upgrade: websocket"),
        ("Expect: 100-continue", "Expect: 100-continue"),
        ("Expect: hunter2", "Expect: *"),
    ],
)
def test_values_are_shown_by_a_list(line: str, shown: str) -> None:
    assert masked_field(line) == shown


def test_with_secrets_all_is_shown() -> None:
    head = b"GET /?a=hunter2 HTTP/1.1\r\nCookie: hunter2\x1b\n folded\r\n\r\n"
    with showing(True):
        assert lines_of(head, "GET /?a=hunter2 HTTP/1.1") == (
            ["GET /?a=hunter2 HTTP/1.1", r"Cookie: hunter2\x1b", " folded"],
            0,
        )
    assert lines_of(head, "GET /?a=* HTTP/1.1") == (["GET /?a=* HTTP/1.1", "Cookie: * *", "  *"], 0)


def test_heads_are_bounded() -> None:
    shown, more = lines_of(b"GET / HTTP/1.1\r\n" + b"User-Agent: " + b"x" * 9999 + b"\r\n" + b"a: b\r\n" * 500, "GET")
    assert (len(shown), more) == (MOST_LINES + 1, 501 - MOST_LINES)
    assert len(shown[1]) < MOST_LINE + 30
