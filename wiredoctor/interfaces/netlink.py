"""Read interfaces and their addresses from the Linux kernel (rtnetlink(7)).

/sys/class/net would be simpler, but it shows the network namespace in which /sys was mounted. Under `nsenter --net`, and in a
container that shares the network of another container, captures are made in a different namespace.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from typing import NamedTuple

UP, LOWER_UP = 1 << 0, 1 << 16
"""The flags of an interface that is up, and of an interface whose cable or other end is connected (netdevice(7))."""

_GET_LINK, _GET_ADDRESS = 18, 22
_REQUEST, _DUMP = 0x001, 0x300
_ERROR, _DONE = 2, 3
_NAME, _MTU, _LINK_INFO, _ALIAS, _KIND = 3, 4, 18, 20, 1
"""The numbers of attributes of a link (IFLA_...); _KIND is inside the attribute _LINK_INFO."""
_ADDRESS, _LOCAL = 1, 2
"""The numbers of the attributes IFA_ADDRESS and IFA_LOCAL.

On a point-to-point link, IFA_ADDRESS is the address of the peer, and IFA_LOCAL is the address of the interface.
"""

_MESSAGE, _LINK, _ADDRESSED, _ATTRIBUTE = (
    struct.Struct("=IHHII"),
    struct.Struct("=BxHiII"),
    struct.Struct("=BBBBI"),
    struct.Struct("=HH"),
)
_ROOM = 1 << 17
"""The size in bytes of the buffer for a reply from the kernel. A reply never exceeds 32 kB."""


class Link(NamedTuple):
    """A network interface. Each byte of its name and alias is one character."""

    ifindex: int
    hardware: int
    """The hardware type (ARPHRD_...), which determines the headers that a packet socket delivers."""
    flags: int
    name: str
    alias: str
    kind: str | None
    mtu: int | None


class Address(NamedTuple):
    """An address of the interface `ifindex`, with the prefix length in bits."""

    ifindex: int
    text: str
    prefix: int
    family: int


def links() -> list[Link]:
    """Return all interfaces of this network namespace, in the kernel's order."""
    return [_link(body) for body in _dump(_GET_LINK)]


def addresses() -> list[Address]:
    """Return all IPv4 and IPv6 addresses of this network namespace."""
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
    """Yield the type and value of each attribute, without the flags in the upper two bits of the type."""
    at = 0
    while at + _ATTRIBUTE.size <= len(raw):
        length, kind = _ATTRIBUTE.unpack_from(raw, at)
        if length < _ATTRIBUTE.size:
            return
        yield kind & 0x3FFF, raw[at + _ATTRIBUTE.size : at + length]
        at += (length + 3) & ~3


def _dump(kind: int) -> Iterator[bytes]:
    """Request a dump from the kernel, and yield the bodies of all messages in the reply. Raise OSError if the kernel refuses."""
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
    """Yield the type and body of each message in a reply, up to the first invalid one."""
    at = 0
    while at + _MESSAGE.size <= len(raw):
        length, kind, *_ = _MESSAGE.unpack_from(raw, at)
        if length < _MESSAGE.size:
            return
        yield kind, raw[at + _MESSAGE.size : at + length]
        at += (length + 3) & ~3
