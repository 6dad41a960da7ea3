"""Record what a capture cannot show: the other direction, encrypted data, and segments that the network card splits."""

from __future__ import annotations

from dataclasses import replace

from scenario import Connection, Find, Lab, curl, get, nginx, nginx_with_tls, recording, unanswered
from static_servers import FOUR, SIZES, URLS

ANSWERS = tuple(replace(exchange, method="", target="") for exchange in FOUR)


@recording(
    title="Only what the server sent was captured",
    at="client",
    software=("nginx", "curl"),
    connections=(Connection(ANSWERS, closed_by="server"),),
    finds=(Find("one-sided"),),
    must_not={"capture-loss": "a direction is missing, not a packet", "no-response": "requests are not in the recording"},
    expression="tcp and src host 10.9.0.2",
    whole=False,
)
def one_sided(lab: Lab) -> None:
    """Four GETs by curl from nginx, as in nginx-curl; the capture filter matches only the server's packets, so the recording does
    not show that the client closed first."""
    nginx(lab, **SIZES)
    curl(lab, *URLS)


@recording(
    title="Only what the client sent was captured",
    at="client",
    software=("nginx", "curl"),
    connections=(Connection(tuple(unanswered("GET", exchange.target) for exchange in FOUR)),),
    finds=(Find("one-sided"),),
    must_not={"no-response": "responses are not in the recording", "client-abort": "the client had all it wanted"},
    expression="tcp and src host 10.9.0.1",
    whole=False,
)
def one_sided_requests(lab: Lab) -> None:
    """The other half of a conversation as in one-sided."""
    nginx(lab, **SIZES)
    curl(lab, *URLS)


@recording(
    title="HTTPS: curl and nginx with TLS",
    at="client",
    software=("openssl", "nginx", "curl"),
    connections=(Connection(()),),
    finds=(Find("encrypted", note=True),),
    must_not={"malformed-head": "it is no HTTP", "premature-close": "closes of TLS are not judged"},
)
def encrypted(lab: Lab) -> None:
    """Four GETs by curl on one connection over TLS 1.3; the certificate was made for the recording by openssl."""
    nginx_with_tls(lab, **SIZES)
    curl(lab, "--insecure", *[url.replace("http:", "https:") for url in URLS])


@recording(
    title="Segmentation offload: segments of up to 64 kB; recorded with a snap length of 400 bytes",
    at="server",
    software=("nginx", "curl"),
    connections=(Connection((get("/a.txt", 300), get("/large.txt", 300_000))),),
    finds=(Find("offload", note=True),),
    must_not={"snap-length": "heads are whole", "capture-loss": "nothing was lost, only cut", "nagle-delayed-ack": "no fault"},
    offload=True,
    options=("-s", "400"),
    whole=False,
)
def offload_snapped(lab: Lab) -> None:
    """Two GETs by curl from nginx, the second of 300 kB, with TSO, GSO and GRO on, as is usual today."""
    nginx(lab, **SIZES, large=300_000)
    curl(lab, URLS[0], "http://10.9.0.2/large.txt")
