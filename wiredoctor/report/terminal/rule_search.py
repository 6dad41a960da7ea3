"""Find rules by name, by error message, or by words of their names, titles, summaries and symptoms."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from wiredoctor.report.terminal.error_messages import Message
from wiredoctor.report.terminal.message_search import SMALL_WORDS, search, search_whole

if TYPE_CHECKING:
    from wiredoctor.report.terminal.manual import Entry

E = TypeVar("E", bound="Entry")

_UNIT = re.compile(r"(?<=[0-9]) (?=(?:ns|us|ms|s)\b)")

MAX_RULES = 5
"""The maximum number of rules shown at once, unless a family was requested."""


class SearchResult(NamedTuple, Generic[E]):
    """The matching rules, best first. `sure`: the user certainly means the first rule, or all rules if `words` are names."""

    entries: list[E]
    sure: bool


def find(entries: Mapping[str, E], words: str) -> SearchResult[E]:
    """Return the rules that match `words`: the rules of these names, those of an error message, or those with all words."""
    if named := _named(entries, words):
        return SearchResult(named, sure=True)
    if told := message(entries, words):
        meant = [entries[name] for name in told.rules if name in entries]
        return SearchResult(meant[:MAX_RULES], sure=bool(meant))
    by_name = [entry for entry in entries.values() if _has_words(entry.name, words)]
    by_text = [entry for entry in entries.values() if _has_words(f"{_titles(entry)} {entry.rule.symptom}", words)]
    found = [*by_name, *(entry for entry in by_text if entry not in by_name)]
    return SearchResult(found, sure=len(found) == 1)


def message(entries: Mapping[str, E], words: str) -> Message | None:
    """Return the known error message that `words` contain. If there is none, return the only message that contains `words`.

    Return None if no message was found, if rules have these names or that title, or if none of the message's rules is in
    `entries`.
    """
    if _named(entries, words):
        return None
    wanted = _plain(words)
    if found := search(words):
        told = found[0]
    elif any(f" {wanted} " in f" {_plain(_titles(entry))} " for entry in entries.values()):
        return None
    else:
        told = search_whole(words)
    return told if told and (not told.rules or any(name in entries for name in told.rules)) else None


def at_once(found: list[E], words: str) -> list[E]:
    """Return the rules to show at once: all of them if `words` name a family, otherwise at most MAX_RULES."""
    return found if _plain(words) in {_plain(entry.family) for entry in found} else found[:MAX_RULES]


def _named(entries: Mapping[str, E], words: str) -> list[E]:
    """Return the rules that `words` name; empty if one of the words is no name of a rule."""
    names = dict.fromkeys(words.lower().replace("_", "-").split())
    return [entries[name] for name in names] if entries.keys() >= names.keys() else []


def _titles(entry: Entry) -> str:
    title = entry.rule.title
    titles = title if isinstance(title, str) else " ".join(f"{kind} {text}" for kind, text in title.items())
    return f"{entry.name} {entry.family} {titles} {entry.doc.partition(chr(10))[0]}"


def _has_words(text: str, words: str) -> bool:
    """Return whether each word, except small ones, begins a word of the text, which may be written with or without hyphens."""
    wanted = SMALL_WORDS.sub("", _plain(words)).split()
    known = f" {_plain(text)} {_plain(text.replace('-', ''))}"
    return bool(wanted) and all(f" {word}" in known for word in wanted)


def _plain(text: str) -> str:
    """Return the text in lower case without punctuation; a number and its unit become one word."""
    return _UNIT.sub("", " ".join(re.findall(r"[a-z0-9]+", text.lower())))
