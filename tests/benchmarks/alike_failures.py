"""Measure captures in which everything fails alike, as after a load test: time and memory at N, 4 N and 16 N failures.

    python tests/benchmarks/alike_failures.py [SHAPE ...] [--sizes 1000,4000,16000,64000] [--clients one,many]

Each shape repeats one conversation, 1.5 ms apart, on ports of its own. It prints CPU time, peak memory, the time as a multiple of
that for the size before, the number of findings, and the limits that the report names; it exits with 1 if a mark is missed.
"""

from __future__ import annotations

import argparse
import json
import struct
import sys
import tempfile
from collections.abc import Callable, Iterator
from itertools import pairwise
from multiprocessing import Process
from pathlib import Path
from typing import NamedTuple

import marks
from marks import judge
from processes import ANALYZE, as_installed, run

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
SECOND, APART = 1_000_000, 1_500
"""Times are in microseconds."""
SERVER, BEHIND = 0xC0A80109, 0xC0A80209
CLIENT = 0x0A000001
MANY = 1_000
"""The number of clients in turn, where there are many."""
SIZES = (1_000, 4_000, 16_000, 64_000)

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
BAD_GATEWAY = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 3\r\n\r\nbad"
TRUNCATED = b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\nok"
LARGE = b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n" + b"x" * 1_300
NOT_GZIP = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nplain"
UPLOAD = b"POST /items HTTP/1.1\r\nHost: a.example\r\nUser-Agent: curl/8.5\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"


class Event(NamedTuple):
    """A packet: its time, addresses and ports, sequence and ACK numbers, flags, payload, and receive window."""

    time: int
    source: tuple[int, int]
    target: tuple[int, int]
    seq: int
    ack: int
    flags: int
    payload: bytes = b""
    window: int = 64_240


class Talk:
    """The packets of one connection; each method adds a packet of the client or of the server at a time after `start`."""

    def __init__(self, start: int, client: tuple[int, int], server: tuple[int, int]) -> None:
        self.events: list[Event] = []
        self._start = start
        self._ends = {"client": client, "server": server}
        self._next = {"client": 100, "server": 500}

    def send(self, who: str, time: int, flags: int = ACK, payload: bytes = b"", window: int = 64_240, again: int = 0) -> None:
        """Add a packet; `again`: it repeats so many bytes (or the SYN or FIN) that were sent before."""
        peer = "server" if who == "client" else "client"
        seq, ack = self._next[who] - again, self._next[peer] if flags & ACK else 0
        ends = self._ends[who], self._ends[peer]
        self.events.append(Event(self._start + time, *ends, seq, ack, flags, payload, window))
        if not again:
            self._next[who] += len(payload) + bool(flags & (SYN | FIN))

    def open(self, request: bytes = b"", at: int = 0) -> None:
        """Add the handshake and a request."""
        self.send("client", at, SYN)
        self.send("server", at + 200, SYN | ACK)
        self.send("client", at + 400)
        if request:
            self.send("client", at + 500, ACK | PSH, request)

    def close(self, who: str, at: int) -> None:
        """Add a FIN, that of the other side, and the last ACK."""
        self.send(who, at, ACK | FIN)
        self.send("server" if who == "client" else "client", at + 100, ACK | FIN)
        self.send(who, at + 200)


def _get(number: int) -> bytes:
    return b"GET /items/%d HTTP/1.1\r\nHost: a.example\r\nUser-Agent: curl/8.5\r\n\r\n" % (number % 50)


def refused(talk: Talk, _request: bytes) -> None:
    """The server refuses the connection."""
    talk.send("client", 0, SYN)
    talk.send("server", 200, ACK | RST)


def nosyn(talk: Talk, _request: bytes) -> None:
    """Nobody answers the SYN."""
    for number, time in enumerate((0, 1, 3, 7)):
        talk.send("client", time * SECOND, SYN, again=int(number > 0))


def abort(talk: Talk, request: bytes) -> None:
    """The client closes after 5 s without a response."""
    talk.open(request)
    talk.send("server", 700)
    talk.send("client", 5 * SECOND + 700, ACK | RST)


def error(talk: Talk, request: bytes) -> None:
    """The server answers 502."""
    talk.open(request)
    talk.send("server", 700, ACK | PSH, BAD_GATEWAY)
    talk.close("client", 900)


def truncated(talk: Talk, request: bytes) -> None:
    """The server closes within the response."""
    talk.open(request)
    talk.send("server", 700, ACK | PSH, TRUNCATED)
    talk.close("server", 900)


def idle(talk: Talk, request: bytes) -> None:
    """The server closes after 5 s of idle time."""
    talk.open(request)
    talk.send("server", 700, ACK | PSH, OK)
    talk.send("client", 900)
    talk.close("server", 5 * SECOND + 900)


def race(talk: Talk, request: bytes) -> None:
    """The server closes after 5 s of idle time, and a request crosses its FIN."""
    talk.open(request)
    talk.send("server", 700, ACK | PSH, OK)
    talk.send("client", 900)
    talk.send("server", 5 * SECOND + 900, ACK | FIN)
    talk.events.append(talk.events[3]._replace(time=talk.events[3].time + 5 * SECOND + 450))
    last = talk.events[4]
    talk.events[-1] = talk.events[-1]._replace(seq=last.ack, ack=last.seq + len(OK))
    talk.events.append(last._replace(time=talk.events[-1].time + 150, seq=last.seq + len(OK) + 1, ack=0, flags=RST, payload=b""))


def slow(talk: Talk, request: bytes) -> None:
    """The response takes 3 s."""
    talk.open(request)
    talk.send("server", 700)
    talk.send("server", 3 * SECOND + 700, ACK | PSH, OK)
    talk.close("client", 3 * SECOND + 900)


def window(talk: Talk, request: bytes) -> None:
    """The client closes its receive window for 800 ms."""
    talk.open(request)
    talk.send("server", 700, ACK | PSH, LARGE)
    talk.send("client", 900, window=0)
    talk.send("server", 200_900, again=1)
    talk.send("client", 201_000, window=0)
    talk.send("client", 800_900)
    talk.send("server", 801_000, ACK | PSH, b"y" * 1_300)


def unanswered(talk: Talk, request: bytes) -> None:
    """Nobody acknowledges the request."""
    talk.open(request)
    for time in (200_000, 600_000, 1_400_000, 3_000_000, 6_200_000):
        talk.send("client", 500 + time, ACK | PSH, request, again=len(request))


def noresponse(talk: Talk, request: bytes) -> None:
    """The server closes after 3 s without a response."""
    talk.open(request)
    talk.send("server", 700)
    talk.close("server", 3 * SECOND + 700)


def expect(talk: Talk, _request: bytes) -> None:
    """The client waits for a 100 Continue for a second."""
    talk.open(UPLOAD)
    talk.send("server", 700)
    talk.send("client", SECOND + 500, ACK | PSH, b"body")
    talk.send("server", SECOND + 700, ACK | PSH, OK)
    talk.close("client", SECOND + 900)


def undecodable(talk: Talk, request: bytes) -> None:
    """The body is not what Content-Encoding says."""
    talk.open(request)
    talk.send("server", 700, ACK | PSH, NOT_GZIP)
    talk.close("client", 900)


def retransmitted(talk: Talk, request: bytes) -> None:
    """The response is lost once."""
    talk.open(request)
    talk.send("server", 700)
    talk.send("server", 800, ACK | PSH, OK)
    talk.send("server", 300_800, ACK | PSH, OK, again=len(OK))
    talk.close("client", 301_000)


SHAPES: dict[str, Callable[[Talk, bytes], None]] = {
    shape.__name__: shape
    for shape in (
        *(refused, nosyn, abort, error, truncated, idle, race, slow, window, unanswered, noresponse, expect, undecodable),
        retransmitted,
    )
}
GATEWAY = "gateway"
"""The shape with two connections for each failure: a gateway answers 504, because the server behind it hangs."""


def _gateway(start: int, client: tuple[int, int], port: int, request: bytes) -> list[Event]:
    outer, inner = Talk(start, client, (SERVER, 80)), Talk(start, (SERVER, port), (BEHIND, 8080))
    outer.open(request)
    outer.send("server", 700)
    inner.open(request, at=800)
    inner.send("server", 1_500)
    inner.close("client", 3 * SECOND)
    outer.send("server", 3 * SECOND + 50, ACK | PSH, BAD_GATEWAY.replace(b"502 Bad Gateway", b"504 Gateway Timeout"))
    outer.close("client", 3 * SECOND + 400)
    return outer.events + inner.events


def _events(shape: str, count: int, clients: int) -> Iterator[Event]:
    """Yield the packets in time order; those of at most 10 s are held at a time."""
    held: list[Event] = []
    for number in range(count):
        start = 1_700_000_000 * SECOND + number * APART
        client = CLIENT + number % clients, 1024 + number
        if shape == GATEWAY:
            held += _gateway(start, client, 1024 + number, _get(number))
        else:
            talk = Talk(start, client, (SERVER, 80))
            SHAPES[shape](talk, _get(number))
            held += talk.events
        if number % MANY == 0 or number == count - 1:
            held.sort(key=lambda event: event.time)
            done = len(held) if number == count - 1 else next((i for i, e in enumerate(held) if e.time > start), 0)
            yield from held[:done]
            del held[:done]


def write(path: Path, shape: str, count: int, clients: int = 1) -> None:
    """Write a capture of so many failures of one shape, of so many clients in turn."""
    with path.open("wb") as out:
        out.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262_144, 1))
        for number, event in enumerate(_events(shape, count, clients)):
            (source, port), (target, other) = event.source, event.target
            tcp = struct.pack(">HHIIBBHHH", port, other, event.seq, event.ack, 0x50, event.flags, event.window, 0, 0)
            length = 20 + len(tcp) + len(event.payload)
            ip = struct.pack(">BBHHHBBHII", 0x45, 0, length, number & 0xFFFF, 0x4000, 64, 6, 0, source, target)
            frame = bytes.fromhex("0200000000010200000000020800") + ip + tcp + event.payload
            out.write(struct.pack("<IIII", event.time // SECOND, event.time % SECOND, len(frame), len(frame)) + frame)


def measure(shape: str, sizes: tuple[int, ...], clients: str) -> bool:
    """Measure one shape at all sizes, and judge it."""
    kept = True
    seconds: dict[int, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for count in sizes:
            path, report = Path(folder, "alike.pcap"), Path(folder, "report.json")
            # by a process of its own: the peak of a new process begins with the memory of the one that starts it
            writer = Process(target=write, args=(path, shape, count, 1 if clients == "one" else min(MANY, count)))
            writer.start()
            writer.join()
            words = [*ANALYZE, str(path), "--format", "json", "--jobs", "1", "-o", str(report)]
            took = run(*words, environment=as_installed())
            made = json.loads(report.read_bytes())
            seconds[count] = took.cpu
            name = f"{shape}, {clients}, {count:,}"
            findings, all_of = len(made["findings"]), sum(total["findings"] for total in made["summary"]["rules"])
            print(
                f"{name}: {took.cpu:.2f} s, {took.memory:.0f} MB, {findings:,} findings of {all_of:,}; {made['limits']}",
                flush=True,
            )
            if mark := marks.ALIKE_MEMORY.get(count):
                kept &= judge(f"{name}: peak memory, MB", took.memory, mark)
            if mark := marks.ALIKE_SECONDS.get(count):
                kept &= judge(f"{name}: CPU, s", took.cpu, mark)
    for one, other in pairwise(sizes):
        if other == 4 * one:
            kept &= judge(f"{shape}, {clients}: {other:,} / {one:,}, CPU", seconds[other] / seconds[one], marks.ALIKE_GROWTH)
    return kept


def main() -> int:
    """Entry point; 1 when a mark is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shapes", nargs="*", metavar="SHAPE", help=f"one of {', '.join([*SHAPES, GATEWAY])}")
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)))
    parser.add_argument("--clients", default="one,many")
    options = parser.parse_args()
    sizes = tuple(map(int, options.sizes.split(",")))
    shapes = options.shapes or [*SHAPES, GATEWAY]
    kept = [measure(shape, sizes, clients) for shape in shapes for clients in options.clients.split(",")]
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
