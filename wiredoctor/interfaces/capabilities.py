"""Compute the capabilities of a program that this process would start, by the rules of capabilities(7), without starting it."""

from __future__ import annotations

import os
import stat
import struct
import sys
from pathlib import Path
from typing import NamedTuple

NET_RAW = 1 << 13
"""The bit of the capability CAP_NET_RAW, the permission to open packet sockets."""

SETGID = 1 << 6
"""The bit of the capability CAP_SETGID, the permission to change the groups of a process."""

_ALL = (1 << 64) - 1
_ATTRIBUTE = "security.capability"
_EFFECTIVE = 1
"""The bit in the first word of file capabilities that makes the capabilities effective when the program starts."""


class Privileges(NamedTuple):
    """The privileges of a process: its effective user id, its capability sets as bits, and whether no_new_privs is set."""

    uid: int
    permitted: int
    effective: int
    inheritable: int
    bounding: int
    ambient: int
    no_new_privileges: bool


class Granted(NamedTuple):
    """The capabilities of a file as bits (getcap(8)).

    If `forced` is true, the permitted capabilities become effective when the program starts. The program then starts only if it
    gets all of them.
    """

    permitted: int
    inheritable: int
    forced: bool


NOTHING = Granted(0, 0, forced=False)


def read_privileges(status: str = "") -> Privileges:
    """Return the privileges of this process or, if `status` is given, of the process whose /proc/PID/status has this text."""
    lines = (line.partition(":") for line in (status or Path("/proc/self/status").read_bytes().decode("latin-1")).splitlines())
    has = {name: value.split() for name, _, value in lines}
    sets = [int(has[name][0], 16) for name in ("CapPrm", "CapEff", "CapInh", "CapBnd", "CapAmb")]
    return Privileges(int(has["Uid"][1]), *sets, no_new_privileges=has.get("NoNewPrivs", ["0"]) == ["1"])


def is_privileged() -> bool:
    """Return whether this process may do more than an ordinary user: it is root, or has any capability."""
    if not hasattr(os, "geteuid"):
        return False
    return os.geteuid() == 0 or (sys.platform == "linux" and read_privileges().effective != 0)


def after_exec(held: Privileges, program: str) -> int | None:
    """Return the effective capabilities (bits) of a process with the privileges `held` after it executes `program`.

    Return None if the kernel would refuse to execute the file.
    """
    ignored = bool(os.statvfs(program).f_flag & os.ST_NOSUID)
    file = os.stat(program)
    set_user = file.st_mode & stat.S_ISUID and file.st_uid == 0 and not (ignored or held.no_new_privileges)
    return effective(held, NOTHING if ignored else file_capabilities(program), becomes_root=held.uid == 0 or bool(set_user))


def effective(held: Privileges, file: Granted, *, becomes_root: bool) -> int | None:
    """Return the effective capabilities (bits) after execve(2), or None if the kernel would refuse to execute the file.

    The result is P'(effective) of capabilities(7), section "Transformation of capabilities during execve()". With no_new_privs, a
    program only gets capabilities that the process already has (security/commoncap.c of Linux).
    """
    most = held.permitted if held.no_new_privileges else _ALL
    from_file = (held.inheritable & file.inheritable) | (file.permitted & held.bounding)
    if file.forced and file.permitted & ~from_file:
        return None  # root cannot start it either
    if becomes_root:
        return (held.bounding | held.inheritable) & most
    if file == NOTHING:
        return held.ambient
    return from_file & most if file.forced else 0


def file_capabilities(program: str) -> Granted:
    """Return the capabilities of a file; NOTHING if it has none."""
    try:
        raw = os.getxattr(program, _ATTRIBUTE)
    except OSError:  # the file has no capabilities, or its file system does not support them
        return NOTHING
    return parse_capabilities(raw)


def required_capabilities(program: str) -> int:
    """Return, as bits, the capabilities without which the kernel refuses to execute the file."""
    file = file_capabilities(program)
    return file.permitted if file.forced else 0


def parse_capabilities(raw: bytes) -> Granted:
    """Parse struct vfs_cap_data of linux/capability.h; return NOTHING if it is too short.

    The first word contains revision and flags. Then come the lower halves of the permitted and inheritable sets, then their upper
    halves.
    """
    if len(raw) < 12:
        return NOTHING
    first, permitted, inheritable = struct.unpack_from("<III", raw)
    if len(raw) >= 20:
        above, more = struct.unpack_from("<II", raw, 12)
        permitted, inheritable = permitted | above << 32, inheritable | more << 32
    return Granted(permitted & _ALL, inheritable & _ALL, forced=bool(first & _EFFECTIVE))
