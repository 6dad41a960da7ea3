"""Load error_messages.txt: error messages of programs, what they mean on the network, and the rules that explain them."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import NamedTuple

REUSED = "reused"
"""The case in which the request was not the first one on its connection."""

CAUSE = "cause"
"""The case in which a rule finds the cause of what the preceding rule reports."""

_QUOTES = "cause first"
"""The words that precede the rules of a message in error_messages.txt if the message quotes a more specific message."""


_RULE = re.compile(r"([a-z0-9-]+)(?: \(([^)]*)\))?")
"""Matches the name of a rule, optionally followed by kinds of the rule in parentheses."""


class Case(NamedTuple):
    """The rules that explain a message in one case.

    `when`: REUSED, CAUSE, or a condition that begins with "if "; "" stands for all other cases. `rules`: pairs of a rule's name
    and its matching kinds, such as "refused, unreachable" or "" for all kinds; the likeliest rule comes first.
    """

    when: str
    rules: tuple[tuple[str, str], ...]


class Message(NamedTuple):
    """A group of error messages with the same meaning: a row of error_messages.txt.

    `software`: the program or library that prints the messages; "" if many do. `said`: the texts of the messages, in the notation
    of the file. `means`: their meaning. `cases`: the rules that explain the messages; empty if no rule does. `source`: where
    the maker of the software documents or prints the messages, or "". `read`: how the source was verified (s, d, i or u, as
    explained in the file) or "". `quotes`: whether the messages quote a more specific message.
    """

    software: str
    said: tuple[str, ...]
    means: str
    cases: tuple[Case, ...]
    source: str
    read: str
    quotes: bool

    @property
    def rules(self) -> tuple[str, ...]:
        """The names of the rules in all cases, in order."""
        return tuple(name for case in self.cases for name, _ in case.rules)

    @property
    def kinds(self) -> dict[str, str]:
        """The matching kinds by rule; "" stands for all kinds."""
        return {name: kinds for case in self.cases for name, kinds in case.rules}


@cache
def messages() -> tuple[Message, ...]:
    """Return all messages, in the order of error_messages.txt."""
    lines = (files(__package__ or "") / "error_messages.txt").read_text("utf-8").splitlines()
    return tuple(_row(line) for line in lines if line and not line.startswith("#"))


def _row(line: str) -> Message:
    software, said, means, rules, source, read = (cell.strip() for cell in line.split("|"))
    groups = _parts(rules, ";")
    quotes = groups[:1] == [_QUOTES]
    return Message(software, tuple(_parts(said, ";")), means, tuple(map(_case, groups[quotes:])), source, read, quotes)


def _case(text: str) -> Case:
    when, _, rules = text.rpartition(":")
    return Case(when.strip(), tuple((name, kinds) for name, kinds in _RULE.findall(rules)))


def _parts(text: str, separator: str) -> list[str]:
    return [part.strip() for part in text.split(separator) if part.strip()]
