"""Recognize the protocol of a connection, parse the unencrypted parts of a TLS handshake, and find WebSocket Close frames."""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from wiredoctor.core.capture.packet import Packet
from wiredoctor.core.http1.http_state import HTTP2, TLS_PROTOCOL, HttpState
from wiredoctor.core.http1.message import OFF, TLS, Exchange
from wiredoctor.core.http1.reader import Reader
from wiredoctor.protocols.tls.hello import HANDSHAKE
from wiredoctor.protocols.tls.hello import Handshake as TlsHandshake

CLOSE_FRAME: Final = 0x88
"""The first octet of a WebSocket Close frame: opcode 8, last fragment."""


def recognize(conversation: HttpState, reader: Reader, data: bytes) -> None:
    """Recognize a protocol other than HTTP/1 by a direction's first payload. If there is one, stop reading HTTP there."""
    if conversation.client >= 0:
        return
    if data[:3] in (b"PRI", b"\x00\x00\x12", b"\x00\x00\x18"):
        conversation.protocol = HTTP2
    elif len(data) > 2 and 0x14 <= data[0] <= 0x17 and data[1] == 3:
        conversation.protocol = TLS_PROTOCOL
        if begin_tls(conversation, reader, data):
            return
    else:
        return
    # stop in this direction only: a server may respond in clear text, with a 400
    reader.mode = OFF


def begin_tls(conversation: HttpState, reader: Reader, data: bytes) -> bool:
    """Parse the first bytes of a TLS handshake; return whether more bytes are needed."""
    if conversation.tls is None:
        if data[0] != HANDSHAKE:
            return False
        conversation.tls = TlsHandshake()
    wants_more = conversation.tls.sides[reader.direction].add(data)
    reader.mode = TLS if wants_more else OFF
    return wants_more


def continue_tls(conversation: HttpState, reader: Reader, data: bytes) -> None:
    """Parse more bytes of a TLS handshake. `data` is empty if these bytes were not captured."""
    if conversation.tls is None or not data or not conversation.tls.sides[reader.direction].add(data):
        reader.mode = OFF


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
