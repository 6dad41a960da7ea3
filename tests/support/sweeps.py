"""Which of many cases a quick run tries: the others are marked slow, and only a run with the slow tests tries them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import settings

SLOW = pytest.mark.slow
DEFAULT_EXAMPLES = 100
"""What hypothesis tries where neither a test nor a profile says how many."""


def sweep(values: Iterable[Any], is_quick: Callable[[Any], bool]) -> list[Any]:
    """Return all `values` as parameters of a test, those that are not quick marked slow; a tuple is several parameters."""
    cases = ((value, value if isinstance(value, tuple) else (value,)) for value in values)
    return [pytest.param(*parameters, marks=quick_if(is_quick(value))) for value, parameters in cases]


def examples(number: int) -> int:
    """Return how many examples hypothesis tries: a quick run a quarter of the `number`, any other run all."""
    return max(number * settings().max_examples // DEFAULT_EXAMPLES, 1)


def quick_if(quick: bool) -> list[pytest.MarkDecorator]:
    """Return the marks of a case."""
    return [] if quick else [SLOW]
