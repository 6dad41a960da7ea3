"""Data types for an interface, a way to capture, and the permissions of this user."""

from __future__ import annotations

from typing import Literal, NamedTuple

ANY = "any"
"""libpcap's name for all interfaces that are up; the kernel has no device with this name."""

State = Literal["up", "no carrier", "down"]

BackendName = Literal["dumpcap", "tcpdump", "raw"]


class UnsupportedSystemError(Exception):
    """Raised if interfaces cannot be listed on this system. The text is one line."""


class Interface(NamedTuple):
    """A network interface. Its name and description are untrusted text, with one character per byte."""

    name: str
    ifindex: int | None
    """The kernel's number of the interface; None for `any`."""
    kind: str | None
    """The kind of a virtual interface as `ip link` names it (veth, bridge, vlan, tun, ...); None for other interfaces."""
    link_type: str
    """The link type of captures on the interface: the name of libpcap's LINKTYPE without the prefix."""
    state: State
    """The state of the interface. "no carrier" means that the interface is up, but the cable or the other end is missing."""
    mtu: int | None
    """The maximum packet size in bytes; None for `any`."""
    addresses: tuple[str, ...]
    """The addresses with their prefix lengths, IPv4 first: 10.0.0.1/24, fe80::1/64."""
    description: str
    """The alias of the interface, empty if it has none; for `any`, an explanation."""


class Backend(NamedTuple):
    """A way to capture: a program or raw sockets, and whether this user may use it."""

    name: BackendName
    path: str | None
    """The path of the program; None if it is not installed. For raw sockets, the path of this Python interpreter."""
    permitted: bool
    reason: str
    """Why this backend is permitted or not, as words that follow the backend's name: "may not be executed by this user"."""


class Permission(NamedTuple):
    """The permissions of this user to capture, with the backends in the order in which `wiredoctor live` tries them."""

    backends: tuple[Backend, ...]
    advice: tuple[str, ...]
    """Advice if no backend is permitted, one sentence each, the best first."""

    @property
    def permitted(self) -> bool:
        """True if any backend is permitted."""
        return any(backend.permitted for backend in self.backends)
