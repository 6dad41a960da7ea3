"""Decode content codings in pieces of any size: gzip, deflate, zstd and br (RFC 9110 section 8.4.1, RFC 8878, RFC 7932)."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from typing import Any

from wiredoctor import limits

CODINGS = ("gzip", "x-gzip", "deflate")
"""The codings that zlib decodes."""

STEP = 1 << 16
"""The number of bytes that are decoded at a time."""
FREE = 1 << 18
MAX_TIMES = 64
"""The maximum ratio of decoded to coded bytes of a stream, not counting the first FREE decoded bytes.

The ratio of compressed text is about 20.
"""
ZSTD_STEP = 1 << 8
"""The number of zstd bytes that are decoded at a time: four bytes can expand to 128 KiB."""


@cache
def has_brotli() -> bool:
    """Return whether the package brotli is installed in a version that bounds its output (1.2 or later)."""
    try:
        return hasattr(import_module("brotli").Decompressor, "can_accept_more_data")
    except ImportError:
        return False


class CodedError(Exception):
    """The bytes do not have the announced content coding, or they decode to far too many bytes."""


class TooLargeError(CodedError):
    """The bytes decode to far too many bytes, or to decode them would take too much memory."""


class Decoder:
    """Decodes a body with one content coding. `read`, `made`: the number of coded and decoded bytes so far.

    `members`: the number of gzip members, zstd frames or streams with content.

    `ended_at`: the number of coded bytes up to the end of the newest gzip member, zstd frame or deflate stream, if it has ended;
    otherwise 0. Deflate is accepted without the zlib header too, because many servers omit it (RFC 9110 section 8.4.1). Bytes
    after the end are ignored unless they begin another member or frame. After the end of br they are an error, because clients
    that use the library refuse them, too.
    """

    __slots__ = ("_coding", "_decode", "_is_empty", "_start", "ended_at", "made", "members", "read")

    def __init__(self, coding: str) -> None:
        self._coding, self._start = coding, b""
        self.read = self.made = self.ended_at = self.members = 0
        self._is_empty = True
        self._decode: Any = None

    def close(self) -> None:
        """Free the decoder's memory."""
        self._decode, self._coding = None, ""

    def decode(self, data: bytes) -> Iterator[bytes]:
        """Yield what these bytes, which continue the body, decode to. Raise CodedError if they cannot be decoded."""
        self.read += len(data)
        rest, self._start = self._start + data, b""
        is_more = False
        while self._coding and (rest or is_more):
            if self._decode is None and not self._begin(rest):
                return
            made, rest, is_more = self._step(rest)
            self.made += len(made)
            if made and self._is_empty:
                self._is_empty, self.members = False, self.members + 1
            if self.made > FREE + MAX_TIMES * self.read:
                raise TooLargeError
            if self._is_at_end():
                self._decode, self.ended_at, is_more = None, self.read - len(rest), False
            yield made

    def _is_at_end(self) -> bool:
        return self._decode.is_finished() if self._coding == "br" else self._decode.eof

    def _begin(self, data: bytes) -> bool:
        """Begin a stream, member or frame with these bytes. Return False if they begin none, or are too few to tell."""
        if self._coding == "br" and self.ended_at:
            raise CodedError("bytes after the end")
        if len(data) < 2 and (self.ended_at or self._coding == "deflate"):
            self._start = data
            return False
        if self.ended_at and not _begins_another(self._coding, data):
            self._coding = ""
            return False
        self.ended_at, self._is_empty = 0, True
        self._decode = _decoder(self._coding, data)
        return True

    def _step(self, data: bytes) -> tuple[bytes, bytes, bool]:
        """Return at most about STEP decoded bytes, the coded bytes that were not read, and whether more may follow."""
        if self._coding == "zstd":
            return self._unzstd(data)
        return self._unbrotli(data) if self._coding == "br" else self._inflate(data)

    def _inflate(self, data: bytes) -> tuple[bytes, bytes, bool]:
        try:
            made = self._decode.decompress(data, STEP)
        except zlib.error as error:
            raise CodedError(str(error).rpartition(": ")[2]) from error
        return made, self._decode.unused_data or self._decode.unconsumed_tail, len(made) == STEP

    def _unzstd(self, data: bytes) -> tuple[bytes, bytes, bool]:
        import zstandard

        try:
            made = self._decode.decompress(data[:ZSTD_STEP])
        except zstandard.ZstdError as error:
            reason = str(error).rpartition(": ")[2]
            raise (TooLargeError if "memory" in reason else CodedError)(reason) from error
        return made, self._decode.unused_data + data[ZSTD_STEP:], False

    def _unbrotli(self, data: bytes) -> tuple[bytes, bytes, bool]:
        takes = self._decode.can_accept_more_data()
        try:
            made = self._decode.process(data if takes else b"", output_buffer_limit=STEP)
        except import_module("brotli").error as error:
            raise CodedError(str(error)) from error
        return made, b"" if takes else data, len(made) >= STEP or not self._decode.can_accept_more_data()


def _begins_another(coding: str, data: bytes) -> bool:
    """Return whether bytes after an end begin another gzip member (RFC 1952 section 2.2) or zstd frame."""
    if coding == "zstd":
        return data[:2] == b"\x28\xb5" or (0x50 <= data[0] <= 0x5F and data[1] == 0x2A)
    return coding != "deflate" and data[:2] == b"\x1f\x8b"


def _decoder(coding: str, data: bytes) -> Any:
    """Return a new decoder of zlib, zstandard or brotli for a stream that begins with these bytes."""
    if coding == "br":
        return import_module("brotli").Decompressor()
    if coding == "zstd":
        import zstandard

        return zstandard.ZstdDecompressor(max_window_size=limits.ZSTD_WINDOW.value).decompressobj()
    if coding != "deflate":
        return zlib.decompressobj(47)
    # the zlib header of RFC 1950 section 2.2
    has_header = data[0] & 15 == 8 and (data[0] << 8 | data[1]) % 31 == 0
    return zlib.decompressobj(zlib.MAX_WBITS if has_header else -zlib.MAX_WBITS)
