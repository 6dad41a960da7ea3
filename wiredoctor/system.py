"""What differs between Linux, macOS and Windows, under names that say what it does.

Only code that captures packets asks for the system elsewhere: wiredoctor/interfaces, wiredoctor/live and wiredoctor/recording.
"""

from __future__ import annotations

import errno
import io
import os
import signal
import stat
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:  # signals are watched for before these modules load
    from collections.abc import Callable, Sequence
    from types import FrameType
    from typing import Any, TextIO

STOPPING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name))
"""Signals that ask the process to end; on Windows also SIGBREAK, for Ctrl-Break."""

CAPTURING = {"win32": (), "linux": ("live", "run", "interfaces")}.get(sys.platform, ("live", "interfaces"))
"""The commands that work here, of those that capture or list interfaces."""

FORKS = sys.platform == "linux"
"""True if a process can be forked after libraries have loaded."""

POSIX_QUOTES = sys.platform != "win32"
"""True if shells have the quotes of POSIX."""

HAS_PAGER = sys.platform != "win32"
"""True if there are pagers that show colors and UTF-8."""

RELATIVE = {os.open, os.stat, os.readlink, os.rename, os.unlink, os.access} <= os.supports_dir_fd
"""True if files can be opened relative to an open folder. Windows cannot, so paths are used unchanged."""

NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
NONBLOCK = getattr(os, "O_NONBLOCK", 0)
NOCTTY = getattr(os, "O_NOCTTY", 0)
BINARY = getattr(os, "O_BINARY", 0)
"""The flag of Windows without which the C library translates line ends, and ends a file at Ctrl-Z."""
PATH = getattr(os, "O_PATH", 0)
FOLDER = (PATH or os.O_RDONLY) | getattr(os, "O_DIRECTORY", 0)

FULL_CODES = (39, 112, 1295) if sys.platform == "win32" else (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""The system's codes for a disk or quota without space: ERROR_HANDLE_DISK_FULL, ERROR_DISK_FULL, ERROR_DISK_QUOTA_EXCEEDED."""

_ACL = "system.posix_acl_access"

_OPEN_FILES = 8192
"""The maximum number of open files in the C library of Windows (_setmaxstdio)."""

_RETRY = 0.01
"""The seconds between two attempts."""

_ATTEMPTS = 100

_LONGEST_PATH = 259
"""The maximum number of characters in a path, unless long paths are turned on (LongPathsEnabled in the registry)."""

_DEVICE = r"(?i)(?:con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|con(?:in|out)\$) *(?:[.:].*)?"
"""A pattern for the names of devices, which Windows finds in every folder and with any suffix."""

_NEVER_IN_NAMES = frozenset((*'<>:"|?*', *map(chr, range(1, 32))))


if sys.platform == "win32":
    from _thread import allocate_lock

    _seeking = allocate_lock()

    def read_at(descriptor: int, size: int, offset: int) -> bytes:
        """Return at most `size` bytes of a file at `offset`; fewer only at its end.

        The position of the file changes. The lock is for all files, because descriptors may be copies that share a position.
        """
        with _seeking:
            os.lseek(descriptor, offset, os.SEEK_SET)
            return os.read(descriptor, size)
else:
    read_at = os.pread


def return_memory() -> None:
    """Return memory that the C library holds but does not use to the system. Do nothing where that is impossible.

    NumPy's arrays and Python's larger objects come from the C library, which keeps what lies between those in use. Only the GNU C
    library has malloc_trim(3).
    """
    if sys.platform == "linux":
        import ctypes  # NumPy has loaded it

        if (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
            trim(0)


def reserve(descriptor: int, size: int) -> None:
    """Reserve space for a file, so a full disk is noticed before any data is lost. Do nothing where that is impossible."""
    if sys.platform == "linux" and size:
        os.posix_fallocate(descriptor, 0, size)


def effective_user() -> int:
    """Return the id of the effective user; -1 on Windows, where users have no numbers."""
    return -1 if sys.platform == "win32" else os.geteuid()


def inherit_access(existing: int, file: int) -> None:
    """Give a new file the owner, access list and mode of the old one. On Windows, the folder decides about access.

    If that is impossible, the new file grants less access, never more.
    """
    if sys.platform == "win32":
        return
    old, new = os.fstat(existing), os.fstat(file)
    mode = stat.S_IMODE(old.st_mode) & 0o777
    if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
        try:
            os.fchown(file, old.st_uid, old.st_gid)
        except OSError:
            try:
                os.fchown(file, -1, old.st_gid)
            except OSError:
                # the old group's members count as others now, and others may be members of the new group
                mode = mode & 0o700 | (mode >> 3 & mode & 0o007) * 0o011
    mode &= _copy_access_list(existing, file)
    try:
        os.fchmod(file, mode)
    except OSError:
        return


def _copy_access_list(existing: int, file: int) -> int:
    """Give a new file the access list of the old one, if the system has such lists. Return the bits that its mode may have."""
    if sys.platform == "linux":
        try:
            access = os.getxattr(existing, _ACL)
        except OSError:  # not supported by the file system, or the file has no list
            access = b""
        try:
            if access:
                os.setxattr(file, _ACL, access)
            else:
                os.removexattr(file, _ACL)  # the new file may have the default access list of its folder
        except OSError:
            # with an access list, the other bits are the mask of the list, not the rights of the group
            return 0o707 if access else 0o777
    return 0o777


def insist(call: Callable[..., None], *paths: str, **folders: int | None) -> None:
    """Call a function; on Windows again while it is refused, for a second: virus scanners open files for a moment."""
    if sys.platform == "win32":
        from threading import Event

        for _ in range(_ATTEMPTS):
            try:
                return call(*paths, **folders)
            except PermissionError:
                Event().wait(_RETRY)
    return call(*paths, **folders)


def check_unused(path: str) -> None:
    """Raise PermissionError if another program has opened a file so that it cannot be replaced, which happens on Windows only."""
    if sys.platform == "win32" and os.path.isfile(path):
        insist(os.rename, path, path)


def check_name(path: str) -> None:
    """Raise OSError for a path that no file has on Windows: with the name of a device, or with a character of no name."""
    if sys.platform != "win32":
        return
    import ntpath
    import re

    if path.startswith(("\\\\?\\", "\\\\.\\")):  # the user asks for a device, or for names without these rules
        return
    for name in re.split(r"[\\/]", ntpath.splitdrive(path)[1]):
        if re.fullmatch(_DEVICE, name):
            raise OSError(errno.EINVAL, "the name of a device, not of a file", path)
        if wrong := _NEVER_IN_NAMES.intersection(name):
            pattern = "no file fits this pattern" if wrong <= {*"*?"} else f"no file name can contain {min(wrong)}"
            raise OSError(errno.EINVAL, pattern, path)


def is_junction(entry: os.DirEntry[str]) -> bool:
    """Return whether a folder is a junction of Windows, which leads to another folder as a link does."""
    if sys.platform == "win32":
        return entry.stat(follow_symlinks=False).st_reparse_tag == stat.IO_REPARSE_TAG_MOUNT_POINT
    return False


def explain_missing(path: str, why: str = "no such file") -> str:
    """Return why there is no file at a path. Windows also finds no file whose path is long."""
    if sys.platform == "win32" and (length := len(os.path.abspath(path))) > _LONGEST_PATH:
        return f"{why} (Windows opens a path of {length} characters only with LongPathsEnabled in its registry)"
    return why


def explain_refused() -> str:
    """Return why a file may not be read: Windows has the same error for a missing right and for a file that is in use."""
    return f"no permission to read it{', or another program holds it open' if sys.platform == 'win32' else ''}"


def expand_patterns(words: Sequence[str]) -> list[str]:
    """Return names of files, with the files that match in place of a pattern (*.pcap): shells of Windows pass patterns on."""
    if sys.platform != "win32":
        return [*words]
    from glob import glob

    found: list[str] = []
    for word in words:
        is_pattern = ("*" in word or "?" in word) and not word.startswith("\\\\?\\")
        found += (sorted(glob(word.replace("[", "[[]"))) if is_pattern else []) or [word]
    return found


def quote(word: str) -> str:
    """Return the name of a file as a word of a command line, quoted if necessary. cmd has no other quotes than double ones."""
    if sys.platform == "win32":
        last = "\\" if word.endswith("\\") else ""  # two, because one would quote the closing quotation mark
        return f'"{word}{last}"' if not word or set(word) & {*" &()^;,=!'`%$@{}[]+~#"} else word
    import shlex

    return shlex.quote(word)


def open_file_limit() -> int | None:
    """Return the number of files that this process may have open at a time; None if there is no limit."""
    if sys.platform == "win32":
        return _OPEN_FILES
    import resource

    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return None if limit == resource.RLIM_INFINITY else limit


def raise_open_file_limit(most: int) -> None:
    """Raise the limit of open files to `most`, or as far as this process may."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < most:
        allowed = most if hard == resource.RLIM_INFINITY else min(hard, most)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, allowed), hard))
        except (OSError, ValueError):
            return


def call_soon(handler: Callable[[int, FrameType | None], None]) -> None:
    """Call a signal handler in a moment, from a timer. Windows has no such timer, so the next Ctrl-C has to do there."""
    if sys.platform != "win32":
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, _RETRY)


def fork() -> int:
    """Fork this process, which has FORKS. Return the id of the new process, or 0 in it; it ignores the signals in STOPPING."""
    if sys.platform == "win32":
        raise NotImplementedError
    # block signals during the fork: an exception in Python code around a fork would be printed and ignored
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    process = os.fork()
    if not process:
        # Ctrl-C reaches all processes of a terminal; only the parent reports it and stops the others
        for one in STOPPING:
            signal.signal(one, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return process


def exit_status(process: int, *, wait: bool) -> int | None:
    """Return the exit status of a process that was forked; None if it still runs. `wait`: wait for its end."""
    if sys.platform == "win32":
        raise NotImplementedError
    ended, status = os.waitpid(process, 0 if wait else os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if ended else None


def kill(process: int) -> None:
    """Kill a process that was forked, and wait for its end."""
    if sys.platform != "win32":
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)


class _Pipe(io.FileIO):
    """A file whose writes wait while the pipe or terminal is full, even if another program made it non-blocking (O_NONBLOCK).

    All programs that share the pipe or terminal share that flag, so it must not be cleared here.
    """

    def write(self, data: Any, /) -> int:
        try:
            written: int | None = super().write(data)
            while written is None:
                import select

                select.select([], [self], [])
                written = super().write(data)
        except OSError as error:
            # how the C library of Windows reports that the reader has ended, but also errors of a disk
            if sys.platform == "win32" and error.errno == errno.EINVAL and stat.S_ISFIFO(os.fstat(self.fileno()).st_mode):
                raise BrokenPipeError(errno.EPIPE, "the pipe is closed") from None
            raise
        return written


def output_stream(stream: io.TextIOWrapper[Any]) -> io.TextIOWrapper[Any]:
    """Return standard output or standard error as a stream that waits while its pipe is full.

    Lines end with a line feed on all systems, and characters that the encoding lacks are escaped.
    """
    errors = "backslashreplace" if stream.errors == "strict" else stream.errors
    if not isinstance(getattr(stream.buffer, "raw", stream.buffer), io.FileIO):  # a console of Windows
        stream.reconfigure(errors=errors, newline="\n")
        return stream
    buffer = io.BufferedWriter(_Pipe(stream.fileno(), "wb", closefd=False))
    at_newlines = stream.line_buffering or stream.write_through  # PYTHONUNBUFFERED sets write_through
    return io.TextIOWrapper(buffer, stream.encoding, errors, "\n", at_newlines)


def shows_escapes(stream: TextIO) -> bool:
    """Return whether a terminal shows colors; those of Windows do so only after SetConsoleMode."""
    if sys.platform != "win32":
        return True
    import ctypes
    import msvcrt

    is_processed = 4  # ENABLE_VIRTUAL_TERMINAL_PROCESSING of SetConsoleMode
    try:
        console, mode = ctypes.c_void_p(msvcrt.get_osfhandle(stream.fileno())), ctypes.c_ulong()
    except OSError:
        return False
    api = ctypes.windll.kernel32
    return bool(api.GetConsoleMode(console, ctypes.byref(mode)) and api.SetConsoleMode(console, mode.value | is_processed))


def without_echo() -> Callable[[], None] | None:
    """Turn off terminal echo. Return a function that restores it, or None if there is no terminal."""
    if sys.platform == "win32":
        return None
    import termios

    try:
        terminal = sys.stdin.fileno()
        before = termios.tcgetattr(terminal)
    except (OSError, ValueError, AttributeError, termios.error):  # no terminal
        return None
    silent = [*before]
    silent[3] &= ~termios.ECHO
    termios.tcsetattr(terminal, termios.TCSANOW, silent)
    return lambda: termios.tcsetattr(terminal, termios.TCSANOW, before)
