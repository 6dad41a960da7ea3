"""Read the papers beside the captures: the contents of each capture, and the findings that it must yield."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.support.recordings import PATHS
from tests.support.sweeps import sweep

Key = tuple[str, str | None, str | None, int | None, bool]
"""Rule, kind, side and connection of a finding, and whether it is a note."""


@dataclass(frozen=True)
class Papers:
    """The papers of one capture, as written."""

    content: dict[str, Any]

    @property
    def packets(self) -> int:
        return self.content["packets"]["count"]

    @property
    def connections(self) -> list[dict[str, Any]]:
        """One entry per connection, in the order of tcp.stream."""
        return [c for c in self.content["connection"] for _ in range(c.get("repeat", 1))]

    @property
    def exchanges(self) -> list[dict[str, Any]]:
        """One entry per exchange, with its connection and its index there."""
        found: list[dict[str, Any]] = []
        for number, connection in enumerate(self.connections):
            alike = [e for e in connection["exchanges"] for _ in range(e.get("repeat", 1))]
            found += [{**exchange, "connection": number, "exchange": index} for index, exchange in enumerate(alike)]
        return found

    @property
    def finds(self) -> list[dict[str, Any]]:
        """What must be found."""
        return self.content.get("find", [])

    @property
    def findings(self) -> Counter[Key]:
        """How often each finding must be there."""
        return Counter({key(find): find["count"] for find in self.finds})

    @property
    def must_not(self) -> set[str]:
        return set(self.content.get("must_not", []))


def key(find: dict[str, Any]) -> Key:
    """What tells the findings of an entry from others."""
    return find["rule"], find.get("kind"), find.get("side"), find.get("connection"), "severity" in find


@cache
def read(path: Path) -> Papers:
    """The papers of this capture."""
    return Papers(tomllib.loads(path.with_suffix(".toml").read_text()))


POINTS = ("client", "middle", "server")


def _conversation(path: Path) -> str:
    """Its name: that of the capture, without the point where it has one."""
    name, _, point = path.stem.rpartition("-")
    return name if point in POINTS and read(path).content["at"] == point else path.stem


def _conversations() -> dict[str, dict[str, Path]]:
    found: dict[str, dict[str, Path]] = {}
    for path in PATHS:
        if (name := _conversation(path)) != path.stem:
            found.setdefault(name, {})[path.stem.rpartition("-")[2]] = path
    return {name: points for name, points in found.items() if len(points) > 1}


CONVERSATIONS = _conversations()
"""Conversations that were captured at several points: name -> point -> capture. Another test holds their points together."""


def _one_each() -> list[Path]:
    several = [[*points.values()] for points in CONVERSATIONS.values()]
    passed_over = {path for i, paths in enumerate(several) for k, path in enumerate(paths) if k != i % len(paths)}
    return [path for path in PATHS if path not in passed_over]


ONE_EACH = _one_each()
"""Of each conversation one capture, at this or that point."""


def _each(parts: Callable[[Papers], Iterable[Hashable]]) -> list[Path]:
    """Choose captures, small ones first, until each of the `parts` of labels is in one."""
    seen: set[Hashable] = set()
    chosen: list[Path] = []
    for path in sorted(ONE_EACH, key=lambda path: (path.stat().st_size, path.stem)):
        found = {*parts(read(path))}
        if found - seen:
            chosen.append(path)
            seen |= found
    return sorted(chosen, key=lambda path: path.name)


def _kinds(papers: Papers) -> set[Hashable]:
    """What must be found, by rule, kind, side and whether it is a note; and the rules that must be silent."""
    return {(rule, kind, side, note) for rule, kind, side, _, note in papers.findings} | papers.must_not


def _rules(papers: Papers) -> set[str]:
    return {rule for rule, *_ in papers.findings}


EACH_RULE = _each(_rules)
"""A capture in which each rule finds something: what a quick run tries."""
EACH_KIND = _each(_kinds)
"""One for each kind of finding of each rule, and one in which the rule must be silent."""
_OF_KINDS = frozenset(EACH_KIND)


def is_nightly(path: Path) -> bool:
    """Return whether only the nightly run writes this capture in every format: it shows no kind of finding that others do not."""
    return path not in _OF_KINDS


QUICK_CONVERSATIONS = frozenset([*CONVERSATIONS][::4])
QUICK = frozenset([*EACH_KIND, *ONE_EACH[::3], *(path for name in QUICK_CONVERSATIONS for path in CONVERSATIONS[name].values())])
"""The captures that a quick run compares with their labels: one for each kind of finding, one in which each rule must be silent,
every third of the others, and all points of every fourth conversation. A slow run compares the others, whatever the turn."""
EACH = pytest.mark.parametrize("path", sweep(PATHS, QUICK.__contains__), ids=lambda path: path.stem, scope="module")
"""All tests of a capture one after the other, so that one process analyzes it for all of them."""

TOGETHER, QUICK_TOGETHER = 40, 10
"""Captures in one report, where a report of each would take much longer."""
OF_RULES = -(-len(EACH_RULE) // QUICK_TOGETHER)
"""The number of batches of EACH_RULE, all about equally large: a page about one capture is another than one about several."""


def _batches() -> list[list[Path]]:
    apart: dict[str, list[Path]] = {}
    for path in PATHS:
        if path not in EACH_KIND:
            apart.setdefault(_conversation(path), []).append(path)
    batches = [EACH_RULE[first::OF_RULES] for first in range(OF_RULES)]
    kinds = [path for path in EACH_KIND if path not in EACH_RULE]
    batches += [kinds[first : first + TOGETHER] for first in range(0, len(kinds), TOGETHER)]
    batches.append([])
    for points in apart.values():
        if len(batches[-1]) + len(points) > TOGETHER:
            batches.append([])
        batches[-1] += points
    return batches


BATCHES = _batches()
"""All captures, in batches that are at most so large. The first are those of EACH_RULE, then the others of EACH_KIND; of the
remaining captures, all points of a conversation are in one."""
QUICK_BATCHES = range(0, OF_RULES, 2)
NIGHTLY_BATCHES = [number for number, batch in enumerate(BATCHES) if all(map(is_nightly, batch))]
