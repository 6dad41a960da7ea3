"""Bound the memory of a rule: its state between batches, and what it computes about its candidates."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

V = TypeVar("V")


class BoundedMap(Generic[V]):
    """A map of the `limit` most recently used keys; the least recently used key is dropped.

    If rows are processed in frame order, the contents do not depend on where batches end.
    """

    def __init__(self, new: Callable[[], V], limit: int) -> None:
        self._new = new
        self._limit = limit
        self._values: OrderedDict[Hashable, V] = OrderedDict()

    def __getitem__(self, key: Hashable) -> V:
        """Return the value of this key; create it if the key is unknown."""
        value = self._values.get(key)
        if value is None:
            value = self._values[key] = self._new()
            if len(self._values) > self._limit:
                self._values.popitem(last=False)
        else:
            self._values.move_to_end(key)
        return value

    def __len__(self) -> int:
        return len(self._values)
