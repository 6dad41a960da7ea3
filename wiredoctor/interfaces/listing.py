"""List the interfaces of this network namespace, and the pseudo-interface `any`."""

from __future__ import annotations

import sys

from wiredoctor.interfaces.model import ANY, Interface, State, UnsupportedSystemError
from wiredoctor.interfaces.netlink import LOWER_UP, UP, Link, addresses, links

COOKED = "LINUX_SLL"
"""The link type of unknown hardware and of the interface `any`, where libpcap puts its own header before each packet."""

_RAW = (15, 256, 257, 258, 259, 264, 518, 519, 768, 776, 0xFFFE)
"""The ARPHRD_ numbers of hardware whose packets begin with the IP header.

They are DLCI, SLIP and its variants, raw HDLC, raw IP, IP in IP, SIT, and interfaces without a header (tun, WireGuard).
"""

_NAMES = {
    1: "ETHERNET",
    2: "EXP_ETHERNET",
    3: "AX25_KISS",
    4: "PRONET",
    5: "CHAOS",
    6: "IEEE802_5",
    7: "ARCNET_LINUX",
    23: "ETHERNET",
    24: "APPLE_IP_OVER_IEEE1394",
    280: "CAN_SOCKETCAN",
    513: "C_HDLC",
    772: "ETHERNET",
    773: "LTALK",
    774: "FDDI",
    783: "LINUX_IRDA",
    784: "FC_2",
    785: "FC_2",
    786: "FC_2",
    787: "FC_2",
    800: "IEEE802_5",
    801: "IEEE802_11",
    802: "IEEE802_11_PRISM",
    803: "IEEE802_11_RADIOTAP",
    804: "IEEE802_15_4_NOFCS",
    824: "NETLINK",
    826: "VSOCK",
    **dict.fromkeys(_RAW, "RAW"),
}


def interfaces() -> list[Interface]:
    """Return all interfaces in the kernel's order, then `any`. Raise UnsupportedSystemError if the system is not Linux."""
    if sys.platform != "linux":
        raise UnsupportedSystemError("interfaces are listed on Linux only; use dumpcap -D or tcpdump -D on this system")
    own: dict[int, list[str]] = {}
    for address in sorted(addresses(), key=lambda a: a.family):  # IPv4 first, because AF_INET is the smaller number
        own.setdefault(address.ifindex, []).append(f"{address.text}/{address.prefix}")
    found = [_interface(link, own.get(link.ifindex, [])) for link in links()]
    return [*found, Interface(ANY, None, None, COOKED, "up", None, (), "all interfaces that are up")]


def _interface(link: Link, own: list[str]) -> Interface:
    return Interface(
        link.name, link.ifindex, link.kind, link_type(link.hardware), _state(link.flags), link.mtu, tuple(own), link.alias
    )


def _state(flags: int) -> State:
    if not flags & UP:
        return "down"
    return "up" if flags & LOWER_UP else "no carrier"


def link_type(hardware: int) -> str:
    """Return the name of the LINKTYPE with which libpcap captures on this hardware."""
    return _NAMES.get(hardware, COOKED)
