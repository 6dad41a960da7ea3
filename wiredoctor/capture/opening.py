"""From what the user named to a file that can be mapped."""

from __future__ import annotations

import os
import stat
import sys
from typing import TYPE_CHECKING

from wiredoctor.capture.budget import Budget
from wiredoctor.capture.capture import Capture
from wiredoctor.capture.formats import is_capture
from wiredoctor.capture.model import CaptureError, NoRoom, Source, TooManyFiles

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import BinaryIO

STANDARD_INPUT = "-"
_LEAST = 24
"""Bytes of a pcap file header; an empty file cannot be mapped."""

_SPARE = 32
"""Descriptors that captures leave for the rest of the program: it uses 16 for its tables, processes and outputs."""


def open_capture(path: str | os.PathLike[str], *, max_spool: int | Budget | None = None) -> Capture:
    """Opens a capture by content: pcap or pcapng, plain or compressed (gzip, bzip2, xz, zstandard, lz4); "-" is standard input.

    max_spool: bytes that an input which cannot be mapped (compressed, a pipe) may take in the temporary directory, or a budget
    that it shares with others; None: 2 GB or half of what is free there, whichever is less, and for a pipe nine tenths of it.
    What goes beyond is left out, and `damage` and `incomplete` say so.
    Raises CaptureError, one line that says what and where; NoRoom if nothing is left.
    """
    return _capture([_source(os.fspath(path), max_spool)], os.fspath(path))


def open_descriptor(descriptor: int, name: str) -> Capture:
    """Open a capture file by a descriptor, which stays open; reports call it `name`. Raises CaptureError."""
    try:
        return _capture([_open(os.fdopen(os.dup(descriptor), "rb"), name, None)], name)
    except OSError as error:
        raise CaptureError(f"{name}: {_reason(error)}") from None


def open_merged(
    paths: Sequence[str],
    name: str,
    on_error: Callable[[str], None],
    *,
    rotation: bool = False,
    max_spool: int | Budget | None = None,
) -> Capture:
    """Open several captures as one, called `name`: their packets in order of time, as mergecap(1) puts them.

    In a `rotation`, interfaces with equal descriptions are one interface; otherwise each file has its own. `on_error` is called
    with a line for each file that cannot be read, which is left out; files for which there is no room are named in `incomplete`.
    Raises CaptureError if nothing is left.
    """
    budget = Budget.of(max_spool)
    sources: list[Source] = []
    unread: list[str] = []
    for path in paths:
        try:
            source = _source(path, budget)
            # tells what is no capture, or has no packet that could be read, before the others are put beside it
            with _capture([source._replace(file=os.fdopen(os.dup(source.file.fileno()), "rb"))], path):
                sources.append(source)
        except TooManyFiles as error:
            raise CaptureError(
                f"{name}: all {len(paths):,} files must be open at the same time, and only {error.allowed:,} may be: raise the "
                f"limit (ulimit -n {len(paths) + 2 * _SPARE}), or join the files in groups with mergecap"
            ) from None
        except NoRoom as error:
            unread += error.sentences
        except CaptureError as error:
            on_error(str(error))
    if not sources:
        text = f"{name}: none of these files can be read"
        raise NoRoom(text, unread) if unread else CaptureError(text)
    capture = _capture(sources, name, rotation=rotation)
    capture.incomplete += unread
    return capture


def _capture(sources: Sequence[Source], name: str, *, rotation: bool = False) -> Capture:
    try:
        return Capture(sources, name, rotation=rotation)
    except BaseException:
        for source in sources:
            source.file.close()
        raise


def _source(name: str, max_spool: int | Budget | None) -> Source:
    try:
        if name == STANDARD_INPUT:
            if sys.stdin is None:  # pyright: ignore[reportUnnecessaryComparison] - the shell's <&-
                raise CaptureError(f"{name}: standard input is closed")
            return _spooled(sys.stdin.buffer, name, None, max_spool)
        file = open(name, "rb")  # noqa: SIM115 - the capture keeps it open
        _check_descriptors(file.fileno(), name)
        return _open(file, name, max_spool)
    except OSError as error:
        raise CaptureError(f"{name}: {_reason(error)}") from None
    except ValueError:  # a NUL in the name
        raise CaptureError(f"{name!r}: no such file") from None


def _check_descriptors(newest: int, name: str) -> None:
    """Raise TooManyFiles if few descriptors are left; the system always hands out the lowest free number."""
    try:
        import resource
    except ImportError:  # no such limit on this system
        return
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if allowed != resource.RLIM_INFINITY and newest >= max(allowed - _SPARE, _SPARE // 2):
        raise TooManyFiles(name, allowed)


def _reason(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, IsADirectoryError):
        return "a directory, not a capture file"
    if isinstance(error, PermissionError):
        return "no permission to read it"
    return (error.strerror or str(error)).lower()


def _open(file: BinaryIO, name: str, max_spool: int | Budget | None) -> Source:
    try:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            return _spooled(file, name, None, max_spool)
        if not status.st_size:
            raise CaptureError(f"{name}: empty")
        head = os.pread(file.fileno(), 64, 0)
        if not is_capture(head) and _is_compressed(head):
            return _spooled(file, name, status.st_size, max_spool)
        return Source(file, name, status.st_size)
    except BaseException:
        file.close()
        raise


def _is_compressed(head: bytes) -> bool:
    from wiredoctor.capture.spool import compression

    return compression(head) is not None


def _spooled(source: BinaryIO, name: str, size: int | None, max_spool: int | Budget | None) -> Source:
    """size: bytes of the input as given, where it is a file."""
    from wiredoctor.capture.spool import spool

    file, _, lost, cut = spool(source, name, is_capture, Budget.of(max_spool))
    if lost is not None and file.tell() < _LEAST:
        file.close()
        text = f"{name}: not one packet can be read: {lost}"
        raise NoRoom(text, [cut]) if cut is not None else CaptureError(text)
    return Source(file, name, size if size is not None else file.tell(), lost, cut)
