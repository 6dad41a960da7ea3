"""Run a harness on one input, and return the result: success, an exception, a broken invariant, or a timeout."""

from __future__ import annotations

import hashlib
import resource
import signal
import traceback
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

SECONDS = 10.0
"""CPU that one input may take."""

MEGABYTES = 500
"""Peak of resident memory of a process that has seen many inputs."""


class TooLong(BaseException):
    """Not an Exception: nothing that is fuzzed may catch it."""


class Broken(AssertionError):
    """Something that must always hold does not."""


class Trouble(NamedTuple):
    """What went wrong: crash, invariant or hang; where, by which the same trouble is known again; and the traceback."""

    kind: str
    where: str
    told: str

    @property
    def key(self) -> str:
        """Eight hexadecimal digits of the place."""
        return hashlib.sha256(f"{self.kind} {self.where}".encode()).hexdigest()[:8]


def must(holds: Any, what: str, *seen: object) -> None:
    """Raises Broken with what was seen unless it holds."""
    if not holds:
        raise Broken(f"{what}: {', '.join(repr(s)[:400] for s in seen)}" if seen else what)


@contextmanager
def limited(seconds: float = SECONDS) -> Generator[None]:
    """Raises TooLong in here after so many seconds of CPU of this process. Only in a main thread."""

    def over(*_: object) -> None:
        raise TooLong

    before = signal.signal(signal.SIGPROF, over)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def tried(run: Callable[[bytes], Any], data: bytes, seconds: float = SECONDS) -> Trouble | None:
    """What went wrong with this input."""
    try:
        with limited(seconds):
            run(data)
    except TooLong as error:
        return _trouble("hang", error)
    except AssertionError as error:
        return _trouble("invariant", error)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what we are looking for
        return _trouble("crash", error)
    return None


def _trouble(kind: str, error: BaseException) -> Trouble:
    frames = traceback.extract_tb(error.__traceback__)
    ours = [
        f for f in frames if "wiredoctor/" in f.filename.rpartition("site-packages")[2] and "/fuzzing/guard" not in f.filename
    ]
    last = (ours or list(frames))[-1]
    place = "/".join(Path(last.filename).parts[-2:])
    where = f"{type(error).__name__} at {place}:{last.name}"
    if isinstance(error, Broken):
        where = str(error).partition(":")[0]
    elif kind != "hang":
        where += f":{last.lineno}"
    return Trouble(kind, where, "".join(traceback.format_exception(error))[-6_000:])


def peak_megabytes() -> float:
    """The largest resident memory of this process so far (VmHWM)."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def cpu_seconds() -> float:
    """CPU that this process has taken so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
