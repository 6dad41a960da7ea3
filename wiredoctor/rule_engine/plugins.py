"""Load and run the rules of other packages, which are registered as entry points. An error in a rule disables only that rule.

The queries of these rules run together with wiredoctor's own, because that is faster. Only if that fails does each query run
alone.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast, get_args

import polars as pl

from wiredoctor.findings import CANDIDATE_COLUMNS, CONFIDENCES, SEVERITIES, Side
from wiredoctor.rule_engine.rule_module import Plugin, RuleModule
from wiredoctor.rules.shared.evidence import CANDIDATE
from wiredoctor.tables import PROTOCOLS
from wiredoctor.world import Index

if TYPE_CHECKING:
    from polars._typing import EngineType

ENTRY_POINTS = "wiredoctor.rules"
"""The group of entry points by which other packages add rules; each names a module <...>.<family>.<name>."""

SCOPES = ("exchange", "connection", "endpoint", "tries", "until", "wait", "wait-behind")
"""The scopes that Rule.caused_by may contain. A scope says what a candidate must have in common with its cause; both are
reported.
"""

EXPLAINING = ("exchange", "previous", "connection", "endpoint", "pair", "time", "front")
"""The scopes that Rule.explained_by may contain. A scope says what a candidate must share with the candidate that explains it.
"""

T = TypeVar("T")


def plugin_rules(load: Callable[[str], RuleModule], own: Iterable[RuleModule]) -> list[RuleModule]:
    """Return the rules of other packages, sorted by name.

    Rules that cannot be loaded, or whose name is taken, are reported and skipped.
    """
    rules, families = {m.name for m in own}, {m.family for m in own}
    found: list[RuleModule] = []
    for name, path, package in sorted(_entries()):
        plugin = Plugin(package)
        try:
            module = load(path)._replace(plugin=plugin)
            _check_declaration(module)
        except Exception as error:  # noqa: BLE001  another package may raise anything; the analysis goes on
            plugin.fail(f"{name} ({path})", error)
            continue
        if module.name in rules | families | {module.family} or module.family in rules:
            plugin.fail(module.name, "another rule or a family has that name")
        else:
            rules.add(module.name)
            families.add(module.family)
            found.append(module)
    return found


def _entries() -> set[tuple[str, str, str]]:
    """Return the name, the module and the package of each entry point of a rule.

    The files are read here, because importing importlib.metadata takes 30 ms, and usually no package has rules.
    """
    found: set[tuple[str, str, str]] = set()
    for folder in dict.fromkeys(map(os.fsdecode, sys.path)):
        for file in Path(folder).glob("*-info/entry_points.txt"):
            text = file.read_text("utf-8", errors="replace")
            if f"[{ENTRY_POINTS}]" in text:
                lines = text.partition(f"[{ENTRY_POINTS}]")[2].partition("\n[")[0].splitlines()
                package = file.parent.name.rpartition(".")[0].replace("-", " ").replace("_", "-")
                pairs = (line.partition("=") for line in lines if "=" in line)
                found |= {(name.strip(), path.strip(), package) for name, _, path in pairs}
    return found


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


def with_required_columns(rows: pl.DataFrame, module: RuleModule) -> pl.DataFrame:
    """Return candidates with the required column types. Raise ValueError or a Polars error if that is impossible."""
    needed = [*CANDIDATE_COLUMNS, *(name for index in module.asks for name in index.NEEDS)]
    if module.is_held and not module.rule.summary and "due" not in rows.columns:
        needed.append("final_at")
    if lacking := [name for name in dict.fromkeys(needed) if name not in rows.columns]:
        raise ValueError(f"its candidates have no column {', '.join(lacking)}")
    for name, allowed in (("side", [None, *get_args(Side)]), ("confidence", CONFIDENCES)):
        if wrong := [value for value in rows[name].unique().to_list() if value not in allowed]:
            raise ValueError(f"its candidates have an invalid {name}: {wrong[0]!r}")
    types = {name: CANDIDATE[name] for name in CANDIDATE_COLUMNS}
    if module.is_held:
        types |= {name: pl.Int64() for name in ("due", "final_at") if name in rows.columns}
    return rows.with_columns(pl.col(name).cast(dtype) for name, dtype in types.items())


def _check_declaration(module: RuleModule) -> None:
    """Raise ValueError if the declaration of a rule is invalid."""
    rule = module.rule
    asks: Any = module.asks
    if not isinstance(asks, tuple) or not all(isinstance(one, type) and issubclass(one, Index) for one in cast("Any", asks)):
        raise ValueError("ASKS must be a tuple of indexes of wiredoctor.world")
    if module.group is not None and module.asks and not rule.summary:
        raise ValueError("a rule with both group and ASKS needs summary=True, because live decides candidates one by one")
    severities = [rule.severity] if isinstance(rule.severity, str) else rule.severity.values()
    scopes = (_scopes(rule.explained_by), EXPLAINING), (_scopes(rule.caused_by), SCOPES)
    for said, allowed in ((severities, SEVERITIES), (rule.protocols, PROTOCOLS), *scopes):
        if wrong := {*said} - {*allowed}:
            raise ValueError(f"{', '.join(map(repr, wrong))} is not one of {', '.join(allowed)}")


def _scopes(pairs: Iterable[tuple[str, str]]) -> list[str]:
    return [scope for _, scope in pairs]
