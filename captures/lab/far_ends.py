"""Record how connections end, at every capture point: unannounced closes, the requests lost because of them, and the fixes."""

from __future__ import annotations

from closes import ANNOUNCED, CHALLENGE, HANDSHAKE, REFUSED, SILENT, TOKEN
from everywhere import everywhere
from lifetimes import ANSWERED_AND_LOST, CLOSE, FINE, READ, REQUEST, WAIT
from scenario import Connection, Exchange, Find, Lab, get, raw_client, raw_server, raw_talk, unanswered

FORGET = {"do": "forget"}
AGAIN = [1.5, REQUEST, READ]
"""The steps of a client that tries again on a new connection, which succeeds."""

WORKS = Connection((get("/report", 5),))
CROSSED = Connection((get("/report", 5),), closed_by="both")
ASKED = Exchange("GET", "/report", 401, 25)
NOT_EARLY = {"premature-close": "it had been idle for 1.5 s", "no-response": "it was sent against a closed connection"}


def _race(kind: str) -> Find:
    return Find("keep-alive-race", kind, "client", 0)


@everywhere(
    title="A request and the close of an idle connection cross each other, and a second attempt succeeds",
    rtts=(20,),
    software=("python",),
    connections=(Connection(ANSWERED_AND_LOST, closed_by=None), WORKS),
    finds=(_race("race"),),
    must_not=NOT_EARLY,
)
def crossed(lab: Lab, rtt: float) -> None:
    """A server closes 1.5 s after its response. The client's next request leaves half a round trip before the close arrives."""
    raw_talk(lab, [[FINE, 1.5, CLOSE]], [[REQUEST, READ, 1.5 - rtt / 2, REQUEST, WAIT], AGAIN])


@everywhere(
    title="A pool that closes idle connections before the server does: no race",
    software=("python",),
    connections=(Connection((get("/report", 5, repeat=2),), repeat=2),),
    must_not={"keep-alive-race": "the client closed first", "no-connection-reuse": "connections are used twice"},
)
def retired_in_time(lab: Lab, _: float) -> None:
    """The fix for crossed, stale-pool and forgotten: the server's idle timeout is 1.5 s, that of the client's pool is 1 s. A
    request after a longer idle time gets a new connection."""
    raw_talk(lab, [[FINE], [FINE, 1.5, CLOSE]], [[REQUEST, READ, 0.8, REQUEST, READ, 1.0]] * 2)


@everywhere(
    title="A pool that does not check its connections: a request on a connection that the server had closed, and a "
    "second attempt succeeds",
    software=("python",),
    connections=(Connection(ANSWERED_AND_LOST, closed_by="server"), WORKS),
    finds=(_race("stale-pool"),),
    must_not=NOT_EARLY,
)
def stale_pool(lab: Lab, rtt: float) -> None:
    """A server closes 1.5 s after its response. The client sends its next request half a second after the close has arrived."""
    raw_talk(lab, [[FINE, 1.5, CLOSE]], [[REQUEST, READ, 2.0 + rtt, REQUEST, WAIT], AGAIN])


@everywhere(
    title="The server no longer knows a connection: the next request is answered by a reset, and a second attempt succeeds",
    software=("python",),
    connections=(Connection(ANSWERED_AND_LOST, closed_by="server"), WORKS),
    finds=(_race("forgotten"),),
    must_not=NOT_EARLY,
)
def forgotten(lab: Lab, _: float) -> None:
    """A server drops an idle connection after 1.5 s without a word, as one does that was restarted, or a balancer that is
    full. The client asks again after 2 s, and the server's kernel answers with a reset."""
    raw_talk(lab, [[FINE, 1.5, FORGET]], [[REQUEST, READ, 2.0, REQUEST, WAIT], AGAIN])


@everywhere(
    title="A close right after a response crosses the next request, which follows immediately",
    software=("python",),
    connections=(Connection(ANSWERED_AND_LOST, closed_by=None), CROSSED),
    finds=(_race("race"),),
    must_not={"premature-close": "the race tells more", "no-response": "it was sent against a closed connection"},
)
def early_close_crossed(lab: Lab, rtt: float) -> None:
    """A server closes three quarters of a round trip after its response, without announcing it. The client sends its next request
    a quarter of a round trip after the response has arrived: request and close cross."""
    raw_talk(lab, [[FINE, 0.75 * rtt, CLOSE]], [[REQUEST, READ, 0.25 * rtt, REQUEST, WAIT], AGAIN])


@everywhere(
    title="A close right after a response, and a request on the same connection seconds later",
    software=("python",),
    connections=(Connection(ANSWERED_AND_LOST, closed_by="server"), CROSSED),
    finds=(Find("premature-close", None, "server", 0), _race("stale-pool")),
    must_not={"no-response": "it was sent against a closed connection", "idle-close": "it was not idle"},
)
def early_close_met_later(lab: Lab, rtt: float) -> None:
    """A server closes 5 ms after its response, without announcing it. The client's pool does not check the connection, and uses
    it again 2 s later."""
    raw_talk(lab, [[FINE, 0.005, CLOSE]], [[REQUEST, READ, 2.0 + rtt, REQUEST, WAIT], AGAIN])


@everywhere(
    title="A 401 with an unannounced close",
    software=("python",),
    connections=(Connection((get("/report", 5), ASKED), closed_by="server"), WORKS),
    finds=(Find("premature-close", None, "server", 0),),
    must_not={"keep-alive-race": "nothing was sent on the closed connection", "idle-close": "it was not idle"},
)
def refused_and_closed(lab: Lab, _: float) -> None:
    """A GET is answered; the next one gets a 401 with a Content-Length and without Connection: close, and the server closes 10 ms
    later."""
    raw_talk(lab, [[FINE], [SILENT, 0.01, CLOSE]], [[REQUEST, READ, 0.02, REQUEST, READ, WAIT], AGAIN])


@everywhere(
    title="A 401 with Connection: close, and the close",
    software=("python",),
    connections=(Connection((get("/report", 5), ASKED), closed_by="server"), WORKS),
    must_not={"premature-close": "the close was announced", "lingering-close": "the server closed at once"},
)
def refused_and_announced(lab: Lab, _: float) -> None:
    """The fix for refused-and-closed: the same, with Connection: close on the 401."""
    raw_talk(lab, [[FINE], [ANNOUNCED, 0.01, CLOSE]], [[REQUEST, READ, 0.02, REQUEST, READ, WAIT], AGAIN])


@everywhere(
    title="A connection is closed in the middle of an NTLM handshake",
    software=("python",),
    connections=(Connection((REFUSED, REFUSED), closed_by="server"), Connection((REFUSED,))),
    finds=(Find("auth-connection-closed", None, "server", 0),),
    must_not={"premature-close": "it is said more exactly"},
)
def handshake_closed(lab: Lab, _: float) -> None:
    """Like ntlm-closed."""
    raw_talk(
        lab,
        [[CHALLENGE % b""], [CHALLENGE % TOKEN, CLOSE]],
        [[HANDSHAKE[0], READ, 0.02, HANDSHAKE[1], READ, WAIT], [1.5, HANDSHAKE[0], READ]],
    )


@everywhere(
    title="A server that closes instead of answering",
    software=("python",),
    connections=(Connection((get("/report", 5), unanswered("GET", "/report")), closed_by="server"), WORKS),
    finds=(Find("no-response", "later", "server", 0),),
    must_not={"premature-close": "nothing was answered", "keep-alive-race": "the request came first"},
)
def not_answered(lab: Lab, _: float) -> None:
    """A hand-written server answers a request, reads the next, waits for 50 ms and closes."""
    raw_talk(lab, [[FINE], [0.05, CLOSE]], [[REQUEST, READ, 0.02, REQUEST, WAIT], AGAIN])


@everywhere(
    title="A server that dies in the middle of a body",
    software=("python",),
    connections=(Connection((get("/report", 6_000),), closed_by="server"),) * 2,
    finds=tuple(Find("truncated-response", None, "server", number) for number in range(2)),
    must_not={"premature-close": "the response was not complete", "client-abort": "the server closed"},
    unassembled=True,
)
def cut_short(lab: Lab, rtt: float) -> None:
    """6,000 of 50,000 bytes arrive. After a tenth of a second and a round trip, the hand-written server closes; on a second
    connection, it resets."""
    head = FINE.partition(b"Content-Length")[0] + b"Content-Length: 50000\r\n\r\n"
    for port, end in ((8080, CLOSE), (8081, {"do": "reset"})):
        raw_server(lab, [[head + b"t" * 6_000, 0.1 + rtt, end]], port)
        raw_client(lab, [[REQUEST, WAIT, 1.2]], port)


@everywhere(
    title="A server closes connections that were idle for 1.5 seconds",
    software=("python",),
    connections=(Connection((get("/report", 5, repeat=2),), closed_by="server", repeat=2),),
    finds=(Find("idle-close", None, "server", note=True),),
    must_not={"premature-close": "it had been idle for 1.5 s", "keep-alive-race": "no request was lost"},
)
def rested(lab: Lab, _: float) -> None:
    """A hand-written server closes connections that were idle for 1.5 s; the client closes when it receives the close."""
    raw_talk(lab, [[FINE], [FINE, 1.5, CLOSE]], [[REQUEST, READ, 0.1, REQUEST, READ, WAIT]] * 2)


REFUSAL = b"HTTP/1.1 413 Payload Too Large\r\nConnection: close\r\nContent-Length: 9\r\n\r\ntoo much\n"
UPLOAD = b"POST /upload HTTP/1.1\r\nHost: 10.9.0.2:8080\r\nContent-Length: %d\r\n\r\n"
PIECE = b"u" * 1_000


@everywhere(
    title="A refused upload: the reset that follows may destroy the response",
    software=("python",),
    connections=(Connection((Exchange("POST", "/upload", 413, 9, request_body=6_000),), closed_by="server"), WORKS),
    finds=(Find("reset-destroys-response", None, "server", 0),),
    must_not={"premature-close": "the close was announced", "client-abort": "the server reset the connection"},
    unassembled=True,
)
def refused_upload(lab: Lab, rtt: float) -> None:
    """A client uploads 40 kB in pieces of 1,000 bytes, 40 ms apart. The hand-written server reads only the head, answers 413 and
    closes with unread data: its kernel resets the connection, and the client's next send fails."""
    raw_server(lab, [[0.22 - rtt, REFUSAL, CLOSE]], 8080, "early")
    raw_server(lab, [[FINE]], 8081)
    pieces = [step for _ in range(40) for step in (PIECE, 0.04)]
    raw_client(lab, [[UPLOAD % 40_000, *pieces]], nodelay=True)
    raw_client(lab, [AGAIN], 8081)


@everywhere(
    title="A refused upload that the server reads to its end",
    software=("python",),
    connections=(Connection((Exchange("POST", "/upload", 413, 9, request_body=6_000),), closed_by="server"),),
    must_not={"reset-destroys-response": "the server read all of it", "premature-close": "the close was announced"},
)
def refused_upload_read(lab: Lab, _: float) -> None:
    """The fix for refused-upload: the server reads the whole upload before it closes."""
    raw_server(lab, [[REFUSAL, CLOSE]])
    raw_client(lab, [[UPLOAD % 6_000, *[step for _ in range(6) for step in (PIECE, 0.04)], READ, WAIT]], nodelay=True)


@everywhere(
    title="A client gives up after one second, and the server would answer after two",
    software=("python", "curl"),
    connections=(Connection((get("/report", 5),)),),
    finds=(Find("client-abort", "timeout", "client", 0), Find("slow-response", None, "server", 0, measured=True, note=True)),
    must_not={"no-response": "the client closed first", "premature-close": "the client closed first"},
)
def gives_up(lab: Lab, _: float) -> None:
    """curl --max-time 1; the client's kernel resets the connection when the late response arrives."""
    raw_server(lab, [[2.0, FINE]])
    lab.client.run("curl", "-sS", "--max-time", "1", "http://10.9.0.2:8080/report", check=False)
    lab.client.run("sleep", "2")
