"""Choose which cases of a test a run tries.

A quick run tries every eighth of the cases that are not marked `slow`: they are much alike. With `--turn`, a slow run tries a
sixth of the others, a sixteenth of the slow cases marked `forms`, which repeat one input in another form, and none of those
marked `nightly`. Any other run tries all.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from zlib import crc32

import pytest

QUICK = "not slow"
"""The default of `-m`, in pyproject.toml."""

EIGHTH = 8
THINNED = pytest.mark.slow(thinned=True)
"""The mark of a case that is slow only because a quick run tries an eighth."""
PARTS = 16
"""Runs with consecutive numbers that together try all forms."""
PARTS_OF_ALIKE = 6
"""Runs with consecutive numbers that together try all cases that a quick run leaves out as too much alike."""


def add_option(parser: pytest.Parser) -> None:
    """Add the option that lets consecutive runs take turns."""
    parser.addoption(
        "--turn",
        type=int,
        metavar="NUMBER",
        help=f"try one of {PARTS} parts of the slow cases that repeat one input in another form, one of {PARTS_OF_ALIKE} parts "
        "of those that a quick run leaves out as too much alike, and no nightly cases; consecutive numbers try all parts",
    )


@dataclass(frozen=True)
class Extent:
    """What a run tries: quick cases only, the part whose turn it is, and the tests that were named in any case."""

    quick: bool
    turn: int | None = None
    named: frozenset[str] = field(default_factory=frozenset[str])

    @classmethod
    def of(cls, config: pytest.Config) -> Extent:
        """Return the extent that the command line asks for."""
        named = frozenset(name for name in config.args if "::" in name)
        return cls(config.option.markexpr == QUICK, config.option.turn, named)

    def is_named(self, item: pytest.Item) -> bool:
        """Return whether the command line names this case or its test."""
        return not self.named.isdisjoint((item.nodeid, _test(item)))

    def choose(self, cases: list[pytest.Item]) -> list[pytest.Item]:
        """Return the cases of one test that this run tries; mark those slow that a quick run leaves out."""
        slow = [case for case in cases if case.get_closest_marker("slow")]
        alike = [case for case in cases if not case.get_closest_marker("slow") and _is_alike(case)]
        thinned = [case for number, case in enumerate(alike) if number % EIGHTH]
        for case in thinned:
            case.add_marker(THINNED)
        left_out = {*slow, *thinned} if self.quick else self._left_out(slow, thinned)
        return [case for case in cases if case not in left_out or self.is_named(case)]

    def _left_out(self, slow: list[pytest.Item], thinned: list[pytest.Item]) -> set[pytest.Item]:
        """Return which of the slow cases and of the thinned ones of one test a run with slow cases leaves out.

        The part of a case follows from its place in its test: so all parts are equally large, and all workers of xdist agree. The
        name of the test decides only with which part it begins.
        """
        if self.turn is None:
            return set()
        forms = [case for case in slow if case.get_closest_marker("forms")]
        others = {*self._others(forms, PARTS), *self._others(thinned, PARTS_OF_ALIKE)}
        return others.union(case for case in slow if case.get_closest_marker("nightly"))

    def _others(self, cases: list[pytest.Item], parts: int) -> list[pytest.Item]:
        """Return the cases of one test whose part is not the one whose turn it is."""
        turn = self.turn or 0
        return [case for number, case in enumerate(cases) if (number + crc32(_test(case).encode()) - turn) % parts]

    def describe(self) -> str:
        """Return the line at the end of a run that says what it left out; empty if nothing."""
        if self.quick:
            return "" if self.named else "These were the quick tests. The slow ones: python -m pytest -n auto -m slow"
        if self.turn is None:
            return ""
        return (
            f"Of the cases that repeat one input in another form, these were part {self.turn % PARTS + 1} of {PARTS}, of those "
            f"that are much alike part {self.turn % PARTS_OF_ALIKE + 1} of {PARTS_OF_ALIKE}, and none were nightly cases. All of "
            "them: without --turn"
        )


def _is_alike(case: pytest.Item) -> bool:
    return hasattr(case, "callspec") and not case.get_closest_marker("whole")


def _test(item: pytest.Item) -> str:
    return item.nodeid.partition("[")[0]
