"""Two namespaces with a wire between them, to try things by hand.

    python captures/lab/try_wire.py --rtt 120 --ack-delay client:200 --lose server:data:3,4 -- COMMAND...

Runs COMMAND in the namespace of the client (10.9.0.1) and ends with it, at the latest after --seconds (60; never more
than 120). Before that it runs --server COMMAND, in quotes, in the namespace of the server (10.9.0.2). --record client=a.pcap
and the like record at an end or in the middle. Times are milliseconds. Run as root.
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
from impairments import Conditions, Loss
from network import cable


def main() -> int:
    """Entry point; the exit status is that of the client's command, 124 when its time was up."""
    words = _parser().parse_args()
    delays = {side: float(milliseconds) / 1_000 for side, _, milliseconds in (text.partition(":") for text in words.ack_delay)}
    conditions = Conditions(words.rtt / 2_000, delays, tuple(map(_loss, words.lose)))
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rtt", type=float, default=0.0, help="round trip in milliseconds")
    parser.add_argument("--ack-delay", action="append", default=[], metavar="SIDE:MS", help="hold back this side's pure ACKs")
    parser.add_argument("--lose", action="append", default=[], metavar="SIDE:KIND:N,N", help="data, ack, syn, fin or rst")
    parser.add_argument("--record", action="append", default=[], metavar="POINT=FILE", help="client, middle or server")
    parser.add_argument("--server", default="", metavar="COMMAND")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("command", nargs="+")
    return parser


if __name__ == "__main__":
    sys.exit(main())
