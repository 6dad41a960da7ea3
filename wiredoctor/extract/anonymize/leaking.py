"""Search an anonymized capture for content of the original."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Iterable

from wiredoctor.extract.anonymize.capture import Original, Packet
from wiredoctor.extract.anonymize.frames import frame_of
from wiredoctor.extract.anonymize.vocabulary import FIELD_NAMES, KEPT
from wiredoctor.protocols.http1.head import KNOWN_METHODS

LEAST = 6
"""The minimum length in bytes of the words to search for; shorter words occur by chance."""

_WORD = re.compile(rb"[A-Za-z0-9]{%d,}" % LEAST)
_FILLING = re.compile(rb"\Ax{4,}|x{4,}\Z")
_BASE64 = re.compile(rb"[A-Za-z0-9+/]{8,}={0,2}")
_MAX_LEAKS = 20
"""The maximum number of leaks that are reported."""


def leaks(original: Original, made: Iterable[Packet], kept: set[bytes], said: set[bytes]) -> list[str]:
    """Describe original content that occurs in the anonymized packets: addresses (binary or text) and words (also in base64).

    Words shorter than six bytes are not searched for. `kept`: words of header sections that are kept on purpose. `said`: the
    words of the original, in lower case.
    """
    found: list[str] = []
    words, binary = set[bytes](), bytearray()
    for packet in made:
        data, parts = packet.data, frame_of(packet.data, packet.parts.link)
        if isinstance(parts, str):
            found.append(f"frame {packet.frame} can no longer be parsed: {parts}")
            continue
        payload = data[parts.payload : parts.end]
        binary += b"".join((*(data[a:b] for a, b in (*parts.macs, *parts.all_addresses)), payload, data[parts.end :], b"\n"))
        words |= _find_words(payload)
    for stream in original.streams.values():
        words |= _find_words(bytes(stream.after))
        binary += stream.after
    searched = bytes(binary)
    for address in _addresses(original):
        texts = (address, *_written(address))
        found += [f"address {_written(address)[0].decode()}" for text in texts if text in searched]
    usual = b"\n".join(kept | USUAL)
    found += [f"word {word.decode()}" for word in sorted(said & words) if _is_meaningful(word, usual)]
    return found[:_MAX_LEAKS]


def collect_words(original: Original) -> set[bytes]:
    """Return all words of six bytes or more in a capture, in lower case. This includes words in text encoded as base64."""
    said = set[bytes]()
    for stream in original.streams.values():
        said |= _find_words(stream.before)
    for packet in original.packets:
        said |= _find_words(packet.data[packet.parts.payload :])
    return said


def _is_meaningful(word: bytes, usual: bytes) -> bool:
    """Return whether a word would be a leak: it has enough characters besides filler, and is not a part of a common word.

    `usual`: the common words, joined. Filler may follow a start line, and a segment may end inside a common word.
    """
    rest = _FILLING.sub(b"", word)
    return len(rest) >= LEAST and rest.strip(b"x") not in usual and len(set(rest)) > 1


def _expected_words() -> frozenset[bytes]:
    words = set(FIELD_NAMES).union(*KEPT.values()) | {method.lower() for method in KNOWN_METHODS}
    return frozenset(part for word in words for part in re.findall(rb"[a-z0-9]+", word))


USUAL = _expected_words()
"""Words in lower case that occur in any traffic, so they are not leaks."""


def _find_words(data: bytes) -> set[bytes]:
    words = {word.lower() for word in _WORD.findall(data)}
    for text in _BASE64.findall(data):
        try:
            words |= {word.lower() for word in _WORD.findall(base64.b64decode(text + b"=" * (-len(text) % 4)))}
        except binascii.Error:
            continue
    return words


def _addresses(original: Original) -> list[bytes]:
    found = set[bytes]()
    for packet in original.packets:
        found |= {packet.data[a:b][:16] for a, b in packet.parts.all_addresses}
        found |= {packet.data[a:b][:6] for a, b in packet.parts.macs}
    return sorted(address for address in found if any(address) and address != b"\xff" * len(address))


def _written(address: bytes) -> tuple[bytes, ...]:
    if len(address) == 6:
        text = address.hex(":").encode()
        return text, text.upper(), text.replace(b":", b"-")
    ip = ipaddress.ip_address(address)
    return str(ip).encode(), ip.exploded.encode()
