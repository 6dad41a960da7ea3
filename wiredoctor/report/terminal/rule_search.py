"""Finding a rule by what people search for: its name, an error message, a complaint."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import IntEnum
from functools import cache
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from wiredoctor.report.terminal.error_messages import Message
from wiredoctor.report.terminal.message_search import SMALL_WORDS, search, search_whole
from wiredoctor.report.terminal.rule_search_words import SEARCHES

if TYPE_CHECKING:
    from wiredoctor.findings import Rule
    from wiredoctor.report.terminal.manual import Entry

E = TypeVar("E", bound="Entry")

_UNIT = re.compile(r"(?<=[0-9]) (?=(?:ns|us|ms|s)\b)")

_MEANINGFUL = re.compile(r"\w")

SHORTEST_PIECE = 8
"""Characters of a known phrase from which on a longer text that has it, such as a line of a log, is about it."""

LEAST_COMPLAINT = 12
"""Characters, without blanks, of a complaint of several words that says more than a message which is shorter."""

MOST_RULES = 5
"""Named at once, unless a whole family was asked for."""


class Where(IntEnum):
    """How well a rule fits, worst first."""

    NOWHERE = 0
    SOME_WORDS = 1
    ALL_WORDS = 2
    PAGE = 3
    TITLE = 4
    SEARCHED = 5
    PART_OF_NAME = 6


class Found(NamedTuple, Generic[E]):
    """The rules that fit, best first; `sure` when the first is meant and no other."""

    entries: list[E]
    sure: bool


def find(entries: Mapping[str, E], words: str) -> Found[E]:
    """The rules that these words mean or speak of."""
    if (named := words.strip().lower().replace("_", "-")) in entries:
        return Found([entries[named]], sure=True)
    wanted = _plain(words)
    if told := message(entries, words):
        meant = [entries[name] for name in told.rules if name in entries]
        vague = bool(meant) and not told.software
        others = [one for one in entries.values() if vague and one not in meant and _rate(one, wanted) >= Where.SEARCHED]
        return Found([*meant, *others][:MOST_RULES], sure=bool(meant))
    if not _MEANINGFUL.search(SMALL_WORDS.sub("", wanted)):
        return Found([], sure=False)
    rated = {name: _rate(entry, wanted) for name, entry in entries.items()}
    best = max(rated.values(), default=Where.NOWHERE)
    if best == Where.NOWHERE:
        return Found([], sure=False)
    likely = [*SEARCHES, *entries]
    ranked = sorted(rated, key=lambda name: (-rated[name], -_nearness(entries[name], wanted), likely.index(name)))
    sure = sum(rate >= Where.SEARCHED for rate in rated.values()) == 1
    least = _least(best, sure=sure)
    found = [entries[name] for name in ranked if rated[name] >= least]
    return Found(found, sure or len(found) == 1)


def message(entries: Mapping[str, E], words: str) -> Message | None:
    """The message that is known in these words, or of which they are a part; None where others say more, or no rule that
    would explain it exists."""
    if words.strip().lower().replace("_", "-") in entries:
        return None
    wanted = _plain(words)
    if found := search(words):
        told, size = found
        complaints = [known for name in entries for known in _searched(name) if " " in known and _has(wanted, known)]
        if max(map(_size, complaints), default=0) > max(size, LEAST_COMPLAINT):
            return None
    elif all(_rate(entry, wanted) < Where.TITLE for entry in entries.values()):
        told = search_whole(words)
    else:
        return None
    return told if told and (not told.rules or any(name in entries for name in told.rules)) else None


def at_once(found: list[E], words: str) -> list[E]:
    """Those to be named: a few, or all where a family was asked for."""
    return found if _plain(words) in {_plain(entry.family) for entry in found} else found[:MOST_RULES]


def _least(best: Where, *, sure: bool) -> Where:
    """What is worth naming beside the best: rules that merely use a word are noise beside several that are about it."""
    if best >= Where.SEARCHED and not sure:
        return Where.TITLE
    return Where.ALL_WORDS if best >= Where.ALL_WORDS else best


def _rate(entry: Entry, wanted: str) -> Where:
    if _has(_plain(entry.name), wanted):
        return Where.PART_OF_NAME
    if any(_has(known, wanted) or (len(known) >= SHORTEST_PIECE and _has(wanted, known)) for known in _searched(entry.name)):
        return Where.SEARCHED
    if _has(_plain(f"{entry.family} {_titles(entry.rule)} {_first_line(entry)}"), wanted):
        return Where.TITLE
    page = _plain(f"{entry.name} {entry.family} {_titles(entry.rule)} {entry.doc} {' '.join(SEARCHES.get(entry.name, ()))}")
    if _has(page, wanted):
        return Where.PAGE
    return _by_words(page, wanted)


def _by_words(page: str, wanted: str) -> Where:
    meant = [_stem(word) for word in SMALL_WORDS.sub("", wanted).split()]
    there = sum(f" {word}" in f" {page}" for word in meant)
    if not there:
        return Where.NOWHERE
    if there == len(meant):
        return Where.ALL_WORDS
    return Where.SOME_WORDS if 2 * there > len(meant) else Where.NOWHERE


def _nearness(entry: Entry, wanted: str) -> float:
    """How much the words have in common with the one thing people say of this rule that is most like them; 0 to 1."""
    meant = _stems(wanted)
    said = [_stems(_plain(text)) for text in (*SEARCHES.get(entry.name, ()), *_each_title(entry.rule), _first_line(entry))]
    return max(2 * len(meant & words) / (len(meant) + len(words)) for words in said if words)


def _stems(text: str) -> set[str]:
    return {_stem(word) for word in SMALL_WORDS.sub("", text).split()}


def _first_line(entry: Entry) -> str:
    return entry.doc.partition("\n")[0]


def _stem(word: str) -> str:
    """closed, closes, closing -> clos: pages say it in another form."""
    return re.sub(r"(?<=\w{3})(ing|ed|es|s|e)$", "", word)


@cache
def _searched(name: str) -> tuple[str, ...]:
    return tuple(_plain(text) for text in SEARCHES.get(name, ()))


def _titles(rule: Rule) -> str:
    return rule.title if isinstance(rule.title, str) else " ".join(f"{kind} {title}" for kind, title in rule.title.items())


def _each_title(rule: Rule) -> list[str]:
    return [rule.title] if isinstance(rule.title, str) else list(rule.title.values())


def _size(words: str) -> int:
    return len(words.replace(" ", ""))


def _has(text: str, words: str) -> bool:
    """Whole words, in this order."""
    return f" {words} " in f" {text} "


def _plain(text: str) -> str:
    """Words without signs and case; a number with its unit is one word."""
    return _UNIT.sub("", " ".join(re.findall(r"[a-z0-9]+", text.lower())))
