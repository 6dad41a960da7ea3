"""Read a capture that another program is writing, as a backend: pcap or pcapng from an open file.

Another program captures the packets. Therefore this backend has no interfaces of this machine, reports no drops on request, and
has timestamps of another clock.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from wiredoctor.recording import encode
from wiredoctor.recording.blocks import Blocks, StreamError
from wiredoctor.recording.convert import PcapStream, is_pcap

STREAM = "stream"
"""The name of this backend."""

_CHUNK = 1 << 18
_SECTION = b"\n\r\r\n"
_MAGIC = 4
"""The number of bytes at the beginning of a stream that determine its format."""


class Stream:
    """A capture in an open file, as a backend. The file stays in blocking mode, because other processes may share it."""

    backend = STREAM
    version = ""
    notes: Sequence[str] = ()
    linger = 0.0
    begun = True
    processes: Sequence[int] = ()
    interfaces: Sequence[str] = ()
    capabilities: frozenset[int] = frozenset()

    def __init__(self, file: int, name: str) -> None:
        self.ended = False
        self.has_header = False
        """True after the header of the capture was read."""
        self._file, self._name = file, name
        self._first = b""
        self._pcap: PcapStream | None = None

    def files(self) -> list[int]:
        return [] if self.ended else [self._file]

    def read(self, file: int, blocks: Blocks) -> int:
        data = os.read(file, _CHUNK)
        if not data:
            self.ended = True
        elif self.has_header:
            blocks.add(data if self._pcap is None else self._pcap.feed(data))
        else:
            self._begin(data, blocks)
        return len(data)

    def _begin(self, data: bytes, blocks: Blocks) -> None:
        """Determine the format from the first bytes of the stream, then pass these bytes on to `blocks`.

        If too few bytes have arrived, wait for more. Raise StreamError if the format is neither pcap nor pcapng.
        """
        self._first += data
        if len(self._first) < _MAGIC:
            return
        if self._first.startswith(_SECTION):
            self.has_header = True
            blocks.add(self._first)
            return
        if not is_pcap(self._first):
            raise StreamError("it is neither a pcap nor a pcapng file (unpack a compressed capture first)")
        pcap = self._pcap or PcapStream(0)
        self._pcap = pcap
        packets = pcap.feed(data if pcap.has_data else self._first)
        if pcap.link_type is not None:
            self.has_header = True
            blocks.add(encode.section(self._name) + encode.interface(self._name, pcap.link_type, pcap.snaplen) + packets)

    @property
    def dropped(self) -> Mapping[int, int]:
        return {}

    def ask_for_drops(self) -> None:
        """Do nothing: drops cannot be requested, but a pcapng stream may report them."""

    def stop(self) -> None:
        self.ended = True

    def kill(self) -> None:
        self.ended = True

    def close(self, blocks: Blocks) -> None:
        """Do nothing; everything that was received is in the blocks."""

    def complaint(self) -> str:
        return ""
