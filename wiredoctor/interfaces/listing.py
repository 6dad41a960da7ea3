"""List the interfaces of this network namespace, and `any`."""

from __future__ import annotations

import sys

from wiredoctor.interfaces.hardware import COOKED, link_type
from wiredoctor.interfaces.model import ANY, Interface, State, UnsupportedSystemError
from wiredoctor.interfaces.netlink import LOWER_UP, UP, Link, addresses, links


def interfaces() -> list[Interface]:
    """Return all interfaces in the kernel's order, then `any`. Raise UnsupportedSystemError if the system is not Linux."""
    if sys.platform != "linux":
        raise UnsupportedSystemError("interfaces are listed on Linux only; use dumpcap -D or tcpdump -D on this system")
    own: dict[int, list[str]] = {}
    for address in sorted(addresses(), key=lambda a: a.family):  # the sort is stable, and AF_INET is the smaller number
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
