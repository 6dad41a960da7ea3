"""The page of a rule: its manual, its picture, its thresholds, and where it was recorded."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from wiredoctor.findings import Rule, Threshold, by_kind
from wiredoctor.report.terminal.manual import protocols
from wiredoctor.rule_engine import RuleModule, catalogue
from wiredoctor.rule_engine.catalogue import HEADINGS
from wiredoctor.testing import ladders_in

ROOT = Path(__file__).resolve().parent.parent
CAPTURES = ROOT / "captures"
SOURCES = ROOT / "docs" / "pictures.toml"
PICTURES = ROOT / "docs" / "pages" / "rules" / "pictures"

EXPECTED = re.compile(r'^\[\[find\]\]\nrule = "([a-z0-9-]+)"$', re.MULTILINE)
"""A rule that a label expects. TOML is slow to parse for hundreds of labels."""

POINT = re.compile(r"-(client|middle|server)(?=\.pcap)")
"""Where one conversation was captured, in the name of the capture."""


def rule_page(module: RuleModule, captures: Iterable[str]) -> str:
    """The manual page of a rule: its docstring, its thresholds, where it can be read and seen."""
    summary, _, body = module.doc.partition("\n")
    return "\n".join(
        [
            f"# {module.name}",
            "",
            summary,
            "",
            f"Family: {module.family}. Severity: {severities(module.rule)}."
            f" Protocol of the connections: {protocols(module.rule)}.",
            *_picture(module.name),
            *_sections(body),
            *(f"- [{r.title}]({r.url})" for r in module.rule.references),
            *_thresholds(module),
            *_recorded(sorted(captures, key=os.path.basename)),
            "",
            f"`wiredoctor explain {module.name}` prints this page.",
            "",
        ]
    )


def _picture(rule: str) -> Iterator[str]:
    """The ladder that pictures.py draws, where pictures.toml says what from."""
    source = picture_sources()[rule]
    file = source.get("capture")
    path = file and recording_named(file).relative_to(ROOT).as_posix()
    where = f"[`{path}`](../../../{path})" if path else "A conversation written by hand"
    yield from ("", f"![Ladder diagram of {path or 'a conversation written by hand'}](pictures/{rule}.svg)", "")
    drawn = PICTURES / f"{rule}.svg"
    picture = drawn.read_text("utf-8") if drawn.exists() else ""
    proof = " Bold arrows are the evidence" if 'class="proof' in picture else ""
    lost = "; time that counts as lost is red" if 'class="lost"' in picture else ""
    yield f"{where}, with waits drawn to scale.{proof}{lost}{'.' if proof else ''}{source.get('note', '')}"


@cache
def picture_sources() -> dict[str, dict[str, Any]]:
    """Return rule -> what its picture is made from: as pictures.toml says, or its first ladder that speaks."""
    chosen = tomllib.loads(SOURCES.read_text("utf-8"))
    return {name: chosen.get(name) or {"text": _first_ladder(module)} for name, module in catalogue().items()}


def _first_ladder(module: RuleModule) -> str:
    file = ROOT / "tests" / "rules" / module.family.replace("-", "_") / f"{module.name.replace('-', '_')}.txt"
    return next(text for title, text in ladders_in(file) if title.startswith("speaks"))


def _sections(body: str) -> Iterator[str]:
    """The docstring's fixed headings become headings; what is indented below them is the text."""
    for line in body.splitlines():
        text = line.removeprefix("    ")
        yield from (f"## {line}", "") if line in HEADINGS else (text,)
    yield ""


def severities(rule: Rule) -> str:
    """Format the severities with their kinds: "error (kind left-waiting); warning (kinds closed, reset)", "note"."""
    kinds = next((list(texts) for texts in (rule.severity, rule.title, rule.message) if not isinstance(texts, str)), [None])
    named: dict[str, list[str | None]] = {}
    for kind in kinds:
        named.setdefault(by_kind(rule.severity, kind), []).append(kind)
    return "; ".join(severity if these == [None] else f"{severity} ({_kinds(these)})" for severity, these in named.items())


def _kinds(kinds: list[str | None]) -> str:
    names = [kind for kind in kinds if kind is not None]
    return f"kind{'s' * (len(names) > 1)} {', '.join(names)}{', or no kind' if None in kinds else ''}"


def _thresholds(module: RuleModule) -> list[str]:
    if not module.thresholds:
        return []
    lines = [row(f"`{name}`", t.text, t.reason + _shared(module, t)) for name, t in module.thresholds.items()]
    return ["", "## Thresholds", "", *header("name", "value", "why"), *lines]


def _shared(module: RuleModule, threshold: Threshold) -> str:
    """Return a note that names the other rules with this threshold."""
    others = [
        name for name, m in catalogue().items() if name != module.name and any(t is threshold for t in m.thresholds.values())
    ]
    return f" (the same for {', '.join(f'[`{name}`]({name}.md)' for name in others)})" if others else ""


def _recorded(captures: list[str]) -> list[str]:
    """A line per conversation: those that were captured at several points are linked with the others named."""
    conversations: dict[str, list[str]] = {}
    for name in captures:
        conversations.setdefault(POINT.sub("", name), []).append(name)
    lines = [f"- [`captures/{first}`](../../../captures/{first}){_also(others)}" for first, *others in conversations.values()]
    return ["", "## Recorded examples", "", *lines] if lines else []


def _also(others: list[str]) -> str:
    points = [match[1] for name in others if (match := POINT.search(name))]
    return f" (and `-{'`, `-'.join(points)}`)" if points else ""


def recordings() -> dict[str, list[str]]:
    """Return rule -> paths, below captures/, of the recordings in which it must be found."""
    found: dict[str, list[str]] = {}
    for file in CAPTURES.rglob("*.pcap*"):
        for rule in sorted(set(EXPECTED.findall(file.with_suffix(".toml").read_text("utf-8")))):
            found.setdefault(rule, []).append(file.relative_to(CAPTURES).as_posix())
    return found


def recording_named(name: str) -> Path:
    """Return the recording with this file name."""
    [path] = CAPTURES.rglob(name)
    return path


def header(*names: str) -> list[str]:
    """The first two lines of a table."""
    return [row(*names), row(*("---" for _ in names))]


def row(*cells: str) -> str:
    """A line of a table."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
