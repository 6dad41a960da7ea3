"""How far a report reaches: what was checked for what, which rules found nothing, what could not be judged and why."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeVar

from wiredoctor.findings import UNJUDGED
from wiredoctor.report.by_status import SERVER_ERROR, Answered, ServerAnswers, answered, by_server

if TYPE_CHECKING:
    import polars as pl

    from wiredoctor.findings import Checked, Report
    from wiredoctor.tables import Subject as TableSubject

_CARRIED = ("http", "tls", "http2", "unknown")
"""What connections with data carry."""

Key = TypeVar("Key")

Thing = Literal["connections", "exchanges", "rules"]
Subject = Literal["http", "tls", "http2", "unknown", "none", "capture"]

SUBJECTS: tuple[Subject, ...] = ("http", "tls", "http2", "unknown", "none", "capture")
"""What can be checked: connections by what they carry (see tables.PROTOCOLS), and the captures themselves."""


@dataclass(frozen=True)
class Looked:
    """So many connections, with so many exchanges, were checked by all rules of these families and by some of others."""

    what: Subject
    connections: int
    exchanges: int
    families: tuple[str, ...]
    rules: tuple[str, ...]


@dataclass(frozen=True)
class NotJudged:
    """Some of the connections, exchanges or rules, and why nothing, or less, can be said of them. `ending`: the key of
    UNJUDGED where they did not end as they should; else empty."""

    what: Thing
    count: int
    reason: str
    ending: str = ""


@dataclass(frozen=True)
class Answers:
    """How many requests there are, and how many of them have a final response; and how many final responses have which status,
    those below 500 by their class (200, 300, 400)."""

    requests: int
    answered: int
    statuses: dict[int, int]

    @property
    def responses(self) -> int:
        """How many final responses there are, with those whose request is not in the capture."""
        return sum(self.statuses.values())

    @property
    def classes(self) -> dict[str, int]:
        """ "2xx" -> how many."""
        classes: dict[str, int] = {}
        for status, number in sorted(self.statuses.items()):
            name = f"{status // 100}xx"
            classes[name] = classes.get(name, 0) + number
        return classes

    @property
    def failures(self) -> dict[int, int]:
        """Those that say that the server failed."""
        return {status: number for status, number in sorted(self.statuses.items()) if status >= SERVER_ERROR}


@dataclass(frozen=True)
class Reach:
    """`checked`: what was looked at, and for what. `healthy`: the rules that had something to look at and found nothing, by
    name, in the order of the rules. `not_judged`: what did not end as it should, the worst first; then connections, exchanges and
    rules of which less can be said."""

    checked: tuple[Looked, ...]
    healthy: tuple[str, ...]
    not_judged: tuple[NotJudged, ...]
    answers: Answers = Answers(0, 0, {})
    connections: int = 0
    exchanges: int = 0
    """How many there are in all."""
    servers: tuple[ServerAnswers, ...] = ()

    @property
    def endings(self) -> dict[str, int]:
        """Return the count per reason of UNJUDGED."""
        return {one.ending: one.count for one in self.not_judged if one.ending}


_CONNECTIONS = {
    "tls": "TLS, not decrypted: HTTP in it, and how it was closed, were not judged",
    "http2": "HTTP/2, which is not read: only stalls and connects were looked at",
    "unknown": "neither HTTP/1.x nor TLS: only stalls and connects were looked at",
    "none": "carried no data",
    "one_sided": "only one direction was captured: nothing that needs both was judged",
    "unseen": "bytes are missing from the capture: findings that touch such a place have low confidence",
    "late": "began before the capture, without the handshake: round trips are less sure, and confidence is medium at most",
    "open": "still open when the capture ended: the close is not in it",
}
_EXCHANGES = {"unasked": "no request in the capture, which began later or lost it"}


def reach(report: Report) -> Reach:
    """How far the report reaches. Reads the tables of connections and of exchanges once."""
    found = {f.rule for f in report.findings}.union(*(left.rules for left in report.left_out))
    rows = answered(report)
    answers = _each_answers(rows)
    whole = Answers(
        sum(one.requests for one in answers.values()),
        sum(one.answered for one in answers.values()),
        _sums(one.statuses for one in answers.values()),
    )
    endings = _sums({reason: number} for (_, reason), number in report.not_judged_counts.items())
    made = _reach(report, _connections(report), _exchanges(report), len(report.captures), found, endings, whole)
    return replace(made, servers=by_server(report, rows))


def reaches(report: Report) -> dict[str, Reach]:
    """The same of each capture by its name, where what was left out is no finding of any. Reads these tables once for all."""
    connections, exchanges = _each_connections(report), _each_exchanges(report)
    found: dict[str, set[str]] = {}
    for one in report.findings:
        found.setdefault(one.capture, set()).add(one.rule)
    none: dict[str, int] = {}
    rows = answered(report)
    answers = _each_answers(rows)
    endings: dict[str, dict[str, int]] = {}
    for (name, reason), number in report.not_judged_counts.items():
        endings.setdefault(name, {})[reason] = number
    return {
        name: replace(
            _reach(
                report,
                connections.get(name, none),
                exchanges.get(name, none),
                1,
                found.get(name, set()),
                endings.get(name, none),
                answers.get(name, Answers(0, 0, {})),
            ),
            servers=by_server(report, rows, name),
        )
        for name in dict.fromkeys(capture.file for capture in report.captures)
    }


def _sums(parts: Iterable[dict[Key, int]]) -> dict[Key, int]:
    sums: dict[Key, int] = {}
    for part in parts:
        for key, number in part.items():
            sums[key] = sums.get(key, 0) + number
    return sums


def _reach(
    report: Report, counted: dict[str, int], exchanges: dict[str, int], captures: int, found: set[str],
    endings: dict[str, int], answers: Answers,
) -> Reach:  # fmt: skip
    """`counted` and `exchanges` as _connections and _exchanges give them, `endings` by reason, of so many captures."""
    carried = dict.fromkeys(_named(), 0) | counted
    judged = exchanges.get("judged", 0)
    both = sum(carried[f"both_{name}"] for name in _CARRIED)
    rows: dict[TableSubject, int] = {"exchanges": judged, "segments": both, "connections": carried["rows"], "captures": captures}
    # of payload that is not HTTP only the stalls are judged
    of_http = {**rows, "segments": carried["both_http"]}
    had = [n for n, r in report.checked.items() if (rows if r.family == "stalls" else of_http)[_subject_of(r)]]
    not_judged = [
        *(
            NotJudged(one.what, endings[name], _asked(one.reason, report), name)
            for name, one in UNJUDGED.items()
            if name in endings
        ),
        *(NotJudged("connections", carried[name], why) for name, why in _CONNECTIONS.items() if carried[name]),
        *(NotJudged("exchanges", exchanges[name], why) for name, why in _EXCHANGES.items() if exchanges.get(name)),
    ]
    if idle := len(report.checked) - len(had):
        why = _nothing_for(carried["rows"], exchanges.get("rows", 0))
        not_judged.append(NotJudged("rules", idle, f"{why}, so that there was nothing to check"))
    healthy = tuple(name for name in had if name not in found)
    return Reach(
        tuple(_looked(report, carried, judged, captures)),
        healthy,
        tuple(not_judged),
        answers,
        carried["rows"],
        exchanges.get("rows", 0),
    )


def _asked(reason: str, report: Report) -> str:
    return reason.replace("no rule", "no rule that was asked for") if report.unasked else reason


def _subject_of(rule: Checked) -> TableSubject:
    """Return what the table that a rule reads is about."""
    from wiredoctor.tables import RULE_TABLES

    return RULE_TABLES[rule.table].subject


def _nothing_for(connections: int, exchanges: int) -> str:
    if not connections:
        return "no TCP connection was seen"
    return "what they look at was not captured in both directions" if exchanges else "no HTTP exchange was seen"


def _looked(report: Report, carried: dict[str, int], exchanges: int, captures: int) -> list[Looked]:
    """What was checked, where it was checked for anything."""

    partly = {rule.family for rule in report.unasked.values()}

    def about(what: Subject, connections: int, rules: dict[str, Checked], *, named: bool = False) -> Looked:
        whole = dict.fromkeys(rule.family for rule in rules.values() if not named and rule.family not in partly)
        some = tuple(name for name, rule in rules.items() if rule.family not in whole)
        return Looked(what, connections, exchanges if what == "http" else 0, tuple(whole), some)

    asked = report.checked
    capture = {name: rule for name, rule in asked.items() if rule.family == "capture"}
    timing = {name: rule for name, rule in asked.items() if rule.family == "stalls" and _subject_of(rule) != "exchanges"}
    connects = {name: rule for name, rule in timing.items() if rule.table == "connections"}
    looked = [
        about("http", carried["both_http"], {name: rule for name, rule in asked.items() if name not in capture}),
        about("tls", carried["both_tls"], timing),
        about("http2", carried["both_http2"], timing),
        about("unknown", carried["both_unknown"], timing),
        about("none", carried["none"], connects, named=True),
    ]
    if captures:
        looked.append(about("capture", carried["rows"], capture))
    return [one for one in looked if (one.connections or one.what == "capture") and (one.families or one.rules)]


def _named() -> list[str]:
    """The reasons of _CONNECTIONS, each protocol of which both directions were captured, and all."""
    return [*_CONNECTIONS, *(f"both_{name}" for name in _CARRIED), "rows"]


def _connections(report: Report) -> dict[str, int]:
    """How many there are of each of these."""
    if report.scan_connections is None or not report.connection_count:
        return {}
    counts = _counts(report.scan_connections(), _of_connections(), report.forgotten.get("connections"))
    return {**counts, "rows": report.connection_count}


def _each_connections(report: Report) -> dict[str, dict[str, int]]:
    """The same by capture."""
    if report.scan_connections is None or not report.connection_count:
        return {}
    if len(report.captures) == 1:
        return {report.captures[0].file: _connections(report)}
    return _counts_each(report.scan_connections(), _of_connections())


def _of_connections() -> dict[str, pl.Expr]:
    import polars as pl

    c = pl.col
    protocols = {name: c("protocol") == name for name in (*_CARRIED, "none")}
    one_sided = (c("client_packets") == 0) | (c("server_packets") == 0)
    return {
        **protocols,
        **{f"both_{name}": protocols[name] & ~one_sided for name in _CARRIED},
        "one_sided": one_sided & (c("protocol") != "none"),
        "unseen": ~one_sided & (c("client_unseen_bytes") + c("server_unseen_bytes") > 0),
        "late": ~one_sided & ~c("handshake") & (c("protocol") != "none"),
        "open": ~one_sided & (c("closed_by") == "") & (c("protocol") == "http"),
    }


def _exchanges(report: Report) -> dict[str, int]:
    """How many there are of each reason of _EXCHANGES, `judged`: how many can be judged at all, and all."""
    if report.scan_exchanges is None or not report.exchange_count:
        return {}
    counts = _counts(report.scan_exchanges(), _of_exchanges(), report.forgotten.get("exchanges"))
    return {**counts, "rows": report.exchange_count}


def _each_exchanges(report: Report) -> dict[str, dict[str, int]]:
    """The same by capture."""
    if report.scan_exchanges is None or not report.exchange_count:
        return {}
    if len(report.captures) == 1:
        return {report.captures[0].file: _exchanges(report)}
    return _counts_each(report.scan_exchanges(), _of_exchanges())


def _of_exchanges() -> dict[str, pl.Expr]:
    import polars as pl

    c = pl.col
    return {
        "judged": c("both_directions"),
        "unasked": ~c("has_request"),
    }


def _each_answers(rows: Iterable[Answered]) -> dict[str, Answers]:
    """How requests were answered, by capture. What a gateway passed on counts once, as its client saw it."""
    answers: dict[str, Answers] = {}
    for row in rows:
        if row.is_back:
            continue
        before = answers.get(row.capture, Answers(0, 0, {}))
        final = row.is_final and row.status is not None
        statuses = _sums([before.statuses, {row.status: row.rows}]) if final and row.status is not None else before.statuses
        answers[row.capture] = Answers(
            before.requests + row.has_request * row.rows,
            before.answered + (row.has_request and row.is_final) * row.rows,
            statuses,
        )
    return answers


def _counts_each(table: pl.LazyFrame, flags: dict[str, pl.Expr]) -> dict[str, dict[str, int]]:
    """How many rows there are of each flag, and how many at all, by capture."""
    import polars as pl

    sums = [flag.sum().alias(name) for name, flag in flags.items()]
    rows = table.group_by("capture").agg(*sums, pl.len().cast(pl.Int64).alias("rows")).collect().to_dicts()
    return {row.pop("capture"): row for row in rows}


def _counts(table: pl.LazyFrame, flags: dict[str, pl.Expr], forgotten: pl.DataFrame | None) -> dict[str, int]:
    """How many rows there are of each flag; `forgotten` as in Report."""
    counts: dict[str, int] = table.select(flag.sum().alias(name) for name, flag in flags.items()).collect().row(0, named=True)
    if forgotten is None:
        return counts
    rows = forgotten.lazy().select((flag * forgotten["rows"]).sum().alias(name) for name, flag in flags.items())
    return {name: counts[name] + more for name, more in rows.collect().row(0, named=True).items()}
