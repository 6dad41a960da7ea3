"""Record streams and pages, and how they end, at every capture point."""

from __future__ import annotations

from everywhere import everywhere
from framing import ROWS, SIZE
from lifetimes import CLOSE, READ, WAIT
from scenario import Connection, Find, Lab, Steps, get, raw_talk

ASK = b"GET /rows.csv HTTP/1.1\r\nHost: 10.9.0.2:8080\r\n\r\n"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\n%s\r\n\r\n"
CSV, EVENTS = b"text/csv", b"text/event-stream"
UNFRAMED, CHUNKED = b"Connection: close", b"Transfer-Encoding: chunked"
BODY = b"".join(ROWS)
LAST = b"0\r\n\r\n"
EVENT = [b'id: %d\ndata: {"price": %d}\n\n' % (number, 100 + number) for number in range(6)]
EVENT_BYTES = sum(map(len, EVENT))


def chunk(content: bytes) -> bytes:
    """Return a chunk without extensions (RFC 9112 section 7.1)."""
    return b"%x\r\n%s\r\n" % (len(content), content)


def _paused(pieces: list[bytes], pause: float) -> Steps:
    return [step for piece in pieces for step in (piece, pause)]


@everywhere(
    title="A stream without chunks",
    rtts=(20,),
    software=("python",),
    connections=(Connection((get("/rows.csv", SIZE, response_framing="close-delimited"),), closed_by="server"),),
    finds=(Find("unchunked-streaming", None, "server", 0),),
    must_not={"close-delimited": "that it streams is more", "premature-close": "the close was announced"},
)
def unchunked(lab: Lab, _: float) -> None:
    """Like unchunked-stream, with pauses of 300 ms between the pieces."""
    raw_talk(lab, [[HEAD % (CSV, UNFRAMED), *_paused(ROWS, 0.3), CLOSE]], [[ASK, READ, WAIT]])


@everywhere(
    title="A stream in chunks",
    software=("python",),
    connections=(Connection((get("/rows.csv", SIZE, response_framing="chunked"),)),),
    must_not={"unchunked-streaming": "it is chunked", "buffered-stream": "its pieces come as they are written"},
)
def in_chunks(lab: Lab, _: float) -> None:
    """The fix for unchunked: the same pieces and pauses, with Transfer-Encoding: chunked, on a connection that is kept."""
    raw_talk(lab, [[HEAD % (CSV, CHUNKED), *_paused([*map(chunk, ROWS)], 0.3), LAST]], [[ASK, READ, 0.02]])


@everywhere(
    title="An event stream that is buffered and arrives in one piece",
    software=("python",),
    connections=(Connection((get("/rows.csv", EVENT_BYTES, response_framing="chunked"),)),),
    must_not={"slow-response": "it took less than a second", "buffered-stream": "what a program says at once looks the same"},
)
def events_held(lab: Lab, _: float) -> None:
    """Six events, text/event-stream in chunks, which something on the server's side buffers: 900 ms after the request, all arrive
    in one send. They are too few to distinguish them from an agent that writes six events at once."""
    raw_talk(lab, [[0.9, HEAD % (EVENTS, CHUNKED) + b"".join(map(chunk, EVENT)) + LAST]], [[ASK, READ, 0.02]])


@everywhere(
    title="An event stream whose events arrive one by one",
    software=("python",),
    connections=(Connection((get("/rows.csv", EVENT_BYTES, response_framing="chunked"),)),),
    must_not={"buffered-stream": "each event comes when it is written", "tiny-chunks": "these are events"},
)
def events_one_by_one(lab: Lab, _: float) -> None:
    """The fix for events-held: the same events, 150 ms apart."""
    raw_talk(lab, [[HEAD % (EVENTS, CHUNKED), *_paused([*map(chunk, EVENT)], 0.15), LAST]], [[ASK, READ, 0.02]])


@everywhere(
    title="No framing, and the connection stays open: the client waits 2 s for the end of the response",
    software=("python",),
    connections=(Connection((get("/rows.csv", SIZE, response_framing="close-delimited"),), closed_by="server"),),
    finds=(Find("missing-framing", "left-waiting", "server", 0, measured=True),),
    must_not={"unchunked-streaming": "the body came at once", "premature-close": "nothing else could end the response"},
)
def no_end(lab: Lab, _: float) -> None:
    """An HTTP/1.1 response with neither Content-Length, Transfer-Encoding nor Connection: close. Head and body are sent together;
    the server closes 2 s later."""
    raw_talk(lab, [[b"HTTP/1.1 200 OK\r\nContent-Type: text/csv\r\n\r\n" + BODY, 2.0, CLOSE]], [[ASK, READ]])


FIVE_CHUNKS = HEAD % (CSV, CHUNKED + b"\r\nConnection: close") + b"".join(map(chunk, ROWS)) + LAST


@everywhere(
    title="The connection stays open for 6 s after the last chunk",
    software=("python",),
    connections=(Connection((get("/rows.csv", SIZE, response_framing="chunked"),), closed_by="server"),),
    finds=(Find("lingering-close", None, "server", 0),),
    must_not={"premature-close": "the close was announced", "idle-close": "the close was announced"},
)
def lingers(lab: Lab, _: float) -> None:
    """A chunked response has Connection: close. The client has the complete response, and waits for the announced close; the
    server closes 6 s later."""
    raw_talk(lab, [[FIVE_CHUNKS, 6.0, CLOSE]], [[ASK, READ, WAIT]])


@everywhere(
    title="The close comes with the last chunk",
    software=("python",),
    connections=(Connection((get("/rows.csv", SIZE, response_framing="chunked"),), closed_by="server"),),
    must_not={"lingering-close": "the server closed at once", "premature-close": "the close was announced"},
)
def closes_with_the_last_chunk(lab: Lab, _: float) -> None:
    """The fix for lingers."""
    raw_talk(lab, [[FIVE_CHUNKS, CLOSE]], [[ASK, READ, WAIT]])


@everywhere(
    title="A body that ends with the connection, which the server closes only 6 s later",
    software=("python",),
    connections=(Connection((get("/rows.csv", SIZE, response_framing="close-delimited"),), closed_by="server"),),
    finds=(
        Find("lingering-close", "close-delimited", "server", 0, measured=True),
        Find("close-delimited", None, "server", 0, note=True),
    ),
    must_not={"premature-close": "the close was announced", "missing-framing": "the close was announced"},
)
def lingers_unframed(lab: Lab, _: float) -> None:
    """A response has Connection: close and neither Content-Length nor Transfer-Encoding: the client must wait for the close to
    know that the response is complete. The server closes 6 s after the last byte."""
    raw_talk(lab, [[HEAD % (CSV, UNFRAMED) + BODY, 6.0, CLOSE]], [[ASK, READ]])
