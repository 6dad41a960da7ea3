"""Which of many cases a quick run tries: the others are marked slow, and only a run with the slow tests tries them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest
from hypothesis import settings

SLOW = pytest.mark.slow
DEFAULT_EXAMPLES = 100
"""What hypothesis tries where neither a test nor a profile says how many."""


def sweep(values: Iterable[Any], is_quick: Callable[[Any], bool]) -> list[Any]:
    """Return all `values` as parameters of a test, those that are not quick marked slow; a tuple is several parameters."""
    return [pytest.param(*_as_tuple(value), marks=quick_if(is_quick(value))) for value in values]


def in_turn(cases: Iterable[Any], values: Sequence[Any]) -> list[Any]:
    """Return each of the `cases` with each of the `values` as parameters: a quick run tries a case with one value, in turn."""
    return [
        pytest.param(*_as_tuple(case), *_as_tuple(value), marks=quick_if(number % len(values) == place))
        for number, case in enumerate(cases)
        for place, value in enumerate(values)
    ]


def _as_tuple(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def examples(number: int) -> int:
    """Return how many examples hypothesis tries: a quick run a quarter of the `number`, any other run all."""
    return max(number * settings().max_examples // DEFAULT_EXAMPLES, 1)


def quick_if(quick: bool) -> list[pytest.MarkDecorator]:
    """Return the marks of a case."""
    return [] if quick else [SLOW]
