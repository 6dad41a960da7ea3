"""The manual of the rules: the list of all, and the page of one (its docstring and its thresholds)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Protocol, TextIO

from wiredoctor.findings import SEVERITIES, Rule, Severity, Threshold
from wiredoctor.report.terminal.error_messages import CAUSE, REUSED, Message
from wiredoctor.report.terminal.terminal import SEVERITY_STYLE, Paper, Writer
from wiredoctor.report.words import count

if TYPE_CHECKING:
    from wiredoctor.findings import Reference

HEADINGS = ("What it means", "Why it hurts", "How it is proved", "What it is not", "What to do", "References")
_DRAWING = " " * 8


class Entry(Protocol):
    """What the manual needs of a rule."""

    @property
    def name(self) -> str: ...
    @property
    def family(self) -> str: ...
    @property
    def rule(self) -> Rule: ...
    @property
    def doc(self) -> str: ...
    @property
    def thresholds(self) -> Mapping[str, Threshold]: ...


def severities(rule: Rule) -> list[Severity]:
    """Every severity that its kinds have, worst first."""
    used = {rule.severity} if isinstance(rule.severity, str) else set(rule.severity.values())
    return [s for s in SEVERITIES if s in used]


def write_list(entries: Iterable[Entry], out: TextIO, paper: Paper, *, ignored: Collection[str] = ()) -> None:
    """A line per rule below its family: name, severities, summary; below it, what is configured otherwise than by default.

    `ignored`: names of the rules that the configuration leaves out.
    """
    writer = Writer(out, paper)
    families: dict[str, list[Entry]] = {}
    for entry in entries:
        families.setdefault(entry.family, []).append(entry)
    longest = max((len(e.name) for members in families.values() for e in members), default=0)
    for number, (family, members) in enumerate(families.items()):
        if number:
            writer.blank()
        writer.paragraph((family, "bold"))
        for entry in members:
            _write_line(writer, entry.name, entry, longest, 2)
            _write_configured(writer, entry, ignored)


def write_found(entries: Iterable[Entry], words: str, out: TextIO, paper: Paper, *, more: int = 0) -> None:
    """The rules that a search found, best first; `more` were found that are not named."""
    writer, found = Writer(out, paper), [*entries]
    named = f" of {len(found) + more}" if more else ""
    writer.paragraph(f'{count(len(found), "rule")}{named} for "{words}", the nearest first:')
    writer.blank()
    for entry in found:
        _write_line(writer, entry.name, entry, max(len(e.name) for e in found), 2)
    writer.blank()
    writer.paragraph(f"wiredoctor explain {found[0].name} shows the page of the first.")


def _write_line(writer: Writer, name: str, entry: Entry, longest: int, indent: int) -> None:
    words = ", ".join(severities(entry.rule))
    lead = f"{name:<{longest}}  "
    writer.paragraph((lead, "cyan"), f"{words:<14}  ", summary(entry), indent=indent, hang=longest + 18)


def summary(entry: Entry) -> str:
    """The first line of a rule's page."""
    return entry.doc.partition("\n")[0].strip()


def _write_configured(writer: Writer, entry: Entry, ignored: Collection[str]) -> None:
    if entry.name in ignored:
        writer.paragraph(("left out by the configuration", "yellow"), indent=6)
    for name, threshold in entry.thresholds.items():
        if threshold.current != threshold.text:
            writer.paragraph((f"{named(name)} = {threshold.current}", "yellow"), f" (default {threshold.text})", indent=6)


def named(constant: str) -> str:
    """MIN_ACK_DELAY -> min-ack-delay, as it is written in a configuration."""
    return constant.lower().replace("_", "-")


def write_message(told: Message, entries: Iterable[Entry], out: TextIO, paper: Paper) -> None:
    """What a message means, the page of its likeliest rule, and a line for each further one.

    entries: its rules that exist, and those that speak of it too."""
    writer, found = Writer(out, paper), [*entries]
    names = {entry.name: entry.name for entry in found}
    names |= {name: f"{name} ({kinds})" for name, kinds in told.kinds.items() if kinds and name in names}
    cases = in_cases(told, names)
    if decides := any(case.when not in ("", CAUSE) for case in told.cases):
        writer.paragraph(("What decides: ", "bold"), cases, ".")
    by = told.software + ", unverified" * (told.read == "u")
    source = f" Source: {told.source}." if told.read in ("s", "d") else ""
    writer.paragraph(("What the words mean", "bold"), f" ({by})" if by else "", (": ", "bold"), told.means, ".", source)
    if not decides:
        several = len(names.keys() & set(told.rules)) > 1
        writer.paragraph(("The rules, the likeliest first: " if several else "The rule: ", "bold"), cases, ".")
    writer.blank()
    _write_page(writer, found[0])
    _write_others(writer, "The next likeliest:", {names[entry.name]: entry for entry in found[1:]})


def in_cases(told: Message, names: Mapping[str, str]) -> str:
    """ "if the request was not the first of its connection: keep-alive-race; otherwise: no-response".

    names: what is written for each rule; those that are not in it are left out."""
    said: list[str] = []
    decided = False
    for case in told.cases:
        rules = ", ".join(names[name] for name, _ in case.rules if name in names)
        if not rules:
            continue
        when = {REUSED: "if the request was not the first of its connection: ", CAUSE: "its cause: ", "": "otherwise: " * decided}
        said.append(when.get(case.when, f"{case.when}: ") + rules)
        decided |= case.when not in ("", CAUSE)
    return "; ".join(said)


def write_page(entry: Entry, out: TextIO, paper: Paper, *, others: Iterable[Entry] = ()) -> None:
    """The page of one rule; `others` have a line each at its end."""
    writer = Writer(out, paper)
    _write_page(writer, entry)
    _write_others(writer, "Speaks of it too:", {other.name: other for other in others})


def _write_page(writer: Writer, entry: Entry) -> None:
    body = entry.doc.partition("\n")[2]
    writer.paragraph((entry.name, "bold"), f" (family {entry.family})")
    writer.paragraph(summary(entry))
    writer.blank()
    _write_severity(writer, entry.rule)
    for paragraph in _paragraphs(body):
        _write_paragraph(writer, paragraph)
    _write_thresholds(writer, entry.thresholds)
    _write_links(writer, entry.rule.references)


def _write_others(writer: Writer, heading: str, entries: Mapping[str, Entry]) -> None:
    """A line for each rule, below a heading; by what it is called there."""
    if not entries:
        return
    writer.blank()
    writer.paragraph((heading, "bold"))
    for name, entry in entries.items():
        _write_line(writer, name, entry, max(map(len, entries)), 2)


def _write_severity(writer: Writer, rule: Rule) -> None:
    if isinstance(rule.severity, str):
        writer.paragraph("Severity: ", (rule.severity, SEVERITY_STYLE[rule.severity]))
        return
    for kind, severity in rule.severity.items():
        writer.paragraph(f"Severity of {kind}: " if kind else "Severity: ", (severity, SEVERITY_STYLE[severity]))


def _paragraphs(body: str) -> list[list[str]]:
    """Runs of lines without an empty one."""
    paragraphs: list[list[str]] = [[]]
    for line in body.splitlines():
        if line.strip():
            paragraphs[-1].append(line.rstrip())
        elif paragraphs[-1]:
            paragraphs.append([])
    return [p for p in paragraphs if p]


def _write_paragraph(writer: Writer, lines: list[str]) -> None:
    """A heading is a line of its own above its text; deeply indented lines are a drawing and kept as they are."""
    writer.blank()
    if lines[0].strip().rstrip(":") in HEADINGS:
        writer.paragraph((lines[0].strip().rstrip(":"), "bold"))
        lines = lines[1:]
    if not lines:
        return
    if any(line.lstrip().startswith(("- ", "* ")) for line in lines):
        for item in _items(lines):
            writer.paragraph(item, indent=2, hang=2)
    elif all(line.startswith(_DRAWING) for line in lines):
        for line in lines:
            writer.unbroken(line)
    else:
        writer.paragraph(" ".join(line.strip() for line in lines), indent=2)


def _items(lines: list[str]) -> list[str]:
    items: list[str] = []
    for line in lines:
        if line.lstrip().startswith(("- ", "* ")) or not items:
            items.append(line.strip())
        else:
            items[-1] += " " + line.strip()
    return items


def _write_thresholds(writer: Writer, thresholds: Mapping[str, Threshold]) -> None:
    if not thresholds:
        return
    writer.blank()
    writer.paragraph(("Thresholds", "bold"))
    for name, threshold in thresholds.items():
        configured = threshold.current != threshold.text
        beside = f" (default {threshold.text})" if configured else ""
        writer.paragraph((f"{named(name)} = {threshold.current}", "cyan"), f"{beside}  {threshold.reason}", indent=2, hang=2)


def _write_links(writer: Writer, references: tuple[Reference, ...]) -> None:
    if not references:
        return
    writer.blank()
    writer.paragraph(("Links", "bold"))
    for reference in references:
        writer.unbroken(reference.title, f"  {reference.url}" if reference.url else "", indent=2)
