"""Read bytes of the capture that are no longer in the current block."""

from __future__ import annotations

from mypy_extensions import i64, mypyc_attr


@mypyc_attr(allow_interpreted_subclasses=True)
class Places:
    """Reads bytes of the capture by position, as in Packet.block_place."""

    def read(self, place: i64, length: i64) -> bytes:
        """Return `length` bytes at a position, or fewer if the capture no longer has them."""
        raise NotImplementedError(place, length)
