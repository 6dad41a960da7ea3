"""Record streams and bodies without framing, and healthy twins with framing."""

from __future__ import annotations

from scenario import Connection, Find, Lab, Steps, curl, get, node, raw_server, raw_talk, recording

CLOSE = {"do": "close"}
ROWS = [b"".join(b"row %d,%04d,open\n" % (piece, row) for row in range(12)) for piece in range(5)]
SIZE = sum(map(len, ROWS))
URL = "http://10.9.0.2:8080/rows.csv"
URL6 = "http://[fd00:9::2]:8080/rows.csv"


def _paused(pieces: list[bytes], pauses: list[float]) -> Steps:
    return [step for pair in zip(pieces, pauses, strict=True) for step in pair]


def _stream(*fields: bytes) -> Steps:
    """Return the steps of a server that flushes a stream with these header fields in five pieces."""
    head = b"\r\n".join((b"HTTP/1.1 200 OK", b"Content-Type: text/csv", *fields, b"", b""))
    pieces = [b"%x\r\n%s\r\n" % (len(rows), rows) for rows in ROWS] if fields[0].startswith(b"Transfer") else ROWS
    return _paused([head + pieces[0], *pieces[1:]], [0.15, 0.3, 0.2, 0.25, 0.15])


@recording(
    title="A stream without chunks: flushed piece by piece, and ended by the close, twice",
    at="client",
    software=("python", "curl"),
    connections=(Connection((get("/rows.csv", SIZE, response_framing="close-delimited"),), closed_by="server", repeat=2),),
    finds=tuple(Find("unchunked-streaming", None, "server", number) for number in range(2)),
    suffix="pcapng",
)
def unchunked_stream(lab: Lab) -> None:
    """A server answers an HTTP/1.1 request with Connection: close and neither Content-Length nor
    Transfer-Encoding, flushes five pieces 150 to 300 ms apart, and closes."""
    raw_server(lab, [[*_stream(b"Connection: close"), CLOSE]])
    for _ in range(2):
        curl(lab, URL)


@recording(
    title="A stream in chunks",
    at="client",
    software=("python", "curl"),
    connections=(Connection((get("/rows.csv", SIZE, response_framing="chunked"),), closed_by="client", repeat=2),),
    must_not={"unchunked-streaming": "it is chunked"},
)
def chunked_stream(lab: Lab) -> None:
    """The healthy twin of unchunked-stream: the same pieces, the same pauses, with Transfer-Encoding: chunked, on a
    connection that is kept."""
    raw_server(lab, [[*_stream(b"Transfer-Encoding: chunked"), b"0\r\n\r\n"]])
    for _ in range(2):
        curl(lab, URL)


@recording(
    title="No framing, and the connection stays open: the client waits 2.5 s for the end of the response, twice",
    at="client",
    software=("python", "curl"),
    connections=(Connection((get("/rows.csv", SIZE, response_framing="close-delimited"),), closed_by="server", repeat=2),),
    finds=tuple(Find("missing-framing", "left-waiting", "server", number) for number in range(2)),
    must_not={"unchunked-streaming": "the body came at once", "premature-close": "nothing else could end the response"},
)
def unframed_left_waiting(lab: Lab) -> None:
    """An HTTP/1.1 response with neither Content-Length, Transfer-Encoding nor Connection: close. Head and body are sent together;
    the server closes 2.5 s later, and only then is curl done."""
    raw_server(lab, [[b"HTTP/1.1 200 OK\r\nContent-Type: text/csv\r\n\r\n" + b"".join(ROWS), 2.5, CLOSE]])
    for _ in range(2):
        curl(lab, URL)


@recording(
    title="No framing, and the server closes at once, twice; IPv6",
    at="server",
    software=("python", "curl"),
    connections=(Connection((get("/rows.csv", SIZE, response_framing="close-delimited"),), closed_by="server", repeat=2),),
    finds=tuple(Find("missing-framing", "closed", "server", number) for number in range(2)),
    must_not={"premature-close": "nothing else could end the response"},
)
def unframed_closed(lab: Lab) -> None:
    """Like unframed-left-waiting, but the server closes right after the body; recorded over IPv6."""
    raw_server(lab, [[b"HTTP/1.1 200 OK\r\nContent-Type: text/csv\r\n\r\n" + b"".join(ROWS), CLOSE]])
    for _ in range(2):
        curl(lab, URL6)


@recording(
    title="Chunk extensions and trailer fields; IPv6",
    at="client",
    software=("python", "curl"),
    connections=(Connection((get("/rows.csv", SIZE, response_framing="chunked", repeat=3),)),),
    suffix="pcapng",
)
def chunk_extensions_and_trailers(lab: Lab) -> None:
    """Three GETs by curl on one connection over IPv6. The hand-written server sends each response in one write, with chunk
    extensions (a token and a quoted string) and two trailer fields after the last chunk."""
    extensions = (b";part=1", b';note="a; quoted\\" \\r\\n string"', b" ; spaced = yes", b"", b";last")
    chunks = [b"%x%s\r\n%s\r\n" % (len(rows), extra, rows) for rows, extra in zip(ROWS, extensions, strict=True)]
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: Digest, X-Rows\r\n\r\n"
    trailer = b"0;end\r\nDigest: sha-256=4REjxQ4yrqUVicfSKYNO/cF9zNj5ANbzgDZt3/h3Qxo=\r\nX-Rows: 60\r\n\r\n"
    raw_server(lab, [[head + b"".join(chunks) + trailer]])
    curl(lab, URL6, URL6, URL6)


KEPT = b"GET /rows.csv HTTP/1.1\r\nHost: 10.9.0.2:8080\r\nConnection: keep-alive\r\n\r\n"
FRAMED = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nrows\n"
UNFRAMED = b"HTTP/1.1 200 OK\r\nContent-Type: text/csv\r\nConnection: %s\r\n\r\n"
BODY = b"".join(ROWS)
TWICE = [[KEPT, {"read": ["GET"]}, 0.01, KEPT, {"read": ["GET"]}, {"do": "wait"}]] * 2
SECOND_UNFRAMED = (
    Connection((get("/rows.csv", 5), get("/rows.csv", SIZE, response_framing="close-delimited")), closed_by="server", repeat=2),
)
HELD = tuple(Find("nagle-delayed-ack", "head-body-split", "server", number, measured=True) for number in range(2))
UNFRAMED_CLOSED = tuple(Find("missing-framing", "closed", "server", number) for number in range(2))


@recording(
    title="No framing on a connection that should stay open, and the body waits for the ACK of the head, twice",
    at="server",
    software=("python",),
    connections=SECOND_UNFRAMED,
    finds=(*HELD, *UNFRAMED_CLOSED),
    must_not={"premature-close": "nothing else could end the response", "unchunked-streaming": "the body came at once"},
)
def unframed_held(lab: Lab) -> None:
    """The first scenario of Microsoft's KB Q240146: the request asks to keep the connection, the response agrees, has neither
    Content-Length nor Transfer-Encoding, and is written in two sends. The server closes 150 ms later: the body had
    left with the delayed ACK. An ordinary exchange goes before, because Linux acknowledges at once at first."""
    raw_talk(lab, [[FRAMED], [UNFRAMED % b"keep-alive", BODY, 0.15, CLOSE]], TWICE)


@recording(
    title="No framing but Connection: close, and the body waits for the ACK of the head",
    at="client",
    software=("python",),
    connections=SECOND_UNFRAMED,
    finds=(*HELD, *(Find("close-delimited", None, "server", number, note=True) for number in range(2))),
    must_not={"missing-framing": "the close was announced", "unchunked-streaming": "the body came at once"},
)
def unframed_held_close_announced(lab: Lab) -> None:
    """`Connection: close` makes the missing length legal. The body waits for the delayed ACK of the head, as in unframed-held."""
    raw_talk(lab, [[FRAMED], [UNFRAMED % b"close", BODY, 0.15, CLOSE]], TWICE)


@recording(
    title="No framing, head and body in two writes, and the close flushes the body, twice",
    at="server",
    software=("python",),
    connections=SECOND_UNFRAMED,
    finds=UNFRAMED_CLOSED,
    must_not={"nagle-delayed-ack": "the body left with the FIN, at once"},
)
def unframed_with_fin(lab: Lab) -> None:
    """Like unframed-held, but the server closes at once: its kernel sends the body together with the FIN."""
    raw_talk(lab, [[FRAMED], [UNFRAMED % b"keep-alive", BODY, CLOSE]], TWICE)


@recording(
    title="No framing, head and body in two writes without Nagle's algorithm, twice",
    at="server",
    software=("python",),
    connections=SECOND_UNFRAMED,
    finds=UNFRAMED_CLOSED,
    must_not={"nagle-delayed-ack": "TCP_NODELAY is set"},
)
def unframed_nodelay(lab: Lab) -> None:
    """Like unframed-held, with TCP_NODELAY: only the framing is missing."""
    raw_talk(lab, [[FRAMED], [UNFRAMED % b"keep-alive", BODY, 0.15, CLOSE]], TWICE, nodelay=True)


@recording(
    title="node answers HTTP/1.0 requests with bodies that end when the connection closes",
    at="client",
    software=("node", "ab"),
    connections=(Connection((get("/stream/1/0", 40, response_framing="close-delimited"),), closed_by="server", repeat=3),),
    finds=tuple(Find("close-delimited", None, "server", number, note=True) for number in range(3)),
    must_not={"missing-framing": "HTTP/1.0 without keep-alive", "premature-close": "nothing else could end the response"},
)
def node_close_delimited(lab: Lab) -> None:
    """ab asks node three times in HTTP/1.0 for something of unknown length; node may not send chunks and says
    `Connection: close`."""
    node(lab, "node_app.js")
    lab.client.run("ab", "-q", "-n", "3", "-c", "1", "http://10.9.0.2:8080/stream/1/0")
