"""Turn the results of the rules into a report: resolve and sort findings, and add facts about captures and limits."""

from __future__ import annotations

import gc
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from wiredoctor import gateways, limits, rule_engine
from wiredoctor.capture.model import Captured
from wiredoctor.findings import (
    SEVERITIES,
    CaptureSummary,
    Checked,
    Finding,
    PacketAccess,
    Report,
    RuleTotal,
    causes_first,
    sum_totals,
    total_delay,
)
from wiredoctor.rule_engine import RuleSet
from wiredoctor.rule_engine.across_tries import fronts_of, tries_of
from wiredoctor.rule_engine.candidates import Candidates, CandidateStore, together
from wiredoctor.storage.spill import BatchSpill, Folder, Spill, SpillOfCaptures, SpillWindow
from wiredoctor.tables import AT_ITS_END, AT_THE_CLOSE, CONNECTIONS, EXCHANGES, SMALL, STORED_EXCHANGES, Table, of_captures
from wiredoctor.text.redact_tables import redact_table
from wiredoctor.text.regex import Regex
from wiredoctor.version import __version__
from wiredoctor.world import CaptureTables

if TYPE_CHECKING:
    from wiredoctor.engine.run import Analysis


@dataclass(eq=False, repr=False)
class Done:
    """The results of the analysis of one capture.

    `connections`, `exchanges`: the finished rows, some of them in temporary files in `folder`; those of all captures read so far
    if they are of class SpillOfCaptures. `limits`: a sentence for each limit that was reached. `captures`: the capture's row of
    tables.CAPTURES. `totals`: the totals by rule. `left`: the exchanges and connections that ended abnormally and that no finding
    explains. `paired`: the gateways, with their exchanges. `packets`: access to the packets; None if the capture was closed.
    """

    summary: CaptureSummary
    findings: list[Finding]
    connections: Spill
    exchanges: Spill
    limits: list[str]
    folder: Folder
    captures: pl.DataFrame
    totals: dict[str, RuleTotal]
    left: rule_engine.Remainder
    paired: gateways.Gateways
    packets: PacketAccess | None = None


class RowsOfCaptures:
    """The finished rows of all captures read so far. They are joined, because a capture may have only a few rows."""

    def __init__(self) -> None:
        folder = Folder()
        self.connections = SpillOfCaptures(of_captures(CONNECTIONS), folder)
        self.exchanges = SpillOfCaptures(of_captures(STORED_EXCHANGES), folder)

    def take(self, one: Done) -> None:
        """Add the rows of a capture. From now on, `one` has the rows of all captures."""
        file = one.summary.file
        one.connections = self.connections.take(file, one.connections)
        one.exchanges = self.exchanges.take(file, one.exchanges)


@contextmanager
def without_collector() -> Generator[None]:
    """Suspend the garbage collector in the `with` block, because it would scan the open connections again and again.

    The code in the block must not create many reference cycles, because they are not freed before its end.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def waiting(folder: Folder, batches: Iterable[Candidates]) -> CandidateStore:
    waiting = CandidateStore(folder)
    for batch in batches:
        waiting.append(batch)
    return waiting


def diagnose(
    analysis: Analysis, rules: RuleSet, judge: Callable[[Candidates], Candidates], *, live: bool = False
) -> Done:  # fmt: skip
    """Build the results for a capture that has been read to its end.

    A candidate is a row that a rule found and that may become a finding. `analysis.found` has the candidates of rules that judge
    single events. `judge` is called with the candidates of rules that judge connections or exchanges together, and returns those
    to report. `live`: findings were already reported as soon as they were final, so they do not change.
    """
    capture, connections, exchanges = analysis.capture, analysis.connections, analysis.exchanges
    totals: dict[str, RuleTotal] = {}
    table = analysis.capture_table()
    replay = None if live else rule_engine.replay_rate(connections.scan())
    with limits.counting(analysis.met):
        findings, explained, known, uncompared = _resolve(analysis, rules, judge, table, totals, live=live, replay=replay)
    left = rule_engine.unjudged(
        *analysis.suspects(), explained, answers=exchanges.scan(), hosts=connections.scan(),
        counts=(exchanges.rows, connections.rows), latest=analysis.latest,
        overwritten_until=max((until for _, until in analysis.gaps), default=None), most=limits.UNJUDGED.value, file=capture.file,
        first_time=capture.first_time or 0, many=_are_many(connections, exchanges),
    )  # fmt: skip
    if uncompared:
        left.counts["not-compared"] = uncompared
    return Done(
        analysis.summary(),
        findings,
        connections,
        exchanges,
        [*analysis.limits_reached(), *([] if replay is None else [rule_engine.replay_text(replay)])],
        analysis.folder,
        table,
        totals,
        left,
        known,
    )


def _resolve(
    analysis: Analysis, rules: RuleSet, judge: Callable[[Candidates], Candidates], table: pl.DataFrame,
    totals: dict[str, RuleTotal], *, live: bool, replay: float | None,
) -> tuple[list[Finding], rule_engine.Explained, gateways.Gateways, int]:  # fmt: skip
    """Return four results: the findings; the abnormal ends of connections and exchanges that the findings explain; the
    gateways; and the number of connections that were not compared with others.

    There is one finding per cause. The rules that compare connections or exchanges run here, over the complete capture or over
    the end of a long one, so the oldest connections may not be compared. `table`: the capture's row of tables.CAPTURES. The
    function fills `totals` with each rule's totals. `replay`: the rate of the hosts' clocks in a replay, which gets
    no findings that depend on times.
    """
    capture, connections, exchanges = analysis.capture, analysis.connections, analysis.exchanges
    modules, found, folder = rules.modules, analysis.found, Folder(analysis.folder.inside)
    scans = {"connections": connections.scan(), "captures": table.lazy(), **_exchange_tables(exchanges)}
    newest = _newest_exchanges(exchanges) if live else None
    searched = {"exchanges": exchanges.scan(), "connections": connections.scan()}
    if newest is not None:
        searched = rule_engine.since_frame({**searched, "exchanges": newest.rows}, newest.frame)
    known = gateways.Gateways()
    if exchanges.rows:
        known = gateways.find(
            searched["exchanges"], searched["connections"], gaps=analysis.gaps, corrections=analysis.clock_corrections
        )
    if analysis.reported_tries is not None:
        known = known.with_tries(analysis.reported_tries)
    tries = tries_of(known)
    scans |= {"tries": tries.lazy(), "fronts": fronts_of(known).lazy()}
    rows = connections.rows + exchanges.rows
    many = _are_many(connections, exchanges)
    steps, doubtful = sorted(analysis.steps.frames), analysis.doubtful_frames
    if replay is not None:
        found = waiting(analysis.folder, (rule_engine.drop_timed(batch, modules) for batch in found))
    if steps and not analysis.times_are_judged:
        found = waiting(analysis.folder, (rule_engine.drop_across_clock_steps(batch, modules, steps) for batch in found))
    if doubtful and not analysis.times_are_judged:
        found = waiting(analysis.folder, (rule_engine.unsure_across(batch, modules, doubtful) for batch in found))
    parts, uncompared = [(dict(modules), scans)], 0
    counts = connections.rows, exchanges.rows
    if start := rule_engine.window_start(scans["connections"], scans["exchanges"], counts):
        parts, uncompared = rule_engine.restrict_to_window(scans, modules, start, connections.forgotten)
        if not any(modules[name].rule.summary for name in rules.chosen):  # the others only explain findings of the chosen rules
            uncompared = 0
    if newest is not None:
        parts = rule_engine.apart(parts, newest.frame, {} if start else _tables_of(newest.rows))
    if steps:
        parts = [part for some, tables in parts for part in rule_engine.split_at_clock_steps(tables, some, steps)]
    without_rows = {*([] if exchanges.rows else ["exchanges", "closes"]), *([] if tries.height else ["tries", "fronts"])}
    for some, tables in parts:
        filled = {name: rows for name, rows in tables.items() if name not in without_rows}
        batches: Iterable[Candidates] = map(judge, rule_engine.find_summaries(some, filled, few=rows <= SMALL, many=many))
        if replay is not None:
            batches = (rule_engine.drop_timed(judged, modules) for judged in batches)
        for batch in (rule_engine.unsure_across(judged, modules, doubtful) for judged in batches):
            found.append(rule_engine.drop_across_clock_steps(batch, modules, steps) if steps else batch)
            del batch  # its memory is needed by the next rule
    candidates = {name: partial(together, parts) for name, parts in found.of_rules().items()}
    first = capture.first_time or 0
    while True:
        failed = rule_engine.failures(modules)
        totals.clear()
        explaining: list[pl.DataFrame] = []
        whole = rule_engine.join_batches(modules, candidates)
        asked = CaptureTables(
            scans["closes"], scans["connections"], partial(scans.__getitem__, "exchanges"), lambda: known.clients, tries=tries
        )
        whole, _ = rule_engine.decide(modules, whole, asked, live=live, folder=folder)
        sides = rule_engine.Sides(known, tries, scans["closes"], scans["exchanges"], scans["connections"])
        whole = rule_engine.with_facts_of_others(modules, whole, sides, folder)
        findings = rule_engine.resolve(
            modules, whole, scans["connections"], scans["exchanges"],
            file=capture.file, first_time=first, only=rules.chosen, met=analysis.met, totals=totals, losses=analysis.losses(),
            explains=explaining.append, tries=tries, known=known, live=live, kept=analysis.told,
        )  # fmt: skip
        if rule_engine.failures(modules) == failed:
            explain = {name: modules[name] for name in (*rules.chosen, *rules.known)}
            explained = rule_engine.explained_keys(explaining[0] if explaining else pl.DataFrame(), explain)
            located = [_add_file(finding, capture) for finding in findings] if capture.files else findings
            located = [*map(_without_frames, located)] if capture.is_sorted else located
            folder.remove()  # a report may be kept for long
            return located, explained, known, uncompared
        # a rule failed: repeat without it, because candidates that are not reported must not explain others


class _Newest(NamedTuple):
    """The exchanges of a live capture that are searched for gateways: those in `rows` that began with this frame or later."""

    rows: pl.LazyFrame
    frame: int


def _newest_exchanges(exchanges: Spill) -> _Newest | None:
    """Return the exchanges of a live capture that are searched for gateways; None for all. Count the others in the report."""
    most = limits.LIVE_PAIRED_AT_END.value
    limits.leave_out(limits.LIVE_PAIRED_AT_END, exchanges.rows - most)
    if exchanges.rows - exchanges.forgotten <= most or not isinstance(exchanges, SpillWindow):
        return None
    # twice as many, because those that began last are not exactly those that ended last
    rows = exchanges.scan_newest(2 * most)
    frame = rule_engine.newest_exchanges(rows, most)
    return None if frame is None else _Newest(rows, frame)


def _are_many(connections: Spill, exchanges: Spill) -> bool:
    return connections.rows + exchanges.rows > limits.SUMMARIES_TOGETHER.value


def _exchange_tables(rows: Spill) -> dict[str, pl.LazyFrame]:
    """Return the tables of exchanges that rules read, by name, as lazy frames."""
    if isinstance(rows, BatchSpill):
        return {"exchanges": rows.scan_as(*AT_ITS_END), "closes": rows.scan_as(*AT_THE_CLOSE)}
    return _tables_of(rows.scan())


def _tables_of(stored: pl.LazyFrame) -> dict[str, pl.LazyFrame]:
    return {"exchanges": AT_ITS_END.of(stored), "closes": AT_THE_CLOSE.of(stored)}


def _without_frames(finding: Finding) -> Finding:
    """Return the finding without frame numbers in its display filter, because the unsorted file has other frame numbers."""
    return replace(finding, display_filter=_FRAMES.sub("", finding.display_filter))


_FRAMES = Regex(r"( && )?frame\.number in \{[^}]*\}")


def _add_file(finding: Finding, capture: Captured) -> Finding:
    """Return the finding with a file name, and the frame number in that file, for each packet of its evidence."""
    places = [capture.locate(step.frame) for step in finding.evidence]
    steps = zip(finding.evidence, places, strict=True)
    evidence = tuple(step if place is None else step._replace(file=place[0], file_frame=place[1]) for step, place in steps)
    return replace(finding, evidence=evidence)


def report(done: list[Done], rules: RuleSet, *, secrets: bool) -> Report:
    """Return the report on all captures. If `secrets` is false, its tables show masks instead of values that may be secret."""
    failed = rule_engine.failures(rules.modules)
    every = {
        name: Checked(module.family, module.tables[0], module.rule.ends)
        for name, module in rules.everything.items()
        if name not in failed
    }
    checked, unasked = ({n: c for n, c in every.items() if (n in rules.chosen) == asked} for asked in (True, False))
    made = _join_reports(done, checked, unasked, secrets=secrets)
    made.limits.extend(f"rule {name} of {rules.modules[name].source} is left out: {why}" for name, why in failed.items())
    return made


def _join_reports(done: list[Done], checked: dict[str, Checked], unasked: dict[str, Checked], *, secrets: bool) -> Report:
    rank = {severity: i for i, severity in enumerate(SEVERITIES)}
    report = Report(version=__version__, checked=checked, unasked=unasked, secrets=secrets)
    for one in done:
        report.captures.append(one.summary)
        report.findings.extend(one.findings)
        report.not_judged.extend(one.left.worst)
        for reason, number in one.left.counts.items():
            key = one.summary.file, reason
            report.not_judged_counts[key] = report.not_judged_counts.get(key, 0) + number
        where = f"{one.summary.file}: " if len(done) > 1 else ""
        report.limits.extend(where + limit for limit in one.limits)
        for name, rows in (("connections", one.connections), ("exchanges", one.exchanges)):
            if isinstance(rows, SpillWindow) and rows.tally is not None:
                named = pl.col("endpoint").replace_strict(rows.names, default=None, return_dtype=pl.String).alias("server")
                report.forgotten[name] = rows.tally.with_columns(named) if rows.names else rows.tally
        report.gateways[one.summary.file] = one.paired
        report.resources.append(one.folder)
        if one.packets is not None:
            report.packets[one.summary.file] = one.packets
    report.findings.sort(key=lambda finding: rank[finding.severity])
    beyond = _delay_beyond_limit(done)
    ordered = causes_first(report.findings, lambda finding: (finding,))
    for one in done:
        one.findings.clear()
    for place, finding in enumerate(ordered):
        object.__setattr__(finding, "number", place + 1)  # a copy of each takes a tenth of the time of a report on many
    report.findings = ordered
    report.delay = total_delay(report.findings) + beyond
    report.totals = sum_totals(one.totals for one in done)
    if done:
        captures, newest = [one.captures for one in done], done[-1]
        report.connection_count, report.exchange_count = newest.connections.rows, newest.exchanges.rows
        report.scan_captures = lambda: pl.concat([one.lazy() for one in captures])
        report.scan_connections = Scan(newest.summary.file, newest.connections, CONNECTIONS, secrets)
        report.scan_exchanges = Scan(newest.summary.file, newest.exchanges, EXCHANGES, secrets)
    return report


def _delay_beyond_limit(done: Sequence[Done]) -> float:
    """Return the time in seconds lost to candidates that are not among the findings because a limit was reached."""
    beyond = 0.0
    for one in done:
        if sum(total.findings for total in one.totals.values()) > len(one.findings):
            beyond += sum(total.delay for total in one.totals.values()) - sum(finding.delay or 0.0 for finding in one.findings)
    return round(beyond, 9)


class Scan(NamedTuple):
    """The rows of one table in all captures, read on demand. If `secrets` is false, values that may be secret are masked.

    `rows`: the rows of the capture `file`, or those of all captures with the column `capture`.
    """

    file: str
    rows: Spill
    table: Table
    secrets: bool

    def __call__(self) -> pl.LazyFrame:
        """Return all rows as a lazy frame."""
        return self.slice(0, self.rows.rows - self.rows.forgotten)

    def slice(self, first: int, count: int) -> pl.LazyFrame:
        """Return `count` rows, beginning with row `first`. Reading all slices in order takes no longer than reading all rows at
        once.
        """
        if isinstance(self.rows, SpillOfCaptures):
            made = self.rows.slice(of_captures(self.table), first, count)
        else:
            some = self.rows.scan()
            some = some.slice(first, count) if first or count < self.rows.rows - self.rows.forgotten else some
            made = some.with_columns(pl.lit(self.file).alias("capture")).select("capture", pl.exclude("capture"))
        return made if self.secrets else redact_table(self.table.name, made)
