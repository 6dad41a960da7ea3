"""Test that the documents are true: their commands, options, links and output agree with the program."""

from __future__ import annotations

import contextlib
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

from tests.ladders import check, ladders_in
from tests.rules import test_every_rule as every_rule
from tests.support.needs import needs
from tests.support.sweeps import SLOW
from wiredoctor.cli.app import application, with_command
from wiredoctor.cli.exit_codes import Exit
from wiredoctor.core.capture.records import BLOCK
from wiredoctor.rule_engine import RuleModule, catalogue
from wiredoctor.settings import BATCH_PACKETS
from wiredoctor.tables import RULE_TABLES

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs" / "pages"
COMMANDS = (
    "analyze", "live", "run", "show", "exchanges", "connections", "servers", "extract",
    "compare", "interfaces", "rules", "explain", "explain-log", "mcp", "schema",
)  # fmt: skip


def script(stem: str) -> ModuleType:
    """A Python file of docs/, which is no package: its files find each other as if one of them had been started."""
    if str(ROOT / "docs") not in sys.path:
        sys.path.append(str(ROOT / "docs"))
    spec = importlib.util.spec_from_file_location(stem, ROOT / "docs" / f"{stem}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


output = script("shown")
blocks, FENCE, GAP, PAGES, LESSON = output.blocks, output.FENCE, output.GAP, output.PAGES, output.LESSON
STORIES = [page for page in PAGES if page.parent == DOCS / "stories" and page.name != "README.md"]


def name(path: Path) -> str:
    """A page's path in the project."""
    return path.relative_to(ROOT).as_posix()


each_page = pytest.mark.parametrize("page", PAGES, ids=name)


# pages that are made from the source


def test_made_pages_are_current() -> None:
    made = script("generate").pages()
    stale = [str(path) for path, text in made.items() if not (DOCS / path).exists() or (DOCS / path).read_text("utf-8") != text]
    assert not stale, f"run python docs/generate.py: {', '.join(stale)}"
    gone = {p.relative_to(DOCS) for p in (DOCS / "rules").glob("*.md")} - made.keys()
    assert not gone, f"run python docs/generate.py: {', '.join(map(str, gone))}"


def test_each_table_that_a_rule_can_read_has_a_section() -> None:
    page = (DOCS / "tables.md").read_text("utf-8")
    assert [name for name in RULE_TABLES if f"\n## `{name}`\n" not in page] == []


def test_the_list_of_rules_has_the_symptom_of_each() -> None:
    page = (DOCS / "rules" / "README.md").read_text("utf-8")
    listed = dict(re.findall(r"^\|[^|]*\| \[`([a-z0-9-]+)`\].*\| (.*) \|$", page, re.MULTILINE))
    assert sorted(listed) == sorted(catalogue())
    assert [rule for rule, symptom in listed.items() if not symptom] == [], "add symptom= to RULE: what a user sees of it"


def test_the_changelog_names_every_rule() -> None:
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert [rule for rule in catalogue() if f"`{rule}`" not in text] == []


def test_every_rule_has_a_page_with_its_whole_manual() -> None:
    for rule in catalogue().values():
        page = " ".join((DOCS / "rules" / f"{rule.name}.md").read_text("utf-8").split())
        for line in filter(None, map(str.strip, rule.doc.splitlines())):
            assert line in page, f"{rule.name}: {line}"


# output


SHOWN = [(page, command, text) for page in PAGES for command, text in output.shown(page)]


@pytest.fixture(scope="module")
def lesson(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the rule of docs/pages/writing-a-rule.md is installed."""
    folder = tmp_path_factory.mktemp("lesson")
    output.install_lesson(folder)
    return folder


def in_this_process(words: list[str]) -> tuple[int, str, str]:
    """Run a command without a process: exit code, output and errors. As processes all commands are run in tests/cli."""
    with contextlib.chdir(ROOT):
        done = CliRunner().invoke(application(words), words, env=output.ENVIRONMENT)
    return done.exit_code, done.stdout, done.stderr


@pytest.mark.parametrize(("page", "command", "text"), SHOWN, ids=lambda x: name(x) if isinstance(x, Path) else x[:60])
def test_output_is_real(page: Path, command: str, text: str, lesson: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if page != LESSON:
        monkeypatch.setattr(output, "run_warm", in_this_process)
    real = output.run(command, lesson if page == LESSON else None)
    wrong = output.differs(text, real)
    assert wrong is None, f"run python docs/generate.py --output; {name(page)} shows\n{wrong}\nbut `{command}` prints\n\n{real}"


def test_the_readme_shows_a_diagnosis() -> None:
    assert any(page.name == "README.md" and command.startswith("wiredoctor analyze captures/") for page, command, _ in SHOWN)


@pytest.mark.parametrize(
    ("text", "right"),
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
def test_a_made_up_output_is_seen(text: str, right: bool) -> None:
    assert (output.differs(text, "a\n\nb\n\nc\n") is None) == right


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("one a\n\ntwo b\n", "one A\n\ntwo B\n\nthree c\n"),
        ("one a\n\n[...]\n", "one A\n\n[...]\n"),
        ("one a\n\n[...]\n\nthree x y\n", "one A\n\n[...]\n\nthree c\n"),
        ("[...]\n\ntwo b\n\n[...]\n", "[...]\n\ntwo B\n\n[...]\n"),
        ("[...]\n\none a\n\n[...]\n", "one A\n\n[...]\n"),
        ("gone\n\n[...]\n\nthree c\n\nfour\n\nfive\n", "one A\n\n[...]\n\nthree c\n"),
    ],
)
def test_output_is_refreshed_with_its_gaps(old: str, new: str) -> None:
    real = "one A\n\ntwo B\n\nthree c\n"
    assert output.refreshed(old, real) == new
    assert output.differs(new, real) is None


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("a\n[...]\nd\n\ne\n", True),
        ("a\n  [...]\n\ne\n", True),
        ("[...]\n\na\nb\n[...]\n\n[...]\n", False),
        ("[...]\nd\n\ne\n", True),
        ("a\n[...]\nc\n\ne\n", False),
        ("b\n[...]\n\ne\n", False),
    ],
)
def test_lines_may_be_left_out(text: str, right: bool) -> None:
    real = "a\nb\nc\nd\n\ne\n"
    assert (output.differs(text, real) is None) == right
    assert (output.refreshed(text, real) == text) == right


def test_an_exit_code_is_output() -> None:
    failing = "wiredoctor analyze captures/lifetime/unauthorized-closes.pcap --select premature-close --quiet --fail-on warning"
    assert output.run(f"{failing} > /dev/null; echo $?") == "1\n"
    assert output.run(f"{failing}; echo $?").endswith("\n1\n")
    assert output.run("wiredoctor rules > /dev/null") == ""
    with pytest.raises(AssertionError, match="exit code 1"):
        output.run(failing)


def test_python_examples_are_renewed() -> None:
    page = "Text.\n\n>>> x = 2\n>>> x + 1\n5\n>>> for i in range(x):\n...     print(i)\n0\n\nMore.\n"
    now = page.replace("5\n", "3\n").replace("0\n", "0\n1\n")
    assert output.renewed_examples(page) == now
    assert output.renewed_examples(now) == now
    with pytest.raises(ZeroDivisionError):
        output.renewed_examples(">>> 1 / 0\n1\n")


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "pycon")], ids=name)
def test_python_examples(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    result = doctest.testfile(str(page), module_relative=False, encoding="utf-8")
    assert result.attempted
    assert not result.failed


@needs("tshark")
def test_wireshark_shows_the_proof_of_the_tutorial() -> None:
    text = (DOCS / "getting-started.md").read_text("utf-8")
    (command,) = [
        line for block in output.blocks(DOCS / "getting-started.md", "sh") for line in block.splitlines() if "tshark " in line
    ]
    done = subprocess.run(shlex.split(command), cwd=ROOT, capture_output=True, encoding="utf-8", check=True)
    # the widths of columns follow what else is in the capture
    shown = [" ".join(line.split()) for line in text.splitlines()]
    assert len(done.stdout.splitlines()) == 3
    assert [line for line in done.stdout.splitlines() if " ".join(line.split()) not in shown] == []


# command lines


@cache
def options(command: str) -> set[str]:
    """The options of a command (or of the program: ""), as its help has them."""
    done = CliRunner().invoke(application(command.split()), [*command.split(), "--help"], env={"COLUMNS": "200"})
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
        for part in re.split(r" && | \| |; | > ", line.partition(" #")[0]):
            before, program, after = part.partition("wiredoctor ")
            if program and before.strip() in ("", "$", ".venv/bin/"):
                yield after.split()


def wrong_words(words: list[str]) -> list[str]:
    """What of a call does not exist: the command, an option, or a capture of the project."""
    words = with_command(words)
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
        ("trace.pcap -o x.html", []),
        ("trace.pcap --sort time", ["--sort"]),
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
        set(re.findall(r"^    wiredoctor ([a-z][a-z-]*)", text, re.MULTILINE))
        == set(COMMANDS)
        == {c.name or c.callback.__name__ for c in application().registered_commands if c.callback}
    )
    for command in COMMANDS:
        missing = {o for o in options(command) if f"`{o}`" not in text} - {"--help", "-h"}
        assert not missing, f"{command}: {missing}"


def test_the_reference_has_every_exit_code() -> None:
    text = (DOCS / "commands.md").read_text("utf-8")
    assert re.findall(r"^\| (\d+) \|", text, re.MULTILINE) == [str(int(code)) for code in Exit]


# stories


def test_there_are_six_stories_and_an_index() -> None:
    index = (DOCS / "stories" / "README.md").read_text("utf-8")
    assert len(STORIES) == 6
    assert [s.name for s in STORIES if f"]({s.name})" not in index] == []


@pytest.mark.parametrize("page", STORIES, ids=name)
def test_a_story_goes_from_symptom_to_fix(page: Path) -> None:
    headings = ["## The symptom", "## The command", "## How to read the proof", "## What to change", "## Is it gone?"]
    assert [line for line in page.read_text("utf-8").splitlines() if line in headings] == headings
    commands = [command for command, _ in output.shown(page)]
    assert re.fullmatch(r"wiredoctor analyze captures/\S+", commands[0])
    codes = [text.strip().splitlines()[-1] for command, text in output.shown(page) if " --fail-on " in command]
    assert codes[-1] == "0"
    assert codes[:-1] == ["1"] * (len(codes) - 1)


@pytest.mark.parametrize("page", STORIES, ids=name)
def test_frames_that_a_story_speaks_of_are_in_its_output(page: Path) -> None:
    said = set(re.findall(r"\b[Ff]rame (\d+)", FENCE.sub("", page.read_text("utf-8"))))
    shown = {frame for _, text in output.shown(page) for frame in re.findall(r"^  frame +(\d+) ", text, re.MULTILINE)}
    assert said <= shown


# the rule of docs/pages/writing-a-rule.md


@pytest.fixture
def taught(lesson: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RuleModule]:
    """The rule, found among all others."""
    before = set(catalogue())
    monkeypatch.syspath_prepend(str(lesson))
    catalogue.cache_clear()
    (new,) = set(catalogue()) - before
    yield catalogue()[new]
    catalogue.cache_clear()
    for module in [m for m in sys.modules if m.split(".")[0] == "house_rules"]:
        del sys.modules[module]


def test_the_rule_of_the_lesson_keeps_to_what_all_rules_keep_to(taught: RuleModule) -> None:
    assert (taught.name, taught.family) == ("short-keep-alive", "lifetime")
    every_rule.test_candidates_have_all_names_of_the_texts(taught)
    every_rule.test_texts_are_ascii_and_speak_of_the_same_kinds(taught)
    every_rule.test_the_manual_page_is_whole(taught)
    every_rule.test_what_explains_is_scoped(taught)


@pytest.mark.parametrize("at", ["client", "middle", "server"])
@pytest.mark.parametrize("epoch_packets", [1, 1000])
def test_the_ladders_of_the_lesson(taught: RuleModule, tmp_path: Path, at: str, epoch_packets: int) -> None:
    file = tmp_path / "ladders.txt"
    file.write_text("\n".join(blocks(LESSON, "ladder")), "utf-8")
    ladders = list(ladders_in(file))
    assert [title.partition(":")[0] for title, _ in ladders] == ["speaks", "silent", "silent", "silent"]
    for _, text in ladders:
        check(text, at, epoch_packets=epoch_packets)


# the rest

LINKED = [*PAGES, *sorted((ROOT / "captures").rglob("README.md")), *sorted((ROOT / "tests").rglob("*.md"))]


@pytest.mark.parametrize("page", LINKED, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", page.read_text("utf-8"))):
        if re.match(r"https?:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, waiting = set[Path](), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        targets = re.findall(r"\]\(([^)\s#]+)[^)]*\)", page.read_text("utf-8"))
        waiting += [(page.parent / target).resolve() for target in targets if not re.match(r"https?:", target)]
    assert set(PAGES) <= reached


def anchors(page: Path) -> set[str]:
    """Of the headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


def test_how_it_works_has_the_numbers_of_the_source() -> None:
    text = " ".join((DOCS / "how-it-works.md").read_text("utf-8").split())
    assert f"After each {BATCH_PACKETS:,} packets" in text
    assert f"in blocks of {BLOCK >> 10} kB" in text


def test_the_readme_begins_with_two_commands_for_a_fresh_clone() -> None:
    first_screen = (ROOT / "README.md").read_text("utf-8").partition("\n## ")[0]
    commands = [text.strip() for language, text in FENCE.findall(first_screen) if language == "sh"]
    problem = first_screen.split("\n\n")[1]
    assert len(problem.splitlines()) == 2
    assert len(commands) == 2
    assert all(c.startswith("python3 -m venv .venv && .venv/bin/pip install ") for c in commands)
    assert " && .venv/bin/wiredoctor analyze captures/" in commands[0]
    assert commands[1].endswith("&& .venv/bin/python -m pytest -n auto")


# pictures


@pytest.fixture(scope="module")
def pictures() -> ModuleType:
    """docs/pictures.py."""
    return script("pictures")


def test_every_rule_has_a_picture(pictures: ModuleType) -> None:
    assert sorted(pictures.SOURCES) == sorted(catalogue())
    assert {p.stem for p in pictures.RULES.glob("*")} == set(catalogue())
    captures = {rule: source["capture"] for rule, source in pictures.SOURCES.items() if "capture" in source}
    recorded = script("generate").recordings()
    labeled = {rule: {*map(os.path.basename, recorded[rule])} for rule in captures}
    assert {rule: file for rule, file in captures.items() if file not in labeled[rule]} == {}, "its papers do not say so"


@SLOW
def test_pictures_are_current(pictures: ModuleType) -> None:
    """Their words: what draws them may change, and an older rich places the letters of a terminal in another way."""
    for path, text in pictures.every().items():
        assert pictures.words(path.read_text("utf-8")) == pictures.words(text), (
            f"run python docs/generate.py --output: {name(path)}"
        )


def test_pictures_are_small_and_fetch_nothing() -> None:
    files = [path for path in DOCS.rglob("*") if path.suffix in (".svg", ".png")]
    assert sum(path.stat().st_size for path in files if path.parent.parent == DOCS) < 600_000
    for path in files:
        assert path.stat().st_size > 1000
        if path.suffix == ".svg":
            text = path.read_text("utf-8")
            assert "<title" in text
            assert not re.findall(r"(?:href|src|url)\W{1,3}(?:https?:)?//|@import|<script|<image", text), name(path)


def test_the_readme_has_a_picture() -> None:
    assert re.findall(r"!\[[^\]]+\]\((docs/pages/pictures/[^)]+)\)", (ROOT / "README.md").read_text("utf-8"))


def test_each_promise_about_security_names_a_test_that_exists() -> None:
    text = (DOCS / "security.md").read_text("utf-8")
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", text)
    assert len(named) > 15
    for file, function in named:
        assert f"\ndef {function}(" in (ROOT / file).read_text("utf-8") or not function, (file, function)
    promises = [line for line in text.splitlines() if line.startswith("| ") and "---" not in line and "| test |" not in line]
    assert [line for line in promises if "`tests/" not in line] == []
