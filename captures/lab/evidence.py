"""What tshark sees in a recording: the independent side of its papers. Nothing here knows wiredoctor.

Sizes of bodies are read from tshark's followed streams by the standard library's http.client.
"""

from __future__ import annotations

import http.client
import io
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    import socket
    from pathlib import Path

FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10

NOT_QUOTED = "!icmp && !icmpv6"
"""ICMP errors quote packets, which tshark dissects as if they were sent."""


def tshark(path: Path, *words: str, within: int = 120) -> str:
    """The standard output of tshark; that a file is cut short is no failure."""
    command = ["tshark", "-n", "-r", str(path), *words]
    done = subprocess.run(command, capture_output=True, check=False, timeout=within, text=True)
    return done.stdout


def fields(path: Path, expression: str, *names: str, whole: bool = True) -> list[list[str]]:
    """A row per packet that passes the display filter; several values of a field are joined by a comma.

    Without `whole`, a message need not be complete to be seen. TCP that an ICMP error quotes does not count: errors pass the
    filter "frame" only.
    """
    words = [word for name in names for word in ("-e", name)]
    if expression != "frame":
        expression = f"!icmp && !icmpv6 && ({expression})"
    bodies = f"http.desegment_body:{'TRUE' if whole else 'FALSE'}"
    output = tshark(path, "-2", "-o", bodies, "-o", "tcp.reassemble_out_of_order:TRUE", "-Y", expression, "-T", "fields", *words)
    return [line.split("\t") for line in output.splitlines()]


def packets(path: Path) -> int:
    """How many packets tshark reads."""
    return len(fields(path, "frame", "frame.number"))


def acknowledges_unseen(path: Path) -> bool:
    """Whether something was acknowledged that the recording lacks."""
    return bool(fields(path, "tcp.analysis.ack_lost_segment", "frame.number"))


@dataclass(frozen=True)
class Segment:
    """A TCP packet; seconds since the first packet, numbers relative to the connection's beginning."""

    frame: int
    time: float
    stream: int
    port: int
    to_port: int
    seq: int
    length: int
    ack: int
    flags: int
    window: int
    """As announced, scaled."""

    @property
    def end(self) -> int:
        """The number behind its payload."""
        return self.seq + self.length

    @property
    def pure_ack(self) -> bool:
        return not self.length and not self.flags & (FIN | SYN | RST)


def segments(path: Path) -> dict[int, list[Segment]]:
    """The TCP packets of each connection."""
    names = ("srcport", "dstport", "seq", "len", "ack", "window_size", "flags")
    rows = fields(
        path, f"tcp && {NOT_QUOTED}", "frame.number", "frame.time_relative", "tcp.stream", *(f"tcp.{name}" for name in names)
    )
    streams: dict[int, list[Segment]] = {}
    for row in rows:
        number, time, stream, *integers, flags = row
        *ports, window = [int(value or 0) for value in integers]
        segment = Segment(int(number), float(time), int(stream), *ports, int(flags, 16), window)
        streams.setdefault(segment.stream, []).append(segment)
    return streams


def client_port(stream: list[Segment]) -> int:
    """The port that sent the SYN, or was sent the SYN-ACK."""
    first = stream[0]
    return first.to_port if first.flags & (SYN | ACK) == SYN | ACK else first.port


def round_trip(stream: list[Segment], port: int) -> float:
    """Shortest round trip from the capture point to the side with this port: of the handshake, or of data and its ACK."""
    syn, syn_ack, ack = stream[:3]
    shortest = ack.time - syn_ack.time if port == syn.port else syn_ack.time - syn.time
    under_way: list[Segment] = []
    for segment in stream[2:]:
        if segment.port == port:
            shortest = min([shortest, *(segment.time - data.time for data in under_way if data.end <= segment.ack)])
            under_way = [data for data in under_way if data.end > segment.ack]
        elif segment.length:
            under_way.append(segment)
    return shortest


def closed_by(stream: list[Segment]) -> str:
    """Who closed first: client, server, both (neither had acknowledged the other's FIN), or "" where it stayed open."""
    ends: dict[int, Segment] = {}
    for segment in stream:
        if segment.flags & (FIN | RST):
            ends.setdefault(segment.port, segment)
    if not ends:
        return ""
    first, *others = ends.values()
    fin_end = first.seq + first.length + 1
    if others and first.flags & FIN and others[0].ack < fin_end:
        return "both"
    return "client" if first.port == client_port(stream) else "server"


def lost(path: Path) -> dict[int, str]:
    """Connections that the server closed on their last request, and what its close had seen of that: "acknowledged", or else
    whether the client had seen the close: "race", "stale-pool". For requests of one segment."""
    found: dict[int, str] = {}
    for number, stream in segments(path).items():
        port = client_port(stream)
        request = max((s for s in stream if s.port == port and s.length), key=lambda s: s.seq, default=None)
        closes = [s for s in stream if s.port != port and s.flags & (FIN | RST)]
        if not request or not closes or any(s.length and s.port != port and s.ack >= request.end for s in stream):
            continue
        close = next((s for s in closes if s.flags & FIN), closes[0])
        known = "stale-pool" if close.flags & FIN and request.ack > close.seq else "race"
        found[number] = "acknowledged" if close.ack >= request.end else known
    return found


@dataclass
class Heads:
    """Start lines of a connection as tshark dissects them."""

    methods: list[str]
    targets: list[str]
    statuses: list[int]


def heads(path: Path, *, whole: bool) -> dict[int, Heads]:
    """The start lines of each connection, in order."""
    names = ("tcp.stream", "http.request.method", "http.request.uri", "http.response.code")
    rows = fields(path, f"http && {NOT_QUOTED}", *names, whole=whole)
    found: dict[int, Heads] = {}
    for stream, methods, targets, codes in rows:
        entry = found.setdefault(int(stream), Heads([], [], []))
        entry.methods += methods.split(",") if methods else []
        entry.targets += targets.split(",") if targets else []
        entry.statuses += [int(code) for code in codes.split(",")] if codes else []
    return found


def _followed(path: Path, stream: int) -> tuple[bytes, bytes]:
    """What the client and what the server sent."""
    sides: tuple[list[str], list[str]] = ([], [])
    for line in tshark(path, "-q", "-z", f"follow,tcp,raw,{stream}").splitlines()[6:-1]:
        sides[line.startswith("\t")].append(line.strip())
    client, server = (bytes.fromhex("".join(side)) for side in sides)
    return client, server


class _Bytes(io.BytesIO):
    """Bytes that http.client takes for a socket: it asks a socket for its file, and for nothing else."""

    def close(self) -> None:
        """http.client closes what it has read to the end; there may be more behind it."""

    def makefile(self, *_: object) -> io.BytesIO:
        return self


@dataclass(frozen=True)
class Body:
    """Size in bytes and framing of a message's content, and the status of a response."""

    size: int
    framing: str
    status: int = 0


def bodies(path: Path, stream: int, count: int) -> tuple[list[Body], list[Body]]:
    """The contents of the first `count` requests of a connection and of their final responses."""
    client, server = (_Bytes(side) for side in _followed(path, stream))
    requests: list[Body] = []
    responses: list[Body] = []
    for _ in range(count):
        method = client.readline().split(b" ")[0].decode()
        requests.append(_request_body(client))
        response = _read(server, method)
        while response.status < 200 and response.status != 101:
            response = _read(server, method)
        responses.append(response)
    return requests, responses


def _request_body(client: _Bytes) -> Body:
    """Reads header fields and body of a request as if they were a response's; without framing there is none."""
    rest = _Bytes(b"HTTP/1.1 200 OK\r\n" + client.getvalue()[client.tell() :])
    body = _read(rest, "GET", unframed="none")
    client.seek(len(client.getvalue()) - len(rest.getvalue()) + rest.tell())
    return body


def _read(stream: _Bytes, method: str, unframed: str = "close-delimited") -> Body:
    response = http.client.HTTPResponse(cast("socket.socket", stream), method=method)
    response.begin()
    if method == "CONNECT" and response.status < 300:
        return Body(0, "tunnel", response.status)
    if method == "HEAD" or response.status in (204, 304) or response.status < 200:
        return Body(0, "none", response.status)
    framed = response.length is not None or response.chunked
    if not framed and unframed == "none":
        return Body(0, unframed)
    try:
        size = len(response.read())
    except http.client.IncompleteRead as error:
        size = len(error.partial)
    return Body(size, "chunked" if response.chunked else "content-length" if framed else unframed, response.status)
