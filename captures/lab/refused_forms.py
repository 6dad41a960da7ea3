"""Record heads, chunk size lines and empty lines that RFC 9110 and RFC 9112 forbid, and that only some clients refuse."""

from __future__ import annotations

from impairments import Conditions
from scenario import Connection, Exchange, Find, Lab, get, raw_server, raw_talk, recording

ROWS = b"row 1,0001,open\nrow 2,0002,open\n"
LENGTH = b"Content-Length: %d" % len(ROWS)
FAR = Conditions(delay=0.02)
"""A round trip of 40 ms."""


def _request(target: bytes = b"/rows.csv", *fields: bytes) -> bytes:
    return b"\r\n".join((b"GET %s HTTP/1.1" % target, b"Host: 10.9.0.2:8080", *fields, b"", b""))


def _head(*lines: bytes) -> bytes:
    return b"\r\n".join((*lines, b"", b""))


def _rows(**more: str) -> Exchange:
    return get("/rows.csv", len(ROWS), **more)


@recording(
    title="A field name with a space, twice",
    at=("client", "server"),
    software=("python",),
    wire=FAR,
    connections=(Connection((_rows(),), repeat=2),),
    finds=tuple(Find("malformed-head", "field-name", "server", number) for number in range(2)),
    must_not={"no-connection-reuse": "a client that refuses such a response closes the connection"},
)
def names_with_spaces(lab: Lab) -> None:
    """The hand-written server adds a field whose name comes from a table of texts."""
    response = _head(b"HTTP/1.1 200 OK", LENGTH, b"Cache Policy: none") + ROWS
    raw_talk(lab, [[response]], [[_request(), 0.1]] * 2)


@recording(
    title="Two spaces in the status line, twice",
    at="server",
    software=("python",),
    connections=(Connection((_rows(),), repeat=2),),
    finds=tuple(Find("malformed-head", "status-line", "server", number) for number in range(2)),
)
def spaces_in_status_line(lab: Lab) -> None:
    """The hand-written server pads the status with a space, as printf does with %4d."""
    raw_talk(lab, [[_head(b"HTTP/1.1  200 OK", LENGTH) + ROWS]], [[_request(), 0.1]] * 2)


@recording(
    title="Chunk sizes that are padded with spaces, twice",
    at="client",
    software=("python",),
    connections=(Connection((_rows(response_framing="chunked"),), repeat=2),),
    finds=tuple(Find("invalid-chunk", "size-line", "server", number) for number in range(2)),
)
def padded_chunk_sizes(lab: Lab) -> None:
    """The hand-written server pads the sizes of its chunks with spaces, as printf does with %-4x."""
    body = b"".join(b"%-4x\r\n%s\r\n" % (len(piece), piece) for piece in (ROWS, b""))
    raw_talk(lab, [[_head(b"HTTP/1.1 200 OK", b"Transfer-Encoding: chunked") + body]], [[_request(), 0.1]] * 2)


@recording(
    title="Transfer-Encoding: identity beside Content-Length: curl waits for the close",
    at="client",
    software=("python", "curl"),
    connections=(Connection((_rows(),)),),
    finds=(Find("conflicting-framing", "identity", "server", 0),),
)
def identity_and_length(lab: Lab) -> None:
    """The hand-written server sets Transfer-Encoding: identity to prevent chunks. curl ignores the length, waits for the close,
    and gives up after 1.5 s."""
    raw_server(lab, [[_head(b"HTTP/1.1 200 OK", b"Transfer-Encoding: identity", LENGTH) + ROWS]])
    lab.client.run("curl", "-sS", "--max-time", "1.5", "http://10.9.0.2:8080/rows.csv", check=False)


@recording(
    title="Odd heads that all clients read",
    at="client",
    software=("python",),
    connections=(Connection((_rows(), _rows(response_framing="chunked"), _rows())),),
)
def odd_but_read(lab: Lab) -> None:
    """A status line without a reason phrase, bytes above 127 in a value, a field name with all characters of a token, spaces
    before a chunk extension, and a chunk size with leading zeros."""
    odd = _head(b"HTTP/1.1 200", b"X-Name: M\xfcller", b"X!#$%&'*+-.^_`|~1: a", LENGTH) + ROWS
    body = b"00%x ; a=b\r\n%s\r\n0\r\n\r\n" % (len(ROWS), ROWS)
    chunked = _head(b"HTTP/1.1 200 ", b"Transfer-Encoding: Chunked") + body
    raw_talk(lab, [[odd], [chunked], [odd]], [[_request(), 0.1] * 3])
