"""Plain exchanges read column by column, and the same read message by message: every table is the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.http.conversations import PEERS, Flight, packets
from tests.ladders import Packet, to_pcap
from tests.pipeline.feeding import tables

FIELDS = b"Host: a\r\nUser-Agent: x/1\r\n"
SEGMENT = 1_400


def ask(random: Random, method: bytes = b"GET", fields: bytes = b"") -> bytes:
    noise = f"X-Request-Id: {random.randrange(1 << 30):x}\r\nAccept: {random.choice('ab')}\r\n".encode()
    return b"%s /%d HTTP/1.1\r\n%s%s%s\r\n" % (method, random.randrange(1000), FIELDS, noise, fields)


def answer(random: Random, status: bytes = b"200 OK", fields: bytes = b"", body: bytes | None = None) -> bytes:
    if body is None:
        body = random.choice([b"", b"HTTP/1.1 200 OK\r\n\r\n", b"x" * random.randrange(4_000)])
    date = b"Date: %d\r\nServer: s\r\n" % random.randrange(3)
    return b"HTTP/1.1 %s\r\n%s%sContent-Length: %d\r\n\r\n%s" % (status, date, fields, len(body), body)


def whole(side: int, data: bytes) -> Flight:
    return Flight(side, data, list(range(SEGMENT, len(data), SEGMENT)))


def plain(random: Random) -> list[Flight]:
    return [whole(0, ask(random)), whole(1, answer(random))]


def two_segments(random: Random) -> list[Flight]:
    """The request's head, or the response's, lies in two packets."""
    question, response = ask(random), answer(random)
    side = random.randrange(2)
    cut = Flight(side, (question, response)[side], [random.randrange(1, 40)])
    return [cut, whole(1, response)] if side == 0 else [whole(0, question), cut]


def odd(random: Random) -> list[Flight]:
    """What is not plain, or only nearly."""
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nHTTP\r\n0\r\n\r\n"
    upload = ask(random, b"POST", b"Content-Length: 5\r\n") + b"hello"
    question, response = random.choice([
        (ask(random), chunked),
        (ask(random, b"HEAD"), b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"),
        (ask(random), b"HTTP/1.1 204 No Content\r\n\r\n"),
        (ask(random), answer(random, b"304 Not Modified", body=b"")),
        (upload, answer(random)),
        (ask(random), b"HTTP/1.1 103 Early Hints\r\n\r\n" + answer(random)),
        (ask(random), answer(random, fields=b"Connection: close\r\n")),
        (ask(random, fields=b"Connection: close\r\n"), answer(random)),
        (ask(random, b"BREW"), answer(random)),
        (ask(random).replace(b"\r\n", b"\n"), answer(random)),
        (ask(random).replace(b"Accept:", b"Accept :"), answer(random)),
        (ask(random).replace(b"Request-Id: ", b"Request-Id: \0"), answer(random)),
        (ask(random), answer(random, fields=b"X: a\r\n b\r\n")),
        (ask(random), b"HTTP/1.1 304 Not\x01Modified\r\n\r\n"),
        (ask(random), answer(random, fields=b"Content-Length: 7\r\n", body=b"hello")),
        (ask(random), answer(random, body=b"hello") + random.choice([b"", b"!", b"\r\n", b"HT"])),
        (ask(random), b"HTTP/1.1 204 No Content\r\n\r\n" + random.choice([b"", b"hello", b"H"])),
        (ask(random) + random.choice([b"", b"name=value", b"GE", b"name"]), answer(random)),
        (ask(random), answer(random, fields=b"Content-Type: text/event-stream\r\n")),
        (ask(random), answer(random).replace(b"HTTP/1.1", b"HTTP/1.0")),
        (ask(random) + ask(random), answer(random) + answer(random)),
        (ask(random), b"HTTP/1.1 200 OK\r\nX: " + b"y" * random.choice([500, 2_100]) + b"\r\nContent-Length: 0\r\n\r\n"),
    ])  # fmt: skip
    return [whole(0, question), whole(1, response)]


def pipelined(random: Random) -> list[Flight]:
    count = random.randrange(2, 4)
    return [whole(0, ask(random)) for _ in range(count)] + [whole(1, answer(random)) for _ in range(count)]


KINDS: list[Callable[[Random], list[Flight]]] = [plain, plain, plain, plain, plain, two_segments, odd, pipelined]


def capture(random: Random) -> list[Packet]:
    """A few connections side by side, from some of which packets are missing, or their beginning."""
    made: list[Packet] = []
    for number in range(random.randrange(1, 4)):
        flights = [flight for _ in range(random.randrange(1, 12)) for flight in random.choice(KINDS)(random)]
        sent = packets(flights, handshake=random.random() < 0.8, closing=random.choice([None, 0, 1]))
        if random.random() < 0.3:
            del sent[random.randrange(len(sent))]
        other = replace(PEERS, client=f"10.0.0.1:{40_000 + number}")
        made += [replace(packet, peers=other, time=packet.time + number * 3_000) for packet in sent]
    return sorted(made, key=lambda packet: packet.time)


@given(st.integers(0, 2**32), st.sampled_from([128_000, 128_000, 40, 9]))
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_tables_are_the_same(tmp_path: Path, seed: int, epoch: int) -> None:
    path = tmp_path / "x.pcap"
    path.write_bytes(to_pcap(capture(Random(seed))))
    by_message, by_column = tables(path, epoch, messages=True), tables(path, epoch, messages=False)
    for name in ("segments", "bursts", "faults", "exchanges", "finished", "connections"):
        expected, seen = by_message[name], by_column[name]
        assert [c for c in expected.columns if not expected[c].equals(seen[c])] == [], name


def test_most_of_this_is_read_column_by_column(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from wiredoctor import http

    read, found = http.read_plain, list[int]()

    def counting(*arguments: object) -> object:
        result = read(*arguments)  # type: ignore[arg-type]
        found.append(0 if result is None else len(result.rows.slot))
        return result

    monkeypatch.setattr(http, "read_plain", counting)
    path = tmp_path / "x.pcap"
    rows = 0
    for seed in range(40):
        path.write_bytes(to_pcap(capture(Random(seed))))
        rows += tables(path, messages=False)["exchanges"].height
    assert sum(found) > rows // 5
