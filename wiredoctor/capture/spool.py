"""Copy compressed captures, pipes and standard input to a temporary file without a name, so every capture is a regular file."""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, NamedTuple, Protocol

from wiredoctor.capture.budget import Budget, Room, disk
from wiredoctor.capture.model import CaptureError

CHUNK = 1 << 20
"""The number of bytes read, decompressed and written at a time."""

_HEAD = 64
"""The number of first bytes by which a format is recognized."""

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

_INPUT = 1 << 14
"""The number of compressed bytes read at a time. If a library finds damage, it discards its output for the current read."""

_TAIL = 1 << 6
"""The number of last bytes of a compressed file that are read one by one, so a wrong checksum loses no content."""

_WINDOW = 1 << 28
"""The maximum memory in bytes for decompression: a malicious header can request gigabytes."""

_PIECE = 1 << 10
"""The number of zstandard bytes decompressed at a time. Four bytes can expand to 128 KiB, so this many can expand to 32 MiB."""

_MAGIC = (
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\0", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstandard"),
    (b"\x04\x22\x4d\x18", "lz4"),
)
_OTHERS = (
    (b"btsnoop\0", "btsnoop (Bluetooth)"),
    (b"RTSS", "Network Monitor 1.x"),
    (b"GMBU", "Network Monitor 2.x"),
    (b"XCP\0", "Windows Sniffer"),
    (b"TRSNIFF data", "DOS Sniffer"),
    (b"iptrace ", "AIX iptrace"),
    (b"ObserverPktBuffe", "Viavi Observer"),
    (b"\x05VNF", "Visual Networks"),
    (b"\xaa\xaa\xaa\xaa", "5View"),
    (b"\x7fver", "EtherPeek or OmniPeek"),
)
"""The first bytes of file formats that Wireshark reads but wiredoctor does not, with their names."""

_UTF_16 = b"\xff\xfe"
_TRACE_HEADER = 72
"""The size in bytes of the header of a buffer in an event trace log."""

_SKIPPABLE = b"\x2a\x4d\x18"
"""The magic number of a zstandard skippable frame, without its first byte, which is 0x50 to 0x5f.

pzstd(1) writes such a frame before each frame (RFC 8878 section 3.1.2).
"""
_LONGEST_MAGIC = max(len(magic) for magic, _ in _MAGIC)


class Source(Protocol):
    """Any source of bytes with a `read` method."""

    def read(self, size: int, /) -> bytes:
        """Return at most `size` bytes; an empty result at the end."""
        ...


class _Pushback:
    """A source whose first bytes were already read to recognize its format; `read` returns these bytes first."""

    def __init__(self, head: bytes, source: Source) -> None:
        self._head = head
        self._source = source

    def read(self, size: int, /) -> bytes:
        if not self._head:
            return self._source.read(size) or b""
        piece, self._head = self._head[:size], self._head[size:]
        return piece


class _SlowTail:
    """A source that returns its last bytes one by one.

    If the end is damaged, a decompressor then returns everything before the damage.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._tail = b""
        self._ended = False

    def read(self, size: int, /) -> bytes:
        while not self._ended and len(self._tail) <= _TAIL:
            more = self._source.read(size) or b""
            self._ended = not more
            self._tail += more
        end = 1 if self._ended else len(self._tail) - _TAIL
        piece, self._tail = self._tail[:end], self._tail[end:]
        return piece

    def begin(self, held: bytes) -> bytes:
        """Return the first bytes: `held`, which were already read, and more if these are too few to recognize a compression."""
        while len(held) < _LONGEST_MAGIC and (more := self.read(_INPUT)):
            held += more
        return held


def compression(head: bytes) -> str | None:
    """Return the name of the compression of a file with these first bytes; None if it is not compressed."""
    if head[1:4] == _SKIPPABLE and head[0] >> 4 == 5:
        return "zstandard"
    return next((name for magic, name in _MAGIC if head.startswith(magic)), None)


def decompressed_head(source: Source, size: int = _HEAD) -> tuple[bytes, str | None]:
    """Return the first `size` bytes of the unpacked content, or a few more, and a description of damage in them (or None).

    There are fewer bytes if the content is shorter or damaged.
    """
    head = source.read(size) or b""
    method = compression(head)
    return (head, None) if method is None else _first(_chunks(method, _Pushback(head, source), size), method, size)


class Spooled(NamedTuple):
    """A temporary file and its size in bytes; `lost` and `cut` are as in files.CaptureFile."""

    file: BinaryIO
    size: int
    lost: str | None
    cut: str | None


def spool(source: Source, name: str, is_capture: Callable[[bytes], bool], budget: Budget) -> Spooled:
    """Copy `source` to a temporary file, decompressing it. Return the file and, if data is missing from it, the reason.

    Raise CaptureError, before anything is written, if the content does not begin like a capture.
    """
    head = source.read(CHUNK) or b""
    method = compression(head)
    chunks = _chunks(method, _Pushback(head, source))
    first, damage = _first(chunks, method)
    if not first and damage is None:
        raise CaptureError(f"{name}: empty")
    if not is_capture(first):
        raise CaptureError(f"{name}: {damage}" if damage else not_a_capture(name, first, method))
    file: Any = tempfile.TemporaryFile(buffering=0, prefix="wiredoctor-")  # noqa: SIM115 - the capture keeps it open
    compressed = method is not None
    lost, met = _write(file, first, chunks, method, budget.room(compressed=compressed))
    size = file.tell()
    if budget.counts(compressed=compressed):
        budget.hold(file, size)
    if met is None:
        return Spooled(file, size, damage or lost, None)
    return Spooled(file, size, f"only the first {size:,} bytes were stored on disk: {met.over}", met.sentence(name, size))


def not_a_capture(name: str, head: bytes, method: str | None = None) -> str:
    """Return the error message for a file that begins with `head` and is not a capture.

    `method`: the name of its compression; None if it is not compressed.
    """
    inside = f" inside {method}" if method else ""
    if method and (again := compression(head)):
        return f"{name}: {again}{inside}: only one layer of compression is supported, so decompress it first"
    if known := next((what for magic, what in _OTHERS if head.startswith(magic)), None):
        return f"{name}: a {known} file{inside}, which wiredoctor does not read (editcap -F pcapng converts it)"
    if _is_trace_log(head) or name.lower().endswith(".etl"):
        return (
            f"{name}: an event trace log of Windows{inside}, not a capture: pktmon etl2pcap converts those of pktmon, and "
            "etl2pcapng also those of netsh"
        )
    if head.startswith(_UTF_16):
        return f"{name}: text in UTF-16{inside}, as > of Windows PowerShell writes it: use an option instead, such as -w or -o"
    begins = " ".join(f"{b:02x}" for b in head[:8])
    text = head[:8].decode("ascii", "replace")
    shown = f'"{text}"' if text.isprintable() and text.isascii() else begins
    return f"{name}: not a packet capture{inside} (begins with {shown})"


def _is_trace_log(head: bytes) -> bool:
    """Return whether a file with these first bytes is a log of Event Tracing for Windows (ETL).

    It begins with a WMI_BUFFER_HEADER (ntwmi.h): the size of the buffer at byte 0, the size of its content at 48, and at 54 the
    type of the first buffer, which is 4.
    """
    size, used, kind = (int.from_bytes(head[begin:end], "little") for begin, end in ((0, 4), (48, 52), (54, 56)))
    return kind == 4 and size % 1024 == 0 and _TRACE_HEADER <= used <= size


def _first(chunks: Iterator[bytes], method: str | None, size: int = _HEAD) -> tuple[bytes, str | None]:
    """Return the first bytes, at least `size` if possible, and a description of damage in them (or None)."""
    head = b""
    try:
        for chunk in chunks:
            head += chunk
            if len(head) >= size:
                break
    except Exception as error:  # noqa: BLE001 - five libraries, each with its own errors
        return head, _loss_text(method, len(head), error)
    return head, None


def _write(
    file: BinaryIO, first: bytes, chunks: Iterator[bytes], method: str | None, room: Room
) -> tuple[str | None, Room | None]:
    """Write as much as fits into `room`. Return two values, each of which may be None.

    The first describes the data that could not be unpacked; the second is the limit that was reached.
    """
    written = 0
    chunk: bytes | None = first
    while chunk is not None:
        full = written + len(chunk) > room.bytes
        piece = memoryview(chunk)[: max(room.bytes - written, 0)]
        try:
            while piece:
                size = file.write(piece)
                written += size
                piece = piece[size:]
        except OSError as error:
            return None, disk(written) if error.errno in _FULL else disk(written, error.strerror or str(error))
        if full:
            return None, room
        try:
            chunk = next(chunks, None)
        except Exception as error:  # noqa: BLE001 - five libraries, each with its own errors
            return _loss_text(method, written, error), None
    return None, None


def _loss_text(method: str | None, after: int, error: Exception) -> str:
    if isinstance(error, EOFError):
        return f"the {method} data ends too early, after {after:,} bytes of capture"
    what = f"the {method} data is damaged" if method else "reading failed"
    reason = " ".join(str(error).split())
    return f"{what} after {after:,} bytes of capture ({reason or type(error).__name__})"


def _chunks(method: str | None, source: Source, most: int = CHUNK) -> Iterator[bytes]:
    """Yield the unpacked content in pieces of at most `most` bytes, if the library can limit them.

    Raise the exceptions of the libraries, and EOFError for truncated data.
    """
    if method is None:
        return iter(lambda: source.read(CHUNK), b"")
    slowly = _SlowTail(source)
    if method == "zstandard":
        return _zstandard(slowly)
    if method == "gzip":
        return _gzip(slowly, most)
    return _streams(slowly, {"bzip2": _bzip2, "xz": _xz, "lz4": _lz4}[method], most)


def _gzip(source: _SlowTail, most: int) -> Iterator[bytes]:
    import zlib

    held = source.begin(b"")
    while held.startswith(b"\x1f"):  # the members of a file follow each other; other bytes after a member are padding
        member = zlib.decompressobj(31)
        while not member.eof:
            piece = member.decompress(held, most)
            held = member.unconsumed_tail
            if piece:
                yield piece
            elif not member.eof and not held:
                held = source.read(_INPUT)
                if not held:
                    raise EOFError
        held = source.begin(member.unused_data)


def _bzip2() -> Any:
    import bz2

    return bz2.BZ2Decompressor()


def _xz() -> Any:
    import lzma

    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_WINDOW)


def _lz4() -> Any:
    import lz4.frame

    return lz4.frame.LZ4FrameDecompressor()


def _streams(source: _SlowTail, make: Callable[[], Any], most: int) -> Iterator[bytes]:
    """Yield the content of concatenated compressed streams. `make` returns an object like bz2.BZ2Decompressor."""
    held = source.begin(b"")
    magic = held[:3]
    while held.startswith(magic) and magic:
        stream = make()
        piece: bytes = stream.decompress(held, most)
        while True:
            if piece:
                yield piece
            if stream.eof:
                break
            more = source.read(_INPUT) if stream.needs_input else b""
            if stream.needs_input and not more:
                raise EOFError
            piece = stream.decompress(more, most)
        held = source.begin(stream.unused_data or b"")


def _zstandard(source: _SlowTail) -> Iterator[bytes]:
    """Yield the content of concatenated zstandard frames. The input is decompressed in small pieces, to limit the output."""
    import zstandard

    held, rest = source.begin(b""), b""
    while compression(held) == "zstandard":
        frame: Any = zstandard.ZstdDecompressor(max_window_size=_WINDOW).decompressobj()
        while not frame.eof:
            for at in range(0, len(held), _PIECE):
                piece: bytes = frame.decompress(held[at : at + _PIECE])
                if piece:
                    yield piece
                if frame.eof:
                    rest = held[at + _PIECE :]
                    break
            else:
                held = source.read(_INPUT)
                if not held:
                    raise EOFError
        held = source.begin((frame.unused_data or b"") + rest)
