"""Candidates that stayed -> Finding objects: templates filled, text from packets made safe, the order of a report."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from itertools import groupby
from operator import itemgetter
from string import Formatter
from typing import Any, Literal, NamedTuple

import polars as pl

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
from wiredoctor.rule_engine.catalogue import RuleModule
from wiredoctor.rule_engine.plugins import guarded
from wiredoctor.rule_engine.summary_columns import Rows
from wiredoctor.rules.shared.idle_defaults import usual
from wiredoctor.rules.shared.numbers import DURATION
from wiredoctor.tables import SECOND
from wiredoctor.text import redact
from wiredoctor.text.durations import duration_text

GIVEN_NAMES = (
    *("client", "server", "side", "peer", "request", "status", "server_software", "client_software"),
    *("connection", "exchange", "kind", "delay", "frames", "first_frame", "last_frame", "usual"),
)
"""Names that every template may use without a column of its candidates. `usual` says whose default the idle limit in the
column `idle_limit` (ns) is, as far as the Server field allows."""


MOST_REQUEST = 100
"""Characters of method and target in a text: some targets fill a page. The finding's own `request` is whole."""

MOST_SOFTWARE = 120
"""Characters of a Server or User-Agent field: enough for every browser's."""


def names_in(template: str) -> set[str]:
    """The names that a str.format template asks for."""
    return {name for _, name, _, _ in Formatter().parse(template) if name}


class _Texts(NamedTuple):
    """A rule's templates for one kind, and the names in them."""

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


def tell(
    parts: Sequence[tuple[RuleModule, pl.DataFrame, Rows]], causes: Sequence[tuple[int, int]], file: str, first_time: int,
    before: Collection[int] = (),
) -> list[Finding]:  # fmt: skip
    """(rule, what settling made of its candidates, the candidates) for each rule -> findings, worst first, causes before that.

    `causes`: (id, id of a cause) of settled candidates. `before`: ids of those that were told before and only cause others.
    """
    told: dict[int, Finding] = {}
    for module, settled, candidates in parts:
        own = guarded(module, partial(_tell_all, module, settled, candidates, file, first_time))
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
"""Nanoseconds that alike findings cost together from which on they are more than notes: nobody notices less."""


def _tell_all(module: RuleModule, settled: pl.DataFrame, candidates: Rows, file: str, first_time: int) -> list[Finding]:
    """The findings of a rule. Those that would be a group for people, and cost next to nothing together, are notes."""
    told = [*_tell_rule(module, settled, candidates, file, first_time)]
    costs: dict[tuple[str | None, ...], list[int | None]] = {}
    for one, cost in told:
        costs.setdefault(group_key(one), []).append(cost)
    cheap = {
        key for key, group in costs.items() if None not in group and sum(cost for cost in group if cost is not None) < NOTICED
    }
    return [replace(one, severity="note") if group_key(one) in cheap else one for one, _ in told]


def _tell_rule(
    module: RuleModule, settled: pl.DataFrame, candidates: Rows, file: str, first_time: int
) -> Iterator[tuple[Finding, int | None]]:
    """Each finding with what it cost before overlaps were cut off (ns; None: unknown)."""
    times = {"delay", *(name for name, dtype in candidates.schema.items() if dtype == DURATION)}
    # cast: as Python values a Duration loses its nanoseconds
    rows = candidates[settled["row"]].with_columns(pl.col(DURATION).cast(pl.Int64))
    texts: dict[str | None, _Texts] = {}
    for own, common in zip(rows.iter_rows(named=True), settled.iter_rows(named=True), strict=True):
        values = own | common
        kind = values["kind"]
        if kind not in texts:
            texts[kind] = _texts(module.rule, kind)
        yield _finding(module, texts[kind], values, times, file, first_time), own["delay"]


def _finding(module: RuleModule, texts: _Texts, values: dict[str, Any], times: set[str], file: str, first_time: int) -> Finding:
    packets = values["evidence"] or ()
    evidence = tuple(_evidence(packets))
    moment = min(packets, key=lambda e: e["frame"])["time"] if packets else values["start"] or 0
    side = _side(values)
    method, target = values["request_method"] or None, values["request_target"] or ""
    request = printable(f"{redact.method(method)} {redact.target(target)}") if method else None
    values |= _given(values, side, [e.frame for e in evidence]) | {"request": shorten(request or "", MOST_REQUEST)}
    written = {name: _written(values[name], name in times) for name in texts.names}
    delay = values["delay"]
    return Finding(
        rule=module.name,
        family=module.family,
        kind=values["kind"],
        side=side,
        severity=values.get("severity") or by_kind(module.rule.severity, values["kind"]),
        confidence="medium" if values.get("in_loss") and values["confidence"] == "high" else values["confidence"],
        title=printable(values.get("title") or "") or _numbered(texts.title.format_map(written)),
        message=_spaced(_numbered(_message(values, texts, written))),
        client=values["client"],
        server=values["server"],
        capture=file,
        connection=values["connection"],
        exchange=values["exchange"],
        request=request,
        status=values["status"],
        time=rfc3339(first_time + moment),
        elapsed=moment / SECOND,
        delay=None if delay is None else delay / SECOND,
        count=values.get("events") or 1,
        measures=dict(_measures(values, texts.measured, times)),
        evidence=evidence,
        remedy=_spaced(texts.remedy.format_map(written) + _advice(module.rule.advice, side, values)),
        references=module.rule.references,
        display_filter=texts.display_filter.format_map(written),
        fingerprint=fingerprint(module.name, values["kind"], side, values["server"], method, target),
        client_software=_software(values["client_software"]),
        server_software=_software(values["server_software"]),
        ignore_target=printable(redact.identity_target(target)),
        origin=values.get("origin"),
        front=values.get("front"),
    )


def _message(values: Mapping[str, Any], texts: _Texts, written: Mapping[str, Any]) -> str:
    said = printable(values.get("message") or "") or texts.message.format_map(written)
    return f"{said} {printable(addition)}" if (addition := values.get("addition")) else said


def _evidence(packets: Sequence[Mapping[str, Any]]) -> Iterator[Evidence]:
    """Frames in order, each once, with all that was noted of it."""
    for frame, same in groupby(sorted(packets, key=itemgetter("frame")), itemgetter("frame")):
        notes = [*same]
        yield Evidence(frame, notes[0]["time"] / SECOND, _numbered("; ".join(printable(e["note"]) for e in notes)))


_ONE = re.compile(
    r"(?<![\w.,:])(?<!\bof )1 (byte|packet|segment|connection|exchange|request|response|burst|chunk|event|pause|place|write)s\b"
    r"( are\b| were\b| have\b)?"
)
_SINGULAR = {"": "", " are": " is", " were": " was", " have": " has"}

_ONLY = re.compile(r"(?<![\w.,:])1 of 1 (connection|exchange|response)s\b")


def _numbered(text: str) -> str:
    """ "1 bytes were" -> "1 byte was", "1 of 1 connections" -> "the only connection": templates are written for many.

    A verb behind "3 of 5 connections" stays as it is: templates have none there.
    """
    if "1 " not in text:
        return text
    text = _ONLY.sub(lambda m: f"the only {m[1]}", text)
    return _ONE.sub(lambda m: f"1 {m[1]}{_SINGULAR[m[2] or '']}", text)


def _spaced(text: str) -> str:
    """Names that are empty leave no gap."""
    return " ".join(text.split()) if "  " in text else text.strip()


def _side(values: Mapping[str, Any]) -> Side | None:
    """The side that the candidate names, or the role of the direction that it names."""
    if values["side"] is not None or values["direction"] is None or values["client_direction"] is None:
        return values["side"]
    return "client" if values["direction"] == values["client_direction"] else "server"


def _given(values: Mapping[str, Any], side: Side | None, frames: list[int]) -> dict[str, Any]:
    """The values of GIVEN_NAMES that are not columns already."""
    return {
        "side": side or "sender",
        "peer": {"client": "server", "server": "client"}.get(side or "", "receiver"),
        "status": values["response_status"],
        "server_software": values["server_software"] or "",
        "client_software": values["client_software"] or "",
        "frames": ", ".join(str(f) for f in frames),
        "first_frame": min(frames, default=values["frame"]),
        "last_frame": max(frames, default=values["frame"]),
        "usual": usual(values.get("idle_limit"), values["server_software"] or ""),
    }


def _software(text: str | None) -> str | None:
    """What a Server or User-Agent field said, fit to be shown; None where it said nothing."""
    return shorten(printable(text), MOST_SOFTWARE) if text else None


def _written(value: Any, is_time: bool) -> Any:
    """A value as a template shows it: durations with a unit, text without anything that a terminal obeys."""
    if value is None:
        return ""
    if isinstance(value, str):
        return printable(value)
    return duration_text(value) if is_time else value


def _measures(values: Mapping[str, Any], names: Sequence[str], times: set[str]) -> Iterator[tuple[str, int | float]]:
    """Every number that the message names; times in seconds."""
    for name in names:
        value = values[name]
        if isinstance(value, int | float) and not isinstance(value, bool):
            yield name, value / SECOND if name in times else value


def _advice(advice: tuple[Advice, ...], side: Side | None, values: Mapping[str, Any]) -> str:
    """The advice that fits the software of the side that has to change something, each with a space before it."""
    fitting = tuple(a for a in advice if not a.where or values[a.where])
    if side == "client" and values.get("client_is_gateway"):
        return _fitting(fitting, "gateway", values["gateway_software"])
    software = values["server_software"] if side == "server" else values["client_software"]
    speaks_http = bool(software) or values["connection"] is None or values["exchange"] is not None
    return _fitting(fitting, side, software if speaks_http else None)


@lru_cache(maxsize=1024)
def _fitting(advice: tuple[Advice, ...], side: Side | Literal["gateway"] | None, software: str | None) -> str:
    """Return the advice for a software.

    `software` is "" if the HTTP messages do not name it, and None without HTTP: then advice for an HTTP server would mislead."""
    fitting = [
        f"If the client is {one.text}" if side == "client" and one.software and not one.text.startswith("If ") else one.text
        for one in advice
        if one.side == side and (not one.software if software is None else re.search(one.software, software, re.IGNORECASE))
    ]
    return "".join(f" {text}" for text in fitting)
