"""Interfaces and their addresses, asked of the Linux kernel (rtnetlink(7)).

/sys/class/net would be shorter to read, but shows the network namespace in which /sys was mounted: behind `nsenter --net`,
and in a container that shares the network of another, that is not the one in which captures are made.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from typing import NamedTuple

UP, LOWER_UP = 1 << 0, 1 << 16
"""Flags of an interface: switched on; and its cable or its other end is there (netdevice(7))."""

_GET_LINK, _GET_ADDRESS = 18, 22
_REQUEST, _DUMP = 0x001, 0x300
_ERROR, _DONE = 2, 3
_NAME, _MTU, _LINK_INFO, _ALIAS, _KIND = 3, 4, 18, 20, 1
"""Attributes of a link (IFLA_...), the last one of the attribute _LINK_INFO."""
_ADDRESS, _LOCAL = 1, 2
"""Attributes of an address (IFA_...): of the other end where there is one, and the own."""

_MESSAGE, _LINK, _ADDRESSED, _ATTRIBUTE = (
    struct.Struct("=IHHII"),
    struct.Struct("=BxHiII"),
    struct.Struct("=BBBBI"),
    struct.Struct("=HH"),
)
_ROOM = 1 << 17
"""Bytes for one answer of the kernel, which makes none longer than 32 kB."""


class Link(NamedTuple):
    """An interface; texts have a sign per byte."""

    ifindex: int
    hardware: int
    """ARPHRD_..., which says what a packet socket will hand out."""
    flags: int
    name: str
    alias: str
    kind: str | None
    mtu: int | None


class Address(NamedTuple):
    """An address of the interface `ifindex`, with the length of its prefix in bits."""

    ifindex: int
    text: str
    prefix: int
    family: int


def links() -> list[Link]:
    """All interfaces of this network namespace, in the kernel's order."""
    return [_link(body) for body in _dump(_GET_LINK)]


def addresses() -> list[Address]:
    """All IPv4 and IPv6 addresses of this network namespace."""
    return [found for body in _dump(_GET_ADDRESS) if (found := _address(body))]


def _link(body: bytes) -> Link:
    _, hardware, index, flags, _ = _LINK.unpack_from(body)
    has = dict(attributes(body[_LINK.size :]))
    kind = dict(attributes(has.get(_LINK_INFO, b""))).get(_KIND)
    mtu = has.get(_MTU)
    return Link(
        index, hardware, flags, _text(has.get(_NAME, b"")), _text(has.get(_ALIAS, b"")),
        kind=_text(kind) if kind else None, mtu=struct.unpack("=I", mtu)[0] if mtu else None,
    )  # fmt: skip


def _address(body: bytes) -> Address | None:
    family, prefix, _, _, index = _ADDRESSED.unpack_from(body)
    has = dict(attributes(body[_ADDRESSED.size :]))
    raw = has.get(_LOCAL) or has.get(_ADDRESS)
    if family not in (socket.AF_INET, socket.AF_INET6) or raw is None:
        return None
    return Address(index, socket.inet_ntop(family, raw), prefix, family)


def _text(raw: bytes) -> str:
    return raw.rstrip(b"\0").decode("latin-1")


def attributes(raw: bytes) -> Iterator[tuple[int, bytes]]:
    """(type, value) of each attribute; the upper two bits of the type are flags."""
    at = 0
    while at + _ATTRIBUTE.size <= len(raw):
        length, kind = _ATTRIBUTE.unpack_from(raw, at)
        if length < _ATTRIBUTE.size:
            return
        yield kind & 0x3FFF, raw[at + _ATTRIBUTE.size : at + length]
        at += (length + 3) & ~3


def _dump(kind: int) -> Iterator[bytes]:
    """The bodies of all messages that answer a question for everything of a kind; raises OSError where that is refused."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE) as asked:
        asked.settimeout(5)
        asked.bind((0, 0))
        question = _LINK.pack(0, 0, 0, 0, 0)
        asked.sendto(_MESSAGE.pack(_MESSAGE.size + len(question), kind, _REQUEST | _DUMP, 1, 0) + question, (0, 0))
        while True:
            for answer, body in messages(asked.recv(_ROOM)):
                if answer == _DONE:
                    return
                if answer == _ERROR:
                    number = -struct.unpack_from("=i", body)[0]
                    raise OSError(number, os.strerror(number))
                yield body


def messages(raw: bytes) -> Iterator[tuple[int, bytes]]:
    """(type, body) of each message of an answer."""
    at = 0
    while at + _MESSAGE.size <= len(raw):
        length, kind, *_ = _MESSAGE.unpack_from(raw, at)
        if length < _MESSAGE.size:
            return
        yield kind, raw[at + _MESSAGE.size : at + length]
        at += (length + 3) & ~3
