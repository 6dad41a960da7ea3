"""Record healthy applications: slow responses, streams, uploads, and protocol switches."""

from __future__ import annotations

import sys

from scenario import PEERS, Connection, Exchange, Lab, curl, get, gunicorn, node, raw_client, raw_talk, recording

NODE = "http://10.9.0.2:8080"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 300\r\n\r\n"
REQUEST = b"GET /late HTTP/1.1\r\nHost: 10.9.0.2:8080\r\n\r\n"


@recording(
    title="node streams chunks 60 to 200 ms apart",
    at="client",
    software=("node", "curl"),
    connections=(Connection(tuple(get(f"/stream/8/{pause}", 8 * 40, response_framing="chunked") for pause in (60, 120, 200))),),
    must_not={"unchunked-streaming": "it is chunked", "nagle-delayed-ack": "the application wrote late"},
)
def node_chunked_stream(lab: Lab) -> None:
    """Three GETs on one connection; node writes eight lines each, 60, 120 and 200 ms apart."""
    node(lab, "node_app.js")
    curl(lab, *[f"{NODE}/stream/8/{pause}" for pause in (60, 120, 200)])


@recording(
    title="Uploads to node, in one body and in chunks",
    at="server",
    software=("node", "curl"),
    connections=(
        Connection(
            (
                Exchange("POST", "/form", 200, 0, request_body=60_000),
                Exchange("PUT", "/stream-in", 200, 0, request_body=30_000),
                get("/bytes/100", 100),
            )
        ),
    ),
)
def node_upload(lab: Lab) -> None:
    """curl posts 60 kB with a Content-Length, then puts 30 kB with `-T -`, which it sends in chunks, then
    asks for 100 bytes, all on one connection."""
    node(lab, "node_app.js")
    again = ["--next", "-sS", "-o", "/dev/null"]
    form = lab.file("form", b"u" * 60_000)
    post = ["-H", "Expect:", "--data-binary", f"@{form}", f"{NODE}/form"]
    put = ["-H", "Expect:", "-T", "-", f"{NODE}/stream-in"]
    curl(lab, *post, *again, *put, *again, f"{NODE}/bytes/100", input=b"s" * 30_000)


@recording(
    title="An upload of 300 kB to node; recorded with a snap length of 256 bytes",
    at="server",
    software=("node", "curl"),
    connections=(Connection((Exchange("POST", "/form", 200, 0, request_body=300_000), get("/bytes/100", 100))),),
    options=("-s", "256"),
    must_not={"snap-length": "heads are whole", "capture-loss": "nothing was lost, only cut"},
    whole=False,
)
def node_upload_snapped(lab: Lab) -> None:
    """curl posts 300 kB with a Content-Length and then asks for 100 bytes on the same connection. Bodies are cut
    short in the recording."""
    node(lab, "node_app.js")
    form = lab.file("form", b"u" * 300_000)
    again = ["--next", "-sS", "-o", "/dev/null"]
    curl(lab, "-H", "Expect:", "--data-binary", f"@{form}", f"{NODE}/form", *again, f"{NODE}/bytes/100")


@recording(
    title="Expect: 100-continue, answered; IPv6",
    at="client",
    software=("node", "curl"),
    connections=(
        Connection(
            (
                Exchange("POST", "/first", 200, 0, request_body=20, interim=(100,)),
                Exchange("POST", "/second", 200, 0, request_body=3_000, interim=(100,)),
            )
        ),
    ),
    must_not={"expect-continue-stall": "the server answered 100"},
)
def expect_continue(lab: Lab) -> None:
    """curl posts 20 and 3,000 bytes with `Expect: 100-continue`; node answers 100 before the body and 200 after it.
    Recorded over IPv6."""
    node(lab, "node_app.js")
    again = ["--next", "-sS", "-o", "/dev/null"]
    urls = [f"http://[fd00:9::2]:8080/{name}" for name in ("first", "second")]
    first, second = (["-H", "Expect: 100-continue", "-d", "e" * size, url] for size, url in zip((20, 3_000), urls, strict=True))
    curl(lab, *first, *again, *second)


@recording(
    title="A protocol switch: 101 and WebSocket frames",
    at="server",
    software=("node", "python"),
    connections=(Connection((get("/bytes/50", 50), Exchange("GET", "/chat", 101, 0, "none")), closed_by="server"),),
    suffix="pcapng",
    must_not={"premature-close": "after 101 it is no HTTP", "excess-body": "these are frames"},
)
def node_websocket(lab: Lab) -> None:
    """A GET, then a GET with Upgrade: websocket on the same connection; node answers 101. The client sends five masked frames 30
    ms apart, each of which is echoed, then a close frame; node closes. Both sides of the upgraded connection are hand-written."""
    node(lab, "node_app.js")
    ordinary = b"GET /bytes/50 HTTP/1.1\r\nHost: 10.9.0.2:8080\r\n\r\n"
    fields = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    key = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    upgrade = b"GET /chat HTTP/1.1\r\nHost: 10.9.0.2:8080\r\n" + fields + key
    frames = [step for text in (b"one", b"two", b"three", b"HTTP/1.1 200", b"") for step in (websocket_frame(1, text), 0.03)]
    raw_client(lab, [[ordinary, {"read": ["GET"]}, upgrade, 0.1, *frames, websocket_frame(8, b"\x03\xe8"), {"do": "wait"}]])


def websocket_frame(opcode: int, payload: bytes) -> bytes:
    """Return a masked WebSocket frame of a client (RFC 6455 section 5.2)."""
    mask = b"\x11\x22\x33\x44"
    masked = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
    return bytes([0x80 | opcode, 0x80 | len(payload)]) + mask + masked


@recording(
    title="gunicorn and requests: keep-alive on the loopback interface",
    at="any",
    software=("gunicorn", "requests"),
    connections=(
        Connection(
            (
                get("/bytes/2000", 2_000),
                get("/chunks/5", 5 * 400, response_framing="chunked"),
                get("/bytes/0", 0),
                get("/bytes/9000", 9_000),
            )
            * 3
        ),
    ),
    interface="lo",
)
def gunicorn_requests(lab: Lab) -> None:
    """gunicorn with threads, a requests.Session on the same host, twelve GETs: some with a Content-Length, some in
    five chunks."""
    gunicorn(lab, "127.0.0.1")
    urls = [f"http://127.0.0.1:8000/{path}" for path in ("bytes/2000", "chunks/5", "bytes/0", "bytes/9000")]
    lab.server.run(sys.executable, str(PEERS / "session.py"), "0.01", *urls * 3)


MIXED = (get("/bytes/2000", 2_000), get("/chunks/5", 5 * 400, response_framing="chunked"), get("/bytes/9000", 9_000))


@recording(
    title="gunicorn and curl: a Content-Length, chunks, a Content-Length",
    at="client",
    software=("gunicorn", "curl"),
    connections=(Connection(MIXED),),
)
def gunicorn_curl(lab: Lab) -> None:
    """One curl command with three URLs on one connection to gunicorn with threads."""
    gunicorn(lab, lab.server.address)
    curl(lab, *[f"http://10.9.0.2:8000/{path}" for path in ("bytes/2000", "chunks/5", "bytes/9000")])


@recording(
    title="gunicorn and ab -k: HTTP/1.0 with keep-alive",
    at="server",
    software=("gunicorn", "ab"),
    connections=(Connection((get("/bytes/700", 700, repeat=12),), closed_by=None),),
)
def gunicorn_ab_keep_alive(lab: Lab) -> None:
    """ab -k sends twelve HTTP/1.0 requests with Connection: keep-alive on one connection."""
    gunicorn(lab, lab.server.address)
    lab.client.run("ab", "-q", "-k", "-n", "12", "-c", "1", "http://10.9.0.2:8000/bytes/700")


@recording(
    title="node and requests: twelve GETs of a Session",
    at="server",
    software=("node", "requests"),
    connections=(
        Connection((get("/bytes/0", 0), get("/bytes/3000", 3_000), get("/stream/3/20", 120, response_framing="chunked")) * 4),
    ),
)
def node_requests(lab: Lab) -> None:
    """A requests.Session, 10 ms between the exchanges; every third response comes in three chunks, 20 ms apart."""
    node(lab, "node_app.js")
    urls = [f"{NODE}/{path}" for path in ("bytes/0", "bytes/3000", "stream/3/20")]
    lab.client.run(sys.executable, str(PEERS / "session.py"), "0.01", *urls * 4)


@recording(
    title="node and ab -k: HTTP/1.0 with keep-alive",
    at="client",
    software=("node", "ab"),
    connections=(Connection((get("/bytes/1000", 1_000, repeat=12),), closed_by="client"),),
)
def node_ab_keep_alive(lab: Lab) -> None:
    """ab -k sends twelve HTTP/1.0 requests with Connection: keep-alive on one connection."""
    node(lab, "node_app.js")
    lab.client.run("ab", "-q", "-k", "-n", "12", "-c", "1", f"{NODE}/bytes/1000")


@recording(
    title="A server that works for 80 ms between head and body",
    at="client",
    software=("python",),
    connections=(Connection((get("/late", 300, repeat=8),)),),
    must_not={"nagle-delayed-ack": "the delayed ACK comes 40 ms before the application writes its body"},
)
def thinking_server(lab: Lab) -> None:
    """Looks like server-head-body-split: Nagle's algorithm is on and the client delays its ACK of the head, but the application
    writes the body only 80 ms after the head."""
    raw_talk(lab, [[HEAD, 0.08, b"b" * 300]], [[step for _ in range(8) for step in (REQUEST, {"read": ["GET"]}, 0.01)]])


@recording(
    title="A server with TCP_NODELAY that works for 45 ms between head and body",
    at="server",
    software=("python",),
    connections=(Connection((get("/late", 300, repeat=8),)),),
    must_not={"nagle-delayed-ack": "TCP_NODELAY is set; the application is late"},
)
def thinking_server_nodelay(lab: Lab) -> None:
    """Like thinking-server, with TCP_NODELAY and a delay of 45 ms, which is close to the delayed-ACK timer."""
    raw_talk(
        lab, [[HEAD, 0.045, b"b" * 300]], [[step for _ in range(8) for step in (REQUEST, {"read": ["GET"]}, 0.01)]], nodelay=True
    )


@recording(
    title="Head and body in two writes without Nagle's algorithm",
    at="server",
    software=("python",),
    connections=(Connection((get("/late", 300, repeat=10),)),),
    must_not={"nagle-delayed-ack": "TCP_NODELAY is set"},
)
def server_two_sends_nodelay(lab: Lab) -> None:
    """The healthy twin of server-head-body-split: the same sends, with TCP_NODELAY."""
    raw_talk(lab, [[HEAD, b"b" * 300]], [[step for _ in range(10) for step in (REQUEST, {"read": ["GET"]}, 0.01)]], nodelay=True)
