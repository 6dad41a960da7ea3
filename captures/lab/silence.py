"""Record data that is never acknowledged: paths that fail, forget, or carry only small packets, and their healthy twins."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from faults import Fault, Start
from forging import Icmp
from impairments import Conditions
from scenario import (
    PEERS,
    Connection,
    Exchange,
    Find,
    Lab,
    curl,
    get,
    nginx,
    over_ipv6,
    raw_client,
    raw_server,
    raw_talk,
    recording,
    unanswered,
)

if TYPE_CHECKING:
    from pathlib import Path

    from network import Host

REQUEST = b"GET /report HTTP/1.1\r\nHost: 10.9.0.2:8080\r\n\r\n"
FINE = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 300\r\n\r\n" + b"f" * 300
READ = {"read": ["GET"]}
REPORT, LOST = get("/report", 300), unanswered("GET", "/report")
PAGE = get("/size/300", 300)
TO_SERVER, FROM_SERVER = ("client",), ("server",)
ERRORS_TOO = "tcp or icmp or icmp6"
LATER = Start(seconds=1.0)
"""A second after the SYN, when one exchange has ended and the next has not begun."""

NOBODY = {
    "client-abort": "the client gave up because nothing came",
    "slow-response": "the server was not slow",
    "no-response": "the server did not close",
    "truncated-response": "the server did not close",
    "retransmission-stall": "it was never repaired",
    "capture-loss": "the network lost it, not the recording",
}
HEALTHY = {
    "unanswered": "all that was sent was acknowledged in the end",
    "client-abort": "the client waited for everything",
    "capture-loss": "the network lost it, not the recording",
}


def _said(kind: str, connection: int = 0, **more: Any) -> tuple[Find, ...]:
    return (Find("unanswered", kind, None, connection, **more),)


def _pages(lab: Lab, *options: str) -> None:
    lab.server.serve(8080, sys.executable, str(PEERS / "silence_server.py"), "8080", *options)


def _ask(lab: Lab, *steps: dict[str, Any], library: str = "requests", timeout: float = 8, host: str = "10.9.0.2") -> None:
    """Run peers/silence_client.py with these steps."""
    words = [library, f"http://{host}:8080", str(timeout), json.dumps(steps)]
    lab.client.run(sys.executable, str(PEERS / "silence_client.py"), *words)


def _ask_pages(lab: Lab, *steps: dict[str, Any], **how: Any) -> None:
    """Start peers/silence_server.py, and run its client with these steps."""
    _pages(lab)
    _ask(lab, *steps, **how)


OVER_IPV6 = "[fd00:9::2]"


# A link that carries small packets only.

HOLE = (Connection((PAGE, Exchange("POST", "/up", None, None, "", request_body=8_000)), closed_by=""),)
"""The connection of a black hole: neither side closed, because the client's FIN is sent only after the data that does not get
through.
"""


def _hole(lab: Lab, host: str = "10.9.0.2", size: int = 8_000, *, again: bool = False) -> None:
    page = {"get": "/size/300"}
    _ask_pages(lab, page, {"post": "/up", "size": size}, *[page] * again, host=host)


@recording(
    title="A path MTU of 1,200 bytes that no router reports: a small GET works, an upload does not",
    at=("client", "middle"),
    software=("python", "requests"),
    connections=HOLE,
    finds=_said("large-only"),
    must_not=NOBODY,
    wire=Conditions(0.010, hops=2, faults=(Fault(sides=TO_SERVER, above=1_200),)),
    whole=False,
)
def black_hole(lab: Lab) -> None:
    """A requests.Session GETs a small page and posts 8,000 bytes. The link after the middle drops IP packets above 1,200 bytes;
    both ends announced an MSS of 1,460, and there is no ICMP. The head, which has its own segment, and the small end of the body
    arrive; no full segment ever does. The client gives up after 8 seconds."""
    _hole(lab)


@recording(
    title="An upload into a path MTU black hole, captured at the server, where its beginning and its end arrive",
    at="server",
    software=("python", "requests"),
    connections=(Connection((PAGE, Exchange("POST", "/up", None, None, "", request_body=8_000 - 5 * 1_448)), closed_by=""),),
    must_not={**NOBODY, "unanswered": "nobody repeats anything here"},
    wire=Conditions(0.010, hops=2, faults=(Fault(sides=TO_SERVER, above=1_200),)),
    whole=False,
)
def black_hole_seen_behind(lab: Lab) -> None:
    """Like black-hole, but recorded after the link. The missing data was sent, but never arrived."""
    _hole(lab)


NO_BODY = (Connection((PAGE, Exchange("POST", "/up", None, None, "", request_body=0)), closed_by=None),)
NARROW = Fault(sides=TO_SERVER, above=1_200)
UP, SMALL = {"post": "/up", "size": 100_000}, {"get": "/size/300"}


@recording(
    title="An upload into a path MTU black hole, captured at the server, which closes after four seconds; the ACK of "
    "its FIN is far ahead",
    at="server",
    software=("python", "requests"),
    connections=NO_BODY,
    finds=_said("large-only", confidence="medium"),
    must_not=NOBODY,
    wire=Conditions(0.010, hops=2, faults=(NARROW,)),
    whole=False,
)
def black_hole_server_closes(lab: Lab) -> None:
    """A requests.Session GETs a small page and posts 100 kB. The head arrives, but nothing of the body. The server waits for four
    seconds and closes; the client's kernel acknowledges the FIN with the sequence number that it has reached."""
    _pages(lab, "4")
    _ask(lab, SMALL, UP)


@over_ipv6(
    black_hole_server_closes,
    title="An upload into a path MTU black hole, captured at the server, which closes after four seconds; IPv6",
    wire=Conditions(0.030, hops=2, faults=(Fault(sides=TO_SERVER, above=1_300),)),
)
def black_hole_server_closes_ipv6(lab: Lab) -> None:
    """Like black-hole-server-closes, over IPv6."""
    _pages(lab, "4")
    _ask(lab, SMALL, UP, host=OVER_IPV6)


@recording(
    title="An upload into a path MTU black hole, captured at the server: node answers with 408",
    at="server",
    software=("node", "requests"),
    connections=(Connection((PAGE, Exchange("POST", "/up", 408, 0, "close-delimited", request_body=0)), closed_by="server"),),
    finds=_said("large-only", confidence="medium"),
    must_not=NOBODY,
    wire=Conditions(0.010, hops=2, faults=(NARROW,)),
    whole=False,
)
def black_hole_408(lab: Lab) -> None:
    """Like black-hole-server-closes, but the server is node, which sends a 408 (Request Timeout) before it closes."""
    lab.server.serve(8080, "node", str(PEERS / "silence_server.js"), "8080", "4000")
    _ask(lab, SMALL, UP)


@recording(
    title="An upload into a path MTU black hole, captured at the server: the end of the body arrives, but the data "
    "before it never does",
    at="server",
    software=("python", "requests"),
    connections=(
        Connection((PAGE, Exchange("POST", "/up", None, None, "", request_body=8_000 - 5 * 1_448)), closed_by=""),
        Connection((PAGE,)),
    ),
    finds=_said("large-only", confidence="medium"),
    must_not=NOBODY,
    wire=Conditions(0.010, hops=2, faults=(NARROW,)),
    whole=False,
)
def black_hole_tail(lab: Lab) -> None:
    """Like black-hole-seen-behind, and 8 seconds later the session GETs the page on a new connection, which shows that the
    capture continued."""
    _hole(lab, size=8_000, again=True)


@recording(
    title="An upload into a path MTU black hole, captured at the server: only the head of the request arrives",
    at="server",
    software=("python", "requests"),
    connections=(*(Connection(one.exchanges, closed_by="") for one in NO_BODY), Connection((PAGE,))),
    must_not={**NOBODY, "unanswered": "nothing here shows that the client sent more"},
    wire=Conditions(0.010, hops=2, faults=(NARROW,)),
    whole=False,
)
def black_hole_nothing_but_the_head(lab: Lab) -> None:
    """Like black-hole-server-closes, but the server waits forever. 8 seconds later the session GETs the page on a new connection.
    A client that stopped sending would look the same."""
    _ask_pages(lab, SMALL, UP, SMALL)


@recording(
    title="A client sends the head of an upload and waits for six seconds, while the server probes the connection",
    at="server",
    software=("python",),
    connections=(Connection((Exchange("POST", "/up", 200, 300, request_body=9_000),)),),
    must_not={**HEALTHY, "no-response": "the server answered", "retransmission-stall": "keep-alive probes are no data"},
    wire=Conditions(0.010, hops=2),
)
def paused_upload(lab: Lab) -> None:
    """The healthy twin of black-hole-server-closes. The client's kernel answers the probes (SO_KEEPALIVE) with the number that
    follows the head, because nothing was sent after it."""
    raw_server(lab, [[FINE]], 8080, "probes")
    head = b"POST /up HTTP/1.1\r\nHost: 10.9.0.2:8080\r\nContent-Length: 9000\r\n\r\n"
    raw_client(lab, [[head, 6, b"u" * 9_000, {"read": ["POST"]}]])


@over_ipv6(
    black_hole,
    title="A path MTU of 1,300 bytes that no router reports; IPv6",
    at="client",
    wire=Conditions(0.030, faults=(Fault(sides=TO_SERVER, above=1_300),)),
)
def black_hole_ipv6(lab: Lab) -> None:
    """Like black-hole, over IPv6, whose links carry 1,280 bytes at least."""
    _hole(lab, OVER_IPV6)


@recording(
    title="An upload of full segments into a path MTU black hole, while small pages arrive on other connections",
    at="client",
    software=("python",),
    connections=(
        Connection((Exchange("POST", "/up", None, None, "", request_body=9 * 1_448),), closed_by=""),
        Connection((get("/size/40", 40),), repeat=3),
    ),
    finds=_said("large-only"),
    must_not=NOBODY,
    wire=Conditions(0.020, faults=(Fault(sides=TO_SERVER, above=1_000),)),
    whole=False,
)
def black_hole_beside_small_pages(lab: Lab) -> None:
    """A client posts nine full segments. Every 2.5 seconds, a small page is requested on a new connection, and arrives. The link
    carries 1,000 bytes."""
    _ask_pages(lab, {"beat": 2.5}, {"post": "/up", "size": 9 * 1_448}, library="http.client")


@recording(
    title="A download into a path MTU black hole: small pages arrive, a larger one does not",
    at=("middle", "server"),
    software=("nginx", "curl"),
    connections=(Connection((get("/small.txt", 300), get("/large.txt", 9_000)), closed_by=None),),
    finds=_said("large-only"),
    must_not=NOBODY,
    wire=Conditions(0.010, hops=2, faults=(Fault(sides=FROM_SERVER, above=1_200, place="client"),)),
)
def black_hole_download(lab: Lab) -> None:
    """The link in front of the client carries 1,200 bytes: nginx's small page passes, its page of 9,000 bytes does not."""
    nginx(lab, small=300, large=9_000)
    again = ["--next", "-sS", "-o", "/dev/null", "--max-time", "8"]
    curl(lab, "http://10.9.0.2/small.txt", *again, "http://10.9.0.2/large.txt", check=False)


@recording(
    title="A download into a path MTU black hole, captured beyond it: full segments never arrive, as sequence numbers show; IPv6",
    at=("client", "middle"),
    software=("node", "curl"),
    connections=(Connection((PAGE, unanswered("GET", "/size/30000")), closed_by=None),),
    finds=_said("large-only", confidence="medium"),
    must_not={name: why for name, why in NOBODY.items() if name != "retransmission-stall"},
    wire=Conditions(0.030, hops=2, faults=(Fault(sides=FROM_SERVER, above=1_300),)),
    whole=False,
)
def black_hole_download_beyond(lab: Lab) -> None:
    """The link in front of the server carries 1,300 bytes. The small page arrives. Of the page of 30,000 bytes, only the server's
    ACKs arrive, whose sequence numbers are ahead. One acknowledges the request, which curl's kernel repeats because the first ACK
    was to come with the response; another acknowledges curl's FIN after 7 seconds."""
    lab.server.serve(8080, "node", str(PEERS / "silence_server.js"), "8080")
    base, again = f"http://{OVER_IPV6}:8080", ["--next", "-g", "-sS", "-o", "/dev/null", "--max-time", "7"]
    curl(lab, "-g", f"{base}/size/300", *again, f"{base}/size/30000", check=False)


def _deaf(host: Host) -> None:
    """Make a host drop ICMP with a firewall: its captures contain what its kernel never reads."""
    for command, protocol in (("iptables", "icmp"), ("ip6tables", "icmpv6")):
        host.run(command, "-A", "INPUT", "-p", protocol, "-j", "DROP")


@recording(
    title="A router reports that packets are too large, and a firewall on the client drops its ICMP errors",
    at="client",
    software=("python", "requests"),
    connections=HOLE,
    finds=_said("too-large"),
    must_not=NOBODY,
    wire=Conditions(0.010, hops=2, faults=(Fault(sides=TO_SERVER, above=1_200, answer=Icmp(4, 1_200)),)),
    expression=ERRORS_TOO,
    whole=False,
)
def too_large(lab: Lab) -> None:
    """Like black-hole, but the router before the link answers with "fragmentation needed", which the client's own firewall
    drops."""
    _deaf(lab.client)
    _hole(lab)


@over_ipv6(
    too_large,
    connections=(Connection((PAGE, Exchange("POST", "/up", None, None, "", request_body=4_000)), closed_by=""),),
    wire=Conditions(0.010, faults=(Fault(sides=TO_SERVER, above=1_300, answer=Icmp(0, 1_300)),)),
)
def too_large_ipv6(lab: Lab) -> None:
    """Like too-large, with ICMPv6's "packet too big" and 4,000 bytes."""
    _deaf(lab.client)
    _hole(lab, OVER_IPV6, 4_000)


def _page_too_large(lab: Lab, host: str = "10.9.0.2") -> None:
    _deaf(lab.server)
    nginx(lab, small=300, large=9_000)
    again = ["--next", "-g", "-sS", "-o", "/dev/null", "--max-time", "8"]
    curl(lab, "-g", f"http://{host}/small.txt", *again, f"http://{host}/large.txt", check=False)
    time.sleep(1)


@recording(
    title="A router reports that the packets of a page are too large, and a firewall on the server drops its ICMP errors",
    at=("middle", "server"),
    software=("nginx", "curl"),
    connections=(Connection((get("/small.txt", 300), get("/large.txt", 9_000)), closed_by=None),),
    finds=_said("too-large"),
    must_not=NOBODY,
    wire=Conditions(0.010, hops=2, faults=(Fault(sides=FROM_SERVER, above=1_200, answer=Icmp(4, 1_200), place="client"),)),
    expression=ERRORS_TOO,
    whole=False,
)
def page_too_large(lab: Lab) -> None:
    """Like too-large, the other way: nginx' small page passes, its page of 9,000 bytes does not."""
    _page_too_large(lab)


@over_ipv6(
    page_too_large,
    at="server",
    wire=Conditions(0.010, faults=(Fault(sides=FROM_SERVER, above=1_300, answer=Icmp(0, 1_300)),)),
)
def page_too_large_ipv6(lab: Lab) -> None:
    """Like page-too-large, with ICMPv6's "packet too big"."""
    _page_too_large(lab, OVER_IPV6)


HEEDED = (Connection((PAGE, Exchange("POST", "/up", 200, 5, request_body=8_000))),)


@recording(
    title="A router reports that packets are too large, and the client sends smaller ones",
    at=("client", "middle"),
    software=("python", "requests"),
    connections=HEEDED,
    must_not={**HEALTHY, "retransmission-stall": "smaller segments follow at once"},
    wire=Conditions(0.010, hops=2, faults=(Fault(sides=TO_SERVER, above=1_200, answer=Icmp(4, 1_200)),)),
    expression=ERRORS_TOO,
)
def path_mtu(lab: Lab) -> None:
    """The healthy twin of too-large."""
    _hole(lab)


@over_ipv6(path_mtu, at="client", wire=Conditions(0.010, faults=(Fault(sides=TO_SERVER, above=1_300, answer=Icmp(0, 1_300)),)))
def path_mtu_ipv6(lab: Lab) -> None:
    """The healthy twin of too-large-ipv6."""
    _hole(lab, OVER_IPV6)


# Connections that were forgotten.

TWICE = (Connection((PAGE, unanswered("GET", "/size/300")), closed_by=""), Connection((PAGE,)))
RESTED = ({"get": "/size/300"}, {"rest": 8}, {"get": "/size/300"})
BOTH_WAYS = Fault(rested=6.0)


@recording(
    title="A NAT dropped its entry for a connection that was idle for 8 seconds: the pool's next request is lost, a "
    "new connection works",
    at=("client", "middle"),
    software=("python", "requests"),
    connections=TWICE,
    finds=_said("after-idle"),
    must_not={**NOBODY, "keep-alive-race": "the server did not close", "idle-close": "nobody closed"},
    wire=Conditions(0.010, faults=(BOTH_WAYS,)),
)
def forgotten_silently(lab: Lab) -> None:
    """A requests.Session GETs a page, is idle for 8 seconds, GETs the page again, waits 8 seconds without an answer, and GETs it
    on a new connection. A device after the middle has dropped all packets of the first connection since it was idle for 6
    seconds."""
    _ask_pages(lab, *RESTED, {"get": "/size/300"})
    time.sleep(2)


@over_ipv6(
    forgotten_silently,
    title="A NAT dropped its entry for a connection that was idle for 8 seconds; IPv6",
    at="client",
    software=("python", "urllib3"),
    wire=Conditions(0.050, faults=(BOTH_WAYS,)),
)
def forgotten_silently_ipv6(lab: Lab) -> None:
    """Like forgotten-silently, over IPv6, with urllib3."""
    _ask_pages(lab, *RESTED, {"get": "/size/300"}, library="urllib3", host=OVER_IPV6)
    time.sleep(2)


@recording(
    title="A NAT dropped its entry for a connection, captured at the server, where the connection is only idle",
    at="server",
    software=("python", "requests"),
    connections=(Connection((PAGE,), closed_by=""), Connection((PAGE,))),
    must_not={**NOBODY, "unanswered": "at the server nothing is sent in vain"},
    wire=Conditions(0.010, faults=(BOTH_WAYS,)),
)
def forgotten_silently_seen_behind(lab: Lab) -> None:
    """Like forgotten-silently, recorded after the device."""
    _ask_pages(lab, *RESTED, {"get": "/size/300"})


@recording(
    title="A NAT dropped its entry for a connection in one direction: the response is lost, and the server retransmits it",
    at="server",
    software=("python", "requests"),
    connections=(Connection((PAGE, PAGE), closed_by=None),),
    finds=_said("after-idle"),
    must_not=NOBODY,
    wire=Conditions(0.010, faults=(Fault(sides=FROM_SERVER, rested=6.0),)),
)
def forgotten_towards_the_client(lab: Lab) -> None:
    """Like forgotten-silently, but only the server's packets are dropped, and the client does not try again."""
    _ask_pages(lab, *RESTED)


@over_ipv6(forgotten_towards_the_client, wire=Conditions(0.030, faults=(Fault(sides=FROM_SERVER, rested=6.0),)))
def forgotten_towards_the_client_ipv6(lab: Lab) -> None:
    """Like forgotten-towards-the-client, over IPv6."""
    _ask_pages(lab, *RESTED, host=OVER_IPV6)


@recording(
    title="A connection survives 8 seconds of idle time; IPv6",
    at="server",
    software=("python", "requests"),
    connections=(Connection((PAGE, PAGE)),),
    must_not=HEALTHY,
    wire=Conditions(0.030),
)
def rest_survived_ipv6(lab: Lab) -> None:
    """Like rest-survived, over IPv6."""
    _ask_pages(lab, *RESTED, host=OVER_IPV6)


@recording(
    title="A connection survives 8 seconds of idle time",
    at=("client", "server"),
    software=("python", "requests"),
    connections=(Connection((PAGE, PAGE)),),
    must_not=HEALTHY,
    wire=Conditions(0.010),
)
def rest_survived(lab: Lab) -> None:
    """The healthy twin of forgotten-silently."""
    _ask_pages(lab, *RESTED)


@recording(
    title="A NAT dropped its entry for a connection that is not used again: only its close is lost",
    at="client",
    software=("python", "requests"),
    connections=(Connection((PAGE,)),),
    must_not={**NOBODY, "unanswered": "nobody was owed anything"},
    wire=Conditions(0.010, faults=(Fault(rested=2.0),)),
)
def forgotten_unused(lab: Lab) -> None:
    """A requests.Session GETs a page, is idle for 3 seconds and ends. Its FIN is retransmitted, but neither side waits for
    anything."""
    _ask_pages(lab, {"get": "/size/300"}, {"rest": 3})
    time.sleep(5)


# Paths that die within a message.

PART = (Connection((Exchange("GET", "/large.txt", 200, None),), closed_by=None),)


def _download(lab: Lab, host: str = "10.9.0.2") -> None:
    nginx(lab, large=120_000)
    curl(lab, "-g", "--max-time", "8", f"http://{host}/large.txt", check=False)
    time.sleep(6)


@recording(
    title="The path from the server dies in the middle of a response; recorded with a snap length of 400 bytes",
    at=("client", "server"),
    software=("nginx", "curl"),
    connections=PART,
    finds=_said("mid-message"),
    must_not=NOBODY,
    wire=Conditions(0.010, faults=(Fault(Start(payload=18_000, side="server"), FROM_SERVER),)),
    options=("-s", "400"),
    whole=False,
)
def path_dies(lab: Lab) -> None:
    """curl gets 18,000 of 120,000 bytes and then nothing for 8 seconds. At the client, only its FIN is never acknowledged; at the
    server, the rest of the response."""
    _download(lab)


@over_ipv6(
    path_dies,
    title="A path dies in both directions in the middle of a response; IPv6; recorded with a snap length of 400 bytes",
    wire=Conditions(0.030, faults=(Fault(Start(payload=30_000, side="server")),)),
)
def path_dies_ipv6(lab: Lab) -> None:
    """Like path-dies, over IPv6, and no packet of the client arrives either."""
    _download(lab, OVER_IPV6)


@recording(
    title="The path to the server dies in the middle of a response: its data is retransmitted repeatedly, although "
    "the client acknowledges it",
    at=("client", "server"),
    software=("nginx", "curl"),
    connections=PART,
    finds=_said("mid-message", confidence="high"),
    must_not=NOBODY,
    wire=Conditions(0.010, faults=(Fault(Start(payload=18_000, side="server"), TO_SERVER),)),
    options=("-s", "400"),
    whole=False,
)
def acknowledgements_lost(lab: Lab) -> None:
    """Like path-dies, in the other direction: the server sends what its congestion window allows, and retransmits it."""
    _download(lab)


UPLOAD = b"POST /up HTTP/1.1\r\nHost: 10.9.0.2:8080\r\nContent-Length: 3000\r\n\r\n" + b"u" * 1_000
CUT_UPLOAD = Exchange("POST", "/up", None, None, "", request_body=2_000)


@recording(
    title="A path dies in the middle of an upload",
    at=("client", "middle"),
    software=("python",),
    connections=(Connection((CUT_UPLOAD,), closed_by=""),),
    finds=_said("mid-message"),
    must_not=NOBODY,
    wire=Conditions(0.010, faults=(Fault(LATER),)),
    whole=False,
)
def path_dies_in_upload(lab: Lab) -> None:
    """A hand-written client sends a head and 1,000 of 3,000 bytes, and 1,000 more after 1.3 seconds; by then, a device after the
    middle drops everything. The client gives up after 8 seconds."""
    _pages(lab)
    raw_client(lab, [[UPLOAD, 1.3, b"u" * 1_000, 8]])


@recording(
    title="The path from the server dies in the middle of an upload, so its ACKs are lost",
    at=("client", "middle", "server"),
    software=("python",),
    connections=(Connection((CUT_UPLOAD,), closed_by=""),),
    finds=_said("mid-message"),
    must_not=NOBODY,
    wire=Conditions(0.010, faults=(Fault(LATER, FROM_SERVER),)),
    whole=False,
)
def path_dies_in_upload_towards_the_client(lab: Lab) -> None:
    """Like path-dies-in-upload, but the client's data arrives, again and again."""
    _pages(lab)
    raw_client(lab, [[UPLOAD, 1.3, b"u" * 1_000, 8]])


# Requests into nothing.

ASKED_TWICE = [REQUEST, READ, 1.2, REQUEST, 8]


@recording(
    title="A path dies between two exchanges: the second request is lost",
    at=("client", "middle"),
    software=("python",),
    connections=(Connection((REPORT, LOST), closed_by=""),),
    finds=_said("gone"),
    must_not=NOBODY,
    wire=Conditions(0.010, faults=(Fault(LATER),)),
)
def gone(lab: Lab) -> None:
    """A hand-written client GETs a page, and again after 1.2 seconds; by then, a device after the middle drops everything. The
    client gives up after 8 seconds."""
    raw_talk(lab, [[FINE]], [ASKED_TWICE])


@over_ipv6(gone, at="client", wire=Conditions(0.060, faults=(Fault(LATER),)))
def gone_ipv6(lab: Lab) -> None:
    """Like gone, over IPv6."""
    raw_talk(lab, [[FINE]], [ASKED_TWICE], address="fd00:9::2")


@recording(
    title="The path from the server dies between two exchanges: the second response is lost",
    at=("middle", "server"),
    software=("python",),
    connections=(Connection((REPORT, REPORT), closed_by=None),),
    finds=_said("gone"),
    must_not=NOBODY,
    wire=Conditions(0.010, faults=(Fault(LATER, FROM_SERVER, place="client"),)),
)
def answer_gone(lab: Lab) -> None:
    """Like gone, but the request arrives; a device before the middle, seen from the client, drops the response. The server
    retransmits the response, and the client its request."""
    raw_talk(lab, [[FINE]], [ASKED_TWICE])


@over_ipv6(answer_gone, at="server", wire=Conditions(0.030, faults=(Fault(LATER, FROM_SERVER),)))
def answer_gone_ipv6(lab: Lab) -> None:
    """Like answer-gone, over IPv6."""
    raw_talk(lab, [[FINE]], [ASKED_TWICE], address="fd00:9::2")


@recording(
    title="A client gives up after three copies, and sends its request on a new connection",
    at="client",
    software=("python", "requests"),
    connections=TWICE,
    finds=_said("gone"),
    must_not=NOBODY,
    wire=Conditions(0.010, faults=(Fault(LATER, older=True),)),
)
def gone_and_tried_again(lab: Lab) -> None:
    """A device forgets all connections after a second. A requests.Session, whose timeout is 0.8 seconds, repeats its request on a
    new connection."""
    page = {"get": "/size/300"}
    _ask_pages(lab, page, {"rest": 1.2}, page, page, timeout=0.8)


@recording(
    title="A router answers each packet of a connection with an ICMP error: the host is unreachable",
    at="client",
    software=("python",),
    connections=(Connection((REPORT, LOST), closed_by=""),),
    finds=_said("unreachable"),
    must_not=NOBODY,
    wire=Conditions(0.010, hops=2, faults=(Fault(LATER, TO_SERVER, answer=Icmp(1)),)),
    expression=ERRORS_TOO,
    options=("-c", "60"),
)
def unreachable(lab: Lab) -> None:
    """Like gone, but the device is a router without a route to the server, and reports this. Linux then does not double its
    timeout (RFC 6069): the copies are 225 ms apart. The capture ends with 60 packets."""
    raw_talk(lab, [[FINE]], [ASKED_TWICE])


@recording(
    title="A router answers each packet of a server with an ICMP error: the client's host is unreachable",
    at="server",
    software=("python",),
    connections=(Connection((REPORT, REPORT), closed_by=None),),
    finds=_said("unreachable"),
    must_not=NOBODY,
    wire=Conditions(0.010, hops=2, faults=(Fault(LATER, FROM_SERVER, answer=Icmp(1)),)),
    expression=ERRORS_TOO,
    options=("-c", "60"),
)
def client_unreachable(lab: Lab) -> None:
    """Like unreachable, but the request arrives, and the router has no route back to the client."""
    raw_talk(lab, [[FINE]], [ASKED_TWICE])


@over_ipv6(
    client_unreachable,
    title="A router answers each packet of a server with an ICMPv6 error: the client's address is unreachable",
    wire=Conditions(0.010, hops=2, faults=(Fault(LATER, FROM_SERVER, answer=Icmp(3)),)),
)
def client_unreachable_ipv6(lab: Lab) -> None:
    """Like client-unreachable, over IPv6."""
    raw_talk(lab, [[FINE]], [ASKED_TWICE], address="fd00:9::2")


@recording(
    title="A router answers each packet of a connection with an ICMPv6 error: administratively prohibited",
    at=("client", "middle"),
    software=("python",),
    connections=(Connection((REPORT, LOST), closed_by=""),),
    finds=_said("unreachable"),
    must_not=NOBODY,
    wire=Conditions(0.010, hops=2, faults=(Fault(LATER, TO_SERVER, answer=Icmp(1)),)),
    expression=ERRORS_TOO,
)
def unreachable_ipv6(lab: Lab) -> None:
    """Like unreachable, over IPv6, with the ICMPv6 code that a firewall uses."""
    raw_talk(lab, [[FINE]], [ASKED_TWICE], address="fd00:9::2")


# Healthy twins.


@recording(
    title="A path is dead for two seconds, and then a request arrives",
    at=("client", "middle"),
    software=("python",),
    connections=(Connection((REPORT, REPORT)),),
    finds=(Find("retransmission-stall", "timeout", None, 0, measured=True),),
    must_not=HEALTHY,
    wire=Conditions(0.010, faults=(Fault(LATER, lasts=2.0),)),
)
def path_recovers(lab: Lab) -> None:
    """The healthy twin of gone: its fourth copy or a later one arrives."""
    raw_talk(lab, [[FINE]], [[REQUEST, READ, 1.2, REQUEST, READ]])


@recording(
    title="A server works for 6 seconds before it responds",
    at="client",
    software=("python", "requests"),
    connections=(Connection((PAGE, get("/slow/6000/300", 300))),),
    finds=(Find("slow-response", None, "server", 0, measured=True, note=True),),
    must_not=HEALTHY,
    wire=Conditions(0.010),
)
def slow_server(lab: Lab) -> None:
    """The request was acknowledged at once; nothing is lost."""
    _ask_pages(lab, {"get": "/size/300"}, {"get": "/slow/6000/300"})


@recording(
    title="A client does not read for 4 seconds: the server probes its zero window until it opens; recorded with a "
    "snap length of 400 bytes",
    at="server",
    software=("nginx", "python"),
    connections=(Connection((get("/large.txt", None),)),),
    finds=(Find("zero-window-stall", None, "client", 0),),
    must_not={**HEALTHY, "slow-response": "the server had answered"},
    wire=Conditions(0.010),
    options=("-s", "400"),
    whole=False,
)
def closed_window(lab: Lab) -> None:
    """A GET of 200 kB from nginx; the server's probes of the closed window are answered, each time."""
    nginx(lab, large=200_000)
    raw_client(lab, [[b"GET /large.txt HTTP/1.1\r\nHost: 10.9.0.2\r\n\r\n", 4, READ]], 80)


@recording(
    title="A request over a dead path, with only one direction in the capture",
    at="client",
    software=("python",),
    connections=(Connection((LOST, LOST), closed_by=""),),
    finds=(Find("one-sided"),),
    must_not={**NOBODY, "unanswered": "what came back was not captured"},
    wire=Conditions(0.010, faults=(Fault(LATER),)),
    expression="tcp dst port 8080",
)
def gone_one_sided(lab: Lab) -> None:
    """Like gone, but only the client's packets were captured: its retransmissions prove nothing there."""
    raw_talk(lab, [[FINE]], [ASKED_TWICE])


def _end_with_second_copy(path: Path) -> None:
    whole = path.with_suffix(".whole")
    path.replace(whole)
    copies = _numbers(whole, "tcp.analysis.retransmission")
    subprocess.run(["editcap", "-F", "pcap", "-r", str(whole), str(path), f"1-{copies[1]}"], check=True, timeout=60)


def _numbers(path: Path, expression: str) -> list[int]:
    words = ["tshark", "-n", "-r", str(path), "-Y", expression, "-T", "fields", "-e", "frame.number"]
    return [int(number) for number in subprocess.run(words, capture_output=True, check=True, timeout=60).stdout.split()]


@recording(
    title="A request over a dead path, in a capture that ends with its second retransmission",
    at="client",
    software=("python",),
    connections=(Connection((REPORT, LOST), closed_by=""),),
    must_not={**NOBODY, "unanswered": "the next copy may have arrived"},
    wire=Conditions(0.010, faults=(Fault(LATER),)),
    mend=_end_with_second_copy,
)
def gone_cut_early(lab: Lab) -> None:
    """As gone; the capture ends half a second after the request."""
    raw_talk(lab, [[FINE]], [ASKED_TWICE])
