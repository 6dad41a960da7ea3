"""Network namespaces with interfaces of all kinds, and processes with fewer privileges."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.support.needs import skip_without

PRIVILEGED = sys.platform == "linux" and os.geteuid() == 0

NOBODY = 65534


def ip(*words: str) -> subprocess.CompletedProcess[str]:
    """A command of iproute2."""
    return subprocess.run(["ip", *words], capture_output=True, text=True, check=False)


@contextmanager
def namespace(name: str, *commands: str) -> Iterator[str]:
    """A network namespace in which these commands of ip were run; skips where that is refused, or one of the kinds is missing."""
    if not PRIVILEGED:
        pytest.skip("needs root")
    skip_without("ip")
    name = f"{name}-{os.getpid()}"  # tests run side by side
    made = ip("netns", "add", name)
    if made.returncode:
        pytest.skip(f"no network namespaces: {made.stderr.strip()}")
    try:
        for command in commands:
            done = ip("-n", name, *command.split())
            if done.returncode:
                pytest.skip(f"ip {command}: {done.stderr.strip()}")
        yield name
    finally:
        ip("netns", "del", name)


def call(*words: str, inside: str = "", columns: int = 80) -> str:
    """What the command prints as root, in a namespace."""
    before = ["ip", "netns", "exec", inside] if inside else []
    done = subprocess.run(
        [*before, sys.executable, "-m", "wiredoctor", "interfaces", *words],
        capture_output=True, text=True, check=True, env={**os.environ, "COLUMNS": str(columns), "PYTHONUTF8": "1"},
    )  # fmt: skip
    assert not done.stderr
    return done.stdout


_LESS = """
import contextlib, grp, os, sys
import wiredoctor.interfaces.backends
from wiredoctor.cli import main
if os.environ.get("ONLY_PATH"):
    wiredoctor.interfaces.backends.FOLDERS = os.environ["PATH"].split(os.pathsep)
sys.argv = ["wiredoctor", "interfaces", *sys.argv[1:]]
shown, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
os.dup2(nowhere, 1)
with contextlib.suppress(SystemExit):
    main()
os.dup2(shown, 1)
{drop}
main()
"""
"""The first call imports all that the second one needs, for the project may lie in a folder that only root may read."""

AS_NOBODY = f"os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})"


def call_with_less(drop: str, *words: str, path: str = "") -> dict[str, Any]:
    """What the command prints as JSON after the Python statements `drop`; `path`: where alone it may look for programs."""
    environment = {**os.environ, **({"PATH": path, "ONLY_PATH": "1"} if path else {})}
    code = _LESS.format(drop=drop)
    done = subprocess.run(
        [sys.executable, "-c", code, "--format", "json", *words], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
