"""Update the checksums of changed packets: correct checksums stay correct, and wrong checksums stay wrong."""

from __future__ import annotations

import numpy as np

from wiredoctor.extract.anonymize.frames import Frame

_WRONG = 0x5555
"""A wrong checksum is replaced with the correct checksum XOR this number, so it stays wrong."""


def ones_complement_sum(data: bytes) -> int:
    """Return the ones' complement sum of 16-bit words (RFC 1071)."""
    return _add(int(np.frombuffer(data + b"\0" * (len(data) % 2), dtype=">u2").sum(dtype=np.int64)))


def renew(before: bytes, after: bytearray, frame: Frame) -> None:
    """Write the IP checksum and the TCP or ICMP checksum of a packet. All other bytes of the packet must be final."""
    if frame.quoted is not None:
        _renew_quoted(before, after, frame.quoted)
    if frame.version == 4:
        _write(before, after, frame.ip + 10, [data[frame.ip : frame.tcp] for data in (before, bytes(after))], (0, 0))
    pseudo = [_pseudo(data, frame) for data in (before, bytes(after))]
    place = frame.tcp + (16 if frame.quoted is None else 2)
    if not frame.whole:
        # the checksum of a truncated packet cannot be checked, so it could only reveal missing content
        after[place : place + 2] = b"\0\0"
        return
    _write(before, after, place, [data[frame.tcp : frame.end] for data in (before, bytes(after))], (pseudo[0], pseudo[1]))


def _renew_quoted(before: bytes, after: bytearray, quoted: Frame) -> None:
    if quoted.version == 4:
        _write(before, after, quoted.ip + 10, [data[quoted.ip : quoted.tcp] for data in (before, bytes(after))], (0, 0))
    # the quoted part of TCP is too short to check its checksum
    for place in range(quoted.tcp + 16, min(quoted.tcp + 18, quoted.payload)):
        after[place] = 0


def _write(before: bytes, after: bytearray, place: int, covered: list[bytes], pseudo: tuple[int, int]) -> None:
    stored = int.from_bytes(before[place : place + 2], "big")
    was, now = (
        0xFFFF - _add(ones_complement_sum(data), more, 0xFFFF - field)
        for data, more, field in zip(covered, pseudo, (stored, int.from_bytes(after[place : place + 2], "big")), strict=True)
    )
    if stored == was or (stored + was == 0xFFFF and stored in (0, 0xFFFF)):
        new = now
    elif stored == 0:
        new = 0
    elif pseudo[0] and stored == pseudo[0]:
        # with checksum offload, the field contains the sum of the pseudo header
        new = pseudo[1]
    else:
        # the size of the error would reveal the original content, so all wrong checksums get the same error
        new = now ^ _WRONG
    after[place : place + 2] = new.to_bytes(2, "big")


def _add(*terms: int) -> int:
    total = sum(terms)
    while total > 0xFFFF:
        total = (total >> 16) + (total & 0xFFFF)
    return total


def _pseudo(data: bytes, frame: Frame) -> int:
    """Return the sum of the pseudo header (RFC 9293 section 3.1, RFC 8200 section 8.1); 0 for ICMPv4, which has none."""
    if frame.quoted is not None and frame.version == 4:
        return 0
    (begin, _), (_, end) = frame.addresses
    return _add(ones_complement_sum(data[begin:end]), frame.end - frame.tcp, 6 if frame.quoted is None else 58)
