"""Compressed captures, pipes and standard input become an unlinked temporary file, so that every capture is a file."""

from __future__ import annotations

import shutil
import tempfile
from typing import TYPE_CHECKING, Any, Protocol

from wiredoctor.capture.model import CaptureError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

CHUNK = 1 << 20
"""Bytes read, decompressed and written at a time."""

SHARE_OF_FREE_SPACE = 0.9
"""How much of the free space of the temporary directory a spooled capture may take."""

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


def compression(head: bytes) -> str | None:
    """How a file that begins like this is compressed; None if it is not."""
    return next((name for magic, name in _MAGIC if head.startswith(magic)), None)


def decompressed_head(source: Source) -> bytes:
    """The first bytes of a file, of what is in it where it is compressed; less than 64 where there are no more."""
    head = source.read(CHUNK) or b""
    method = compression(head)
    return head if method is None else _first(_chunks(method, _Pushback(head, source)), method)[0]


def spool(source: Source, name: str, is_capture: Callable[[bytes], bool], max_spool: int | None) -> tuple[BinaryIO, str | None]:
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
    limit = max_spool if max_spool is not None else int(shutil.disk_usage(tempfile.gettempdir()).free * SHARE_OF_FREE_SPACE)
    file = tempfile.TemporaryFile(prefix="wiredoctor-")  # noqa: SIM115 - the capture keeps it open
    lost = _write(file, first, chunks, method, limit)
    file.flush()
    return file, damage or lost


def not_a_capture(name: str, head: bytes, method: str | None = None) -> str:
    """What to say of a file that begins like this."""
    inside = f" inside {method}" if method else ""
    begins = " ".join(f"{b:02x}" for b in head[:8])
    text = head[:8].decode("ascii", "replace")
    shown = f'"{text}"' if text.isprintable() and text.isascii() else begins
    return f"{name}: not a packet capture{inside} (begins with {shown})"


def _first(chunks: Iterator[bytes], method: str | None) -> tuple[bytes, str | None]:
    """Enough of the beginning to recognise it (a chunk may be a single byte), and why there is no more."""
    head = b""
    try:
        for chunk in chunks:
            head += chunk
            if len(head) >= 64:
                break
    except Exception as error:  # noqa: BLE001 - five libraries, each with errors of its own
        return head, _lost(method, len(head), error)
    return head, None


def _write(file: BinaryIO, first: bytes, chunks: Iterator[bytes], method: str | None, limit: int) -> str | None:
    written = 0
    chunk: bytes | None = first
    try:
        while chunk is not None:
            if written + len(chunk) > limit:
                file.write(chunk[: max(limit - written, 0)])
                return f"only the first {limit} bytes were spooled: there is no room for more in {tempfile.gettempdir()}"
            file.write(chunk)
            written += len(chunk)
            chunk = next(chunks, None)
    except Exception as error:  # noqa: BLE001 - five libraries, each with errors of its own
        return _lost(method, written, error)
    return None


def _lost(method: str | None, after: int, error: Exception) -> str:
    if isinstance(error, EOFError):
        return f"the {method} data end too early, after {after} bytes of capture"
    what = f"the {method} data are damaged" if method else "reading failed"
    reason = " ".join(str(error).split())
    return f"{what} after {after} bytes of capture ({reason or type(error).__name__})"


def _chunks(method: str | None, source: Source) -> Iterator[bytes]:
    """The content in pieces of at most CHUNK bytes. Raises what the libraries raise; EOFError for data cut off."""
    if method == "zstandard":
        return _zstandard(source)
    if method == "gzip":
        return _gzip(source)
    make = {"bzip2": _bzip2, "xz": _xz, "lz4": _lz4}.get(method or "")
    return _streams(source, make) if make else iter(lambda: source.read(CHUNK), b"")


def _gzip(source: Source) -> Iterator[bytes]:
    import zlib

    held = source.read(CHUNK)
    while held.startswith(b"\x1f"):  # members follow each other; anything else behind one is padding
        member = zlib.decompressobj(31)
        while not member.eof:
            piece = member.decompress(held, CHUNK)
            held = member.unconsumed_tail
            if piece:
                yield piece
            elif not member.eof and not held:
                held = source.read(CHUNK)
                if not held:
                    raise EOFError
        held = member.unused_data or source.read(CHUNK)


def _bzip2() -> Any:
    import bz2

    return bz2.BZ2Decompressor()


def _xz() -> Any:
    import lzma

    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_WINDOW)


def _lz4() -> Any:
    import lz4.frame  # pyright: ignore[reportMissingImports, reportMissingTypeStubs, reportUnknownMemberType]

    return lz4.frame.LZ4FrameDecompressor()  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType, reportAttributeAccessIssue]


def _streams(source: Source, make: Callable[[], Any]) -> Iterator[bytes]:
    """Streams one behind the other, of any library with the interface of bz2.BZ2Decompressor."""
    held = source.read(CHUNK)
    magic = held[:3]
    while held.startswith(magic) and magic:
        stream = make()
        piece: bytes = stream.decompress(held, CHUNK)
        while True:
            if piece:
                yield piece
            if stream.eof:
                break
            more = source.read(CHUNK) if stream.needs_input else b""
            if stream.needs_input and not more:
                raise EOFError
            piece = stream.decompress(more, CHUNK)
        held = stream.unused_data or source.read(CHUNK)


def _zstandard(source: Source) -> Iterator[bytes]:
    """Frames one behind the other. The input goes in small pieces, as nothing else bounds what comes out at once."""
    import zstandard

    held = source.read(_PIECE)
    while held.startswith(_MAGIC[3][0]):
        frame: Any = zstandard.ZstdDecompressor(max_window_size=_WINDOW).decompressobj()
        while True:
            piece: bytes = frame.decompress(held)
            if piece:
                yield piece
            if frame.eof:
                break
            held = source.read(_PIECE)
            if not held:
                raise EOFError
        held = frame.unused_data or b""
        held += source.read(_PIECE)
