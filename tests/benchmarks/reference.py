"""Install the product of an earlier commit beside the checkout, to measure and compare against it.

    python tests/benchmarks/reference.py

prints the Python that runs it. It gets a virtual environment of its own, with the versions of NumPy, Polars and the other
dependencies that the running interpreter has, so that only wiredoctor differs.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import distributions
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
COMMIT = "7fe56ac"
"""The last commit whose analysis is known to be right on everything that it was tested with."""


def python(commit: str = COMMIT) -> Path:
    """Return the interpreter in which the product of `commit` is installed; installs it if it is not there.

    Raises subprocess.CalledProcessError if git does not know the commit or pip fails.
    """
    folder = HERE / "data" / f"reference-{commit}"
    interpreter = folder / "bin" / "python"
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        _install(commit, folder, interpreter)
        (folder / "complete").touch()
    return interpreter


def _install(commit: str, folder: Path, interpreter: Path) -> None:
    with tempfile.TemporaryDirectory() as name:
        source = Path(name) / "source"
        source.mkdir()
        archive = subprocess.run(["git", "-C", str(ROOT), "archive", commit], check=True, capture_output=True).stdout
        subprocess.run(["tar", "-x", "-C", str(source)], check=True, input=archive)
        constraints = Path(name) / "constraints.txt"
        versions = (f"{one.metadata['Name']}=={one.version}\n" for one in distributions() if one.metadata["Name"] != "wiredoctor")
        constraints.write_text("".join(versions))
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        pip = [str(interpreter), "-m", "pip", "install", "--quiet", "--constraint", str(constraints)]
        subprocess.run([*pip, str(source)], check=True)


if __name__ == "__main__":
    print(python())
