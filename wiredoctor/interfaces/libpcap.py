"""Load libpcap, which compiles capture filters. dumpcap and tcpdump bring it; raw sockets work without it."""

from __future__ import annotations

import contextlib
import ctypes

_NAMES = ("libpcap.so.1", "libpcap.so.0.8", "libpcap.so")
"""The names of the library; libpcap.so.0.8 is Debian's. ctypes.util.find_library finds none on Alpine without a compiler."""

FILTER_NEEDS_LIBPCAP = (
    "raw sockets need libpcap for a filter; install it"
    " (Debian, Ubuntu: apt install libpcap0.8; Fedora: dnf install libpcap; Alpine: apk add libpcap)"
)


def load_libpcap() -> ctypes.CDLL | None:
    """Load libpcap, and return it; None if it is not installed."""
    for name in _NAMES:
        with contextlib.suppress(OSError):
            return ctypes.CDLL(name)
    return None
