"""What a rule remembers between batches, with a bound."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

V = TypeVar("V")


class Recent(Generic[V]):
    """Key -> value for the `limit` keys used last; the least recently used is forgotten.

    Used in the order of frames, what it holds does not depend on where batches end.
    """

    def __init__(self, new: Callable[[], V], limit: int) -> None:
        self._new = new
        self._limit = limit
        self._values: OrderedDict[Hashable, V] = OrderedDict()

    def __getitem__(self, key: Hashable) -> V:
        """The value of this key, a new one where it is not known."""
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
