"""On systems without the modules of Unix, everything but `live` starts."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.recordings import find_recording
from tests.support.sweeps import sweep

CAPTURE = str(find_recording("server-head-body-split.pcap"))

WITHOUT = """
import sys
for name in ("fcntl", "resource", "pwd", "grp", "termios", "pty"):
    sys.modules[name] = None
sys.argv = ["wiredoctor", *sys.argv[1:]]
from wiredoctor.cli import main
main()
"""


@pytest.mark.parametrize(
    "words",
    sweep(
        [
            ["--help"],
            ["--version"],
            ["live", "--help"],
            ["rules"],
            ["analyze", CAPTURE, "--jobs", "1"],
        ],
        lambda words: words[0] in ("live", "analyze"),
    ),
)
def test_it_starts_without_the_modules_of_unix(words: list[str]) -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout
