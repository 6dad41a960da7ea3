"""Read wiredoctor.toml, or [tool.wiredoctor] in pyproject.toml: a project's settings."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from datetime import date, datetime
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from wiredoctor.cli.exit_codes import UsageError, print_message
from wiredoctor.cli.options import suggestion
from wiredoctor.report.exclude import Ignore
from wiredoctor.report.words import join_words
from wiredoctor.text.regex import Regex

if TYPE_CHECKING:
    from wiredoctor.pipeline import ThresholdKey

OWN, SHARED = "wiredoctor.toml", "pyproject.toml"

KEYS = ("select", "ignore", "min-confidence", "fail-on", "baseline", "thresholds")
_OURS = Regex(r"\btool[\"']?\s*\.\s*[\"']?wiredoctor\b|^\s*(\[\s*tool\s*\]|tool\s*=)", re.MULTILINE)
"""A pattern that matches every pyproject.toml with keys for wiredoctor. Without a match, the file is not parsed."""

ENTRY = ("rule", "kind", "client", "server", "target", "fingerprint", "reason", "until")

_FINGERPRINT = Regex("[0-9a-fA-F]{8,16}")

Catalogue = Mapping[str, Any]


class Configuration(NamedTuple):
    """The content of a configuration file, after checks. All fields are empty if there is no file.

    `select`, `ignore`: names of rules and families. `entries`: the [[ignore]] tables that have not expired. `expired`: one
    message for each [[ignore]] table that has expired. `baseline`: the path of the baseline. `thresholds`: for each rule, its
    thresholds by name, as written in the file.
    """

    file: str = ""
    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    entries: tuple[Ignore, ...] = ()
    expired: tuple[str, ...] = ()
    min_confidence: str = ""
    fail_on: str = ""
    baseline: str = ""
    thresholds: Mapping[str, Mapping[str, str | int]] = MappingProxyType({})


class Source(NamedTuple):
    """A configuration before it is checked: the name of its file, and its keys. Both are empty if there is no file."""

    file: str = ""
    table: Mapping[str, Any] = MappingProxyType({})

    @property
    def baseline(self) -> str:
        """The path of the baseline, or ""."""
        return _resolve_path(self.file, _text(self.table.get("baseline", ""), f"{self.file}: baseline"))


def read_file(path: str | None) -> Source:
    """Read the configuration at `path` or, without a path, the nearest configuration in the current folder and its parents.

    Raise UsageError if the file cannot be read.
    """
    file = _given_file(path) if path is not None else nearest(_current_folder())
    return Source() if file is None else Source(str(path or _short(file)), _table(file) or {})


def configuration(path: str | None, catalogue: Catalogue) -> Configuration:
    """Return the configuration that `read_file` finds, checked against the rules of `catalogue`."""
    return check_configuration(read_file(path), catalogue)


def check_configuration(source: Source, catalogue: Catalogue) -> Configuration:
    """Check a configuration against the rules of `catalogue`, and return its content.

    Print a line for each expired [[ignore]] table. Raise UsageError, with a one-line text, at the first error.
    """
    if not source.file:
        return Configuration()
    read = read_table(source.table, source.file, catalogue, datetime.now().astimezone().date())
    for line in read.expired:
        print_message(line)
    return read


def _current_folder() -> Path:
    """Return the current folder or, if that folder no longer exists, the root folder."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        return Path("/")


def _given_file(path: str) -> Path:
    if not os.path.exists(path):
        raise UsageError(f"--config {path}: no such file")
    return Path(path)


def _short(file: Path) -> str:
    try:
        return os.path.relpath(file)
    except ValueError:
        return str(file)


def nearest(folder: Path) -> Path | None:
    """Return the nearest configuration file, searching the folder and then its parents; None if there is none.

    A configuration file is a wiredoctor.toml, or a pyproject.toml with [tool.wiredoctor].
    """
    for place in (folder, *folder.parents):
        if (place / OWN).is_file():
            return place / OWN
        if (place / SHARED).is_file() and _table(place / SHARED) is not None:
            return place / SHARED
    return None


def _table(file: Path) -> dict[str, Any] | None:
    """Return the keys of a configuration file; None for a pyproject.toml without a table for wiredoctor.

    Raise UsageError if the file is not TOML.
    """
    try:
        text = file.read_text("utf-8-sig")  # editors of Windows may write a byte order mark
        if file.name == SHARED and not _OURS.search(text):
            return None
        import tomllib

        content = tomllib.loads(text)
    except RecursionError:
        raise UsageError(f"{file}: not TOML: nested too deeply") from None
    except ValueError as error:  # UnicodeDecodeError is also a ValueError
        raise UsageError(f"{file}: not TOML: {' '.join(str(error).split())}") from None
    if file.name != SHARED:
        return content
    tool: Any = content.get("tool", {})
    table = cast("dict[str, Any]", tool).get("wiredoctor") if isinstance(tool, dict) else None
    return None if table is None else _dict(table, f"{file}: tool.wiredoctor: must be a table")


def read_table(table: Mapping[str, Any], file: str, catalogue: Catalogue, today: date) -> Configuration:
    """Return the configuration that these keys describe.

    `file`: the name of the file in messages. `today`: the day that decides which [[ignore]] tables have expired. Raise
    UsageError, which names the file and the key, for an invalid value.
    """
    _check_keys(table, KEYS, file)
    given = _list(table.get("ignore", []), f"{file}: ignore: must be a list of names, or [[ignore]] tables")
    tables = [cast("dict[str, Any]", one) for one in given if isinstance(one, dict)]
    entries = [_entry(one, f"{file}: ignore entry {number}", catalogue) for number, one in enumerate(tables, 1)]
    return Configuration(
        file=file,
        select=_rules(table.get("select", []), f"{file}: select", catalogue),
        ignore=_rules([one for one in given if not isinstance(one, dict)], f"{file}: ignore", catalogue),
        entries=tuple(entry for entry, until in entries if until is None or today <= until),
        expired=tuple(_expiry_notice(file, entry, until) for entry, until in entries if until is not None and until < today),
        min_confidence=_choice(table.get("min-confidence", ""), ("high", "medium", "low"), f"{file}: min-confidence"),
        fail_on=_choice(table.get("fail-on", ""), ("error", "warning", "note", "any"), f"{file}: fail-on"),
        baseline=_resolve_path(file, _text(table.get("baseline", ""), f"{file}: baseline")),
        thresholds=_thresholds(table.get("thresholds", {}), file),
    )


def _entry(table: dict[str, Any], place: str, catalogue: Catalogue) -> tuple[Ignore, date | None]:
    """Parse an [[ignore]] table; return it with the last day on which it is valid, or None if it never expires.

    `place`: the name of the table in messages.
    """
    _check_keys(table, ENTRY, place)
    values = {key: _text(table[key], f"{place}: {key}") for key in ENTRY if key in table and key != "until"}
    _must(bool(values.get("reason", "").strip()), f"{place}: needs a reason")
    _must(len(values) > 1, f"{place}: must name what to ignore: {', '.join(ENTRY[:6])}")
    _rules([values["rule"]] if "rule" in values else [], f"{place}: rule", catalogue)
    if "fingerprint" in values:
        _must(
            bool(_FINGERPRINT.fullmatch(values["fingerprint"])),
            f"{place}: fingerprint: {values['fingerprint']!r} is invalid: use the 8 to 16 hexadecimal digits that reports show",
        )
        values["fingerprint"] = values["fingerprint"].lower()
    values["reason"] = " ".join(values["reason"].split())
    return Ignore(**values), _until(table.get("until"), f"{place}: until")


def _until(value: Any, place: str) -> date | None:
    if isinstance(value, datetime):
        return value.date()
    if value is None or isinstance(value, date):
        return value
    try:
        return date.fromisoformat(value)
    except (TypeError, ValueError):
        raise UsageError(f"{place}: {value!r} is not a date such as 2026-12-31") from None


def _expiry_notice(file: str, entry: Ignore, until: date) -> str:
    what = ", ".join(part for part in entry[1:] if part)
    return f"{file}: the entry that ignores {what} ({entry.reason}) expired on {until.isoformat()}"


def _thresholds(value: Any, file: str) -> dict[str, Mapping[str, str | int]]:
    place = f"{file}: thresholds"
    rules = _dict(value, f"{place}: must be a table")
    tables = {rule: _dict(limits, f"{place}.{rule}: must be a table") for rule, limits in rules.items()}
    for rule, limits in tables.items():
        for name, limit in limits.items():
            right = isinstance(limit, str | int) and not isinstance(limit, bool)
            _must(right, f'{place}.{rule}.{name}: must be text such as "40 ms", or a whole number')
    return {**tables}


def check_thresholds(read: Configuration, catalogue: Catalogue) -> dict[ThresholdKey, str]:
    """Check the thresholds in a configuration, and return them in the form that `pipeline.configured` takes.

    Print a line for each threshold that also applies to rules which the file does not name. Raise UsageError, which names the
    file, if a threshold is invalid.
    """
    from wiredoctor.pipeline import set_thresholds

    try:
        texts = set_thresholds(catalogue, read.thresholds)
    except ValueError as error:
        raise UsageError(f"{read.file}: {error}") from None
    named = set(read.thresholds)
    for threshold in {t.key: t for module in catalogue.values() for t in module.thresholds.values() if t.key in texts}.values():
        _, name = threshold.key or ("", "")
        places = [f"thresholds.{rule}.{name}" for rule in threshold.rules if rule in named]
        if unnamed := [rule for rule in threshold.rules if rule not in named]:
            apply = "applies" if len(places) == 1 else "apply"
            print_message(f"{read.file}: {' and '.join(places)} also {apply} to {join_words(unnamed)}")
    return texts


def _rules(value: Any, place: str, catalogue: Catalogue) -> tuple[str, ...]:
    given = _list(value, f"{place}: must be a list of names")
    known = {*catalogue, *(module.family for module in catalogue.values())}
    for name in given:
        _must(
            isinstance(name, str) and name in known,
            f"{place}: no rule or family is called {name!r}{suggestion(str(name), known)}",
        )
    return tuple(given)


def _list(value: Any, wrong: str) -> list[Any]:
    _must(isinstance(value, list), wrong)
    return value


def _dict(value: Any, wrong: str) -> dict[str, Any]:
    _must(isinstance(value, dict), wrong)
    return value


def _choice(value: Any, choices: tuple[str, ...], place: str) -> str:
    _must(value == "" or value in choices, f"{place}: {value!r} is not one of {', '.join(choices)}")
    return value


def _text(value: Any, place: str) -> str:
    _must(isinstance(value, str), f"{place}: must be text")
    return value


def _resolve_path(file: str, name: str) -> str:
    """Return the path of a file named in a configuration, relative to the folder of the configuration; "" for an empty name."""
    return os.path.join(os.path.dirname(file), name) if name else ""


def _check_keys(table: Mapping[str, Any], keys: Collection[str], place: str) -> None:
    for key in table:
        _must(key in keys, f"{place}: there is no key {key!r}; keys are {', '.join(keys)}")


def _must(right: bool, wrong: str) -> None:
    if not right:
        raise UsageError(wrong)
