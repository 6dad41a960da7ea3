"""Write the tables of recordings from their labels: one line per conversation in each folder, and in captures/README.md one line
per folder and one per program.
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from typing import TYPE_CHECKING, Any

from folders import FOLDERS, Folder, recordings

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

STACKS, OVERVIEW = "| software |", "| folder |"
"""The first cells of the heads of the tables."""

PAGE = """\
# {folder.title}

{folder.text} Open first: [`{folder.first}`]({folder.first}).

    wiredoctor analyze captures/{name}/{folder.first}

[captures/](../README.md#labels) explains the labels beside the recordings (`NAME.toml`), and how the recordings were made.

| capture | what it shows | recorded at | expected findings |
| --- | --- | --- | --- |
"""


def list_all(captures: Path) -> None:
    """Write the page of each folder, and the tables in the README.md of the parent folder."""
    papers = {path: tomllib.loads(path.with_suffix(".toml").read_text()) for path in recordings(captures)}
    readme = captures / "README.md"
    text = readme.read_text()
    for folder in sorted({path.parent for path in papers}):
        rows = _recordings({path: content for path, content in papers.items() if path.parent == folder})
        page = PAGE.format(folder=FOLDERS[folder.name], name=folder.name)
        (folder / "README.md").write_text("\n".join([page + "\n".join(rows), ""]))
    text = _replaced(text, OVERVIEW, [_overview(name, folder, captures) for name, folder in FOLDERS.items()])
    readme.write_text(_replaced(text, STACKS, stacks(papers.values())))


def _overview(name: str, folder: Folder, captures: Path) -> str:
    count = len(recordings(captures / name))
    return f"| [{name}/]({name}/README.md) | {count} | {folder.text} | [`{folder.first}`]({name}/{folder.first}) |"


def _replaced(text: str, head: str, rows: list[str]) -> str:
    """Return the text with other rows in the table whose head begins with `head`."""
    lines = text.splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith(head)) + 2
    below = next(i for i in range(first, len(lines) + 1) if i == len(lines) or not lines[i].startswith("|"))
    return "\n".join([*lines[:first], *rows, *lines[below:]]) + "\n"


def _recordings(papers: dict[Path, dict[str, Any]]) -> list[str]:
    """Return the rows of a folder. Captures of one conversation at several points share a row if their expected findings are
    equal.
    """
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
    """Return a row for each program, without its version: the number of its recordings, and how many of these are healthy."""
    recordings, healthy = Counter[str](), Counter[str]()
    for content in papers:
        names = {re.sub(r" \d+(\.\d+)+", "", name) for name in content["software"]}
        recordings.update(names)
        if all("severity" in find for find in content.get("find", [])):
            healthy.update(names)
    return [f"| {name} | {recordings[name]} | {healthy[name]} |" for name in sorted(recordings, key=str.lower)]
