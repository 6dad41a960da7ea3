"""Write findings as JUnit XML for Jenkins and GitLab: a suite is a capture, a case is a rule.

There is no standard. The output fits the schemas of Jenkins' xUnit plugin, GitLab and pytest's `xunit2`. The `time` of a case is
the time (s) that its findings cost, not the duration of the check.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple, cast
from xml.sax.saxutils import escape, quoteattr

from wiredoctor.findings import CaptureSummary, Finding, Report, total_delay
from wiredoctor.report.capture_points import shared_sentence
from wiredoctor.report.coverage import Coverage, coverage_by_capture
from wiredoctor.report.fail_on import Least, fails
from wiredoctor.report.groups import MAX_GROUPS, Group, group_findings
from wiredoctor.report.headline import counts, headline
from wiredoctor.report.overview import other_problems
from wiredoctor.report.row_order import Sink
from wiredoctor.report.terminal.capture_sentences import capture_facts, encapsulated, lacking, not_analysed
from wiredoctor.report.terminal.sentences import SECRETS, failing, left_out_lines, reasons, times
from wiredoctor.report.terminal.terminal import Terminal, TerminalWriter
from wiredoctor.report.terminal.text import write_group
from wiredoctor.report.unexplained import unexplained
from wiredoctor.report.words import clean

if TYPE_CHECKING:
    from wiredoctor.report.formats import Options

_PAPER = Terminal(width=100, unicode=True)


class _Case(NamedTuple):
    """A test case as XML, with its result and the time lost in seconds."""

    text: str
    failed: bool = False
    skipped: bool = False
    error: bool = False
    time: float = 0.0


class _Suite(NamedTuple):
    """The test suite of a capture, or of the inputs that could not be read. `first`: the first lines about the capture."""

    name: str
    cases: list[_Case]
    capture: CaptureSummary | None = None
    first: Sequence[str] = ()


def write_as(report: Report, out: Sink, options: Options) -> None:
    """Write the report as JUnit XML."""
    least = cast("Least", options.fail_on or "warning")
    write(report, out, fail_on=least, selected=options.selected, unread=options.unread, shown=options.shown)


def write(
    report: Report, out: Sink,
    *, fail_on: Least = "warning", selected: Collection[str] = (), unread: Iterable[str] = (), shown: str = "",
) -> None:  # fmt: skip
    """Write the complete report.

    The test case of a rule fails if one of its findings makes the command fail with this `fail_on` and these `selected` rules.
    `unread`: one line for each input that could not be read; these lines and those of `report.incomplete` become errors.
    `shown`: as in formats.Options.
    """
    far = coverage_by_capture(report)
    findings: dict[str, dict[str, list[Finding]]] = {name: {} for name in far}
    for one in report.findings:
        findings.setdefault(one.capture, {}).setdefault(one.rule, []).append(one)
    bad = {id(one) for one in report.findings if fails(one, fail_on, selected)}
    summaries = {capture.file: capture for capture in report.captures}
    suites: list[_Suite] = []
    for name, rules in findings.items():
        cases, first = [*_rule_cases(report, name, rules, far.get(name), lambda f: id(f) in bad)], list[str]()
        if (capture := summaries.get(name)) is not None:
            cases += _ends(report, capture, far[name], failing=fail_on == "any")
            first = _first_lines(report, capture, far[name], shown)
        suites.append(_Suite(name, cases, capture, first))
    if lines := [*unread, *report.incomplete]:
        suites.append(_Suite("inputs that could not be read completely", [*map(_unread, lines)]))
    out.write(_document(report, suites).encode("utf-8", "backslashreplace"))


def _first_lines(report: Report, capture: CaptureSummary, far: Coverage, shown: str) -> list[str]:
    """Return the first lines about a capture.

    These lines are the headline, the counts, a sentence on conversations in several captures, and one line per server with 5xx.
    """
    found = [one for one in report.findings if one.capture == capture.file]
    delay = report.delay if len(report.captures) == 1 else total_delay(found)
    alone = replace(
        report, captures=[capture], findings=found, delay=delay, incomplete=[], totals={},
        connection_count=far.connections, exchange_count=far.exchanges,
    )  # fmt: skip
    groups = group_findings(found)
    numbers = str(counts(alone, groups))
    return [headline(alone, groups, far, shown), *([numbers] if numbers else []), *shared_sentence(report), *failing(far)]


def _document(report: Report, suites: list[_Suite]) -> str:
    numbers = _numbers([case for suite in suites for case in suite.cases])
    inner = [_suite(report, suite) for suite in suites]
    head = '<?xml version="1.0" encoding="UTF-8"?>\n'
    return head + _element("testsuites", {"name": "wiredoctor", **numbers}, inner) + "\n"


def _numbers(cases: list[_Case]) -> dict[str, str]:
    """Return the number of cases by result, and the sum of their times, as attributes."""
    return {
        "tests": str(len(cases)),
        "failures": str(sum(one.failed for one in cases)),
        "errors": str(sum(one.error for one in cases)),
        "skipped": str(sum(one.skipped for one in cases)),
        "time": f"{sum(one.time for one in cases):.9f}",
    }


def _suite(report: Report, suite: _Suite) -> str:
    attributes = {"name": suite.name, **_numbers(suite.cases)}
    inner, capture = [case.text for case in suite.cases], suite.capture
    if capture is not None:
        if capture.first_time is not None:
            # the schema allows neither a time zone nor fractions of a second
            attributes["timestamp"] = capture.first_time[:19]
        properties = {"wiredoctor": report.version, "packets": str(capture.packets), "secrets": str(report.secrets).lower()}
        each = [_element("property", {"name": name, "value": value}) for name, value in properties.items()]
        inner = [_element("properties", {}, each), *inner, _text("system-out", "\n".join(_closing(report, capture, suite.first)))]
    return _element("testsuite", attributes, inner)


def _rule_cases(
    report: Report, name: str, rules: dict[str, list[Finding]], far: Coverage | None, bad: Callable[[Finding], bool]
) -> Iterator[_Case]:
    """Yield the test case of each rule for the capture `name`. `rules`: its findings by rule."""
    healthy = set(far.healthy) if far else set[str]()
    for rule, what in report.checked.items():
        found = rules.get(rule, [])
        yield _rule_case(name, f"wiredoctor.{what.family}", rule, found, bad, judged=bool(found) or rule in healthy)
    for rule, found in rules.items():
        if rule not in report.checked:
            yield _rule_case(name, f"wiredoctor.{found[0].family}", rule, found, bad, judged=True)


def _ends(report: Report, capture: CaptureSummary, far: Coverage, *, failing: bool) -> Iterator[_Case]:
    """Yield a test case for dropped packets and unexplained endings, if there are any. `failing`: whether this case fails."""
    alone = replace(report, captures=[capture], not_judged=[one for one in report.not_judged if one.capture == capture.file])
    said = [*lacking(alone), *(f"{clause}." for clause in unexplained(far))]
    if not said:
        return
    told = "\n".join([*said, *(f"not judged: {line}" for line in reasons(alone, far))])
    inner = _text("failure", told, {"message": said[0], "type": "not-judged"}) if failing else _text("system-out", told)
    attributes = {"classname": "wiredoctor.ends", "name": "not-judged", "time": "0.000000000", "file": capture.file}
    yield _Case(_element("testcase", attributes, [inner]), failed=failing)


def _rule_case(file: str, family: str, rule: str, found: list[Finding], bad: Callable[[Finding], bool], *, judged: bool) -> _Case:
    """Return the test case of a rule for the capture `file`.

    `bad`: returns whether a finding makes the case fail. `judged`: false if the capture has nothing for the rule to check.
    """
    time = sum(one.delay or 0.0 for one in found)
    attributes = {"classname": family, "name": rule, "time": f"{time:.9f}", "file": file}
    failing, others = [one for one in found if bad(one)], [one for one in found if not bad(one)]
    inner: list[str] = []
    if not judged:
        inner.append(_element("skipped", {"message": "the capture has nothing for this rule to check"}))
    if failing:
        groups = group_findings(failing)
        worst = groups[0]
        message = f"{worst.title} ({times(worst)})" if worst.count > 1 else worst.title
        inner.append(_text("failure", _paragraphs(groups), {"message": message, "type": worst.worst.severity}))
    if others:
        inner.append(_text("system-out", _paragraphs(group_findings(others))))
    return _Case(_element("testcase", attributes, inner), failed=bool(failing), skipped=not judged, time=time)


def _unread(line: str) -> _Case:
    error = _text("error", line, {"message": line, "type": "unreadable"})
    return _Case(_element("testcase", {"classname": "wiredoctor.input", "name": line, "time": "0"}, [error]), error=True)


def _paragraphs(groups: list[Group]) -> str:
    """Return at most MAX_GROUPS problems as paragraphs of plain text, followed by the number of omitted problems."""
    out = io.StringIO()
    writer = TerminalWriter(out, _PAPER)
    for number, group in enumerate(groups[:MAX_GROUPS]):
        if number:
            writer.blank()
        write_group(writer, group, several=False, everything=False)
    if left := groups[MAX_GROUPS:]:
        out.write(f"\n{other_problems(left)}.\n")
    return out.getvalue().rstrip("\n")


def _closing(report: Report, capture: CaptureSummary, first: Iterable[str]) -> Iterator[str]:
    """Yield the `first` lines, then lines about the capture, about limits that were reached, and about excluded findings."""
    yield from first
    if report.secrets:
        yield SECRETS
    yield capture_facts(capture)
    yield from encapsulated(capture)
    yield from not_analysed(capture)
    if capture.damage:
        yield f"damaged: {capture.damage}"
    prefix = f"{capture.file}: " if len(report.captures) > 1 else ""
    yield from (f"limit reached: {limit}" for limit in report.limits if limit.startswith(prefix))
    yield from (f"left out: {line}" for line in left_out_lines(report))


def _element(name: str, attributes: dict[str, str], inner: Iterable[str] = ()) -> str:
    said = "".join(f" {key}={quoteattr(clean(value))}" for key, value in attributes.items())
    content = "".join(f"\n{one}" for one in inner)
    return f"<{name}{said}>{content}\n</{name}>" if content else f"<{name}{said}/>"


def _text(name: str, text: str, attributes: dict[str, str] | None = None) -> str:
    said = "".join(f" {key}={quoteattr(clean(value))}" for key, value in (attributes or {}).items())
    return f"<{name}{said}>{escape(_lines(text))}</{name}>"


def _lines(text: str) -> str:
    """Escape control characters except line feeds, because XML 1.0 (section 2.2) forbids most control characters."""
    return "\n".join(clean(line) for line in text.split("\n"))
