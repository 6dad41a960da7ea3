"""The diagnosis as GitHub Flavored Markdown, for a comment on a pull request: the same sentences as the text has."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from wiredoctor.report.coverage import Reach, reach
from wiredoctor.report.groups import MOST_GROUPS, Group, grouped
from wiredoctor.report.ordered import Sink
from wiredoctor.report.terminal.evidence import proof_lines
from wiredoctor.report.terminal.sentences import (
    SECRETS,
    change,
    checked,
    encapsulated,
    ends,
    example,
    facts,
    failing,
    headline,
    known,
    more,
    not_analysed,
    nothing,
    opening,
    reasons,
    rest,
    standing,
    times,
    totals,
    well,
)
from wiredoctor.report.terminal.terminal import Paper
from wiredoctor.report.words import clean, count, duration, shorten

if TYPE_CHECKING:
    from wiredoctor.findings import CaptureSummary, Report

MOST_BYTES = 60_000
"""A comment on GitHub may have 65,536 characters."""

MOST_CAPTURES = 40
"""Captures, and limits, that are named: with hundreds in a report there would be no room for what was found."""

MOST_NAME = 200

PROOF = Paper(width=88, unicode=True)
"""What a code block shows without a scroll bar."""

_SIGNS = re.compile(r"[\\`*_{}\[\]<>|~&$]")
_AT_THE_START = re.compile(r"^(\d*)([#+=.)-])")
_REFERENCE = re.compile(r"(?<![A-Za-z0-9])(@|#|GH-)(?=[A-Za-z0-9_-])|(?<=://)|(?<=\bwww\.)|(?<=[A-Za-z0-9])@", re.IGNORECASE)

_NOTHING = "&#8203;"
"""A space of no width, which keeps a mention or an address from being one."""


def escaped(text: str) -> str:
    """Text as Markdown that says just that: no markup, HTML, table, formula, link, mention or issue number comes of it."""
    safe = _SIGNS.sub(lambda m: f"&#{ord(m[0])};" if m[0] in "<>&$|`" else f"\\{m[0]}", _marked(clean(text).strip()))
    return _AT_THE_START.sub(r"\1\\\2", safe).replace("\ue000", _NOTHING)


def _marked(text: str) -> str:
    """The places at which a reference must be broken, marked with a sign that `clean` lets nobody else use."""
    return _REFERENCE.sub(lambda m: f"{m[0]}\ue000", text)


def code(text: str) -> str:
    """A code span that holds any text (GFM section 6.3: the fence is a run of backticks that is not in it)."""
    text = clean(text)
    fence = "`" * (_longest_run(text) + 1)
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def block(lines: list[str]) -> list[str]:
    """A code block that holds any lines."""
    fence = "`" * max(3, max(map(_longest_run, lines), default=0) + 1)
    return [f"{fence}text", *lines, fence]


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall(r"`+", text)), default=0)


def write(report: Report, out: Sink, *, quiet: bool = False, shown: str = "") -> None:
    """The whole report, in UTF-8. quiet: the findings and nothing else, except what the report or the capture lacks. shown: in
    words, what it was narrowed to."""
    groups = grouped(report.findings)
    said = [f"**{escaped(line)}**\n" for line in opening(report)]
    if quiet and not groups:
        out.write("\n".join(said).encode("utf-8", "backslashreplace"))
        return
    far = reach(report)
    head = headline(report, groups) if groups else nothing(report, far, shown)
    closing = "" if quiet else "\n".join(_closing(report, far, shown))
    said += [f"## wiredoctor: {escaped(head)}\n", *([f"**{escaped(SECRETS)}**\n"] if report.secrets else [])]
    room = MOST_BYTES - len(closing.encode()) - len("\n".join(said).encode())
    several = len(report.captures) > 1
    for number, group in enumerate(groups):
        text = "\n".join(_group(group, several=several))
        room -= len(text.encode()) + 1
        if number >= MOST_GROUPS or room < 0:
            said.append(f"{escaped(more(groups[number:]))}\n")
            break
        said.append(text)
    out.write("\n".join([*said, closing]).encode("utf-8", "backslashreplace"))


def _group(group: Group, *, several: bool) -> Iterator[str]:
    worst = group.worst
    extent = times(group) if group.count > 1 else duration(group.delay) if group.delay and group.delay > 0 else ""
    says_it = group.count == 1 and extent and extent in worst.title
    yield f"### {worst.severity.upper()}: {escaped(worst.title)}" + (f" ({extent})" if extent and not says_it else "")
    yield ""
    places = [ends(group), worst.capture if several else "", example(group)]
    yield "  \n".join([escaped(standing(group)), *(code(place) for place in places if place)])
    yield ""
    yield escaped(worst.message)
    yield ""
    if worst.evidence:
        yield from ("<details><summary>Proof</summary>", "", *block(proof_lines(worst, PROOF)), "", "</details>", "")
    yield f"**{change(group)}:** {escaped(worst.remedy)}"
    yield ""
    if worst.display_filter:
        yield f"Wireshark: {code(worst.display_filter)}"
        yield ""
    if worst.references:
        yield "See: " + ", ".join(_link(r.title, r.url) for r in worst.references[:1])
        yield ""


def _link(title: str, url: str) -> str:
    return f"[{escaped(title)}](<{clean(url)}>)" if re.fullmatch(r"https?://[^\s<>]+", url) else escaped(title)


def _closing(report: Report, far: Reach, shown: str) -> Iterator[str]:
    yield "<details><summary>What was read, and how far this reaches</summary>"
    yield ""
    for capture in report.captures[:MOST_CAPTURES]:
        yield f"- {code(shorten(capture.file, MOST_NAME))}: {escaped(facts(capture))}"
        yield from (f"  - {escaped(line)}" for line in _of_capture(capture))
    if len(report.captures) > MOST_CAPTURES:
        yield f"- and {count(len(report.captures) - MOST_CAPTURES, 'more capture')}"
    yield f"- {escaped(totals(report, shown))}"
    yield from (f"- {escaped(line)}" for line in failing(far))
    yield from (f"- Limit reached: {escaped(limit)}" for limit in report.limits[:MOST_CAPTURES])
    if len(report.limits) > MOST_CAPTURES:
        yield f"- Limit reached: {len(report.limits) - MOST_CAPTURES:,} more times"
    yield from (f"- Checked: {escaped(line)}" for line in checked(far))
    if quiet_rules := rest(report, far):
        named = [] if report.findings else well(report, far)
        yield f"- {quiet_rules}{':' if named else ''}"
        yield from (f"  - {escaped(line)}" for line in named)
    yield from (f"- Not judged: {escaped(line)}" for line in reasons(report, far))
    yield from (f"- Left out: {escaped(line)}" for line in known(report))
    yield ""
    yield "</details>"
    yield ""


def _of_capture(capture: CaptureSummary) -> list[str]:
    lines = encapsulated(capture) + not_analysed(capture)
    return [*lines, f"damaged: {capture.damage}"] if capture.damage else lines
