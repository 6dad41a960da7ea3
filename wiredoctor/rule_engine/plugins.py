"""Rules of other packages: they are found by an entry point, and whatever is wrong with one costs that rule and no other.

What they do is run among our own queries, because that is fast; only when that fails are they asked one by one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import Distribution, EntryPoint, distributions
from typing import TYPE_CHECKING, TypeVar, get_args

import polars as pl

from wiredoctor.findings import CANDIDATE_COLUMNS, CONFIDENCES, SEVERITIES, Side, printable
from wiredoctor.rules.shared.evidence import EVIDENCE

if TYPE_CHECKING:
    from polars._typing import EngineType

    from wiredoctor.rule_engine.catalogue import RuleModule

ENTRY_POINTS = "wiredoctor.rules"
"""Group of entry points by which other packages add rules; each names a module <...>.<family>.<name>."""

SCOPES = ("exchange", "connection", "endpoint", "tries", "until")
"""What a candidate can share with a cause that is reported beside it."""

EXPLAINING = ("exchange", "previous", "connection", "endpoint", "time", "front")
"""What it can share with a cause that is reported instead."""

log = logging.getLogger("wiredoctor")

T = TypeVar("T")


@dataclass
class Plugin:
    """The package that a rule comes from, by name and version, and why the rule is not asked any more ("": it still is)."""

    package: str
    failed: str = ""

    def fail(self, rule: str, error: Exception | str) -> None:
        """From now on the rule is not asked; says so, in one line on the log `wiredoctor`."""
        self.failed = f"{type(error).__name__}: {_line(error)}" if isinstance(error, Exception) else error
        log.error("rule %s of %s is left out: %s", rule, self.package, self.failed)


def _line(error: Exception) -> str:
    """The first line of what an error says; Polars adds the whole query to it."""
    return printable(" ".join(str(error).strip().partition("\n")[0].split()))[:300]


def added(load: Callable[[str], RuleModule], own: Iterable[RuleModule]) -> list[RuleModule]:
    """The rules of other packages, by name. What cannot be loaded, or has a name that is taken, is told and left out."""
    taken = {m.name: "wiredoctor" for m in own}
    families = {m.family for m in own}
    found: list[RuleModule] = []
    for package, entry in sorted(_entries(), key=lambda e: (e[1].name, e[0])):
        plugin = Plugin(package)
        try:
            module = load(entry.value)._replace(plugin=plugin)
            _sound(module)
        except Exception as error:  # noqa: BLE001  somebody else's code: whatever it raises, the analysis goes on
            plugin.fail(f"{entry.name} ({entry.value})", error)
            continue
        if module.name in taken:
            plugin.fail(module.name, f"{taken[module.name]} has a rule of that name")
        elif module.name in families | {module.family} or module.family in taken:
            plugin.fail(module.name, "a rule and a family cannot have one name")
        else:
            taken[module.name] = package
            families.add(module.family)
            found.append(module)
    return found


def _entries() -> list[tuple[str, EntryPoint]]:
    """(package, entry point). Most packages have none, and need not be parsed, named and compared for that."""
    having = [d for d in distributions() if ENTRY_POINTS in (d.read_text("entry_points.txt") or "")]
    found = {(e.name, e.value): (_named(d), e) for d in having for e in d.entry_points if e.group == ENTRY_POINTS}
    return list(found.values())


def _named(distribution: Distribution) -> str:
    return f"{distribution.metadata['Name']} {distribution.version}"


def at_work(modules: Iterable[RuleModule]) -> list[RuleModule]:
    """Those that have not failed."""
    return [m for m in modules if m.plugin is None or not m.plugin.failed]


def failures(modules: Mapping[str, RuleModule]) -> dict[str, str]:
    """Rule -> why it is left out."""
    return {name: m.plugin.failed for name, m in modules.items() if m.plugin is not None and m.plugin.failed}


def begin(modules: Mapping[str, RuleModule]) -> None:
    """Before an analysis: each rule is asked again."""
    for module in modules.values():
        if module.plugin is not None:
            module.plugin.failed = ""


def give_up(modules: Mapping[str, RuleModule], failed: Mapping[str, str]) -> None:
    """What failed in another process, which has said so, is not asked here any more either."""
    for name, why in failed.items():
        if (plugin := modules[name].plugin) is not None:
            plugin.failed = why


def guarded(module: RuleModule, work: Callable[[], T]) -> T | None:
    """What `work` for this rule returns; None where it is a rule of others and fails."""
    if module.plugin is None:
        return work()
    try:
        return work()
    except Exception as error:  # noqa: BLE001  somebody else's code
        module.plugin.fail(module.name, error)
        return None


def collected(
    asked: list[tuple[RuleModule | None, pl.LazyFrame]], how: pl.QueryOptFlags, engine: EngineType = "auto"
) -> list[pl.DataFrame | None]:
    """The answers to queries, each of a rule (None: of ours), run together; None for one of others that fails."""
    queries = [query for _, query in asked]
    try:
        return [*pl.collect_all(queries, optimizations=how, engine=engine)]
    except Exception:  # it may be ours: then it is raised once more
        if all(module is None or module.plugin is None for module, _ in asked):
            raise
    answers: list[pl.DataFrame | None] = []
    for module, query in asked:
        [answer] = pl.collect_all([query], optimizations=how) if module is None else _alone(module, query, how)
        answers.append(answer)
    return answers


def _alone(module: RuleModule, query: pl.LazyFrame, how: pl.QueryOptFlags) -> list[pl.DataFrame] | list[None]:
    return guarded(module, lambda: pl.collect_all([query], optimizations=how)) or [None]


_TYPES: dict[str, pl.DataType] = {
    **{name: pl.Int64() for name in ("connection", "frame", "start", "end", "delay")},
    "exchange": pl.Int32(),
    **{name: pl.String() for name in ("kind", "side", "confidence")},
    "evidence": EVIDENCE,
}


def fit(rows: pl.DataFrame) -> pl.DataFrame:
    """Candidates, judged, as settling and telling need them; raises ValueError, or what Polars raises, where they are not."""
    if lacking := [name for name in CANDIDATE_COLUMNS if name not in rows.columns]:
        raise ValueError(f"its candidates have no column {', '.join(lacking)}")
    fitting = rows.with_columns(pl.col(name).cast(dtype) for name, dtype in _TYPES.items())
    for name, allowed in {"side": [None, *get_args(Side)], "confidence": CONFIDENCES}.items():
        if wrong := [value for value in fitting[name].unique().to_list() if value not in allowed]:
            raise ValueError(f"its candidates have {name} {wrong[0]!r}")
    return fitting


def _sound(module: RuleModule) -> None:
    """Raises ValueError where a rule says of itself what cannot be."""
    rule = module.rule
    severities = {rule.severity} if isinstance(rule.severity, str) else {*rule.severity.values()}
    if wrong := severities - {*SEVERITIES}:
        raise ValueError(f"severity must be one of {', '.join(SEVERITIES)}, not {', '.join(map(repr, wrong))}")
    scopes = {scope for _, scope in rule.explained_by} - {*EXPLAINING} | {scope for _, scope in rule.caused_by} - {*SCOPES}
    if scopes:
        raise ValueError(f"there is no scope {', '.join(map(repr, scopes))} to share with a cause")
