"""Propose completions for a shell. Rules and analysis libraries are not loaded, because the user is waiting."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import wiredoctor

VARIABLE = "_WIREDOCTOR_COMPLETE"
"""The environment variable through which the shell's completion script requests completions.

The value source_bash (source_zsh, source_fish) requests the script itself.
"""

_RULES = "wiredoctor.rules"
"""The name of the rules package. The entry point group for rules of other packages has the same name."""

_NETWORK = Path("/sys/class/net")

Proposal = tuple[str, str]
"""A word to propose, and its description."""


def complete_words() -> list[str]:
    """Return the words of the command line before the word to complete, without the name of the program."""
    if "COMP_WORDS" in os.environ:
        given, cursor = os.environ["COMP_WORDS"].split("\n"), os.environ.get("COMP_CWORD", "")
        return given[1 : int(cursor) if cursor.isdecimal() else None]
    return os.environ.get("_TYPER_COMPLETE_ARGS", "").split(" ")[1:-1]


def rules(incomplete: str) -> list[Proposal]:
    """Return completions for the last item of a comma-separated list: rules and families, each preceded by the earlier items."""
    before, comma, last = incomplete.rpartition(",")
    known = {**dict(_own_rules()), **dict(_plugin_rules())}
    return [(f"{before}{comma}{name}", meaning) for name, meaning in known.items() if name.startswith(last)]


def rule_names(incomplete: str) -> list[Proposal]:
    """Return the rules whose names begin with this text, without families."""
    families = {name for name, meaning in _own_rules() if meaning == _FAMILY}
    return [one for one in rules(incomplete) if one[0] not in families]


_FAMILY = "all rules of the family"


def _own_rules() -> Iterator[Proposal]:
    """Yield the families and rules of wiredoctor, each with a description.

    A rule is named after its file, and its description is the first line of that file.
    """
    package = Path(wiredoctor.__file__).parent / "rules"
    for family in sorted(path for path in package.iterdir() if (path / "__init__.py").exists() and path.name != "shared"):
        yield _rule_name(family.name), _FAMILY
        for file in sorted(family.glob("[!_]*.py")):
            with file.open(encoding="utf-8") as text:
                yield _rule_name(file.stem), text.readline().strip().strip('"')


def _plugin_rules() -> Iterator[Proposal]:
    """Yield the rules of other packages. Their entry points name modules of the form <...>.<family>.<name>."""
    from importlib.metadata import entry_points

    for entry in entry_points(group=_RULES):
        yield _rule_name(entry.module.rpartition(".")[2]), f"rule of {entry.module.partition('.')[0]}"


def _rule_name(stem: str) -> str:
    return stem.replace("_", "-")


def interfaces(incomplete: str) -> list[str]:
    """Return the capture interfaces whose names begin with this text; on systems other than Linux, only `any` is known."""
    try:
        there = sorted(os.listdir(_NETWORK))
    except OSError:
        there = []
    return [name for name in [*there, "any"] if name.startswith(incomplete) and name.isprintable()]
