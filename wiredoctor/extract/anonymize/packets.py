"""Anonymize the link and IP addresses, options and padding of a packet, and insert the payload from the anonymized stream."""

from __future__ import annotations

from wiredoctor.extract.anonymize import checksums
from wiredoctor.extract.anonymize.frames import COOKED, COOKED2, Frame
from wiredoctor.extract.anonymize.names import Addresses, digest

_END, _NOP = 0, 1
_HARMLESS = {2: (4,), 3: (3,), 4: (2,), 5: (10, 18, 26, 34), 8: (10,)}
"""The possible sizes in bytes of harmless TCP options, by kind (IANA): MSS, window scale, SACK permitted, SACK, timestamps.

Other options contain keys, cookies or addresses. A harmless option with an impossible size may contain anything.
"""

_MAC = 6
_FRAGMENTATION_NEEDED = (3, 4)
"""The type and code of the ICMP error "fragmentation needed"."""
_PACKET_TOO_BIG = 2
"""The type of the ICMPv6 error "packet too big"."""


def rewritten(data: bytes, frame: Frame, payload: bytes, addresses: Addresses, seed: bytes) -> bytes:
    """Return an anonymized copy of a packet, of the same length, with this anonymized payload.

    `frame`: the positions of the packet's parts. `payload`: as long as the captured payload.
    """
    made = bytearray(data)
    for begin, end in frame.macs:
        made[begin:end] = _link_address(data, frame, begin, end, addresses, seed)
    for begin, end in frame.all_addresses:
        made[begin:end] = addresses(data[begin:end])
    for header in (frame, frame.quoted):
        if header is not None:
            _clear(data, made, header)
    if frame.quoted is None:
        made[frame.tcp + 20 : frame.payload] = _options(data[frame.tcp + 20 : frame.payload], seed)
    else:
        made[frame.tcp + 4 : frame.tcp + 8] = _error_data(data, frame)
    made[frame.payload : frame.end] = payload
    made[frame.end :] = bytes(len(data) - frame.end)
    checksums.renew(data, made, frame)
    return bytes(made)


def _clear(data: bytes, made: bytearray, header: Frame) -> None:
    """Clear the fields of an IP header that may contain arbitrary data."""
    if header.version == 6:
        # keep the traffic class, clear the flow label (RFC 8200 section 3)
        made[header.ip + 1 : header.ip + 4] = bytes((data[header.ip + 1] & 0xF0, 0, 0))
    else:
        made[header.ip + 20 : header.tcp] = bytes([_NOP]) * (header.tcp - header.ip - 20)


def _error_data(data: bytes, frame: Frame) -> bytes:
    """Return bytes 4 to 7 of an ICMP error: the MTU (RFC 1191 section 4, RFC 4443 section 3.2), or zeros if there is none."""
    type_code, field = (data[frame.tcp], data[frame.tcp + 1]), data[frame.tcp + 4 : frame.tcp + 8]
    if frame.version == 6:
        return field if type_code[0] == _PACKET_TOO_BIG else bytes(4)
    return bytes(2) + field[2:] if type_code == _FRAGMENTATION_NEEDED else bytes(4)


def _link_address(data: bytes, frame: Frame, begin: int, end: int, addresses: Addresses, seed: bytes) -> bytes:
    address = data[begin:end]
    if frame.link in (COOKED, COOKED2):
        size = int.from_bytes(data[4:6], "big") if frame.link == COOKED else data[11]
        if size == _MAC:
            return addresses(address[:_MAC]) + bytes(end - begin - _MAC)
        return bytes(end - begin) if not any(address) else digest(seed, b"link", address, size=end - begin)
    return addresses(address)


def _options(options: bytes, seed: bytes) -> bytes:
    """Keep the kinds and lengths of TCP options (RFC 9293 section 3.1). Replace the contents of options that are not harmless."""
    made, at = bytearray(options), 0
    while at < len(options):
        kind = options[at]
        if kind == _NOP:
            at += 1
            continue
        size = options[at + 1] if at + 1 < len(options) else 0
        if kind == _END or size < 2 or at + size > len(options):
            # receivers ignore what follows the end marker or an invalid length
            behind = at + (1 if kind == _END else 2)
            rest = options[behind:]
            made[behind:] = bytes(len(rest)) if kind == _END else digest(seed, b"options", rest, size=len(rest)) if rest else b""
            break
        if size not in _HARMLESS.get(kind, ()) and size > 2:
            content = options[at + 2 : at + size]
            made[at + 2 : at + size] = digest(seed, b"option", content, size=len(content))
        at += size
    return bytes(made)
