"""Load and run the rules of other packages, which are registered as entry points. An error in a rule disables only that rule.

The queries of these rules run together with wiredoctor's own, because that is faster. Only if that fails does each query run
alone.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, get_args

import polars as pl

from wiredoctor.findings import CANDIDATE_COLUMNS, CONFIDENCES, SEVERITIES, Side, printable
from wiredoctor.rules.shared.evidence import EVIDENCE

if TYPE_CHECKING:
    from importlib.metadata import Distribution, EntryPoint

    from polars._typing import EngineType

    from wiredoctor.rule_engine.catalogue import RuleModule

ENTRY_POINTS = "wiredoctor.rules"
"""The group of entry points by which other packages add rules; each names a module <...>.<family>.<name>."""

SCOPES = ("exchange", "connection", "endpoint", "tries", "until", "wait", "wait-behind")
"""The scopes that Rule.caused_by may contain. A scope says what a candidate must have in common with its cause; both are
reported.
"""

EXPLAINING = ("exchange", "previous", "connection", "endpoint", "time", "front")
"""The scopes that Rule.explained_by may contain. A scope says what a candidate must share with the candidate that explains it.
"""

log = logging.getLogger("wiredoctor")

T = TypeVar("T")


@dataclass(eq=False, repr=False)
class Plugin:
    """The package of a rule, and the reason why the rule was disabled; the reason is empty while the rule runs."""

    package: str
    failed: str = ""

    def fail(self, rule: str, error: Exception | str) -> None:
        """Disable the rule, and report the reason in one line in the log `wiredoctor`."""
        self.failed = f"{type(error).__name__}: {_line(error)}" if isinstance(error, Exception) else error
        log.error("rule %s of %s is left out: %s", rule, self.package, self.failed)


def _line(error: Exception) -> str:
    """Return the first line of an error's text, without control characters. The other lines may be a complete query of Polars."""
    return printable(" ".join(str(error).strip().partition("\n")[0].split()))[:300]


def plugin_rules(load: Callable[[str], RuleModule], own: Iterable[RuleModule]) -> list[RuleModule]:
    """Return the rules of other packages, sorted by name.

    Rules that cannot be loaded, or whose name is taken, are reported and skipped.
    """
    taken = {m.name: "wiredoctor" for m in own}
    families = {m.family for m in own}
    found: list[RuleModule] = []
    for package, entry in sorted(_entries(), key=lambda e: (e[1].name, e[0])):
        plugin = Plugin(package)
        try:
            module = load(entry.value)._replace(plugin=plugin)
            _sound(module)
        except Exception as error:  # noqa: BLE001  another package may raise anything; the analysis goes on
            plugin.fail(f"{entry.name} ({entry.value})", error)
            continue
        if module.name in taken:
            plugin.fail(module.name, f"{taken[module.name]} has a rule of that name")
        elif module.name in families | {module.family} or module.family in taken:
            plugin.fail(module.name, "a rule and a family cannot have the same name")
        else:
            taken[module.name] = package
            families.add(module.family)
            found.append(module)
    return found


def _entries() -> list[tuple[str, EntryPoint]]:
    """Return pairs (package name, entry point) for the entry points of rules.

    Most packages have no rules, so only the entry points of packages with rules are parsed.
    """
    if not _may_be_installed():
        return []
    from importlib.metadata import distributions

    having = [d for d in distributions() if ENTRY_POINTS in (d.read_text("entry_points.txt") or "")]
    found = {(e.name, e.value): (_distribution_name(d), e) for d in having for e in d.entry_points if e.group == ENTRY_POINTS}
    return list(found.values())


def _may_be_installed() -> bool:
    """Return whether a package may have entry points of rules.

    Usually no package has one, and importing importlib.metadata takes 30 ms. So this function searches the files that
    importlib.metadata would read. If packages may be installed outside the folders of sys.path, return True without a search.
    """
    if any(hasattr(finder, "find_distributions") for finder in sys.meta_path if finder is not PathFinder):
        return True
    # a script may add a Path, which Python itself ignores
    folders = dict.fromkeys(os.path.normpath(os.fsdecode(folder)) for folder in sys.path)
    if any(folder.endswith(".egg") or os.path.isfile(folder) for folder in folders):
        return True
    return any(_has_rules(os.path.join(folder, name)) for folder in folders for name in _names_in(folder))


def _names_in(folder: str) -> list[str]:
    """Return the names of the installed packages in a folder; none if it cannot be read."""
    try:
        return [name for name in os.listdir(folder) if name.endswith(_INSTALLED)]
    except OSError:
        return []


_INSTALLED = (".dist-info", ".egg-info", ".egg")


def _has_rules(package: str) -> bool:
    if package.endswith(".egg"):
        return True
    with suppress(OSError):
        return ENTRY_POINTS.encode() in Path(package, "entry_points.txt").read_bytes()
    return False


def _distribution_name(distribution: Distribution) -> str:
    return f"{distribution.metadata['Name']} {distribution.version}"


def enabled(modules: Iterable[RuleModule]) -> list[RuleModule]:
    """Return the rules that have not failed."""
    return [m for m in modules if m.plugin is None or not m.plugin.failed]


def failures(modules: Mapping[str, RuleModule]) -> dict[str, str]:
    """Return the rules that were disabled: rule name -> reason."""
    return {name: m.plugin.failed for name, m in modules.items() if m.plugin is not None and m.plugin.failed}


def disable(modules: Mapping[str, RuleModule], failed: Mapping[str, str]) -> None:
    """Disable the rules in `failed` (rule name -> reason). They failed in another process, which has already reported them."""
    for name, why in failed.items():
        if (plugin := modules[name].plugin) is not None:
            plugin.failed = why


def run_guarded(module: RuleModule, work: Callable[[], T]) -> T | None:
    """Return the result of `work`. If it fails and the rule is from another package, disable the rule and return None."""
    if module.plugin is None:
        return work()
    try:
        return work()
    except Exception as error:  # noqa: BLE001  code of another package
        module.plugin.fail(module.name, error)
        return None


def collect_guarded(
    asked: list[tuple[RuleModule | None, pl.LazyFrame]], how: pl.QueryOptFlags, engine: EngineType = "auto"
) -> list[pl.DataFrame | None]:
    """Return the results of several queries, which run together, or one after another on the engine `in-memory`.

    Each query belongs to a rule, or to wiredoctor itself (None). If a query of a rule from another package fails, its result is
    None. If one of wiredoctor's own queries fails, the error is raised.
    """
    if engine != "in-memory":  # with few rows, running together saves no time and takes more memory
        try:
            return [*pl.collect_all([query for _, query in asked], optimizations=how, engine=engine)]
        except Exception:  # if wiredoctor's own query failed, it raises again below
            if all(module is None or module.plugin is None for module, _ in asked):
                raise
    alone = ((module, partial(query.collect, optimizations=how, engine=engine)) for module, query in asked)
    return [collect() if module is None else run_guarded(module, collect) for module, collect in alone]


_TYPES: dict[str, pl.DataType] = {
    **{name: pl.Int64() for name in ("connection", "frame", "start", "end", "delay")},
    "exchange": pl.Int32(),
    **{name: pl.String() for name in ("kind", "side", "confidence")},
    "evidence": EVIDENCE,
}


def with_required_columns(rows: pl.DataFrame) -> pl.DataFrame:
    """Return judged candidates with the required column types. Raise ValueError or a Polars error if that is impossible."""
    if lacking := [name for name in CANDIDATE_COLUMNS if name not in rows.columns]:
        raise ValueError(f"its candidates have no column {', '.join(lacking)}")
    fitting = rows.with_columns(pl.col(name).cast(dtype) for name, dtype in _TYPES.items())
    for name, allowed in {"side": [None, *get_args(Side)], "confidence": CONFIDENCES}.items():
        if wrong := [value for value in fitting[name].unique().to_list() if value not in allowed]:
            raise ValueError(f"its candidates have an invalid {name}: {wrong[0]!r}")
    return fitting


def _sound(module: RuleModule) -> None:
    """Raise ValueError if the declaration of a rule is invalid."""
    rule = module.rule
    severities = {rule.severity} if isinstance(rule.severity, str) else {*rule.severity.values()}
    if wrong := severities - {*SEVERITIES}:
        raise ValueError(f"severity must be one of {', '.join(SEVERITIES)}, not {', '.join(map(repr, wrong))}")
    scopes = {scope for _, scope in rule.explained_by} - {*EXPLAINING} | {scope for _, scope in rule.caused_by} - {*SCOPES}
    if scopes:
        raise ValueError(f"explained_by and caused_by have no scope {', '.join(map(repr, scopes))}")
