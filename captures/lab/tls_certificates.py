"""Make the certificates of a recording. They are valid for its folder only, and are removed with it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

    Signer = tuple[x509.Certificate, EllipticCurvePrivateKey]

NAME = "good.test"


def _sign(
    name: str, by: Signer | None = None, *, days: tuple[float, float] = (-30, 90), ca: bool = False, more: int = 0
) -> Signer:
    """Return a certificate of `name` that is valid from and until so many days from now; self-signed without `by`."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    names = [x509.DNSName(name), *(x509.DNSName(f"name-{n}.{name}") for n in range(more))]
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by[0].subject if by else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=days[0]))
        .not_valid_after(now + timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(by[1] if by else key, hashes.SHA256())
    )
    return made, key


def _write(folder: Path, name: str, signer: Signer, *chain: Signer) -> None:
    pem = b"".join(one[0].public_bytes(Encoding.PEM) for one in (signer, *chain))
    key = signer[1].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / f"{name}.pem").write_bytes(pem)
    (folder / f"{name}.key").write_bytes(key)
    (folder / f"{name}-both.pem").write_bytes(pem + key)  # haproxy reads both from one file
    (folder / f"{name}-both.pem.key").write_bytes(key)


def make(folder: Path) -> None:
    """Write NAME.pem (the chain), NAME.key and NAME-both.pem for each certificate of the laboratory, and ca.pem."""
    root, foreign = _sign("Root", ca=True), _sign("Foreign root", ca=True)
    middle = _sign("Intermediate", root, ca=True)
    _write(folder, "ca", root)
    _write(folder, "good", _sign(NAME, root))
    _write(folder, "expired", _sign(NAME, root, days=(-90, -1)))
    _write(folder, "early", _sign(NAME, root, days=(10, 90)))
    _write(folder, "soon", _sign(NAME, root, days=(-80, 5)))
    _write(folder, "foreign", _sign(NAME, foreign))
    _write(folder, "self-signed", _sign(NAME))
    _write(folder, "no-intermediate", _sign(NAME, middle))
    _write(folder, "other", _sign("other.test", root))
    _write(folder, "large", _sign(NAME, middle, more=600), middle)
    _write(folder, "client", _sign("client", root))
    _write(folder, "foreign-client", _sign("client", foreign))
