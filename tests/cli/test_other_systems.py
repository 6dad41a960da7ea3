"""On systems without the modules of Unix, everything but `live` starts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CAPTURES = Path(__file__).resolve().parents[2] / "captures"

WITHOUT = """
import sys
for name in ("fcntl", "resource", "pwd", "grp", "termios", "pty"):
    sys.modules[name] = None
sys.argv = ["wiredoctor", *sys.argv[1:]]
from wiredoctor.cli import main
main()
"""


@pytest.mark.parametrize(
    "words", [["--help"], ["--version"], ["live", "--help"], ["rules"], ["analyze", "server-head-body-split.pcap", "--jobs", "1"]]
)
def test_it_starts_without_the_modules_of_unix(words: list[str]) -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT, *words], cwd=CAPTURES, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout
