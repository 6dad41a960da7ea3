"""Turn the candidates that remain after `resolve` into Finding objects: fill in templates, escape text from packets, and sort."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from itertools import groupby
from operator import attrgetter
from string import Formatter
from typing import Any, Literal, NamedTuple

import polars as pl

from wiredoctor import limits
from wiredoctor.findings import (
    SEVERITIES,
    Advice,
    Cause,
    Evidence,
    Finding,
    Rule,
    Side,
    by_kind,
    causes_first,
    fingerprint,
    group_key,
    printable,
    rfc3339,
    shorten,
)
from wiredoctor.rule_engine.plugins import run_guarded
from wiredoctor.rule_engine.rule_module import RuleModule
from wiredoctor.rule_engine.summary_columns import Rows
from wiredoctor.rule_engine.told_findings import ToldFinding, ToldFindings
from wiredoctor.rules.shared.words import Nanoseconds, Packet
from wiredoctor.tables import SECOND
from wiredoctor.text import redact
from wiredoctor.text.durations import duration_text
from wiredoctor.text.escape import REQUEST_LENGTH
from wiredoctor.text.regex import Regex
from wiredoctor.world.idle_defaults import default_of_server
from wiredoctor.world.numbers import DURATION

GIVEN_NAMES = (
    *("client", "server", "side", "peer", "request", "status", "server_software", "client_software"),
    *("connection", "exchange", "kind", "delay", "frames", "first_frame", "last_frame", "usual"),
)
"""The names that every template may use even if the candidates have no such column.

`usual` is a text that names the software whose default idle timeout equals `idle_limit` (ns). Software that contradicts the
Server field is not named.
"""


MAX_SOFTWARE = 120
"""The maximum number of characters of a Server or User-Agent field; every browser's field is shorter."""


def names_in(template: str) -> set[str]:
    """Return the names of the fields in a str.format template."""
    return {name for _, name, _, _ in Formatter().parse(template) if name}


class _Texts(NamedTuple):
    """The templates of a rule for candidates of one kind.

    `names`: the names of the fields in all templates. `measured`: the names of the fields in the message.
    """

    title: str
    message: str
    remedy: str
    display_filter: str
    names: frozenset[str]
    measured: tuple[str, ...]


def _texts(rule: Rule, kind: str | None) -> _Texts:
    texts = [by_kind(t, kind) for t in (rule.title, rule.message, rule.remedy, rule.display_filter)]
    names = frozenset[str]().union(*(names_in(t) for t in texts))
    return _Texts(*texts, names=names, measured=tuple(sorted(names_in(texts[1]))))


def build_findings(
    parts: Sequence[tuple[RuleModule, pl.DataFrame, Rows]], causes: Sequence[tuple[int, int]], file: str, first_time: int,
    before: Collection[int] = (), kept: ToldFindings | None = None,
) -> list[Finding]:  # fmt: skip
    """Return the findings of all rules, worst first; but a cause always precedes its effects.

    `parts`: for each rule, its resolved candidates and all its candidates. `causes`: pairs (id of a candidate, id of its cause).
    `before`: the ids of candidates that were reported earlier and are only present as causes. `kept`: in a live capture, the
    findings that were made before, to which those that are made now are added.
    """
    told: dict[int, Finding] = {}
    for module, settled, candidates in parts:
        own = run_guarded(module, partial(_findings_of_rule, module, settled, candidates, file, first_time, kept))
        told |= zip(settled["id"], own, strict=True) if own is not None else ()
    of: dict[int, list[Cause]] = {}
    for number, cause in causes:
        if cause in told:
            of.setdefault(number, []).append(told[cause].place[1])
    fresh = ((number, f) for number, f in told.items() if number not in before)
    findings = [replace(f, caused_by=tuple(of[number])) if number in of else f for number, f in fresh]
    return causes_first(sorted(findings, key=_order), lambda finding: (finding,))


def _order(finding: Finding) -> tuple[Any, ...]:
    first = finding.evidence[0].frame if finding.evidence else 0
    connection = -1 if finding.connection is None else finding.connection
    return (SEVERITIES.index(finding.severity), -(finding.delay or 0.0), first, finding.rule, connection, finding.server or "")


NOTICED = SECOND // 1000
"""The total delay in ns below which the findings of one problem become notes, because users do not notice so short a delay."""


def _findings_of_rule(
    module: RuleModule, settled: pl.DataFrame, candidates: Rows, file: str, first_time: int, kept: ToldFindings | None
) -> list[Finding]:
    """Return the findings of a rule. The findings of one problem become notes if their total delay is known and below NOTICED."""
    every = _each_finding(module, settled, candidates, file, first_time, kept)
    told = [(group_key(one), one, cost) for one, cost in every]
    costs: dict[tuple[str | None, ...], list[int | None]] = {}
    for key, _, cost in told:
        costs.setdefault(key, []).append(cost)
    cheap = {
        key for key, group in costs.items() if None not in group and sum(cost for cost in group if cost is not None) < NOTICED
    }
    return [replace(one, severity="note") if key in cheap else one for key, one, _ in told]


def _each_finding(
    module: RuleModule, settled: pl.DataFrame, candidates: Rows, file: str, first_time: int, kept: ToldFindings | None
) -> Iterator[ToldFinding]:
    """Yield each finding with the delay (ns) of its candidate, or with None if the candidate has no delay.

    The finding's own delay may be shorter, because time that several findings cover counts only once.
    """
    texts: dict[str | None, _Texts] = {}
    known: dict[str, str] = {}

    def same(text: str) -> str:
        """Return the first of equal texts, so findings share it."""
        return known.setdefault(text, text)

    needed = _READ | {one.where for one in module.rule.advice if one.where} | {*module.fact_names}

    def make(some: pl.DataFrame) -> Iterator[ToldFinding]:
        nonlocal needed
        for kind in {*some["kind"].to_list()}:
            if kind not in texts:
                texts[kind] = _texts(module.rule, kind)
                needed |= texts[kind].names
        rows = candidates[some["row"]]
        times = {"delay", *(name for name, dtype in rows.schema.items() if dtype == DURATION)}
        # cast, because a Duration would lose its nanoseconds as a Python value
        rows = _only(rows, needed).with_columns(pl.col(DURATION).cast(pl.Int64))
        for own, common in zip(rows.iter_rows(named=True), _only(some, needed).iter_rows(named=True), strict=True):
            values = own | common | module.words_of(own)
            yield ToldFinding(_finding(module, texts[values["kind"]], values, times, file, first_time, same), own["delay"])

    for some in settled.iter_slices(limits.CANDIDATES_AT_ONCE.value):
        yield from make(some) if kept is None else kept.with_others(module, some, file, make)


_READ = frozenset((
    *("kind", "side", "direction", "client_direction", "client", "server", "connection", "exchange", "origin", "front"),
    *("evidence", "frame", "start", "delay", "severity", "confidence", "in_loss", "events", "idle_limit"),
    *("request_start", "request_method", "request_target", "response_status", "title", "message", "addition"),
    *("client_software", "server_software", "client_is_gateway", "client_is_mixed", "gateway_software"),
    "server_is_forwarded",
))  # fmt: skip
"""The columns of candidates from which a finding is made, in addition to those that its templates and its advice name."""


def _only(rows: pl.DataFrame, names: Collection[str]) -> pl.DataFrame:
    """Return the columns whose names are in `names`. To convert the others to Python values would take much of the time."""
    return rows[[name for name in rows.columns if name in names]]


def _finding(
    module: RuleModule, texts: _Texts, values: dict[str, Any], times: set[str], file: str, first_time: int,
    same: Callable[[str], str],
) -> Finding:  # fmt: skip
    packets: list[Packet] = values["evidence"]
    evidence = tuple(_evidence(packets, same))
    moment = min(packets).time if packets else values["start"] or 0
    side = _side(values)
    method, target = values["request_method"] or None, values["request_target"] or ""
    request, ignored = _texts_of_request(method, target, redact.secrets_are_shown())
    values |= _template_values(values, side, texts.names, [e.frame for e in evidence])
    values["request"] = shorten(request or "", REQUEST_LENGTH)
    written = {name: _format_value(values[name], name in times) for name in texts.names}
    delay, began = values["delay"], values["request_start"]
    if began is None and (values["start"] or 0) > moment:
        began = values["start"]
    return Finding(
        rule=module.name,
        family=module.family,
        kind=values["kind"],
        side=side,
        severity=values.get("severity") or by_kind(module.rule.severity, values["kind"]),
        confidence="medium" if values.get("in_loss") and values["confidence"] == "high" else values["confidence"],
        title=same(printable(values.get("title") or "") or _format_counts(texts.title.format_map(written))),
        message=_close_gaps(_format_counts(_message(values, texts, written))),
        client=values["client"],
        server=values["server"] and same(values["server"]),
        capture=file,
        connection=values["connection"],
        exchange=values["exchange"],
        request=request,
        status=values["status"],
        time=rfc3339(first_time + moment),
        elapsed=moment / SECOND,
        delay=None if delay is None else delay / SECOND,
        count=values.get("events") or 1,
        measures=dict(_numbers_in_message(values, texts.measured, times)),
        evidence=evidence,
        remedy=same(_close_gaps(texts.remedy.format_map(written) + _advice(module.rule.advice, side, values))),
        references=module.rule.references,
        display_filter=texts.display_filter.format_map(written),
        fingerprint=fingerprint(module.name, values["kind"], side, values["server"], method, target),
        client_software=_software(values["client_software"]),
        server_software=_software(values["server_software"]),
        ignore_target=ignored,
        origin=values.get("origin"),
        front=values.get("front"),
        began=None if began is None else began / SECOND,
    )


@lru_cache(maxsize=64)
def _texts_of_request(method: str | None, target: str, _shown: bool) -> tuple[str | None, str]:
    """Return a request for the text of a finding, and its target for `[[ignore]]` entries.

    `_shown`: whether secrets are shown; the first text depends on it.
    """
    request = printable(f"{redact.method(method)} {redact.target(target)}") if method else None
    return request, printable(redact.identity_target(target))


def _message(values: Mapping[str, Any], texts: _Texts, written: Mapping[str, Any]) -> str:
    said = printable(values.get("message") or "") or texts.message.format_map(written)
    return f"{said} {printable(addition)}" if (addition := values.get("addition")) else said


def _evidence(packets: Sequence[Packet], same: Callable[[str], str]) -> Iterator[Evidence]:
    """Yield each packet of the evidence once, in frame order, with all of its notes."""
    for frame, of_frame in groupby(sorted(packets, key=_frame), _frame):
        notes = [*of_frame]
        yield Evidence(frame, notes[0].time / SECOND, same(_note("; ".join(e.note for e in notes))))


_frame = attrgetter("frame")


@lru_cache(maxsize=1024)
def _note(text: str) -> str:
    return _format_counts(printable(text))


_ONE = Regex(
    r"(?<![\w.,:])(?<!\bof )1 (byte|packet|segment|connection|exchange|request|response|burst|chunk|event|pause|place|write)s\b"
    r"( are\b| were\b| have\b| come\b| carry\b| contradict\b)?"
)
_SINGULAR = {
    "": "", " are": " is", " were": " was", " have": " has",
    " come": " comes", " carry": " carries", " contradict": " contradicts",
}  # fmt: skip

_ONLY = Regex(r"(?<![\w.,:])1 of 1 (connection|exchange|request|response)s\b")


_NOUN = "(?:bytes?|packets|segments|connections|exchanges|requests|responses|bursts|chunks?|events|places|writes|lines|times)"
_LARGE = Regex(
    r'"[^"]*"|(?<![\w.,:/-])(?<!\bRFC )(?<!\bframe )(?<!\bpacket )(?<!\bport )'
    rf"(?P<number>[0-9]{{4,}})(?= {_NOUN}\b| (?:in flight|missing|more)\b| of [0-9,]+ {_NOUN}\b)"
)
"""Matches a count without thousands separators, such as "1448" in "1448 bytes". It also matches quoted text, so that the
replacement can leave it unchanged.
"""


@lru_cache(maxsize=256)
def _format_counts(text: str) -> str:
    """Return a text with commas in its counts and the singular after 1: "1448 bytes" becomes "1,448 bytes"."""
    if _FOUR_DIGITS.search(text):  # faster than _LARGE, and most texts have no such number
        text = _LARGE.sub(lambda m: f"{int(m['number']):,}" if m["number"] else m[0], text)
    return _agree_in_number(text)


_FOUR_DIGITS = Regex(r"[0-9]{4}")


def _agree_in_number(text: str) -> str:
    """Return a text with the singular after 1, because templates use plurals: "1 bytes were" becomes "1 byte was".

    "1 of 1 connections" becomes "the only connection". Templates must not have a verb after a count such as "1 of 5
    connections", because it would stay in the plural.
    """
    if "1 " not in text:
        return text
    text = _ONLY.sub(lambda m: f"the only {m[1]}", text)
    return _ONE.sub(lambda m: f"1 {m[1]}{_SINGULAR[m[2] or '']}", text)


def _close_gaps(text: str) -> str:
    """Return a text without the double spaces that empty values leave."""
    return " ".join(text.split()) if "  " in text else text.strip()


def _side(values: Mapping[str, Any]) -> Side | None:
    """Return the side named by a candidate. If there is none, return the sender in the candidate's direction; None if unknown."""
    if values["side"] is not None or values["direction"] is None or values["client_direction"] is None:
        return values["side"]
    return "client" if values["direction"] == values["client_direction"] else "server"


def _template_values(values: Mapping[str, Any], side: Side | None, names: Collection[str], frames: list[int]) -> dict[str, Any]:
    """Return the values of those names in GIVEN_NAMES that are not columns of the candidate. `names`: the names in templates."""
    return {
        "side": side or "sender",
        "peer": {"client": "server", "server": "client"}.get(side or "", "receiver"),
        "status": values["response_status"],
        "server_software": values["server_software"] or "",
        "client_software": values["client_software"] or "",
        "frames": ", ".join(str(f) for f in frames),
        "first_frame": min(frames, default=values["frame"]),
        "last_frame": max(frames, default=values["frame"]),
        "usual": default_of_server(values.get("idle_limit"), values["server_software"] or "") if "usual" in names else "",
    }


def _software(text: str | None) -> str | None:
    """Return the value of a Server or User-Agent field, escaped and shortened; None if it is empty."""
    return shorten(printable(text), MAX_SOFTWARE) if text else None


def _format_value(value: Any, is_time: bool) -> Any:
    """Return a value for use in texts: a duration (ns) with a unit, text without terminal control characters, "" for None."""
    if value is None:
        return ""
    if isinstance(value, str):
        return _printable(value)
    return duration_text(value) if is_time or isinstance(value, Nanoseconds) else value


_printable = lru_cache(maxsize=1024)(printable)


def _numbers_in_message(values: Mapping[str, Any], names: Sequence[str], times: set[str]) -> Iterator[tuple[str, int | float]]:
    """Yield the name and value of every number in the message; times are in seconds."""
    for name in names:
        value = values[name]
        if isinstance(value, int | float) and not isinstance(value, bool):
            yield name, value / SECOND if name in times or isinstance(value, Nanoseconds) else value


def _advice(advice: tuple[Advice, ...], side: Side | None, values: Mapping[str, Any]) -> str:
    """Return the advice for the software of the side that has to change something, with a space before each sentence."""
    fitting = tuple(a for a in advice if not a.where or values[a.where])
    if side == "client" and values.get("client_is_gateway"):
        return _matching_advice(fitting, "gateway", values["gateway_software"])
    if side == "client" and values.get("client_is_mixed"):
        return _matching_advice(fitting, side, None)
    if side == "server" and values.get("server_is_forwarded"):
        return _matching_advice(fitting, side, None)
    software = values["server_software"] if side == "server" else values["client_software"]
    speaks_http = bool(software) or values["connection"] is None or values["exchange"] is not None
    return _matching_advice(fitting, side, software if speaks_http else None)


@lru_cache(maxsize=1024)
def _matching_advice(advice: tuple[Advice, ...], side: Side | Literal["gateway"] | None, software: str | None) -> str:
    """Return the advice for this side and software; "" if there is none.

    `software` is "" if the HTTP messages do not name it. It is None in three cases: on connections without HTTP, where advice for
    an HTTP server would mislead; if the client may be any of several programs; and if the server is a gateway that forwarded the
    Server field of another one.
    """
    fitting = [
        f"If the client is {one.text}" if side == "client" and one.software and not one.text.startswith("If ") else one.text
        for one in advice
        if one.side == side and (not one.software if software is None else re.search(one.software, software, re.IGNORECASE))
    ]
    return "".join(f" {text}" for text in fitting)
