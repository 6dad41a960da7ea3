"""Write the manual of the rules: the list of all rules, or the page of one rule: its docstring and thresholds."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Protocol, TextIO

from wiredoctor.findings import SEVERITIES, Reference, Rule, Severity, Threshold, threshold_name
from wiredoctor.report.terminal.error_messages import CAUSE, REUSED, Message
from wiredoctor.report.terminal.terminal import SEVERITY_STYLE, Terminal, TerminalWriter
from wiredoctor.report.words import PROTOCOL_NAMES, count, join_words
from wiredoctor.tables import PROTOCOLS

HEADINGS = ("What it means", "Why it hurts", "How it is proved", "What it is not", "What to do", "References")
_DRAWING = " " * 8


class Entry(Protocol):
    """The properties of a rule that the manual needs."""

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
    """Return all severities that findings of a rule can have, worst first."""
    used = {rule.severity} if isinstance(rule.severity, str) else set(rule.severity.values())
    return [s for s in SEVERITIES if s in used]


def write_list(entries: Iterable[Entry], out: TextIO, paper: Terminal, *, ignored: Collection[str] = ()) -> None:
    """Write one line per rule, grouped by family. Below each line, write the thresholds that the configuration changes.

    `ignored`: names of the rules that the configuration excludes.
    """
    writer = TerminalWriter(out, paper)
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


def write_found(entries: Iterable[Entry], words: str, out: TextIO, paper: Terminal, *, more: int = 0) -> None:
    """Write the rules that a search found. `more`: the number of rules found but not shown."""
    writer, found = TerminalWriter(out, paper), [*entries]
    named = f" of {len(found) + more}" if more else ""
    writer.paragraph(f'{count(len(found), "rule")}{named} for "{words}":')
    writer.blank()
    for entry in found:
        _write_line(writer, entry.name, entry, max(len(e.name) for e in found), 2)
    writer.blank()
    writer.paragraph(f"wiredoctor explain {found[0].name} shows the page of the first rule.")


def _write_line(writer: TerminalWriter, name: str, entry: Entry, longest: int, indent: int) -> None:
    words = ", ".join(severities(entry.rule))
    lead = f"{name:<{longest}}  "
    writer.paragraph((lead, "cyan"), f"{words:<14}  ", summary(entry), indent=indent, hang=longest + 18)


def summary(entry: Entry) -> str:
    """Return the first line of a rule's page."""
    return entry.doc.partition("\n")[0].strip()


def _write_configured(writer: TerminalWriter, entry: Entry, ignored: Collection[str]) -> None:
    if entry.name in ignored:
        writer.paragraph(("excluded by the configuration", "yellow"), indent=6)
    for name, threshold in entry.thresholds.items():
        if threshold.current != threshold.text:
            writer.paragraph(
                (f"{threshold_name(name)} = {threshold.current}", "yellow"), f" (default {threshold.text})", indent=6
            )


def write_message(told: Message, entries: Iterable[Entry], out: TextIO, paper: Terminal) -> None:
    """Write the meaning of an error message, the page of its likeliest rule, and one line for each further rule.

    `entries`: at least one rule to show, the likeliest first.
    """
    writer, found = TerminalWriter(out, paper), [*entries]
    names = {entry.name: entry.name for entry in found}
    names |= {name: f"{name} ({kinds})" for name, kinds in told.kinds.items() if kinds and name in names}
    cases = in_cases(told, names)
    if decides := any(case.when not in ("", CAUSE) for case in told.cases):
        writer.paragraph(("How to decide: ", "bold"), cases, ".")
    by = told.software + ", unverified" * (told.read == "u")
    source = f" Source: {told.source}." if told.read in ("s", "d") else ""
    writer.paragraph(("What the words mean", "bold"), f" ({by})" if by else "", (": ", "bold"), told.means, ".", source)
    if not decides:
        several = len(names.keys() & set(told.rules)) > 1
        writer.paragraph(("The rules, the likeliest first: " if several else "The rule: ", "bold"), cases, ".")
    writer.blank()
    _write_page(writer, found[0])
    if found[1:]:
        writer.blank()
        writer.paragraph(("The next likeliest:", "bold"))
    for entry in found[1:]:
        _write_line(writer, names[entry.name], entry, max(len(names[other.name]) for other in found[1:]), 2)


def in_cases(told: Message, names: Mapping[str, str]) -> str:
    """Describe which rules apply in which case, such as "if the request was not the first of its connection: keep-alive-race".

    Cases are separated by ";". `names`: the text for each rule. Rules without a text are omitted.
    """
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


def write_pages(entries: Iterable[Entry], out: TextIO, paper: Terminal) -> None:
    """Write the pages of some rules."""
    writer = TerminalWriter(out, paper)
    for number, entry in enumerate(entries):
        if number:
            writer.blank()
        _write_page(writer, entry)


def _write_page(writer: TerminalWriter, entry: Entry) -> None:
    body = entry.doc.partition("\n")[2]
    writer.paragraph((entry.name, "bold"), f" (family {entry.family})")
    writer.paragraph(summary(entry))
    writer.blank()
    _write_severity(writer, entry.rule)
    writer.paragraph(f"Protocol of the connections: {protocols(entry.rule)}")
    for paragraph in _paragraphs(body):
        _write_paragraph(writer, paragraph)
    _write_thresholds(writer, entry)
    _write_links(writer, entry.rule.references)


def protocols(rule: Rule) -> str:
    """Return the protocols of the connections that a rule is about, in words."""
    return "any" if {*PROTOCOLS} <= {*rule.protocols} else join_words([PROTOCOL_NAMES[name] for name in rule.protocols])


def _write_severity(writer: TerminalWriter, rule: Rule) -> None:
    kinds = {None: rule.severity} if isinstance(rule.severity, str) else rule.severity
    for kind, severity in kinds.items():
        writer.paragraph(f"Severity of {kind}: " if kind else "Severity: ", (severity, SEVERITY_STYLE[severity]))


def _paragraphs(body: str) -> list[list[str]]:
    """Return the paragraphs of a text, each as a list of lines; blank lines separate them."""
    paragraphs: list[list[str]] = [[]]
    for line in body.splitlines():
        if line.strip():
            paragraphs[-1].append(line.rstrip())
        elif paragraphs[-1]:
            paragraphs.append([])
    return [p for p in paragraphs if p]


def _write_paragraph(writer: TerminalWriter, lines: list[str]) -> None:
    """Write a paragraph. Headings are bold. Deeply indented lines are drawings, which stay unchanged."""
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


def _write_thresholds(writer: TerminalWriter, entry: Entry) -> None:
    if not entry.thresholds:
        return
    writer.blank()
    writer.paragraph(("Thresholds", "bold"))
    for name, threshold in entry.thresholds.items():
        configured = threshold.current != threshold.text
        beside = f" (default {threshold.text})" if configured else ""
        others = [rule for rule in threshold.rules if rule != entry.name]
        shared = f". The same for {join_words(others)}." if others else ""
        writer.paragraph(
            (f"{threshold_name(name)} = {threshold.current}", "cyan"), f"{beside}  {threshold.reason}{shared}", indent=2, hang=2
        )


def _write_links(writer: TerminalWriter, references: tuple[Reference, ...]) -> None:
    if not references:
        return
    writer.blank()
    writer.paragraph(("Links", "bold"))
    for reference in references:
        writer.unbroken(reference.title, f"  {reference.url}" if reference.url else "", indent=2)
