"""Describe the coverage of a report: what was checked, which rules found nothing, and what could not be judged and why."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeVar

import polars as pl

from wiredoctor.findings import UNJUDGED, Checked, Report, host
from wiredoctor.report.by_status import (
    REJECTIONS,
    SERVER_ERROR,
    Answered,
    ServerAnswers,
    by_server,
    count_by_status,
    count_classes,
    find_backs,
)
from wiredoctor.report.failed_requests import FAILURES, findings_with_failures, knows_failures
from wiredoctor.report.refusals import REFUSALS, refusal_clauses

if TYPE_CHECKING:
    from wiredoctor.tables import Subject as TableSubject

Key = TypeVar("Key")

c = pl.col

CARRIED = ("http", "tls", "http2", "unknown")
"""The protocols of connections that carried data."""

Thing = Literal["connections", "exchanges", "rules"]
Subject = Literal["http", "tls", "http2", "unknown", "none", "capture"]

SUBJECTS: tuple[Subject, ...] = ("http", "tls", "http2", "unknown", "none", "capture")
"""The objects that rules check: connections by protocol (tables.PROTOCOLS; "none" for connections without data), and the
captures themselves.
"""


class CheckedCount(NamedTuple):
    """The number of connections and exchanges of one protocol that were checked, and the rules that checked them.

    `what`: the protocol of the connections, "none" for connections without data, or "capture" for the captures themselves.
    `families`: the families of which all rules ran. `rules`: the rules that ran in other families.
    """

    what: Subject
    connections: int
    exchanges: int
    families: tuple[str, ...]
    rules: tuple[str, ...]


@dataclass(frozen=True, eq=False, repr=False)
class NotJudged:
    """The number of connections, exchanges or rules (`what`) that could not be judged completely, for one reason.

    `ending`: if exchanges or connections ended abnormally, the key of the reason in UNJUDGED; otherwise "".
    """

    what: Thing
    count: int
    reason: str
    ending: str = ""


class Answers(NamedTuple):
    """The numbers of requests (`requests`), of requests with a final response (`answered`), and of final responses by status.

    `statuses`: the number of final responses by status. Statuses below 500 that are not in REJECTIONS are counted together as the
    last status of their class, such as 299. `explained`: the number of responses that findings about gateways explain, by status
    of 500 or above, including findings that the report leaves out.
    """

    requests: int
    answered: int
    statuses: dict[int, int]
    explained: Mapping[int, int] = {}

    @property
    def responses(self) -> int:
        """The number of final responses, including those whose request was not captured."""
        return sum(self.statuses.values())

    @property
    def classes(self) -> dict[str, int]:
        """The number of responses by class, such as "2xx"."""
        return count_classes(self.statuses)

    @property
    def failures(self) -> dict[int, int]:
        """The number of final responses with a status of 500 or above, by status."""
        return {status: number for status, number in sorted(self.statuses.items()) if status >= SERVER_ERROR}

    @property
    def rejections(self) -> dict[int, int]:
        """The number of final responses that reject their request, by status."""
        return {status: number for status, number in sorted(self.statuses.items()) if status in REJECTIONS}

    @property
    def unexplained(self) -> dict[int, int]:
        """The number of responses in `failures` that no finding explains, by status."""
        left = {status: number - self.explained.get(status, 0) for status, number in self.failures.items()}
        return {status: number for status, number in left.items() if number > 0}


class Coverage(NamedTuple):
    """The coverage of a report.

    `checked`: what was checked, and by which rules. `healthy`: the rules that had something to judge and found nothing, in
    catalogue order. `not_judged`: what could not be judged. Exchanges and connections that ended abnormally come first, worst
    first. Then come connections, exchanges and rules that could not be judged completely for other reasons.
    """

    checked: tuple[CheckedCount, ...]
    healthy: tuple[str, ...]
    not_judged: tuple[NotJudged, ...]
    answers: Answers
    connections: int
    exchanges: int
    """The total numbers of connections and exchanges in the report."""
    carried: Mapping[str, int]
    """The number of connections by protocol (tables.PROTOCOLS)."""
    snap_length: int | None
    """The number of bytes after which packets were cut, if that may hide the protocol of a connection; otherwise None."""
    servers: tuple[ServerAnswers, ...] = ()
    knows_failures: bool = True
    """True if every rule that reports failures ran. Otherwise, a rule that did not run may explain a failure."""
    begun_before: int = 0
    """The number of connections with an unknown protocol that began before the capture. These connections may carry HTTP messages
    that also began before the capture.
    """

    refusals: Mapping[int, Sequence[str]] = {}
    """Clauses about what refused requests cost, by status. Only the coverage of a whole report has them."""

    @property
    def hidden(self) -> dict[int, int]:
        """The number of responses from servers behind gateways that reached no client, by status of 500 or above."""
        return dict(sorted(_sums(one.hidden for one in self.servers).items()))

    @property
    def shows_payload(self) -> bool:
        """True if the captured packets are long enough to recognize the protocol of their payload."""
        return self.snap_length is None or self.snap_length >= _TOO_SHORT

    @property
    def endings(self) -> dict[str, int]:
        """The number of exchanges or connections that ended abnormally, by key of UNJUDGED."""
        return {one.ending: one.count for one in self.not_judged if one.ending}


_CONNECTIONS = {
    "tls": "TLS, not decrypted: only handshakes, stalls and connection attempts were checked, not HTTP",
    "http2": "HTTP/2 is not parsed: only stalls and connection attempts were checked",
    "unknown": "neither HTTP/1.x nor TLS: only stalls and connection attempts were checked",
    "unused": "carried no data",
    "one_sided": "only one direction was captured: rules that need both did not run",
    "unseen": "bytes are missing from the capture: findings near a gap have low confidence",
    "late": "began before the capture, without a handshake: round trips are less certain, and confidence is at most medium",
    "open": "no close was captured: the connection may still have been open when the capture ended",
}
_BEGUN_BEFORE = (
    "the beginning was not captured, and neither HTTP/1.x nor TLS was recognized in the rest: "
    "only stalls and connection attempts were checked"
)
_CUT = (
    "packets were cut after {} bytes, so the protocol is unknown: only stalls and connection attempts were checked",
    "packets were cut after {} bytes, in which neither HTTP/1.x nor TLS was recognized: "
    "only stalls and connection attempts were checked",
)
"""Two reasons why the protocol of connections is unknown: one for a snap length below _TOO_SHORT bytes, one for larger snap
lengths.
"""

_SHORT = 128
"""The maximum snap length in bytes that may hide whether a connection is HTTP or TLS."""

_TOO_SHORT = 70
"""The minimum snap length in bytes that leaves 16 bytes of payload after Ethernet, IPv4 and TCP without options."""

_UNCAPTURED = "request not captured, or the response was unsolicited"


def find_coverage(report: Report) -> Coverage:
    """Return the coverage of a report.

    A rule counts as healthy only if it found nothing, not if all its findings were excluded.
    """
    found = {f.rule for f in report.findings}.union(*(left.rules for left in report.left_out))
    rows = count_by_status(report)
    answers = _with_explained(_each_answers(rows), report)
    whole = Answers(
        sum(one.requests for one in answers.values()),
        sum(one.answered for one in answers.values()),
        _sums(one.statuses for one in answers.values()),
        _sums(one.explained for one in answers.values()),
    )
    endings = _sums({reason: number} for (_, reason), number in report.not_judged_counts.items())
    cuts = _snap_lengths(report)
    short = [length for length in cuts.values() if length is not None]
    cut = max(short) if short and len(short) == len(cuts) else None
    connections, exchanges = (_sums(each(report).values()) for each in (count_connections, count_exchanges))
    made = _coverage(report, connections, exchanges, len(report.captures), found, endings, whole, cut)
    return made._replace(servers=by_server(report, rows), refusals=_refusals(report, whole))


def _refusals(report: Report, answers: Answers | None, capture: str | None = None) -> dict[int, list[str]]:
    return refusal_clauses(report, capture) if answers and answers.statuses.keys() & {*REFUSALS} else {}


def coverage_by_capture(report: Report) -> dict[str, Coverage]:
    """Return the coverage of each capture by name.

    A rule without findings in the report counts as healthy, even if its findings were excluded. The tables are read only
    once for all captures together.
    """
    connections, exchanges = count_connections(report), count_exchanges(report)
    found: dict[str, set[str]] = {}
    for one in report.findings:
        found.setdefault(one.capture, set()).add(one.rule)
    none: dict[str, int] = {}
    rows = count_by_status(report)
    answers = _with_explained(_each_answers(rows), report)
    cut = _snap_lengths(report)
    endings: dict[str, dict[str, int]] = {}
    for (name, reason), number in report.not_judged_counts.items():
        endings.setdefault(name, {})[reason] = number
    return {
        name: _coverage(
            report,
            connections.get(name, none),
            exchanges.get(name, none),
            1,
            found.get(name, set()),
            endings.get(name, none),
            answers.get(name, Answers(0, 0, {})),
            cut.get(name),
        )._replace(servers=by_server(report, rows, name), refusals=_refusals(report, answers.get(name), name))
        for name in dict.fromkeys(capture.file for capture in report.captures)
    }


def _sums(parts: Iterable[Mapping[Key, int]]) -> dict[Key, int]:
    sums: Counter[Key] = Counter()
    for part in parts:
        sums.update(part)
    return sums


def _coverage(
    report: Report, counted: Mapping[str, int], exchanges: Mapping[str, int], captures: int, found: set[str],
    endings: dict[str, int], answers: Answers, cut: int | None,
) -> Coverage:  # fmt: skip
    """Return the coverage of a report or of one of its captures.

    `counted`, `exchanges`: numbers from count_connections and count_exchanges. `captures`: the number of captures. `found`: the
    rules with findings. `endings`: the number of abnormal endings by key of UNJUDGED. `cut`: the snap length if it may hide
    protocols, or None.
    """
    carried = {**dict.fromkeys(_protocol_reasons(), 0), **counted}
    judged = exchanges.get("judged", 0)
    both = sum(carried[f"both_{name}"] for name in CARRIED)
    rows: dict[TableSubject, int] = {"exchanges": judged, "segments": both, "connections": carried["rows"], "captures": captures}
    # payload that is not HTTP is judged for stalls and TLS handshakes only
    of_http = {**rows, "segments": carried["both_http"]}
    had = [n for n, r in report.checked.items() if (rows if r.family == "stalls" else of_http)[_subject_of(r)]]
    reasons = _CONNECTIONS if cut is None else _CONNECTIONS | {"unknown": _CUT[cut >= _TOO_SHORT].format(cut)}
    if cut is None and 0 < carried["unknown"] == carried.get("begun_before"):
        reasons = _CONNECTIONS | {"unknown": _BEGUN_BEFORE}
    uncaptured = exchanges.get("unasked", 0) - endings.get("request-not-http", 0) - endings.get("head-awaited", 0)
    not_judged = [
        *(
            NotJudged(one.what, endings[name], _reason(one.reason, report), name)
            for name, one in UNJUDGED.items()
            if name in endings
        ),
        *(NotJudged("connections", carried[name], why) for name, why in reasons.items() if carried[name]),
        *([NotJudged("exchanges", uncaptured, _UNCAPTURED)] if uncaptured else []),
    ]
    if idle := len(report.checked) - len(had):
        why = _nothing_for(carried["rows"], exchanges.get("rows", 0))
        not_judged.append(NotJudged("rules", idle, f"{why}, so there was nothing to check"))
    healthy = tuple(name for name in had if name not in found)
    return Coverage(
        tuple(_count_checked(report, carried, judged, captures)),
        healthy,
        tuple(not_judged),
        answers,
        carried["rows"],
        exchanges.get("rows", 0),
        carried={name: carried[name] for name in (*CARRIED, "none") if name in carried},
        snap_length=cut,
        knows_failures=knows_failures(report),
        begun_before=carried.get("begun_before", 0),
    )


def _snap_lengths(report: Report) -> dict[str, int | None]:
    """Return the snap length in bytes by capture; None if it is long enough to recognize all protocols."""
    rows = report.scan_captures().select("capture", "snap_length").collect().iter_rows()
    return {name: length if length is not None and length <= _SHORT else None for name, length in rows}


def _reason(reason: str, report: Report) -> str:
    return reason.replace("no rule", "no rule that was requested") if report.unasked else reason


def _subject_of(rule: Checked) -> TableSubject:
    """Return what the rows of the table that a rule reads first represent, such as "connections"."""
    from wiredoctor.tables import RULE_TABLES

    return RULE_TABLES[rule.table].subject


def _nothing_for(connections: int, exchanges: int) -> str:
    if not connections:
        return "no TCP connection was seen"
    return "the required data was not captured in both directions" if exchanges else "no HTTP exchange was seen"


def _count_checked(report: Report, carried: dict[str, int], exchanges: int, captures: int) -> list[CheckedCount]:
    """Return one CheckedCount per protocol, and one for the captures themselves. Subjects that no rule checked are left out."""

    partly = {rule.family for rule in report.unasked.values()}

    def about(what: Subject, connections: int, rules: dict[str, Checked], *, named: bool = False) -> CheckedCount:
        whole = dict.fromkeys(rule.family for rule in rules.values() if not named and rule.family not in partly)
        some = tuple(name for name, rule in rules.items() if rule.family not in whole)
        return CheckedCount(what, connections, exchanges if what == "http" else 0, tuple(whole), some)

    asked = report.checked
    capture = {name: rule for name, rule in asked.items() if rule.family == "capture"}
    shakes = {name: rule for name, rule in asked.items() if rule.family == "handshake"}
    timing = {name: rule for name, rule in asked.items() if rule.family == "stalls" and _subject_of(rule) != "exchanges"}
    connects = {name: rule for name, rule in timing.items() if rule.table == "connections"}
    looked = [
        about("http", carried["both_http"], {name: rule for name, rule in asked.items() if name not in capture | shakes}),
        about("tls", carried["both_tls"], timing | shakes),
        about("http2", carried["both_http2"], timing),
        about("unknown", carried["both_unknown"], timing),
        about("none", carried["none"], connects, named=True),
    ]
    if captures:
        looked.append(about("capture", carried["rows"], capture))
    return [one for one in looked if (one.connections or one.what == "capture") and (one.families or one.rules)]


def _protocol_reasons() -> list[str]:
    """Return the keys under which connections are counted.

    These are the keys of _CONNECTIONS and three more kinds: "none" counts connections without data, "rows" counts all
    connections, and "both_http", "both_tls" and so on count connections of a protocol that were captured in both directions.
    """
    return [*_CONNECTIONS, "none", *(f"both_{name}" for name in CARRIED), "rows"]


def _with_explained(answers: dict[str, Answers], report: Report) -> dict[str, Answers]:
    """Return the answers with `explained` filled in: the number of responses of each status that findings about gateways explain.

    If several gateways passed on the same response, only the exchange nearest to the client counts.
    """
    found = {
        (one.capture, one.connection, one.exchange): one.status
        for one in findings_with_failures(report)
        if one.family == "gateways" and one.exchange is not None and (one.status or 0) >= SERVER_ERROR
    }
    backs = find_backs(report) if found else None
    for place in backs.select("capture", "connection", "exchange").iter_rows() if backs is not None else ():
        found.pop(place, None)
    explained: dict[str, Counter[int]] = {}
    for (capture, _, _), status in found.items():
        explained.setdefault(capture, Counter())[status or 0] += 1
    return {name: one._replace(explained=dict(explained.get(name, Counter[int]()))) for name, one in answers.items()}


def _each_answers(rows: Iterable[Answered]) -> dict[str, Answers]:
    """Count requests and final responses by capture.

    A request that a gateway forwarded counts once, with the response that the gateway's client saw.
    """
    answers: dict[str, Answers] = {}
    for row in rows:
        if row.is_back:
            continue
        before = answers.get(row.capture, Answers(0, 0, {}))
        final = {row.status: row.rows} if row.is_final and row.status is not None else {}
        answers[row.capture] = Answers(
            before.requests + row.has_request * row.rows,
            before.answered + (row.has_request and row.is_final) * row.rows,
            _sums((before.statuses, final)),
        )
    return answers


def count_connections(report: Report) -> dict[str, dict[str, int]]:
    """Return, for each capture, the number of connections for each key of `_of_connections`, and the total ("rows")."""
    if not report.connection_count:
        return {}
    old = report.forgotten.get("connections")
    old = None if old is None else old.with_columns(pl.lit(value=False).alias("explained"))
    return _counts(report, _marked_connections(report), _of_connections(), old, report.connection_count)


def _marked_connections(report: Report) -> pl.LazyFrame:
    """Return the connections with the column `explained`: true if a finding about a failure explains the connection's end.

    A finding about many connections names a client, a server or both. Such a finding explains the end of each connection of
    these hosts that was never established, or that was reset without having carried data.
    """
    key = ["capture", "connection"]
    rows = report.scan_connections()
    found = [f for f in findings_with_failures(report) if f.rule in FAILURES and f.family != "gateways"]
    if not found:
        return rows.with_columns(pl.lit(value=False).alias("explained"))
    own = {(f.capture, f.connection) for f in found if f.connection is not None}
    marks = pl.LazyFrame([*own], {"capture": pl.String(), "connection": pl.Int64()}, orient="row")
    never_open = (c("protocol") == "none") & (~c("connected") | (c("close") == "rst"))
    ends = [(f.capture, host(f.client), f.server) for f in found if f.connection is None]
    of_many: list[pl.Expr] = []
    for names in (("client_host",), ("server",), ("client_host", "server")):
        values = {
            "\0".join((file, *(re.sub(_LOOPBACK, "localhost", name) for name in (client, server) if name is not None)))
            for file, client, server in ends
            if (client is not None, server is not None) == ("client_host" in names, "server" in names)
        }
        if values:
            texts = [c("capture"), *(c(name).str.replace(_LOOPBACK, "localhost") for name in names)]
            of_many.append(pl.concat_str(texts, separator="\0").is_in([*values]) & never_open)
    explained = [c("own").fill_null(value=False), *of_many]
    marked = rows.join(marks.with_columns(pl.lit(value=True).alias("own")), on=key, how="left")
    return marked.with_columns(pl.any_horizontal(explained).alias("explained"))


_LOOPBACK = r"^(127\.0\.0\.1|\[::1\]|::1$)"
"""A pattern for the addresses of the local host. All of them count as one address, because a client may try both IPv4 and IPv6.
"""


def _of_connections() -> dict[str, pl.Expr]:
    protocols = {name: c("protocol") == name for name in (*CARRIED, "none")}
    one_sided = (c("client_packets") == 0) | (c("server_packets") == 0)
    return {
        **protocols,
        **{f"both_{name}": protocols[name] & ~one_sided for name in CARRIED},
        "one_sided": one_sided & (c("protocol") != "none"),
        "unseen": ~one_sided & (c("client_unseen_bytes") + c("server_unseen_bytes") > 0),
        "late": ~one_sided & ~c("handshake") & (c("protocol") != "none"),
        "begun_before": ~c("handshake") & protocols["unknown"],
        "open": ~one_sided & (c("closed_by") == "") & (c("protocol") == "http") & ~c("explained"),
        "unused": protocols["none"] & ~c("explained"),
    }


def count_exchanges(report: Report) -> dict[str, dict[str, int]]:
    """Return, for each capture, three numbers of exchanges by key: "rows", "judged" and "unasked".

    "rows" counts all exchanges, "judged" those that can be judged, and "unasked" those whose request was not captured.
    """
    if not report.exchange_count:
        return {}
    old = report.forgotten.get("exchanges")
    return _counts(report, report.scan_exchanges(), _of_exchanges(), old, report.exchange_count)


def _of_exchanges() -> dict[str, pl.Expr]:
    return {"judged": c("both_directions"), "unasked": ~c("has_request")}


def _counts(
    report: Report, table: pl.LazyFrame, flags: dict[str, pl.Expr], forgotten: pl.DataFrame | None, total: int
) -> dict[str, dict[str, int]]:
    """Return, for each capture, the total number of rows ("rows"), and the number of rows in which each flag is true.

    `forgotten`: counts of rows that a live capture no longer has, as in Report. `total`: the number of all rows, with those.
    """
    sums = [flag.sum().alias(name) for name, flag in flags.items()]
    if len(report.captures) > 1:
        rows = table.group_by("capture").agg(*sums, pl.len().cast(pl.Int64).alias("rows")).collect().to_dicts()
        return {row.pop("capture"): row for row in rows}
    counts: dict[str, int] = table.select(sums).collect().row(0, named=True)
    if forgotten is not None:
        more = forgotten.lazy().select((flag * forgotten["rows"]).sum().alias(name) for name, flag in flags.items())
        counts = {name: counts[name] + number for name, number in more.collect().row(0, named=True).items()}
    return {report.captures[0].file: {**counts, "rows": total}}
