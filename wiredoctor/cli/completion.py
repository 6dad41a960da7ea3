"""What a shell proposes behind TAB. Somebody waits for it at the keyboard: no rule and no library of the analysis is loaded."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import wiredoctor

VARIABLE = "_WIREDOCTOR_COMPLETE"
"""Set by the shell's script: wiredoctor is to say what may stand at the cursor, or (source_bash) to print that script."""

_RULES = "wiredoctor.rules"
"""The package, and the group of entry points by which other packages add rules."""

_NETWORK = Path("/sys/class/net")

Proposal = tuple[str, str]
"""A word, and what it means."""


def words() -> list[str]:
    """The words of the command line that is being completed, as far as they are whole; without the program."""
    if "COMP_WORDS" in os.environ:
        given, cursor = os.environ["COMP_WORDS"].split("\n"), os.environ.get("COMP_CWORD", "")
        return given[1 : int(cursor) if cursor.isdecimal() else None]
    return os.environ.get("_TYPER_COMPLETE_ARGS", "").split(" ")[1:-1]


def rules(incomplete: str) -> list[Proposal]:
    """Rules and families, also as the last of a list with commas."""
    before, comma, last = incomplete.rpartition(",")
    known = {**dict(_own()), **dict(_added())}
    return [(f"{before}{comma}{name}", meaning) for name, meaning in known.items() if name.startswith(last)]


def rule_names(incomplete: str) -> list[Proposal]:
    """Rules alone."""
    families = {name for name, meaning in _own() if meaning == _FAMILY}
    return [one for one in rules(incomplete) if one[0] not in families]


_FAMILY = "all rules of the family"


def _own() -> Iterator[Proposal]:
    """The rules that come with wiredoctor: the path of a file is the name of its rule, its first line says what it finds."""
    package = Path(wiredoctor.__file__).parent / "rules"
    for family in sorted(path for path in package.iterdir() if (path / "__init__.py").exists() and path.name != "shared"):
        yield _named(family.name), _FAMILY
        for file in sorted(family.glob("[!_]*.py")):
            with file.open(encoding="utf-8") as text:
                yield _named(file.stem), text.readline().strip().strip('"')


def _added() -> Iterator[Proposal]:
    """Rules of other packages: their entry points name modules <...>.<family>.<name>."""
    from importlib.metadata import entry_points

    for entry in entry_points(group=_RULES):
        yield _named(entry.module.rpartition(".")[2]), f"rule of {entry.module.partition('.')[0]}"


def _named(stem: str) -> str:
    return stem.replace("_", "-")


def interfaces(incomplete: str) -> list[str]:
    """Where Linux can capture."""
    try:
        there = sorted(os.listdir(_NETWORK))
    except OSError:
        there = []
    return [name for name in [*there, "any"] if name.startswith(incomplete) and name.isprintable()]
