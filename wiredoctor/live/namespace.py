"""Create a network namespace for this process and the processes that it starts (network_namespaces(7)), with loopback only."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import socket
import struct

_NEW_NETWORK = 0x40000000
"""The flag CLONE_NEWNET of sched.h."""

_GET_FLAGS, _SET_FLAGS = 0x8913, 0x8914
"""The ioctl requests SIOCGIFFLAGS and SIOCSIFFLAGS of linux/sockios.h."""

_IS_UP = 0x1
_REQUEST = struct.Struct("16sh22x")
"""The layout of struct ifreq with interface flags."""

LOOPBACK = "lo"


def enter_own_network() -> None:
    """Move this process into a new network namespace, and bring up its loopback interface.

    The process must have a single thread. The kernel removes the namespace when its last process ends. Raise PermissionError
    without CAP_SYS_ADMIN, and OSError for any other failure.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_NEW_NETWORK):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as control:
        request = bytearray(_REQUEST.pack(LOOPBACK.encode(), 0))
        fcntl.ioctl(control, _GET_FLAGS, request)
        _, flags = _REQUEST.unpack(request)
        fcntl.ioctl(control, _SET_FLAGS, _REQUEST.pack(LOOPBACK.encode(), flags | _IS_UP))


def refusal(error: OSError) -> str:
    """Return the message for an error of `enter_own_network`."""
    if error.errno == errno.EPERM:
        return "a network namespace needs root (CAP_SYS_ADMIN): try sudo"
    return f"cannot create a network namespace here: {(error.strerror or str(error)).lower()}"
