"""Record hand-written messages whose framing is wrong, or whose heads are malformed."""

from __future__ import annotations

import sys
from typing import Any

from impairments import Conditions
from scenario import PEERS, SEEN, Connection, Exchange, Find, Lab, get, raw_talk, recording, unanswered

ROWS = b"row 1,0001,open\nrow 2,0002,open\n"
REQUEST = b"GET /rows.csv HTTP/1.1\r\nHost: 10.9.0.2:8080\r\n\r\n"
OLD_REQUEST = b"GET /rows.csv HTTP/1.0\r\nHost: 10.9.0.2:8080\r\n\r\n"
READ = 0.1
"""The time in seconds for which the client reads before it closes."""


def _head(*lines: bytes) -> bytes:
    return b"\r\n".join((*lines, b"", b""))


def _chunked(*pieces: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (*pieces, b""))


def _answered(lab: Lab, response: bytes, request: bytes = REQUEST) -> None:
    """Send `request` on each of two connections; the server writes `response` in one send."""
    raw_talk(lab, [[response]], [[request, READ]] * 2)


def _twice(rule: str, exchange: Exchange, kind: str | None = None, side: str = "server") -> dict[str, Any]:
    """Return the label of two connections with this exchange, and the finding expected on each."""
    finds = tuple(Find(rule, kind, side, number) for number in range(2))
    return {"connections": (Connection((exchange,), repeat=2),), "finds": finds}


@recording(
    title="A body that is longer than its Content-Length, twice",
    at="client",
    software=("python",),
    **_twice("excess-body", get("/rows.csv", len(ROWS))),
)
def longer_than_announced(lab: Lab) -> None:
    """The hand-written server counts characters instead of bytes, so nine more bytes follow the body."""
    _answered(lab, _head(b"HTTP/1.1 200 OK", b"Content-Length: %d" % len(ROWS)) + ROWS + b"\xc3\xa4" * 4 + b"\n")


@recording(
    title="A 304 that has a body, twice",
    at="server",
    software=("python",),
    **_twice("body-not-allowed", Exchange("GET", "/rows.csv", 304, 0, "none")),
)
def not_modified_with_body(lab: Lab) -> None:
    """The hand-written server answers 304 Not Modified, but writes the page after the head."""
    _answered(lab, _head(b"HTTP/1.1 304 Not Modified", b'ETag: "1"') + ROWS)


@recording(
    title="A server that answers each request twice",
    at="client",
    software=("python",),
    connections=(Connection((get("/rows.csv", len(ROWS)), Exchange("", "", 200, len(ROWS))), repeat=2),),
    finds=tuple(Find("unsolicited-response", None, "server", number) for number in range(2)),
)
def answered_twice(lab: Lab) -> None:
    """The handler of the hand-written server continues after its response, and sends a second one."""
    response = _head(b"HTTP/1.1 200 OK", b"Content-Length: %d" % len(ROWS)) + ROWS
    raw_talk(lab, [[response, 0.02, response]], [[REQUEST, READ]] * 2)


@recording(
    title="A chunked body without the empty line at its end, twice",
    at="client",
    software=("python",),
    **_twice("missing-framing", get("/rows.csv", len(ROWS), response_framing="chunked"), "final-crlf"),
    must_not={"idle-close": "the client waits for the end of the response"},
    unassembled=True,
)
def no_final_crlf(lab: Lab) -> None:
    """The hand-written server ends the body with 0, CRLF. Its client waits 1.5 s for the empty line, and gives up."""
    response = _head(b"HTTP/1.1 200 OK", b"Transfer-Encoding: chunked") + _chunked(ROWS).removesuffix(b"\r\n")
    raw_talk(lab, [[response]], [[REQUEST, 1.5]] * 2)


@recording(
    title="Chunk sizes that are written in decimal, twice",
    at="client",
    software=("python",),
    **_twice("invalid-chunk", get("/rows.csv", SEEN, response_framing="chunked")),
    must_not={"client-abort": "the client could not read on", "truncated-response": "what came cannot be read"},
)
def decimal_chunk_sizes(lab: Lab) -> None:
    """The hand-written server writes the sizes of its chunks in decimal. Each chunk seems longer than it is, and has no CRLF at
    its apparent end."""
    body = b"".join(b"%d\r\n%s\r\n" % (len(row), row) for row in ROWS.splitlines(keepends=True) * 4) + b"0\r\n\r\n"
    _answered(lab, _head(b"HTTP/1.1 200 OK", b"Transfer-Encoding: chunked") + body)


@recording(
    title="Content-Length and Transfer-Encoding together, twice",
    at="client",
    software=("python",),
    **_twice("conflicting-framing", get("/rows.csv", len(ROWS), response_framing="chunked")),
)
def length_and_chunks(lab: Lab) -> None:
    """The hand-written server sends chunks, and also the Content-Length that its application had set."""
    fields = b"Content-Length: %d" % len(ROWS), b"Transfer-Encoding: chunked"
    _answered(lab, _head(b"HTTP/1.1 200 OK", *fields) + _chunked(ROWS))


@recording(
    title="Header lines that end with LF alone, twice",
    at="server",
    software=("python",),
    **_twice("malformed-head", get("/rows.csv", len(ROWS)), "bare-lf"),
)
def bare_line_feeds(lab: Lab) -> None:
    """The hand-written server prints its head line by line, like a CGI script, and the line ends are not converted to CRLF."""
    _answered(lab, b"HTTP/1.1 200 OK\nContent-Length: %d\n\n" % len(ROWS) + ROWS)


@recording(
    title="A chunked response to an HTTP/1.0 client, twice",
    at="client",
    software=("python",),
    **_twice("chunked-to-http10", get("/rows.csv", len(ROWS), response_framing="chunked")),
)
def chunks_for_http10(lab: Lab) -> None:
    """The requests are HTTP/1.0, which has no chunks, but the hand-written server sends chunks."""
    _answered(lab, _head(b"HTTP/1.1 200 OK", b"Transfer-Encoding: chunked") + _chunked(ROWS), OLD_REQUEST)


@recording(
    title="A form is posted without Content-Length, twice",
    at="client",
    software=("python",),
    connections=(Connection((Exchange("POST", "/form", 400, 3),), repeat=2),),
    finds=tuple(Find("unframed-request-body", None, "client", number) for number in range(2)),
)
def form_without_length(lab: Lab) -> None:
    """The hand-written client posts a form with neither Content-Length nor Transfer-Encoding, head and body in one send. For the
    server, the request ends with its head; it answers 400."""
    raw_talk(
        lab,
        [[b"HTTP/1.1 400 Bad Request\r\nContent-Length: 3\r\n\r\nno\n"]],
        [[b"POST /form HTTP/1.1\r\nHost: 10.9.0.2:8080\r\n\r\nname=value&other=1", READ]] * 2,
    )


@recording(
    title="Transfer-Encoding: gzip without chunked, twice",
    at="client",
    software=("python",),
    connections=(Connection((get("/rows.csv", len(ROWS), response_framing="close-delimited"),), closed_by="server", repeat=2),),
    finds=tuple(Find("unfinished-transfer-coding", None, "server", number) for number in range(2)),
)
def coding_without_chunks(lab: Lab) -> None:
    """The hand-written server names the compression of its body in Transfer-Encoding instead of Content-Encoding, and closes."""
    raw_talk(
        lab, [[_head(b"HTTP/1.1 200 OK", b"Transfer-Encoding: gzip") + ROWS, {"do": "close"}]], [[REQUEST, {"do": "wait"}]] * 2
    )


WORKS, FAILS = get("/works", 300), unanswered("GET", "/fails")


@recording(
    title="A traceback in place of a response: to the first request of a connection, and to the third",
    at=("client", "server"),
    software=("python", "curl"),
    wire=Conditions(delay=0.01),
    connections=(Connection((FAILS,), closed_by=None), Connection((WORKS, WORKS, FAILS), closed_by=None)),
    finds=tuple(Find("malformed-head", "no-status-line", "server", number) for number in range(2)),
    must_not={
        "excess-body": "the responses before it were whole",
        "no-response": "something came in answer",
        "client-abort": "the client could not read on",
        "premature-close": "a request had come, and failed",
    },
    unassembled=True,
)
def traceback_for_a_response(lab: Lab) -> None:
    """A hand-written server for WSGI-like programs sends the traceback of a failing program to the client, and closes. curl sends
    one request on one connection, and three on another."""
    lab.server.serve(8080, sys.executable, str(PEERS / "careless.py"), "8080")
    for targets in (("fails",), ("works", "works", "fails")):
        urls = [f"http://10.9.0.2:8080/{target}" for target in targets]
        lab.client.run("curl", "-sS", "--max-time", "20", *urls, check=False)
