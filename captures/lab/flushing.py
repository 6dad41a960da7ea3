"""Record data that is flushed and arrives in time, data that something buffers, and messages in many tiny chunks."""

from __future__ import annotations

import sys

from everywhere import everywhere
from far_streams import CHUNKED, CSV, EVENT, EVENT_BYTES, EVENTS, HEAD, LAST, READ, chunk
from scenario import PEERS, Connection, Find, Lab, curl, get, nginx, node, raw_client, raw_server, raw_talk, recording

FRAMED = {"response_framing": "chunked"}
ASK = b"GET /%s HTTP/1.1\r\nHost: 10.9.0.2:8080\r\n\r\n"


def _asked(lab: Lab, target: bytes) -> None:
    raw_client(lab, [[ASK % target, READ, 0.02]])


@everywhere(
    title="Events 15, 50 and 130 ms apart, the first after 600 ms",
    software=("python",),
    connections=(Connection((get("/events", EVENT_BYTES, **FRAMED),) * 3),),
    must_not={
        "buffered-stream": "each event comes when it is written",
        "tinygrams": "they are events",
        "nagle-delayed-ack": "the application wrote late",
    },
)
def events_fast(lab: Lab, _: float) -> None:
    """Three GETs on one connection, each answered with six events, 15, 50 and 130 ms apart; the server waits 600 ms before
    the first. TCP_NODELAY is set."""
    pieces = [*map(chunk, EVENT)]
    answers = [
        [0.6, HEAD % (EVENTS, CHUNKED) + pieces[0], *(step for piece in pieces[1:] for step in (pause, piece)), LAST]
        for pause in (0.015, 0.05, 0.13)
    ]
    raw_talk(lab, answers, [[step for _ in answers for step in (ASK % b"events", READ, 0.02)]], nodelay=True)


@recording(
    title="An event stream with pauses of 0.7 to 1.2 s",
    at="server",
    software=("python", "curl"),
    connections=(Connection((get("/events", EVENT_BYTES, **FRAMED),)),),
    must_not={"buffered-stream": "each event comes when it is written", "slow-response": "the pauses are the stream's"},
)
def events_with_pauses(lab: Lab) -> None:
    """Six events, text/event-stream in chunks; the head goes out at once, the events after 0.7 to 1.2 s each."""
    pauses = (0.7, 1.2, 0.9, 0.8, 1.1, 0.7)
    steps = [step for event, pause in zip(EVENT, pauses, strict=True) for step in (pause, chunk(event))]
    raw_server(lab, [[HEAD % (EVENTS, CHUNKED), *steps, LAST]])
    curl(lab, "http://10.9.0.2:8080/events")


@everywhere(
    title="Events that arrive in blocks: three blocks of four, 700 ms apart",
    rtts=(20,),
    software=("python",),
    connections=(Connection((get("/events", 2 * EVENT_BYTES, **FRAMED),)),),
    must_not={"slow-response": "the head came at once", "buffered-stream": "what a program says at once looks the same"},
)
def events_in_blocks(lab: Lab, _: float) -> None:
    """Something buffers events until it has four, which takes 700 ms. The head of the response passes at once. A dashboard that
    writes four events every 700 ms sends the same."""
    twelve = [*map(chunk, EVENT * 2)]
    steps = [step for first in (0, 4, 8) for step in (0.7, b"".join(twelve[first : first + 4]))]
    raw_server(lab, [[HEAD % (EVENTS, CHUNKED), *steps, LAST]])
    _asked(lab, b"events")


PART = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: 2000\r\n\r\n" + b"\xff" * 2000 + b"\r\n"
PICTURES = 5
CAMERA = b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\nConnection: close\r\n\r\n"
CLOSE = {"do": "close"}


@recording(
    title="Pictures of a camera arrive together, twice",
    at="client",
    software=("python", "curl"),
    connections=(
        Connection(
            (get("/camera", PICTURES * len(PART) + 11, response_framing="close-delimited"),), closed_by="server", repeat=2
        ),
    ),
    must_not={"close-delimited": "a camera has no end", "buffered-stream": "five pictures are too few to tell"},
)
def camera_held(lab: Lab) -> None:
    """Five pictures, multipart/x-mixed-replace, which a server sends all at once 800 ms after the request; the body ends with the
    connection, like that of many cameras."""
    raw_server(lab, [[0.8, CAMERA + PART * PICTURES + b"--frame--\r\n", CLOSE]])
    for _ in range(2):
        curl(lab, "http://10.9.0.2:8080/camera")


@recording(
    title="Pictures of a camera, 120 ms apart",
    at="client",
    software=("python", "curl"),
    connections=(
        Connection((get("/camera", PICTURES * len(PART) + 11, response_framing="close-delimited"),), closed_by="server"),
    ),
    must_not={
        "buffered-stream": "each picture comes when it is written",
        "unchunked-streaming": "a camera has no end",
        "close-delimited": "a camera has no end",
    },
)
def camera(lab: Lab) -> None:
    """The fix for camera-held: each picture is sent when it is ready. It streams without chunks, like cameras."""
    steps = [step for _ in range(PICTURES - 1) for step in (0.12, PART)]
    raw_server(lab, [[0.6, CAMERA + PART, *steps, b"--frame--\r\n", CLOSE]])
    curl(lab, "http://10.9.0.2:8080/camera")


@recording(
    title="A middleware collects the lines that an application yields, twice",
    at="client",
    software=("gunicorn", "curl"),
    connections=(Connection((get("/lines/5", 5 * 40, **FRAMED),) * 2, closed_by="client"),),
    must_not={
        "slow-response": "it took less than a second",
        "tiny-chunks": "they are five",
        "buffered-stream": "a query that takes its time and then gives all its rows looks the same",
    },
)
def collected_lines(lab: Lab) -> None:
    """gunicorn with threads. The application yields five lines 150 ms apart, a middleware makes a list of them before the
    first is sent, and gunicorn makes a chunk of each."""
    _flask_like(lab, "collected")
    curl(lab, *["http://10.9.0.2:8000/lines/5"] * 2)


@recording(
    title="An application that yields line by line, without middleware",
    at="client",
    software=("gunicorn", "curl"),
    connections=(Connection((get("/lines/5", 5 * 40, **FRAMED),) * 2, closed_by="client"),),
    must_not={"buffered-stream": "each line comes when it is yielded", "tiny-chunks": "they are five"},
)
def yielded_lines(lab: Lab) -> None:
    """The fix for collected-lines."""
    _flask_like(lab, "application")
    curl(lab, *["http://10.9.0.2:8000/lines/5"] * 2)


def _flask_like(lab: Lab, name: str) -> None:
    """Start gunicorn with an application of peers/yielding.py."""
    words = ["-m", "gunicorn", "--worker-class", "gthread", "--threads", "4", "--chdir", str(PEERS), "--bind", "10.9.0.2:8000"]
    lab.server.serve(8000, sys.executable, *words, f"yielding:{name}", stderr=-3)


@recording(
    title="node writes forty pieces of 40 bytes, 25 ms apart",
    at="server",
    software=("node", "curl"),
    connections=(Connection((get("/stream/40/25", 40 * 40, **FRAMED),)),),
    must_not={
        "tinygrams": "they are 25 ms apart",
        "tiny-chunks": "each is flushed on purpose, and they are 1,600 bytes in all",
        "buffered-stream": "each line comes when it is written",
    },
)
def forty_tiny_chunks(lab: Lab) -> None:
    """node writes forty lines of text/plain, 25 ms apart; each becomes a chunk and a packet."""
    node(lab, "node_app.js")
    curl(lab, "http://10.9.0.2:8080/stream/40/25")


LARGE = [b"%d" % (number % 10) * 1300 for number in range(12)]


@recording(
    title="A server writes the size line, data and end of each chunk separately, without Nagle's algorithm",
    at="server",
    software=("python", "curl"),
    connections=(Connection((get("/rows.csv", sum(map(len, LARGE)), **FRAMED),) * 2),),
    finds=(Find("tiny-chunks", None, "server", 0, 2, note=True),),
    must_not={"tinygrams": "a third of an MSS on average", "nagle-delayed-ack": "TCP_NODELAY is set"},
)
def chunk_lines_alone(lab: Lab) -> None:
    """Twelve chunks of 1,300 bytes; size line, data and CRLF are separate sends, with TCP_NODELAY. Twice."""
    steps = [step for data in LARGE for step in (b"%x\r\n" % len(data), data, b"\r\n")]
    raw_server(lab, [[HEAD % (CSV, CHUNKED), *steps, LAST]], nodelay=True)
    curl(lab, *["http://10.9.0.2:8080/rows.csv"] * 2)


@recording(
    title="nginx compresses a download of 200 kB, in chunks",
    at="client",
    software=("nginx", "curl"),
    connections=(Connection((get("/a.txt", None, **FRAMED),) * 2),),
    must_not={"tiny-chunks": "a chunk is as large as nginx' buffers", "buffered-stream": "it began at once"},
    whole=False,
)
def gzip_download(lab: Lab) -> None:
    """curl --compressed requests a text of 200 kB twice; nginx makes chunks of it when its buffers are full."""
    nginx(lab, "gzip on; gzip_types text/plain; gzip_min_length 0;", a=200_000)
    curl(lab, "--compressed", *["http://10.9.0.2/a.txt"] * 2)


@recording(
    title="nginx announces gzip for a file that is not compressed, and curl --compressed fails",
    at="server",
    software=("nginx", "curl"),
    connections=(Connection((get("/a.txt", 700),), closed_by="client", repeat=2),),
    finds=tuple(Find("undecodable-body", None, "server", number) for number in range(2)),
    must_not={"client-abort": "the client closed after it had received the whole response"},
)
def gzip_announced(lab: Lab) -> None:
    """nginx is configured with add_header Content-Encoding gzip, but without gzip on. curl fails with error 61. The healthy
    twin is gzip-download."""
    nginx(lab, "add_header Content-Encoding gzip;", a=700)
    for _ in range(2):
        curl(lab, "--compressed", "http://10.9.0.2/a.txt", check=False)


MESSAGES = [b"\x00" + len(body).to_bytes(4, "big") + body for body in (b"\x0a\x0aprice %04d" % number for number in range(12))]
TRAILER = b"\x80\x00\x00\x00\x0fgrpc-status:0\r\n"
GRPC = b"application/grpc-web+proto"


@recording(
    title="A gRPC-Web stream: twelve messages, 90 ms apart",
    at="client",
    software=("python", "curl"),
    connections=(Connection((get("/prices", len(b"".join(MESSAGES)) + len(TRAILER), **FRAMED),)),),
    must_not={"tiny-chunks": "each message was waited for", "buffered-stream": "each message comes when it is written"},
)
def grpc_web(lab: Lab) -> None:
    """A server-streaming call in the framing of gRPC-Web: length-prefixed messages in separate chunks, and the trailer in the
    body. The first message arrives 700 ms after the request."""
    steps = [step for message in MESSAGES[1:] for step in (0.09, chunk(message))]
    raw_server(lab, [[0.7, HEAD % (GRPC, CHUNKED) + chunk(MESSAGES[0]), *steps, chunk(TRAILER) + LAST]], nodelay=True)
    curl(lab, "http://10.9.0.2:8080/prices")
