"""Find, select and configure the rules: files rules/<family>/<name>.py, and entry points in the group `wiredoctor.rules`."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import cache, partial
from types import FunctionType, ModuleType
from typing import Any, NamedTuple, cast

import wiredoctor.rules
from wiredoctor.findings import Rule, Threshold, ThresholdKey, configured, threshold_name
from wiredoctor.rule_engine.cutoffs import Cutoffs, least_demanding
from wiredoctor.rule_engine.plugins import enabled, plugin_rules, run_guarded
from wiredoctor.rule_engine.rule_module import Find, RuleModule
from wiredoctor.settings import Settings
from wiredoctor.tables import EVENT_TABLES, RULE_TABLES
from wiredoctor.text.suggestion import suggestion

HEADINGS = ("What it means", "Why it hurts", "How it is proved", "What it is not", "What to do", "References")
"""The headings of a rule's manual page, in order; each is on its own line."""


class RuleError(ValueError):
    """A rule file is incomplete or invalid. The one-line text names the file and the reason."""


@cache
def catalogue() -> dict[str, RuleModule]:
    """Return all rules by name: wiredoctor's own, ordered by family and name, then those of other packages.

    A rule of another package that cannot be used is omitted and reported in the log `wiredoctor`.
    """
    own = [_load(path) for path in sorted(_own_paths())]
    return {m.name: m for m in [*own, *plugin_rules(_load, own)]}


def _own_paths() -> list[str]:
    """Return the dotted module paths of the rule files below wiredoctor.rules."""
    package = wiredoctor.rules
    return [
        f"{package.__name__}.{family.name}.{rule.name}"
        for family in pkgutil.iter_modules(package.__path__)
        if family.ispkg and family.name != "shared"
        for rule in pkgutil.iter_modules([f"{folder}/{family.name}" for folder in package.__path__])
        if not rule.ispkg
    ]


def _load(path: str) -> RuleModule:
    """Load a rule file. Raise RuleError if it is not a valid rule. Exceptions from importing it propagate."""
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
            f"{module.__name__}: find requests {', '.join(unknown) or 'no table'}; the tables are {', '.join(RULE_TABLES)}"
        )
    declare = getattr(module, "cutoffs", None)
    if declare is None and (events := EVENT_TABLES.keys() & set(tables)):
        raise RuleError(f"{module.__name__}: find requests {', '.join(sorted(events))}, but the module has no function cutoffs")
    name = name.replace("_", "-")
    shared: Sequence[ModuleType] = getattr(module, "SHARED_THRESHOLDS", ())  # define thresholds for this rule, too
    thresholds = {n: t for part in (module, *shared) for n, t in vars(part).items() if isinstance(t, Threshold)}
    for constant, threshold in thresholds.items():
        # a threshold that several rules share belongs to the first of them
        threshold.key = threshold.key or (name, threshold_name(constant))
        if name not in threshold.rules:
            threshold.rules.append(name)
    facts: Any = getattr(module, "Facts", None)
    if facts is None and (reads := [name for name in ("decide", "words") if hasattr(module, name)]):
        raise RuleError(f"{module.__name__} has a function {reads[0]}, but no NamedTuple Facts")
    return RuleModule(
        name=name,
        family=family.replace("_", "-"),
        rule=rule,
        docstring=module.__doc__ or "",
        thresholds=thresholds,
        find=cast(Find, find),
        tables=tables,
        may_match=getattr(module, "may_match", None),
        cutoffs=declare,
        group=getattr(module, "group", None),
        decide=getattr(module, "decide", None),
        asks=getattr(module, "ASKS", ()),
        order=getattr(module, "ORDER", ()),
        words=getattr(module, "words", None),
        facts=facts._make if facts is not None else None,
        fact_names=facts._fields if facts is not None else (),
    )


def select(modules: Mapping[str, RuleModule], select: Sequence[str] = (), ignore: Sequence[str] = ()) -> dict[str, RuleModule]:
    """Return the rules that `select` names by rule or family (all if empty), except those that `ignore` names.

    Raise ValueError with a one-line message if a name is neither a rule nor a family.
    """
    chosen, ignored = _selected_names(modules, select), _selected_names(modules, ignore)
    return {n: m for n, m in modules.items() if (not select or n in chosen) and n not in ignored}


def _selected_names(modules: Mapping[str, RuleModule], names: Sequence[str]) -> set[str]:
    families = {m.family for m in modules.values()}
    found: set[str] = set()
    for name in names:
        if name not in modules and name not in families:
            hint = suggestion(name, {*modules, *families}, "; `wiredoctor rules` lists them")
            raise ValueError(f"no rule or family is called {name!r}{hint}")
        found |= {n for n, m in modules.items() if name in (n, m.family)}
    return found


def set_thresholds(modules: Mapping[str, RuleModule], wanted: Mapping[str, Mapping[str, str | int]]) -> dict[ThresholdKey, str]:
    """Check thresholds from the configuration, and return them as `findings.configured` needs them.

    `wanted`: rule -> name -> value, as users write them ("min-ack-delay": "40 ms"). Raise ValueError with a one-line message if
    a rule, a name or a value is wrong.
    """
    texts: dict[ThresholdKey, str] = {}
    named: dict[ThresholdKey, str] = {}
    for rule, values in wanted.items():
        if rule not in modules:
            raise ValueError(f"thresholds.{rule}: no rule is called {rule!r}{suggestion(rule, modules)}")
        known = {threshold_name(n): t for n, t in modules[rule].thresholds.items()}
        for name, value in values.items():
            threshold = known.get(threshold_name(name))
            if threshold is None or threshold.key is None:
                raise ValueError(f"thresholds.{rule}.{name}: no such threshold{suggestion(name, known)}")
            try:
                text = threshold.parse(str(value))
            except ValueError as error:
                raise ValueError(f"thresholds.{rule}.{name}: {error}") from None
            place = f"thresholds.{rule}.{name}"
            first, other = texts.setdefault(threshold.key, text), named.setdefault(threshold.key, place)
            if first != text:
                raise ValueError(f"{place}: {text}, but {other}, which is the same threshold, is {first}")
    return texts


def cutoffs(modules: Mapping[str, RuleModule]) -> Cutoffs:
    """Return the combined cutoffs of these rules, with their configured thresholds: for each limit, the least strict value.

    If a rule reads the table `segments`, the cutoffs also admit every event for which that table has a column.
    """
    found = least_demanding([run_guarded(m, partial(_declared_cutoffs, m)) or {} for m in enabled(modules.values()) if m.cutoffs])
    return found.of_all_segments() if any("segments" in m.tables for m in modules.values()) else found


def _declared_cutoffs(module: RuleModule) -> Mapping[str, int]:
    assert module.cutoffs is not None
    declared = module.cutoffs()
    Cutoffs().widened([declared])  # an unknown field, or a value that is not a number, is an error of this rule
    return declared


def with_causes(modules: Mapping[str, RuleModule], everything: Mapping[str, RuleModule]) -> dict[str, RuleModule]:
    """Return these rules and those in `everything` that may explain their candidates.

    The explaining rules must run too, because a selection of rules must not change what the selected rules report.
    """
    named: dict[str, list[RuleModule]] = {}
    for module in everything.values():
        for name in (module.name, module.family):
            named.setdefault(name, []).append(module)
    needed = dict(modules)
    waiting = list(modules.values())
    while waiting:
        for name, _ in waiting.pop().rule.explained_by:
            causes = [m for m in named.get(name.partition("/")[0], ()) if m.name not in needed]
            needed |= {m.name: m for m in causes}
            waiting += causes
    return {n: m for n, m in everything.items() if n in needed}


class RuleSet(NamedTuple):
    """The selected rules of an analysis. A rule of another package that fails is disabled only for this analysis."""

    everything: Mapping[str, RuleModule]
    """All rules, by name."""
    modules: Mapping[str, RuleModule]
    """The rules that run, by name: the rules in `chosen` and `known`, and those that may explain their candidates."""
    chosen: list[str]
    """The names of the rules whose findings are reported."""
    known: list[str]
    """The names of ignored rules that report failed requests or connections.

    They run although their findings are not reported, because a failure that they explain must not be listed as unexplained.
    """
    thresholds: Mapping[ThresholdKey, str]
    """The configured thresholds as text."""

    def configured(self) -> AbstractContextManager[None]:
        """Return a context manager that applies the configured thresholds in this thread."""
        return configured(self.thresholds)

    def cutoffs(self) -> Cutoffs:
        """Return the combined cutoffs of the rules: for each limit, the least strict value that a rule needs."""
        with self.configured():
            return cutoffs(self.modules)


def load(settings: Settings) -> RuleSet:
    """Load the rules and check them against the settings. Raise ValueError with a one-line message if a setting is wrong."""
    everything = catalogue()
    chosen = select(everything, settings.select, settings.ignore)
    ignored = select(everything, settings.ignore) if settings.ignore else {}
    known = {name: module for name, module in ignored.items() if module.rule.ends}
    modules = {name: _unfailed(module) for name, module in with_causes({**chosen, **known}, everything).items()}
    return RuleSet(everything, modules, list(chosen), list(known), set_thresholds(everything, settings.thresholds))


def _unfailed(module: RuleModule) -> RuleModule:
    return module if module.plugin is None else module._replace(plugin=replace(module.plugin, failed=""))
