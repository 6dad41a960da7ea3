"""Format numbers for people, and escape control characters in text from captures."""

from __future__ import annotations

import math

from wiredoctor.findings import shorten
from wiredoctor.text.durations import SECOND, duration_text
from wiredoctor.text.phrases import join_words

__all__ = ["PROTOCOL_NAMES", "SECOND", "clean", "count", "duration", "duration_or_dash", "join_words", "part_of", "scale"]
__all__ += ["shorten", "size"]

PROTOCOL_NAMES = {"none": "no data", "http": "HTTP", "tls": "TLS", "http2": "HTTP/2", "unknown": "another protocol"}
"""The words for the values of tables.PROTOCOLS."""


def clean(text: str) -> str:
    r"""Escape text for terminals: control characters, format characters and lone surrogates become \xNN or \uNNNN."""
    if text.isprintable():
        return text
    return "".join(ch if ch.isprintable() else _escape(ord(ch)) for ch in text)


def _escape(code: int) -> str:
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def duration(seconds: float, space: str = " ") -> str:
    """Format seconds with three digits: "44.1 ms", "7.9 s", "3 min 20 s"; `space` goes between number and unit."""
    return duration_text(round(seconds * SECOND), space)


def duration_or_dash(seconds: float | None) -> str:
    """Format seconds as `duration` does; "-" stands for None."""
    return "-" if seconds is None else duration(seconds)


def _three_digits(number: float) -> str:
    """Format a number with three significant digits and no trailing zeros: 1.23, 12.3, 123 (999.6 becomes 1000)."""
    digits = 0 if number >= 99.95 else 1 if number >= 9.995 else 2
    text = f"{number:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def size(number: int, space: str = " ") -> str:
    """Format bytes with three digits: "512 B", "1.46 kB", "34 MB" (1 kB = 1000 B)."""
    if number < 1000:
        return f"{number}{space}B"
    value = float(number)
    for unit in ("kB", "MB", "GB", "TB", "PB", "EB"):
        value /= 1000
        text = _three_digits(value)
        if float(text) < 1000 or unit == "EB":
            return f"{text}{space}{unit}"
    raise AssertionError("unreachable: the last unit fits every size")


def count(number: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun: "1 packet", "1,234 packets"."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def part_of(number: int, whole: int, noun: str) -> str:
    """Return "3 of 5 requests", or "the only request" if `whole` is 1."""
    return f"the only {noun}" if number == whole == 1 else f"{number:,} of {count(whole, noun)}"


def scale(length: float, longest: float, width: int) -> int:
    """Return the length in characters of a bar for `length`, if a bar for `longest` has `width` characters."""
    if not math.isfinite(length) or length <= 0 or longest <= 0:
        return 0
    return min(width, round(length / longest * width))
