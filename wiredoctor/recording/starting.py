"""Choose the backend: try the available backends in order, and explain why if none of them may capture."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from wiredoctor.interfaces import permission
from wiredoctor.recording.dumpcap import Dumpcap
from wiredoctor.recording.links import interface_names
from wiredoctor.recording.process import program
from wiredoctor.recording.raw import Raw
from wiredoctor.recording.source import NotThereError, Source
from wiredoctor.recording.stream import STREAM, Stream
from wiredoctor.recording.tcpdump import Tcpdump

if TYPE_CHECKING:
    from wiredoctor.recording.request import Request

BACKENDS = ("dumpcap", "tcpdump", "raw")
"""The order in which backends are tried."""


_ADVICE = (
    "Let dumpcap capture: sudo setcap cap_net_raw,cap_net_admin+eip /usr/bin/dumpcap"
    " (Debian: sudo dpkg-reconfigure wireshark-common, and join the group wireshark)."
    " Or run wiredoctor as root: sudo wiredoctor live ..."
)
"""The advice on permissions that is used if the check of permissions has no advice."""


def start(backend: str, interfaces: Sequence[str], request: Request) -> Source:
    """Start a backend. Raise NotThereError if it is not available, and OSError or ValueError if it cannot start."""
    if backend == STREAM:
        return Stream(request.stream or 0, request.stream_name)
    if backend == "raw":
        if sys.platform != "linux":
            raise NotThereError("raw sockets work on Linux only")
        try:
            return Raw(interfaces, request)
        except ImportError as error:
            raise NotThereError(f"raw sockets need scapy: {error}") from error
    path = program(backend)
    if path is None:
        raise NotThereError(f"{backend} is not installed, or this user may not execute it")
    return Dumpcap(path, interfaces, request) if backend == "dumpcap" else Tcpdump(path, interfaces, request)


def no_such_interface(missing: list[str]) -> str:
    """Return the message for interfaces that do not exist."""
    return f"no such interface: {', '.join(missing)} (there are: {', '.join(interface_names())})"


def not_up(down: list[str]) -> str:
    """Return the message for interfaces that are down."""
    return f"{', '.join(down)} is not up: bring it up first (sudo ip link set {down[0]} up)"


def not_permitted(interfaces: Sequence[str]) -> str:
    """Return the message and advice if no backend may capture."""
    advice = " ".join(permission().advice) or _ADVICE
    return f"no permission to capture on {', '.join(interfaces)}. {advice}"
