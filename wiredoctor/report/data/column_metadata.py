"""Attach unit and meaning to the columns of a Parquet file, as metadata of its Arrow fields."""

from __future__ import annotations

import ctypes
import inspect
import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    from wiredoctor.tables import Column

_CAPSULE = b"arrow_schema"
_LARGE_STRING = ctypes.create_string_buffer(b"U")


class _ArrowSchema(ctypes.Structure):
    """The struct ArrowSchema of the Arrow C data interface (arrow.apache.org/docs/format/CDataInterface.html)."""


_ArrowSchema._fields_ = [
    ("format", ctypes.c_void_p),
    ("name", ctypes.c_char_p),
    ("metadata", ctypes.c_void_p),
    ("flags", ctypes.c_int64),
    ("n_children", ctypes.c_int64),
    ("children", ctypes.POINTER(ctypes.POINTER(_ArrowSchema))),
    ("dictionary", ctypes.c_void_p),
    ("release", ctypes.c_void_p),
    ("private_data", ctypes.c_void_p),
]


class SchemaWithMetadata:
    """The schema of a frame, for Polars, with metadata of its fields."""

    def __init__(self, schema: pl.Schema, metadata: Mapping[str, Mapping[str, str]]) -> None:
        self._schema = schema
        self._encoded = {name: ctypes.create_string_buffer(_encode(texts)) for name, texts in metadata.items()}

    def __arrow_c_schema__(self) -> object:
        """Return the schema as Polars exports it, with pointers to the metadata, which this object owns."""
        capsule = self._schema.__arrow_c_schema__()
        pointer = ctypes.pythonapi.PyCapsule_GetPointer
        pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
        root = _ArrowSchema.from_address(pointer(capsule, _CAPSULE))
        for field in _children(root):
            field.metadata = ctypes.addressof(self._encoded[field.name.decode()])
            _use_large_strings(field)
        return capsule


def _children(schema: _ArrowSchema) -> list[_ArrowSchema]:
    return [schema.children[number].contents for number in range(schema.n_children)]


def _use_large_strings(field: _ArrowSchema) -> None:
    """Replace the type of strings: Polars exports string views, which older readers of Parquet files do not know."""
    if ctypes.string_at(field.format) == b"vu":
        field.format = ctypes.addressof(_LARGE_STRING)
    for child in _children(field):
        _use_large_strings(child)


def _encode(texts: Mapping[str, str]) -> bytes:
    """Encode keys and values as the Arrow C data interface does: native 32-bit numbers and lengths."""
    parts = [struct.pack("=i", len(texts))]
    for text in (one for pair in texts.items() for one in pair):
        data = text.encode()
        parts += [struct.pack("=i", len(data)), data]
    return b"".join(parts)


def field_metadata(schema: pl.Schema, columns: list[Column]) -> dict[str, Any]:
    """Return the argument of `sink_parquet` that stores unit and meaning of each column; none if Polars is too old for it."""
    if not _has_arrow_schema():
        return {}
    texts = {c.name: {**({"unit": c.unit} if c.unit else {}), "description": c.meaning} for c in columns}
    return {"arrow_schema": SchemaWithMetadata(schema, texts)}


def _has_arrow_schema() -> bool:
    """Return whether Polars can export a schema and write one with metadata."""
    return "arrow_schema" in inspect.signature(pl.LazyFrame.sink_parquet).parameters and hasattr(pl.Schema, "__arrow_c_schema__")
