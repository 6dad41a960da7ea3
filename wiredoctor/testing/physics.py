"""Model the network path of one connection: when data arrives, what is acknowledged, and where packets are captured."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import accumulate

from wiredoctor.testing.wire import ACK, DAMAGED, RST, SYN, Packet

TOLERANCE = 1_000
"""The time in ns by which a reply may come too early, because the times in ladders are rounded."""


class LadderError(ValueError):
    """The ladder is invalid or physically impossible."""


def acknowledge(packets: Sequence[Packet], patience: Mapping[int, int]) -> list[Packet]:
    """Return the packets of a connection with all acknowledgment numbers filled in.

    Each packet acknowledges the data that could have reached its sender before the packet was sent. `patience`: the sides that
    also send pure ACKs, each with the time (ns) from the arrival of data to its ACK.
    """
    waiting = sorted(packets, key=lambda p: p.time)
    trips = round_trips(waiting) or (0, 0)
    done: list[Packet] = []
    while waiting:
        packet = _with_ack(waiting.pop(0), done, trips)
        done.append(packet)
        other = 1 - packet.side
        if not packet.payload or other not in patience or packet.checksum == DAMAGED:
            continue
        due = packet.time + patience[other]
        if not any(p.side == other and p.flags & ACK and p.time <= due for p in waiting):
            waiting = sorted([*waiting, _pure_ack(packet, [*done, *waiting], due)], key=lambda p: p.time)
    return done


def _with_ack(packet: Packet, before: Sequence[Packet], trips: tuple[int, int]) -> Packet:
    """Return the packet with an acknowledgment of everything that its sender has received in order.

    `before`: the earlier packets of the connection. `trips`: the round-trip times (ns) from the capture point to the client and
    to the server.
    """
    arrived = [p for p in before if p.side != packet.side and p.time + trips[packet.side] <= packet.time + TOLERANCE]
    arrived = [p for p in arrived if p.checksum != DAMAGED]
    if packet.timestamps and packet.echo is None and packet.flags & ACK:
        packet = replace(packet, echo=_echo(packet, arrived, before, trips))
    if packet.ack is not None or not packet.flags & ACK:
        return packet
    expected = arrived[0].seq if arrived else 1
    for received in sorted(arrived, key=lambda p: p.seq):
        if received.seq <= expected:
            expected = max(expected, received.end)
    return replace(packet, ack=expected)


def _echo(packet: Packet, arrived: Sequence[Packet], before: Sequence[Packet], trips: tuple[int, int]) -> int | None:
    """Return the time (ns) whose timestamp the packet echoes; None if the peer has sent no timestamp.

    The echoed timestamp is that of the newest segment whose sequence number is at most the last ACK number sent (RFC 7323 section
    4.3). `arrived`: the packets that the sender has received. `before`, `trips`: as in `_with_ack`.
    """
    recent: int | None = None
    for received in arrived:
        sent = [p.ack or 0 for p in before if p.side == packet.side and p.time < received.time + trips[packet.side]]
        if received.timestamps and received.seq <= max(sent, default=0) and received.left is not None:
            recent = max(received.left, recent or received.left)
    return recent


def _pure_ack(of: Packet, packets: Sequence[Packet], time: int) -> Packet:
    before = [p for p in packets if p.side != of.side and p.time <= time]
    last = max(before, key=lambda p: p.time, default=None)
    seq = max((p.end for p in before), default=1)
    window = 64240 if last is None or last.flags & SYN else last.window
    return Packet(of.peers, 1 - of.side, time, ACK, seq, window=window, timestamps=bool(last and last.timestamps), left=time)


def round_trips(packets: Sequence[Packet]) -> tuple[int, int] | None:
    """Return the round-trip times (ns) from the capture point to the client and to the server; None if there is no handshake.

    The round-trip time to the server is the shortest time between a SYN-ACK and the newest SYN before it.
    """
    syns = [p for p in packets if p.flags & SYN and p.side == 0]
    answers = [p for p in packets if p.flags & SYN and p.flags & ACK and p.side == 1]
    done = next((p for p in packets if p.side == 0 and p.flags & ACK and answers and p.time >= answers[0].time), None)
    answer = next((p for p in reversed(answers) if done is None or p.time <= done.time), None)
    waits = [a.time - max(asked) for a in answers if (asked := [p.time for p in syns if p.time <= a.time])]
    if answer is None or not waits:
        return None
    return (done.time - answer.time if done else 0, min(waits))


def reject_the_impossible(packets: Sequence[Packet]) -> None:
    """Raise LadderError if a side acknowledges data before that data can have reached it."""
    trips = round_trips(packets)
    if trips is None:
        return
    first_sent: dict[tuple[int, int], int] = {}
    for packet in sorted(packets, key=lambda p: -p.time):
        if packet.end > packet.seq:
            first_sent[packet.side, packet.seq] = packet.time
    for side, trip in enumerate(trips):
        sent = [p for p in packets if p.side != side and p.end > p.seq]
        by_end = sorted((p.end, first_sent[p.side, p.seq]) for p in sent)
        ends = [end for end, _ in by_end]
        newest = [*accumulate((first for _, first in by_end), max)]
        for answer in packets:
            if answer.side != side or answer.ack is None or answer.flags & RST:
                continue
            acknowledged = bisect_right(ends, answer.ack)
            if acknowledged and answer.time < newest[acknowledged - 1] + trip - TOLERANCE:
                packet = next(p for p in sent if p.end <= answer.ack and first_sent[p.side, p.seq] == newest[acknowledged - 1])
                raise LadderError(
                    f"packet {answer.row} acknowledges packet {packet.row} after "
                    f"{(answer.time - newest[acknowledged - 1]) / 1e6} ms; "
                    f"according to the handshake, an acknowledgment takes at least {trip / 1e6} ms"
                )


def move(packets: Sequence[Packet], at: str | None) -> list[Packet]:
    """Return the packets as captured at the client, in the middle of the path, or at the server; unchanged if `at` is None.

    Nearer to the server, packets of the client are captured later, and packets of the server earlier.
    """
    trips = round_trips(packets)
    if at is None or trips is None:
        return list(packets)
    towards_client, towards_server = trips
    whole = (towards_client + towards_server) // 2
    distance = {"client": 0, "middle": whole // 2, "server": whole}[at] - towards_client // 2
    return [replace(p, time=p.time + (distance if p.side == 0 else -distance)) for p in packets]
