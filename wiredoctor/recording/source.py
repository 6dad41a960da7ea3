"""What every backend has in common, as seen by the recorder."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from wiredoctor.recording.blocks import Blocks


class NotThereError(Exception):
    """This machine does not have the backend; in a line."""


class Source(Protocol):
    """A backend at work: the files that it hands packets over by, read one by one into blocks."""

    backend: str
    version: str
    interfaces: Sequence[str]
    linger: float
    """Seconds until what is captured is handed over: when it is interrupted earlier, it forgets what it has by then."""

    @property
    def capabilities(self) -> frozenset[int]:
        """What is needed to stop it, and to start it again when an interface is back; for a receive buffer larger than
        net.core.rmem_max, NET_ADMIN is among them."""
        ...

    @property
    def processes(self) -> Sequence[int]:
        """Process ids."""
        ...

    @property
    def begun(self) -> bool:
        """Whether it captures by now."""
        ...

    @property
    def ended(self) -> bool:
        """Whether nothing more comes from it."""
        ...

    @property
    def dropped(self) -> Mapping[int, int]:
        """Number of an interface -> packets that the kernel did not hand over, as far as known."""
        ...

    def files(self) -> list[int]:
        """What to wait for."""
        ...

    def read(self, file: int, blocks: Blocks) -> int:
        """Puts what has come by `file` into `blocks`; how many bytes came."""
        ...

    def ask_for_drops(self) -> None:
        """Brings `dropped` up to date, now or a little later, where that is possible."""
        ...

    def stop(self) -> None:
        """To end in order: what was captured still comes."""
        ...

    def kill(self) -> None:
        """To end at once."""
        ...

    def close(self, blocks: Blocks) -> None:
        """Once it has ended: the last blocks."""
        ...

    def complaint(self) -> str:
        """What it said on standard error."""
        ...


class Trouble(NamedTuple):
    """Why capturing could not begin: its kind, and a line."""

    kind: str
    text: str


_KINDS = (
    ("permission", r"permission|operation not permitted|not permitted"),
    ("interface", r"no such device|no device named|doesn't exist|does not exist"),
    ("down", r"not up|network is down"),
    ("filter", r"capture filter|filter expression|cannot set filter|failed to compile filter|parse filter"),
)
_CHATTER = re.compile(
    r"(Capturing on |File: |tcpdump: (verbose|listening|data link type)|dropped privs|Packets |(tcpdump: )?\d+ packets? |"
    r"(dumpcap: )?cap_set_proc\(\)|$)"  # without NET_ADMIN, which it asks for and does not need
)


def trouble(backend: str, complaint: str) -> Trouble:
    """What a backend that did not begin has said, sorted by what can be done about it."""
    lines = [line.strip() for line in complaint.replace("\r", "\n").splitlines()]
    lines = [line.removeprefix(f"{backend}: ") for line in lines if not _CHATTER.match(line)]
    said = " ".join(lines)
    for kind, pattern in _KINDS:
        if re.search(pattern, said, re.IGNORECASE):
            if kind == "filter":  # dumpcap goes on about the User's Guide
                said = " ".join(line for line in lines if "User's Guide" not in line)
            return Trouble(kind, said if kind == "filter" else lines[0])
    return Trouble("other", (lines[0] if lines else "") or f"{backend} ended without a word")
