"""Run commands in two namespaces with a simulated wire between them, for experiments.

    python captures/lab/try_wire.py --rtt 120 --ack-delay client:200 --lose server:data:3,4 -- COMMAND...

    python captures/lab/try_wire.py --rtt 40 --fault seconds=2,sides=server -- COMMAND...

Run COMMAND in the namespace of the client (10.9.0.1) until it ends, but for at most --seconds (60; at most 120). First start the
command line of --server, in quotes, in the namespace of the server (10.9.0.2). Options like --record client=a.pcap record at an
end or in the middle. Times are milliseconds. Run as root.

--fault begins after seconds=, packets= or payload= (of side=), otherwise at once. It drops the packets of sides= (client, server;
default: both), of kind=, larger than above= bytes, of connections that were idle for rested= seconds, or with older=1 of earlier
connections. lasts= is its duration in seconds, and place= its place (client or server). It answers with icmp=CODE, with mtu=, or
with rst=TTL. --forge begins in the same way, and sends resets toward= a side (default: both) with ttl=, id=, ack=0 or 1,
option=HEX.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import wire
from faults import Fault, Forged, Start
from forging import Icmp, Reset
from impairments import SIDES, Conditions, Loss
from network import cable


def main() -> int:
    """Run the command line. Return the exit status of the client's command, or 124 if its time was up."""
    words = _parser().parse_args()
    delays = {side: float(milliseconds) / 1_000 for side, _, milliseconds in (text.partition(":") for text in words.ack_delay)}
    faults = (*map(_fault, words.fault), *map(_forged, words.forge))
    lose = tuple(map(_loss, words.lose))
    conditions = Conditions(words.rtt / 2_000, delays, lose, rate=words.loss / 100, hops=words.hops, faults=faults)
    with cable(conditions) as (client, server, strung), ExitStack() as recordings:
        assert strung
        for point, _, path in (text.partition("=") for text in words.record):
            recordings.enter_context(strung.recorded(point, Path(path)))
        if words.server:
            server.start(*shlex.split(words.server))
            time.sleep(0.5)
        process = client.start(*words.command)
        try:
            return process.wait(min(words.seconds, wire.LASTS))
        except subprocess.TimeoutExpired:
            return 124


def _loss(text: str) -> Loss:
    side, kind, numbers = text.split(":")
    return Loss.of(side, kind, *map(int, numbers.split(",")))


def _start(values: dict[str, str]) -> Start:
    seconds, packets, payload = (values.pop(name, None) for name in ("seconds", "packets", "payload"))
    return Start(
        float(seconds) if seconds else None,
        int(packets) if packets else None,
        int(payload) if payload else None,
        values.pop("side", None),
    )


def _values(text: str) -> dict[str, str]:
    return dict(word.split("=") for word in text.split(",") if word)


def _sides(text: str | None) -> tuple[str, ...]:
    return (text,) if text else SIDES


def _fault(text: str) -> Fault:
    values = _values(text)
    start, sides, icmp, rst = _start(values), _sides(values.pop("sides", None)), values.pop("icmp", None), values.pop("rst", None)
    mtu = int(values.pop("mtu", "0"))
    answer = Icmp(int(icmp), mtu) if icmp else Reset(ttl=int(rst)) if rst else None
    types = {"kind": str, "above": int, "rested": float, "older": bool, "lasts": float, "place": str}
    return Fault(start, sides, answer=answer, **{name: types[name](value) for name, value in values.items()})


def _forged(text: str) -> Forged:
    values = _values(text)
    start, toward, place = _start(values), _sides(values.pop("toward", None)), values.pop("place", "server")
    option = bytes.fromhex(values.pop("option", ""))
    ttl, ip_id, ack = (int(values.pop(name, default)) for name, default in (("ttl", "64"), ("id", "0"), ("ack", "1")))
    return Forged(start, toward, Reset(ttl, ip_id, bool(ack), option), place=place)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rtt", type=float, default=0.0, help="round trip in milliseconds")
    parser.add_argument("--ack-delay", action="append", default=[], metavar="SIDE:MS", help="hold back this side's pure ACKs")
    parser.add_argument("--lose", action="append", default=[], metavar="SIDE:KIND:N,N", help="data, ack, syn, fin or rst")
    parser.add_argument("--loss", type=float, default=0.0, help="per cent of packets that are lost by chance")
    parser.add_argument("--hops", type=int, default=0, help="routers in each half of the wire")
    parser.add_argument("--fault", action="append", default=[], metavar="NAME=VALUE,...")
    parser.add_argument("--forge", action="append", default=[], metavar="NAME=VALUE,...")
    parser.add_argument("--record", action="append", default=[], metavar="POINT=FILE", help="client, middle or server")
    parser.add_argument("--server", default="", metavar="COMMAND")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("command", nargs="+")
    return parser


if __name__ == "__main__":
    sys.exit(main())
