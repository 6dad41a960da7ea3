"""The page of a rule: its manual, its picture, its thresholds, and where it was recorded."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

from wiredoctor.findings import Rule, by_kind
from wiredoctor.rule_engine import RuleModule
from wiredoctor.rule_engine.catalogue import HEADINGS

ROOT = Path(__file__).resolve().parent.parent
CAPTURES = ROOT / "captures"
SOURCES = ROOT / "docs" / "pictures.toml"
PICTURES = ROOT / "docs" / "pages" / "rules" / "pictures"

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
            f"Family: {module.family}. Severity: {severities(module.rule)}.",
            *_picture(module.name),
            *_sections(body),
            *(f"- [{r.title}]({r.url})" for r in module.rule.references),
            *_thresholds(module),
            *_recorded(sorted(captures)),
            "",
            f"`wiredoctor explain {module.name}` prints this page.",
            "",
        ]
    )


def _picture(rule: str) -> Iterator[str]:
    """The ladder that pictures.py draws, where pictures.toml says what from."""
    source = tomllib.loads(SOURCES.read_text("utf-8")).get(rule)
    if not source:
        return
    file = source.get("capture")
    where = f"[`captures/{file}`](../../../captures/{file})" if file else "A conversation made by hand"
    yield from (
        "",
        f"![Ladder diagram of {f'captures/{file}' if file else 'a conversation made by hand'}](pictures/{rule}.svg)",
        "",
    )
    drawn = PICTURES / f"{rule}.svg"
    picture = drawn.read_text("utf-8") if drawn.exists() else ""
    proof = " Bold arrows are what the rule goes by" if 'class="proof' in picture else ""
    lost = "; the time that it counts as lost is red" if 'class="lost"' in picture else ""
    yield f"{where}, its waits drawn to scale.{proof}{lost}{'.' if proof else ''}{source.get('note', '')}"


def _sections(body: str) -> Iterator[str]:
    """The docstring's fixed headings become headings; what is indented below them is the text."""
    for line in body.splitlines():
        text = line.removeprefix("    ")
        yield from (f"## {line}", "") if line in HEADINGS else (text,)
    yield ""


def severities(rule: Rule) -> str:
    """Format the severities with their kinds: "error (left-waiting), warning (closed)", "note (no kind, stop)"."""
    kinds = next((list(texts) for texts in (rule.severity, rule.title, rule.message) if not isinstance(texts, str)), [None])
    named: dict[str, list[str]] = {}
    for kind in kinds:
        named.setdefault(by_kind(rule.severity, kind), []).append(kind or "no kind")
    return ", ".join(
        severity if names == ["no kind"] else f"{severity} ({', '.join(names)})" for severity, names in named.items()
    )


def _thresholds(module: RuleModule) -> list[str]:
    if not module.thresholds:
        return []
    lines = [row(f"`{name}`", t.text, t.reason) for name, t in module.thresholds.items()]
    return ["", "## Thresholds", "", *header("name", "value", "why"), *lines]


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
    """Rule -> names of the captures whose papers say that it must be found in them."""
    found: dict[str, list[str]] = {}
    for papers in sorted(CAPTURES.glob("*.toml")):
        rules = {f["rule"] for f in tomllib.loads(papers.read_text("utf-8")).get("find", [])}
        for file in CAPTURES.glob(f"{papers.stem}.pcap*"):
            for rule in rules:
                found.setdefault(rule, []).append(file.name)
    return found


def header(*names: str) -> list[str]:
    """The first two lines of a table."""
    return [row(*names), row(*("---" for _ in names))]


def row(*cells: str) -> str:
    """A line of a table."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
