"""Describe rules in SARIF (reportingDescriptor, SARIF section 3.49): name, summary, manual page and level."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from wiredoctor.findings import Finding
from wiredoctor.report.terminal.manual import HEADINGS, Entry, severities, summary
from wiredoctor.report.words import clean

Json = dict[str, Any]

_PROBLEM = {"error": "error", "warning": "warning", "note": "recommendation"}
"""The severity of a rule in GitHub's code scanning (`problem.severity`), by severity of its findings."""


class Descriptors:
    """The rules that a SARIF log describes: first the rules of the catalogue, in its order, then other rules."""

    def __init__(self, rules: Mapping[str, Entry], named: Iterable[str]) -> None:
        wanted = dict.fromkeys(named)
        self._names = [*(name for name in rules if name in wanted), *(name for name in wanted if name not in rules)]
        self._places = {name: place for place, name in enumerate(self._names)}
        self._rules = rules

    def index(self, name: str) -> int:
        """Return the index of a rule in the list."""
        return self._places[name]

    def rules(self, findings: Iterable[Finding]) -> Iterator[Json]:
        """Yield the SARIF descriptor of each rule. A rule that is not in the catalogue is described by one of its findings."""
        strangers = {one.rule: one for one in findings if one.rule not in self._rules}
        for name in self._names:
            if name in self._rules:
                yield _rule(self._rules[name])
            elif name in strangers:
                yield _stranger(strangers[name])
            else:
                yield {"id": clean(name)}


def _rule(entry: Entry) -> Json:
    worst = severities(entry.rule)[0]
    return {
        "id": entry.name,
        # sarif-multitool warns about a name that only repeats the id (rule SARIF1001)
        **({"name": _pascal(entry.name)} if "-" in entry.name else {}),
        "shortDescription": {"text": summary(entry)},
        "fullDescription": {"text": _meaning(entry) or summary(entry)},
        "help": {"text": clean_lines(entry.doc), "markdown": _page(entry)},
        "defaultConfiguration": {"level": worst},
        "properties": {"tags": [entry.family, "http", "tcp"], "problem.severity": _PROBLEM[worst]},
    }


def _stranger(one: Finding) -> Json:
    return {
        "id": clean(one.rule),
        "shortDescription": {"text": clean(one.title)},
        "defaultConfiguration": {"level": one.severity},
        "properties": {"tags": [clean(one.family)], "problem.severity": _PROBLEM[one.severity]},
    }


def _pascal(name: str) -> str:
    """Convert nagle-delayed-ack to NagleDelayedAck, as SARIF section 3.49.7 requires."""
    return "".join(part.capitalize() for part in name.split("-"))


def _meaning(entry: Entry) -> str:
    """Return the first paragraph that follows the summary on a rule's manual page, without its heading."""
    paragraphs = [" ".join(part.split()) for part in entry.doc.partition("\n")[2].split("\n\n") if part.strip()]
    return clean(paragraphs[0].removeprefix("What it means").strip(" :")) if paragraphs else ""


def _page(entry: Entry) -> str:
    """Return the manual page of a rule as Markdown.

    The page is the rule's docstring, in which only the headings have to be converted.
    """
    lines = [f"# {entry.name}", "", summary(entry)]
    for line in entry.doc.partition("\n")[2].splitlines():
        lines += [f"## {line}", ""] if line in HEADINGS else [line.removeprefix("    ")]
    lines += [f"- [{reference.title}]({reference.url})" for reference in entry.rule.references]
    return clean_lines("\n".join(lines))


def clean_lines(text: str) -> str:
    """Escape control characters in each line of a text; line ends become line feeds, and tabs become spaces."""
    return "\n".join(clean(line) for line in text.expandtabs().splitlines())
