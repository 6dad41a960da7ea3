"""Ladders name the TLS records that tshark sees, in whatever pieces the bytes were captured."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from itertools import pairwise
from random import Random

import pytest

import wiredoctor
from tests.http.test_tls import client_hello, records, server_hello, versions
from tests.support.needs import needs
from tests.support.recordings import find_recording
from wiredoctor.report.ladder import tls_records
from wiredoctor.report.ladder.build import of_connection
from wiredoctor.report.ladder.tls_records import RecordNames

CHANGE, FINISHED = b"\x14\x03\x03\x00\x01\x01", b"\x16\x03\x03\x00\x28" + bytes(40)
CERTIFICATE = b"\x0b" + (300).to_bytes(3, "big") + bytes(300)
DONE = b"\x0e\0\0\0"
RETRY = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")


def data(size: int) -> bytes:
    return b"\x17\x03\x03" + size.to_bytes(2, "big") + bytes(size)


def named(stream: bytes, *, is_1_3: bool = False) -> list[tuple[int, int, str]]:
    names = RecordNames(is_1_3=is_1_3)
    names.add(0, len(stream), len(stream), 0, lambda place, size: stream[place : place + size])
    return [*names.parts()]


SERVER = (
    records(server_hello() + CERTIFICATE + DONE, 90)
    + CHANGE
    + FINISHED
    + data(500)
    + data(7)
    + b"\x15\x03\x03\x00\x1a"
    + bytes(26)
)


@pytest.mark.parametrize(
    ("stream", "is_1_3", "expected"),
    [
        pytest.param(records(client_hello()), False, ["ClientHello"], id="a hello"),
        pytest.param(
            SERVER,
            False,
            [
                *("ServerHello", "Certificate", "ServerHelloDone", "ChangeCipherSpec", "encrypted handshake message"),
                *("application data", "application data", "encrypted alert"),
            ],
            id="TLS 1.2, messages that begin and end within records",
        ),
        pytest.param(
            records(server_hello(versions(0x0304)).replace(bytes(32), RETRY, 1)) + CHANGE + records(server_hello()) + data(30),
            True,
            ["HelloRetryRequest", "ChangeCipherSpec", "ServerHello", "encrypted record"],
            id="TLS 1.3, a HelloRetryRequest",
        ),
        pytest.param(b"\x15\x03\x01\x00\x02\x02\x28", False, ["fatal alert handshake_failure (40)"], id="a fatal alert"),
        pytest.param(b"\x15\x03\x03\x00\x02\x01\xfa", False, ["warning alert number 250"], id="an unknown alert"),
        pytest.param(b"HTTP/1.1 400 Bad Request\r\n\r\n", False, [], id="no TLS"),
        pytest.param(records(CERTIFICATE)[:100], False, ["Certificate"], id="a message whose end was not captured"),
        pytest.param(
            records(CERTIFICATE, 150)[:155] + CHANGE,
            False,
            ["Certificate", "ChangeCipherSpec"],
            id="a message that another record interrupts",
        ),
    ],
)
def test_records_have_names(stream: bytes, is_1_3: bool, expected: list[str]) -> None:
    assert [part[2] for part in named(stream, is_1_3=is_1_3)] == expected


def test_parts_leave_no_byte_out() -> None:
    parts = named(SERVER)
    assert [part[0] for part in parts] == [0, *(part[1] for part in parts[:-1])]
    assert parts[-1][1] == len(SERVER)


@pytest.mark.parametrize("seed", range(20))
def test_pieces_change_nothing(seed: int) -> None:
    """The order of the pieces changes nothing, nor do repeated bytes, or missing ones inside of a record."""
    random = Random(seed)
    cuts = sorted({0, len(SERVER), *(random.randrange(len(SERVER)) for _ in range(random.randrange(1, 60)))})
    pieces = [*pairwise(cuts)]
    first, rest = pieces[0], pieces[1:] + random.choices(pieces, k=3)
    random.shuffle(rest)
    names = RecordNames(is_1_3=False)
    for begin, end in (first, *rest):
        names.add(begin, end - begin, end - begin, begin, lambda place, size: SERVER[place : place + size])
    assert names.parts() == named(SERVER)


@pytest.mark.parametrize("seed", range(20))
def test_any_bytes_can_be_read(seed: int) -> None:
    random = Random(seed)
    stream = bytearray(SERVER)
    for _ in range(random.randrange(1, 20)):
        stream[random.randrange(len(stream))] = random.choice((0, 1, 2, 3, 20, 21, 22, 23, random.randrange(256)))
    parts = named(bytes(stream))
    assert parts == sorted(parts)
    assert all(start < end for start, end, _ in parts)


def test_the_last_part_may_be_incomplete() -> None:
    for size in range(len(SERVER)):
        assert all(start < end for start, end, _ in named(SERVER[:size]))


def test_missing_bytes_inside_of_a_record_are_passed_over() -> None:
    stream = data(100) + data(50)
    names = RecordNames(is_1_3=False)
    names.add(0, 90, 20, 0, lambda place, size: stream[place : place + size])
    names.add(100, 60, 60, 100, lambda place, size: stream[place : place + size])
    assert names.parts() == named(stream)


def test_no_names_follow_a_missing_header(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls_records, "MOST_WAITING", 1000)
    names = RecordNames(is_1_3=False)
    stream = data(100)
    names.add(0, 105, 105, 0, lambda place, size: stream[place : place + size])
    for at in range(110, 5000, 100):
        names.add(at, 100, 100, 0, lambda _, size: bytes(size))
    assert [*names.parts()] == named(stream)


def test_the_middle_of_many_records_has_no_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls_records, "MOST_PARTS", 2)
    parts = named(data(5) * 7)
    assert [part[:2] for part in parts] == [(0, 10), (10, 20), (20, 50), (50, 60), (60, 70)]
    assert [part[2] == tls_records.UNNAMED for part in parts] == [False, False, True, False, False]


@needs("tshark")
def test_ladders_name_what_tshark_sees() -> None:
    path = find_recording("tls-s-server.pcap")
    fields = ("frame.number", "tls.record.content_type", "tls.record.opaque_type", "tls.handshake.type")
    command = ["tshark", "-n", "-r", path, "-Y", "tls && tcp.stream == 0", "-T", "fields", *(f"-e{f}" for f in fields)]
    expected: Counter[str] = Counter()
    for line in subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines():
        _, plain, hidden, messages = line.split("\t")
        expected.update(kind for kind in (*plain.split(","), *hidden.split(",")) if kind in ("20", "21", "23"))
        expected.update(f"message {kind}" for kind in messages.split(",") if kind)
    kinds = {
        "ChangeCipherSpec": "20", "encrypted alert": "21", "application data": "23", "encrypted record": "23",
        "ClientHello": "message 1", "ServerHello": "message 2", "NewSessionTicket": "message 4", "Certificate": "message 11",
        "ServerKeyExchange": "message 12", "ServerHelloDone": "message 14", "ClientKeyExchange": "message 16",
    }  # fmt: skip
    report = wiredoctor.analyze(path, keep=True)
    seen: Counter[str] = Counter()
    for step in of_connection(report, report.captures[0].file, 0, most=1000).steps:
        for part in step.text.partition("bytes: ")[2].split("; ")[0].split(", "):
            name = re.fullmatch(r"(?:(\d+) x )?(?:(beginning|part|end) of )?(.*)", part)
            if name and name[3] in kinds and name[2] in (None, "beginning"):
                seen[kinds[name[3]]] += int(name[1] or 1)
    assert seen == expected
    assert expected["message 1"] == 1
