"""Capture with raw sockets, on machines without dumpcap and tcpdump. scapy opens the sockets, and this module reads them."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import socket
import struct
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from wiredoctor.recording import encode
from wiredoctor.recording.blocks import Blocks
from wiredoctor.recording.filters import FilterError, accept_nothing, attach, compile_filter
from wiredoctor.recording.links import is_up
from wiredoctor.recording.privileges import NET_ADMIN, NET_RAW

if TYPE_CHECKING:
    from wiredoctor.recording.request import Request

_SOL_PACKET, _STATISTICS, _AUXDATA = 263, 6, 8
_SO_RCVBUFFORCE, _SO_TIMESTAMPNS = 33, 35
_OUTGOING = 4
_VLAN_VALID, _TPID_VALID, _VLAN = 0x10, 0x40, 0x8100

_LONGEST = 262_144
_TURN = 1000
"""The maximum number of packets read from one socket before other sockets and events are served."""

_LAST_TURN = 2.0
"""The maximum time in seconds for reading the packets left in the sockets after a stop. Unread packets count as dropped."""

_COUNTING = 1.0
"""The maximum time in seconds for counting packets that were not read after a stop. It is enough for a million packets."""

_LINK_TYPES = {1: 1, 772: 1, 519: 101, 768: 101, 776: 101, 65_534: 101, 801: 105, 802: 119, 803: 127}
"""The LINKTYPE_ value of a capture by the ARPHRD_ value of its interface (linux/if_arp.h).

The table lists only hardware whose packets arrive in the format of a LINKTYPE: Ethernet, loopback, raw IP and 802.11.
"""

_LOOPBACK = 772

_aux = struct.Struct("=IIIHHHH").unpack_from
"""The parser of struct tpacket_auxdata (packet(7)): status, len, snaplen, mac, net, vlan_tci, vlan_tpid."""

_CONTROL = socket.CMSG_SPACE(20) + socket.CMSG_SPACE(16)
"""The size in bytes of the kernel's two control messages per packet: struct tpacket_auxdata and struct timespec."""

_timespec = struct.Struct("=qq").unpack_from


class Raw:
    """Captures with one socket per interface. The kernel buffers unread packets in the sockets, and counts dropped packets."""

    backend = "raw"
    linger = 0.0
    begun = True
    processes: tuple[int, ...] = ()
    capabilities = frozenset((NET_RAW, NET_ADMIN))

    def __init__(self, interfaces: Sequence[str], request: Request) -> None:
        from scapy import __version__ as version

        logging.getLogger("scapy").setLevel(logging.ERROR)  # scapy warns about interfaces whose packets it does not know
        _forget_interfaces()
        self.interfaces = interfaces
        self.version = version
        self.ended = False
        self.dropped: Mapping[int, int] = {}
        self.notes: Sequence[str] = ()
        self._request = request
        self._filter = request.filter
        self._buffer = bytearray(request.snaplen or _LONGEST)
        self._taps: list[_Tap] = []
        self._wake = os.eventfd(1, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        try:
            self._open(interfaces)
        except BaseException:
            self._release()
            raise
        self._by_file = {tap.socket.fileno(): (number, tap) for number, tap in enumerate(self._taps)}
        self._stopping = False

    def _open(self, interfaces: Sequence[str]) -> None:
        """Open a socket for each interface; `any` means all interfaces that are up and whose packets are supported."""
        unsupported: HardwareError | None = None
        for name in _expand_any(interfaces):
            try:
                self._taps.append(self._tap(name))
            except HardwareError as error:
                if name in interfaces:
                    raise
                unsupported = error
                self.notes = (*self.notes, f"{error}; it is not captured")
        if unsupported is not None and not self._taps:
            raise unsupported

    def _tap(self, name: str) -> _Tap:
        """Open a socket on an interface. If the filter is a default that cannot be applied, note that, and capture without it."""
        try:
            return _Tap(name, self._request, self._filter)
        except FilterError as error:
            if option := self._request.filter_option:
                where = "" if self.interfaces == [name] else f", on {name}"
                raise FilterError(f"{option}{where}: {error}") from error
            kept = f" and kept in {self._request.file}" if self._request.file else ""
            note = f"all packets of the interfaces are recorded{kept}, without the default filter ({self._filter}): {error}"
            self.notes = (*self.notes, note)
            self._filter = ""
            return _Tap(name, self._request, "")

    def files(self) -> list[int]:
        return [] if self.ended else [self._wake, *self._by_file]

    def read(self, file: int, blocks: Blocks) -> int:
        if file != self._wake:
            number, tap = self._by_file[file]
            return self._packets(number, tap, blocks)
        os.eventfd_read(file)
        if self._stopping:
            return self._last(blocks)
        described = [encode.interface(tap.name, tap.link_type, self._request.snaplen) for tap in self._taps]
        preamble = encode.section(f"raw sockets, scapy {self.version}") + b"".join(described)
        blocks.add(preamble)
        return len(preamble)

    def _packets(self, number: int, tap: _Tap, blocks: Blocks) -> int:
        """Read up to _TURN packets from one socket into `blocks`; return the number of bytes added, 0 if there are no packets."""
        data = b"".join(tap.read(number, self._buffer))
        blocks.add(data)
        return len(data)

    def _last(self, blocks: Blocks) -> int:
        for tap in self._taps:
            tap.shut()
        came, end = 0, time.monotonic() + _LAST_TURN
        for number, tap in enumerate(self._taps):
            while time.monotonic() < end and (got := self._packets(number, tap, blocks)):
                came += got
        end = time.monotonic() + _COUNTING
        for tap in self._taps:
            tap.drop_unread(end)
        self.ended = True
        return came

    def ask_for_drops(self) -> None:
        self.dropped = {number: tap.count_drops() for number, tap in enumerate(self._taps)}

    def stop(self) -> None:
        self._stopping = True
        os.eventfd_write(self._wake, 1)

    def kill(self) -> None:
        self.ended = True

    def close(self, blocks: Blocks) -> None:
        self.ask_for_drops()
        for number, tap in enumerate(self._taps):
            blocks.add(encode.statistics(number, tap.packets, self.dropped[number]))
        self.ended = True
        self._release()

    def _release(self) -> None:
        for tap in self._taps:
            tap.close()
        if self._wake >= 0:
            os.close(self._wake)
        self._wake = -1

    def complaint(self) -> str:
        return ""


class HardwareError(ValueError):
    """The packets of an interface have a format that is not supported. The text is one line."""


class _Tap:
    """The socket that captures on one interface.

    The constructor raises OSError if the interface cannot be opened, HardwareError if its packets have an unsupported format, and
    FilterError if `filter` cannot be applied.
    """

    def __init__(self, name: str, request: Request, filter: str) -> None:
        from scapy.arch.linux import L2ListenSocket

        self.name = name
        self._opened: Any = L2ListenSocket(iface=name, nofilter=1)
        self.socket: socket.socket = self._opened.ins
        try:
            self._prepare(request, filter)
        except BaseException:
            self.close()
            raise

    def _prepare(self, request: Request, filter: str) -> None:
        hardware = self.socket.getsockname()[3]
        if hardware not in _LINK_TYPES:
            raise HardwareError(
                f"raw sockets do not support the packets of {self.name} (hardware type {hardware}): install dumpcap or tcpdump"
            )
        self.link_type = _LINK_TYPES[hardware]
        self.socket.setblocking(False)
        for option in (_SO_RCVBUFFORCE, socket.SO_RCVBUF):  # SO_RCVBUF is limited by net.core.rmem_max
            with contextlib.suppress(OSError):
                self.socket.setsockopt(socket.SOL_SOCKET, option, request.buffer << 20)
                break
        self._loopback = hardware == _LOOPBACK
        self.packets = 0
        """The number of packets that were read."""
        self._dropped = 0
        instructions = compile_filter(filter, self.name, self.link_type) if filter else b""
        if instructions:
            self._discard()
        self.count_drops()  # scapy's socket first receives the packets of all interfaces
        self._dropped = 0
        if instructions:
            attach(self.socket, instructions)

    def _discard(self) -> None:
        """Accept no more packets, and discard those that were accepted without the filter."""
        accept_nothing(self.socket)
        nothing = bytearray(1)
        with contextlib.suppress(BlockingIOError):
            while True:
                self.socket.recv_into(nothing)

    def shut(self) -> None:
        """Make the socket accept no more packets; packets already received can still be read."""
        with contextlib.suppress(FilterError):
            accept_nothing(self.socket)

    def read(self, number: int, buffer: bytearray) -> list[bytes]:
        """Return up to _TURN packets as pcapng blocks of interface `number`. `buffer`: memory for one packet."""
        receive, view, buffers = self.socket.recvmsg_into, memoryview(buffer), [buffer]
        blocks: list[bytes] = []
        for _ in range(_TURN):
            try:
                count, control, _, address = receive(buffers, _CONTROL)
            except OSError:  # no packet is left, or the interface was brought down, which `Links` reports
                break
            if self._loopback and address[2] == _OUTGOING:  # the same packet is also received as an incoming one
                continue
            data, length, stamp = bytes(view[:count]), count, 0
            for _, kind, value in control:
                if kind == _AUXDATA:
                    status, length, _, _, _, tag, protocol = _aux(value)
                    if status & _VLAN_VALID:
                        outer = protocol if status & _TPID_VALID else _VLAN
                        data, length = (data[:12] + struct.pack("!HH", outer, tag) + data[12:])[: len(buffer)], length + 4
                elif kind == _SO_TIMESTAMPNS:
                    seconds, nanoseconds = _timespec(value)
                    stamp = seconds * 1_000_000_000 + nanoseconds
            blocks.append(encode.packet(number, stamp or time.time_ns(), data, length))
        self.packets += len(blocks)
        return blocks

    def drop_unread(self, end: float) -> None:
        """Count the packets left in the socket as dropped, until the time `end` of the monotonic clock at the latest."""
        nothing = bytearray(1)
        with contextlib.suppress(OSError):  # no packet is left
            while time.monotonic() < end:
                _, address = self.socket.recvfrom_into(nothing)
                self._dropped += not (self._loopback and address[2] == _OUTGOING)

    def count_drops(self) -> int:
        """Return the total number of dropped packets. Each reading resets the kernel's counter, so the values are added up."""
        with contextlib.suppress(OSError):
            _, dropped = struct.unpack("=II", self.socket.getsockopt(_SOL_PACKET, _STATISTICS, 8))
            self._dropped += dropped
        return self._dropped

    def close(self) -> None:
        self._opened.close()


def _forget_interfaces() -> None:
    """Make scapy forget the numbers of interfaces that no longer exist."""
    from scapy.config import conf

    importlib.import_module("scapy.arch.linux")  # without this import, scapy knows no interfaces

    remembered: Any = conf
    remembered.ifaces.reload()


def _expand_any(interfaces: Sequence[str]) -> list[str]:
    """Return a list of interfaces in which all interfaces that are up replace `any`."""
    everything = [name for _, name in socket.if_nameindex() if is_up(name)]
    return list(dict.fromkeys(each for name in interfaces for each in (everything if name == "any" else [name])))
