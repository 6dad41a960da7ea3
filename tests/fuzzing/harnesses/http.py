"""Bytes of both directions, half made of what HTTP is made of, cut into segments, with holes, repetitions and other order."""

from __future__ import annotations

from dataclasses import replace

from tests.fuzzing import tokens
from tests.fuzzing.checks import check_tables, same_tables
from tests.fuzzing.choices import Choices
from tests.fuzzing.guard import must
from tests.fuzzing.places import as_file
from tests.http.conversations import Flight, packets
from tests.pipeline.feeding import tables
from wiredoctor.testing import to_pcap
from wiredoctor.testing.wire import Packet

MAX_FLIGHTS = 12
"""Flights of an input."""
MAX_STEPS = 200
"""Steps in which a conversation is read: after each, all tables are made, which takes some milliseconds."""


def run(data: bytes) -> None:
    """Read the conversation at once and in steps, with and without the table of messages."""
    choices = Choices(data)
    step, handshake, closing = choices.one((1, 2, 5, 11)), not choices.chance(4), choices.one((None, 0, 1))
    flights: list[Flight] = []
    while choices and len(flights) < MAX_FLIGHTS:
        flights.append(_flight(choices))
    if not flights:
        return
    sent = disturbed(packets(flights, handshake, closing), choices)
    with as_file(to_pcap(sent)) as path:
        seen = tables(path, messages=False)
        check_tables(seen, len(sent))
        step = max(step, len(sent) // MAX_STEPS)
        same_tables(seen, tables(path, step, messages=False), f"in steps of {step}")
        detailed = tables(path)
    same_tables({name: frame for name, frame in seen.items() if name != "messages"}, detailed, "with messages")
    _check_exchanges(flights, seen)


def _flight(choices: Choices) -> Flight:
    side = choices.below(2)
    said = b"".join(_part(choices, side) for _ in range(1 + choices.below(4)))[:20_000]
    how = choices.below(4)
    if how == 0:
        cuts = [choices.below(len(said) + 1) for _ in range(choices.below(6))]
    elif how == 1 and len(said) < 120:
        cuts = list(range(len(said)))
    else:
        cuts = list(range(1_400, len(said), 1_400))
    return Flight(side, said or b"x", cuts)


def _part(choices: Choices, side: int) -> bytes:
    how = choices.below(8)
    if how <= 3:
        return _message(choices, request=(side == 0) != choices.chance(12))
    if how == 4:
        return choices.one(tokens.HEADS)
    if how == 5:
        return choices.one(tokens.EVERY)
    if how == 6:
        return choices.bytes(choices.below(64))
    return b"x" * choices.one((1, 10, 1_460, 5_000))


def _message(choices: Choices, *, request: bool) -> bytes:
    """A head, mostly right, and a body that mostly keeps to it."""
    if request:
        method = tokens.METHODS[choices.byte() % 4 if not choices.chance(3) else choices.byte() % len(tokens.METHODS)]
        line = method + b" " + choices.one(tokens.TARGETS) + b" " + choices.one((b"HTTP/1.1", b"HTTP/1.1", *tokens.VERSIONS))
    else:
        line = choices.one((b"HTTP/1.1", b"HTTP/1.1", *tokens.VERSIONS)) + b" " + choices.one(tokens.STATUSES)
    end = choices.one((b"\r\n",) * 7 + (b"\n",))
    fields = [choices.one(tokens.FIELDS) for _ in range(choices.below(4))]
    body, how = b"", choices.below(4)
    if how == 1:
        body = b"b" * choices.one((0, 1, 5, 1_460, 4_000))
        fields.append(b"Content-Length: %d" % len(body))
    elif how == 2:
        fields.append(b"Transfer-Encoding: chunked")
        body = b"".join(choices.one(tokens.CHUNKS) for _ in range(choices.below(4))) + b"0\r\n\r\n"
    return end.join((line, *fields, b"", body))


def disturbed(sent: list[Packet], choices: Choices) -> list[Packet]:
    """Packets missing, twice, cut, with other bytes, or in another order."""
    sent = [replace(p, ip_id=n + 1) for n, p in enumerate(sent)]
    for _ in range(choices.below(5) if choices else 0):
        how, i = choices.below(7), choices.below(len(sent))
        p = sent[i]
        if how == 0 and len(sent) > 1:
            del sent[i]
        elif how == 1:
            sent.insert(i + 1, replace(p, time=p.time + 300_000, ip_id=20_000 + i))
        elif how == 2:
            sent[i] = replace(p, snap=54 + choices.below(60))
        elif how == 3 and i + 1 < len(sent):
            other = sent[i + 1]
            sent[i], sent[i + 1] = replace(other, time=p.time), replace(p, time=other.time)
        elif how == 4:
            sent.insert(min(i + 2, len(sent)), replace(p, payload=p.payload[::-1], time=p.time + 2_500_000, ip_id=30_000 + i))
        elif how == 5:
            later = choices.one((1_000_000_000, 130_000_000_000))
            sent[i:] = [replace(q, time=q.time + later) for q in sent[i:]]
        elif how == 6:
            late = sent.pop(i)
            at = min(i + choices.below(6), len(sent))
            sent.insert(at, replace(late, time=sent[at - 1].time if at else late.time))
    return sent


def _check_exchanges(flights: list[Flight], seen: dict[str, object]) -> None:
    """A side cannot have said more than it sent."""
    exchanges, connections = seen["exchanges"], seen["connections"]
    said = sum(len(f.data) for f in flights)
    counted = sum(exchanges[name].sum() or 0 for name in ("request_body_bytes", "response_body_bytes"))  # type: ignore[index]
    must(counted <= 2 * said, "bodies are no longer than what was sent", counted, said)
    must((connections["exchanges"].sum() or 0) == exchanges.height, "exchanges of connections are counted")  # type: ignore[index, attr-defined]
