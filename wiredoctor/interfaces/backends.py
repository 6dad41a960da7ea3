"""Check whether and how this user may capture, and give advice if not."""

from __future__ import annotations

import os
import socket
import stat
import sys
from pathlib import Path

from wiredoctor.interfaces.capabilities import NET_RAW, SETGID, Privileges, after_exec, is_privileged, read_privileges
from wiredoctor.interfaces.model import Backend, BackendName, Permission

FOLDERS = (
    "/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/local/bin", "/usr/bin", "/bin",
    "/run/wrappers/bin", "/run/current-system/sw/bin",
)  # fmt: skip
"""The folders of system programs; the last two are for NixOS. tcpdump may be outside the PATH of ordinary users."""

_PROGRAMS: tuple[BackendName, ...] = ("dumpcap", "tcpdump")

_REFUSED = (
    "The kernel refuses packet sockets despite CAP_NET_RAW: this network belongs to another user namespace (a rootless"
    " container in the network of its host), or a security policy forbids them. Capture as root of the host, or give the"
    " container its own network."
)
_SUDO = "Or run wiredoctor as root: sudo wiredoctor live ..."


def permission() -> Permission:
    """Return whether this process may capture, and with which programs or sockets.

    The function checks the privileges of the process, and opens a socket that receives no packets.
    """
    mine = read_privileges()
    refused = _refusal_reason(mine)
    programs = [_program(name, mine, refused) for name in _PROGRAMS]
    backends = (*programs, _check_backend("raw", sys.executable, mine, refused))
    advice = () if any(backend.permitted for backend in backends) else _advice(backends[0], mine, refused)
    return Permission(backends, advice)


def _refusal_reason(mine: Privileges) -> str:
    """Return why the kernel refuses packet sockets to a process with CAP_NET_RAW.

    The text is empty if the kernel does not refuse them, or if the process lacks CAP_NET_RAW. The kernel checks the capability in
    the user namespace that owns the network namespace: root of a rootless container lacks it in the network of the host.
    This function opens a socket of protocol 0, which gets no packets (packet(7)); libpcap also begins with a socket of this kind.
    """
    if not mine.effective & NET_RAW:
        return ""
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0).close()
    except PermissionError:
        return "is refused packet sockets"
    except OSError as error:
        return f"cannot open packet sockets: {error.strerror}"
    return ""


def search_path() -> str:
    """Return the folders in which to look for programs, in the format of PATH.

    PATH comes first. A process with privileges does not use PATH, because it must not execute files of another user. Relative
    entries are ignored, because they could lead to a program in the current folder.
    """
    own = [] if is_privileged() else os.environ.get("PATH", os.defpath).split(os.pathsep)
    return os.pathsep.join(dict.fromkeys([*filter(os.path.isabs, own), *FOLDERS]))


def find(program: str) -> str | None:
    """Return the path of a program, or None if it is not installed. A file that this user may execute is preferred."""
    there = [path for folder in search_path().split(os.pathsep) if _is_file(path := os.path.join(folder, program))]
    return next((path for path in there if os.access(path, os.X_OK)), there[0] if there else None)


def _is_file(path: str) -> bool:
    try:
        return Path(path).is_file()
    except OSError:  # this user may not read the folder
        return False


def _program(name: BackendName, mine: Privileges, refused: str) -> Backend:
    path = find(name)
    if path is None:
        return Backend(name, None, permitted=False, reason="is not installed")
    return _check_backend(name, path, mine, refused)


def _check_backend(name: BackendName, path: str, mine: Privileges, refused: str) -> Backend:
    if refused:
        return Backend(name, path, permitted=False, reason=refused)
    if not os.access(path, os.X_OK):
        return Backend(name, path, permitted=False, reason="may not be executed by this user")
    will = after_exec(mine, path)
    if will is None:
        return Backend(name, path, permitted=False, reason="cannot start: it requires capabilities that are not available here")
    if name == "tcpdump" and mine.uid == 0 and not will & SETGID:
        # as root, a tcpdump that was built --with-user, as in Debian, or that gets -Z, must be able to change to that user's
        # groups, even if the user is root; otherwise it ends
        return Backend(
            name, path, permitted=False, reason="cannot start: as root it changes its groups, which this system refuses"
        )
    if will & NET_RAW:
        reason = "as root" if mine.uid == 0 else "has the capability CAP_NET_RAW"
        return Backend(name, path, permitted=True, reason=reason)
    return Backend(name, path, permitted=False, reason="lacks the capability CAP_NET_RAW")


def _advice(dumpcap: Backend, mine: Privileges, refused: str) -> tuple[str, ...]:
    """Return advice on getting permission, one sentence each, the easiest way first.

    `refused`: the reason why the kernel refuses packet sockets, or an empty text.
    """
    if refused:
        return (_REFUSED,)
    if not mine.bounding & NET_RAW:
        return ("This container or service lacks CAP_NET_RAW: start it with --cap-add=NET_RAW (docs/pages/live.md).",)
    if mine.no_new_privileges:
        return (
            "Programs cannot gain privileges here (no_new_privs): run wiredoctor as root with CAP_NET_RAW (docs/pages/live.md).",
        )
    return (_for_dumpcap(dumpcap), _SUDO)


def _for_dumpcap(dumpcap: Backend) -> str:
    if dumpcap.path is None:
        return "Install dumpcap (Debian: wireshark-common; allow the group wireshark to capture), and join that group."
    if not os.access(dumpcap.path, os.X_OK):
        return f"Join the group that may run {dumpcap.path}: sudo usermod -a -G {_group(dumpcap.path)} $USER, and log in again."
    if dumpcap.reason.startswith("cannot start"):
        return f"Reduce the capabilities of {dumpcap.path}: sudo setcap cap_net_raw+ep {dumpcap.path}"
    return (
        f"Let dumpcap capture: sudo setcap cap_net_raw,cap_net_admin+eip {dumpcap.path}"
        " (Debian: sudo dpkg-reconfigure wireshark-common, and join the group wireshark)."
    )


def _group(path: str) -> str:
    """Return the group that may execute the file; "wireshark" if no group may execute it, or only root's group."""
    import grp

    file = os.stat(path)
    if not file.st_mode & stat.S_IXGRP or file.st_gid == 0:
        return "wireshark"
    try:
        return grp.getgrgid(file.st_gid).gr_name
    except KeyError:
        return str(file.st_gid)
