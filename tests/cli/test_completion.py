"""TAB proposes commands, options, rules, formats and interfaces; soon, and in the shells themselves."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.support.needs import needs
from tests.support.sweeps import SLOW
from wiredoctor.cli import completion
from wiredoctor.cli.app import COMMANDS, application
from wiredoctor.rule_engine import catalogue

ROOT = Path(__file__).resolve().parents[2]


ASKED = {"_WIREDOCTOR_COMPLETE": "complete_fish", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
"""How fish asks."""


def proposed(line: str) -> list[str]:
    """What fish is told for a command line that ends at the cursor."""
    done = CliRunner().invoke(application(), [], env=ASKED | {"_TYPER_COMPLETE_ARGS": line}, prog_name="wiredoctor")
    return [word.partition("\t")[0] for word in done.stdout.splitlines() if word]


def test_rules_are_known_without_being_loaded() -> None:
    own = {name: module.doc.partition("\n")[0] for name, module in catalogue().items() if module.plugin is None}
    assert dict(completion.rule_names("")) == own
    families = {module.family for module in catalogue().values()}
    assert {name for name, _ in completion.rules("")} == {*own, *families}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("wiredoctor ", list(COMMANDS)),
        ("wiredoctor expl", ["explain", "explain-log"]),
        ("wiredoctor analyze x.pcap --select nag", ["nagle-delayed-ack"]),
        ("wiredoctor analyze --ignore stalls,idle-c", ["stalls,idle-close", "stalls,idle-cut"]),
        ("wiredoctor live --ignore lifet", ["lifetime"]),
        ("wiredoctor show x.pcap --format ", ["text", "json"]),
        ("wiredoctor analyze --fail-on ", ["error", "warning", "note", "any"]),
        ("wiredoctor explain keep-alive-r", ["keep-alive-race"]),
        ("wiredoctor show --fo", ["--follow", "--format"]),
        ("wiredoctor analyze trace", []),
    ],
)
def test_what_fits_is_proposed(line: str, words: list[str]) -> None:
    assert proposed(line) == words


@pytest.mark.parametrize(
    ("line", "words"),
    [
        pytest.param("wiredoctor show x.pcap --format ", ["text", "json"], marks=SLOW),
        ("wiredoctor analyze --ignore stalls,idle-c", ["stalls,idle-close", "stalls,idle-cut"]),
    ],
)
def test_a_process_proposes_a_line_each(line: str, words: list[str]) -> None:
    """However long the meaning of a word is."""
    env = os.environ | ASKED | {"_TYPER_COMPLETE_ARGS": line}
    done = subprocess.run([sys.executable, "-m", "wiredoctor"], env=env, capture_output=True, text=True, check=True)
    assert [each.partition("\t")[0] for each in done.stdout.splitlines() if each] == words


def test_interfaces_are_proposed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("eth0", "lo"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(completion, "_NETWORK", tmp_path)
    assert completion.interfaces("") == ["eth0", "lo", "any"]
    assert proposed("wiredoctor live -i e") == ["eth0"]
    monkeypatch.setattr(completion, "_NETWORK", tmp_path / "nosuch")
    assert completion.interfaces("") == ["any"]


BASH = """
source <(_WIREDOCTOR_COMPLETE=source_bash wiredoctor)
tab() { COMP_WORDS=(wiredoctor "$@"); COMP_CWORD=$#; COMPREPLY=(); _wiredoctor_completion wiredoctor; echo "${COMPREPLY[*]}"; }
tab conn
tab analyze '"a file.pcap"' --select stalls,zero
complete -p wiredoctor
"""

PROGRAM = """#!/bin/sh
exec "{python}" -X importtime -m wiredoctor "$@" 2>>"{loaded}"
"""


@needs("bash")
def test_bash_completes_and_loads_no_analysis(tmp_path: Path) -> None:
    program, loaded = tmp_path / "wiredoctor", tmp_path / "loaded"
    program.write_text(PROGRAM.format(python=sys.executable, loaded=loaded))
    program.chmod(0o755)
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["bash", "--norc", "-c", BASH], capture_output=True, text=True, env=env, check=True, timeout=60)
    assert done.stdout.splitlines() == [
        "connections",
        "stalls,zero-window-stall",
        "complete -o default -F _wiredoctor_completion wiredoctor",
    ]
    modules = {line.rpartition("|")[2].strip() for line in loaded.read_text().splitlines()}
    assert "wiredoctor.cli.completion" in modules
    assert not {"polars", "numpy", "wiredoctor.pipeline", "wiredoctor.rules", "pydantic"} & modules


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts_are_printed(shell: str) -> None:
    done = CliRunner().invoke(application(), [], env={"_WIREDOCTOR_COMPLETE": f"source_{shell}"}, prog_name="wiredoctor")
    assert done.exit_code == 0
    assert "_WIREDOCTOR_COMPLETE=complete_" + shell in done.stdout
