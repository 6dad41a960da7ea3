"""Take all rights from the process that analyzes what was captured: anybody may have sent those bytes.

Everything here changes the calling thread, or is inherited by threads that it starts: call `drop` before NumPy and Polars are
imported, which start threads.
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
"""The user without rights where /etc/passwd names none (the overflow user of Linux)."""

_PACKAGES = (
    "wiredoctor", "numpy", "polars", "_polars_runtime_32", "jinja2", "markupsafe", "rich", "pygments", "markdown_it", "mdurl",
    "typer", "click", "zstandard", "lz4", "dpkt", "scapy", "encodings", "collections", "importlib", "json", "email",
)  # fmt: skip
"""What an analysis loads, part of it late: it must be readable to the user that the process becomes."""

_READABLE = (
    "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/share/zoneinfo", "/etc/ld.so.cache", "/etc/localtime",
    "/etc/passwd", "/etc/group", "/etc/nsswitch.conf", "/dev/null", "/dev/urandom", "/proc/meminfo",
    "/proc/cpuinfo", "/proc/stat", "/sys/devices/system/cpu", "/sys/fs/cgroup",
)  # fmt: skip
"""What libraries read while they are loaded or used."""


class User(NamedTuple):
    """Who analyzes."""

    uid: int
    gid: int
    name: str


class Rights(NamedTuple):
    """What is left to the process. `user`: whom it became; None if it stayed who it was. `note`: what could not be dropped, or
    why the user was not changed, in a sentence for the user; empty if all went as planned."""

    user: User | None
    note: str


def target_user(environment: Mapping[str, str] = os.environ) -> User | None:
    """Return the user that an analysis becomes if root started it: who called sudo, otherwise nobody. None on other systems."""
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
    """Return a user or group id; 0 for what is none, or root's."""
    number = int(text) if text and text.isascii() and text.isdecimal() and len(text) <= 10 else 0
    return number if number < (1 << 32) - 1 else 0


def drop(user: User | None, folder: int) -> Rights:
    """Give up every capability and, as root, the user and its groups; read only the installation, write only in `folder`.

    `user`: what `target_user` returned. `folder`: descriptor of the only folder in which the process may make files. If the
    user cannot read the installation, or a container refuses the change, the process stays root without any capability.
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
        refused += keep_only(())  # systemd's SecureBits may have kept SETUID
    missing = _confine(None if outside else confinement)
    reasons = [f"the analysis runs as root without capabilities, because {unchanged}"] if unchanged else []
    if outside:
        reasons.append(f"Landlock does not confine the analysis, because {outside} is outside of the installation")
        missing.remove("Landlock")
    if missing:
        reasons.append(f"the analysis is not confined by {' or '.join(missing)}, which this system does not have")
    return Rights(None if unchanged else user, _sentence(reasons, refused))


def _sentence(reasons: list[str], refused: list[str]) -> str:
    return "; ".join([*reasons, *([f"could not drop {' and '.join(refused)}"] if refused else [])])


def _confinement(folder: int) -> Confinement | None:
    with contextlib.suppress(OSError), open(os.devnull, "rb") as nothing:  # what nobody reads any more is written there
        return Confinement([*_installation(), *_READABLE, f"/proc/{os.getpid()}"], [folder, nothing.fileno()])
    return None


def _origins() -> list[str]:
    """Return the first file of each package of the installation."""
    specs = [importlib.util.find_spec(name) for name in _PACKAGES]
    return [spec.origin for spec in specs if spec is not None and spec.origin]


def _installation() -> list[str]:
    """Return the folders from which Python loads modules, and those that their symbolic links lead to."""
    places = [sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix, *_search_path()]
    places += [os.path.dirname(os.path.realpath(origin)) for origin in _origins()]
    return list(dict.fromkeys(place for place in places if os.path.exists(place)))


def _confine(confinement: Confinement | None) -> list[str]:
    """Put the process under Landlock and seccomp; return which of them the system does not have."""
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
    """Try in a child process whether the user can go on with this installation.

    Return why the process cannot become this user, and which file of the installation the confinement does not cover; each is
    empty if there is no such reason.
    """
    origins = _origins()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        answer = ("it failed to become another user", "")
        try:
            answer = (_attempt(user, origins), _uncovered(origins, confinement))
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
    return f"the user {user.name} cannot read {_closed(unreadable)}" if unreadable else ""


def _uncovered(origins: list[str], confinement: Confinement | None) -> str:
    """Return a file of the installation that cannot be read under Landlock, such as one behind a symbolic link."""
    readable = [file for file in origins if os.access(file, os.R_OK)]
    if confinement is not None:
        keep_only(())
        with contextlib.suppress(OSError):  # then `_confine` fails, too, and says so
            confinement.enforce()
    for file in readable:
        try:
            os.close(os.open(file, os.O_RDONLY))
        except OSError:
            return file
    return ""


def _closed(path: str) -> str:
    """Return the first folder on the way to this path that is closed to this process; the path itself if none is."""
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
    """Return where Python looks for modules, without the current folder, which `python -m` adds."""
    current = ""
    with contextlib.suppress(FileNotFoundError):  # it was removed
        current = os.getcwd()
    return [place for place in sys.path if place not in ("", current)]


def _nearest_folder(place: str) -> str:
    """Return the folder of a path in sys.path, which may be an archive, or not exist."""
    while not os.path.isdir(place) and place != os.path.dirname(place):
        place = os.path.dirname(place)
    return place


def _unreadable_below(place: str) -> Iterator[str]:
    """Check each folder and, as looking at each file takes longer than loading it, one file in it."""
    if not os.access(place, os.R_OK | os.X_OK):
        yield place
    for folder, folders, files in os.walk(place):
        for name in folders:
            if not os.access(path := os.path.join(folder, name), os.R_OK | os.X_OK):
                yield path
        for name in files[:1]:
            if not os.access(path := os.path.join(folder, name), os.R_OK):
                yield path
