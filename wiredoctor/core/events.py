"""What the segment in hand ends or proves. One object, filled anew for each packet."""

from __future__ import annotations

from mypy_extensions import i64

from wiredoctor.core.connection import ClosedWindow, Run, Stall


class Events:
    """Events of a segment; None, or 0, where there is none."""

    def __init__(self) -> None:
        self.nagle_off: bool = False
        """Nagle is proved off for its sender."""
        self.probe_frame: i64 = 0
        """The tail loss probe that it answers."""
        self.stall: Stall | None = None
        """The time without progress that it ends, as the first ACK to advance after a retransmission."""
        self.closure: ClosedWindow | None = None
        """The closed window after which it is the first new data."""
        self.run: Run | None = None
        """The run of small segments that it continues."""
