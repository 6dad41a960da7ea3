"""Compressed captures, pipes and standard input become an unlinked temporary file, so that every capture is a file."""

from __future__ import annotations

import errno
import tempfile
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from wiredoctor.capture.budget import disk
from wiredoctor.capture.model import CaptureError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

    from wiredoctor.capture.budget import Budget, Room

CHUNK = 1 << 20
"""Bytes read, decompressed and written at a time."""

_HEAD = 64
"""Bytes by which a format is recognized."""

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

_INPUT = 1 << 14
"""Compressed bytes read at a time: what a library gave for them is lost where it finds the data damaged."""

_TAIL = 1 << 6
"""Bytes at the end of a compressed file that go in one by one: a wrong check sum there costs none of the content."""

_WINDOW = 1 << 28
"""Bytes of memory that decompressing may take: a hostile header can ask for gigabytes."""

_PIECE = 1 << 10
"""Bytes of a zstandard file decompressed at a time: 4 of them can stand for 128 KiB, so this many for 32 MiB."""

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
"""How formats begin that Wireshark reads and wiredoctor does not."""

_SKIPPABLE = b"\x2a\x4d\x18"
"""Behind 0x50 to 0x5f, a frame without content, as pzstd(1) writes one in front of each other (RFC 8878, 3.1.2)."""
_LONGEST_MAGIC = max(len(magic) for magic, _ in _MAGIC)


class Source(Protocol):
    """Anything that bytes can be read from."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; none at the end."""
        ...


class _Pushback:
    """A source whose first bytes were read already to see what it is."""

    def __init__(self, head: bytes, source: Source) -> None:
        self._head = head
        self._source = source

    def read(self, size: int, /) -> bytes:
        if not self._head:
            return self._source.read(size) or b""
        piece, self._head = self._head[:size], self._head[size:]
        return piece


class _Slowly:
    """A source whose last bytes come one by one."""

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
        """`held` and enough behind it to see whether a stream begins there."""
        while len(held) < _LONGEST_MAGIC and (more := self.read(_INPUT)):
            held += more
        return held


def compression(head: bytes) -> str | None:
    """How a file that begins like this is compressed; None if it is not."""
    if head[1:4] == _SKIPPABLE and head[0] >> 4 == 5:
        return "zstandard"
    return next((name for magic, name in _MAGIC if head.startswith(magic)), None)


def decompressed_head(source: Source, size: int = _HEAD) -> tuple[bytes, str | None]:
    """Return the first bytes of what is in a file, unpacked if it is compressed: fewer than `size` if there are no more, and why
    if it is damaged."""
    head = source.read(size) or b""
    method = compression(head)
    return (head, None) if method is None else _first(_chunks(method, _Pushback(head, source), size), method, size)


class Spooled(NamedTuple):
    """A temporary file; `lost` and `cut` as in files.CaptureFile."""

    file: BinaryIO
    size: int
    lost: str | None
    cut: str | None


def spool(source: Source, name: str, is_capture: Callable[[bytes], bool], budget: Budget) -> Spooled:
    """A temporary file with what `source` holds, decompressed, and what of it was lost on the way, and why.

    Raises CaptureError when its first bytes are no capture, before anything is written.
    """
    head = source.read(CHUNK) or b""
    method = compression(head)
    chunks = _chunks(method, _Pushback(head, source))
    first, damage = _first(chunks, method)
    if not first and damage is None:
        raise CaptureError(f"{name}: empty")
    if not is_capture(first):
        raise CaptureError(f"{name}: {damage}" if damage else not_a_capture(name, first, method))
    file = tempfile.TemporaryFile(buffering=0, prefix="wiredoctor-")  # noqa: SIM115 - the capture keeps it open
    compressed = method is not None
    lost, met = _write(file, first, chunks, method, budget.room(compressed=compressed))
    size = file.tell()
    if budget.counts(compressed=compressed):
        budget.hold(file, size)
    if met is None:
        return Spooled(file, size, damage or lost, None)
    return Spooled(file, size, f"only the first {size} bytes were spooled: {met.over}", met.sentence(name, size))


def not_a_capture(name: str, head: bytes, method: str | None = None) -> str:
    """What to say of a file that begins like this."""
    inside = f" inside {method}" if method else ""
    if method and (again := compression(head)):
        return f"{name}: {again}{inside}, which is not opened a second time: decompress it first"
    if known := next((what for magic, what in _OTHERS if head.startswith(magic)), None):
        return f"{name}: a {known} file{inside}, which wiredoctor does not read (editcap -F pcapng converts it)"
    begins = " ".join(f"{b:02x}" for b in head[:8])
    text = head[:8].decode("ascii", "replace")
    shown = f'"{text}"' if text.isprintable() and text.isascii() else begins
    return f"{name}: not a packet capture{inside} (begins with {shown})"


def _first(chunks: Iterator[bytes], method: str | None, size: int = _HEAD) -> tuple[bytes, str | None]:
    """Return the beginning, at least so many bytes (a chunk may be a single byte), and why there are no more."""
    head = b""
    try:
        for chunk in chunks:
            head += chunk
            if len(head) >= size:
                break
    except Exception as error:  # noqa: BLE001 - five libraries, each with errors of its own
        return head, _lost(method, len(head), error)
    return head, None


def _write(
    file: BinaryIO, first: bytes, chunks: Iterator[bytes], method: str | None, room: Room
) -> tuple[str | None, Room | None]:
    """Write what fits. Return what was lost, and the bound that was met."""
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
        except Exception as error:  # noqa: BLE001 - five libraries, each with errors of its own
            return _lost(method, written, error), None
    return None, None


def _lost(method: str | None, after: int, error: Exception) -> str:
    if isinstance(error, EOFError):
        return f"the {method} data end too early, after {after} bytes of capture"
    what = f"the {method} data are damaged" if method else "reading failed"
    reason = " ".join(str(error).split())
    return f"{what} after {after} bytes of capture ({reason or type(error).__name__})"


def _chunks(method: str | None, source: Source, most: int = CHUNK) -> Iterator[bytes]:
    """Yield the content in pieces of at most `most` bytes if the library has such a bound.

    Raise what the libraries raise, and EOFError for data that is cut off.
    """
    if method is None:
        return iter(lambda: source.read(CHUNK), b"")
    slowly = _Slowly(source)
    if method == "zstandard":
        return _zstandard(slowly)
    if method == "gzip":
        return _gzip(slowly, most)
    return _streams(slowly, {"bzip2": _bzip2, "xz": _xz, "lz4": _lz4}[method], most)


def _gzip(source: _Slowly, most: int) -> Iterator[bytes]:
    import zlib

    held = source.begin(b"")
    while held.startswith(b"\x1f"):  # members follow each other; anything else behind one is padding
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
    import lz4.frame  # pyright: ignore[reportMissingImports, reportMissingTypeStubs, reportUnknownMemberType]

    return lz4.frame.LZ4FrameDecompressor()  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType, reportAttributeAccessIssue]


def _streams(source: _Slowly, make: Callable[[], Any], most: int) -> Iterator[bytes]:
    """Streams one behind the other, of any library with the interface of bz2.BZ2Decompressor."""
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


def _zstandard(source: _Slowly) -> Iterator[bytes]:
    """Frames one behind the other. The input goes in small pieces, as nothing else bounds what comes out at once."""
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
