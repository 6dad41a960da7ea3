"""What a program may do that this process starts: the rules of capabilities(7), without starting it."""

from __future__ import annotations

import os
import stat
import struct
import sys
from pathlib import Path
from typing import NamedTuple

NET_RAW = 1 << 13
"""CAP_NET_RAW: to open packet sockets."""

SETGID = 1 << 6
"""CAP_SETGID: to change one's groups."""

_ALL = (1 << 64) - 1
_ATTRIBUTE = "security.capability"
_EFFECTIVE = 1
"""Bit of the first word of a file's capabilities: the program has them without asking."""


class Held(NamedTuple):
    """The privileges of a process: its effective user, sets of capabilities as bits, and whether files may add to them."""

    uid: int
    permitted: int
    effective: int
    inheritable: int
    bounding: int
    ambient: int
    no_new_privileges: bool


class Granted(NamedTuple):
    """The capabilities that a file gives to who executes it (getcap(8)). `forced`: all of them, or the program does not start."""

    permitted: int
    inheritable: int
    forced: bool


NOTHING = Granted(0, 0, forced=False)


def held(status: str = "") -> Held:
    """Of this process, or of the text of a /proc/PID/status."""
    lines = (line.partition(":") for line in (status or Path("/proc/self/status").read_bytes().decode("latin-1")).splitlines())
    has = {name: value.split() for name, _, value in lines}
    sets = [int(has[name][0], 16) for name in ("CapPrm", "CapEff", "CapInh", "CapBnd", "CapAmb")]
    return Held(int(has["Uid"][1]), *sets, no_new_privileges=has.get("NoNewPrivs", ["0"]) == ["1"])


def is_privileged() -> bool:
    """Return whether this process may do more than an ordinary user: it is root, or has any capability."""
    if not hasattr(os, "geteuid"):
        return False
    return os.geteuid() == 0 or (sys.platform == "linux" and held().effective != 0)


def after_exec(held: Held, program: str) -> int | None:
    """The effective capabilities of the program when this process executes it; None where the kernel refuses to."""
    ignored = bool(os.statvfs(program).f_flag & os.ST_NOSUID)
    file = os.stat(program)
    set_user = file.st_mode & stat.S_ISUID and file.st_uid == 0 and not (ignored or held.no_new_privileges)
    return effective(held, NOTHING if ignored else granted(program), becomes_root=held.uid == 0 or bool(set_user))


def effective(held: Held, file: Granted, *, becomes_root: bool) -> int | None:
    """P'(effective) of capabilities(7), section "Transformation of capabilities during execve()".

    Without new privileges a program gets of all that only what the process has (security/commoncap.c of Linux).
    """
    most = held.permitted if held.no_new_privileges else _ALL
    from_file = (held.inheritable & file.inheritable) | (file.permitted & held.bounding)
    if file.forced and file.permitted & ~from_file:
        return None  # also root cannot start it
    if becomes_root:
        return (held.bounding | held.inheritable) & most
    if file == NOTHING:
        return held.ambient
    return from_file & most if file.forced else 0


def granted(program: str) -> Granted:
    """The capabilities of a file."""
    try:
        raw = os.getxattr(program, _ATTRIBUTE)
    except OSError:  # it has none, or its file system has none for any
        return NOTHING
    return parsed(raw)


def demanded(program: str) -> int:
    """Return the capabilities without which the kernel refuses to execute the file, as bits."""
    file = granted(program)
    return file.permitted if file.forced else 0


def parsed(raw: bytes) -> Granted:
    """struct vfs_cap_data of linux/capability.h: a word of revision and flags, then permitted and inheritable in halves."""
    if len(raw) < 12:
        return NOTHING
    first, permitted, inheritable = struct.unpack_from("<III", raw)
    if len(raw) >= 20:
        above, more = struct.unpack_from("<II", raw, 12)
        permitted, inheritable = permitted | above << 32, inheritable | more << 32
    return Granted(permitted & _ALL, inheritable & _ALL, forced=bool(first & _EFFECTIVE))
