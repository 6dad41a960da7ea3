"""Measure from tshark's timestamps how long a side waited in a recording, by the definitions of the rules."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING

from evidence import ACK, FIN, SYN, Segment, client_port, fields, round_trip, segments

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

AT_ONCE, DELAYED_ACK = 0.005, 0.030
"""The time in seconds below which an ACK was not delayed, and the shortest delayed-ACK timer that is common."""

RELEASED_WITHIN = 0.0015
"""The time in seconds in which a kernel sends what an ACK released; a tenth of the round trip if that is more."""

FULL = 1_380
"""The payload in bytes from which a segment is full, with an MTU of 1500 and all options that occur here."""


@dataclass(frozen=True)
class Wait:
    """A wait: the kind of the fault (None if the rule has no kinds), and its duration in seconds."""

    kind: str | None
    delay: float


@dataclass(frozen=True)
class _Held:
    """A data segment, the ACK that answered it, and the next segment of the same side; times in seconds.

    `wait`: the time until the ACK, minus the round trip to the receiver. `lateness`: how much later than one round trip the next
    segment came.
    """

    data: Segment
    after: Segment
    wait: float
    lateness: float
    released: bool


def _held(stream: list[Segment], side: str) -> list[_Held]:
    """Return the places where a side of a connection sent a segment, got a pure ACK for it, and then sent the next segment."""
    client = client_port(stream)
    server = stream[0].port + stream[0].to_port - client
    sender, receiver = (client, server) if side == "client" else (server, client)
    to_sender, to_receiver = round_trip(stream, sender), round_trip(stream, receiver)
    found: list[_Held] = []
    for data, ack, after in zip(stream, stream[1:], stream[2:], strict=False):
        in_turn = data.port == after.port == sender != ack.port
        if in_turn and data.length and ack.pure_ack and ack.ack == data.end and after.length:
            released = abs(after.time - ack.time - to_sender) < max(RELEASED_WITHIN, 0.1 * to_sender)
            late = after.time - data.time - to_sender - to_receiver
            found.append(_Held(data, after, ack.time - data.time - to_receiver, late, released))
    return found


def nagle(path: Path, number: int, side: str) -> list[Wait]:
    """Return the waits of small segments of a side for a delayed ACK.

    The delay is the time until the ACK, minus the median lateness of such segments after prompt ACKs, because the application
    would have been that late anyway.
    """
    found: list[Wait] = []
    prompt: dict[str, list[float]] = {}
    for held in _held(segments(path)[number], side):
        kind = _kind(path, held.data)
        before = prompt.setdefault(kind, [])
        if held.wait < AT_ONCE:
            before.append(max(0.0, held.lateness))
        elif held.wait >= DELAYED_ACK and held.released:
            found.append(Wait(kind, held.wait - (median(before[-16:]) if before else 0.0)))
    return found


def _kind(path: Path, data: Segment) -> str:
    """Return the kind of a wait, by the segment before it: a head (the payload ends with an empty line; no body here does), a
    full segment, or another piece.
    """
    [[payload]] = fields(path, f"frame.number == {data.frame}", "tcp.payload")
    if payload.endswith("0d0a0d0a"):
        return "head-body-split"
    return "tail" if data.length >= FULL else "write-write-read"


def delayed_acks(path: Path, number: int, side: str) -> list[Wait]:
    """Return the waits of full segments of a side for a delayed ACK."""
    held = _held(segments(path)[number], side)
    return [Wait(None, h.wait) for h in held if h.released and h.wait >= DELAYED_ACK and h.after.length >= FULL]


def thinking(path: Path, number: int, _: str) -> list[Wait]:
    """Return the times from the last byte of each request to the first of its response, minus the round trip to the server, if
    they are a second or more.
    """
    stream = segments(path)[number]
    client = client_port(stream)
    data = [segment for segment in stream if segment.length]
    turns = [(before, after) for before, after in pairwise(data) if before.port == client != after.port]
    rtt = round_trip(stream, stream[0].port + stream[0].to_port - client)
    return [Wait(None, wait) for before, after in turns if (wait := after.time - before.time - rtt) >= 1]


def expecting(path: Path, number: int, _: str) -> list[Wait]:
    """Return the times from the head of each request with Expect: 100-continue to the first byte of its body."""
    rows = fields(path, f'tcp.stream == {number} && tcp.payload contains "Expect: 100-"', "frame.number")
    stream = segments(path)[number]
    starts = {int(frame) for [frame] in rows}
    data = [segment for segment in stream if segment.length and segment.port == client_port(stream)]
    return [Wait(None, after.time - head.time) for head, after in pairwise(data) if head.frame in starts]


def closed_window(path: Path, number: int, side: str) -> list[Wait]:
    """Return the times from each zero window of this side to the announcement that opens it again, if they are 100 ms or more."""
    stream = segments(path)[number]
    receiver_is_client = side == "client"
    since: float | None = None
    found: list[Wait] = []
    for segment in stream:
        if (segment.port == client_port(stream)) == receiver_is_client and not segment.flags & FIN:
            if segment.window == 0 and since is None:
                since = segment.time
            elif segment.window and since is not None:
                found.append(Wait(None, segment.time - since))
                since = None
    return [wait for wait in found if wait.delay >= 0.1]


def repeated(path: Path, number: int, _: str) -> list[Wait]:
    """Return the times from the last progress (new data, or an ACK that advances) to the retransmission that was then
    acknowledged.

    Waits below 150 ms are left out. The kind is "fast" after three duplicate ACKs, otherwise "timeout".
    """
    found: list[Wait] = []
    highest: dict[int, int] = {}
    acknowledged: dict[int, int] = {}
    duplicates: dict[int, int] = {}
    progress = 0.0
    again: dict[int, Wait] = {}
    for segment in segments(path)[number]:
        new = segment.length > 0 and segment.end > highest.get(segment.port, -1)
        advances = segment.ack > acknowledged.get(segment.port, -1)
        if segment.length and not new and segment.end > acknowledged.get(segment.to_port, -1):
            kind = "fast" if duplicates.get(segment.to_port, 0) >= 3 else "timeout"
            again[segment.port] = Wait(kind, segment.time - progress)
        if advances and (repair := again.pop(segment.to_port, None)) and repair.delay >= 0.15:
            found.append(repair)
        duplicates[segment.port] = 0 if advances else duplicates.get(segment.port, 0) + segment.pure_ack
        highest[segment.port] = max(highest.get(segment.port, -1), segment.end)
        acknowledged[segment.port] = max(acknowledged.get(segment.port, -1), segment.ack)
        if new or advances:
            progress = segment.time
    return found


def _until_the_close(path: Path, number: int) -> float:
    """Return the time from the last byte of a close-delimited body to the server's FIN."""
    stream = segments(path)[number]
    from_server = [segment for segment in stream if segment.port != client_port(stream)]
    last = max((segment for segment in from_server if segment.length), key=lambda segment: segment.time)
    return next(segment for segment in from_server if segment.flags & FIN).time - last.time


def late_end(path: Path, number: int, _: str) -> list[Wait]:
    """Return how long a client waited for the announced close that ends a body."""
    return [Wait("close-delimited", _until_the_close(path, number))]


def unknown_end(path: Path, number: int, _: str) -> list[Wait]:
    """Return how long a client waited for an unannounced close that ends a body."""
    return [Wait("left-waiting", _until_the_close(path, number))]


def handshakes(path: Path) -> list[Wait]:
    """Return the total duration of the handshakes of all connections after the first."""
    opened = [stream[2].time - stream[0].time for stream in segments(path).values()]
    return [Wait(None, sum(opened[1:]))]


def challenges(path: Path) -> list[Wait]:
    """Return the total duration of refused exchanges after the first, as their client saw it. Each message is one segment."""
    refused = {int(frame) for [frame] in fields(path, "http.response.code == 401", "frame.number")}
    took: list[float] = []
    for stream in segments(path).values():
        to_client = round_trip(stream, client_port(stream))
        data = [segment for segment in stream if segment.length]
        took += [answer.time - request.time + to_client for request, answer in pairwise(data) if answer.frame in refused]
    return [Wait(None, sum(took[1:]))]


def asked_again(path: Path, connection: int, _: str) -> list[Wait]:
    """Return the time from the first SYN to the last one before the SYN-ACK that the client acknowledged.

    If only the SYN-ACK was repeated, return the time from the first SYN-ACK to that one.
    """
    stream = segments(path)[connection]
    syns = [s for s in stream if s.flags & SYN and not s.flags & ACK]
    first_ack = next(s for s in stream if s.port == syns[0].port and s.flags & ACK)
    answers = [s for s in stream if s.flags & SYN and s.flags & ACK and s.time <= first_ack.time]
    helpful = [s for s in syns if s.time <= answers[-1].time][-1]
    return [Wait(None, helpful.time - syns[0].time or answers[-1].time - answers[0].time)]


MEASURES: dict[str, Callable[[Path, int, str], list[Wait]]] = {
    "nagle-delayed-ack": nagle,
    "delayed-ack-stall": delayed_acks,
    "slow-response": thinking,
    "expect-continue-stall": expecting,
    "zero-window-stall": closed_window,
    "retransmission-stall": repeated,
    "connect-retry": asked_again,
    "lingering-close": late_end,
    "missing-framing": unknown_end,
}
"""For each rule, the function that measures its delays, given a recording, a connection id and the side at fault."""

SUMMARIES: dict[str, Callable[[Path], list[Wait]]] = {
    "keep-alive-disabled": handshakes,
    "no-connection-reuse": handshakes,
    "repeated-auth-challenge": challenges,
}
"""Like MEASURES, for findings about an endpoint, which must be the only one of the recording."""
