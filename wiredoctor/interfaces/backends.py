"""Whether this user may capture, and by what; and what to do about it where not."""

from __future__ import annotations

import os
import socket
import stat
import sys
from pathlib import Path

from wiredoctor.interfaces.capabilities import NET_RAW, SETGID, Held, after_exec, held, is_privileged
from wiredoctor.interfaces.model import Backend, BackendName, Permission

FOLDERS = (
    "/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/local/bin", "/usr/bin", "/bin",
    "/run/wrappers/bin", "/run/current-system/sw/bin",
)  # fmt: skip
"""Where programs of the system are, the last two on NixOS. Some distributions keep tcpdump where the PATH of ordinary users does
not lead."""

_PROGRAMS: tuple[BackendName, ...] = ("dumpcap", "tcpdump")

_REFUSED = (
    "The kernel refuses packet sockets in spite of CAP_NET_RAW: this network belongs to another user namespace (a rootless"
    " container in the network of its host), or a security policy forbids them. Capture as root of the host, or in a network"
    " of the container's own."
)
_SUDO = "Or run wiredoctor as root: sudo wiredoctor live ..."


def permission() -> Permission:
    """Of this process. Nothing is captured: privileges are read, and a socket is opened that gets no packets."""
    mine = held()
    refused = _refused(mine)
    programs = [_program(name, mine, refused) for name in _PROGRAMS]
    backends = (*programs, _judged("raw", sys.executable, mine, refused))
    advice = () if any(backend.permitted for backend in backends) else _advice(backends[0], mine, refused)
    return Permission(backends, advice)


def _refused(mine: Held) -> str:
    """Why packet sockets are refused to a process that has CAP_NET_RAW; empty where they are not, or it has not.

    The kernel asks for the capability in the user namespace that owns the network: root of a rootless container has none in the
    network of its host. A socket of protocol 0 gets no packets (packet(7)); libpcap begins with one, too.
    """
    if not mine.effective & NET_RAW:
        return ""
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0).close()
    except PermissionError:
        return "is refused packet sockets"
    except OSError as error:
        return f"gets no packet sockets: {error.strerror}"
    return ""


def search_path() -> str:
    """Return where programs are looked for, in the form of PATH.

    PATH comes first, but for a process with privileges, which must not execute what another user has put there; for nobody
    does a relative entry count, with which a program of the current folder would be executed.
    """
    own = [] if is_privileged() else os.environ.get("PATH", os.defpath).split(os.pathsep)
    return os.pathsep.join(dict.fromkeys([*filter(os.path.isabs, own), *FOLDERS]))


def find(program: str) -> str | None:
    """Return the path of a program, also if this user may not execute it; one that may be executed comes first."""
    there = [path for folder in search_path().split(os.pathsep) if _is_file(path := os.path.join(folder, program))]
    return next((path for path in there if os.access(path, os.X_OK)), there[0] if there else None)


def _is_file(path: str) -> bool:
    try:
        return Path(path).is_file()
    except OSError:  # a folder that this user may not look into
        return False


def _program(name: BackendName, mine: Held, refused: str) -> Backend:
    path = find(name)
    if path is None:
        return Backend(name, None, permitted=False, reason="is not installed")
    return _judged(name, path, mine, refused)


def _judged(name: BackendName, path: str, mine: Held, refused: str) -> Backend:
    if refused:
        return Backend(name, path, permitted=False, reason=refused)
    if not os.access(path, os.X_OK):
        return Backend(name, path, permitted=False, reason="may not be executed by this user")
    will = after_exec(mine, path)
    if will is None:
        return Backend(name, path, permitted=False, reason="cannot start: it has capabilities that are withheld here")
    if name == "tcpdump" and mine.uid == 0 and not will & SETGID:
        # where it is built --with-user, as in Debian, or is given -Z, it takes that user's groups, even if that is root, or ends
        return Backend(name, path, permitted=False, reason="cannot start: as root it changes its groups, and may not here")
    if will & NET_RAW:
        reason = "as root" if mine.uid == 0 else "has the capability CAP_NET_RAW"
        return Backend(name, path, permitted=True, reason=reason)
    return Backend(name, path, permitted=False, reason="lacks the capability CAP_NET_RAW")


def _advice(dumpcap: Backend, mine: Held, refused: str) -> tuple[str, ...]:
    """The shortest way to permission, and then the other one."""
    if refused:
        return (_REFUSED,)
    if not mine.bounding & NET_RAW:
        return ("CAP_NET_RAW is withheld from this container or service: start it with --cap-add=NET_RAW (docs/pages/live.md).",)
    if mine.no_new_privileges:
        return ("No program may gain privileges here (no_new_privs): run it as root with CAP_NET_RAW (docs/pages/live.md).",)
    return (_for_dumpcap(dumpcap), _SUDO)


def _for_dumpcap(dumpcap: Backend) -> str:
    if dumpcap.path is None:
        return "Install dumpcap (Debian: wireshark-common, and say yes to capturing by the group wireshark), and join that group."
    if not os.access(dumpcap.path, os.X_OK):
        return f"Join the group that may run {dumpcap.path}: sudo usermod -a -G {_group(dumpcap.path)} $USER, and log in again."
    if dumpcap.reason.startswith("cannot start"):
        return f"Let {dumpcap.path} ask for less: sudo setcap cap_net_raw+ep {dumpcap.path}"
    return (
        f"Let dumpcap capture: sudo setcap cap_net_raw,cap_net_admin+eip {dumpcap.path}"
        " (Debian: sudo dpkg-reconfigure wireshark-common, and join the group wireshark)."
    )


def _group(path: str) -> str:
    """Whose members may execute the file; wireshark where nobody's may."""
    import grp

    file = os.stat(path)
    if not file.st_mode & stat.S_IXGRP or file.st_gid == 0:
        return "wireshark"
    try:
        return grp.getgrgid(file.st_gid).gr_name
    except KeyError:
        return str(file.st_gid)
