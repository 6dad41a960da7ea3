"""Pairs in captures with missing packets: a pair that does not say that it is only assumed is right.

The conversations are made here, so each pair is known: request N asks for /N, and of each response it is noted where it begins in
the server's stream. Then packets are removed at random.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core import feeding
from tests.core.talk import rows
from tests.support.sweeps import examples
from wiredoctor.testing import Packet, to_pcap
from wiredoctor.testing.wire import ACK, FIN, PSH, SYN, Peers

MS = 1_000_000
METHODS = ("GET", "GET", "GET", "HEAD", "POST")
CLIENT, SERVER = 0, 1


class Conversation:
    """A connection that carries HTTP: packets in the order of their times."""

    def __init__(self, draw: random.Random, methods: Sequence[str] = METHODS) -> None:
        self.draw, self.methods = draw, methods
        self.packets: list[Packet] = []
        self.peers = Peers("10.0.0.1:5000", "10.0.0.2:80", (1000, 9000))
        self.now = 0
        self.sent = [1, 1]
        """The next sequence number of each side."""
        self.received = [1, 1]
        """What each side has of the other one."""
        self.add(CLIENT, SYN, seq=0, ack=None)
        self.add(SERVER, SYN | ACK, seq=0, ack=1)
        self.add(CLIENT, ACK)
        self.requests = 0
        self.begins: dict[int, int] = {}
        """The request that the response at an offset answers."""

    def add(self, side: int, flags: int, payload: bytes = b"", seq: int | None = None, ack: int | None = -1) -> None:
        """Send a packet a moment later."""
        self.now += self.draw.choice((0, 1, 5)) * MS + 1000
        at = self.sent[side] if seq is None else seq
        number = self.received[side] if ack == -1 else ack
        self.packets.append(Packet(self.peers, side, self.now, flags, at, number, payload))
        if seq is None:
            self.sent[side] += len(payload) + bool(flags & FIN)

    def arrive(self, side: int) -> None:
        """Let a side have all that the other one has sent, and sometimes say so."""
        self.received[side] = self.sent[1 - side]
        if self.draw.random() < 0.4:
            self.add(side, ACK)

    def write(self, side: int, data: bytes) -> None:
        """Send bytes in one to three packets."""
        cuts = sorted(self.draw.randrange(1, len(data)) for _ in range(self.draw.choice((0, 0, 0, 1, 2))))
        for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
            if start < end:
                self.add(side, ACK | PSH, data[start:end])

    def ask(self) -> tuple[int, str]:
        """Send a request, and return its number and method."""
        number, method = self.requests, self.draw.choice(self.methods)
        self.requests += 1
        body = b"b" * self.draw.choice((1, 40)) if method == "POST" else b""
        head = f"{method} /{number} HTTP/1.1\r\nHost: a\r\n" + (f"Content-Length: {len(body)}\r\n" if body else "")
        self.write(CLIENT, head.encode() + b"\r\n" + body)
        return number, method

    def answer(self, number: int, method: str) -> None:
        """Send the responses to a request: sometimes an interim one before the final one."""
        draw = self.draw
        if draw.random() < 0.1:
            self.begins[self.sent[SERVER] - 1] = number
            self.write(SERVER, b"HTTP/1.1 103 Early Hints\r\n\r\n")
        status, body = draw.choice(((200, 60), (200, 5), (204, 0), (304, 0), (200, -1)))
        head = f"HTTP/1.1 {status} OK\r\n"
        if body < 0:
            content = b"".join(b"%x\r\n%b\r\n" % (n, b"c" * n) for n in (3, draw.randrange(1, 30))) + b"0\r\n\r\n"
            head += "Transfer-Encoding: chunked\r\n"
        else:
            content = b"r" * body
            head += f"Content-Length: {body}\r\n" if status == 200 else ""
        self.begins[self.sent[SERVER] - 1] = number
        self.write(SERVER, head.encode() + b"\r\n" + (b"" if method == "HEAD" else content))

    def pipeline(self, count: int) -> None:
        """Send requests, then their responses."""
        asked = [self.ask() for _ in range(count)]
        for number, method in asked:
            self.arrive(SERVER)
            self.answer(number, method)
        self.arrive(CLIENT)
        self.now += self.draw.choice((0, 20, 20, 1500)) * MS

    def slide(self, count: int, depth: int) -> None:
        """Send requests of which some are always outstanding."""
        asked = [self.ask() for _ in range(depth)]
        for _ in range(count):
            self.arrive(SERVER)
            self.answer(*asked.pop(0))
            self.arrive(CLIENT)
            asked.append(self.ask())
        for number, method in asked:
            self.arrive(SERVER)
            self.answer(number, method)
        self.arrive(CLIENT)

    def close(self) -> None:
        """Let the server close."""
        self.add(SERVER, ACK | FIN)
        self.received[CLIENT] = self.sent[SERVER]
        self.add(CLIENT, ACK | FIN)


def wrong(talk: Conversation, kept: Sequence[Packet]) -> list[str]:
    """Return the pairs, and the requests without a response, that are not said to be assumed and are wrong."""
    answered = set(talk.begins.values())
    said: list[str] = []
    for row in rows(kept):
        if not row["has_request"] or row["pairing_assumed"]:
            continue
        asked = int(row["request_target"][1:])
        if row["has_response"]:
            # each message begins with a packet
            frame: int = row["response_frame"]
            answers = talk.begins[kept[frame - 1].seq - 1]
            if answers != asked:
                said.append(f"/{asked} -> {answers}")
        elif asked in answered:
            said.append(f"/{asked} -> none")
    return said


def lose(packets: Sequence[Packet], draw: random.Random, share: float, first: int = 3) -> list[Packet]:
    """Return what a capture has of packets: those before `first`, the last two, and a part of the others."""
    last = len(packets) - 2
    return [packet for i, packet in enumerate(packets) if i < first or i >= last or draw.random() >= share]


@pytest.mark.slow
@settings(deadline=None, max_examples=examples(150))
@given(st.randoms(use_true_random=False), st.sampled_from((0.0, 0.03, 0.15, 0.5)), st.booleans())
def test_no_pair_is_wrong_that_is_certain(draw: random.Random, share: float, pipelines: bool) -> None:
    """A client that sends a request, or a pipeline, when it has all responses."""
    talk = Conversation(draw)
    for _ in range(draw.randrange(2, 9)):
        talk.pipeline(draw.choice((1, 2, 3)) if pipelines else 1)
    if draw.random() < 0.5:
        for _ in range(draw.choice((1, 2)) if pipelines else 1):
            talk.ask()
        talk.received[SERVER] = talk.sent[CLIENT]
    talk.close()
    # the capture may begin without the handshake
    kept = lose(talk.packets, draw, share, 3 if pipelines else 0)
    assert wrong(talk, kept) == []
    if share == 0:
        found = rows(kept)
        assert [row["pairing_assumed"] for row in found] == [False] * talk.requests
        assert [row["has_response"] for row in found] == [n in talk.begins.values() for n in range(talk.requests)]


@pytest.mark.slow
@settings(deadline=None, max_examples=examples(150))
@given(st.randoms(use_true_random=False), st.sampled_from((0.03, 0.15, 0.5)))
def test_nor_if_requests_are_always_outstanding(draw: random.Random, share: float) -> None:
    """The client shows that it pipelines so before a packet is missing."""
    talk = Conversation(draw)
    talk.slide(2, 2)
    shown = len(talk.packets)
    talk.slide(draw.randrange(1, 9), draw.choice((1, 2, 3)))
    talk.close()
    assert wrong(talk, lose(talk.packets, draw, share, shown)) == []


@pytest.mark.parametrize("seed", [10416, 19461, 21827, 33648, 36269])
def test_a_response_may_have_no_body_if_the_start_of_its_request_is_missing(seed: int) -> None:
    """In each conversation the response to HEAD has a length but no body, and the capture lacks the start of that request."""
    draw = random.Random(seed)
    talk = Conversation(draw)
    for _ in range(draw.choice((1, 1, 2, 2, 3))):
        talk.pipeline(draw.choice((1, 2, 3)))
    talk.close()
    assert wrong(talk, lose(talk.packets, draw, draw.choice((0.1, 0.25)), draw.choice((0, 3)))) == []


def test_a_response_may_begin_before_the_first_captured_byte_of_the_server() -> None:
    """The capture lacks the server's SYN, earlier exchanges, a part of the request, and the first part of its response."""
    talk = Conversation(random.Random(0))
    talk.sent, talk.received = [79, 67], [67, 79]
    for part in (b"GET /0 HTTP/1.1\r\nHo", b"st:", b" a\r\n\r\n"):
        talk.add(CLIENT, ACK | PSH, part)
    talk.received[SERVER] = talk.sent[CLIENT]
    talk.begins[talk.sent[SERVER] - 1] = 0
    talk.add(SERVER, ACK | PSH, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nrr")
    talk.add(SERVER, ACK | PSH, b"rrr")
    talk.received[CLIENT] = talk.sent[SERVER]
    for part in (b"GET /1 HTTP/1.1\r\n", b"Host: a\r\n\r\n"):
        talk.add(CLIENT, ACK | PSH, part)
    talk.received[SERVER] = talk.sent[CLIENT]
    talk.close()
    assert wrong(talk, [packet for i, packet in enumerate(talk.packets) if i not in (1, 2, 4, 6)]) == []


@pytest.mark.parametrize("seed", range(60))
def test_pairs_are_certain_again_soon(seed: int) -> None:
    """Requests one by one; behind the last packet that is missing two exchanges later at most, each pair is found."""
    draw = random.Random(seed)
    talk = Conversation(draw, ("GET", "POST"))
    for _ in range(4):
        talk.pipeline(1)
    damaged = len(talk.packets)
    first = talk.requests + 2
    for _ in range(5):
        talk.pipeline(1)
    talk.close()
    kept = lose(talk.packets[:damaged], draw, 0.4) + talk.packets[damaged:]
    found = {row["request_target"]: row for row in rows(kept)}
    for number in range(first, talk.requests):
        row = found[f"/{number}"]
        assert (row["has_response"], row["pairing_assumed"]) == (True, False)


@pytest.mark.parametrize("seed", range(6))
def test_steps_do_not_matter(seed: int, tmp_path: Path) -> None:
    draw = random.Random(seed)
    talk = Conversation(draw)
    for _ in range(12):
        talk.pipeline(draw.choice((1, 1, 3)))
    talk.close()
    path = tmp_path / "gaps.pcap"
    path.write_bytes(to_pcap(lose(talk.packets, draw, 0.15)))
    whole = feeding.tables(path)
    for most in (1, 7):
        parts = feeding.tables(path, most)
        for name, frame in whole.items():
            assert parts[name].equals(frame), (name, most)
