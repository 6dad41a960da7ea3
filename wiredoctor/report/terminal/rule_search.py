"""Find rules by name, error message, or description of a problem."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import IntEnum
from functools import cache
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from wiredoctor.report.terminal.error_messages import Message
from wiredoctor.report.terminal.message_search import SMALL_WORDS, search, search_whole
from wiredoctor.report.terminal.rule_ranking import RuleText, covers, rank, stem
from wiredoctor.report.terminal.rule_search_words import SEARCHES

if TYPE_CHECKING:
    from wiredoctor.findings import Rule
    from wiredoctor.report.terminal.manual import Entry

E = TypeVar("E", bound="Entry")

_UNIT = re.compile(r"(?<=[0-9]) (?=(?:ns|us|ms|s)\b)")

_MEANINGFUL = re.compile(r"\w")

SHORTEST_PIECE = 8
"""The minimum number of characters that a search phrase must have to be searched for in longer texts, such as logs.

A shorter phrase may occur in such texts by chance, so it does not identify its rule.
"""

LEAST_COMPLAINT = 12
"""A matching description ranks above an error message that is shorter if the description has more characters than this."""

LONGEST_QUESTION = 7
"""The maximum number of words of a question. Rules are ranked by all words of a question, even if some of these words form a
known phrase.
"""

MAX_RULES = 5
"""The maximum number of rules shown at once, unless a family was requested."""


class Match(IntEnum):
    """The quality of a match between a rule and the words of a search, from worst to best."""

    NOWHERE = 0
    SOME_WORDS = 1
    ALL_WORDS = 2
    PAGE = 3
    TITLE = 4
    SEARCHED = 5
    PART_OF_NAME = 6


class SearchResult(NamedTuple, Generic[E]):
    """The matching rules, best first. `sure`: the user certainly means the first rule."""

    entries: list[E]
    sure: bool


def find(entries: Mapping[str, E], words: str) -> SearchResult[E]:
    """Return the rules that match `words`, which may be a name, an error message, or a description."""
    if (named := words.strip().lower().replace("_", "-")) in entries:
        return SearchResult([entries[named]], sure=True)
    wanted = _plain(words)
    if told := message(entries, words):
        meant = [entries[name] for name in told.rules if name in entries]
        vague = bool(meant) and not told.software
        others = [one for one in entries.values() if vague and one not in meant and _rate(one, wanted) >= Match.SEARCHED]
        return SearchResult([*meant, *others][:MAX_RULES], sure=bool(meant))
    if not _MEANINGFUL.search(SMALL_WORDS.sub("", wanted)):
        return SearchResult([], sure=False)
    rated = {name: _rate(entry, wanted) for name, entry in entries.items()}
    best = max(rated.values(), default=Match.NOWHERE)
    likely = [*SEARCHES, *entries]
    if best <= Match.SOME_WORDS or (_is_question(wanted) and not any(_answers(entry, wanted) for entry in entries.values())):
        texts = {name: _text(entries[name]) for name in sorted(entries, key=likely.index)}
        found = [entries[name] for name in rank(texts, words)][:MAX_RULES]
        return SearchResult(found, sure=len(found) == 1)
    ranked = sorted(rated, key=lambda name: (-rated[name], -_nearness(entries[name], wanted), likely.index(name)))
    sure = sum(rate >= Match.SEARCHED for rate in rated.values()) == 1
    least = _least(best, sure=sure)
    found = [entries[name] for name in ranked if rated[name] >= least]
    return SearchResult(found, sure or len(found) == 1)


def _is_question(wanted: str) -> bool:
    """Return whether a text has several words, but at most LONGEST_QUESTION. Longer texts are pasted, not typed."""
    return 1 < len(wanted.split()) <= LONGEST_QUESTION


def _answers(entry: Entry, wanted: str) -> bool:
    """Return whether any text of the rule contains the words of `wanted`.

    The texts are the rule's name, its titles, its first line and its search phrases. A search phrase also counts if the words
    contain the phrase and, apart from it, only fillers (see `covers`).
    """
    texts = (_plain(f"{entry.name} {entry.family}"), *map(_plain, _each_title(entry.rule)), _plain(_first_line(entry)))
    return any(_has(text, wanted) for text in texts) or any(
        _has(known, wanted) or (_has(wanted, known) and covers(known, wanted)) for known in _search_phrases(entry)
    )


def _text(entry: Entry) -> RuleText:
    return RuleText(_search_words(entry), (entry.family, *_each_title(entry.rule), _first_line(entry)), entry.doc)


def message(entries: Mapping[str, E], words: str) -> Message | None:
    """Return the known error message that `words` contain. If there is none, return the only message that contains `words`.

    Return None if no message was found, if rules match `words` better, or if a message has rules but none of them is in
    `entries`.
    """
    if words.strip().lower().replace("_", "-") in entries:
        return None
    wanted = _plain(words)
    if found := search(words):
        told, size = found
        complaints = [
            known for entry in entries.values() for known in _search_phrases(entry) if " " in known and _has(wanted, known)
        ]
        if max(map(_size, complaints), default=0) > max(size, LEAST_COMPLAINT):
            return None
    elif all(_rate(entry, wanted) < Match.TITLE for entry in entries.values()):
        told = search_whole(words)
    else:
        return None
    return told if told and (not told.rules or any(name in entries for name in told.rules)) else None


def at_once(found: list[E], words: str) -> list[E]:
    """Return the rules to show at once: all of them if `words` name a family, otherwise at most MAX_RULES."""
    return found if _plain(words) in {_plain(entry.family) for entry in found} else found[:MAX_RULES]


def _least(best: Match, *, sure: bool) -> Match:
    """Return the weakest match that is still shown if `best` is the best match.

    `sure`: whether exactly one rule has a match of SEARCHED or better.
    """
    if best >= Match.SEARCHED and not sure:
        return Match.TITLE
    return Match.ALL_WORDS if best >= Match.ALL_WORDS else best


def _rate(entry: Entry, wanted: str) -> Match:
    if _has(_plain(entry.name), wanted):
        return Match.PART_OF_NAME
    if any(_has(known, wanted) or (len(known) >= SHORTEST_PIECE and _has(wanted, known)) for known in _search_phrases(entry)):
        return Match.SEARCHED
    if _has(_plain(f"{entry.family} {_titles(entry.rule)} {_first_line(entry)}"), wanted):
        return Match.TITLE
    page = _plain(f"{entry.name} {entry.family} {_titles(entry.rule)} {entry.doc} {' '.join(_search_words(entry))}")
    if _has(page, wanted):
        return Match.PAGE
    return _by_words(page, wanted)


def _by_words(page: str, wanted: str) -> Match:
    meant = [stem(word) for word in SMALL_WORDS.sub("", wanted).split()]
    there = sum(f" {word}" in f" {page}" for word in meant)
    if not there:
        return Match.NOWHERE
    if there == len(meant):
        return Match.ALL_WORDS
    return Match.SOME_WORDS if 2 * there > len(meant) else Match.NOWHERE


def _nearness(entry: Entry, wanted: str) -> float:
    """Return how similar (0 to 1) the wanted words are to the most similar phrase of this rule."""
    meant = _stems(wanted)
    said = [_stems(_plain(text)) for text in (*_search_words(entry), *_each_title(entry.rule), _first_line(entry))]
    return max(2 * len(meant & words) / (len(meant) + len(words)) for words in said if words)


def _stems(text: str) -> set[str]:
    return {stem(word) for word in SMALL_WORDS.sub("", text).split()}


def _first_line(entry: Entry) -> str:
    return entry.doc.partition("\n")[0]


def _search_words(entry: Entry) -> tuple[str, ...]:
    return (*entry.rule.search, *SEARCHES.get(entry.name, ()))


def _search_phrases(entry: Entry) -> tuple[str, ...]:
    return _plain_each(_search_words(entry))


@cache
def _plain_each(texts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(_plain(text) for text in texts)


def _titles(rule: Rule) -> str:
    return rule.title if isinstance(rule.title, str) else " ".join(f"{kind} {title}" for kind, title in rule.title.items())


def _each_title(rule: Rule) -> list[str]:
    return [rule.title] if isinstance(rule.title, str) else list(rule.title.values())


def _size(words: str) -> int:
    return len(words.replace(" ", ""))


def _has(text: str, words: str) -> bool:
    """Return whether the text contains these words as whole words, one directly after another."""
    return f" {words} " in f" {text} "


def _plain(text: str) -> str:
    """Return the text in lower case without punctuation; a number and its unit become one word."""
    return _UNIT.sub("", " ".join(re.findall(r"[a-z0-9]+", text.lower())))
