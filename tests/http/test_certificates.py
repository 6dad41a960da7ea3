"""Certificates are made here, and read back; damaged ones raise nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from wiredoctor.protocols.tls.certificates import Chain, covers, read_chain

BEGIN = datetime(2030, 1, 1, tzinfo=UTC)
NANOSECONDS = 1_000_000_000


def certificate(days: int, *names: str, subject: str = "leaf", issuer: str = "root") -> bytes:
    """Return a certificate that is valid for some days from BEGIN on."""
    key = Ed25519PrivateKey.generate()
    parties = [x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]) for name in (subject, issuer)]
    builder = x509.CertificateBuilder(parties[1], parties[0], key.public_key(), 1, BEGIN, BEGIN + timedelta(days=days))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
    return builder.sign(key, None).public_bytes(Encoding.DER)


def message(*certificates: bytes) -> bytes:
    content = b"".join(len(one).to_bytes(3, "big") + one for one in certificates)
    return len(content).to_bytes(3, "big") + content


def read(*certificates: bytes) -> Chain:
    chain = read_chain(message(*certificates))
    assert chain is not None
    return chain


def test_a_chain() -> None:
    chain = read(certificate(90, "a.test", "b.test"), certificate(30, subject="between"), certificate(1, subject="root"))
    assert chain.names == ("a.test", "b.test")
    assert (chain.length, chain.is_self_signed, chain.issuer) == (3, True, "CN=root")
    # the root does not count, because clients have their own copy
    assert chain.valid_until - chain.valid_from == 30 * 86_400 * NANOSECONDS
    assert chain.valid_from == int(BEGIN.timestamp()) * NANOSECONDS


def test_a_certificate_without_names_has_its_common_name() -> None:
    assert read(certificate(90, subject="a.test")).names == ("a.test",)


@pytest.mark.parametrize("damaged", [b"", b"\0\0\0", b"\0\0\x05\0\0\x09ab", message(b"cert"), message()])
def test_what_is_no_certificate(damaged: bytes) -> None:
    assert read_chain(damaged) is None


def test_damaged_certificates_raise_nothing() -> None:
    random, whole = Random(5280), certificate(90, "a.test")
    for _ in range(500):
        damaged = bytearray(whole)
        for _ in range(random.choice((1, 2, 4))):
            damaged[random.randrange(len(damaged))] = random.choice((0, 1, 2, 3, 255, random.randrange(256)))
        read_chain(message(bytes(damaged)))


@pytest.mark.parametrize(
    ("names", "host", "covered"),
    [
        (("a.test",), "A.test.", True),
        (("*.test",), "a.test", True),
        (("*.test",), "a.b.test", False),
        (("*.test",), "test", False),
        (("b.test", "*.example"), "a.test", False),
        ((), "a.test", False),
    ],
)
def test_which_names_cover_a_host(names: tuple[str, ...], host: str, covered: bool) -> None:
    assert covers(names, host) == covered
