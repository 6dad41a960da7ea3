"""Read the state of network interfaces in the current network namespace, and watch them for changes."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import socket
import struct

_SIOCGIFFLAGS = 0x8913
_UP, _RUNNING = 0x1, 0x40
_RTMGRP_LINK = 1
_LONGEST = 15
"""The maximum size in bytes of an interface name: IFNAMSIZ without the terminating zero."""

_PSEUDO = re.compile(r"any|nflog(:.*)?|nfqueue(:.*)?|usbmon\d+|bluetooth.*|dbus-.*")
"""A pattern for the names of libpcap interfaces that are not interfaces of the kernel."""


def interface_names() -> list[str]:
    """Return the names of all interfaces, and `any`."""
    return [name for _, name in socket.if_nameindex()] + ["any"]


def _flags(name: str) -> int | None:
    """Return the interface's flags (netdevice(7)), or None if the interface does not exist."""
    if _PSEUDO.fullmatch(name):
        return _UP | _RUNNING
    raw = os.fsencode(name)
    if len(raw) > _LONGEST:
        return None
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            answer = fcntl.ioctl(asking, _SIOCGIFFLAGS, struct.pack("16sH14x", raw, 0))
    except OSError:
        return None
    return struct.unpack_from("H", answer, 16)[0]


def _number(name: str) -> int:
    try:
        return socket.if_nametoindex(name)
    except OSError:
        return 0


def is_up(name: str) -> bool:
    """Return whether an interface exists and is up, so it can be captured on."""
    return bool((_flags(name) or 0) & _UP)


class Links:
    """Watches network interfaces. `file` becomes readable when something may have changed.

    `file` is -1 if the system sends no notifications.
    """

    def __init__(self, names: list[str]) -> None:
        self._news: socket.socket | None = None
        with contextlib.suppress(OSError, AttributeError):
            self._news = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE)
            self._news.bind((0, _RTMGRP_LINK))
        self.file = self._news.fileno() if self._news is not None else -1
        self._names = names
        self._states = dict.fromkeys(names, "up")
        self._numbers = {name: _number(name) for name in names}

    def missing(self) -> list[str]:
        """Return the names of the watched interfaces that do not exist."""
        return [name for name in self._names if _flags(name) is None]

    def usable(self) -> list[str]:
        """Return the names of the watched interfaces that exist and are up."""
        return [name for name in self._names if is_up(name)]

    def changes(self) -> list[tuple[str, str]]:
        """Return (name, "up" | "down" | "gone") for changes since the last call. At first, all interfaces count as up.

        An interface without carrier is "down". An interface that was replaced by another of the same name is first reported as
        "gone".
        """
        if self._news is not None:
            with contextlib.suppress(OSError):
                while self._news.recv(65_536):
                    pass
        changed: list[tuple[str, str]] = []
        for name in self._names:
            flags = _flags(name)
            state = "gone" if flags is None else "up" if flags & _UP and flags & _RUNNING else "down"
            if state != "gone" and (number := _number(name)) != self._numbers[name]:
                self._numbers[name] = number
                if self._states[name] != "gone":  # another interface has the same name now
                    self._states[name] = "gone"
                    changed.append((name, "gone"))
            if state != self._states[name]:
                self._states[name] = state
                changed.append((name, state))
        return changed
