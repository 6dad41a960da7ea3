"""TAB proposes commands, options and their values, in the shells themselves, through the scripts of Typer."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.support.needs import needs
from wiredoctor.cli.app import COMMANDS, application

ROOT = Path(__file__).resolve().parents[2]


ASKED = {"_WIREDOCTOR_COMPLETE": "complete_fish", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
"""How fish asks."""


def proposed(line: str) -> list[str]:
    """What fish is told for a command line that ends at the cursor."""
    done = CliRunner().invoke(application(), [], env=ASKED | {"_TYPER_COMPLETE_ARGS": line}, prog_name="wiredoctor")
    return [word.partition("\t")[0] for word in done.stdout.splitlines() if word]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("wiredoctor ", list(COMMANDS)),
        ("wiredoctor expl", ["explain", "explain-log"]),
        ("wiredoctor show x.pcap --format ", ["text", "json"]),
        ("wiredoctor analyze --fail-on ", ["error", "warning", "note", "any"]),
        ("wiredoctor show --fo", ["--follow", "--format"]),
        ("wiredoctor analyze trace", []),
    ],
)
def test_what_fits_is_proposed(line: str, words: list[str]) -> None:
    assert proposed(line) == words


def test_a_process_proposes_a_line_each() -> None:
    """However long the meaning of a word is."""
    env = os.environ | ASKED | {"_TYPER_COMPLETE_ARGS": "wiredoctor analyze --", "COLUMNS": "40"}
    done = subprocess.run([sys.executable, "-m", "wiredoctor"], env=env, capture_output=True, text=True, check=True)
    lines = [line for line in done.stdout.splitlines() if line]
    assert len(lines) > 10
    assert all(line.startswith("--") for line in lines)


BASH = """
source "$HOME/.bashrc"
tab() { COMP_WORDS=(wiredoctor "$@"); COMP_CWORD=$#; COMPREPLY=(); _wiredoctor_completion wiredoctor; echo "${COMPREPLY[*]}"; }
tab conn
tab show '"a file.pcap"' --format j
complete -p wiredoctor
"""

PROGRAM = """#!/bin/sh
exec "{python}" -X importtime -m wiredoctor "$@" 2>>"{loaded}"
"""


@needs("bash")
def test_bash_completes_what_was_installed_and_loads_no_analysis(tmp_path: Path) -> None:
    program, loaded = tmp_path / "wiredoctor", tmp_path / "loaded"
    program.write_text(PROGRAM.format(python=sys.executable, loaded=loaded))
    program.chmod(0o755)
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "HOME": str(tmp_path)}
    subprocess.run([program, "--install-completion", "bash"], env=env, check=True, capture_output=True, timeout=60)
    done = subprocess.run(["bash", "--norc", "-c", BASH], capture_output=True, text=True, env=env, check=True, timeout=60)
    assert done.stdout.splitlines() == [
        "connections",
        "json",
        "complete -o default -F _wiredoctor_completion wiredoctor",
    ]
    modules = {line.rpartition("|")[2].strip() for line in loaded.read_text().splitlines()}
    assert "wiredoctor.cli.app" in modules
    assert not {"polars", "numpy", "wiredoctor.pipeline", "wiredoctor.rules", "pydantic"} & modules


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts_are_printed(shell: str) -> None:
    done = CliRunner().invoke(application(), [], env={"_WIREDOCTOR_COMPLETE": f"source_{shell}"}, prog_name="wiredoctor")
    assert done.exit_code == 0
    assert "_WIREDOCTOR_COMPLETE=complete_" + shell in done.stdout
