"""Record bodies whose content ends too early or cannot be decoded, uploads without an end, and healthy ones beside them."""

from __future__ import annotations

import gzip
import json
import zlib

from scenario import Connection, Exchange, Find, Lab, curl, get, raw_server, raw_talk, recording

TEXT = b"".join(b"row %d,%04d,open\n" % (number, number) for number in range(40))
ROWS = json.dumps([{"row": number, "state": "open"} for number in range(20)]).encode()
WHOLE = gzip.compress(TEXT, mtime=0)
BARE = zlib.compress(TEXT)[2:-4]
"""Deflate without the zlib header, as many servers send it."""

URL = "http://10.9.0.2:8080"
POST = b"POST /rows HTTP/1.1\r\nHost: 10.9.0.2:8080\r\n"


def _response(body: bytes, *fields: str, length: int | None = None) -> bytes:
    lines = ("HTTP/1.1 200 OK", *fields, f"Content-Length: {len(body) if length is None else length}", "", "")
    return "\r\n".join(lines).encode() + body


_GZIP, _JSON = "Content-Encoding: gzip", "Content-Type: application/json"
BROKEN = {
    "unfinished": (WHOLE[:-8], _GZIP),
    "checksum": (WHOLE[:-8] + b"\x00" * 4 + WHOLE[-4:], _GZIP),
    "unknown": (TEXT, "Content-Encoding: UTF-8"),
    "json": (ROWS[: len(ROWS) // 2], _JSON),
}
"""For each kind of undecodable-body: a body, and the field that it contradicts."""

GOOD = ((WHOLE, _GZIP), (BARE, "Content-Encoding: deflate"), (ROWS + b"\r\n", _JSON), (gzip.compress(ROWS, mtime=0), _GZIP))
"""Compressed texts, deflate without its header, and complete documents."""


@recording(
    title="Bodies without an end: unfinished gzip, a wrong checksum, a charset as coding, half a JSON document",
    at="client",
    software=("python", "curl"),
    connections=tuple(Connection((get(f"/{kind}", len(body)),), closed_by=None) for kind, (body, _) in BROKEN.items()),
    finds=tuple(Find("undecodable-body", kind, "server", number) for number, kind in enumerate(BROKEN)),
)
def half_documents(lab: Lab) -> None:
    """The hand-written server closes its compressor and its document too early, or names no coding. curl --compressed fails three
    times and accepts the half document."""
    for port, (kind, (body, field)) in enumerate(BROKEN.items(), start=8080):
        raw_server(lab, [[_response(body, field)]], port=port)
        curl(lab, "--compressed", f"http://10.9.0.2:{port}/{kind}", check=False)


@recording(
    title="Complete bodies: gzip, deflate without its header, JSON with a line end, compressed JSON",
    at="client",
    software=("python", "curl"),
    connections=(Connection(tuple(get("/rows", len(body)) for body, _ in GOOD)),),
    must_not={"undecodable-body": "every body is complete"},
)
def whole_documents(lab: Lab) -> None:
    """The healthy twin of half-documents."""
    raw_server(lab, [[_response(*one)] for one in GOOD])
    curl(lab, "--compressed", *[f"{URL}/rows"] * len(GOOD))


@recording(
    title="A length that was counted before compression: curl waits for the rest until its limit of 2 s, twice",
    at="client",
    software=("python", "curl"),
    connections=(Connection((get("/rows", None),), repeat=2),),
    finds=tuple(Find("conflicting-framing", "before-compression", "server", number) for number in range(2)),
    must_not={"client-abort": "the server announced bytes that never come"},
    whole=False,
)
def length_before_compression(lab: Lab) -> None:
    """The hand-written server compresses a body after it has counted its length."""
    raw_server(lab, [[_response(WHOLE, _GZIP, length=len(TEXT))]])
    for _ in range(2):
        curl(lab, "--compressed", "--max-time", "2", f"{URL}/rows", check=False)


@recording(
    title="An upload whose client closes its sending side before the last byte: the server answers 400, twice",
    at="client",
    software=("python",),
    connections=(Connection((Exchange("POST", "/rows", 400, 0, request_body=5),), repeat=2),),
    finds=tuple(Find("unfinished-request", "rejected", "client", number) for number in range(2)),
    whole=False,
)
def upload_without_end(lab: Lab) -> None:
    """The hand-written client announces 50 bytes, sends five, and ends the request with a FIN."""
    refusal = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    steps = [POST + b"Content-Length: 50\r\n\r\nrow 1", 0.1, {"do": "shutdown"}, {"do": "wait"}]
    raw_talk(lab, [[refusal, {"do": "close"}]], [steps] * 2)


@recording(
    title="An upload that the client cancels, twice: the server closes at once",
    at="client",
    software=("python",),
    connections=(Connection((Exchange("POST", "/rows", None, None, "", request_body=5),), repeat=2),),
    finds=tuple(Find("unfinished-request", "canceled", "client", number, note=True) for number in range(2)),
    must_not={"no-response": "the client closed first"},
    whole=False,
)
def upload_canceled(lab: Lab) -> None:
    """The hand-written client announces 50 bytes, sends five, and closes. The healthy twin of upload-without-end."""
    raw_talk(lab, [[{"do": "close"}]], [[POST + b"Content-Length: 50\r\n\r\nrow 1", 0.1]] * 2)


@recording(
    title="A body that ends with its connection is ended by an RST, twice",
    at="client",
    software=("python",),
    connections=(Connection((get("/rows", len(TEXT), response_framing="close-delimited"),), "server", repeat=2),),
    finds=tuple(Find("truncated-response", None, "server", number) for number in range(2)),
    must_not={"close-delimited": "an RST does not end such a body"},
    whole=False,
)
def reset_for_an_end(lab: Lab) -> None:
    """The hand-written server resets the connection 50 ms after the body, instead of closing it."""
    head = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
    raw_talk(
        lab, [[head + TEXT, 0.05, {"do": "reset"}]], [[b"GET /rows HTTP/1.1\r\nHost: 10.9.0.2:8080\r\n\r\n", {"do": "wait"}]] * 2
    )
