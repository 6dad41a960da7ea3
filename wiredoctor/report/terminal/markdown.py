"""Write the diagnosis as GitHub Flavored Markdown for a pull-request comment, with the sentences of the text report."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from wiredoctor.findings import Report
from wiredoctor.report.capture_clocks import zone_line
from wiredoctor.report.commands import are_kept, next_commands, rest_in_full, show_any_command, was_kept
from wiredoctor.report.coverage import Coverage, find_coverage
from wiredoctor.report.groups import Group, group_findings
from wiredoctor.report.headline import counts, doubts, headline, missing
from wiredoctor.report.overview import HEADINGS, Row, notes_on_times, other_problems, split_rows
from wiredoctor.report.row_order import Sink
from wiredoctor.report.terminal import capture_sentences, sentences
from wiredoctor.report.terminal.evidence import proof_lines
from wiredoctor.report.terminal.terminal import Terminal
from wiredoctor.report.words import clean, count, shorten

if TYPE_CHECKING:
    from wiredoctor.report.formats import Options

MAX_BYTES = 60_000
"""The maximum size of the output in bytes, because a comment on GitHub may have 65,536 characters."""

MAX_CAPTURES = 40
"""The maximum number of captures listed, and of limits listed; hundreds would leave no space for findings."""

MAX_NAME = 200

MAX_CELL = 100
"""The maximum length of a cell in the table of problems, in characters."""

IN_FULL = 2
"""The number of problems shown with message, evidence and remedy.

All problems are shown like this if the user requests it, or if no capture file was kept with which a later command could show
them.
"""

PROOF = Terminal(width=88, unicode=True)
"""The properties of a code block, with the maximum width (in characters) that needs no scroll bar."""

_SIGNS = re.compile(r"[\\`*_{}\[\]<>|~&$]")
_AT_THE_START = re.compile(r"^(\d*)([#+=.)-])")
_REFERENCE = re.compile(r"(?<![A-Za-z0-9])(@|#|GH-)(?=[A-Za-z0-9_-])|(?<=://)|(?<=\bwww\.)|(?<=[A-Za-z0-9])@", re.IGNORECASE)

_NOTHING = "&#8203;"
"""A zero-width space, which breaks mentions and automatic links."""


def escape_markdown(text: str) -> str:
    """Escape text so Markdown shows it literally: not as markup, HTML, table, formula, link, mention or issue number."""
    safe = _SIGNS.sub(lambda m: f"&#{ord(m[0])};" if m[0] in "<>&$|`" else f"\\{m[0]}", _mark_references(clean(text).strip()))
    return _AT_THE_START.sub(r"\1\\\2", safe).replace("\ue000", _NOTHING)


def _mark_references(text: str) -> str:
    """Insert marks into mentions, links and issue numbers where they must be interrupted so GitHub does not recognize them.

    The mark is a character that cannot be in the text, because `clean` escapes it.
    """
    return _REFERENCE.sub(lambda m: f"{m[0]}\ue000", text)


def code(text: str) -> str:
    """Return a text as a code span, with a fence longer than any run of backticks in it (GFM section 6.3)."""
    text = clean(text)
    fence = "`" * (_longest_run(text) + 1)
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def block(lines: list[str]) -> list[str]:
    """Return the lines as a fenced code block, with a fence longer than any run of backticks in them."""
    fence = "`" * max(3, max(map(_longest_run, lines), default=0) + 1)
    return [f"{fence}text", *lines, fence]


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall(r"`+", text)), default=0)


def write_as(report: Report, out: Sink, options: Options) -> None:
    """Write the report as Markdown."""
    write(report, out, everything=options.everything, quiet=options.quiet, shown=options.shown)


def write(report: Report, out: Sink, *, everything: bool = False, quiet: bool = False, shown: str = "") -> None:
    """Write the report in UTF-8.

    `everything`: describe as many problems in full as fit. `quiet`: write only findings, missing data, and failures that no
    finding explains. `shown`: a description of the report's filter.
    """
    groups = group_findings(report.findings)
    far = find_coverage(report)
    if quiet and not groups:
        lines = doubts(report, far, shown)
        out.write("\n".join(f"**{escape_markdown(line)}**\n" for line in lines).encode("utf-8", "backslashreplace"))
        return
    closing = "" if quiet else "\n".join(_closing(report, far, shown))
    said = [*_first_lines(report, groups, far, shown), *_table(report, groups)]
    room = MAX_BYTES - len(closing.encode()) - len("\n".join(said).encode()) - MAX_NAME
    several = len(report.captures) > 1
    written = 0
    # if the packets were not kept, no later report can show the other problems
    for group in groups if everything or not are_kept(report) else groups[:IN_FULL]:
        text = "\n".join(_group(group, several=several, report=report))
        room -= len(text.encode()) + 1
        if room < 0:
            break
        said.append(text)
        written += 1
    if rest := len(groups) - written:
        which, command = rest_in_full(report, rest)
        said.append(f"{which} {code(command)}\n")
    out.write("\n".join([*said, closing]).encode("utf-8", "backslashreplace"))


def _first_lines(report: Report, groups: list[Group], far: Coverage, shown: str) -> list[str]:
    lines = [f"## wiredoctor: {escape_markdown(headline(report, groups, far, shown))}\n"]
    if numbers := str(counts(report, groups)):
        lines.append(f"{escape_markdown(numbers)}\n")
    if line := zone_line(report):
        lines.append(f"{escape_markdown(line)}\n")
    said = [line for line in capture_sentences.opening(report) if line not in missing(report)]
    return lines + [f"**{escape_markdown(line)}**\n" for line in (*said, *([sentences.SECRETS] if report.secrets else []))]


def _table(report: Report, groups: list[Group]) -> list[str]:
    """Return the table of problems, followed by the rules of the problems that do not fit in it."""
    rows, left = split_rows(report, groups)
    lines = [f"| {' | '.join(HEADINGS)} |", f"|{'---|' * 3}{'--:|' * 2}---|--:|", *map(_row, rows)] if rows else []
    if rows and (note := notes_on_times(report, groups)):
        lines += ["", note]
    if rows and (command := show_any_command(report)):
        lines += ["", f"Next: {code(command)}"]
    if left:
        lines += ["", f"{escape_markdown(other_problems(left))}."]
    return ["\n".join(lines) + "\n"] if lines else []


def _row(row: Row) -> str:
    return f"| {' | '.join(escape_markdown(shorten(cell, MAX_CELL)) for cell in row.cells)} |"


def _group(group: Group, *, several: bool, report: Report) -> Iterator[str]:
    worst = group.worst
    extent = sentences.extent(group)
    yield f"### {worst.severity.upper()}: {escape_markdown(group.title)}" + (f" ({extent})" if extent else "")
    yield ""
    places = [sentences.client_and_server(group), worst.capture if several else "", sentences.example(group)]
    yield "  \n".join([escape_markdown(sentences.rule_and_confidence(group)), *(code(place) for place in places if place)])
    yield ""
    yield escape_markdown(worst.message)
    yield ""
    if worst.evidence:
        yield from ("<details><summary>Proof</summary>", "", *block(proof_lines(worst, PROOF)), "", "</details>", "")
    yield f"**{sentences.change(worst)}:** {escape_markdown(worst.remedy)}"
    yield ""
    if worst.display_filter and was_kept(worst.capture):
        yield f"Wireshark: {code(worst.display_filter)}"
        yield ""
    if worst.references:
        yield "See: " + ", ".join(_link(r.title, r.url) for r in worst.references[:1])
        yield ""
    yield "Next: " + ", ".join(map(code, next_commands(report, worst)))
    yield ""


def _link(title: str, url: str) -> str:
    return f"[{escape_markdown(title)}](<{clean(url)}>)" if re.fullmatch(r"https?://[^\s<>]+", url) else escape_markdown(title)


def _closing(report: Report, far: Coverage, shown: str) -> Iterator[str]:
    yield "<details><summary>Input and coverage</summary>"
    yield ""
    for capture in report.captures[:MAX_CAPTURES]:
        yield f"- {code(shorten(capture.file, MAX_NAME))}: {escape_markdown(capture_sentences.capture_facts(capture))}"
        yield from (f"  - {escape_markdown(line)}" for line in capture_sentences.contents_lines(capture))
    if len(report.captures) > MAX_CAPTURES:
        yield f"- and {count(len(report.captures) - MAX_CAPTURES, 'more capture')}"
    yield f"- {escape_markdown(sentences.totals(report, shown))}"
    yield from (f"- {escape_markdown(line)}" for line in sentences.failing(far))
    yield from (f"- Limit reached: {escape_markdown(limit)}" for limit in report.limits[:MAX_CAPTURES])
    if len(report.limits) > MAX_CAPTURES:
        yield f"- Limit reached: {len(report.limits) - MAX_CAPTURES:,} more times"
    yield from (f"- Checked: {escape_markdown(line)}" for line in sentences.checked_lines(far))
    if quiet_rules := sentences.count_of_rules_without_findings(report, far):
        named = [] if report.findings else sentences.rules_without_findings(report, far)
        yield f"- {quiet_rules}{':' if named else ''}"
        yield from (f"  - {escape_markdown(line)}" for line in named)
    yield from (f"- Not judged: {escape_markdown(line)}" for line in sentences.reasons(report, far))
    yield from (f"- Left out: {escape_markdown(line)}" for line in sentences.left_out_lines(report))
    yield ""
    yield "</details>"
    yield ""
