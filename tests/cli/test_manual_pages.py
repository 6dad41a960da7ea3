"""Man pages and completion for shells, which a wheel installs below share/."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.support.needs import needs, skip_without
from wiredoctor.cli.app import COMMANDS, application
from wiredoctor.cli.help_texts import EXAMPLES
from wiredoctor.cli.manual_pages import SHELLS, shared_files, write

FILES = dict(shared_files())


@pytest.fixture(scope="module")
def share(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("share")
    write(folder)
    return folder


def shown(share: Path, name: str, width: int = 80) -> str:
    """Return a page as man shows it, without underlining by backspaces; fail on warnings of groff."""
    words = ["man", "-l", "--warnings=w", "-Eascii", str(share / "man" / "man1" / f"{name}.1")]
    env = {**os.environ, "MANWIDTH": str(width), "MANROFFOPT": "-c", "LC_ALL": "C"}
    done = subprocess.run(words, capture_output=True, text=True, check=True, env=env)
    assert done.stderr == ""
    return re.sub(".\b", "", done.stdout)


def test_each_command_has_a_page() -> None:
    pages = {name for name in FILES if name.startswith("man/")}
    assert pages == {"man/man1/wiredoctor.1", *(f"man/man1/wiredoctor-{name}.1" for name in COMMANDS)}


@needs("man")
@pytest.mark.parametrize("name", COMMANDS)
def test_a_page_has_what_help_has(share: Path, name: str) -> None:
    page = " ".join(shown(share, f"wiredoctor-{name}").split())
    words = CliRunner().invoke(application([name]), [name, "--help"], env={"COLUMNS": "200"}).stdout
    options = re.findall(r"^  ((?:-\w, )?--[\w-]+(?: \S+)*?)(?:  |$)", words, re.MULTILINE)
    assert "--help" in words
    assert len(options) >= (1 if name == "schema" else 2), words
    for option in options:
        assert option in page
    for line, meaning in EXAMPLES[name]:
        assert " ".join(line.split()) in page
        assert meaning in page


@needs("man")
def test_the_first_page_names_all_commands(share: Path) -> None:
    page = " ".join(shown(share, "wiredoctor").split())
    for name, meaning in COMMANDS.items():
        assert f"wiredoctor-{name}(1) {meaning}" in page


@needs("man")
def test_no_line_is_too_long_but_those_to_copy(share: Path) -> None:
    for name in COMMANDS:
        for line in shown(share, f"wiredoctor-{name}").splitlines():
            assert len(line) <= 80 or line.strip() in dict(EXAMPLES[name]), line


@needs("man")
def test_quotes_stay_what_they_are(share: Path) -> None:
    assert "wiredoctor schema | jq '.properties | keys'" in shown(share, "wiredoctor-schema", 200)


def test_no_command_loads_it() -> None:
    code = "import sys, wiredoctor.cli.app as a; a.application(); sys.exit('wiredoctor.cli.manual_pages' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


TRIES = {
    "bash": "source {file}; complete -p wiredoctor",
    "zsh": "fpath=({folder} $fpath); autoload -U compinit; compinit -u -D; echo $_comps[wiredoctor]",
    "fish": "source {file}; complete -C 'wiredoctor expl'",
}
LOADED = {"bash": "-F _wiredoctor_completion wiredoctor", "zsh": "_wiredoctor", "fish": "explain-log"}


@pytest.mark.parametrize("shell", SHELLS)
def test_shells_take_completion_from_its_place(share: Path, tmp_path: Path, shell: str) -> None:
    skip_without(shell)
    program = tmp_path / "wiredoctor"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m wiredoctor "$@"\n')
    program.chmod(0o755)
    file = share / SHELLS[shell]
    words = [shell, {"bash": "--norc", "zsh": "-f", "fish": "--no-config"}[shell], "-c"]
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    done = subprocess.run([*words, TRIES[shell].format(file=file, folder=file.parent)], capture_output=True, text=True, env=env,
                          check=True, timeout=60)  # fmt: skip
    assert LOADED[shell] in done.stdout
