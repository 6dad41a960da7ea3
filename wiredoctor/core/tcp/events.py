"""Events that the current segment completes or proves, such as the end of a stall. All packets share one object."""

from __future__ import annotations

from mypy_extensions import i64

from wiredoctor.core.tcp.waits import ClosedWindow, Run, Stall


class Events:
    """The events of a segment. A field is None or 0 if its event did not occur."""

    def __init__(self) -> None:
        self.nagle_off: bool = False
        """True if it is proved that the sender does not use Nagle's algorithm."""
        self.probe_frame: i64 = 0
        """The frame number of the tail loss probe that the segment acknowledges."""
        self.stall: Stall | None = None
        """The stall that the segment ends, because this segment is the first to acknowledge more bytes after a retransmission."""
        self.unheard: Stall | None = None
        """The time without progress that the segment ends: its sender had received no ACK, and sends new data at last."""
        self.closure: ClosedWindow | None = None
        """The closed window that delayed the segment; the segment is the first new data since the window opened again."""
        self.run: Run | None = None
        """The run of small segments that the segment continues."""
