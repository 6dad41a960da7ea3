"""The nouns: an interface, a program that captures, and what this user may do."""

from __future__ import annotations

from typing import Literal, NamedTuple

ANY = "any"
"""Stands for all interfaces that are up, as in libpcap; it is no device of the kernel."""

State = Literal["up", "no carrier", "down"]

BackendName = Literal["dumpcap", "tcpdump", "raw"]


class UnsupportedSystemError(Exception):
    """Interfaces are not listed on this system; the text says so in one line."""


class Interface(NamedTuple):
    """A network interface. Name and description are whatever somebody gave it, a sign per byte: not to be trusted."""

    name: str
    ifindex: int | None
    """The kernel's number; `any` has none."""
    kind: str | None
    """What it is where it is no hardware: veth, bridge, vlan, tun, wireguard, ..., as `ip link` calls it."""
    link_type: str
    """What captures there will say: the name of libpcap's LINKTYPE without that word."""
    state: State
    """No carrier: it is switched on, but the cable, or the other end, is not there."""
    mtu: int | None
    """Bytes."""
    addresses: tuple[str, ...]
    """IPv4 first, with the length of the prefix: 10.0.0.1/24, fe80::1/64."""
    description: str
    """The alias that somebody gave it; empty without."""


class Backend(NamedTuple):
    """A way to capture: a program, or the raw sockets of the kernel, and whether this user may use it."""

    name: BackendName
    path: str | None
    """Where the program is; None where it is not installed. Of raw sockets, this Python."""
    permitted: bool
    reason: str
    """Why, or why not, in a few words that follow the name: "may not be executed by this user"."""


class Permission(NamedTuple):
    """Whether this user may capture, in the order in which `wiredoctor live` would choose."""

    backends: tuple[Backend, ...]
    advice: tuple[str, ...]
    """What to do where none is permitted, a sentence each; the first is the best."""

    @property
    def permitted(self) -> bool:
        """Return whether any backend is permitted."""
        return any(backend.permitted for backend in self.backends)
