"""Heads show the values that docs/pages/secrets.md lists, and mask all others."""

from __future__ import annotations

import pytest

from wiredoctor.report.packets.heads import MAX_LINE, MAX_LINES, head_lines, masked_field
from wiredoctor.text.redact import showing_secrets


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("Server: nginx/1.25", "Server: nginx/1.25"),
        ("content-length: 12", "content-length: 12"),
        ("Content-Length: 12 hunter2", "Content-Length: (masked)"),
        ("Content-Type: text/html; charset=utf-8", "Content-Type: text/html; (masked)"),
        ("Content-Type: hunter2", "Content-Type: (masked)"),
        ("Connection: keep-alive, hunter2", "Connection: keep-alive, (masked)"),
        ("Keep-Alive: timeout=5, max=100, x=hunter2", "Keep-Alive: timeout=5, max=100, (masked)"),
        ("Transfer-Encoding: gzip, chunked", "Transfer-Encoding: gzip, chunked"),
        ("Authorization: Basic aHVudGVyMg==", "Authorization: Basic (masked)"),
        ("Authorization: hunter2", "Authorization: (masked)"),
        ('WWW-Authenticate: Digest realm="hunter2"', "WWW-Authenticate: Digest (masked)"),
        ("Host: ann:hunter2@example.com", "Host: (masked)@example.com"),
        ("Cookie: sid=hunter2", "Cookie: (masked)"),
        ("Location: /?code=hunter2", "Location: (masked)"),
        ("User-Agent: curl\rCookie: hunter2", "User-Agent: curl (masked)"),
        (" hunter2", "  (masked)"),
        ("hunter2zzA91b : x", "(masked): (masked)"),
        ("hunter2", "(masked)"),
        ("Upgrade: websocket", "Upgrade: websocket"),
        ("Expect: 100-continue", "Expect: 100-continue"),
        ("Expect: hunter2", "Expect: (masked)"),
        # what cannot be a secret by its grammar (RFC 9110, RFC 9111)
        ("Accept: text/html, hunter2/x, */*;q=0.8", "Accept: text/html, (masked), */*;q=0.8"),
        ("Accept-Encoding: gzip, hunter2", "Accept-Encoding: gzip, (masked)"),
        ("Accept-Language: de-DE, en;q=0.5, hunter2", "Accept-Language: de-DE, en;q=0.5, (masked)"),
        ("Cache-Control: max-age=60, private, x=hunter2", "Cache-Control: max-age=60, private, (masked)"),
        ("Date: Fri, 20 Nov 2026 12:47:30 GMT", "Date: Fri, 20 Nov 2026 12:47:30 GMT"),
        ("Date: hunter2", "Date: (masked)"),
        ("Range: bytes=0-99, -5", "Range: bytes=0-99, -5"),
        ("Content-Range: bytes 0-99/*", "Content-Range: bytes 0-99/*"),
        ("Allow: GET, HUNTER2", "Allow: GET, (masked)"),
        ("Retry-After: 120", "Retry-After: 120"),
        ('ETag: "hunter2"', "ETag: (masked)"),
    ],
)
def test_values_are_shown_by_a_list(line: str, shown: str) -> None:
    assert masked_field(line) == shown


def test_masks_differ_from_what_was_sent() -> None:
    head = b"GET /* HTTP/1.1\r\nAccept: */*, hunter2\r\nCookie: *\r\nUser-Agent: *\r\n\r\n"
    lines = ["GET /* HTTP/1.1", "Accept: */*, (masked)", "Cookie: (masked)", "User-Agent: *"]
    assert head_lines(head, "GET /* HTTP/1.1") == (lines, 0)


def test_with_secrets_all_is_shown() -> None:
    head = b"GET /?a=hunter2 HTTP/1.1\r\nCookie: hunter2\x1b\n folded\r\n\r\n"
    with showing_secrets(True):
        assert head_lines(head, "GET /?a=hunter2 HTTP/1.1") == (
            ["GET /?a=hunter2 HTTP/1.1", r"Cookie: hunter2\x1b", " folded"],
            0,
        )
    assert head_lines(head, "GET /?a=* HTTP/1.1") == (["GET /?a=* HTTP/1.1", "Cookie: (masked) (masked)", "  (masked)"], 0)


def test_heads_are_bounded() -> None:
    shown, more = head_lines(b"GET / HTTP/1.1\r\n" + b"User-Agent: " + b"x" * 9999 + b"\r\n" + b"a: b\r\n" * 500, "GET")
    assert (len(shown), more) == (MAX_LINES + 1, 501 - MAX_LINES)
    assert len(shown[1]) < MAX_LINE + 30
