"""Drop all privileges of the analyzing process, because it reads bytes that anyone may have sent.

The changes apply to the calling thread and the threads it starts. Call `drop` before importing NumPy and Polars, which start
threads.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from wiredoctor.live.landlock import Confinement
from wiredoctor.live.system_calls import refuse_system_calls
from wiredoctor.recording.privileges import SETUID, keep_only

NOBODY = 65534
"""The user and group id to use if /etc/passwd has no user named "nobody" (the overflow ids of Linux)."""

_PACKAGES = (
    "wiredoctor", "numpy", "polars", "_polars_runtime_32", "jinja2", "markupsafe", "rich", "pygments", "markdown_it", "mdurl",
    "typer", "click", "zstandard", "brotli", "lz4", "dpkt", "scapy", "encodings", "collections", "importlib", "json", "email",
)  # fmt: skip
"""The packages that an analysis imports, some of them late. The user from `target_user` must be able to read them."""

_READABLE = (
    "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/share/zoneinfo", "/etc/ld.so.cache", "/etc/localtime",
    "/etc/passwd", "/etc/group", "/etc/nsswitch.conf", "/dev/null", "/dev/urandom", "/proc/meminfo",
    "/proc/cpuinfo", "/proc/stat", "/sys/devices/system/cpu", "/sys/fs/cgroup",
)  # fmt: skip
"""The files that libraries read when they are loaded or used."""


class User(NamedTuple):
    """The user that the analysis runs as."""

    uid: int
    gid: int
    name: str


class Rights(NamedTuple):
    """The result of dropping privileges.

    `user`: the user that the process became; None if it did not change. `note`: a sentence about privileges that could not be
    dropped, or about a missing confinement; empty if nothing is wrong. `detail`: the reason why root did not become another user,
    if that is the only problem. It is shown only with --verbose, because it would appear for every capture on the same system.
    """

    user: User | None
    note: str
    detail: str = ""

    def text(self, *, verbose: bool) -> str:
        """Return the text to show: the note and, if `verbose`, the detail."""
        return "; ".join(part for part in (self.note, self.detail if verbose else "") if part)


def target_user(environment: Mapping[str, str] = os.environ) -> User | None:
    """Return the user for an analysis started by root: the caller of sudo, otherwise the user named "nobody".

    Return None if this process is not root, or the system is not Linux.
    """
    if sys.platform != "linux" or os.geteuid() != 0:
        return None
    import pwd

    uid, gid = _number(environment.get("SUDO_UID")), _number(environment.get("SUDO_GID"))
    if uid:
        with contextlib.suppress(KeyError):
            entry = pwd.getpwuid(uid)
            return User(uid, gid or entry.pw_gid or NOBODY, entry.pw_name)
        return User(uid, gid or NOBODY, str(uid))
    with contextlib.suppress(KeyError):
        entry = pwd.getpwnam("nobody")
        if entry.pw_uid and entry.pw_gid:
            return User(entry.pw_uid, entry.pw_gid, "nobody")
    return User(NOBODY, NOBODY, "nobody")


def _number(text: str | None) -> int:
    """Parse a user or group id; return 0 if it is invalid."""
    number = int(text) if text and text.isascii() and text.isdecimal() and len(text) <= 10 else 0
    return number if number < (1 << 32) - 1 else 0


def drop(user: User | None, folder: int) -> Rights:
    """Drop all capabilities. Unless `user` is None, also become this user, and confine the process with Landlock and seccomp.

    The confined process can only read the installation and files that libraries need. It can only write in the folder with the
    descriptor `folder`. `user`: the result of `target_user`. If this user cannot read the installation, or a container refuses
    the change, the process stays root without capabilities.
    """
    if user is None:
        refused = keep_only(())
        return Rights(None, _sentence([], refused))
    confinement = _confinement(folder)
    unchanged, outside = _rehearse(user, confinement)
    if unchanged:
        refused = keep_only(())
    else:
        _change_groups(user)
        refused = keep_only((SETUID,), gained=())
        os.setresuid(user.uid, user.uid, user.uid)
        refused += keep_only(())  # SecureBits of systemd may have kept SETUID
    missing = _confine(None if outside else confinement)
    stayed = f"the analysis runs as root without capabilities, because {unchanged}" if unchanged else ""
    reasons: list[str] = []
    if outside:
        reasons.append(f"Landlock does not confine the analysis, because {outside} is outside of the installation")
        missing.remove("Landlock")
    if missing:
        reasons.append(f"the analysis is not confined by {' or '.join(missing)}, which this system lacks")
    if not (reasons or refused):
        return Rights(None if unchanged else user, "", stayed)
    return Rights(None if unchanged else user, _sentence([*([stayed] if stayed else []), *reasons], refused))


def _sentence(reasons: list[str], refused: list[str]) -> str:
    return "; ".join([*reasons, *([f"could not drop {' and '.join(refused)}"] if refused else [])])


def _confinement(folder: int) -> Confinement | None:
    with contextlib.suppress(OSError), open(os.devnull, "rb") as nothing:  # exit_codes.py may redirect output to this device
        return Confinement([*_installation(), *_READABLE, f"/proc/{os.getpid()}"], [folder, nothing.fileno()])
    return None


def _origins() -> list[str]:
    """Return, for each of _PACKAGES that is installed, the path of its __init__.py."""
    specs = [importlib.util.find_spec(name) for name in _PACKAGES]
    return [spec.origin for spec in specs if spec is not None and spec.origin]


def _installation() -> list[str]:
    """Return the existing folders from which Python loads modules, including the targets of symbolically linked packages."""
    places = [sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix, *_search_path()]
    places += [os.path.dirname(os.path.realpath(origin)) for origin in _origins()]
    return list(dict.fromkeys(place for place in places if os.path.exists(place)))


def _confine(confinement: Confinement | None) -> list[str]:
    """Confine the process with Landlock and seccomp; return the names of the mechanisms that failed.

    If `confinement` is None, Landlock counts as failed.
    """
    missing: list[str] = []
    try:
        if confinement is None:
            raise OSError("no Landlock")
        confinement.enforce()
    except OSError:
        missing.append("Landlock")
    try:
        refuse_system_calls()
    except OSError:
        missing.append("seccomp")
    return missing


def _change_groups(user: User) -> None:
    os.setgroups([])
    os.setresgid(user.gid, user.gid, user.gid)


def _rehearse(user: User, confinement: Confinement | None) -> tuple[str, str]:
    """Test in a child process whether the analysis can run as a user with this installation.

    Return two texts, each "" if there is no problem: why the analysis cannot run as this user, and the path of a file of the
    installation that the confinement makes unreadable.
    """
    origins = _origins()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        answer = ("it failed to become another user", "")
        try:
            answer = (_attempt(user, origins), _find_uncovered(origins, confinement))
        finally:
            os.write(writer, os.fsencode("\0".join(answer)))
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        unchanged, _, outside = os.fsdecode(pipe.read()).partition("\0")
    os.waitpid(child, 0)
    return unchanged, outside


def _attempt(user: User, origins: list[str]) -> str:
    try:
        _change_groups(user)
        os.setresuid(user.uid, user.uid, user.uid)
    except OSError as error:
        return f"it may not become the user {user.name} here ({(error.strerror or str(error)).lower()})"
    unreadable = next(_unreadable(origins), "")
    return f"the user {user.name} cannot read {_first_closed_folder(unreadable)}" if unreadable else ""


def _find_uncovered(origins: list[str], confinement: Confinement | None) -> str:
    """Confine this process. Return one of the files `origins` that it can no longer read; "" if it can read all.

    A file may be unreadable because it is a link to a place outside of the installation.
    """
    readable = [file for file in origins if os.access(file, os.R_OK)]
    if confinement is not None:
        keep_only(())
        with contextlib.suppress(OSError):  # `_confine` will fail too, and report it
            confinement.enforce()
    for file in readable:
        try:
            os.close(os.open(file, os.O_RDONLY))
        except OSError:
            return file
    return ""


def _first_closed_folder(path: str) -> str:
    """Return the topmost folder of a path that this process cannot enter; if there is none, the path itself."""
    folders = [path]
    while (parent := os.path.dirname(folders[-1])) != folders[-1]:
        folders.append(parent)
    return next((folder for folder in reversed(folders) if not os.access(folder, os.X_OK)), path)


def _unreadable(origins: list[str]) -> Iterator[str]:
    """Yield the files and folders of the installation that this process cannot read."""
    yield from (place for place in _search_path() if not os.access(_nearest_folder(place), os.R_OK | os.X_OK))
    for origin in origins:
        yield from _unreadable_below(os.path.dirname(origin))


def _search_path() -> list[str]:
    """Return Python's search path without the current folder, which `python -m` adds."""
    current = ""
    with contextlib.suppress(FileNotFoundError):  # the folder was removed
        current = os.getcwd()
    return [place for place in sys.path if place not in ("", current)]


def _nearest_folder(place: str) -> str:
    """Return `place` if it is a folder, otherwise the nearest existing folder above it. `place`: an entry of sys.path."""
    while not os.path.isdir(place) and place != os.path.dirname(place):
        place = os.path.dirname(place)
    return place


def _unreadable_below(place: str) -> Iterator[str]:
    """Yield the folders and files at or below `place` that this process cannot read.

    Only one file per folder is checked, because checking all of them would be slow.
    """
    if not os.access(place, os.R_OK | os.X_OK):
        yield place
    for folder, folders, files in os.walk(place):
        for name in folders:
            if not os.access(path := os.path.join(folder, name), os.R_OK | os.X_OK):
                yield path
        for name in files[:1]:
            if not os.access(path := os.path.join(folder, name), os.R_OK):
                yield path
