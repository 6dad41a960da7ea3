"""Numbers and foreign text as people can read them, safely: nothing here lets a control character through."""

from __future__ import annotations

import math

from wiredoctor.findings import shorten
from wiredoctor.text.durations import duration_text

__all__ = ["NANOSECONDS", "clean", "count", "duration", "scale", "shorten", "size"]

NANOSECONDS = 1_000_000_000
"""In a second."""


def clean(text: str) -> str:
    r"""Text that a terminal shows and never obeys: controls, formatting signs and lone surrogates become \xNN or \uNNNN."""
    if text.isprintable():
        return text
    return "".join(ch if ch.isprintable() else _escape(ord(ch)) for ch in text)


def _escape(code: int) -> str:
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def duration(seconds: float, space: str = " ") -> str:
    """Seconds to three digits: "44.1 ms", "7.9 s", "3 min 20 s"; `space` stands between number and unit."""
    return duration_text(round(seconds * NANOSECONDS), space)


def _three_digits(number: float) -> str:
    """1.23, 12.3, 123: three significant digits without trailing zeros (999.6 becomes 1000)."""
    digits = 0 if number >= 99.95 else 1 if number >= 9.995 else 2
    text = f"{number:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def size(number: int, space: str = " ") -> str:
    """Bytes to three digits: "512 B", "1.46 kB", "34 MB" (1 kB = 1000 B)."""
    if number < 1000:
        return f"{number}{space}B"
    value = float(number)
    for unit in ("kB", "MB", "GB", "TB", "PB", "EB"):
        value /= 1000
        text = _three_digits(value)
        if float(text) < 1000 or unit == "EB":
            return f"{text}{space}{unit}"
    raise AssertionError("unreachable: every size has a unit")


def count(number: int, noun: str, plural: str = "") -> str:
    """ "1 packet", "1,234 packets"."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def scale(length: float, longest: float, width: int) -> int:
    """Characters of a bar: `longest` fills `width`; what is longer than nothing and shorter than one stays 0."""
    if not math.isfinite(length) or length <= 0 or longest <= 0:
        return 0
    return min(width, round(length / longest * width))
