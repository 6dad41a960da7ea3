"""What a TLS handshake says in the clear. The hellos are put together here, field by field, as RFC 8446 draws them."""

from __future__ import annotations

from random import Random

import pytest

from wiredoctor import limits
from wiredoctor.core.tls.tls_handshake import TlsHandshake
from wiredoctor.core.tls.tls_hello import NOTHING, SILENT, Hello

NAME, PROTOCOLS, VERSIONS, ENCRYPTED = 0, 16, 43, 0xFE0D


def vector(data: bytes, size: int) -> bytes:
    return len(data).to_bytes(size, "big") + data


def extension(number: int, content: bytes) -> bytes:
    return number.to_bytes(2, "big") + vector(content, 2)


def server_name(name: bytes) -> bytes:
    return extension(NAME, vector(b"\0" + vector(name, 2), 2))


def alpn(*names: bytes) -> bytes:
    return extension(PROTOCOLS, vector(b"".join(vector(name, 1) for name in names), 2))


def versions(*numbers: int) -> bytes:
    return extension(VERSIONS, vector(b"".join(number.to_bytes(2, "big") for number in numbers), 1))


def client_hello(*extensions: bytes, legacy: int = 0x0303) -> bytes:
    body = legacy.to_bytes(2, "big") + bytes(32) + vector(bytes(32), 1) + vector(b"\x13\x01\x13\x02", 2) + vector(b"\0", 1)
    return b"\x01" + vector(body + vector(b"".join(extensions), 2), 3)


def server_hello(*extensions: bytes, legacy: int = 0x0303) -> bytes:
    body = legacy.to_bytes(2, "big") + bytes(32) + vector(b"", 1) + b"\x13\x01" + b"\0"
    return b"\x02" + vector(body + (vector(b"".join(extensions), 2) if extensions else b""), 3)


def records(message: bytes, size: int = 1 << 14) -> bytes:
    return b"".join(b"\x16\x03\x01" + vector(message[at : at + size], 2) for at in range(0, len(message), size))


def heard(stream: bytes) -> Hello:
    return read(stream).first.hello


def read(stream: bytes, size: int = 1 << 14) -> TlsHandshake:
    """Read a stream of the first direction in segments of `size` bytes."""
    handshake = TlsHandshake()
    for at in range(0, len(stream), size):
        handshake.add(0, stream, at, min(at + size, len(stream)), 1, 0)
    return handshake


USUAL = client_hello(server_name(b"www.example.org"), alpn(b"h2", b"http/1.1"), versions(0x4A4A, 0x0304, 0x0303))
TOLD = Hello("TLS 1.3", "www.example.org", "h2,http/1.1", versions="TLS 1.3, TLS 1.2", suites=2)


def test_a_hello_of_the_client() -> None:
    assert heard(records(USUAL)) == TOLD


@pytest.mark.parametrize("size", [1, 3, 4, 100])
def test_over_several_records(size: int) -> None:
    assert heard(records(USUAL, size)) == TOLD


@pytest.mark.parametrize("size", [1, 2, 7, 64])
def test_over_several_segments(size: int) -> None:
    assert read(records(USUAL, 50), size).first.hello == TOLD


def test_both_hellos() -> None:
    handshake = TlsHandshake()
    client, server = records(USUAL), records(server_hello(alpn(b"h2")))
    assert handshake.add(1, client, 0, len(client), 1, 0)
    assert handshake.add(0, server, 0, len(server), 2, 0)
    assert handshake.result() == ("TLS 1.2", "www.example.org", "h2,http/1.1", "h2", False, 0x1301, False)


def test_the_version_is_the_one_that_the_server_chose() -> None:
    assert heard(records(server_hello(extension(VERSIONS, b"\x03\x04")))).version == "TLS 1.3"
    assert heard(records(server_hello(legacy=0x0301))).version == "TLS 1.0"
    assert heard(records(client_hello(legacy=0x0302))).version == "TLS 1.1"


def test_an_encrypted_hello_is_said() -> None:
    assert heard(records(client_hello(server_name(b"front.example"), extension(ENCRYPTED, b"\0\0")))).hides


def test_nothing_is_said_of_other_messages() -> None:
    for stream in (b"\x17\x03\x03\0\x05hello", records(b"\x0b\0\0\x03abc"), b"\x16\x02\0\0\x05hello", b"\x16\x03\x01\0\0"):
        assert heard(stream) == NOTHING
    assert TlsHandshake().result() == SILENT


def test_every_cut_is_silent() -> None:
    stream = records(USUAL)
    for end in range(len(stream)):
        assert heard(stream[:end]) == NOTHING


def test_a_length_that_lies_makes_it_silent_or_harmless() -> None:
    """Each byte in turn says something else: no exception, and no name that is not in the bytes."""
    stream = records(USUAL)
    for at in range(len(stream)):
        for value in (0, 1, 0x7F, 0xFF):
            lying = stream[:at] + bytes([value]) + stream[at + 1 :]
            hello = heard(lying)
            assert hello.name.encode("latin-1") in lying
            assert all(name.encode("latin-1") in lying for name in hello.protocols.split(","))


def test_any_bytes() -> None:
    random = Random(8446)
    for _ in range(500):
        body = random.randbytes(random.randrange(200))
        hello = heard(records(bytes([random.choice((1, 2))]) + vector(body, 3)))
        assert hello.name.encode("latin-1") in body


@pytest.mark.parametrize(
    "broken",
    [
        extension(NAME, vector(b"\0" + b"\0\x40name", 2)),
        extension(NAME, b"\0\x02\0"),
        extension(PROTOCOLS, vector(b"\x09h2", 2)),
        extension(PROTOCOLS, b"\0"),
        NAME.to_bytes(2, "big") + b"\xff\xff",
    ],
)
def test_lengths_that_do_not_fit(broken: bytes) -> None:
    assert heard(records(client_hello(versions(0x0304), broken))) == NOTHING


def test_a_name_that_is_too_long_is_none() -> None:
    hello = heard(records(client_hello(server_name(b"a" * 256), alpn(b"h2"))))
    assert (hello.version, hello.name, hello.protocols) == ("TLS 1.2", "", "h2")


def test_a_hello_without_end_is_given_up() -> None:
    stream = b"\x16\x03\x01" + vector(b"\x01\0\x3f\0" + bytes(100), 2) + b"\x16\x03\x01\0\x01\0" * 3000
    handshake = read(stream)
    assert handshake.cannot_follow
    assert handshake.first.hello == NOTHING
    assert not handshake.first.message


def test_records_of_nothing_are_no_hello() -> None:
    assert read(b"\x16\x03\x01\0\0" * 10).cannot_follow


def test_a_handshake_of_any_bytes_in_any_order() -> None:
    """No bytes raise an exception, and what is kept of them is bounded."""
    random = Random(5246)
    starts = [records(USUAL), records(server_hello(extension(VERSIONS, b"\x03\x04"))), records(server_hello()), b""]
    for _ in range(300):
        handshake = TlsHandshake()
        streams: list[bytes] = []
        for _ in range(2):
            sizes = random.choices((1, 2, 4, 19, 25, 35, 53, 300), k=random.randrange(12))
            more = [bytes([random.randrange(19, 25), 3, 3]) + vector(random.randbytes(size), 2) for size in sizes]
            streams.append(random.choice(starts) + b"".join(more) + random.randbytes(random.randrange(8)))
        places = [0, 0]
        while any(place < len(stream) for place, stream in zip(places, streams, strict=True)):
            direction, size = random.randrange(2), random.randrange(1, 60)
            part = streams[direction][places[direction] : places[direction] + size]
            places[direction] += size
            handshake.add(direction, part, 0, len(part), 1, 0)
        kept = [flight.message for flight in (handshake.first, handshake.second)]
        assert all(len(message) < limits.CERTIFICATES.value for message in kept)
        assert not (handshake.is_complete and handshake.cannot_follow)
