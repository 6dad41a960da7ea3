"""Build the page of a comparison: before and after side by side, or the parts of another comparison."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from wiredoctor.compare.before_after.result import Changes, EndpointChange, FindingChange, Source
from wiredoctor.report.comparison import before_after
from wiredoctor.report.comparison.before_after import source_sentence
from wiredoctor.report.html.page import assets, environment, zone_of
from wiredoctor.report.row_order import Sink
from wiredoctor.report.terminal.document import Grid, Heading, Line, Part, Title
from wiredoctor.report.words import count, duration
from wiredoctor.text.time_of_day import is_utc

MAX_CARDS, MAX_ENDPOINTS = 200, 1_000
"""The maximum numbers of findings with one status, and of endpoints, on a page."""

SCRIPTS = ("base", "theme", "findings", "compare_page")


class Pair(NamedTuple):
    """A line of a card: the value of something before and after, as text and as lengths of bars (0 to 100)."""

    name: str
    before: str
    after: str
    before_bar: float = 0
    after_bar: float = 0


class Card(NamedTuple):
    """A finding with its values before and after.

    `number`: the number of the card. `extent`: how often the finding occurred, as text. `pairs`: the values to compare.
    `sentences`: sentences about the difference.
    """

    number: int
    change: FindingChange
    extent: str
    pairs: tuple[Pair, ...]
    sentences: tuple[str, ...]


class Group(NamedTuple):
    """The findings with the same status. `left`: a sentence that counts the findings omitted from the page, or ""."""

    status: str
    heading: str
    cards: tuple[Card, ...]
    left: str


class Row(NamedTuple):
    """An endpoint in the table: its texts, and the lengths of the bars for its median and its 95th percentile (0 to 100).

    `verdict`: "slower", "faster", or "" if neither is significant.
    """

    name: str
    sentences: tuple[str, ...]
    verdict: str
    cells: tuple[str, ...]
    before_bar: float
    after_bar: float
    before_p95: float
    after_p95: float


class Tile(NamedTuple):
    """A number at the top of the page. `look`: "bad", "good" or ""."""

    name: str
    text: str
    look: str = ""


def write(changes: Changes, out: Sink, *, quiet: bool = False) -> None:
    """Write the page of a before-and-after comparison in UTF-8. `quiet` omits the inputs."""
    endpoints = changes.endpoints[:MAX_ENDPOINTS]
    _write(
        out,
        changes.version,
        title=f"{changes.before.name} and {changes.after.name}",
        headline=before_after.headline(changes),
        zone=zone_of(time for source in (changes.before, changes.after) for time in (source.first_time, source.last_time)),
        sides=[(name, source, _contents(source)) for name, source in (("Before", changes.before), ("After", changes.after))],
        tiles=[*_tiles(changes)],
        groups=[*_groups(changes)],
        endpoints=[_row(one) for one in endpoints],
        endpoints_left=_left(len(changes.endpoints) - len(endpoints)),
        rule_headings=before_after.RULE_HEADINGS,
        rules=[*before_after.rule_rows(changes)],
        sources=[] if quiet else [source_sentence("before", changes.before), source_sentence("after", changes.after)],
        notes=[] if quiet else before_after.other_notes(changes),
        parts=[],
    )


def write_parts(parts: Iterable[Part], out: Sink, version: str, title: str) -> None:
    """Write the page of a comparison of two points or of a proxy in UTF-8."""
    title_part, *rest = parts
    sections: list[tuple[str, list[tuple[str, Line | Grid]]]] = []
    for part in rest:
        if isinstance(part, Heading):
            sections.append((part.text, []))
        elif isinstance(part, (Line, Grid)):
            if not sections:
                sections.append(("", []))
            sections[-1][1].append(("line" if isinstance(part, Line) else "grid", part))
    headline = title_part.text if isinstance(title_part, Title) else ""
    _write(
        out, version, title=title, headline=headline, zone="", parts=sections, sides=[], tiles=[], groups=[], endpoints=[],
        endpoints_left="", rule_headings=(), rules=[], sources=[], notes=[],
    )  # fmt: skip


def _write(out: Sink, version: str, **content: Any) -> None:
    page = environment().get_template("compare_page.html")
    for piece in page.generate(version=version, utc=is_utc(), **content, **assets(SCRIPTS)):
        out.write(piece.encode("utf-8", "backslashreplace"))


def _tiles(changes: Changes) -> Iterator[Tile]:
    numbers = {status: len(changes.of(status)) for status in ("new", "fixed", "stayed", "not-seen-again")}
    yield Tile("New", f"{numbers['new']:,}", "bad" if numbers["new"] else "")
    yield Tile("Fixed", f"{numbers['fixed']:,}", "good" if numbers["fixed"] else "")
    yield Tile("Stayed", f"{numbers['stayed']:,}")
    if numbers["not-seen-again"]:
        yield Tile("Not seen again", f"{numbers['not-seen-again']:,}")
    if changes.endpoints:
        slower, faster = (sum(before_after.is_(one, verdict) for one in changes.endpoints) for verdict in ("slower", "faster"))
        yield Tile("Slower endpoints", f"{slower:,}", "bad" if slower else "")
        if faster:
            yield Tile("Faster endpoints", f"{faster:,}", "good")
    before, after = changes.before.delay, changes.after.delay
    if before or after:
        yield Tile("Time lost", f"{duration(before)} \u2192 {duration(after)}")


def _groups(changes: Changes) -> Iterator[Group]:
    numbers = itertools.count(1)
    for status, heading in before_after.HEADINGS.items():
        findings = [one for one in changes.findings if one.status == status]
        cards = tuple(_card(next(numbers), one) for one in findings[:MAX_CARDS])
        if cards:
            yield Group(status, heading, cards, _left(len(findings) - len(cards)))


def _left(number: int) -> str:
    return f"{number:,} more are in the JSON comparison" if number else ""


def _card(number: int, one: FindingChange) -> Card:
    hits = [
        before_after.format_hits(n, of, one.of) for n, of in ((one.before, one.chances_before), (one.after, one.chances_after))
    ]
    chances = (one.chances_before, one.chances_after)
    # captures differ in length, so the bars compare rates, not numbers, if both rates are known
    rates = (one.before / (chances[0] or 1), one.after / (chances[1] or 1)) if all(chances) else (one.before, one.after)
    pairs = [_pair("Occurrences", hits, rates)]
    lost = (one.delay_before, one.delay_after)
    if any(lost):
        pairs.append(_pair("Time lost", [duration(time) if time else "none" for time in lost], lost))
    medians = [spread.median if spread else None for spread in (one.delay.before, one.delay.after)]
    if any(medians):
        texts = ["-" if time is None else duration(time) for time in medians]
        pairs.append(_pair("Median of each", texts, tuple(time or 0.0 for time in medians)))
    sentences = [
        {
            "more-often": "More often; the difference is significant.",
            "less-often": "Less often; the difference is significant.",
        }.get(one.frequency, ""),
        {
            "slower": "Each occurrence took longer; the difference is significant.",
            "faster": "Each occurrence was shorter; the difference is significant.",
        }.get(one.delay.verdict, ""),
        f"{one.why[0].upper()}{one.why[1:]}." if one.why else "",
    ]
    extent = f"{one.before:,} \u2192 {one.after:,}"
    return Card(number, one, extent, tuple(pairs), tuple(filter(None, sentences)))


def _pair(name: str, texts: list[str], numbers: tuple[float, ...]) -> Pair:
    before, after = (100 * number / (max(numbers) or 1) for number in numbers)
    return Pair(name, texts[0], texts[1], before, after)


def _row(one: EndpointChange) -> Row:
    before, after = one.total.before, one.total.after
    name, *cells, verdict = before_after.endpoint_row(one)
    lengths = [
        *(spread.median if spread else 0 for spread in (before, after)),
        *((spread.p95 or 0) if spread else 0 for spread in (before, after)),
    ]
    longest = max(lengths) or 1
    sentences = [text for verdict in ("slower", "faster") for text in before_after.endpoint_sentences(one, verdict)]
    look = next((each for each in ("slower", "faster") if before_after.is_(one, each)), "")
    return Row(name, tuple(sentences), look, (*cells, verdict), *(100 * length / longest for length in lengths))


def _contents(source: Source) -> str:
    parts = ((source.connections, "connection"), (source.exchanges, "exchange"), (source.findings, "occurrence"))
    return ", ".join(count(number, noun) for number, noun in parts)
