"""Random conversations of valid exchanges, the bytes that they make, and the packets that carry these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from random import Random
from typing import Any

from wiredoctor.testing.wire import ACK, FIN, PSH, SYN, Packet, Peers

PEERS = Peers("10.0.0.1:40001", "10.0.0.2:80", (4_294_967_000, 7))
"""The client's sequence numbers wrap early."""

MILLISECOND = 1_000_000
TRAPS = [
    b"HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\n",
    b"GET /trap HTTP/1.1\r\n\r\n",
    b"0\r\n\r\n",
    b"\r\n\r\n",
    b"\r\n",
]
"""What a body may hold without being it."""


@dataclass(frozen=True)
class Spoken:
    """One exchange: bytes of the request, of the interim responses and the response, and what must be seen of it."""

    request: bytes
    response: bytes
    seen: dict[str, Any]
    closes: bool = False


@dataclass
class Flight:
    """Bytes that one side (0 client, 1 server) sends at once, cut behind each of `cuts`."""

    side: int
    data: bytes
    cuts: list[int] = field(default_factory=list[int])

    def pieces(self) -> list[bytes]:
        edges = [0, *sorted({c for c in self.cuts if 0 < c < len(self.data)}), len(self.data)]
        return [self.data[a:b] for a, b in pairwise(edges) if a < b]


def exchange(random: Random, number: int, last: bool) -> Spoken:
    """An exchange with random methods, framings and sizes; only the last may run to the close."""
    method = random.choice(["GET", "GET", "POST", "PUT", "HEAD", "OPTIONS", "DELETE", "CONNECT"])
    target = f"/{number}" + random.choice(["", "?a=b", "/" + "x" * random.randrange(60)])
    body = _body(random) if method in ("POST", "PUT") else b""
    framing = random.choice(["content-length", "chunked"]) if method in ("POST", "PUT") else "none"
    fields, content = _framed(random, framing, body)
    fields += random.choice([b"", b"", b"", b"Connection: Upgrade, X\r\nUpgrade: h2c\r\n", b"Expect: 100-continue\r\n"])
    request = (
        b"\r\n" * (random.random() < 0.1) + f"{method} {target} HTTP/1.1\r\nHost: a\r\n".encode() + fields + b"\r\n" + content
    )
    seen: dict[str, Any] = {
        "request_method": method,
        "request_target": target,
        "request_framing": framing,
        "request_body_bytes": len(body),
        "request_end_reason": "complete",
    }
    interim = random.choices([100, 102, 103], k=random.choice([0, 0, 0, 1, 2]))
    response = b"".join(b"HTTP/1.1 %d Wait\r\nLink: a\r\n\r\n" % code for code in interim)
    answer, answered = _response(random, method, last)
    return Spoken(
        request, response + answer, {**seen, **answered, "interim": interim}, answered["response_framing"] == "close-delimited"
    )


def _response(random: Random, method: str, last: bool) -> tuple[bytes, dict[str, Any]]:
    status = random.choice([200, 200, 200, 204, 304, 404, 500]) if method != "CONNECT" else 407
    without = method == "HEAD" or status in (204, 304)
    announced = random.choice(["content-length", "chunked", *(["close-delimited"] if last else [])])
    if status == 204:
        announced = "none"  # RFC 9110 section 8.6
    body = _body(random)
    fields, content = _framed(random, announced, body)
    framing = "none" if without else announced
    reason = random.choice([b" OK", b"", b" "])
    head = b"HTTP/1.1 %d%s\r\nServer: s\r\n" % (status, reason) + fields + b"\r\n"
    seen = {
        "response_status": status,
        "response_framing": framing,
        "response_body_bytes": 0 if without else len(body),
        "response_end_reason": "complete",
    }
    return head + (b"" if without else content), seen


def _body(random: Random) -> bytes:
    pieces = [
        random.choice(TRAPS) if random.random() < 0.4 else random.randbytes(random.randrange(40))
        for _ in range(random.randrange(4))
    ]
    return b"".join(pieces)


def _framed(random: Random, framing: str, body: bytes) -> tuple[bytes, bytes]:
    """Header fields and content of a body in this framing."""
    if framing == "content-length":
        return random.choice([b"Content-Length: %d\r\n", b"content-length:%d \r\n"]) % len(body), body
    if framing != "chunked":
        return b"", body
    content = b""
    while body:
        size = random.randrange(1, len(body) + 1)
        extension = random.choice([b"", b"", b";a=b", b' ; a="b c"'])
        content += random.choice([b"%x", b"%X", b"0%x"]) % size + extension + b"\r\n" + body[:size] + b"\r\n"
        body = body[size:]
    trailer = random.choice([b"", b"", b"Expires: never\r\nX-Sum: 5\r\n"])
    return b"Transfer-Encoding: chunked\r\n", content + b"0\r\n" + trailer + b"\r\n"


def conversation(random: Random) -> tuple[list[Spoken], list[Flight]]:
    """Exchanges on one connection, some of them pipelined."""
    count = random.randrange(1, 8)
    spoken = [exchange(random, n, n == count - 1) for n in range(count)]
    flights: list[Flight] = []
    rest = list(spoken)
    while rest:
        depth = random.choice([1, 1, 2, 4])
        together, rest = rest[:depth], rest[depth:]
        for side, data in enumerate([b"".join(s.request for s in together), b"".join(s.response for s in together)]):
            flights.append(Flight(side, data, _cuts(random, len(data))))
    return spoken, flights


def _cuts(random: Random, length: int) -> list[int]:
    how = random.choice(["none", "few", "many", "bytes"])
    if how == "bytes" and length < 400:
        return list(range(length))
    return [random.randrange(1, length) for _ in range({"none": 0, "few": 2}.get(how, 12)) if length > 1]


def packets(flights: Sequence[Flight], handshake: bool = True, closing: int | None = 1) -> list[Packet]:
    """The packets of these flights, 10 ms apart, each acknowledging all that came before it; `closing` sends a FIN first."""
    sent = [1, 1]
    time = 0
    made: list[Packet] = []

    def say(side: int, flags: int, data: bytes = b"", step: int = 1) -> None:
        nonlocal time
        time += step * MILLISECOND
        seq = 0 if flags & SYN else sent[side]
        ack = None if flags == SYN else 1 if flags & SYN else sent[1 - side]
        made.append(Packet(PEERS, side, time, flags, seq, ack, data, mss=1460 if flags & SYN else None))
        sent[side] = max(sent[side], made[-1].end)

    if handshake:
        say(0, SYN)
        say(1, SYN | ACK, step=10)
        say(0, ACK)
    for flight in flights:
        for number, piece in enumerate(flight.pieces()):
            say(flight.side, PSH | ACK, piece, 1 if number else 10)
        say(1 - flight.side, ACK, step=2)
    if closing is not None:
        say(closing, FIN | ACK)
        say(1 - closing, FIN | ACK, step=5)
        say(closing, ACK)
    return made


def duplicated(made: Sequence[Packet], random: Random) -> list[Packet]:
    """Some packets twice: recorded twice by the capture at once, or sent again by their sender."""
    result: list[Packet] = []
    for number, packet in enumerate(made):
        packet = replace(packet, ip_id=number + 1)  # noqa: PLW2901 - what follows needs an identification
        result.append(packet)
        if random.random() < 0.2 and packet.payload:
            again = replace(packet, ip_id=random.choice([number + 1, 30_000 + number]), time=packet.time + 1000)
            result.append(again)
    return result


def shuffled(made: Sequence[Packet], random: Random) -> list[Packet]:
    """Neighbours of one flight in another order, at the same moments."""
    result = list(made)
    for i in range(len(result) - 1):
        a, b = result[i], result[i + 1]
        if a.payload and b.payload and a.side == b.side and random.random() < 0.4:
            result[i], result[i + 1] = replace(b, time=a.time), replace(a, time=b.time)
    return result
