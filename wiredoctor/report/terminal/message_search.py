"""Find known error messages in pasted text: a log line, a stack trace, or the message alone."""

from __future__ import annotations

import html
import re
from functools import cache
from typing import NamedTuple

from wiredoctor.report.terminal.error_messages import Message, messages

GAP = "..."
"""A placeholder for hosts, ports, paths and numbers in the text of a message."""

MAX_WORDS = 3
"""Messages that consist of common words are found only in texts with at most this many words, not counting SMALL_WORDS."""

LONGEST_GAP = 300
"""The maximum length in characters of the text in a gap, such as a host with its path."""

SHORTEST_PIECE = 12
"""The minimum number of characters that a part of a message must have to identify the message."""

SMALL_WORDS = re.compile(
    r"\b(a|an|and|are|as|at|be|but|by|for|from|has|have|in|is|it|my|not|of|on|or|so|that|the|to|was|when|why|with)\b"
)

_NO_TEXT = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|\\[nrt](?![a-z])")
"""A pattern for color codes and escaped line ends, which terminals and JSON insert into messages."""
_UNSEEN = re.compile("[\u00ad\u200b-\u200d\u2060\ufeff]")
"""A pattern for invisible characters that browsers insert into words."""

_STATE_END = r"(?=[NIDVEOU-][NIUPRD-](?![\w-]))"
"""A pattern for the cookie flags at the end of a termination state (haproxy's doc/configuration.txt section 8.5)."""
_HAPROXY = re.compile(r"haproxy|\d/-?\d+/-?\d", re.IGNORECASE)
"""A pattern that shows that a text is from haproxy: its name, or the timers in its log.

In other texts, four capital letters are a word, not a termination state.
"""
_FLAGS = re.compile(r"(?:(?<![\w.:])(?:0|[1-5][0-9]{2})\s+\"?|flags?\W{1,5})((?:[A-Z]{2,5},){0,9}[A-Z]{2,5})(?![\w-])")
"""A pattern for Envoy's response flags after a status or a name."""


_ALB = re.compile(r"\bapp/\S+/\S+ \S+ \S+(?: -?[0-9.]+){3} ([0-9]{3})(?= )", re.IGNORECASE)
"""A pattern for a line in the access log of an AWS Application Load Balancer; its group is the status of the response."""


class _Text(NamedTuple):
    """A text pasted by the user, in two forms: as one line, and as lower-case words separated by single spaces."""

    line: str
    words: str

    @property
    def is_short(self) -> bool:
        return len(SMALL_WORDS.sub("", self.words).split()) <= MAX_WORDS


def search(text: str) -> tuple[Message, int] | None:
    """Return the most specific known message in a text and the length of the match, or None if the text has no known message.

    The longest match is the most specific one. Messages that quote another message rank last.
    """
    _, size, row = max(search_all(text), key=lambda one: one[:2], default=(False, 0, None))
    return (row, size) if row else None


def search_all(text: str) -> list[tuple[bool, int, Message]]:
    """Return all known messages in a text, each in a tuple of three values.

    The values are: false if the message quotes another message; the length of the match; and the message.
    """
    pasted = _Text(" ".join(text.split()), f" {plain(text)} ")
    return [(not row.quotes, size, row) for row, sign, size in _signs() if _has(pasted, sign)]


def search_whole(text: str) -> Message | None:
    """Return the known message that contains the complete text.

    Return None if no message or more than one contains it, or if the text is too short.
    """
    part = f" {plain(text)} "
    if len(part) < SHORTEST_PIECE + 2:
        return None
    found = {id(row): row for row in messages() if any(part in f" {plain(said)} " for said in row.said)}
    return next(iter(found.values())) if len(found) == 1 else None


def plain(text: str) -> str:
    """Return the words of a text in lower case, without punctuation."""
    return " ".join(re.findall(r"[a-z0-9]+", _UNSEEN.sub("", html.unescape(_NO_TEXT.sub(" ", text))).lower()))


class _Sign(NamedTuple):
    """A pattern that finds a message.

    `mark`: "~", "=", "%" or "@" as in error_messages.txt, "-" for a termination state of HAProxy, or "". `parts`: the texts
    before and after each "..." of the message.
    """

    mark: str
    parts: tuple[str, ...]


@cache
def _signs() -> tuple[tuple[Message, _Sign, int], ...]:
    """Return three values for every text in error_messages.txt: its message, its pattern, and its length.

    The length is the number of characters without spaces and without "...".
    """
    signs = [(row, _sign(said)) for row in messages() for said in row.said]
    return tuple((row, sign, sum(len(part.replace(" ", "")) for part in sign.parts)) for row, sign in signs)


def _sign(said: str) -> _Sign:
    if said.endswith("--"):
        return _Sign("-", (said,))
    if said[0] in "=%@":
        return _Sign(said[0], (said[1:],))
    mark = "~" if said[0] == "~" else ""
    return _Sign(mark, tuple(part for part in map(plain, said.removeprefix("~").split(GAP)) if part))


def _has(text: _Text, sign: _Sign) -> bool:
    if sign.mark == "-":
        return _has_state(text.line, sign.parts[0][:2])
    if sign.mark == "=":
        return re.search(rf"(?<!\w){re.escape(sign.parts[0])}(?!\w)", text.line) is not None
    if sign.mark == "%":
        return _has_flag(text, sign.parts[0])
    if sign.mark == "@":
        return sign.parts[0] in _ALB.findall(text.line)
    return (sign.mark != "~" or text.is_short) and _has_parts(text.words, sign.parts)


def _has_parts(words: str, parts: tuple[str, ...]) -> bool:
    """Return whether a text has all parts of a message in order, with gaps of at most LONGEST_GAP characters between them."""
    begin = words.find(f" {parts[0]} ")
    while begin >= 0:
        at = begin + len(parts[0]) + 1
        for part in parts[1:]:
            at = words.find(f" {part} ", at, at + LONGEST_GAP + len(part) + 2)
            if at < 0:
                break
            at += len(part) + 1
        else:
            return True
        begin = words.find(f" {parts[0]} ", begin + 1)
    return False


def _has_state(text: str, state: str) -> bool:
    for found in re.finditer(rf"(?<![\w-]){state}{_STATE_END}", text):
        if "-" in text[found.end() : found.end() + 2] or text.strip() == text[found.start() : found.end() + 2]:
            return True
        if _HAPROXY.search(text):
            return True
    return False


def _has_flag(text: _Text, flag: str) -> bool:
    if text.is_short and re.search(rf"(?<![\w-]){flag}(?![\w-])", text.line):
        return True
    return any(flag in found.split(",") for found in _FLAGS.findall(text.line))
