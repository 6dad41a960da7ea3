"""Run wiredoctor, and write to standard error what each minute of looks took, as only the process itself knows.

python live_driver.py [--limit NAME=VALUE ...] live ...

Each line is "looks" and a JSON object: `minute`, the number of `looks`, the `longest` and the `total` CPU time of one and of all
of them (seconds of all threads), and the `behind` seconds at most. --limit lowers a limit of limits.py.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

import wiredoctor.live
from wiredoctor.cli import main  # nothing here may import Polars: `main` sets the variables that configure it

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wiredoctor.live import News, Session, Started

_start = wiredoctor.live.start
_begun = time.monotonic()
_minute: dict[str, Any] = {}
_limits: dict[str, int] = {}


def _measure(session: type[Session]) -> None:
    """Replace Session.look with a function that also counts. Waiting takes no CPU time."""
    look = session.look

    def measured(self: Session, patience: float) -> News:
        before = time.process_time()
        news = look(self, patience)
        _count(time.process_time() - before, news.status.lag, over=self.over)
        return news

    session.look = measured  # type: ignore[method-assign]


def _count(took: float, behind: float, *, over: bool) -> None:
    minute = int((time.monotonic() - _begun) // 60) + 1
    if _minute.get("minute", minute) != minute:
        _tell()
    if not _minute:
        _minute.update(minute=minute, looks=0, longest=0.0, total=0.0, behind=0.0)
    _minute["looks"] += 1
    _minute["total"] = round(_minute["total"] + took, 3)
    for name, value in (("longest", took), ("behind", behind)):
        _minute[name] = round(max(_minute[name], value), 3)
    if over:
        _tell()


def _tell() -> None:
    print("looks", json.dumps(_minute), file=sys.stderr, flush=True)
    _minute.clear()


@contextmanager
def _start_measured(*order: Any) -> Iterator[Started]:
    with _start(*order) as started:
        from wiredoctor import limits
        from wiredoctor.live.session import Session  # starts threads: only now may it be imported

        for name, value in _limits.items():
            getattr(limits, name).value = value
        _measure(Session)
        yield started


def _take_limits(words: list[str]) -> list[str]:
    while words[:1] == ["--limit"]:
        name, _, value = words[1].partition("=")
        _limits[name] = int(value)
        words = words[2:]
    return words


if __name__ == "__main__":
    sys.argv[1:] = _take_limits(sys.argv[1:])
    measured: AbstractContextManager[Started] | Any = _start_measured
    wiredoctor.live.start = measured
    main()
