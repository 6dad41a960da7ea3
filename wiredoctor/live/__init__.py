"""Diagnose while capturing: one process captures, and another process without privileges analyzes the packets.

`start` starts the capturing process and gives up all privileges; `watch` analyzes. Importing the analysis starts threads, which
must not exist before the privileges are dropped. Therefore the analysis is imported only on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wiredoctor.live.privilege_separation import Started, start
from wiredoctor.live.recorder_client import Order, Recorder, RecorderError, Ring

if TYPE_CHECKING:
    from wiredoctor.live.session import News, Session, Status, watch

__all__ = ["News", "Order", "Recorder", "RecorderError", "Ring", "Session", "Started", "Status", "start", "watch"]


def __getattr__(name: str) -> Any:
    if name in ("News", "Session", "Status", "watch"):
        from wiredoctor.live import session

        return getattr(session, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
