"""What HTTP, and what pretends to be it, is made of: for mutators of payload and for harnesses that speak."""

from __future__ import annotations

METHODS = [b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"CONNECT", b"PATCH", b"PRI", b"BREW", b"x" * 41]
TARGETS = [b"/", b"/a?b=c&d", b"*", b"http://u:p@h/", b"/ /", b"/\x1b[31m", b"/%00", b"/" + b"y" * 300, b"a:1", b"/\xff"]
VERSIONS = [b"HTTP/1.1", b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2.0", b"HTTP/1.10", b"http/1.1", b"HTTP/1."]
STATUSES = [
    *(b"200 OK", b"204 No Content", b"304 Not Modified", b"100 Continue", b"101 Switching Protocols", b"103 Early Hints"),
    *(b"401 Unauthorized", b"404", b"408 Request Timeout", b"413 Too Large", b"500 \x00", b"503 ", b"999 ?", b"099 Low"),
]
FIELDS = [
    *(b"Host: a", b"Host: <script>alert(1)</script>", b"Connection: close", b"Connection: keep-alive", b"Connection: Upgrade"),
    *(b"Upgrade: h2c", b"Upgrade: websocket", b"Expect: 100-continue", b"Keep-Alive: timeout=5, max=100"),
    *(b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: identity", b"Transfer-Encoding:"),
    *(b"Content-Length: 0", b"Content-Length: 5", b"Content-Length: 100000", b"Content-Length: -1", b"Content-Length: 5, 5"),
    *(b"Content-Length: 5, 6", b"Content-Length: 9223372036854775807", b"Content-Length: " + b"9" * 300, b"Content-Length: +5"),
    *(b"Content-Type: text/event-stream", b"Content-Type: application/x-ndjson", b"Content-Encoding: gzip", b"Date: now"),
    *(b"Content-Type: multipart/x-mixed-replace; boundary=x", b"Server: nginx/1.24", b"Server: =cmd|' /C calc'!A0"),
    *(b"Via: 1.1 p", b"Keep-Alive: timeout=0"),
    *(b"User-Agent: curl/8", b"User-Agent: \xe2\x80\xae", b"WWW-Authenticate: NTLM", b"WWW-Authenticate: Digest stale=true"),
    *(b"Authorization: Basic YTpi", b"Authorization: Digest username=\"a\"", b"Authorization: NTLM TlRM"),
    *(b"X-Accel-Buffering: no",),
    *(b"Host : a", b" folded", b"\tfolded", b"no colon", b": empty", b"X\x00: y", b"A: " + b"z" * 2000),
]  # fmt: skip
LINES = [b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"\n\n", b"\n\r\n", b"\r\n \r\n"]
CHUNKS = [
    *(b"0\r\n\r\n", b"5\r\nhello\r\n", b"a;x=\"y\"\r\n0123456789\r\n", b"ffffffffffffffff\r\n", b"-1\r\n", b"5 \r\nhello\n"),
    *(b"00000000000000000005\r\nhello\r\n", b"0\r\nX: y\r\n\r\n", b"g\r\n", b"5\r\nhello!\r\n", b"1\nx\n"),
    b"5;" + b"e" * 200 + b"\r\n",
]  # fmt: skip
OTHER = [
    *(b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"SSH-2.0-x\r\n", b"\x00" * 16),
    *(b"data: x\n\n", b"{\"a\":1}\n", b"--x\r\n\r\ny\r\n", b"\x81\x05hello", b"\x1b]0;title\x07", b"[bold red]x[/]", b"`|<b>*_"),
]  # fmt: skip
HEADS = [
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST /u HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.0 200 OK\r\n\r\nto the close",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"CONNECT a:1 HTTP/1.1\r\n\r\n",
]

EVERY = [*METHODS, *TARGETS, *VERSIONS, *STATUSES, *FIELDS, *LINES, *CHUNKS, *OTHER, *HEADS]


def dictionary() -> str:
    """A dictionary for libFuzzer: each token as a quoted string."""
    quoted = ("".join(chr(b) if 32 < b < 127 and b not in b'"\\' else f"\\x{b:02X}" for b in token) for token in EVERY)
    return "".join(f'"{text}"\n' for text in quoted if len(text) < 200)
