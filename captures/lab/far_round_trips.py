"""Record needless round trips, at every capture point: repeated challenges, and connections that are used once."""

from __future__ import annotations

from closes import SILENT
from everywhere import everywhere
from lifetimes import CLOSE, FINE, READ, REQUEST, WAIT
from scenario import Connection, Exchange, Find, Lab, get, raw_talk
from stalls import BODY, HEAD

CHALLENGED = Exchange("GET", "/report", 401, 25)
WITH_CREDENTIALS = REQUEST.replace(b"\r\n\r\n", b"\r\nAuthorization: Basic cmVhZGVyOnNlY3JldA==\r\n\r\n")
CLOSING = FINE.replace(b"OK\r\n", b"OK\r\nConnection: close\r\n")


@everywhere(
    title="A challenge before each request, although the credentials were accepted before",
    software=("python",),
    connections=(Connection((CHALLENGED, get("/report", 5)) * 5),),
    finds=(Find("repeated-auth-challenge", None, "client", measured=True),),
    must_not={"premature-close": "the client closed"},
)
def challenged_each_time(lab: Lab, _: float) -> None:
    """Five GETs on one connection by a client that sends each without credentials first, gets a 401 and repeats it with
    credentials: pre-authentication is configured, but does not work."""
    raw_talk(lab, [[SILENT], [FINE]] * 5, [[step for _ in range(5) for step in (REQUEST, READ, WITH_CREDENTIALS, READ, 0.02)]])


@everywhere(
    title="One challenge, and then credentials with each request",
    software=("python",),
    connections=(Connection((CHALLENGED, *[get("/report", 5)] * 5)),),
    must_not={"repeated-auth-challenge": "there is one"},
)
def challenged_once(lab: Lab, _: float) -> None:
    """The fix for challenged-each-time: the client sends credentials after the first challenge."""
    raw_talk(lab, [[SILENT], [FINE]], [[REQUEST, READ, *[step for _ in range(5) for step in (WITH_CREDENTIALS, READ, 0.02)]]])


@everywhere(
    title="Keep-alive is off: each of four requests needs its own connection",
    software=("python",),
    connections=(Connection((get("/report", 5),), closed_by="server", repeat=4),),
    finds=(Find("keep-alive-disabled", None, "server", measured=True),),
    must_not={"premature-close": "the close was announced", "no-connection-reuse": "the server would not have it"},
)
def one_each(lab: Lab, _: float) -> None:
    """Four GETs one after the other; the server answers each with Connection: close and closes."""
    raw_talk(lab, [[CLOSING, CLOSE]], [[REQUEST, READ, WAIT]] * 4)


@everywhere(
    title="A client that closes after each response",
    software=("python",),
    connections=(Connection((get("/report", 5),), repeat=4),),
    finds=(Find("no-connection-reuse", None, "client", measured=True),),
    must_not={"keep-alive-disabled": "the server left the connection open", "client-abort": "the response was complete"},
)
def used_once(lab: Lab, _: float) -> None:
    """Four GETs one after the other, each on a new connection, although the server would have kept the connection open."""
    raw_talk(lab, [[FINE]], [[REQUEST, READ, 0.02]] * 4)


@everywhere(
    title="Four requests on one connection",
    software=("python",),
    connections=(Connection((get("/report", 5, repeat=4),)),),
    must_not={"keep-alive-disabled": "the connection is kept", "no-connection-reuse": "the connection is used again"},
)
def one_for_all(lab: Lab, _: float) -> None:
    """The fix for one-each and used-once."""
    raw_talk(lab, [[FINE]], [[step for _ in range(4) for step in (REQUEST, READ, 0.02)]])


@everywhere(
    title="Head and body in one write",
    software=("python",),
    connections=(Connection((get("/report", 300, repeat=6),)),),
    must_not={"nagle-delayed-ack": "each response is one segment"},
)
def one_send(lab: Lab, _: float) -> None:
    """The fix for split-rtt-20 and split-rtt-120: the same responses, written in one piece."""
    raw_talk(lab, [[HEAD + BODY]], [[step for _ in range(6) for step in (REQUEST, READ, 0.01)]])


@everywhere(
    title="Eight pipelined requests",
    software=("python",),
    connections=(Connection((get("/report", 5, repeat=8),)),),
    must_not={
        "slow-response": "responses wait for their turn",
        "nagle-delayed-ack": "eight answers, not pieces of one",
    },
)
def pipelined(lab: Lab, _: float) -> None:
    """Four GETs in one send, twice; the server sends the responses one by one, without Nagle's algorithm."""
    raw_talk(lab, [[FINE]], [[REQUEST * 4, {"read": ["GET"] * 4}, 0.05] * 2], nodelay=True)
