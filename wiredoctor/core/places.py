"""Bytes of the capture that are not in hand any more."""

from __future__ import annotations

from mypy_extensions import i64, mypyc_attr


@mypyc_attr(allow_interpreted_subclasses=True)
class Places:
    """Reads bytes of the capture by their place, as in Packet.place."""

    def read(self, place: i64, length: i64) -> bytes:
        """Return these bytes; fewer if the capture does not have them any more."""
        raise NotImplementedError(place, length)
