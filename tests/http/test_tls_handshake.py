"""Handshakes are read alike in whatever pieces they were captured, and damaged ones raise nothing."""

from __future__ import annotations

from random import Random

import pytest

from tests.http.test_tls import client_hello, extension, records, server_hello, server_name, versions
from wiredoctor.core.rows.handshake_rows import find_ending
from wiredoctor.core.tcp.connection import Side
from wiredoctor.core.tls.tls_handshake import Flight, TlsHandshake

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


def followed(conversation: Conversation, random: Random | None = None) -> TlsHandshake:
    """Return what is known after the conversation, with a frame number for each part; `random` cuts the parts into pieces."""
    handshake = TlsHandshake()
    for frame, (direction, data) in enumerate(conversation):
        at = 0
        while at < len(data):
            size = random.choice((1, 2, 5, 20, 300, 2000)) if random else len(data)
            handshake.add(direction, data, at, min(at + size, len(data)), frame, frame)
            at += size
    return handshake


def state(handshake: TlsHandshake) -> tuple[object, ...]:
    flights = [noted(flight) for flight in (handshake.first, handshake.second)]
    asked = (handshake.certificate_asked, handshake.answered_frame, handshake.reply_frame)
    return (*flights, handshake.result(), *asked, handshake.is_complete, handshake.cannot_follow, handshake.is_unclear)


def noted(flight: Flight) -> tuple[object, ...]:
    alert = flight.alert and (flight.alert.level, flight.alert.number, flight.alert.frame)
    ends = (flight.hello_frame, flight.end_frame, flight.finished_frame)
    return (flight.hello, flight.hello_bytes, *ends, flight.changed, alert, flight.sent_content, flight.is_full)


@pytest.mark.parametrize("conversation", [TLS_1_2, TLS_1_3], ids=["1.2", "1.3"])
def test_pieces_change_nothing(conversation: Conversation) -> None:
    whole = followed(conversation)
    assert (whole.is_complete, whole.cannot_follow, whole.is_unclear) == (True, False, False)
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
        find_ending(handshake.first, handshake.second, Side(), Side())
