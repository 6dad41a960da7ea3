"""Record resets that neither host sent, and similar resets that the server itself sent."""

from __future__ import annotations

import time

from faults import Forged, Start
from forging import Reset
from impairments import Conditions
from lifetimes import FINE, READ, REQUEST, WAIT
from scenario import (
    Connection,
    Exchange,
    Find,
    Lab,
    curl,
    get,
    nginx,
    nginx_with_tls,
    over_ipv6,
    raw_talk,
    recording,
    unanswered,
)

CLIENT, BOTH = ("client",), ("client", "server")
FAR = Reset(ttl=255, ip_id=0, ack=True)
"""A reset of a device that starts with the largest TTL, like a router. The hosts here start with 64."""

NOBODY = {
    "truncated-response": "the server did not close",
    "no-response": "the server did not close",
    "premature-close": "the server did not close",
    "client-abort": "the client did not close",
    "keep-alive-race": "no request met a close of the server",
}
ITSELF = {"foreign-reset": "the server itself reset the connection", "client-abort": "the server closed"}
FOREIGN = (Find("foreign-reset", None, None, 0),)
PART = (Connection((Exchange("GET", "/large.txt", 200, None),), closed_by=None),)
LARGE = 60_000


def _download(lab: Lab, host: str = "10.9.0.2") -> None:
    nginx(lab, large=LARGE)
    curl(lab, "-g", "--max-time", "8", f"http://{host}/large.txt", check=False)
    time.sleep(1)


def _box(delay: float, start: Start, toward: tuple[str, ...] = CLIENT, reset: Reset = FAR, place: str = "server") -> Conditions:
    return Conditions(delay, hops=6, faults=(Forged(start, toward, reset, place=place),))


@recording(
    title="A device on the path resets a download towards the client; recorded with a snap length of 400 bytes",
    at="client",
    software=("nginx", "curl"),
    connections=PART,
    finds=FOREIGN,
    must_not=NOBODY,
    wire=_box(0.010, Start(payload=20_000, side="server")),
    options=("-s", "400"),
    whole=False,
)
def foreign_reset(lab: Lab) -> None:
    """nginx sends 60,000 bytes. After 20,000 of them, a device sends an RST with ACK flag to the client in the server's name. Its
    TTL is 255 minus the routers on the way, but the server's packets begin with 64; its IP ID is 0, but those of the server count
    up. The server continues."""
    _download(lab)


@over_ipv6(
    foreign_reset,
    title="A device on the path resets a download towards the client; IPv6; recorded with a snap length of 400 bytes",
    wire=_box(0.030, Start(payload=20_000, side="server")),
)
def foreign_reset_ipv6(lab: Lab) -> None:
    """Like foreign-reset, over IPv6, which has no identification: the hop limit shows it, and that the server continues."""
    _download(lab, "[fd00:9::2]")


@recording(
    title="A device on the path resets both sides of a download; recorded with a snap length of 400 bytes",
    at="server",
    software=("nginx", "curl"),
    connections=PART,
    finds=FOREIGN,
    must_not=NOBODY,
    wire=_box(0.010, Start(payload=20_000, side="server"), BOTH, place="client"),
    options=("-s", "400"),
    whole=False,
)
def foreign_reset_of_a_download(lab: Lab) -> None:
    """Like foreign-reset, captured at the server: the device is near the client, and resets the server, too. The RST in the
    client's name has the ACK flag, another TTL than the client's packets, and IP ID 0, although theirs count up."""
    _download(lab)


@over_ipv6(
    foreign_reset_of_a_download,
    title="A device on the path resets both sides of a download; IPv6; recorded with a snap length of 400 bytes",
    wire=_box(0.030, Start(payload=20_000, side="server"), BOTH, place="client"),
)
def foreign_reset_of_a_download_ipv6(lab: Lab) -> None:
    """Like foreign-reset-of-a-download, over IPv6, which has no identification: the hop limit of the RST shows it, and the ACKs
    that the client sends after it."""
    _download(lab, "[fd00:9::2]")


@over_ipv6(
    foreign_reset_of_a_download,
    title="A device near the server resets both sides of a download; IPv6; recorded with a snap length of 400 bytes",
    wire=_box(0.030, Start(payload=20_000, side="server"), BOTH),
)
def foreign_reset_near_the_server_ipv6(lab: Lab) -> None:
    """Like foreign-reset-of-a-download-ipv6, but the device is near the server. Besides the hop limit, the time shows it, because
    the RST acknowledges data that could not have reached the client yet."""
    _download(lab, "[fd00:9::2]")


@recording(
    title="A device on the path resets a download towards the client, captured at the server; recorded with a snap length of 400 "
    "bytes",
    at="server",
    software=("nginx", "curl"),
    connections=PART,
    must_not=NOBODY,
    wire=_box(0.010, Start(payload=20_000, side="server"), place="client"),
    options=("-s", "400"),
    whole=False,
)
def foreign_reset_seen_beyond(lab: Lab) -> None:
    """Like foreign-reset, captured at the server, where the forged RST never passes. The client's kernel no longer knows the
    connection, and answers the rest of the response with RSTs without ACK flag, which do not show who ended it."""
    _download(lab)


@recording(
    title="A device on the path resets both sides because of a request",
    at=("client", "middle", "server"),
    software=("python",),
    connections=(Connection((unanswered("GET", "/report"),), closed_by=None),),
    finds=FOREIGN,
    must_not=NOBODY,
    wire=_box(0.010, Start(payload=10, side="client"), BOTH, place="client"),
)
def foreign_reset_of_a_request(lab: Lab) -> None:
    """An intrusion prevention system near the client sees a GET and resets both sides with ACK flag and IP ID 0. The client's
    reset arrives a quarter of a round trip after its request, before the server can have answered. At the server, the IP IDs of
    the client's packets had counted up. Both resets have another TTL than the hosts' packets."""
    raw_talk(lab, [[0.4, FINE]], [[REQUEST, WAIT]])


@recording(
    title="A device on the path resets a connection right after a response: nothing is lost, and the server did not close",
    at="client",
    software=("python",),
    connections=(Connection((get("/report", 5),), closed_by=None),),
    finds=FOREIGN,
    must_not=NOBODY,
    wire=_box(0.010, Start(payload=60, side="server")),
)
def foreign_reset_after_a_response(lab: Lab) -> None:
    """The same device resets the client's side after the response has passed. Its IP ID is 0, and the server's count up."""
    raw_talk(lab, [[FINE, 2.0]], [[REQUEST, READ, WAIT]])


@recording(
    title="A device on the path resets a TLS connection; recorded with a snap length of 400 bytes",
    at="client",
    software=("openssl", "nginx", "curl"),
    connections=(Connection((), closed_by=None),),
    finds=(*FOREIGN, Find("encrypted", note=True)),
    must_not=NOBODY,
    wire=_box(0.010, Start(payload=20_000, side="server")),
    options=("-s", "400"),
)
def foreign_reset_in_tls(lab: Lab) -> None:
    """Like foreign-reset, over TLS 1.3: what was interrupted cannot be read."""
    nginx_with_tls(lab, large=LARGE)
    curl(lab, "--insecure", "--max-time", "8", "https://10.9.0.2/large.txt", check=False)
    time.sleep(1)


@recording(
    title="A server itself resets a connection in the middle of a response",
    at=("client", "server"),
    software=("python",),
    connections=(Connection((get("/report", 6_000),), closed_by="server"),),
    finds=(Find("truncated-response", None, "server", 0),),
    must_not=ITSELF,
    wire=Conditions(0.010, hops=6),
    unassembled=True,
)
def reset_by_the_server(lab: Lab) -> None:
    """The healthy twin of foreign-reset: 6,000 of 50,000 bytes arrive, and the server's program resets (SO_LINGER 0). The RST has
    the TTL of the server's other packets, and the next IP ID."""
    _reset_by_the_server(lab, "10.9.0.2")


@over_ipv6(reset_by_the_server, title="A server itself resets a download; IPv6", at="client")
def reset_by_the_server_ipv6(lab: Lab) -> None:
    """The healthy twin of foreign-reset-ipv6: as reset-by-the-server. The RST has the hop limit of the server's other packets."""
    _reset_by_the_server(lab, "fd00:9::2")


def _reset_by_the_server(lab: Lab, address: str) -> None:
    head = FINE.partition(b"Content-Length")[0] + b"Content-Length: 50000\r\n\r\n"
    raw_talk(lab, [[head + b"t" * 6_000, 0.1, {"do": "reset"}]], [[REQUEST, WAIT]], address=address)
