"""Mark which of many cases a run tries; `tests.support.thinning` chooses by these marks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest
from hypothesis import settings

SLOW = pytest.mark.slow
"""Only a slow run tries the case."""
WHOLE = pytest.mark.whole
"""A quick run tries all cases of the test, not every eighth."""
FORMS = pytest.mark.forms
"""The slow cases of the test repeat one input in another form, so consecutive slow runs take turns with them."""
NIGHTLY = pytest.mark.nightly
"""Only the nightly run tries the case, which is slow."""
DEFAULT_EXAMPLES = 100
"""What hypothesis tries where neither a test nor a profile says how many."""


def sweep(
    values: Iterable[Any], is_quick: Callable[[Any], bool], is_nightly: Callable[[Any], bool] = lambda value: False
) -> list[Any]:
    """Return all `values` as parameters of a test, those that are not quick marked slow; a tuple is several parameters.

    Those that are nightly and not quick are left to the nightly run.
    """
    return [pytest.param(*_as_tuple(value), marks=quick_if(is_quick(value), is_nightly(value))) for value in values]


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
    """Return how many examples hypothesis tries: a quick run a tenth of the `number`, any other run all."""
    return max(number * settings().max_examples // DEFAULT_EXAMPLES, 1)


def quick_if(quick: bool, nightly: bool = False) -> list[pytest.MarkDecorator]:
    """Return the marks of a case."""
    return [] if quick else [SLOW, NIGHTLY] if nightly else [SLOW]
