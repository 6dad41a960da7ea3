"""How payload bytes are looked at: by place, or as slices of the capture."""

from __future__ import annotations

from typing import Protocol

FIRST_LOOK = 2048
"""Bytes read in search of a head's end; more are read only when it is not there."""


class SupportsSlices(Protocol):
    """A capture file as a whole: slices are bytes, empty where there is no file (the scratch buffer)."""

    def __getitem__(self, where: slice, /) -> bytes: ...


class Payload(Protocol):
    """Payload bytes: by their place (packets.payload) and length, or as slices of the file."""

    @property
    def file(self) -> SupportsSlices: ...

    def __call__(self, at: int, length: int, /) -> bytes: ...
