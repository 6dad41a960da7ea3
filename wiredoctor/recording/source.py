"""Declare the interface that the recorder expects of every backend."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from wiredoctor.recording.blocks import Blocks


class NotThereError(Exception):
    """The backend is not available on this machine. The text is one line."""


class Source(Protocol):
    """A running backend. Its packets are read from `files`, as pcapng blocks."""

    backend: str
    version: str
    interfaces: Sequence[str]
    notes: Sequence[str]
    """Lines about what the backend does not capture, or captures in spite of the request."""
    linger: float
    """The maximum delay in seconds from the capture of a packet to its delivery; `stop` loses packets not delivered yet."""

    @property
    def capabilities(self) -> frozenset[int]:
        """The capabilities needed to stop the backend, and to restart it when an interface comes back.

        They include NET_ADMIN if the backend uses a receive buffer larger than net.core.rmem_max.
        """
        ...

    @property
    def processes(self) -> Sequence[int]:
        """The ids of the other processes that capture; empty if this process captures the packets."""
        ...

    @property
    def begun(self) -> bool:
        """True if capturing has started."""
        ...

    @property
    def ended(self) -> bool:
        """True if no more packets will come."""
        ...

    @property
    def dropped(self) -> Mapping[int, int]:
        """The number of packets that the kernel dropped, by interface number, as far as known."""
        ...

    def files(self) -> list[int]:
        """Return the file descriptors to wait for."""
        ...

    def read(self, file: int, blocks: Blocks) -> int:
        """Read from `file`, one of `files`, into `blocks`. Return the number of bytes; 0 if `file` does not carry packets."""
        ...

    def ask_for_drops(self) -> None:
        """Start to update `dropped`, if the backend supports that. The update may take a moment."""
        ...

    def stop(self) -> None:
        """Ask the backend to end. It still delivers its statistics and all packets captured at least `linger` seconds ago."""
        ...

    def kill(self) -> None:
        """Stop capturing immediately."""
        ...

    def close(self, blocks: Blocks) -> None:
        """Deliver the last blocks after the backend has ended."""
        ...

    def complaint(self) -> str:
        """Return what the backend wrote to standard error."""
        ...


class Trouble(NamedTuple):
    """The reason why capturing is impossible.

    `kind`: permission, interface, down, filter, absent or other. `text`: one line that describes the problem.
    """

    kind: str
    text: str


_KINDS = (
    ("permission", r"permission|operation not permitted|not permitted"),
    ("interface", r"no such device|no device named|doesn't exist|does not exist"),
    ("down", r"not up|network is down"),
    ("filter", r"capture filter|filter expression|set filter|compile filter|parse filter|unknown (host|network|port)"),
)
_CHATTER = re.compile(
    r"(Capturing on |File: |tcpdump: (verbose|listening|data link type)|dropped privs|Packets |(tcpdump: )?\d+ packets? |"
    r"(dumpcap: )?cap_set_proc\(\)|$)"  # a message about NET_ADMIN, which dumpcap requests but does not need
)


def trouble(backend: str, complaint: str) -> Trouble:
    """Return the reason why a backend cannot capture, derived from its error messages `complaint`.

    The text of the result is the first line of the messages, or all lines if the capture filter is invalid.
    """
    lines = [line.strip() for line in complaint.replace("\r", "\n").splitlines()]
    lines = [line.removeprefix(f"{backend}: ") for line in lines if not _CHATTER.match(line)]
    said = " ".join(lines)
    for kind, pattern in _KINDS:
        if re.search(pattern, said, re.IGNORECASE):
            if kind == "filter":  # dumpcap appends advice about the User's Guide
                said = " ".join(line for line in lines if "User's Guide" not in line)
            return Trouble(kind, said if kind == "filter" else lines[0])
    return Trouble("other", (lines[0] if lines else "") or f"{backend} ended without a message")
