"""Which backend captures: those that this machine has, in turn, and what to say when none may."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from wiredoctor.recording.dumpcap import Dumpcap
from wiredoctor.recording.links import known
from wiredoctor.recording.process import forbidden_program, program

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wiredoctor.recording.request import Request
    from wiredoctor.recording.source import Source

BACKENDS = ("dumpcap",)
"""In the order in which they are tried."""


class NotThereError(Exception):
    """This machine does not have the backend; in a line."""


def start(backend: str, interfaces: Sequence[str], request: Request) -> Source:
    """Starts a backend. Raises NotThereError, or OSError."""
    path = program(backend)
    if path is None:
        raise NotThereError(f"{backend} is not installed")
    return Dumpcap(path, interfaces, request)


def no_such_interface(missing: list[str]) -> str:
    """What to say of interfaces that do not exist."""
    return f"no such interface: {', '.join(missing)} (there are: {', '.join(known())})"


def not_up(down: list[str]) -> str:
    """What to say of interfaces that were not brought up."""
    return f"{', '.join(down)} is not up: bring it up first (sudo ip link set {down[0]} up)"


def not_permitted(interfaces: Sequence[str]) -> str:
    """What to do where no backend may capture."""
    allow = (
        "let dumpcap do it for the group wireshark (Debian, Ubuntu: sudo dpkg-reconfigure wireshark-common, then sudo adduser "
    )
    allow += f"{_user()} wireshark and log in again)"
    if path := program("dumpcap"):
        can = f"sudo setcap cap_net_raw,cap_net_admin+eip {path}"
        what = f"run as root (sudo), or give dumpcap the right ({can}), or {allow}"
    elif path := forbidden_program("dumpcap"):
        what = f"run as root (sudo), or join the group that may execute {path} (sudo adduser {_user()} wireshark, log in again)"
    else:
        what = "run as root (sudo), or install dumpcap (Debian, Ubuntu: apt install wireshark-common) and " + allow
    return f"no permission to capture on {', '.join(interfaces)}: {what}"


def _user() -> str:
    return os.environ.get("USER") or "$USER"
