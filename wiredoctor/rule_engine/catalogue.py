"""Finding the rules: every file rules/<family>/<name>.py is one, by being there; so is an entry point `wiredoctor.rules`."""

from __future__ import annotations

import difflib
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, partial
from types import FunctionType, ModuleType
from typing import Any, NamedTuple, cast

import polars as pl

import wiredoctor.rules
from wiredoctor.cutoffs import Cutoffs, least_demanding
from wiredoctor.findings import Rule, Threshold
from wiredoctor.rule_engine.plugins import Plugin, added, at_work, guarded
from wiredoctor.tables import EVENT_TABLES, RULE_TABLES

Find = Callable[..., pl.LazyFrame]
Screen = Callable[[], "pl.Expr | Mapping[str, pl.Expr]"]
"""A cheap expression over the first table: true on some row wherever `find` has a row."""
Judge = Callable[[pl.DataFrame, Any], tuple[pl.DataFrame, Any]]
Conclude = Callable[[pl.DataFrame, pl.LazyFrame, pl.LazyFrame], pl.DataFrame]
"""What other connections add: candidates, all `connections`, all `exchanges` -> candidates."""
JudgeAll = Callable[[pl.DataFrame], pl.DataFrame]
"""What a rule about events says at the end, of all that it found, in place of what `judge` says as they come."""
ByLimits = Callable[..., pl.DataFrame]
"""What the closes of the servers add: candidates, a rests.Rests, `live` (only what is known soon after each) -> candidates. Rules
that have it ask for the column `endpoint`; of a connection also `final_at`."""
ByClients = Callable[..., pl.DataFrame]
"""What the clients did elsewhere adds: candidates, a same_client.Clients -> candidates. Rules that have it ask for the columns
`ended_at` (ns: around which), `waited` (ns) and `due` (ns: when all that counts has happened); where what has begun by then may
still change a candidate, they add `pending_until` (ns; null: no more)."""
DeclareCutoffs = Callable[[], Mapping[str, int]]
"""Fields of cutoffs.Cutoffs with the values that the rule needs, as it is configured."""

HEADINGS = ("What it means", "Why it hurts", "How it is proved", "What it is not", "What to do", "References")
"""The headings of a rule's manual page, in this order, each on a line of its own."""


class RuleError(ValueError):
    """A rule file lacks what a rule has; the text says which file and what, in one line."""


class RuleModule(NamedTuple):
    """A rule as it was found: its names come from its path, the rest from the file."""

    name: str
    family: str
    rule: Rule
    doc: str
    thresholds: Mapping[str, Threshold]
    find: Find
    judge: Judge | None
    tables: tuple[str, ...]
    screen: Screen | None = None
    cutoffs: DeclareCutoffs | None = None
    plugin: Plugin | None = None
    conclude: Conclude | None = None
    judge_all: JudgeAll | None = None
    by_limits: ByLimits | None = None
    by_clients: ByClients | None = None

    @property
    def source(self) -> str:
        """The package that it comes from."""
        return self.plugin.package if self.plugin else "wiredoctor"


@cache
def catalogue() -> dict[str, RuleModule]:
    """Every rule there is, by name, in the order of families and names; then those of other packages, by name.

    One of another package that cannot be used is reported by a line on the log `wiredoctor` and left out.
    """
    own = [_load(path) for path in sorted(_own_paths())]
    return {m.name: m for m in [*own, *added(_load, own)]}


def _own_paths() -> list[str]:
    """Dotted paths of the rule files below wiredoctor.rules."""
    package = wiredoctor.rules
    return [
        f"{package.__name__}.{family.name}.{rule.name}"
        for family in pkgutil.iter_modules(package.__path__)
        if family.ispkg and family.name != "shared"
        for rule in pkgutil.iter_modules([f"{folder}/{family.name}" for folder in package.__path__])
        if not rule.ispkg
    ]


def _load(path: str) -> RuleModule:
    """A rule file -> its RuleModule; raises RuleError where it is none, and whatever importing it raises."""
    return _describe(importlib.import_module(path))


def _describe(module: ModuleType) -> RuleModule:
    *_, family, name = ("", "other", *module.__name__.split("."))
    rule: Any = getattr(module, "RULE", None)
    find: Any = getattr(module, "find", None)
    if not isinstance(rule, Rule) or not isinstance(find, FunctionType):
        raise RuleError(f"{module.__name__} has no RULE, or no function find")
    tables = find.__code__.co_varnames[: find.__code__.co_argcount]
    unknown = [t for t in tables if t not in RULE_TABLES]
    if unknown or not tables:
        raise RuleError(
            f"{module.__name__}: find asks for {', '.join(unknown) or 'nothing'}; tables are {', '.join(RULE_TABLES)}"
        )
    declare = getattr(module, "cutoffs", None)
    if declare is None and (events := EVENT_TABLES.keys() & set(tables)):
        raise RuleError(f"{module.__name__}: find asks for {', '.join(sorted(events))}, and there is no function cutoffs")
    return RuleModule(
        name=name.replace("_", "-"),
        family=family.replace("_", "-"),
        rule=rule,
        doc=inspect.cleandoc(module.__doc__ or ""),
        thresholds={n: t for n, t in vars(module).items() if isinstance(t, Threshold)},
        find=cast(Find, find),
        judge=getattr(module, "judge", None),
        tables=tables,
        screen=getattr(module, "screen", None),
        cutoffs=declare,
        conclude=getattr(module, "conclude", None),
        judge_all=getattr(module, "judge_all", None),
        by_limits=getattr(module, "by_limits", None),
        by_clients=getattr(module, "by_clients", None),
    )


def select(modules: Mapping[str, RuleModule], select: Sequence[str] = (), ignore: Sequence[str] = ()) -> dict[str, RuleModule]:
    """The rules that `select` names (all without it) and `ignore` does not, each by rule or by family.

    Raises ValueError with a line for the user when a name is neither.
    """
    chosen, ignored = _named(modules, select), _named(modules, ignore)
    return {n: m for n, m in modules.items() if (not select or n in chosen) and n not in ignored}


def _named(modules: Mapping[str, RuleModule], names: Sequence[str]) -> set[str]:
    families = {m.family for m in modules.values()}
    found: set[str] = set()
    for name in names:
        if name not in modules and name not in families:
            close = difflib.get_close_matches(name, [*modules, *families], n=1, cutoff=0.5)
            hint = f"; did you mean {close[0]}?" if close else "; `wiredoctor rules` lists them"
            raise ValueError(f"no rule or family is called {name!r}{hint}")
        found |= {n for n, m in modules.items() if name in (n, m.family)}
    return found


def set_thresholds(modules: Mapping[str, RuleModule], wanted: Mapping[str, Mapping[str, str | int]]) -> dict[int, str]:
    """What `findings.configured` takes: thresholds by rule and name, as a user writes them ("min-ack-delay": "40 ms").

    Raises ValueError with a line for the user when a rule, a name or a value is wrong.
    """
    texts: dict[int, str] = {}
    for rule, values in wanted.items():
        if rule not in modules:
            raise ValueError(f"thresholds.{rule}: no rule is called {rule!r}{_close(rule, modules)}")
        known = {threshold_name(n): t for n, t in modules[rule].thresholds.items()}
        for name, value in values.items():
            threshold = known.get(threshold_name(name))
            if threshold is None:
                raise ValueError(f"thresholds.{rule}.{name}: no such threshold{_close(name, known)}")
            try:
                texts[id(threshold)] = threshold.parse(str(value))
            except ValueError as error:
                raise ValueError(f"thresholds.{rule}.{name}: {error}") from None
    return texts


def cutoffs(modules: Mapping[str, RuleModule]) -> Cutoffs:
    """Return the least demanding of the cutoffs that these rules declare, with their thresholds as they are configured now.

    A rule that reads `segments` gets them with everything that their columns describe.
    """
    found = least_demanding([guarded(m, partial(_declared, m)) or {} for m in at_work(modules.values()) if m.cutoffs])
    return found.of_all_segments() if any("segments" in m.tables for m in modules.values()) else found


def _declared(module: RuleModule) -> Mapping[str, int]:
    assert module.cutoffs is not None
    declared = module.cutoffs()
    Cutoffs().widened([declared])  # a field that does not exist, or a value that is no number, is an error of this rule
    return declared


def threshold_name(constant: str) -> str:
    """MIN_ACK_DELAY -> min-ack-delay, as it is written in a configuration."""
    return constant.lower().replace("_", "-")


def _close(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, [*known], n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else ""


def with_causes(modules: Mapping[str, RuleModule], everything: Mapping[str, RuleModule]) -> dict[str, RuleModule]:
    """`modules` and all that may explain their candidates away: these must run too, so that what is selected
    changes what is reported and nothing else."""
    needed = dict(modules)
    waiting = list(modules.values())
    while waiting:
        for name, _ in waiting.pop().rule.explained_by:
            named = name.partition("/")[0]
            causes = [m for m in everything.values() if named in (m.name, m.family) and m.name not in needed]
            needed |= {m.name: m for m in causes}
            waiting += causes
    return {n: m for n, m in everything.items() if n in needed}
