"""Compile capture filters with libpcap, and attach them to raw sockets, where the kernel applies them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import pickle
import select
import signal
import socket
import struct
from collections.abc import Callable, Generator
from typing import NamedTuple

from wiredoctor.interfaces import FILTER_NEEDS_LIBPCAP, load_libpcap
from wiredoctor.recording.privileges import end_with_parent

_SO_ATTACH_FILTER = 26
"""The number of SO_ATTACH_FILTER (socket(7))."""

_ACCEPT_NOTHING = struct.pack("=HBBI", 6, 0, 0, 0)
"""The instruction BPF_RET | BPF_K with the value 0 (linux/filter.h). As a filter, it accepts no packet."""

_MAX_INSTRUCTIONS = 4096
"""BPF_MAXINSNS (linux/bpf_common.h): the kernel refuses longer filters."""

_SHORTEN = "shorten it, or install dumpcap, which can filter without the kernel"

_SNAPLEN = 262_144
"""The number of bytes of a packet that a filter accepts: MAXIMUM_SNAPLEN of libpcap."""

_DLT_RAW = 12
_DLT = {101: _DLT_RAW}
"""The DLT_ value that libpcap uses on Linux, by LINKTYPE_ value, where they differ (pcap-linktype(7))."""

_NO_CAPTURE = (-5, -8, -9, -11)
"""The errors of pcap_activate(3PCAP) for an interface that does not exist or is down, and for a missing permission."""

_LONGEST = 10.0
"""The maximum time in seconds for the compilation of a filter."""

_ERROR_SIZE = 256
_UNKNOWN_NETMASK = 0xFFFF_FFFF


class FilterError(ValueError):
    """The filter cannot be compiled or attached. The text is one line."""


class _Program(ctypes.Structure):
    """struct bpf_program (pcap/bpf.h). Each instruction has 8 bytes, in the format of struct sock_filter (linux/filter.h)."""

    _fields_ = [("length", ctypes.c_uint), ("instructions", ctypes.c_void_p)]


def compile_filter(expression: str, interface: str, link_type: int) -> bytes:
    """Compile a filter (pcap-filter(7)) for an interface whose packets have this LINKTYPE, and return its instructions.

    The filter is compiled for an active capture on the interface, as by tcpdump: only then does it find VLAN tags, which the
    kernel removes from packets before it applies filters. Raise FilterError if the filter is invalid, if libpcap is missing or
    takes longer than _LONGEST, and OSError if the interface cannot be captured on.
    """
    libpcap = load_libpcap()
    if libpcap is None:
        raise FilterError(FILTER_NEEDS_LIBPCAP)

    def compile_it() -> bytes:
        with _handle(libpcap, interface, _DLT.get(link_type, link_type)) as handle:
            return _compile(libpcap, handle, expression, _netmask(libpcap, interface))

    return _within(_LONGEST, compile_it)


class _Outcome(NamedTuple):
    """The result of a forked process, or the class and the text of its error."""

    result: bytes
    error: type[Exception] | None = None
    text: str = ""


def _within(seconds: float, work: Callable[[], bytes]) -> bytes:
    """Call `work` in a forked process, and return its result, or raise its error. Raise FilterError if it takes longer.

    libpcap itself has no limit: some filters of a few thousand words take more than ten minutes, and it waits for name servers.
    """
    reader, writer = os.pipe()
    process = os.fork()
    if not process:
        try:  # whatever happens, code of the parent must not run here
            end_with_parent(signal.SIGKILL)
            try:
                outcome = _Outcome(work())
            except (FilterError, OSError) as error:
                outcome = _Outcome(b"", type(error), str(error))
            with open(writer, "wb") as out:
                pickle.dump(outcome, out)
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, "rb") as answer:
        is_done = bool(select.select([answer], [], [], seconds)[0])
        if not is_done:
            os.kill(process, signal.SIGKILL)
        data = answer.read()
    os.waitpid(process, 0)
    if not is_done:
        raise FilterError(f"libpcap did not compile the filter within {seconds:.0f} s: shorten it, or use addresses, not names")
    if not data:
        raise FilterError("libpcap failed while it compiled the filter: shorten it")
    outcome: _Outcome = pickle.loads(data)  # safe: the forked process wrote it
    if outcome.error is not None:
        raise outcome.error(outcome.text)
    return outcome.result


@contextlib.contextmanager
def _handle(libpcap: ctypes.CDLL, interface: str, data_link_type: int) -> Generator[ctypes.c_void_p]:
    """Yield a handle for which filters are compiled: an active capture on the interface, if it delivers this type of packets.

    Of some tunnels, libpcap reads packets in another format than raw sockets. The handle is then not connected to the interface.
    """
    for function in (libpcap.pcap_create, libpcap.pcap_open_dead):
        function.restype = ctypes.c_void_p
    error = ctypes.create_string_buffer(_ERROR_SIZE)
    handle = ctypes.c_void_p(libpcap.pcap_create(interface.encode(errors="surrogateescape"), error))
    try:
        if not handle:
            raise FilterError(_text(error.value))
        libpcap.pcap_set_snaplen(handle, _SNAPLEN)
        if (status := libpcap.pcap_activate(handle)) < 0:
            raise (OSError if status in _NO_CAPTURE else FilterError)(_error(libpcap, handle))
        if libpcap.pcap_datalink(handle) != data_link_type:
            libpcap.pcap_close(handle)
            handle = ctypes.c_void_p(libpcap.pcap_open_dead(data_link_type, _SNAPLEN))
        yield handle
    finally:
        if handle:
            libpcap.pcap_close(handle)


def _compile(libpcap: ctypes.CDLL, handle: ctypes.c_void_p, expression: str, netmask: int) -> bytes:
    program, text = _Program(), expression.encode(errors="surrogateescape")
    if libpcap.pcap_compile(handle, ctypes.byref(program), text, 1, ctypes.c_uint(netmask)):
        raise FilterError(_error(libpcap, handle))
    try:
        if program.length > _MAX_INSTRUCTIONS:
            most = f"Linux accepts at most {_MAX_INSTRUCTIONS:,}"
            raise FilterError(f"the filter has {program.length:,} instructions, and {most}: {_SHORTEN}")
        return ctypes.string_at(program.instructions, program.length * len(_ACCEPT_NOTHING))
    finally:
        libpcap.pcap_freecode(ctypes.byref(program))


def _netmask(libpcap: ctypes.CDLL, interface: str) -> int:
    """Return the IPv4 netmask of the interface in network byte order, which `ip broadcast` needs, as tcpdump looks it up."""
    network, netmask, error = ctypes.c_uint(), ctypes.c_uint(), ctypes.create_string_buffer(_ERROR_SIZE)
    name = interface.encode(errors="surrogateescape")
    failed = libpcap.pcap_lookupnet(name, ctypes.byref(network), ctypes.byref(netmask), error)
    return _UNKNOWN_NETMASK if failed else netmask.value


def _error(libpcap: ctypes.CDLL, handle: ctypes.c_void_p) -> str:
    libpcap.pcap_geterr.restype = ctypes.c_char_p
    return _text(libpcap.pcap_geterr(handle) or b"")


def _text(error: bytes) -> str:
    return " ".join(error.decode(errors="replace").split())


def attach(receiver: socket.socket, instructions: bytes) -> None:
    """Make a socket accept only packets that match a compiled filter. Raise FilterError if the kernel refuses the filter."""
    program = ctypes.create_string_buffer(instructions, len(instructions))
    count = len(instructions) // len(_ACCEPT_NOTHING)
    try:
        receiver.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", count, ctypes.addressof(program)))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise FilterError(f"the kernel refuses the {count:,} instructions of the filter ({reason}): {_SHORTEN}") from error


def accept_nothing(receiver: socket.socket) -> None:
    """Make a socket accept no more packets; packets already received can still be read."""
    attach(receiver, _ACCEPT_NOTHING)
