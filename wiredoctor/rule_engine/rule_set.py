"""The selected and configured rules of one analysis."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import NamedTuple

from wiredoctor.findings import ThresholdKey, configured
from wiredoctor.rule_engine.catalogue import RuleModule, catalogue, cutoffs, select, set_thresholds, with_causes
from wiredoctor.rule_engine.cutoffs import Cutoffs
from wiredoctor.settings import Settings


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
