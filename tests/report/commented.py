"""The Markdown of a report, read by a Markdown parser: each group of findings, with its rule, frames, count and delay."""

from __future__ import annotations

import io
import re
from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from markdown_it import MarkdownIt

from tests.report.counted import true_of_all
from wiredoctor.findings import Finding, Report
from wiredoctor.report.terminal import markdown
from wiredoctor.report.terminal.evidence import MAX_FRAMES
from wiredoctor.text.durations import duration_text

_BREAK = "\u200b"
"""Stands where a reader could see a mention or an address."""


class Told(NamedTuple):
    """A group as it is read: its heading, the rule that says it, its places, and the frames of its proof."""

    heading: str
    standing: str
    places: list[str]
    frames: list[int]


def check_markdown(report: Report) -> None:
    """report: of one capture, of no more groups than a comment has room for."""
    out = io.BytesIO()
    markdown.write(report, out, everything=True)
    told = [*_told(out.getvalue().decode())]
    groups: dict[tuple[str | None, ...], list[Finding]] = defaultdict(list)
    for f in report.findings:
        groups[f.rule, f.kind, f.side, f.severity, f.server or (f.client or "").rpartition(":")[0]].append(f)
    assert len(told) == len(groups)
    by_number = {f.number: f for f in report.findings}
    for group in told:
        [number] = [int(found[1]) for place in group.places if (found := re.search(r"\bfinding (\d+)", place))]
        worst = by_number[number]
        here = next(some for some in groups.values() if worst in some)
        rule = f"{worst.rule} ({worst.kind})" if worst.kind else worst.rule
        assert group.standing.startswith(f"{rule}, {worst.confidence} confidence")
        shown = len(worst.evidence) if len(worst.evidence) <= MAX_FRAMES else MAX_FRAMES - 1
        assert group.frames == [e.frame for e in worst.evidence[:shown]]
        extent = _extent(here)
        start, end = f"{worst.severity.upper()}: ", f" ({extent})" if extent else ""
        if len(here) == 1 and extent in worst.title:
            end = ""
        assert group.heading.startswith(start)
        assert group.heading.endswith(end)
        assert true_of_all(group.heading.removeprefix(start).removesuffix(end), [f.title for f in here])


def _extent(here: list[Finding]) -> str:
    count, delay = len(here), sum(f.delay or 0 for f in here)
    text = duration_text(round(delay * 1_000_000_000))
    if count == 1:
        return text if delay else ""
    return f"{count:,} times, {text} lost" if delay else f"{count:,} times"


def _told(page: str) -> Iterator[Told]:
    tokens = MarkdownIt("commonmark").parse(page)
    starts = [at for at, token in enumerate(tokens) if token.type == "heading_open" and token.tag == "h3"]
    for start, end in pairwise([*starts, len(tokens)]):
        heading, _, _, about = tokens[start + 1 : start + 5]
        text = "".join(child.content for child in heading.children or []).replace(_BREAK, "")
        lines = about.children or []
        first = next((at for at, child in enumerate(lines) if child.type == "hardbreak"), len(lines))
        places = [child.content for child in lines if child.type == "code_inline"]
        standing = "".join(child.content for child in lines[:first]).replace(_BREAK, "")
        fences = [token.content for token in tokens[start:end] if token.type == "fence"]
        yield Told(text, standing, places, [int(n) for n in re.findall(r"^frame +(\d+) ", "".join(fences[:1]), re.MULTILINE)])
