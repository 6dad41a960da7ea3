"""The documents say what is true: commands, options, links and output in them are held against the program."""

from __future__ import annotations

import doctest
import importlib.util
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest
from typer.testing import CliRunner

from wiredoctor.cli.app import application
from wiredoctor.cli.exits import Exit
from wiredoctor.rules import catalogue

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *DOCS.rglob("*.md")])

WIDTH = 80
"""Columns of the output that the documents show."""

GAP = "[...]"
"""Stands for one or more paragraphs that are left out."""

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMANDS = ("analyze", "exchanges", "connections", "rules", "explain", "schema")


def name(path: Path) -> str:
    """A page's path in the project."""
    return path.relative_to(ROOT).as_posix()


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of that language."""
    return [text for lang, text in FENCE.findall(page.read_text("utf-8")) if lang == language]


each_page = pytest.mark.parametrize("page", PAGES, ids=name)


# pages that are made from the source


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_made_pages_are_current() -> None:
    made = generator().pages()
    stale = [str(path) for path, text in made.items() if not (DOCS / path).exists() or (DOCS / path).read_text("utf-8") != text]
    assert not stale, f"run python docs/generate.py: {', '.join(stale)}"
    gone = {p.relative_to(DOCS) for p in (DOCS / "rules").glob("*.md")} - made.keys()
    assert not gone, f"run python docs/generate.py: {', '.join(map(str, gone))}"


def test_every_rule_has_a_page_with_its_whole_manual() -> None:
    for rule in catalogue().values():
        page = " ".join((DOCS / "rules" / f"{rule.name}.md").read_text("utf-8").split())
        for line in filter(None, map(str.strip, rule.doc.splitlines())):
            assert line in page, f"{rule.name}: {line}"


# output


def shown(page: Path) -> Iterator[tuple[str, str]]:
    """(command, output) of each console block."""
    for block in blocks(page, "console"):
        first, _, output = block.partition("\n")
        assert first.startswith("$ "), first
        yield first.removeprefix("$ "), output


def paragraphs(text: str) -> list[str]:
    return text.strip("\n").split("\n\n")


def differs(shown: str, real: str) -> str | None:
    """The first paragraph shown that the real output does not have in its place; None where all is real."""
    rest = paragraphs(real)
    gap = False
    for paragraph in paragraphs(shown):
        if paragraph == GAP:
            gap = True
            continue
        skip = rest.index(paragraph) if gap and paragraph in rest else 0
        if rest[skip : skip + 1] != [paragraph] or (gap and not skip):
            return paragraph
        rest, gap = rest[skip + 1 :], False
    return None if bool(rest) == gap else f"{GAP} at the end"


def run(command: str) -> str:
    """What a command of wiredoctor prints, from the root of the project."""
    program, *words = shlex.split(command)
    assert program == "wiredoctor"
    environment = {**os.environ, "COLUMNS": str(WIDTH), "PYTHONUTF8": "1", "NO_COLOR": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "wiredoctor", *words],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == Exit.DONE, done.stderr
    return done.stdout


SHOWN = [(page, command, output) for page in PAGES for command, output in shown(page)]


@pytest.mark.parametrize(("page", "command", "output"), SHOWN, ids=lambda x: name(x) if isinstance(x, Path) else x[:60])
def test_output_is_real(page: Path, command: str, output: str) -> None:
    real = run(command)
    wrong = differs(output, real)
    assert wrong is None, f"{name(page)} shows\n{wrong}\nbut `{command}` prints\n\n{real}"


def test_the_readme_shows_a_diagnosis() -> None:
    assert any(page.name == "README.md" and command.startswith("wiredoctor analyze captures/") for page, command, _ in SHOWN)


@pytest.mark.parametrize(
    ("output", "right"),
    [
        ("a\n\nb\n\nc\n", True),
        ("a\n\n[...]\n\nc\n", True),
        ("a\n\n[...]\n", True),
        ("[...]\n\nc\n", True),
        ("a\n\nc\n", False),
        ("a\n\nb\n", False),
        ("a\n\n[...]\n\nb\n\nc\n", False),
        ("a\n\nb\n\nc\n\n[...]\n", False),
        ("a\n\n[...]\n\nx\n", False),
        ("c\n\n[...]\n", False),
    ],
)
def test_a_made_up_output_is_seen(output: str, right: bool) -> None:
    assert (differs(output, "a\n\nb\n\nc\n") is None) == right


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "pycon")], ids=name)
def test_python_examples(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    result = doctest.testfile(str(page), module_relative=False, encoding="utf-8")
    assert result.attempted
    assert not result.failed


# command lines


@cache
def options(command: str) -> set[str]:
    """The options of a command (or of the program: ""), as its help has them."""
    done = CliRunner().invoke(application(), [*command.split(), "--help"], env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    return set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*\b", done.output))


def command_lines(page: Path) -> Iterator[list[str]]:
    """Words of every call of wiredoctor in a code block, console block or code span."""
    text = page.read_text("utf-8")
    code = [b for language in ("sh", "console", "") for b in blocks(page, language)]
    code += re.findall(r"^    .+$", text, re.MULTILINE)
    lines = [line for block in code for line in block.splitlines() if "wiredoctor " in line]
    lines += re.findall(r"`([^`\n]*wiredoctor [^`\n]*)`", FENCE.sub("", text))
    for line in lines:
        for part in re.split(r" && | \| ", line.partition(" #")[0]):
            before, program, after = part.partition("wiredoctor ")
            if program and before.strip() in ("", "$", ".venv/bin/"):
                yield after.split()


def wrong_words(words: list[str]) -> list[str]:
    """What of a call does not exist: the command, an option, or a capture of the project."""
    command = words[0] if words[0] in COMMANDS else ""
    known = options(command)
    wrong = [] if command or words[0] in ("COMMAND", *known) else [words[0]]
    wrong += [w for w in words[1:] if re.match(r"--?[a-z]", w) and w.partition("=")[0] not in known]
    return wrong + [w for w in words if w.startswith("captures/") and not (ROOT / w).exists()]


@each_page
def test_commands_and_options_exist(page: Path) -> None:
    wrong = {" ".join(words): bad for words in command_lines(page) if (bad := wrong_words(words))}
    assert not wrong


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("analyze trace.pcap --format json -o x.json", []),
        ("analyse trace.pcap", ["analyse"]),
        ("exchanges trace.pcap --fail-on error", ["--fail-on"]),
        ("analyze captures/nosuch.pcap", ["captures/nosuch.pcap"]),
        ("--versions", ["--versions"]),
    ],
)
def test_a_wrong_command_line_is_seen(line: str, wrong: list[str]) -> None:
    assert wrong_words(line.split()) == wrong


def test_command_lines_are_found() -> None:
    found = [words for page in PAGES for words in command_lines(page)]
    assert {words[0] for words in found} >= set(COMMANDS)


@each_page
def test_options_in_the_text_exist(page: Path) -> None:
    known = set[str]().union(*map(options, ("", *COMMANDS)))
    spans = re.findall(r"`(--[^`\s]+)[^`\n]*`", FENCE.sub("", page.read_text("utf-8")))
    assert set(spans) <= known


def test_the_reference_has_every_command_and_option() -> None:
    text = (DOCS / "commands.md").read_text("utf-8")
    assert (
        set(re.findall(r"^    wiredoctor ([a-z]+)", text, re.MULTILINE))
        == set(COMMANDS)
        == {c.name or c.callback.__name__ for c in application().registered_commands if c.callback}
    )
    for command in COMMANDS:
        missing = {o for o in options(command) if f"`{o}`" not in text} - {"--help", "-h"}
        assert not missing, f"{command}: {missing}"


def test_the_reference_has_every_exit_code() -> None:
    text = (DOCS / "commands.md").read_text("utf-8")
    assert re.findall(r"^\| (\d+) \|", text, re.MULTILINE) == [str(int(code)) for code in Exit]


# the rest


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        if re.match(r"https?:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


def anchors(page: Path) -> set[str]:
    """Of the headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


def test_the_readme_lists_the_rules_that_exist() -> None:
    table = re.findall(r"^\| \[`([a-z-]+)`\]\(docs/rules/\1\.md\)", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE)
    assert sorted(table) == sorted(catalogue())


def test_the_readme_begins_with_two_commands_for_a_fresh_clone() -> None:
    first_screen = (ROOT / "README.md").read_text("utf-8").partition("\n## ")[0]
    commands = [text.strip() for language, text in FENCE.findall(first_screen) if language == "sh"]
    assert len(commands) == 2
    assert all(c.startswith("python3 -m venv .venv && .venv/bin/pip install ") for c in commands)
    assert " && .venv/bin/wiredoctor analyze captures/" in commands[0]
    assert commands[1].endswith("&& .venv/bin/python -m pytest")
