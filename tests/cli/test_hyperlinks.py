"""Hyperlinks (OSC 8) to the pages of rules, on terminals that have them."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time
from io import StringIO
from pathlib import Path

import pytest

from tests.report.examples import finding
from tests.report.test_text import busy
from tests.support.command_line import run_command
from tests.support.recordings import find_recording
from tests.support.sweeps import SLOW
from wiredoctor.cli.hyperlinks import has_hyperlinks
from wiredoctor.report.groups import group_findings
from wiredoctor.report.terminal.terminal import Terminal, TerminalWriter
from wiredoctor.report.terminal.text import write_group

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"\x1b]8;[^;\x1b]*;([^\x1b]*)\x1b\\")
CODES = re.compile(r"\x1b\[[0-9;]*m")
PAGE = "https://github.com/wiredoctor/wiredoctor/tree/main/docs/pages/rules/nagle-delayed-ack.md"


def written(width: int = 80, rule: str = "nagle-delayed-ack", **paper: bool) -> str:
    one = busy([finding(rule=rule)])
    out = StringIO()
    write_group(TerminalWriter(out, Terminal(width, **paper)), group_findings(one.findings)[0], several=False, everything=False)
    return out.getvalue()


@pytest.mark.parametrize("width", [40, 80, 200])
def test_a_rule_is_linked_and_nothing_is_longer(width: int) -> None:
    linked, plain = written(width, color=True, links=True), written(width, color=True)
    assert LINK.findall(linked) == [PAGE, ""]
    assert CODES.sub("", LINK.sub("", linked)) == CODES.sub("", plain)
    assert (ROOT / "docs" / "pages" / "rules" / "nagle-delayed-ack.md").exists()


def test_rules_of_others_have_no_page() -> None:
    assert not LINK.search(written(rule="a-rule-of-others", color=True, links=True))


@pytest.mark.parametrize(
    ("environment", "known"),
    [
        ({"TERM": "xterm-256color"}, False),
        ({"TERM": "xterm-256color", "VTE_VERSION": "7200"}, True),
        ({"TERM": "xterm-256color", "VTE_VERSION": "4999"}, False),
        ({"TERM": "xterm-256color", "VTE_VERSION": "new"}, False),
        ({"TERM": "xterm-256color", "KONSOLE_VERSION": "230804"}, True),
        ({"TERM": "xterm-kitty"}, True),
        ({"TERM": "tmux-256color", "TMUX": "/tmp/x", "VTE_VERSION": "7200"}, False),
        ({"TERM_PROGRAM": "vscode"}, True),
        ({"WT_SESSION": "1"}, True),
        ({}, False),
    ],
)
def test_terminals_that_have_them(environment: dict[str, str], known: bool) -> None:
    assert has_hyperlinks(environment) is known


def on_a_terminal(*words: str, **environment: str) -> str:
    """Return what is printed on a terminal of 100 columns."""
    main, end = pty.openpty()
    env = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "TMUX", "PAGER", "LESS")}
    process = subprocess.Popen([sys.executable, "-m", "wiredoctor", *words], cwd=ROOT, stdin=end, stdout=end,
                               stderr=subprocess.DEVNULL, env={**env, "COLUMNS": "100", **environment})  # fmt: skip
    os.close(end)
    out, until = b"", time.monotonic() + 60
    while time.monotonic() < until and select.select([main], [], [], 60)[0]:
        try:
            piece = os.read(main, 65536)
        except OSError:  # Linux reports the end so
            break
        if not piece:
            break
        out += piece
    os.close(main)
    assert process.wait(10) == 0
    return out.decode().replace("\r\n", "\n")


WORDS = ["--no-pager", "analyze", str(find_recording("server-head-body-split.pcap"))]
KNOWN = {"TERM": "xterm-256color", "VTE_VERSION": "7200"}
ON_A_TERMINAL = pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")


@SLOW
@ON_A_TERMINAL
def test_on_a_terminal_in_color() -> None:
    assert PAGE in LINK.findall(on_a_terminal(*WORDS, **KNOWN))


@SLOW
@ON_A_TERMINAL
@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb"), ("VTE_VERSION", "")])
def test_only_on_a_terminal_in_color(name: str, value: str) -> None:
    assert not LINK.search(on_a_terminal(*WORDS, **{**KNOWN, name: value}))


def test_not_in_a_pipe() -> None:
    assert not LINK.search(run_command(*WORDS, "--color", "always", **KNOWN).stdout)
