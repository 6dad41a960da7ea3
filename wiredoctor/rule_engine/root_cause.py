"""Resolve the candidates of all rules into findings: one finding per cause, without counting any time twice."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import polars as pl

from wiredoctor import limits
from wiredoctor.findings import Finding, RuleTotal
from wiredoctor.gateways import Gateways
from wiredoctor.limits import LimitsReached
from wiredoctor.rule_engine import summary_columns
from wiredoctor.rule_engine.across_tries import CertainTries
from wiredoctor.rule_engine.rule_module import RuleModule
from wiredoctor.rule_engine.software import with_software
from wiredoctor.rule_engine.stopped_reading import may_follow_stall, until_close
from wiredoctor.rule_engine.summary_columns import Rows
from wiredoctor.rule_engine.told_findings import ToldFindings
from wiredoctor.tables import MILLISECOND, NEVER, RULE_TABLES, SECOND, of_connections, of_exchanges
from wiredoctor.world.attempts import host_of

c = pl.col

_REQUEST = ("request_start", "request_method", "request_target", "request_user_agent", "response_status", "response_server")


def resolve(
    modules: Mapping[str, RuleModule],
    candidates: Mapping[str, Rows],
    connections: pl.LazyFrame,
    exchanges: pl.LazyFrame,
    *,
    file: str,
    first_time: int,
    only: Collection[str] | None = None,
    met: LimitsReached | None = None,
    keep: Callable[[pl.DataFrame], tuple[pl.DataFrame, pl.DataFrame]] | None = None,
    totals: dict[str, RuleTotal] | None = None,
    losses: Sequence[tuple[int | None, int]] = (),
    explains: Callable[[pl.DataFrame], object] | None = None,
    tries: pl.DataFrame | None = None,
    known: Gateways | None = None,
    passed: pl.DataFrame | None = None,
    live: bool = False,
    kept: ToldFindings | None = None,
) -> list[Finding]:
    """Return the findings of one capture by severity (worst first), delay and frame number, but each cause before its effects.

    `modules`, `candidates`: the rules that ran, and all their candidates.
    `connections`, `exchanges`: the finished rows of the capture; only the needed ones are read.
    `file`, `first_time`: the capture's name, and the time of its first packet in ns since 1970.
    `only`: the names of the rules to report. Candidates of other rules are used only to explain these rules' candidates.
    `met`: counts the candidates and findings that a limit omits.
    `keep`: splits the resolved candidates into those to report now and those that were reported earlier.
    `totals`: receives the number and delay of each rule's findings, before the limit on findings applies.
    `losses`: the times in which packets were dropped, from capture.drops.spans. If a candidate relies on the absence of packets
    in such a time, it has at most medium confidence, or is dropped.
    `explains`: a function that is called with all candidates, after their exchanges and endpoints have been added.
    `tries`, `known`: rows of tables.TRIES, and all known gateways.
    `passed`: the Server fields that gateways forwarded; needed if `exchanges` is not complete.
    `live`: findings about single events are reported before summary rules run, so these explain none of them.
    `kept`: as in `build_findings`.
    """
    core = summary_columns.candidate_frame(candidates, met)
    if core.is_empty():
        return []
    timed = pl.col("rule").is_in([name for name, module in modules.items() if RULE_TABLES[module.tables[0]].exchange_by_time])
    core = with_exchanges(_with_endpoints(core, connections), timed, exchanges)
    if explains is not None:
        explains(core)
    behind = CertainTries(tries)
    core = _one_per_cause(core, modules, behind, losses, live=live)
    if only is not None:
        core = core.filter(pl.col("rule").is_in(list(only)))
    before: set[int] = set()
    if keep is not None:
        core, told_before = keep(core)
        if core.is_empty():
            return []
        causes = _causes_among(told_before, core, modules, behind)
        core, before = pl.concat([core, causes]), {*causes["id"]}
    if totals is not None:
        totals |= _totals(core)
    core = summary_columns.without_too_many(core, limits.FINDINGS, met)
    core = behind.with_fronts(with_software(_with_requests(core, exchanges), connections, exchanges, known, passed))
    if losses:
        core = core.with_columns(_within_losses(modules, losses))
    parts = core.partition_by("rule", maintain_order=True)
    from wiredoctor.rule_engine.render import build_findings

    told = [(modules[p["rule"][0]], p, candidates[p["rule"][0]]) for p in parts]
    return build_findings(told, _causes(parts, modules, behind), file, first_time, before, kept)


def _one_per_cause(
    core: pl.DataFrame, modules: Mapping[str, RuleModule], behind: CertainTries, losses: Sequence[tuple[int | None, int]],
    *, live: bool,
) -> pl.DataFrame:  # fmt: skip
    """Return the candidates that no other candidate explains or repeats. Shorten their delays, so no time counts twice.

    Drop `silent` candidates, which only explain others. Drop a candidate that depends on silence until the end of the capture if
    packets were lost in that time.
    """
    told = ~pl.col("silent").fill_null(value=False)
    core = core.filter(told & ~pl.col("id").is_in(_explained_ids(core, modules, behind, live=live).implode())).drop("silent")
    core = core.unique(["rule", "connection", "frame", "client", "server"], keep="first", maintain_order=True)
    if losses:
        core = core.filter(~(pl.col("until_end").fill_null(value=False) & _during(losses)))
    return _without_overlaps(core.drop("until_end"))


def _within_losses(modules: Mapping[str, RuleModule], losses: Sequence[tuple[int | None, int]]) -> pl.Expr:
    """Return an expression `in_loss` that is true if a candidate relies on the absence of packets while packets were dropped."""
    absent = pl.col("rule").is_in([name for name, module in modules.items() if module.rule.absence])
    return (absent & _during(losses)).alias("in_loss")


def _during(losses: Sequence[tuple[int | None, int]]) -> pl.Expr:
    """Return an expression that is true if packets were dropped in the time between a candidate's start and end.

    A candidate without these times counts as affected by every loss.
    """
    during = [
        pl.col("end").fill_null(until).ge(-1 if since is None else since) & pl.col("start").fill_null(until).le(until)
        for since, until in losses[:_MAX_LOSSES]
    ]
    if rest := losses[_MAX_LOSSES:]:
        during.append(pl.col("end").fill_null(rest[-1][1]) >= (rest[0][0] or 0))
    return pl.any_horizontal(during)


_MAX_LOSSES = 100
"""The maximum number of losses that are compared one by one; the later ones count as a single loss."""


def _totals(core: pl.DataFrame) -> dict[str, RuleTotal]:
    """Return for each rule the number of its candidates and the sum of their delays in seconds."""
    sums = core.group_by("rule").agg(pl.len(), pl.col("delay").sum())
    return {rule: RuleTotal(findings, delay / SECOND) for rule, findings, delay in sums.sort("rule").iter_rows()}


def _with_endpoints(core: pl.DataFrame, connections: pl.LazyFrame) -> pl.DataFrame:
    """Add the columns `client`, `server` and `client_direction` from the connections.

    If a candidate already has a client or server, that value is kept.
    """
    known = (
        of_connections(connections, core)
        .select("connection", "client", "server", "client_direction")
        .collect()
        .unique("connection", keep="last", maintain_order=True)
    )
    joined = core.join(known, on="connection", how="left", suffix="_of_connection", maintain_order="left")
    return joined.with_columns(
        pl.coalesce("client", "client_of_connection").alias("client"),
        pl.coalesce("server", "server_of_connection").alias("server"),
    ).drop("client_of_connection", "server_of_connection")


def _with_requests(core: pl.DataFrame, exchanges: pl.LazyFrame) -> pl.DataFrame:
    """Add the columns _REQUEST of the candidates' exchanges: method, target, status, and the software of both sides."""
    key = ["connection", "exchange"]
    known = of_exchanges(exchanges, core).select(*key, *_REQUEST).collect().unique(key, keep="last", maintain_order=True)
    return core.join(known, on=key, how="left", maintain_order="left")


# One cause, one finding


TOLD_LIVE = "gateway-error"
"""The only summary rule whose findings are reported while a capture goes on."""


def _explained_ids(
    core: pl.DataFrame, modules: Mapping[str, RuleModule], behind: CertainTries, *, live: bool
) -> pl.Series:  # fmt: skip
    """Return the ids of the candidates that other candidates explain, even if the others are themselves explained."""
    names = ("id", "rule", "kind", "connection", "exchange", "client", "server", "start", "end")
    core = core.select(names)  # a join copies every column
    by_rule = {str(part["rule"][0]): part for part in core.partition_by("rule", maintain_order=True)}
    gone = [pl.Series("id", [], dtype=pl.UInt32)]
    for rule, every in by_rule.items():
        causes: dict[str, list[pl.DataFrame]] = {}
        for name, scope in modules[rule].rule.explained_by:
            named = name.partition("/")[0]
            for r, part in by_rule.items():
                late = live and modules[r].rule.summary and not modules[rule].rule.summary and r != TOLD_LIVE
                if (scope == "front" or r != rule) and named in (r, modules[r].family) and not late:
                    causes.setdefault(scope, []).append(_of_kind(part, name))
        if causes:
            unexplained = modules[rule].rule.unexplained
            mine = every.filter(~pl.col("kind").is_in(unexplained).fill_null(value=False)) if unexplained else every
            for scope, some in causes.items():
                shares = behind.of_front if scope == "front" else _SCOPES[scope]
                gone.append(shares(mine, pl.concat(some))["id"])
    return pl.concat(gone).unique()


def _of_kind(part: pl.DataFrame, name: str) -> pl.DataFrame:
    """Return the candidates in `part` that `name` selects: "rule/kind", "rule/" (those without a kind) or "rule" (all)."""
    _, slash, kind = name.partition("/")
    if not slash:
        return part
    return part.filter(pl.col("kind") == kind if kind else pl.col("kind").is_null())


def _causes(parts: list[pl.DataFrame], modules: Mapping[str, RuleModule], behind: CertainTries) -> list[tuple[int, int]]:
    """Return pairs (candidate id, id of its cause) for candidates that are reported together with their cause.

    A scope says what a candidate and its cause must have in common. If a rule has several candidates in the same scope, only the
    first is the cause. In the scope "tries", the candidate is about a client's exchange with a gateway, and its causes are about
    the gateway's tries for it. The first candidate about each try is a cause. These causes are in the order in which the tries
    began.
    """
    pairs: set[tuple[int, int]] = set()
    tried: set[tuple[int, int, int]] = set()
    for mine in parts:
        rule = str(mine["rule"][0])
        for name, scope in modules[rule].rule.caused_by:
            for cause in parts:
                named = str(cause["rule"][0])
                if (named == rule and scope != "tries") or name.partition("/")[0] not in (named, modules[named].family):
                    continue
                causes = _of_kind(cause, name)
                if scope == "tries":
                    tried |= behind.causes(mine, causes)
                elif scope == "until":
                    pairs |= _until(mine, causes)
                elif scope in ("wait", "wait-behind"):
                    pairs |= _waits(mine, causes, behind, in_front=scope == "wait")
                else:
                    key = _KEYS[scope]
                    first = causes.sort("frame").unique(key, keep="first").select(*key, pl.col("id").alias("cause"))
                    pairs |= {*mine.select(*key, "id").join(first, on=key).select("id", "cause").iter_rows()}
    in_order = dict.fromkeys((number, cause) for number, _, cause in sorted(tried))
    return [*sorted(pairs), *in_order]


def _until(mine: pl.DataFrame, cause: pl.DataFrame) -> set[tuple[int, int]]:
    """Return (candidate id, id of its cause) for responses that were cut off while the client did not read.

    `mine`: the candidates, about responses that the server cut off. `cause`: candidates about stalls due to a full receive
    window.
    """
    key = _KEYS["exchange"]
    stalls = cause.filter(c("direction") == c("client_direction")).select(*key, "frame", cause="id", begun="start", over="end")
    mine = mine.filter(may_follow_stall())
    found = mine.select(*key, "id", "end").join(stalls, on=key).filter(until_close("begun", "over"))
    return {*found.sort("frame").unique("id", keep="last").select("id", "cause").iter_rows()}


def _waits(mine: pl.DataFrame, cause: pl.DataFrame, behind: CertainTries, *, in_front: bool) -> set[tuple[int, int]]:
    """Return (candidate id, id of its cause) for candidates about a wait that the cause explains.

    A cause explains the wait only if the rest of the wait, after the cause had ended, was no longer than the cause. The cause
    must belong to one of the gateway's tries for the client's exchange; if `in_front` is true, it may also belong to the exchange
    itself. With `in_front`, a cause that ends within BY_CLOSE after the client's close does not count: many servers and proxies
    end their work, and respond, because of that close.
    """
    key = _KEYS["exchange"]
    columns = (*key, "frame", "id", "start", "end")
    seen = behind.seen_in_front(cause).select(columns)
    both = pl.concat([cause.select(columns), seen]) if in_front else seen
    causes = both.rename({"id": "cause", "start": "begun", "end": "over"})
    found = mine.select(*key, "id", "end").join(causes, on=key).filter(c("end") - c("over") <= c("over") - c("begun"))
    if in_front:
        found = found.filter(~(c("over") - c("end")).is_between(1, BY_CLOSE))
    return {*found.sort("frame").unique("id", keep="first").select("id", "cause").iter_rows()}


def _causes_among(
    told: pl.DataFrame, core: pl.DataFrame, modules: Mapping[str, RuleModule], behind: CertainTries
) -> pl.DataFrame:  # fmt: skip
    """Return the candidates that are already reported (`told`) and that caused a candidate in `core`."""
    if not any(modules[rule].rule.caused_by for rule in core["rule"].unique()):
        return told.clear()
    pairs = _causes(pl.concat([core, told]).partition_by("rule", maintain_order=True), modules, behind)
    fresh = {*core["id"]}
    return told.filter(pl.col("id").is_in([cause for number, cause in pairs if number in fresh]))


BY_CLOSE = 250 * MILLISECOND
"""The maximum time in ns, with the round trip, from a client's close to a response that the close may have caused."""

_KEYS = {"exchange": ["connection", "exchange"], "connection": ["connection"], "endpoint": ["server"]}
"""The columns in which a candidate and its cause must be equal, by scope."""


def _same(*columns: str) -> Callable[[pl.DataFrame, pl.DataFrame], pl.DataFrame]:
    """Return a function (candidates, causes) that selects the candidates whose values in these columns equal those of a cause.

    A null never counts as equal.
    """
    return lambda mine, causes: mine.join(causes, on=list(columns), how="semi")


def _same_pair(mine: pl.DataFrame, causes: pl.DataFrame) -> pl.DataFrame:
    """Return the candidates about the same client host and server as a cause."""
    hosts = (rows.with_columns(host_of("client").alias("host")) for rows in (mine, causes))
    return _same("host", "server")(*hosts)


def _previous(mine: pl.DataFrame, causes: pl.DataFrame) -> pl.DataFrame:
    """Return the candidates whose exchange directly follows the exchange of a cause."""
    return mine.join(causes.with_columns(pl.col("exchange") + 1), on=_KEYS["exchange"], how="semi")


def _same_time(mine: pl.DataFrame, causes: pl.DataFrame) -> pl.DataFrame:
    """Return the candidates whose time overlaps that of a cause on the same connection.

    A cause overlaps a candidate if it begins before the candidate ends, and ends after the candidate starts.
    """
    causes = causes.select("connection", "start", "end").drop_nulls().sort("start")
    latest = causes.with_columns(pl.col("end").cum_max().over("connection").alias("latest")).drop("end")
    return (
        mine.drop_nulls(["connection", "start", "end"])
        .sort("end")
        .join_asof(
            latest.rename({"start": "begun"}),
            left_on="end",
            right_on="begun",
            by="connection",
            allow_exact_matches=False,
            check_sortedness=False,
        )
        .filter(pl.col("latest") > pl.col("start"))
    )


_SCOPES: dict[str, Callable[[pl.DataFrame, pl.DataFrame], pl.DataFrame]] = {
    "time": _same_time,
    "previous": _previous,
    "pair": _same_pair,
    **{scope: _same(*columns) for scope, columns in _KEYS.items()},
}


def _without_overlaps(core: pl.DataFrame) -> pl.DataFrame:
    """Shorten delays so that no time of a connection counts twice.

    If two candidates overlap, the common time counts only for the candidate that began first.
    """
    costly = (
        core.filter(pl.col("delay").is_not_null() & pl.col("connection").is_not_null())
        .sort("start", "frame", "id")
        .with_columns(pl.col("end").cum_max().shift(1).over("connection").alias("counted"))
        .select("id", (pl.col("end") - pl.max_horizontal("start", "counted")).clip(0).alias("uncounted"))
    )
    return (
        core.join(costly, on="id", how="left", maintain_order="left")
        .with_columns(pl.when(pl.col("delay").is_not_null()).then(pl.min_horizontal("delay", "uncounted")).alias("delay"))
        .drop("uncounted")
    )


def with_exchanges(core: pl.DataFrame, timed: pl.Expr, exchanges: pl.LazyFrame) -> pl.DataFrame:
    """Assign an exchange to those candidates that have none and for which `timed` is true.

    If requests of the connection were first captured between the start and the end of the candidate, assign the exchange of the
    last of them. That may be the delayed request, if its first copy was lost before the capture point. If no request was captured
    in that time, assign the first exchange that had begun and had not ended at the start of the candidate. If there is none
    either, the column stays null.
    """
    open_ones = core.filter(timed, pl.col("exchange").is_null()).drop_nulls(["connection", "start", "end"])
    if open_ones.is_empty():
        return core
    asked = open_ones.select("id", "connection", "start", "end")
    known = _spans(exchanges, asked)
    late = asked.sort("end").join_asof(
        known.sort("begin"), left_on="end", right_on="begin", by="connection", check_sortedness=False
    )
    first = asked.sort("start").join_asof(
        known.sort("over"), left_on="start", right_on="over", by="connection", strategy="forward", check_sortedness=False
    )
    found = (
        asked.select("id")
        .join(late.select("id", late=pl.when(c("begin") > c("start")).then("index")), on="id", how="left")
        .join(first.select("id", first=pl.when(c("begin") <= c("end")).then("index")), on="id", how="left")
        .select("id", pl.coalesce("late", "first").alias("found"))
    )
    joined = core.join(found, on="id", how="left", maintain_order="left")
    return joined.with_columns(pl.coalesce("exchange", "found").alias("exchange")).drop("found")


def _spans(exchanges: pl.LazyFrame, asked: pl.DataFrame) -> pl.DataFrame:
    """Return the exchanges on the connections of `asked`: `connection`, `index` (in the connection), `begin` and `over` (ns).

    `over`: the time by which this exchange and all earlier ones of its connection had ended. It is -NEVER (later than any packet)
    if one of their responses was still incomplete when the connection ended. But a response whose framing has missing or
    contradictory bytes ("hole", "error") counts as ended when reading stopped, because it is unknown which later packets
    belong to it. A missing response ended before the response to a later request, because a server responds in order.
    """
    is_read = c("response_end_reason").is_in(["complete", "hole", "error"])
    answers = pl.when(c("request_start").is_not_null()).then(c("response_start"))
    later = answers.shift(-1).cum_min(reverse=True).backward_fill().over("connection") - 1
    over = pl.when(c("response_start").is_null()).then(later).when(is_read).then("response_end").fill_null(-NEVER)
    return (
        of_connections(exchanges, asked)
        .sort("connection", "exchange")
        .select(
            "connection",
            c("exchange").alias("index"),
            pl.coalesce("request_start", "response_start").alias("begin"),
            over.alias("over"),
        )
        .drop_nulls("begin")
        .collect()
        .with_columns(c("over").cum_max().over("connection"))
    )
