"""Record captures that contain more, or less, of each packet than was on the wire."""

from __future__ import annotations

from dataclasses import replace

from scenario import Connection, Find, Lab, curl, nginx, recording
from static_servers import FOUR, SIZES, URLS


@recording(
    title="A snap length of 96 bytes cuts off the HTTP headers",
    at="client",
    software=("nginx", "curl"),
    connections=(Connection((replace(FOUR[0], response_body=None, response_framing=""),)),),
    finds=(Find("snap-length", note=True),),
    must_not={
        "capture-loss": "nothing was lost, only cut",
        "no-response": "the responses are cut off",
        "truncated-response": "the recording cut it, not the server",
        "malformed-head": "it is cut off",
    },
    options=("-s", "96"),
    whole=False,
)
def snapped_heads(lab: Lab) -> None:
    """A GET by curl from nginx; tcpdump keeps 96 bytes of each packet, like the default of early versions, which includes thirty
    bytes of a head."""
    nginx(lab, **SIZES)
    curl(lab, URLS[0])


@recording(
    title="A bridge: every packet is captured on two interfaces",
    at="client",
    software=("nginx", "curl"),
    connections=(Connection(FOUR),),
    finds=(Find("duplicate-packets", note=True),),
    must_not={"retransmission-stall": "these are copies", "capture-loss": "there is more than there was"},
    interface="any",
)
def bridge_any(lab: Lab) -> None:
    """Four GETs by curl from nginx, as in nginx-curl. The client's address is that of a bridge, as on a host with containers;
    tcpdump -i any captures each packet on the bridge and on the cable."""
    for words in (
        "addr flush dev eth0",
        "link add br0 type bridge",
        "link set eth0 master br0",
        "addr add 10.9.0.1/24 dev br0",
        "link set br0 up",
    ):
        lab.client.run("ip", *words.split())
    nginx(lab, **SIZES)
    curl(lab, *URLS)
