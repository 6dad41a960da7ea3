"""A package of somebody else with the rule of docs/pages/writing-a-rule.md: built, installed by pip into an environment of
its own, tested there, and used.

Nothing is fetched: the package brings a build backend of its own, and the environment sees what these tests run with.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from tests.support.sweeps import SLOW
from tests.test_docs import LESSON, ROOT, blocks, script

BACKEND = '''
"""A build backend as small as it can be (PEP 517): all Python files of the package, and what pyproject.toml says."""
import os, tomllib, zipfile


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    with open("pyproject.toml", "rb") as file:
        about = tomllib.load(file)["project"]
    name = about["name"].replace("-", "_")
    info, wheel = f"{name}-{about['version']}.dist-info", f"{name}-{about['version']}-py3-none-any.whl"
    needs = "".join(f"Requires-Dist: {one}\\n" for one in about["dependencies"])
    points = "".join(
        f"[{group}]\\n" + "".join(f"{name} = {module}\\n" for name, module in its.items())
        for group, its in about["entry-points"].items()
    )
    with zipfile.ZipFile(os.path.join(wheel_directory, wheel), "w") as out:
        for folder, _, files in os.walk(name):
            for file in files:
                if file.endswith(".py"):
                    out.write(os.path.join(folder, file))
        out.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\\nName: {about['name']}\\nVersion: {about['version']}\\n{needs}")
        out.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\\nGenerator: house\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        out.writestr(f"{info}/entry_points.txt", points)
        out.writestr(f"{info}/RECORD", "")
    return wheel
'''

HAS_PIP = importlib.util.find_spec("pip") is not None


def run(*words: str | Path, cwd: Path = ROOT) -> str:
    """What a command prints; fails with what it says when it fails."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"COLUMNS": "80"}
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, check=False, cwd=cwd, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source of the package, as the page tells to write it."""
    folder = tmp_path_factory.mktemp("house-rules")
    script("shown").write_lesson(folder)
    (toml,) = blocks(LESSON, "toml")
    _, _, rest = toml.partition("[project]")
    system = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n\n[project]'
    (folder / "pyproject.toml").write_text(system + rest, "utf-8")
    (folder / "backend.py").write_text(BACKEND, "utf-8")
    tests = folder / "tests"
    tests.mkdir()
    (test,) = blocks(LESSON, "py")
    (tests / "test_short_keep_alive.py").write_text(test, "utf-8")
    (ladders,) = blocks(LESSON, "ladder")
    (tests / "short_keep_alive.txt").write_text(ladders, "utf-8")
    return folder


@pytest.fixture(scope="module")
def python(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a fresh environment in which the package is installed."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    interpreter = folder / "bin" / "python"
    site = Path(run(interpreter, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    shared = {str(ROOT), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (site / "shared.pth").write_text("".join(f"{path}\n" for path in sorted(shared, key=lambda path: path != str(ROOT))))
    quietly = ("--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check")
    run(sys.executable, "-m", "pip", "--python", interpreter, "install", *quietly, project)
    return interpreter


pytestmark = pytest.mark.skipif(not HAS_PIP or sys.platform == "win32", reason="pip is not here")


@pytest.mark.slow
def test_it_is_installed_and_listed(python: Path) -> None:
    files = run(python, "-c", "import house_rules.lifetime.short_keep_alive as rule; print(rule.__file__)")
    assert Path(files.strip()).is_relative_to(python.parent.parent)
    assert "short-keep-alive" in run(python, "-m", "wiredoctor", "rules")
    assert "Keep-Alive: timeout=5" in run(python, "-m", "wiredoctor", "explain", "short-keep-alive")


@pytest.mark.slow
def test_it_finds_what_the_page_shows(python: Path) -> None:
    (shown,) = [text for command, text in script("shown").shown(LESSON) if "--select short-keep-alive" in command]
    told = run(python, "-m", "wiredoctor", "analyze", "captures/healthy/node-requests.pcap", "--select", "short-keep-alive")
    assert told == shown


@SLOW
def test_its_own_tests_pass(python: Path, project: Path) -> None:
    told = run(python, "-P", "-m", "pytest", "-p", "no:cacheprovider", "-v", "tests", cwd=project)
    assert "5 passed" in told


@SLOW
def test_its_tests_fail_when_the_rule_is_wrong(python: Path, project: Path) -> None:
    site = Path(run(python, "-c", "import house_rules; print(list(house_rules.__path__)[0])").strip())
    rule = site / "lifetime" / "short_keep_alive.py"
    right = rule.read_text("utf-8")
    try:
        rule.write_text(right.replace('c("persistent")', "True"), "utf-8")
        with pytest.raises(AssertionError, match="also found: short-keep-alive"):
            run(python, "-P", "-m", "pytest", "-p", "no:cacheprovider", "tests", cwd=project)
    finally:
        rule.write_text(right, "utf-8")


@pytest.mark.slow
def test_without_it_all_is_as_before(python: Path) -> None:
    """What is broken in it is one line, and the rest of the report stays."""
    site = Path(run(python, "-c", "import house_rules; print(list(house_rules.__path__)[0])").strip())
    rule = site / "lifetime" / "short_keep_alive.py"
    right = rule.read_text("utf-8")
    command = [python, "-m", "wiredoctor", "analyze", "captures/lifetime/unauthorized-closes.pcap", "--quiet"]
    before = run(*command)
    try:
        rule.write_text("import not_installed_anywhere\n", "utf-8")
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, env={"COLUMNS": "80"})
        assert done.stdout == before
        assert done.stderr.count("\n") == 1
        assert done.stderr.startswith(
            "wiredoctor: rule short-keep-alive (house_rules.lifetime.short_keep_alive) of house-rules 1.0"
        )
    finally:
        rule.write_text(right, "utf-8")
