"""How much is tried where there is more than a test run has time for: a part that holds each kind, or all.

The part is what everybody runs. `WIREDOCTOR_SWEEPS=full python -m pytest -n auto` runs all, which takes about twice as long:
before a release, and after a change of what all rules stand on.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

FULL = os.environ.get("WIREDOCTOR_SWEEPS") == "full"


def some(part: Sequence[T], whole: Sequence[T]) -> Sequence[T]:
    """What is tried: this part, or the whole when it is asked for."""
    return whole if FULL else part
