"""Parse the text of a ladder into packets."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from decimal import Decimal

from wiredoctor.testing.physics import LadderError, acknowledge, move, reject_the_impossible
from wiredoctor.testing.wire import CHECKSUMS, FLAGS, Packet, Peers

_PACKET = re.compile(r"(\+?)(\d+(?:\.\d+)?)\s+([<>])\s+([SFRPUEC.]+)(?:\s+(.*))?$")
_PIECE = re.compile(r'"(?:[^"\\]|\\.)*"(?:\*\d+)?|[A-Za-z]+\*\d+|\+|\d+:\d+\(\d+\)|\d+:\d+|[A-Za-z]+|\d+\.\d+|\d+')
_NUMBERS = ("ack", "win", "mss", "wscale", "ttl", "id", "snap", "mac")
_TIMES = ("left", "echo")
_WORDS = ("ts", "uncaptured", "vxlan", *CHECKSUMS)

__all__ = ["LadderError", "Packet", "ladder_packets", "packet_lines"]


@dataclass
class _Conversation:
    """The state of a connection while its lines are parsed. Lists have the client's value first.

    `start`: the time (ns) from which its lines count their times. `now`: the time (ns) of its latest line. `sent`: the next
    sequence number of each side. `window`: each side's window in bytes. `shift`: each side's window scale.
    """

    peers: Peers
    start: int = 0
    now: int = 0
    sent: list[int] = field(default_factory=lambda: [1, 1])
    window: list[int] = field(default_factory=lambda: [64240, 64240])
    shift: list[int] = field(default_factory=lambda: [0, 0])


def ladder_packets(text: str, at: str | None = None) -> list[Packet]:
    """Return the packets of a ladder as captured, in time order.

    `at`: the capture point (client, middle or server); None for the point at which the ladder is written. Raise LadderError if a
    line is invalid, or if a packet is faster than the round trip allows.
    """
    packets: list[Packet] = []
    conversations: dict[int, _Conversation] = {}
    current: _Conversation | None = None
    patience: dict[tuple[Peers, int], int] = {}
    for line in packet_lines(text):
        if line.startswith("connection "):
            current = _conversation(conversations, line)
            continue
        current = current or _conversation(conversations, "connection 1")
        if match := _PACKET.match(line):
            packets.append(_packet(current, match, len(packets) + 1))
        elif match := re.match(r"(client|server) acks after ([\d.]+)$", line):
            patience[(current.peers, ("client", "server").index(match[1]))] = _nanoseconds(match[2])
        else:
            raise LadderError(f"cannot read: {line}")
    for conversation in conversations.values():
        own = [p for p in packets if p.peers == conversation.peers]
        mine = {side: after for (peers, side), after in patience.items() if peers == conversation.peers}
        own = acknowledge(own, mine)
        reject_the_impossible(own)
        packets = [p for p in packets if p.peers != conversation.peers] + move(own, at)
    rows = {
        p.row: i for i, p in enumerate((p for p in sorted(packets, key=lambda p: p.row) if p.row and not p.uncaptured), start=1)
    }
    captured = [replace(p, row=rows.get(p.row, 0)) for p in packets if not p.uncaptured]
    return sorted(captured, key=lambda p: (p.time, p.row or len(packets)))


def packet_lines(text: str) -> Iterator[str]:
    """Yield the lines of a ladder with its repetitions expanded, without its title, comments and expectations."""
    lines = [line.strip() for line in text.strip().splitlines()]
    lines = [line for line in lines if line and not re.match(r"#|=>|(speaks|silent)\b.*:", line)]
    while lines:
        line = lines.pop(0)
        if match := re.match(r"repeat (\d+)$", line):
            end = lines.index("end")
            lines = lines[:end] * int(match[1]) + lines[end + 1 :]
        else:
            yield line


def _conversation(known: dict[int, _Conversation], line: str) -> _Conversation:
    """Return the connection named by a line `connection 2, start 0.5, ...`; create it if it is new."""
    first, *settings = (part.strip() for part in line.split(","))
    number = int(first.removeprefix("connection "))
    given = {name: value for name, _, value in (s.partition(" ") for s in settings)}
    if number not in known:
        client, server = given.get("client", f"10.0.0.1:{40000 + number}"), given.get("server", "10.0.0.2:80")
        isn = tuple(int(n) for n in given.get("isn", f"{1000 * number} {5000 * number}").split())
        ticks = tuple(_nanoseconds(n) for n in given.get("tick", "0.001 0.001").split())
        stamps = tuple(int(n) for n in given.get("stamp", "0 0").split())
        known[number] = _Conversation(Peers(client, server, isn, ticks, stamps))
    if "start" in given:
        known[number].start = known[number].now = _nanoseconds(given["start"])
    return known[number]


def _packet(current: _Conversation, match: re.Match[str], row: int) -> Packet:
    plus, seconds, arrow, letters, rest = match.groups()
    side = "><".index(arrow)
    flags = sum(FLAGS[letter] for letter in letters)
    numbers, ranges, payload, words, times = _read(rest or "")
    current.now = (current.now if plus else current.start) + _nanoseconds(seconds)
    left, echo = (current.start + times[name] if name in times else None for name in _TIMES)
    first = ranges["seq"][0] if "seq" in ranges else 0 if "S" in letters else current.sent[side]
    if "seq" in ranges and not payload:
        payload = b"x" * (ranges["seq"][1] - ranges["seq"][0])
    end = first + len(payload) + ("S" in letters) + ("F" in letters)
    current.sent[side] = max(current.sent[side], end)
    current.window[side] = numbers.get("win", current.window[side])
    current.shift[side] = numbers.get("wscale", current.shift[side])
    return Packet(
        peers=current.peers,
        side=side,
        time=current.now,
        flags=flags,
        seq=first,
        ack=numbers.get("ack"),
        payload=payload,
        window=current.window[side] >> (0 if "S" in letters else current.shift[side]),
        mss=numbers.get("mss"),
        wscale=numbers.get("wscale"),
        timestamps="ts" in words,
        left=current.now if left is None else left,
        echo=echo,
        sack=ranges.get("sack"),
        ttl=numbers.get("ttl", 64),
        ip_id=numbers.get("id"),
        snap=numbers.get("snap"),
        mac=numbers.get("mac"),
        uncaptured="uncaptured" in words,
        vxlan="vxlan" in words,
        checksum=next((word for word in CHECKSUMS if word in words), ""),
        row=row,
    )


def _read(rest: str) -> tuple[dict[str, int], dict[str, tuple[int, int]], bytes, set[str], dict[str, int]]:
    """Parse the text after the time, direction and flags of a packet.

    Return the numbers by name, the ranges by name, the payload, the words, and the times (ns) by name.
    """
    pieces = _PIECE.findall(rest)
    if re.sub(r"\s", "", "".join(pieces)) != re.sub(r"\s", "", rest):
        raise LadderError(f"cannot read: {rest}")
    numbers: dict[str, int] = {}
    ranges: dict[str, tuple[int, int]] = {}
    payload, words, times = b"", set[str](), dict[str, int]()
    while pieces:
        piece = pieces.pop(0)
        if piece in _NUMBERS:
            numbers[piece] = int(pieces.pop(0))
        elif piece in _TIMES:
            times[piece] = _nanoseconds(pieces.pop(0))
        elif piece == "sack":
            ranges["sack"] = _range(pieces.pop(0))
        elif re.match(r"\d+:", piece):
            ranges["seq"] = _range(piece)
        elif '"' in piece or "*" in piece:
            payload += _text(piece)
        elif piece in _WORDS:
            words.add(piece)
        elif piece != "+":
            raise LadderError(f"cannot read: {piece} in {rest}")
    return numbers, ranges, payload, words, times


def _range(piece: str) -> tuple[int, int]:
    first, end, *length = (int(n) for n in re.findall(r"\d+", piece))
    if length and length[0] != end - first:
        raise LadderError(f"{piece}: the sequence numbers differ by {end - first} bytes")
    return first, end


def _text(piece: str) -> bytes:
    text, _, times = piece.rpartition("*") if re.search(r"\*\d+$", piece) else (piece, "", "1")
    letters = ast.literal_eval(f"b{text}") if text.startswith('"') else text[:1].encode()
    return letters * int(times)


def _nanoseconds(seconds: str) -> int:
    return int(Decimal(seconds) * 1_000_000_000)
