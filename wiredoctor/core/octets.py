"""Read numbers from packets, and write them into rows.

mypyc compiles each call of a function of this module to a few machine instructions, because it knows the functions of librt by
name. Interpreted code calls librt, or octets_python.py if librt is not installed.
"""

from __future__ import annotations

try:
    from librt.strings import BytesWriter, read_i16_be, read_i32_be, read_i32_le, read_i64_be, read_i64_le, write_i64_le
except ImportError:
    from wiredoctor.core.octets_python import (
        BytesWriter,
        read_i16_be,
        read_i32_be,
        read_i32_le,
        read_i64_be,
        read_i64_le,
        write_i64_le,
    )

__all__ = ["BytesWriter", "read_i16_be", "read_i32_be", "read_i32_le", "read_i64_be", "read_i64_le", "write_i64_le"]
