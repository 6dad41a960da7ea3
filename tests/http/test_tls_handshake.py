"""Handshakes are read alike in whatever pieces they were captured, and damaged ones raise nothing."""

from __future__ import annotations

from random import Random

import pytest

from tests.http.test_tls import client_hello, extension, records, server_hello, server_name, versions
from wiredoctor.protocols.tls.handshake import Handshake, find_ending

CHANGE = b"\x14\x03\x03\x00\x01\x01"
VERSIONS = 43


def record(kind: int, size: int) -> bytes:
    return bytes((kind, 3, 3)) + size.to_bytes(2, "big") + bytes(size)


def message(kind: int, size: int) -> bytes:
    return bytes((kind,)) + size.to_bytes(3, "big") + bytes(size)


Conversation = list[tuple[int, bytes]]

TLS_1_3 = [
    (0, records(client_hello(server_name(b"a.test"), versions(0x0304, 0x0303)))),
    (1, records(server_hello(extension(VERSIONS, b"\x03\x04"))) + CHANGE + record(23, 900) + record(23, 53)),
    (0, CHANGE + record(23, 53)),
    (0, record(23, 200)),
    (1, record(23, 300)),
]
TLS_1_2 = [
    (0, records(client_hello(server_name(b"a.test")))),
    (1, records(server_hello() + message(11, 900) + message(14, 0), 300)),
    (0, records(message(16, 60)) + CHANGE + record(22, 40)),
    (1, CHANGE + record(22, 40)),
    (0, record(23, 100)),
    (1, record(23, 100)),
]


def followed(conversation: Conversation, random: Random | None = None) -> Handshake:
    """Return what is known after the conversation, with a frame number for each part; `random` cuts the parts into pieces."""
    handshake = Handshake()
    for frame, (direction, data) in enumerate(conversation):
        at = 0
        while at < len(data):
            size = random.choice((1, 2, 5, 20, 300, 2000)) if random else len(data)
            handshake.add(direction, data[at : at + size], frame, frame)
            at += size
    return handshake


def state(handshake: Handshake) -> tuple[object, ...]:
    flights = [(f.hello, f.end, f.changed, f.finished, f.alert) for f in handshake.flights]
    return (*flights, handshake.result(), handshake.certificate_asked, handshake.is_complete, handshake.is_lost)


@pytest.mark.parametrize("conversation", [TLS_1_2, TLS_1_3], ids=["1.2", "1.3"])
def test_pieces_change_nothing(conversation: Conversation) -> None:
    whole = followed(conversation)
    assert (whole.is_complete, whole.is_lost) == (True, False)
    for seed in range(100):
        assert state(followed(conversation, Random(seed))) == state(whole), seed


@pytest.mark.parametrize("conversation", [TLS_1_2, TLS_1_3], ids=["1.2", "1.3"])
def test_damaged_bytes_raise_nothing(conversation: Conversation) -> None:
    for seed in range(200):
        random = Random(seed)
        damaged: Conversation = []
        for direction, data in conversation:
            changed = bytearray(data)
            for _ in range(random.choice((0, 1, 3))):
                changed[random.randrange(len(changed))] = random.choice((0, 1, 2, 3, 20, 21, 22, 23, random.randrange(256)))
            damaged.append((direction, bytes(changed)))
        handshake = followed(damaged, random)
        handshake.result()
        find_ending(*handshake.flights, [("fin", 9, 9, 1)], [("rst", 8, 8, 1)], 1, 1)
