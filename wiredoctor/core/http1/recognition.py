"""Recognize the protocol of a connection, parse the unencrypted parts of a TLS handshake, and find WebSocket Close frames."""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from wiredoctor.core.capture.packet import Packet
from wiredoctor.core.http1.http_state import HTTP2, TLS_PROTOCOL, HttpState, Opening
from wiredoctor.core.http1.message import OFF, TLS, Exchange
from wiredoctor.core.http1.reader import STARTS, Reader
from wiredoctor.core.http1.stream import Range
from wiredoctor.core.tcp.segment import NEVER
from wiredoctor.core.tls.tls_handshake import HANDSHAKE, TlsHandshake
from wiredoctor.core.unsigned import u16

CLOSE_FRAME: Final = 0x88
"""The first octet of a WebSocket Close frame: opcode 8, last fragment."""

OPENINGS: Final = (*("", "http", "http-rejects", "https-expected", "tls", "tls-alert", "http2", "proxy-header", "other", "html"),)
"""The protocols that the first bytes of a side can show, as in the columns `client_opening` and `server_opening`."""
PROXY_2: Final = b"\r\n\r\n\x00\r\nQUIT\n"
"""The signature of a binary PROXY protocol header (haproxy.org, proxy-protocol.txt section 2.2)."""
EXPECTS_HTTPS: Final = (
    *(b"plain HTTP request was sent to HTTPS", b"HTTP request to an HTTPS server"),
    *(b"plain HTTP to an SSL-enabled server port", b"combination of host and port requires TLS"),
    b"only speaks HTTPS on this port",
)
"""The sentences with which nginx and AWS balancers, Go, Apache httpd, Tomcat and cheroot reject plain HTTP on a port for TLS."""
PAGE: Final = 2048
"""The number of bytes of a response in which one of EXPECTS_HTTPS is searched."""


def note_opening(conversation: HttpState, reader: Reader, found: Range) -> None:
    """Store which protocol the first bytes of a direction show, and their packet. Nothing is known if they were not captured."""
    reader.has_begun = True
    if found.at < 0 or reader.pos != 0:
        return
    at = found.place(0)
    kind = opening_of(found.block[at : min(found.place(found.end), at + PAGE)])
    if reader.direction == 0:
        conversation.first_opening = Opening(kind, found.frame, found.time)
    else:
        conversation.second_opening = Opening(kind, found.frame, found.time)


def opening_of(data: bytes) -> i64:
    """Return an index into OPENINGS for the first bytes of a side; 0 if they are too few."""
    start = data[:4]
    if start == b"HTTP":
        return response_opening(data)
    if start == b"PRI " or data[3:9] == b"\x04\x00\x00\x00\x00\x00":
        return 6
    if data[:6] == b"PROXY " or data[:12] == PROXY_2:
        return 7
    if start in STARTS:
        return 1
    if data[:2] == b"\x16\x03":
        return 4
    if data[:2] == b"\x15\x03":
        return 5
    if data[:5].lower() in (b"<!doc", b"<html"):
        return 9
    return i64(8) if len(data) >= 4 else i64(0)


def response_opening(data: bytes) -> i64:
    """Return an index into OPENINGS for a response: whether it rejects the bytes of the client, and whether it expects HTTPS."""
    status = data[9:12]
    if status == b"400":
        for sentence in EXPECTS_HTTPS:
            if sentence in data:
                return 3
    return i64(2) if status in (b"400", b"501", b"505") else i64(1)


def recognize(conversation: HttpState, reader: Reader, data: bytes, found: Range) -> None:
    """Recognize a protocol other than HTTP/1 by a direction's first payload. If there is one, stop reading HTTP there."""
    if conversation.client >= 0:
        return
    size = proxy_header_size(data)
    if data[:3] in (b"PRI", b"\x00\x00\x12", b"\x00\x00\x18"):
        conversation.protocol = HTTP2
    elif is_tls(data, size):
        conversation.protocol = TLS_PROTOCOL
        if begin_tls(conversation, reader, data[size:] if size else data, found, size):
            return
    else:
        return
    # stop in this direction only: a server may respond in clear text, with a 400
    reader.mode = OFF


def is_tls(data: bytes, at: i64) -> bool:
    """Return whether a TLS record may begin at data[at]."""
    return len(data) > at + 2 and 0x14 <= data[at] <= 0x17 and data[at + 1] == 3


def proxy_header_size(data: bytes) -> i64:
    """Return the size of the PROXY protocol header with which a stream begins; 0 if there is none."""
    if data[:6] == b"PROXY ":
        end = i64(data.find(b"\r\n", 0, 107))
        return end + 2 if end >= 0 else 0
    if data[:12] == PROXY_2 and len(data) >= 16:
        return 16 + u16(data, 14)
    return 0


def begins_after_proxy_header(conversation: HttpState, reader: Reader, found: Range) -> bool:
    """Begin to read TLS if a range begins with a record, and the direction began with a PROXY protocol header of its own packet.

    Return False if it does not.
    """
    opening = conversation.first_opening if reader.direction == 0 else conversation.second_opening
    if OPENINGS[opening.kind] != "proxy-header" or conversation.client >= 0 or found.at < 0 or reader.pos > found.start:
        return False
    data = found.block[found.at : found.place(found.end)]
    if not is_tls(data, 0):
        return False
    conversation.protocol = TLS_PROTOCOL
    if not begin_tls(conversation, reader, data, found, found.wire_start):
        reader.mode = OFF
    reader.pos = found.end
    return True


def expect_tls(conversation: HttpState) -> None:
    """Read the bytes after a successful CONNECT as TLS, if they are."""
    conversation.tls = TlsHandshake()
    conversation.tls.is_tunneled = True
    conversation.tls.first_start = conversation.tls.second_start = NEVER
    for reader in (conversation.first, conversation.second):
        if reader.mode == OFF:
            reader.mode = TLS


def begin_tls(conversation: HttpState, reader: Reader, data: bytes, found: Range, start: i64) -> bool:
    """Parse the first bytes of a TLS handshake, at offset `start` of the TCP stream; return whether more bytes are needed."""
    if conversation.tls is None:
        if data[0] != HANDSHAKE:
            return False
        conversation.tls = TlsHandshake()
    if reader.direction == 0:
        conversation.tls.first_start = start
    else:
        conversation.tls.second_start = start
    wants_more = conversation.tls.add(reader.direction, data, 0, len(data), found.frame, found.time)
    reader.mode = TLS if wants_more else OFF
    return wants_more


def continue_tls(conversation: HttpState, reader: Reader, found: Range) -> None:
    """Parse the bytes of a TLS handshake in a range. The range has no bytes if they were not captured."""
    tls = conversation.tls
    at = i64(0)
    if found.at >= 0:
        at = found.place(reader.pos)
    elif tls is not None:
        tls.lose()
    end = found.place(found.end) if found.at >= 0 else at
    if tls is not None:
        if reader.direction == 0 and tls.first_start == NEVER:
            tls.first_start = found.wire(reader.pos)
        elif reader.direction == 1 and tls.second_start == NEVER:
            tls.second_start = found.wire(reader.pos)
    if tls is None or not tls.add(reader.direction, found.block, at, end, found.frame, found.time):
        reader.mode = OFF
    reader.pos = found.end


def note_goodbye(conversation: HttpState, exchange: Exchange, direction: i64, packet: Packet) -> None:
    """Record whether the newest segment of an upgraded connection ends with a WebSocket Close frame."""
    if direction == conversation.client:
        exchange.client_says_goodbye = ends_with_close_frame(packet)
    else:
        exchange.server_says_goodbye = ends_with_close_frame(packet)


def ends_with_close_frame(packet: Packet) -> bool:
    """Return whether a segment begins with a WebSocket frame (RFC 6455 section 5.2) and ends with a Close frame."""
    block, payload, captured = packet.block, packet.payload, packet.captured
    at: i64 = 0
    while at + 2 <= captured:
        second = i64(block[payload + at + 1])
        size = second & 0x7F
        if size > 126 or (size == 126 and at + 4 > captured):
            return False
        head = 2 + (second >> 7) * 4
        if i64(block[payload + at]) == CLOSE_FRAME:
            return at + head + size == packet.length
        if size == 126:
            size = i64(block[payload + at + 2]) << 8 | i64(block[payload + at + 3])
            head += 2
        at += head + size
    return False
