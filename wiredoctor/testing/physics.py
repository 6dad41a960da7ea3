"""What a network does to the packets of one connection: acknowledgements, travel times, the place of the capture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from wiredoctor.testing.wire import ACK, RST, SYN, Packet

TOLERANCE = 1_000
"""Nanoseconds by which an answer may come too early: decimal fractions of seconds are written by people."""


class LadderError(ValueError):
    """A ladder that cannot be read, or cannot happen."""


def acknowledge(packets: Sequence[Packet], patience: Mapping[int, int]) -> list[Packet]:
    """The packets of a connection with the acknowledgement numbers that they do not name.

    A side acknowledges what can have reached it. One that has `patience` (nanoseconds) sends pure ACKs by itself.
    """
    waiting = sorted(packets, key=lambda p: p.time)
    trips = round_trips(waiting) or (0, 0)
    done: list[Packet] = []
    while waiting:
        packet = _with_ack(waiting.pop(0), done, trips)
        done.append(packet)
        other = 1 - packet.side
        due = packet.time + patience.get(other, 0)
        silent = not any(p.side == other and p.flags & ACK and p.time <= due for p in waiting)
        if packet.payload and other in patience and silent:
            waiting = sorted([*waiting, _pure_ack(packet, [*done, *waiting], due)], key=lambda p: p.time)
    return done


def _with_ack(packet: Packet, before: Sequence[Packet], trips: tuple[int, int]) -> Packet:
    """The packet acknowledging what its side has received in order by then, counted from the first of it."""
    arrived = [p for p in before if p.side != packet.side and p.time + trips[packet.side] <= packet.time + TOLERANCE]
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
    """The time stamp that the packet echoes: that of the newest segment that began at or before what was acknowledged when it
    came (RFC 7323 section 4.3)."""
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
    """Nanoseconds from the capture point to (client, server) and back, as the handshake says; None without one.

    Where SYNs or SYN-ACKs were sent again, the shortest time from the newest SYN to an answer counts.
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
    """Raises LadderError when a side acknowledges what cannot have reached it yet."""
    trips = round_trips(packets)
    if trips is None:
        return
    for answer in packets:
        if answer.ack is None or answer.flags & RST:
            continue
        sent = [p for p in packets if p.side != answer.side and p.end > p.seq]
        for packet in (p for p in sent if p.end <= answer.ack):
            first = min(p.time for p in sent if p.seq == packet.seq)
            if answer.time < first + trips[answer.side] - TOLERANCE:
                raise LadderError(
                    f"packet {answer.row} acknowledges packet {packet.row} after {(answer.time - first) / 1e6} ms; "
                    f"the handshake says that it takes {trips[answer.side] / 1e6} ms"
                )


def move(packets: Sequence[Packet], at: str | None) -> list[Packet]:
    """The packets as captured at the client, in the middle, or at the server.

    The nearer to the server, the later come the client's packets, and the sooner the server's.
    """
    trips = round_trips(packets)
    if at is None or trips is None:
        return list(packets)
    towards_client, towards_server = trips
    whole = (towards_client + towards_server) // 2
    distance = {"client": 0, "middle": whole // 2, "server": whole}[at] - towards_client // 2
    return [replace(p, time=p.time + (distance if p.side == 0 else -distance)) for p in packets]
