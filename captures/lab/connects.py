"""Record connections that are established late or never, and one that is only slow."""

from __future__ import annotations

import time

from impairments import Conditions, Loss
from scenario import Connection, Find, Lab, get, over_ipv6, raw_talk, recording
from stalls import REQUEST

FINE = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 300\r\n\r\n" + b"f" * 300
TWO_GETS = [[step for _ in range(2) for step in (REQUEST, {"read": ["GET"]}, 0.01)]]
REPORTS = (Connection((get("/report", 300, repeat=2),)),)
LATE = (Find("connect-retry", None, None, 0, measured=True),)
INNOCENT = {
    "slow-response": "the server answered at once",
    "retransmission-stall": "no data was lost",
    "capture-loss": "the network lost it, not the recording",
    "connect-failed": "it was connected in the end",
}


@recording(
    title="The first SYN of a connection is lost",
    at=("client", "middle"),
    software=("python",),
    connections=REPORTS,
    finds=LATE,
    must_not=INNOCENT,
    wire=Conditions(0.010, lose=(Loss.of("client", "syn", 1),)),
)
def lost_syn(lab: Lab) -> None:
    """Two GETs on one connection over a round trip of 20 ms. The first SYN is lost before it reaches the server; the client's
    kernel repeats it after a second. A capture at the server does not contain the lost SYN."""
    raw_talk(lab, [[FINE]], TWO_GETS)


@recording(
    title="The first SYN-ACK of a connection is lost",
    at=("client", "middle", "server"),
    software=("python",),
    connections=REPORTS,
    finds=LATE,
    must_not=INNOCENT,
    wire=Conditions(0.010, lose=(Loss.of("server", "syn", 1),)),
)
def lost_syn_ack(lab: Lab) -> None:
    """Like lost-syn, but the SYN arrives, and its SYN-ACK is lost on the way back. Both kernels repeat what they have sent; a
    capture at the client does not contain the lost SYN-ACK."""
    raw_talk(lab, [[FINE]], TWO_GETS)


@recording(
    title="A port on which no program listens",
    at="client",
    software=("curl",),
    connections=(Connection((), closed_by="server", repeat=2),),
    finds=(Find("connect-failed", "refused", "server"),),
    must_not={"connect-retry": "it was never connected", "no-response": "nothing was asked"},
)
def refused(lab: Lab) -> None:
    """curl connects to port 81 of the server twice; no program listens there."""
    for _ in range(2):
        lab.client.run("curl", "-sS", "--max-time", "5", "http://10.9.0.2:81/", check=False)


@over_ipv6(refused, at=("client", "server"), wire=Conditions(0.010))
def refused_ipv6(lab: Lab) -> None:
    """Like refused, over IPv6."""
    for _ in range(2):
        lab.client.run("curl", "-g", "-sS", "--max-time", "5", "http://[fd00:9::2]:81/", check=False)


@recording(
    title="SYNs that are never answered; IPv6",
    at="client",
    software=("curl",),
    connections=(Connection((), closed_by=""),),
    finds=(Find("connect-failed", "timed-out", None, 0),),
    must_not={"one-sided": "there is nothing that the recording could have missed", "connect-retry": "it was never connected"},
    wire=Conditions(0.010, lose=(Loss.of("client", "syn", *range(1, 20)),)),
)
def unanswered_syns_ipv6(lab: Lab) -> None:
    """Like unanswered-syns, over IPv6."""
    lab.client.run("curl", "-g", "-sS", "--connect-timeout", "8", "http://[fd00:9::2]/", check=False)


@recording(
    title="SYNs that are never answered",
    at=("client", "middle"),
    software=("curl",),
    connections=(Connection((), closed_by=""),),
    finds=(Find("connect-failed", "timed-out", None, 0),),
    must_not={"one-sided": "there is nothing that the recording could have missed", "connect-retry": "it was never connected"},
    wire=Conditions(0.010, lose=(Loss.of("client", "syn", *range(1, 20)),)),
)
def unanswered_syns(lab: Lab) -> None:
    """curl gives up after 8 seconds in which all its SYNs are dropped, as by a firewall that sends no errors."""
    lab.client.run("curl", "-sS", "--connect-timeout", "8", "http://10.9.0.2/", check=False)


@recording(
    title="A round trip of 800 ms: slow handshakes",
    at=("client", "server"),
    software=("python",),
    connections=REPORTS,
    must_not={**INNOCENT, "connect-retry": "the answer comes before the client's timer runs out"},
    wire=Conditions(0.400),
)
def rtt_800(lab: Lab) -> None:
    """Two GETs on one connection over the round trip of a satellite link: the SYN-ACK arrives just before the SYN would be
    repeated."""
    raw_talk(lab, [[FINE]], TWO_GETS)


@recording(
    title="A round trip of 1.3 seconds: the SYN is retransmitted although nothing is lost",
    at=("client", "server"),
    software=("python",),
    connections=REPORTS,
    must_not={"connect-retry": "the first SYN arrived, and its answer too", "connect-failed": "it was connected"},
    wire=Conditions(0.650),
)
def rtt_1300(lab: Lab) -> None:
    """Like rtt-800, over a longer round trip: the client repeats its SYN before the answer to the first one can arrive."""
    raw_talk(lab, [[FINE]], TWO_GETS)
    time.sleep(3)
