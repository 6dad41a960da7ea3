"""The first lines of every format: one sentence, and the same numbers with the same words, counted anew from the findings."""

from __future__ import annotations

import html
import io
import json
import re
from collections import Counter
from typing import Any
from xml.etree import ElementTree

from wiredoctor.findings import Report
from wiredoctor.report import formats
from wiredoctor.report.formats import Options
from wiredoctor.report.terminal.markdown import escape_markdown
from wiredoctor.report.terminal.sentences import SECRETS
from wiredoctor.report.terminal.terminal import Terminal
from wiredoctor.report.words import clean
from wiredoctor.text.durations import duration_text

Parsed = dict[str, Any]
SEVERITIES = ("error", "warning", "note")


def problems(parsed: Parsed) -> set[tuple[Any, ...]]:
    """What one change would fix, of a JSON report: rule, kind, side, severity, and the place."""
    return {
        (f["rule"], f["kind"], f["side"], f["severity"], f["server"] or (f["capture"], (f["client"] or "").rpartition(":")[0]))
        for f in parsed["findings"]
    }


def _severity(problem: tuple[Any, ...]) -> str:
    return problem[3]


def true_of_all(title: str, titles: list[str]) -> bool:
    """Whether the title of a problem says nothing that is true of one occurrence alone, unless as "up to 9 s" or "such as /a"."""
    if len({*titles}) == 1:
        return title == titles[0]
    said_of_one = {
        match[0] for one in titles for match in _SPECIFIC.finditer(one) if not all(match[0] in other for other in titles)
    }
    return all(_LIMITED.search(title[: match.start()]) for match in _SPECIFIC.finditer(title) if match[0] in said_of_one)


_SPECIFIC = re.compile(r"\d[\d.]* (?:min|s|ms|us)\b(?: \d+ s)?|(?<![\w*])/[\w/?=.-]*")
_LIMITED = re.compile(r"(?:up to|such as(?: [A-Z]+)?) $")


def sentence(parsed: Parsed) -> str:
    """Such as "2 errors and 1 warning, 9 occurrences. Time lost: 5 s.", from the findings of a JSON report."""
    number = Counter(map(_severity, problems(parsed)))
    each = [f"{number[name]:,} {name}{'s' * (number[name] > 1)}" for name in SEVERITIES if number[name]]
    if not each:
        return ""
    counted = " and ".join(each) if len(each) < 3 else ", ".join(each)
    if len(parsed["findings"]) > len(problems(parsed)):
        counted += f"{', ' if len(each) < 3 else '; '}{len(parsed['findings']):,} occurrences"
    delay = parsed["summary"]["delay"]
    return f"{counted}. Time lost: {duration_text(round(delay * 1_000_000_000))}." if delay >= 0.001 else f"{counted}."


def written(report: Report, name: str, **options: Any) -> str:
    """A report in this format."""
    out = io.BytesIO()
    formats.write(report, name, out, Options(paper=Terminal(width=1_000), **options))
    return out.getvalue().decode()


def check_counts(report: Report, parsed: Parsed, page: str) -> None:
    """`parsed`: the JSON of the report, of one capture; `page`: its HTML."""
    summary, counts = parsed["summary"], sentence(parsed)
    first = summary["headline"]
    assert sum(summary["findings"].values()) == len(parsed["findings"])
    assert {name: number for name, number in summary["problems"].items() if number} == Counter(map(_severity, problems(parsed)))
    text = written(report, "text")
    # prose is at most 110 wide
    begin = " ".join(text.split()).removeprefix(f"{SECRETS} " if report.secrets else "")
    assert begin.startswith(f"{' '.join(clean(f'{first} {counts}').split())}")
    markdown = written(report, "markdown").split("\n")
    assert markdown[0] == f"## wiredoctor: {escape_markdown(first)}"
    assert not counts or markdown[2] == escape_markdown(counts)
    [run] = json.loads(written(report, "sarif"))["runs"]
    assert (run["properties"]["headline"], run["properties"]["counts"]) == (first, counts)
    assert run["properties"]["problems"] == summary["problems"]
    said = ElementTree.fromstring(written(report, "junit").encode()).find("testsuite/system-out")
    assert said is not None
    assert (said.text or "").split("\n")[: 2 if counts else 1] == [clean(line) for line in (first, counts) if line]
    concise = [line for line in written(report, "concise").splitlines() if line.startswith("wiredoctor: ")]
    assert concise == [clean(f"wiredoctor: {line}") for line in (first, counts) if line]
    assert written(report, "github").startswith("::notice title=wiredoctor::")
    shown = html.unescape(page)
    assert clean(first) in shown
    assert counts in shown
    if report.packets:
        out = io.BytesIO()
        formats.write(report, "pcapng", out, Options())
        assert "\n".join(clean(line) for line in (first, counts) if line).encode() in out.getvalue()
