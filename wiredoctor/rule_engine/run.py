"""Running the rules: tables of a batch -> candidates; the tables of the whole capture -> candidates of summaries."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

import polars as pl

from wiredoctor.rule_engine.catalogue import Conclude, RuleModule
from wiredoctor.rule_engine.plugins import at_work, collected, fit, guarded
from wiredoctor.rule_engine.summary_columns import Rows
from wiredoctor.rules.shared.idle_times import known_rests
from wiredoctor.rules.shared.same_client import known_clients
from wiredoctor.tables import EVENT_TABLES, RULE_TABLES, SMALL
from wiredoctor.text.redact import shown
from wiredoctor.text.redact_tables import all_masked


class Table(Protocol):
    """Rows of a table: a data frame, or what makes its columns when they are asked for."""

    @property
    def height(self) -> int:
        """How many there are."""
        ...

    def select(self, names: Sequence[str], /) -> pl.DataFrame:
        """Return some columns."""
        ...

    def lazy(self) -> pl.LazyFrame:
        """Return all columns, read when they are needed."""
        ...


Tables = Mapping[str, Table | pl.LazyFrame]


def find_candidates(modules: Mapping[str, RuleModule], tables: Tables) -> dict[str, pl.DataFrame]:
    """Candidates of the event rules in one batch, not judged yet: rule name -> rows; rules without rows are left out.

    `tables`: the batch's segments, its finished bursts, messages, exchanges, connections; missing ones are empty, and
    a lazy frame is taken to have rows. A rule runs when the first table it asks for has rows.
    """
    present = {name for name, frame in tables.items() if isinstance(frame, pl.LazyFrame) or frame.height}
    running = [m for m in at_work(modules.values()) if not m.rule.summary and _has_rows(m, present)]
    lazy = {name: _lazy(tables, name) for m in running for name in m.tables}
    few = are_few(tables)
    return _find(_promising(running, tables, lazy, few=few), lazy, few=few)


def _has_rows(module: RuleModule, present: set[str]) -> bool:
    """Whether the tables that a rule begins with have rows: its first one, or another event table beside an event table."""
    first, *others = module.tables
    return first in present or (first in EVENT_TABLES and any(name in EVENT_TABLES and name in present for name in others))


def are_few(tables: Tables) -> bool:
    """Whether all rows are sooner looked at than it is planned how."""
    return all(isinstance(frame, pl.DataFrame) and frame.height <= SMALL for frame in tables.values())


def find_summaries(
    modules: Mapping[str, RuleModule], scan: Mapping[str, pl.LazyFrame], *, few: bool = False, many: bool = False
) -> dict[str, pl.DataFrame]:
    """Candidates of the summary rules, once at the end, over the whole tables (lazily scanned); missing ones are empty.

    `few`: as of `are_few`. `many`: so many rows that they are read piece by piece where their order does not matter.
    """
    running = [m for m in at_work(modules.values()) if m.rule.summary]
    lazy = {name: scan[name] if name in scan else RULE_TABLES[name].empty().lazy() for m in running for name in m.tables}
    return _find(_promising(running, lazy, lazy, few=few, many=many), lazy, few=few, many=many)


def judge(
    modules: Mapping[str, RuleModule], found: Mapping[str, pl.DataFrame], state: dict[str, Any], *, live: bool = False
) -> dict[str, pl.DataFrame]:  # fmt: skip
    """What the rules' `judge` leaves of the candidates of a batch, seen in the order of their frames.

    `state` is the rules' memory from batch to batch, changed in place: rule name -> what its `judge` returned. Unless they are
    told as they come (`live`), those of rules that judge all together wait for the end as they are.
    """
    left: dict[str, pl.DataFrame] = {}
    for name, rows in found.items():
        module = modules[name]
        if module.judge_all is not None and not live:
            left[name] = rows
            continue
        judged = guarded(module, partial(_judged, module, rows, state)) if at_work([module]) else None
        if judged is not None and judged.height:
            left[name] = judged
    return left


def _judged(module: RuleModule, rows: pl.DataFrame, state: dict[str, Any]) -> pl.DataFrame:
    if module.judge is not None:
        order = "last_frame" if "last_frame" in rows.columns else "frame"
        if not module.rule.any_order and not rows[order].is_sorted(nulls_last=False):  # sorting is copying
            rows = rows.sort(order, maintain_order=True)
        rows, state[module.name] = module.judge(rows, state.get(module.name))
    return rows if module.plugin is None else fit(rows)


def joined(modules: Mapping[str, RuleModule], all_of: Mapping[str, Callable[[], Rows]]) -> dict[str, Rows]:
    """Rule -> its candidates of all batches, which `all_of` gives; not of rules that have failed by now."""
    whole: dict[str, Rows] = {}
    for name, give in all_of.items():
        rows = guarded(modules[name], give) if at_work([modules[name]]) else None
        if rows is not None:
            whole[name] = rows
    return whole


def limited(
    modules: Mapping[str, RuleModule], found: Mapping[str, Rows], closes: pl.LazyFrame, connections: pl.LazyFrame,
    *, live: bool = False,
) -> dict[str, Rows]:  # fmt: skip
    """Candidates after rules about idle limits have looked at how the servers of these closed all their connections, and whom
    they refused; in `live`, at what is known soon after each."""
    asking = {
        name: rows
        for name, rows in found.items()
        if modules[name].by_limits is not None and rows.height and _LIMITED not in rows.schema
    }
    whole = {**found}
    if not asking:
        return whole
    frames = {name: pl.concat([*rows.iter_slices(rows.height)]) for name, rows in asking.items()}
    rests = known_rests(closes, frames.values(), connections)
    for name, frame in frames.items():
        by_limits = modules[name].by_limits
        assert by_limits is not None
        left = guarded(modules[name], partial(by_limits, frame, rests, live=live))
        if left is None or left.is_empty():
            del whole[name]
        else:
            whole[name] = left.with_columns(pl.lit(value=True).alias(_LIMITED))
    return whole


def beside_others(
    modules: Mapping[str, RuleModule], found: Mapping[str, Rows], closes: pl.LazyFrame, exchanges: pl.LazyFrame,
    connections: pl.LazyFrame, clients: Collection[int],
) -> dict[str, Rows]:  # fmt: skip
    """Candidates after rules about what clients did on other connections have looked at these. `clients`: as in `concluded`."""
    asking = {
        name: pl.concat([*rows.iter_slices(rows.height)])
        for name, rows in found.items()
        if modules[name].by_clients is not None and rows.height and _COMPARED not in rows.schema
    }
    whole = {**found}
    if not asking:
        return whole
    known = known_clients(closes, exchanges, connections, asking.values(), clients)
    for name, frame in asking.items():
        by_clients = modules[name].by_clients
        assert by_clients is not None
        left = guarded(modules[name], partial(by_clients, frame, known))
        if left is None or left.is_empty():
            del whole[name]
        else:
            whole[name] = left.with_columns(pl.lit(value=True).alias(_COMPARED))
    return whole


_LIMITED, _COMPARED = "limited", "compared"
"""Columns of candidates that `limited`, or `beside_others`, has seen: what was decided stays."""


def concluded(
    modules: Mapping[str, RuleModule], found: Mapping[str, Rows], connections: pl.LazyFrame, exchanges: pl.LazyFrame,
    closes: pl.LazyFrame | None = None, *, live: bool = False, clients: Collection[int] = (),
) -> dict[str, Rows]:  # fmt: skip
    """Candidates after their rules have judged them all together (unless they were told as they came: `live`), and have compared
    them with all connections and exchanges that are known. `clients`: connections whose client is a gateway."""
    whole = {**found}
    if closes is not None:
        whole = limited(modules, found, closes, connections, live=live)
        whole = beside_others(modules, whole, closes, exchanges, connections, clients)
    for name, rows in [*whole.items()]:
        module = modules[name]
        steps: list[Callable[[pl.DataFrame], pl.DataFrame]] = []
        if module.judge_all is not None and not live:
            steps.append(module.judge_all)
        if module.conclude is not None:
            steps.append(partial(_compared, module.conclude, connections, exchanges))
        if not steps or not rows.height:
            continue
        frame = pl.concat([*rows.iter_slices(rows.height)])
        for step in steps:
            left = guarded(module, partial(step, frame))
            frame = frame.clear() if left is None else left
        whole[name] = frame
    return {name: rows for name, rows in whole.items() if rows.height}


def _compared(conclude: Conclude, connections: pl.LazyFrame, exchanges: pl.LazyFrame, rows: pl.DataFrame) -> pl.DataFrame:
    return conclude(rows, connections, exchanges)


def _lazy(tables: Tables, name: str) -> pl.LazyFrame:
    return (tables[name] if name in tables else RULE_TABLES[name].empty()).lazy()


def _promising(
    running: list[RuleModule], tables: Tables, lazy: Mapping[str, pl.LazyFrame], *, few: bool, many: bool = False
) -> list[RuleModule]:
    """The rules that may have a candidate, told by one query per table: planning one for each rule takes longer."""
    screens: dict[str, dict[str, pl.Expr]] = {}
    asked: list[tuple[RuleModule | None, pl.LazyFrame]] = []
    for m in running:
        if m.screen is None:
            continue
        if m.plugin is None:
            for table, screen in _screens(m).items():
                screens.setdefault(table, {})[m.name] = screen.any()
        elif (queries := guarded(m, partial(_screened, m, lazy))) is not None:
            asked += [(m, query) for query in queries]
    asked += [(None, _of_their_columns(tables[table], expressions)) for table, expressions in screens.items()]
    if not asked:
        return at_work(running)
    found: dict[str, bool] = {}
    for answer in collected(asked, _planning(few), "streaming" if many else "auto"):
        if answer is not None:
            found |= {name: promising or found.get(name, False) for name, promising in answer.row(0, named=True).items()}
    return [m for m in at_work(running) if found.get(m.name, True)]


def _of_their_columns(rows: Table | pl.LazyFrame, expressions: Mapping[str, pl.Expr]) -> pl.LazyFrame:
    if not isinstance(rows, pl.DataFrame | pl.LazyFrame):
        rows = rows.select(sorted({name for one in expressions.values() for name in one.meta.root_names()}))
    return rows.lazy().select(**expressions)


def _screens(module: RuleModule) -> Mapping[str, pl.Expr]:
    """The screens of a rule, by table."""
    assert module.screen is not None
    screen = module.screen()
    return {module.tables[0]: screen} if isinstance(screen, pl.Expr) else screen


def _screened(module: RuleModule, lazy: Mapping[str, pl.LazyFrame]) -> list[pl.LazyFrame]:
    seen = _seen_by(module, lazy)
    return [seen[table].select(screen.any().alias(module.name)) for table, screen in _screens(module).items()]


def _seen_by(module: RuleModule, lazy: Mapping[str, pl.LazyFrame]) -> Mapping[str, pl.LazyFrame]:
    """The tables that a rule asks for. Ours compare what was sent, and tell nothing of it; who knows what others tell."""
    return lazy if module.plugin is None or shown() else all_masked({name: lazy[name] for name in module.tables})


def _planning(few: bool) -> pl.QueryOptFlags:
    return pl.QueryOptFlags.none() if few else pl.QueryOptFlags()


def _find(
    running: list[RuleModule], lazy: Mapping[str, pl.LazyFrame], *, few: bool, many: bool = False
) -> dict[str, pl.DataFrame]:
    asked: list[tuple[RuleModule, pl.LazyFrame]] = []
    for m in running:
        seen = _seen_by(m, lazy)
        query = guarded(m, partial(m.find, *(seen[t] for t in m.tables)))
        if query is not None:
            asked.append((m, query))
    if not asked:
        return {}
    any_order = all(m.rule.any_order for m, _ in asked)
    answers = collected([*asked], _planning(few), "streaming" if many and any_order else "auto")
    found = zip(asked, answers, strict=True)
    return {m.name: rows for (m, _), rows in found if rows is not None and rows.height}
