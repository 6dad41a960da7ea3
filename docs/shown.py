"""The output that the documents show: what a command prints, and whether a page still shows that.

A console block is a command and what it prints; `[...]` in a paragraph of its own stands for paragraphs left out, in a line of
its own for lines of the paragraph. A command may end with `> /dev/null` and with `; echo $?`, in this order.
"""

from __future__ import annotations

import atexit
import contextlib
import doctest
import io
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from difflib import SequenceMatcher
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs" / "pages"
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *DOCS.rglob("*.md")])

LESSON = DOCS / "writing-a-rule.md"
"""Its commands run where the rule that it builds is installed."""

WIDTH = 80
"""Columns of the output that the documents show."""

ENVIRONMENT = {**os.environ, "COLUMNS": str(WIDTH), "PYTHONUTF8": "1", "NO_COLOR": "1", "TZ": "UTC"}

GAP = "[...]"
"""Stands for paragraphs that are left out, or for lines of one."""

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
STATUS, SILENT = "; echo $?", " > /dev/null"


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of that language."""
    return [text for lang, text in FENCE.findall(page.read_text("utf-8")) if lang == language]


def shown(page: Path) -> Iterator[tuple[str, str]]:
    """(command, output) of each console block."""
    yield from map(_parts, blocks(page, "console"))


def _parts(block: str) -> tuple[str, str]:
    first, _, output = block.partition("\n")
    assert first.startswith("$ "), first
    return first.removeprefix("$ "), output


def run(command: str, packages: Path | None = None) -> str:
    """What a command of wiredoctor prints, from the root of the project; `packages`: a folder of more to import."""
    before, asked, _ = command.partition(STATUS)
    before, silent, _ = before.partition(SILENT)
    program, *words = shlex.split(before)
    assert program == "wiredoctor", command
    if packages is None:
        code, out, errors = run_warm(words)
    else:
        path = os.pathsep.join(filter(None, (str(packages), os.environ.get("PYTHONPATH"))))
        command_line = [sys.executable, "-m", "wiredoctor", *words]
        environment = {**ENVIRONMENT, "PYTHONPATH": path}
        done = subprocess.run(command_line, cwd=ROOT, env=environment, capture_output=True, encoding="utf-8", check=False)
        code, out, errors = done.returncode, done.stdout, done.stderr
    assert not errors, errors
    assert asked or code == 0, f"{command}: exit code {code}"
    return ("" if silent else out) + (f"{code}\n" if asked else "")


def run_warm(words: list[str]) -> tuple[int, str, str]:
    """Return the exit code, the output and the errors of a command."""
    server = _server()
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdin.write(f"{json.dumps(words)}\n")
    server.stdin.flush()
    code, out, errors = json.loads(server.stdout.readline())
    return code, out, errors


@cache
def _server() -> subprocess.Popen[str]:
    """Start the process that runs commands; it ends with this one."""
    command = [sys.executable, str(ROOT / "docs" / "warm.py")]
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "encoding": "utf-8"}
    server = subprocess.Popen(command, cwd=ROOT, env={**ENVIRONMENT, "PYTHONPATH": path}, **pipes)
    atexit.register(server.communicate)
    return server


def paragraphs(text: str) -> list[str]:
    """What blank lines part."""
    return text.strip("\n").split("\n\n")


def differs(shown: str, real: str) -> str | None:
    """The first paragraph shown that the real output does not have in its place; None where all is real."""
    rest = paragraphs(real)
    gap = False
    for paragraph in paragraphs(shown):
        if paragraph == GAP:
            gap = True
            continue
        skip = next((i for i, one in enumerate(rest) if is_shown(paragraph, one)), 0) if gap else 0
        if not rest or not is_shown(paragraph, rest[skip]) or (gap and not skip):
            return paragraph
        rest, gap = rest[skip + 1 :], False
    return None if bool(rest) == gap else f"{GAP} at the end"


def is_shown(shown: str, real: str) -> bool:
    """Return whether a paragraph is the real one, but for lines that are left out."""
    lines = (".*(?:\n.*)*" if line.strip() == GAP else re.escape(line) for line in shown.split("\n"))
    return re.fullmatch("\n".join(lines), real) is not None


def refreshed(shown: str, real: str) -> str:
    """The real output, with gaps for the paragraphs that are not shown: of each that is, the one most like it stays."""
    old, new, made = paragraphs(shown), paragraphs(real), list[str]()
    at, gap = 0, False
    for paragraph in old:
        if paragraph == GAP:
            gap = True
            continue
        place = max(range(at, len(new)), key=lambda i: _likeness(paragraph, new[i]), default=at) if gap else at
        made += [GAP] if place > at else []
        made += [paragraph if is_shown(paragraph, one) else one for one in new[place : place + 1]]
        at, gap = place + 1, False
    rest = new[at:]
    made += ([GAP] if gap else rest) if rest else []
    return "\n\n".join(made) + "\n"


def _likeness(one: str, other: str) -> float:
    if is_shown(one, other):
        return 1
    return SequenceMatcher(None, one.split(), other.split(), autojunk=False).ratio()


def install_lesson(folder: Path) -> None:
    """The package that docs/pages/writing-a-rule.md builds, as if it were installed in a folder of its own."""
    about = write_lesson(folder)
    points = about["entry-points"]["wiredoctor.rules"]
    info = folder / f"{about['name'].replace('-', '_')}-{about['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {about['name']}\nVersion: {about['version']}\n")
    (info / "entry_points.txt").write_text("[wiredoctor.rules]\n" + "".join(f"{n} = {m}\n" for n, m in points.items()))


def write_lesson(folder: Path) -> dict[str, Any]:
    """The modules of that package, below a folder; returns [project] of its pyproject.toml."""
    (project,) = blocks(LESSON, "toml")
    about = tomllib.loads(project)["project"]
    (module,) = about["entry-points"]["wiredoctor.rules"].values()
    file = folder.joinpath(*module.split(".")).with_suffix(".py")
    file.parent.mkdir(parents=True)
    code = [("\n" if block.startswith("def ") else "") + block for block in blocks(LESSON, "python")]
    file.write_text("\n".join(code), "utf-8")
    return about


def refresh() -> None:
    """Writes what the commands print now into all pages, and says what has changed."""
    with TemporaryDirectory() as folder:
        if LESSON.exists():
            install_lesson(Path(folder))
        for page in PAGES:
            text = page.read_text("utf-8")
            made = renewed_examples(_renewed(text, Path(folder) if page == LESSON else None))
            if made != text:
                page.write_text(made, "utf-8")
                sys.stderr.write(f"{page.relative_to(ROOT)}: output has changed, read what is said about it\n")


def _renewed(text: str, packages: Path | None) -> str:
    def block(match: re.Match[str]) -> str:
        if match[1] != "console":
            return match[0]
        command, output = _parts(match[2])
        real = run(command, packages)
        return match[0] if differs(output, real) is None else f"```console\n$ {command}\n{refreshed(output, real)}```"

    return FENCE.sub(block, text)


def renewed_examples(text: str) -> str:
    """Return a page with what its Python examples print now. Raise what an example raises."""
    names: dict[str, object] = {}
    unexpected: list[tuple[doctest.Example, str]] = []
    with contextlib.chdir(ROOT):
        for example in doctest.DocTestParser().get_examples(text):
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                exec(compile(example.source, f"line {example.lineno + 1} of the page", "single"), names)
            if out.getvalue() != example.want:
                unexpected.append((example, out.getvalue()))
    lines = text.splitlines(keepends=True)
    for example, got in reversed(unexpected):
        first = example.lineno + example.source.count("\n")
        lines[first : first + example.want.count("\n")] = got.splitlines(keepends=True)
    return "".join(lines)
