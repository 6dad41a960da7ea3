"""Check the types of what reads captures as on Windows and macOS: `python -m tests.support.other_platforms`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.recordings import ROOT
from tests.test_imports import modules_for_captures

PLATFORMS = ("Windows", "Darwin")


def main() -> int:
    """Run pyright for each platform on all modules that these commands import; return 1 if it finds an error."""
    files = sorted(map(str, modules_for_captures().values()))
    pyright = [str(Path(sys.executable).with_name("pyright")), "--pythonpath", sys.executable]
    worst = 0
    for platform in PLATFORMS:
        print(f"{platform}, {len(files)} modules:", flush=True)  # noqa: T201
        worst |= subprocess.run([*pyright, "--pythonplatform", platform, *files], cwd=ROOT, check=False).returncode
    return worst


if __name__ == "__main__":
    sys.exit(main())
