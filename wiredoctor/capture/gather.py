"""Fixed-size pieces of a file, gathered from many offsets at once."""

from __future__ import annotations

import numpy as np

from wiredoctor.tables import Array


def gather(data: Array, offsets: Array, dtype: np.dtype[np.void]) -> Array:
    """The structs of this layout at these offsets of `data` (uint8), which must all lie within it."""
    if not len(offsets):
        return np.empty(0, dtype)
    # One overlapping struct per byte of the file: indexing it copies each header in one piece.
    windows: Array = np.ndarray((data.size - dtype.itemsize + 1,), f"V{dtype.itemsize}", data, strides=(1,))
    return windows[offsets].view(dtype)
