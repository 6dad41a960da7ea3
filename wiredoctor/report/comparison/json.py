"""Write a comparison as JSON, schema_version 1 (see docs/pages/compare.md)."""

from __future__ import annotations

import math
from dataclasses import fields, is_dataclass
from typing import Any, cast

from wiredoctor.report.data.json import ascii_text
from wiredoctor.report.data.json_keys import SCHEMA_VERSION
from wiredoctor.report.row_order import Sink


def write(comparison: Any, kind: str, out: Sink) -> None:
    """Write a comparison as one JSON object, with a line for each element of a list."""
    values = cast("dict[str, Any]", _plain(comparison))
    head = {
        "schema_version": SCHEMA_VERSION,
        "tool": {"name": "wiredoctor", "version": values.pop("version")},
        "comparison": kind,
    }
    lead = "{"
    for name, value in (head | values).items():
        out.write(f'{lead}"{name}": '.encode())
        _write(value, out)
        lead = ",\n "
    out.write(b"}\n")


def _write(value: Any, out: Sink) -> None:
    if not isinstance(value, list) or not value:
        out.write(ascii_text(value).encode())
        return
    lead = b"[\n  "
    for element in cast("list[Any]", value):
        out.write(lead + ascii_text(element).encode())
        lead = b",\n  "
    out.write(b"\n ]")


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value) if not f.metadata.get("private")}
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in cast("dict[Any, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in cast("list[Any]", value)]
    if isinstance(value, float):
        return round(value, 9) if math.isfinite(value) and abs(value) > 1e-6 else value if math.isfinite(value) else None
    return value
