"""A rule as the engine sees it: its declaration, its functions, and the package that it comes from."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import polars as pl

from wiredoctor.findings import Rule, Threshold, printable
from wiredoctor.world import Index, World

Find = Callable[..., pl.LazyFrame]
MayMatch = Callable[[], "pl.Expr | Mapping[str, pl.Expr]"]
"""Returns a cheap expression on the first table that `find` reads, or one expression for each of several tables.

If `find` returns a row, one of the expressions is true for at least one row of its table.
"""
Group = Callable[[pl.DataFrame, World], pl.DataFrame]
"""Makes candidates of rows that `find` returned: one of several rows, or none until a later row shows more.

It is called where `decide` would be: without ASKS batch by batch, with ASKS for all rows together.
"""
Decide = Callable[[Any, World], Any]
"""Decides a candidate: (facts, world) -> the facts, changed where the decision changes them; None if it is no problem; or Wait.

The facts are an instance of the rule's NamedTuple `Facts`. Which of world's indexes it asks for is declared by the rule's ASKS.
Without ASKS, candidates are decided batch by batch, in the order of their frames. Wait may only be returned if
`world.may_change` is true.
"""
Words = Callable[[Any], dict[str, Any]]
"""Returns the words of a finding for the facts of its candidate, an instance of the rule's NamedTuple `Facts`.

The keys are `evidence` (a list of rules.shared.words.Packet), the names in the rule's templates that are not columns of the
candidates, and, if they are needed, `origin`, `title`, `message` and `addition`. It is called only for what is reported.
"""
DeclareCutoffs = Callable[[], Mapping[str, int]]
"""Returns the fields of cutoffs.Cutoffs that the rule needs, with values derived from its configured thresholds."""

ABOUT_CAPTURE = "capture"
"""The family of rules about the capture itself, which read all of its packets."""

log = logging.getLogger("wiredoctor")


@dataclass(eq=False, repr=False)
class Plugin:
    """The package of a rule, and the reason why the rule was disabled; the reason is empty while the rule runs."""

    package: str
    failed: str = ""

    def fail(self, rule: str, error: Exception | str) -> None:
        """Disable the rule, and report the reason in one line in the log `wiredoctor`."""
        # the other lines of an error may be a complete query of Polars
        first = printable(" ".join(str(error).strip().partition("\n")[0].split()))[:300]
        self.failed = f"{type(error).__name__}: {first}" if isinstance(error, Exception) else first
        log.error("rule %s of %s is left out: %s", rule, self.package, self.failed)


class RuleModule(NamedTuple):
    """A rule with its functions. Its name and family come from the path of its file, everything else from the file."""

    name: str
    family: str
    rule: Rule
    docstring: str
    thresholds: Mapping[str, Threshold]
    find: Find
    tables: tuple[str, ...]
    may_match: MayMatch | None = None
    cutoffs: DeclareCutoffs | None = None
    plugin: Plugin | None = None
    group: Group | None = None
    decide: Decide | None = None
    asks: tuple[type[Index], ...] = ()
    """The indexes of the world that `decide` asks for (ASKS in the rule file)."""
    order: tuple[str, ...] = ()
    """The facts by which candidates are ordered when they are decided (ORDER in the rule file); needed if the order matters."""
    words: Words | None = None
    facts: Callable[[Iterable[Any]], Any] | None = None
    """Makes an instance of the rule's `Facts` from the values of `fact_names`."""
    fact_names: tuple[str, ...] = ()

    def words_of(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the words for a candidate; `values` has the columns `fact_names`, durations as integers (ns)."""
        if self.words is None or self.facts is None:
            return {}
        return self.words(self.facts(map(values.__getitem__, self.fact_names)))

    @property
    def doc(self) -> str:
        """The manual page: the module's docstring without its indentation."""
        return inspect.cleandoc(self.docstring)

    @property
    def is_about_capture(self) -> bool:
        """True if the rule is about the capture itself, and not about the traffic in it."""
        return self.family == ABOUT_CAPTURE

    @property
    def is_held(self) -> bool:
        """True if a live capture holds the candidates until what comes soon after a close is known."""
        return any(index.HELD for index in self.asks)

    @property
    def source(self) -> str:
        """The name of the package that contains the rule."""
        return self.plugin.package if self.plugin else "wiredoctor"
