"""Keep the findings that a live capture has reported, so that its report does not make them again."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from io import SEEK_END
from operator import attrgetter
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import polars as pl

from wiredoctor import limits
from wiredoctor.findings import Evidence, Finding
from wiredoctor.rule_engine.rule_module import RuleModule
from wiredoctor.storage.replacement import room_needed
from wiredoctor.storage.spill import Folder
from wiredoctor.tables import UNACKNOWLEDGED

_KEY = ("connection", "frame", "client", "server")
"""The columns that distinguish the candidates of a rule."""

_GIVEN = ("family", "references", "capture", "evidence", "caused_by")
_STORED = tuple(one.name for one in fields(Finding) if one.name not in _GIVEN)
_values = attrgetter(*_STORED)

_LENGTH = 32
"""The number of bits for the length of a finding in a file."""


class ToldFinding(NamedTuple):
    """A finding, and the delay (ns) of its candidate, or None if the candidate has no delay."""

    finding: Finding
    delay: int | None


class _FindingsFile(NamedTuple):
    """Findings in a file in `folder`, which disappears with this process, however that ends.

    `places`: by the hash of its rule and its values of _KEY, where a finding begins, and its length.
    """

    folder: Path
    file: BinaryIO
    places: dict[int, int]


class ToldFindings:
    """The findings that were reported, at least the newest limits.FINDINGS of them, in two temporary files."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._files: list[_FindingsFile] = []

    def with_others(
        self, module: RuleModule, settled: pl.DataFrame, capture: str, make: Callable[[pl.DataFrame], Iterator[ToldFinding]]
    ) -> Iterator[ToldFinding]:
        """Yield the findings of a rule's resolved candidates: those that were reported, and those that `make` returns.

        `capture`: the name of the capture.
        """
        if module.tables[0] == UNACKNOWLEDGED.name:  # later copies change what was reported
            yield from make(settled)
            return
        keys = [hash((module.name, *row)) for row in settled.select(_KEY).iter_rows()]
        known = self._read(keys)
        others = make(settled.filter(pl.Series([key not in known for key in keys], dtype=pl.Boolean)))
        for key in keys:
            if key in known:
                values, evidence, delay = known[key]
                finding = Finding(
                    **dict(zip(_STORED, values, strict=True)),
                    family=module.family,
                    references=module.rule.references,
                    capture=capture,
                    evidence=tuple(Evidence(*one) for one in evidence),
                )
                yield ToldFinding(finding, delay)
            else:
                yield (made := next(others))
                self._add(key, made)

    def _add(self, key: int, told: ToldFinding) -> None:
        if not self._files or len(self._files[-1].places) >= limits.FINDINGS.value:
            self._files.append(_FindingsFile(*self._folder.new_unnamed_file(), {}))
            for old in self._files[:-2]:
                old.file.close()
            del self._files[:-2]
        newest = self._files[-1]
        data = zlib.compress(json.dumps((_values(told.finding), told.finding.evidence, told.delay)).encode(), 1)
        with room_needed(newest.folder.parent):
            newest.places[key] = newest.file.seek(0, SEEK_END) << _LENGTH | len(data)
            newest.file.write(data)
            newest.file.flush()

    def _read(self, keys: Sequence[int]) -> dict[int, Any]:
        """Return the values of _STORED, the evidence, and the delay of each finding with one of these keys."""
        found: dict[int, Any] = {}
        for one in self._files:
            if places := sorted((one.places[key], key) for key in keys if key in one.places):
                for place, key in places:
                    one.file.seek(place >> _LENGTH)
                    found[key] = json.loads(zlib.decompress(one.file.read(place & (1 << _LENGTH) - 1)))
        return found
