"""The tables of captures/README.md, from the papers: a line for each conversation, and one for each software."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

RECORDINGS, STACKS = "| capture |", "| software |"
"""How the heads of the two tables begin."""


def list_all(captures: Path) -> None:
    """Writes both tables of README.md in the folder of the captures."""
    files = sorted(path for path in captures.iterdir() if path.suffix in (".pcap", ".pcapng"))
    papers = {path: tomllib.loads(path.with_suffix(".toml").read_text()) for path in files}
    readme = captures / "README.md"
    text = _replaced(readme.read_text(), RECORDINGS, _recordings(papers))
    readme.write_text(_replaced(text, STACKS, stacks(papers.values())))


def _replaced(text: str, head: str, rows: list[str]) -> str:
    """The text with other rows in the table whose head begins like this."""
    lines = text.splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith(head)) + 2
    below = next(i for i in range(first, len(lines) + 1) if i == len(lines) or not lines[i].startswith("|"))
    return "\n".join([*lines[:first], *rows, *lines[below:]]) + "\n"


def _recordings(papers: dict[Path, dict[str, Any]]) -> list[str]:
    """Captures of one conversation at several points share a line, where the same is to be found."""
    alike: dict[tuple[str, str, str], list[tuple[str, str]]] = {}
    for path, content in papers.items():
        point = content["at"]
        name = path.name.replace(f"-{point}.", "-*.") if path.stem.endswith(f"-{point}") else path.name
        alike.setdefault((name, content["title"], _found(content)), []).append((path.name, point))
    return [
        f"| `{names[0] if len(names) == 1 else name}` | {title} | {', '.join(points)} | {found} |"
        for (name, title, found), captured in alike.items()
        for names, points in [zip(*captured, strict=True)]
    ]


def _found(content: dict[str, Any]) -> str:
    finds = Counter[str]()
    for find in content.get("find", []):
        kind = f" *{find['kind']}*" if "kind" in find else ""
        note = " (note)" if "severity" in find else ""
        finds[f"`{find['rule']}`{kind}{note}"] += find["count"]
    found = ", ".join(f"{name} x {count}" if count > 1 else name for name, count in finds.items())
    return found or "nothing"


def stacks(papers: Iterable[dict[str, Any]]) -> list[str]:
    """A row for each software, without its version: how many recordings it took part in, and how many are healthy."""
    recordings, healthy = Counter[str](), Counter[str]()
    for content in papers:
        names = {re.sub(r" \d+(\.\d+)+", "", name) for name in content["software"]}
        recordings.update(names)
        if all("severity" in find for find in content.get("find", [])):
            healthy.update(names)
    return [f"| {name} | {recordings[name]} | {healthy[name]} |" for name in sorted(recordings, key=str.lower)]
