"""Run the rules: event rules on the tables of a batch, summary rules on the tables of the complete capture."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from operator import is_not
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

import polars as pl

from wiredoctor import system
from wiredoctor.findings import configured_thresholds
from wiredoctor.rule_engine import candidates
from wiredoctor.rule_engine.plugins import collect_guarded, enabled, run_guarded, with_required_columns
from wiredoctor.rule_engine.rule_module import MayMatch, RuleModule
from wiredoctor.rule_engine.summary_columns import Rows, as_frame
from wiredoctor.storage.spill import Folder
from wiredoctor.tables import EVENT_TABLES, PLAN_OF_FEW, RULE_TABLES, SMALL, of_protocols
from wiredoctor.world import CaptureTables, Index, Wait, World
from wiredoctor.world.numbers import DURATION

if TYPE_CHECKING:
    from polars._typing import EngineType

T = TypeVar("T")

c = pl.col


class Table(Protocol):
    """The rows of a table: a data frame, or an object that creates its columns on demand."""

    @property
    def height(self) -> int:
        """The number of rows."""
        ...

    def select(self, names: Sequence[str], /) -> pl.DataFrame:
        """Return the columns with these names."""
        ...

    def lazy(self) -> pl.LazyFrame:
        """Return all columns as a lazy frame, which creates them when they are needed."""
        ...


Tables = Mapping[str, Table | pl.LazyFrame]


def find_candidates(modules: Mapping[str, RuleModule], tables: Tables) -> dict[str, pl.DataFrame]:
    """Return the candidates that the event rules find in one batch, by rule name. They are not decided yet.

    Rules without candidates are omitted. `tables`: the batch's event tables and its finished bursts, messages, exchanges and
    connections. A rule runs only if it may have a candidate (see `_has_rows`). A missing table counts as empty, a lazy frame as
    not empty.
    """
    present = {name: rows for name, rows in tables.items() if isinstance(rows, pl.LazyFrame) or rows.height}
    given = _Given(present)
    running = [m for m in enabled(modules.values()) if not m.rule.summary and _has_rows(m, given)]
    few = are_few(tables)
    return _find(_promising(running, present, given, few=few), given, few=few)


def _has_rows(module: RuleModule, given: _Given) -> bool:
    """Return whether a rule has to run, because its first table, or a table with a screening expression of its own, has rows.

    If the first table is an event table, it is sufficient that any event table of the rule has rows.
    """
    first, *others = module.tables
    events = [name for name in others if first in EVENT_TABLES and name in EVENT_TABLES]
    if given.has_rows(module, (first, *events)):
        return True
    screens = run_guarded(module, partial(_screens, module, given)) if module.may_match is not None else None
    return screens is not None and given.has_rows(module, screens)


def are_few(tables: Tables) -> bool:
    """Return whether the tables have so few rows that reading them takes less time than optimizing the query."""
    return all(not isinstance(frame, pl.LazyFrame) and frame.height <= SMALL for frame in tables.values())


def find_summaries(
    modules: Mapping[str, RuleModule], scan: Mapping[str, pl.LazyFrame], *, few: bool = False, many: bool = False
) -> Iterator[dict[str, pl.DataFrame]]:
    """Yield the candidates that the summary rules find in the complete tables, by rule name.

    The tables are read lazily. A missing table counts as empty, and costs less time than an empty one, which is queried. A rule
    runs only if one of its tables has rows of its protocols. `few`: see `are_few`. `many`: stream the rows if their order does
    not matter, and yield the candidates of each rule before the next rule runs.
    """
    given = _Given(scan)
    running = [m for m in enabled(modules.values()) if m.rule.summary and given.has_rows(m, m.tables)]
    if not few:
        system.return_memory()  # reading and the search for gateways have left up to 50 MB
    promising = _promising(running, scan, given, few=few, many=many)
    for some in [[m] for m in promising] if many else [promising]:
        yield _find(some, given, few=few, many=many)
    if many:
        system.return_memory()


def decide_batch(
    modules: Mapping[str, RuleModule], found: Mapping[str, pl.DataFrame], memory: dict[str, Any], *, live: bool = False
) -> dict[str, pl.DataFrame]:  # fmt: skip
    """Decide the candidates of a batch that need no more than their own facts; return the remaining candidates.

    `memory`: what the rules remember between batches (see World), changed in place. Candidates of rules that ask the world are
    returned unchanged.
    """
    left: dict[str, pl.DataFrame] = {}
    world = World(live=live, memory=memory)
    for name, rows in found.items():
        work = partial(_decide_batch, modules[name], rows, world)
        decided = run_guarded(modules[name], work) if enabled([modules[name]]) else None
        if decided is not None and decided.height:
            left[name] = decided
    return left


def _decide_batch(module: RuleModule, rows: pl.DataFrame, world: World) -> pl.DataFrame:
    if (module.group or module.decide) and not module.asks:
        order = "last_frame" if "last_frame" in rows.columns else "frame"
        if not module.rule.any_order and not rows[order].is_sorted(nulls_last=False):  # sorting copies the rows, so it is avoided
            rows = rows.sort(order, maintain_order=True)
        rows = _decide_rows(module, world, rows, [])
    return rows if module.plugin is None else with_required_columns(rows, module)


def join_batches(modules: Mapping[str, RuleModule], all_of: Mapping[str, Callable[[], Rows]]) -> dict[str, Rows]:
    """Return the candidates of all batches by rule name. Rules that have failed are omitted.

    `all_of`: for each rule name, a function that returns the candidates.
    """
    whole: dict[str, Rows] = {}
    for name, give in all_of.items():
        rows = run_guarded(modules[name], give) if enabled([modules[name]]) else None
        if rows is not None:
            whole[name] = rows
    return whole


def decide(
    modules: Mapping[str, RuleModule], found: Mapping[str, Rows], tables: CaptureTables,
    *, live: bool = False, clock: int | None = None, memory: dict[str, Any] | None = None, folder: Folder | None = None,
) -> tuple[dict[str, Rows], dict[str, pl.DataFrame]]:  # fmt: skip
    """Decide the candidates of rules that ask the world. Return the remaining candidates of all rules, and those that must wait.

    The latter are as they were found, with the additional columns `wait_until` (ns) and `wait_on` (see Wait); there are none if
    `clock` is None. `memory`: see World. `folder`: see `candidates.change`.
    """

    def world_of(asking: Mapping[str, Rows]) -> World:
        def candidates_for(index: type[Index]) -> list[pl.DataFrame]:
            those = (rows for name, rows in asking.items() if index in modules[name].asks and rows.height)
            return [candidates.select(rows, *index.NEEDS) for rows in those]

        return World(tables, candidates_for, live=live, clock=clock, memory=remembered)

    remembered = {} if memory is None else memory
    whole, waiting = {**found}, dict[str, pl.DataFrame]()
    own = world_of({name: rows for name, rows in found.items() if modules[name].plugin is None})
    for name, rows in found.items():
        module = modules[name]
        if not module.asks or not rows.height or _DECIDED in rows.schema:
            continue
        waits: list[pl.DataFrame] = []
        # candidates of other packages must not change, or break, what wiredoctor's own rules get
        world = own if module.plugin is None else world_of({name: rows})

        decide_part = partial(_decide_part, module, world, waits)
        if module.group is None:
            work = partial(candidates.change, rows, decide_part, folder, order=module.order)
        else:
            work = partial(decide_part, as_frame(rows))
        left = run_guarded(module, work) if enabled([module]) else None
        whole[name] = rows[pl.Series([], dtype=pl.Int64)] if left is None else left
        if waits:
            waiting[name] = pl.concat(waits)
    return {name: rows for name, rows in whole.items() if rows.height}, waiting


def _decide_part(module: RuleModule, world: World, waits: list[pl.DataFrame], rows: pl.DataFrame) -> pl.DataFrame:
    left = _decide_rows(module, world, rows, waits)
    left = left if module.plugin is None else with_required_columns(left, module)
    return left.with_columns(pl.lit(value=True).alias(_DECIDED))


_DECIDED = "is_decided"
"""The column that marks candidates as already decided."""


def is_compared(module: RuleModule) -> bool:
    """Return whether the candidates of a rule are compared with other connections, again and again while a capture goes on."""
    return bool(module.asks) and not module.is_held


def _decide_rows(module: RuleModule, world: World, rows: pl.DataFrame, waits: list[pl.DataFrame]) -> pl.DataFrame:
    """Return the candidates that `decide` keeps, with the facts that it changes. Append those that must wait to `waits`."""
    if module.group is not None:
        rows = module.group(rows, world)
    if module.decide is None or module.facts is None:
        return rows
    kept: list[int] = []
    before: list[tuple[Any, ...]] = []
    after: list[tuple[Any, ...]] = []
    until: dict[int, Wait] = {}
    schema = rows.schema  # Polars makes it anew each time
    plain = rows.select(c(name).to_physical() if schema[name] == DURATION else name for name in module.fact_names)
    plain_schema = plain.schema
    numbers: Iterable[int] = range(rows.height)
    if module.order:
        numbers = plain.select(pl.arg_sort_by(module.order, maintain_order=True)).to_series().to_list()
    given = plain.rows()
    for number in numbers:
        facts = module.facts(given[number])
        decided = module.decide(facts, world)
        if isinstance(decided, Wait):
            until[number] = decided
        elif decided is not None:
            kept.append(number)
            before.append(facts)
            after.append(decided)
    if until:
        times, keys = zip(*until.values(), strict=True)
        waiting = pl.Series("wait_until", times, pl.Int64), pl.Series("wait_on", [[*on] for on in keys], pl.List(pl.Int64))
        waits.append(rows[[*until]].with_columns(waiting))
    order = sorted(range(len(kept)), key=kept.__getitem__)
    left = rows[[kept[n] for n in order]]
    changed = [
        _column(name, [new[n] for n in order], plain_schema[name]).cast(schema[name])
        for name, old, new in zip(module.fact_names, zip(*before, strict=True), zip(*after, strict=True), strict=bool(kept))
        if any(map(is_not, old, new))
    ]
    return left.with_columns(changed)


def _column(name: str, values: list[Any], dtype: pl.DataType) -> pl.Series:
    """Return the values as a column. Polars converts lists seven times as fast inside of a struct, where it makes no objects."""
    if not isinstance(dtype, pl.List):
        return pl.Series(name, values, dtype)
    return pl.Series(name, [{"": value} for value in values], pl.Struct({"": dtype})).struct.field("").alias(name)


class _Given:
    """What rules get of the tables: the rows of the protocols that each of them declares.

    A column is only created when a rule requests it, because few batches need all columns. `tables`: the tables that have rows.
    `thresholds`: those that are configured, on which the screening expressions depend.
    """

    def __init__(self, tables: Tables) -> None:
        self.thresholds = configured_thresholds()
        self._tables = tables
        self._queries: dict[tuple[str, tuple[str, ...]], pl.LazyFrame] = {}
        self._present: dict[tuple[str, tuple[str, ...]], bool] = {}

    def of(self, module: RuleModule, name: str) -> pl.LazyFrame:
        """Return a query of the rows that a rule gets of a table."""
        which = of_protocols(RULE_TABLES[name], module.rule.protocols)
        key = name, () if which is None else module.rule.protocols
        if key not in self._queries:
            rows = (self._tables[name] if name in self._tables else RULE_TABLES[name].empty()).lazy()
            self._queries[key] = rows if which is None else rows.filter(which)
        return self._queries[key]

    def has_rows(self, module: RuleModule, names: Iterable[str]) -> bool:
        """Return whether a rule gets rows of one of these tables. It does not run otherwise."""
        return any(self._has_rows(name, module.rule.protocols) for name in names if name in self._tables)

    def _has_rows(self, name: str, protocols: tuple[str, ...]) -> bool:
        which = of_protocols(RULE_TABLES[name], protocols)
        if which is None:
            return True
        key = name, protocols
        if key not in self._present:
            rows = self._tables[name]
            read = rows if isinstance(rows, pl.LazyFrame) else rows.select(which.meta.root_names()).lazy()
            self._present[key] = read.select(which.any()).collect().item()
        return self._present[key]


def _promising(running: list[RuleModule], tables: Tables, given: _Given, *, few: bool, many: bool = False) -> list[RuleModule]:
    """Return the rules that may have a candidate, according to their screening expressions.

    All expressions of a table are evaluated in one query, because planning a query for each rule takes longer. `tables`: the
    tables that have rows.
    """
    screened: dict[str, list[_Screened]] = {}
    asked: list[tuple[RuleModule | None, pl.LazyFrame]] = []
    found: dict[str, bool] = {}
    for m in running:
        if m.may_match is None:
            continue
        if m.plugin is None:
            found[m.name] = False
            for table in _screens(m, given):
                if table in tables:
                    screened.setdefault(table, []).append(_Screened(m.name, m.may_match, m.tables[0]))
        elif (queries := run_guarded(m, partial(_screen_queries, m, given))) is not None:
            asked += [(m, query) for query in queries]
    asked += [(None, _screen_query(tables[table], table, rules, given, few=few)) for table, rules in screened.items()]
    how = pl.QueryOptFlags.none() if few else pl.QueryOptFlags()
    # one after the other, since each query holds the columns that it reads
    together = [[query] for query in asked] if many else [asked]
    for answer in (one for some in together for one in collect_guarded(some, how, _engine(few, many))):
        if answer is not None:
            found |= {name: promising or found.get(name, False) for name, promising in answer.row(0, named=True).items()}
    return [m for m in enabled(running) if found.get(m.name, True)]


class _Screened(NamedTuple):
    """A rule with its function `may_match`, and the name of its first table."""

    name: str
    may_match: MayMatch
    first: str


def _screen_query(
    rows: Table | pl.LazyFrame, table: str, rules: Sequence[_Screened], given: _Given, *, few: bool
) -> pl.LazyFrame:
    """Return a query with a column for each rule: whether the rule may have a candidate because of these rows of a table.

    `few`: evaluate one expression after another, because handing them to other threads takes longer than evaluating them.
    """
    expressions, columns = _screens_of_table(table, tuple(rules), given.thresholds)
    if not isinstance(rows, pl.DataFrame | pl.LazyFrame):
        rows = rows.select(columns)
    return rows.lazy().select_seq(expressions) if few else rows.lazy().select(expressions)


@lru_cache(maxsize=256)
def _screens_of_table(
    table: str, rules: tuple[_Screened, ...], thresholds: frozenset[object]
) -> tuple[list[pl.Expr], list[str]]:  # fmt: skip
    """Return the expressions that screen a table for these rules, and the names of the columns that they read."""
    expressions = [_screens_with(one.may_match, one.first, thresholds)[table].any().alias(one.name) for one in rules]
    return expressions, sorted({name for one in expressions for name in one.meta.root_names()})


def _screens(module: RuleModule, given: _Given) -> Mapping[str, pl.Expr]:
    """Return the screening expressions of a rule, by table name."""
    assert module.may_match is not None
    return _screens_with(module.may_match, module.tables[0], given.thresholds)


@lru_cache(maxsize=256)
def _screens_with(may_match: MayMatch, first: str, _thresholds: frozenset[object]) -> Mapping[str, pl.Expr]:
    """Return the screening expressions by table. If `may_match` returns a single expression, its table is `first`.

    `_thresholds` is only part of the cache key: the expressions depend on the configured thresholds.
    """
    expressions = may_match()
    return {first: expressions} if isinstance(expressions, pl.Expr) else expressions


def _screen_queries(module: RuleModule, given: _Given) -> list[pl.LazyFrame]:
    return [given.of(module, table).select(screen.any().alias(module.name)) for table, screen in _screens(module, given).items()]


def _planning(few: bool) -> pl.QueryOptFlags:
    return PLAN_OF_FEW if few else pl.QueryOptFlags()


def _engine(few: bool, many: bool) -> EngineType:
    """Return the engine of Polars that takes the least time for few rows, or the least memory for many."""
    return "in-memory" if few else "streaming" if many else "auto"


def _find(running: list[RuleModule], given: _Given, *, few: bool, many: bool = False) -> dict[str, pl.DataFrame]:
    asked: list[tuple[RuleModule, pl.LazyFrame]] = []
    for m in running:
        query = run_guarded(m, partial(m.find, *(given.of(m, t) for t in m.tables)))
        if query is not None:
            asked.append((m, query))
    if not asked:
        return {}
    any_order = all(m.rule.any_order for m, _ in asked)
    answers = collect_guarded([*asked], _planning(few), _engine(few, many and any_order))
    found = zip(asked, answers, strict=True)
    return {m.name: rows for (m, _), rows in found if rows is not None and rows.height}
