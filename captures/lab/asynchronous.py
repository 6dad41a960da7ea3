"""Record uvicorn, hypercorn and aiohttp: streams, uploads, events and WebSockets, at several round-trip times."""

from __future__ import annotations

import sys

from impairments import Conditions
from scenario import PEERS, SEEN, Connection, Exchange, Find, Lab, curl, get, raw_client, recording
from stacks import V4, V6, Wanted, asgi, gets, python_app, python_client

EVERYWHERE = ("client", "middle", "server")
MIXED_PATHS = ("/bytes/2000", "/chunks/5/0", "/bytes/0", "/chunks/4/30", "/bytes/9000")
MIXED = (
    get("/bytes/2000", 2_000),
    get("/chunks/5/0", 2_000, response_framing="chunked"),
    get("/bytes/0", 0),
    get("/chunks/4/30", 1_600, response_framing="chunked"),
    get("/bytes/9000", 9_000),
)
UPLOADS: list[Wanted] = [("POST", "3000", "/upload"), ("PUT", "~5500", "/upload"), ("PATCH", "20", "/upload")]
UPLOADED = tuple(
    Exchange(method, "/upload", 200, len(f"received {size} bytes\n"), request_body=size)
    for method, size in (("POST", 3_000), ("PUT", 5_500), ("PATCH", 20))
)
EVENTS = {"/events/30/15": 30, "/events/12/45": 12, "/events/8/130": 8}
CHAT = Exchange("GET", "/chat", 101, 0, "none")
FRAMES = {"premature-close": "after 101 it is no HTTP", "excess-body": "these are frames", "tinygrams": "a frame is a message"}


@recording(
    title="uvicorn and httpx: pages, chunks, uploads, redirects and 204; IPv6",
    at="server",
    software=("uvicorn", "httpx"),
    connections=(
        Connection(
            (
                *MIXED,
                *UPLOADED,
                Exchange("GET", "/status/302", 302, 0),
                get("/bytes/300", 300),
                Exchange("POST", "/status/307", 307, 0, request_body=500),
                Exchange("POST", "/bytes/300", 200, 300, request_body=500),
                Exchange("DELETE", "/status/204", 204, 0, "none"),
                Exchange("OPTIONS", "/bytes/10", 200, 10),
            )
        ),
    ),
)
def uvicorn_httpx(lab: Lab) -> None:
    """Twelve requests of one httpx.Client, two of them redirected, all on one connection. Recorded over IPv6."""
    asgi(lab, "uvicorn", address="[::]")
    moved: list[Wanted] = [("GET", "", "/status/302"), ("POST", "500", "/status/307")]
    more: list[Wanted] = [("DELETE", "", "/status/204"), ("OPTIONS", "", "/bytes/10")]
    python_client(lab, "httpx", [*gets(*MIXED_PATHS), *UPLOADS, *moved, *more], V6)


@recording(
    title="uvicorn and httpx over a round trip of 120 ms",
    at=EVERYWHERE,
    software=("uvicorn", "httpx"),
    connections=(Connection((*MIXED, *UPLOADED[:2])),),
    wire=Conditions(0.060),
)
def uvicorn_rtt_120(lab: Lab) -> None:
    """Seven requests of one httpx.Client; one conversation, captured at the client, in the middle and at the server."""
    asgi(lab, "uvicorn")
    python_client(lab, "httpx", [*gets(*MIXED_PATHS), *UPLOADS[:2]])


@recording(
    title="Server-sent events from uvicorn, every 15 to 130 ms; IPv6",
    at="client",
    software=("uvicorn", "curl"),
    connections=(
        Connection(
            tuple(get(f"/events/{n}/{ms}", 20 * n, response_framing="chunked") for n, ms in ((30, 15), (12, 45), (8, 130)))
        ),
    ),
    must_not={
        "nagle-delayed-ack": "events come when they happen",
        "buffered-stream": "they come one by one",
        "tinygrams": "an event is a message",
        "tiny-chunks": "an event is a message",
    },
)
def uvicorn_events(lab: Lab) -> None:
    """Three event streams on one connection; the server ends each of them. Recorded over IPv6."""
    asgi(lab, "uvicorn", address="[::]")
    curl(lab, *[V6 + path for path in EVENTS])


CUT, WHOLE = (Exchange("POST", "/v1/chat/completions", 200, size, "chunked", request_body=12) for size in (None, SEEN))


def _ask(words: int) -> bytes:
    """Return a POST for an answer of 20 words, which breaks off after so many."""
    line = b"POST /v1/chat/completions HTTP/1.1\r\nHost: 10.9.0.2:8080\r\n"
    fields = b"Content-Type: application/json\r\nAccept: application/json\r\nContent-Length: 12\r\n\r\n"
    return line + fields + b'{"words":%d}' % words


@recording(
    title="Every second streamed answer breaks off, because the application fails in the middle",
    at="client",
    software=("uvicorn", "python"),
    connections=(Connection((WHOLE, CUT), closed_by="server", repeat=2),),
    finds=tuple(Find("truncated-response", None, "server", number) for number in range(2)),
    must_not={"idle-cut": "events came until the close", "client-abort": "the server closed first"},
    whole=False,
)
def answers_cut(lab: Lab) -> None:
    """An application on uvicorn streams answers to POSTs, a word every 40 ms. In the second and fourth of four answers, it raises
    an exception after 10 and 16 of 20 words; uvicorn then closes the connection without the last chunk."""
    asgi(lab, "uvicorn")
    raw_client(lab, [[_ask(20), {"read": ["POST"]}, 0.2, _ask(words), {"do": "wait"}] for words in (10, 16)])


@recording(
    title="Three streamed answers to POSTs on one connection, each with its end",
    at="client",
    software=("uvicorn", "python"),
    connections=(Connection((WHOLE,) * 3, closed_by="client"),),
    must_not={"truncated-response": "all answers are complete", "tiny-chunks": "a word is a message"},
)
def answers_whole(lab: Lab) -> None:
    """The twin of answers-cut: the application does not fail."""
    asgi(lab, "uvicorn")
    raw_client(lab, [[_ask(20), {"read": ["POST"]}, 0.2] * 3])


@recording(
    title="A WebSocket between uvicorn and the library websockets",
    at="client",
    software=("uvicorn", "websockets"),
    connections=(Connection((CHAT,), closed_by="server"),),
    must_not=FRAMES,
)
def uvicorn_websocket(lab: Lab) -> None:
    """Twelve messages, each echoed, 30 ms apart. Then the client sends that it is done, and the server closes."""
    asgi(lab, "uvicorn", "--ws", "websockets-sansio")
    lab.client.run(sys.executable, str(PEERS / "talk.py"), "ws://10.9.0.2:8080/chat", "12")


@recording(
    title="uvicorn closes an idle connection after its timeout of 5 seconds",
    at="server",
    software=("uvicorn", "python"),
    connections=(Connection((get("/bytes/300", 300, repeat=2),), closed_by="server"),),
    finds=(Find("idle-close", None, "server", note=True),),
    must_not={"premature-close": "5 seconds are an idle timeout", "keep-alive-race": "no request was under way"},
)
def uvicorn_idle_close(lab: Lab) -> None:
    """A hand-written client sends two requests, and then waits until the server closes."""
    asgi(lab, "uvicorn")
    request = b"GET /bytes/300 HTTP/1.1\r\nHost: 10.9.0.2:8080\r\n\r\n"
    raw_client(lab, [[request, {"read": ["GET"]}, 0.1, request, {"read": ["GET"]}, {"do": "wait"}]])


@recording(
    title="hypercorn and urllib3 over a round trip of 1 ms",
    at=EVERYWHERE,
    software=("hypercorn", "urllib3"),
    connections=(Connection((*MIXED, *UPLOADED)),),
    wire=Conditions(0.0005),
)
def hypercorn_rtt_1(lab: Lab) -> None:
    """Eight requests of one pool of urllib3, among them an upload in chunks; captured at the client, in the middle and at the
    server."""
    asgi(lab, "hypercorn")
    python_client(lab, "urllib3", [*gets(*MIXED_PATHS), *UPLOADS])


@recording(
    title="HTTP/1.1 that is upgraded to HTTP/2: hypercorn and curl",
    at="server",
    software=("hypercorn", "curl"),
    connections=(Connection((Exchange("GET", "/bytes/2000", 101, 0, "none"),)),),
    must_not={"excess-body": "after 101 it is HTTP/2", "premature-close": "after 101 it is HTTP/2"},
)
def hypercorn_upgrade(lab: Lab) -> None:
    """Two GETs of curl --http2 on one connection: the first asks for `Upgrade: h2c`, hypercorn answers 101, and both responses
    are sent in HTTP/2."""
    asgi(lab, "hypercorn")
    curl(lab, "--http2", f"{V4}/bytes/2000", f"{V4}/chunks/4/30")


@recording(
    title="aiohttp and aiohttp over a round trip of 20 ms: pages, chunks, uploads, deflate",
    at=("client", "server"),
    software=("aiohttp",),
    connections=(Connection((*MIXED, *UPLOADED, get("/compressed/20000", SEEN))),),
    wire=Conditions(0.010),
)
def aiohttp_rtt_20(lab: Lab) -> None:
    """Nine requests of one aiohttp.ClientSession to aiohttp's server, which compresses the last."""
    python_app(lab, "aiohttp", "8080")
    python_client(lab, "aiohttp", [*gets(*MIXED_PATHS), *UPLOADS, *gets("/compressed/20000")])


@recording(
    title="aiohttp and aiohttp on one host; IPv6",
    at="client",
    software=("aiohttp",),
    connections=(Connection((*UPLOADED, *MIXED * 2)),),
)
def aiohttp_aiohttp(lab: Lab) -> None:
    """Like aiohttp-rtt-20, with uploads first. Recorded over IPv6."""
    python_app(lab, "aiohttp", "8080")
    python_client(lab, "aiohttp", [*UPLOADS, *gets(*MIXED_PATHS * 2)], V6)


@recording(
    title="A WebSocket between aiohttp and the library websockets, over a round trip of 120 ms",
    at=EVERYWHERE,
    software=("aiohttp", "websockets"),
    connections=(Connection((CHAT,), closed_by="server"),),
    must_not=FRAMES,
    wire=Conditions(0.060),
)
def aiohttp_websocket_rtt_120(lab: Lab) -> None:
    """Like uvicorn-websocket, six messages over a wire with 60 ms in each direction."""
    python_app(lab, "aiohttp", "8080")
    lab.client.run(sys.executable, str(PEERS / "talk.py"), "ws://10.9.0.2:8080/chat", "6")
