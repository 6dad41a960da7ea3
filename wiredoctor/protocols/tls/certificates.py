"""Read the certificates that a server sends unencrypted, in TLS 1.2 and older (RFC 5246 section 7.4.2, RFC 5280)."""

from __future__ import annotations

import warnings
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from cryptography.x509 import Certificate


class Chain(NamedTuple):
    """The certificates of a server, the leaf first.

    fingerprint: the SHA-256 of the leaf, in hexadecimal. valid_from, valid_until: the times (ns since 1970) between which the
    leaf and all intermediate certificates are valid; a self-signed certificate behind the leaf does not count. issued: when the
    leaf becomes valid (ns). names: the DNS names and addresses of the leaf, or its common name if it has none. issuer: the issuer
    of the last certificate. length: the number of certificates. is_self_signed: the last certificate is its own issuer.
    """

    fingerprint: str
    valid_from: int
    valid_until: int
    issued: int
    names: tuple[str, ...]
    issuer: str
    length: int
    is_self_signed: bool


@lru_cache(maxsize=256)
def read_chain(message: bytes) -> Chain | None:
    """Parse the body of a Certificate message of TLS 1.2. Return None if it has no certificate, or one that cannot be read."""
    parts = _split(message)
    if not parts:
        return None
    # imported only if there is a certificate: it takes as long as the analysis of a small capture
    from hashlib import sha256

    from cryptography.x509 import DuplicateExtension, InvalidVersion, UnsupportedGeneralNameType, load_der_x509_certificate

    try:
        with warnings.catch_warnings():  # about certificates that the library will refuse in a later version
            warnings.simplefilter("ignore")
            chain = [load_der_x509_certificate(part) for part in parts]
        dated = [chain[0], *(one for one in chain[1:] if one.issuer != one.subject)]
        return Chain(
            sha256(parts[0]).hexdigest(),
            max(_nanoseconds(one.not_valid_before_utc) for one in dated),
            min(_nanoseconds(one.not_valid_after_utc) for one in dated),
            _nanoseconds(chain[0].not_valid_before_utc),
            _names(chain[0]),
            chain[-1].issuer.rfc4514_string(),
            len(chain),
            chain[-1].issuer == chain[-1].subject,
        )
    except (ValueError, TypeError, InvalidVersion, DuplicateExtension, UnsupportedGeneralNameType):
        return None


def _split(message: bytes) -> list[bytes]:
    """Return the certificates in a Certificate message; nothing if its lengths are inconsistent."""
    parts: list[bytes] = []
    at = 3
    while at + 3 <= len(message):
        size = int.from_bytes(message[at : at + 3])
        at += 3
        parts.append(message[at : at + size])
        at += size
    return parts if at == len(message) and int.from_bytes(message[:3]) == at - 3 else []


def _nanoseconds(moment: datetime) -> int:
    return int(moment.timestamp()) * 1_000_000_000


def _names(leaf: Certificate) -> tuple[str, ...]:
    from cryptography.x509 import DNSName, ExtensionNotFound, IPAddress, NameOID, SubjectAlternativeName

    try:
        alternative = leaf.extensions.get_extension_for_class(SubjectAlternativeName).value
    except ExtensionNotFound:
        return tuple(str(one.value) for one in leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME))
    addresses = (str(one) for one in alternative.get_values_for_type(IPAddress))
    return (*alternative.get_values_for_type(DNSName), *addresses)


def covers(names: tuple[str, ...], host: str) -> bool:
    """Return whether one of a certificate's names covers a host name (RFC 9525 section 6.3: `*` is the whole left-most label)."""
    wanted = host.lower().rstrip(".")
    parent = wanted.partition(".")[2]
    return any(name.lower() == wanted or (name[:2] == "*." and parent and name[2:].lower() == parent) for name in names)
