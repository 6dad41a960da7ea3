"""Record closes that were not announced, healthy twins whose close was announced, and NTLM, which needs its connection."""

from __future__ import annotations

import sys

from scenario import PEERS, Connection, Exchange, Find, Lab, curl, get, nginx, raw_server, raw_talk, recording

REFUSAL = (
    b'HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm="reports"\r\n'
    b"Content-Type: text/plain\r\nContent-Length: 25\r\n{more}\r\nPlease say who you are.\r\n"
)
SILENT, ANNOUNCED = (REFUSAL.replace(b"{more}", more) for more in (b"", b"Connection: close\r\n"))
CLOSE, WAIT, READ = {"do": "close"}, {"do": "wait"}, {"read": ["GET"]}
FINE = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfine\n"
UNAUTHORIZED = Connection((Exchange("GET", "/report", 401, 25),), closed_by="server", repeat=3)
REQUEST = b"GET /report HTTP/1.1\r\nHost: 10.9.0.2:8080\r\n\r\n"


@recording(
    title="A 401 with an unannounced close, three times",
    at="client",
    software=("python", "requests"),
    connections=(UNAUTHORIZED,),
    finds=tuple(Find("premature-close", None, "server", number) for number in range(3)),
)
def unauthorized_closes(lab: Lab) -> None:
    """A server answers without credentials with a 401 that has a Content-Length and no Connection: close, and
    closes at once. A requests.Session asks three times, 300 ms apart; its pool meets a closed connection each time."""
    raw_server(lab, [[SILENT, CLOSE]])
    lab.client.run(sys.executable, str(PEERS / "session.py"), "0.3", *["http://10.9.0.2:8080/report"] * 3)


@recording(
    title="The second request of a connection is refused, and the connection is closed unannounced",
    at="server",
    software=("python",),
    connections=(Connection((get("/report", 5), Exchange("GET", "/report", 401, 25)), closed_by="server", repeat=2),),
    finds=tuple(Find("premature-close", None, "server", number) for number in range(2)),
)
def second_exchange_closes(lab: Lab) -> None:
    """Like unauthorized-closes, but a GET was answered on the connection before. The client waits for the server's close and
    sends nothing more."""
    raw_talk(
        lab, [[FINE], [SILENT, CLOSE]], [[REQUEST, {"read": ["GET"]}, 0.05, REQUEST, {"read": ["GET"]}, {"do": "wait"}, 0.2]] * 2
    )


@recording(
    title="A 401 with Connection: close, and the close, twice",
    at="client",
    software=("python", "requests"),
    connections=(Connection((Exchange("GET", "/report", 401, 25),), closed_by=None, repeat=2),),
    must_not={"premature-close": "the close was announced"},
)
def unauthorized_close_announced(lab: Lab) -> None:
    """The healthy twin of unauthorized-closes: the same server sends Connection: close. Then either side may close first."""
    raw_server(lab, [[ANNOUNCED, CLOSE]])
    lab.client.run(sys.executable, str(PEERS / "session.py"), "0.3", *["http://10.9.0.2:8080/report"] * 2)


@recording(
    title="nginx without keep-alive sends Connection: close, and closes",
    at="server",
    software=("nginx", "curl"),
    connections=(
        Connection((get("/small.txt", 700),), closed_by=None),
        Connection((get("/large.txt", 20_000),), closed_by=None),
    ),
    must_not={"premature-close": "the close was announced"},
)
def nginx_connection_close(lab: Lab) -> None:
    """nginx with keepalive_timeout 0, two GETs by curl, each on its own connection."""
    nginx(lab, "keepalive_timeout 0;", small=700, large=20_000)
    curl(lab, "http://10.9.0.2/small.txt", "http://10.9.0.2/large.txt")


CHALLENGE = (
    b"HTTP/1.1 401 Unauthorized\r\nContent-Type: text/plain\r\nContent-Length: 7\r\nWWW-Authenticate: NTLM%s\r\n\r\ndenied\n"
)
TOKEN = b" TlRMTVNTUAACAAAABgAGADgAAAAFgokCASNFZ4mrze8AAAAAAAAAAAAAAAA+AAAABgGxHQAAAA9MAEEAQgA="
HANDSHAKE = tuple(
    REQUEST.replace(b"\r\n\r\n", b"\r\n" + fields + b"\r\n")
    for fields in (
        b"",
        b"Authorization: NTLM TlRMTVNTUAABAAAAB4IIAAAAAAAAAAAAAAAAAAAAAAA=\r\n",
        b"Authorization: NTLM TlRMTVNTUAADAAAAGAAYAEgAAAAYABgAYAAAAAAAAAA=\r\n",
    )
)
REFUSED = Exchange("GET", "/report", 401, 7)


@recording(
    title="A connection is closed in the middle of an NTLM handshake",
    at="client",
    software=("python",),
    connections=(Connection((REFUSED, REFUSED), closed_by="server"),),
    finds=(Find("auth-connection-closed", None, "server", 0),),
    must_not={"premature-close": "it is said more exactly"},
)
def ntlm_closed(lab: Lab) -> None:
    """A hand-written server answers the second step of NTLM with a challenge and closes the connection without announcing it,
    although the third step must come on that connection."""
    raw_talk(lab, [[CHALLENGE % b""], [CHALLENGE % TOKEN, CLOSE]], [[HANDSHAKE[0], READ, 0.02, HANDSHAKE[1], READ, WAIT]])


@recording(
    title="A correct NTLM handshake, on one connection",
    at="client",
    software=("python",),
    connections=(Connection((REFUSED, REFUSED, get("/report", 5))),),
    must_not={"auth-connection-closed": "the connection was kept", "repeated-auth-challenge": "NTLM needs two challenges"},
)
def ntlm_kept(lab: Lab) -> None:
    """The healthy twin of ntlm-closed."""
    raw_talk(
        lab, [[CHALLENGE % b""], [CHALLENGE % TOKEN], [FINE]], [[step for request in HANDSHAKE for step in (request, READ, 0.02)]]
    )
