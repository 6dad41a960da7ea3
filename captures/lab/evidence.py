"""Read a recording with tshark: the evidence for its label that does not depend on wiredoctor.

The standard library's http.client determines the sizes of bodies in the streams that tshark follows.
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
"""A display filter that excludes ICMP errors, because tshark dissects the packets quoted in them as if these were sent."""


def tshark(path: Path, *words: str, within: int = 120) -> str:
    """Return the standard output of tshark. A truncated file does not count as a failure."""
    command = ["tshark", "-n", "-r", str(path), *words]
    done = subprocess.run(command, capture_output=True, check=False, timeout=within, text=True)
    return done.stdout


def fields(path: Path, expression: str, *names: str, whole: bool = True) -> list[list[str]]:
    """Return one row per packet that matches the display filter, with several values of a field joined by commas.

    If `whole` is false, incomplete messages are included. Packets quoted in ICMP errors are excluded; the errors themselves match
    only the filter "frame".
    """
    words = [word for name in names for word in ("-e", name)]
    if expression != "frame":
        expression = f"!icmp && !icmpv6 && ({expression})"
    bodies = f"http.desegment_body:{'TRUE' if whole else 'FALSE'}"
    output = tshark(path, "-2", "-o", bodies, "-o", "tcp.reassemble_out_of_order:TRUE", "-Y", expression, "-T", "fields", *words)
    return [line.split("\t") for line in output.splitlines()]


def packets(path: Path) -> int:
    """Return the number of packets that tshark reads."""
    return len(fields(path, "frame", "frame.number"))


def acknowledges_unseen(path: Path) -> bool:
    """Return whether data was acknowledged that the recording does not contain."""
    return bool(fields(path, "tcp.analysis.ack_lost_segment", "frame.number"))


@dataclass(frozen=True)
class Segment:
    """A TCP segment. Times are seconds since the first packet; sequence numbers are relative to the start of the connection."""

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
    """The announced window, after scaling."""

    @property
    def end(self) -> int:
        """The sequence number that follows the payload."""
        return self.seq + self.length

    @property
    def pure_ack(self) -> bool:
        return not self.length and not self.flags & (FIN | SYN | RST)


def segments(path: Path) -> dict[int, list[Segment]]:
    """Return the TCP segments of each connection."""
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
    """Return the port that sent the SYN, or that received the SYN-ACK."""
    first = stream[0]
    return first.to_port if first.flags & (SYN | ACK) == SYN | ACK else first.port


def round_trip(stream: list[Segment], port: int) -> float:
    """Return the shortest round trip from the capture point to the side with this port, from the handshake, or from data and its
    ACK.
    """
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
    """Return which side closed first: client, server, "both" if neither had acknowledged the other's FIN, "" if none closed."""
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
    """Return the connections that the server closed although their last request had no response, with the kind of the loss.

    The kind is "acknowledged" if the close acknowledges the request. Otherwise it is "stale-pool" if the request acknowledges the
    close, and "race" if not. Each request must be a single segment.
    """
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
    """The start lines of a connection as tshark dissects them."""

    methods: list[str]
    targets: list[str]
    statuses: list[int]


def heads(path: Path, *, whole: bool) -> dict[int, Heads]:
    """Return the start lines of each connection, in order."""
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
    """Return the bytes that the client and the server sent."""
    sides: tuple[list[str], list[str]] = ([], [])
    for line in tshark(path, "-q", "-z", f"follow,tcp,raw,{stream}").splitlines()[6:-1]:
        sides[line.startswith("\t")].append(line.strip())
    client, server = (bytes.fromhex("".join(side)) for side in sides)
    return client, server


class _Bytes(io.BytesIO):
    """Bytes that http.client reads like a socket: it only calls `makefile`."""

    def close(self) -> None:
        """Do nothing: http.client closes a file at the end of a message, but more messages may follow."""

    def makefile(self, *_: object) -> io.BytesIO:
        return self


@dataclass(frozen=True)
class Body:
    """The size in bytes and the framing of a message's content, and the status if it is a response."""

    size: int
    framing: str
    status: int = 0


def bodies(path: Path, stream: int, count: int) -> tuple[list[Body], list[Body]]:
    """Return the bodies of the first `count` requests of a connection and of their final responses."""
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
    """Read the header section and body of a request as if it were a response. Without framing, a request has no body."""
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
