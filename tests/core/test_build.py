"""The core is compiled where it can be, and wiredoctor works where it cannot; nothing that is compiled is in the repository."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.support.needs import needs
from tests.support.sweeps import SLOW
from wiredoctor.core import build

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


SMALL = ("packet", "segment", "unsigned")
SOURCES = {f"{name}.py" for name in (*SMALL, *build.NOT_COMPILED)}

WHICH = """
import json
from wiredoctor import core
import wiredoctor.core.capture.packet as packet
print(json.dumps([core.reason, packet.__file__]))
"""

CHECKS = '''
"""Compiled with the same flags as all modules: what they must not skip."""
from mypy_extensions import i64

from wiredoctor.core.octets import read_i32_be
from wiredoctor.core.capture.packet import Packet


def byte(content: bytes, index: i64) -> i64:
    return i64(content[index])


def word(content: bytes, index: i64) -> i64:
    return i64(read_i32_be(content, index))


def item(numbers: list[i64], index: i64) -> i64:
    return numbers[index]


def field(packet: Packet) -> i64:
    return packet.frame


def divided(number: i64, divisor: i64) -> i64:
    return number // divisor
'''

TRIED = """
from wiredoctor.core import checks
def error(function, *arguments):
    try:
        return str(function(*arguments))
    except Exception as error:
        return type(error).__name__
for far in (4, 1 << 40, -5, -(1 << 62)):
    print(error(checks.byte, b"abcd", far), error(checks.word, b"abcd", far), error(checks.item, [1, 2, 3, 4], far))
print(error(checks.byte, b"abcd", 3), error(checks.byte, None, 0), error(checks.item, None, 0), error(checks.field, None))
print(error(checks.divided, 1, 0), error(checks.divided, -7, 2))
"""


def can_compile() -> bool:
    """Return whether a compiler, headers and mypy are there."""
    try:
        build.check_platform()
        return bool(build.find_compiler()) and None not in map(find_spec, ("mypyc", "setuptools", "hatchling", "librt"))
    except build.BuildError:
        return False


compiling = pytest.mark.skipif(not can_compile(), reason="no C compiler, no headers of Python, or no mypy")


def environment(**changed: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in ("WIREDOCTOR_CORE", build.CACHE, "CC", "PYTHONPATH")}
    return kept | changed


def run(folder: Path, *words: str, **changed: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words], cwd=folder, env=environment(**changed), capture_output=True, text=True, check=False
    )


def which(folder: Path, **changed: str) -> tuple[str, str]:
    """Return why the core runs interpreted, and from which file a module comes."""
    done = run(folder, "-c", WHICH, **changed)
    assert done.returncode == 0, done.stderr
    reason, file = json.loads(done.stdout)
    assert Path(file).is_relative_to(folder)
    return reason, Path(file).suffix


def copy(folder: Path) -> Path:
    """Copy what a wheel is built of, without anything compiled, and with a small core: to compile all of it takes its time."""
    shutil.copytree(ROOT / "wiredoctor", folder / "wiredoctor", ignore=shutil.ignore_patterns("*.so", build.NOTE, "__pycache__"))
    for path in build.sources(folder / "wiredoctor" / "core"):
        if path.stem not in SMALL:
            path.unlink()
    for name in ("pyproject.toml", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(ROOT / name, folder)
    return folder


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    return copy(tmp_path)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy that is compiled in place, with a module more."""
    folder = copy(tmp_path_factory.mktemp("compiled"))
    (folder / "wiredoctor" / "core" / "checks.py").write_text(CHECKS, "utf-8")
    done = run(folder, "-m", "wiredoctor.core.build")
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert done.stdout.startswith("core compiled with ")
    return folder


def wheel(folder: Path, **changed: str) -> Path:
    """Build a wheel as pip does, but with what is installed."""
    code = "from hatchling.build import build_wheel; print(build_wheel('dist'))"
    (folder / "dist").mkdir(exist_ok=True)
    done = run(folder, "-c", code, **changed)
    assert done.returncode == 0, done.stderr
    return folder / "dist" / done.stdout.split()[-1]


def installed(path: Path, folder: Path) -> set[str]:
    """Unpack a wheel; return the files of the core."""
    with zipfile.ZipFile(path) as file:
        file.extractall(folder)
        files = [Path(name) for name in file.namelist() if name.startswith("wiredoctor/core/")]
        return {path.name for path in files if "stubs" not in path.parts}


def source(folder: Path, name: str) -> Path:
    """Return the path of a module of the core."""
    (path,) = [path for path in build.sources(folder / "wiredoctor" / "core") if path.stem == name]
    return path


@SLOW
@compiling
def test_a_compiled_core_is_used(compiled: Path) -> None:
    assert which(compiled) == ("", ".so")
    assert which(compiled, WIREDOCTOR_CORE="compiled") == ("", ".so")


@SLOW
@compiling
def test_sources_are_used_on_request(compiled: Path) -> None:
    assert which(compiled, WIREDOCTOR_CORE="python") == ("WIREDOCTOR_CORE=python", ".py")


@SLOW
@compiling
def test_compiled_code_of_other_sources_is_not_used(compiled: Path) -> None:
    changed = source(compiled, "segment")
    before = changed.read_bytes()
    changed.write_bytes(before + b"\n")
    try:
        assert which(compiled) == ("its sources were changed after it was compiled", ".py")
        assert "its sources were changed" in run(compiled, "-c", WHICH, WIREDOCTOR_CORE="compiled").stderr
    finally:
        changed.write_bytes(before)


@SLOW
@compiling
def test_compiled_code_needs_its_runtime(compiled: Path) -> None:
    done = run(compiled, "-c", "import sys; sys.modules['librt'] = None" + WHICH)
    assert json.loads(done.stdout) == ["librt is not installed", str(source(compiled, "packet"))]


@SLOW
@compiling
def test_compiled_code_checks_bounds_and_none(compiled: Path) -> None:
    done = run(compiled, "-c", TRIED, WIREDOCTOR_CORE="compiled")
    assert done.stdout.splitlines() == [
        *["IndexError IndexError IndexError"] * 2,
        *["IndexError ValueError IndexError"] * 2,
        "100 TypeError TypeError TypeError",
        "ZeroDivisionError -4",
    ], done.stderr


@SLOW
@compiling
def test_a_build_removes_what_was_compiled_before(compiled: Path) -> None:
    core = compiled / "wiredoctor" / "core"
    stale = core / f"compiled_0__mypyc{build.SUFFIX}"
    stale.touch()
    assert run(compiled, "-m", "wiredoctor.core.build").returncode == 0
    assert not stale.exists()
    assert len(list(core.glob(f"compiled_*{build.SUFFIX}"))) == 1


@SLOW
@compiling
def test_a_wheel_holds_compiled_modules_and_sources(fresh: Path, tmp_path: Path) -> None:
    (fresh / "wiredoctor" / "core" / f"stale{build.SUFFIX}").touch()
    path = wheel(fresh, WIREDOCTOR_CORE="compiled")
    names = installed(path, tmp_path / "site")
    assert names == SOURCES | {build.library(fresh / "wiredoctor" / "core") + build.SUFFIX}
    assert f"-cp3{sys.version_info[1]}-cp3{sys.version_info[1]}-" in path.name
    assert which(tmp_path / "site") == ("", ".so")


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"CC": "/nowhere/cc"}, "CC=/nowhere/cc does not work"),
        pytest.param({"CC": "false"}, "CC=false does not work", marks=SLOW),
        pytest.param({"WIREDOCTOR_CORE": "python"}, "WIREDOCTOR_CORE was set to python during installation", marks=SLOW),
        pytest.param(
            {"PATH": "/nowhere"},
            "no C compiler",
            marks=[SLOW, pytest.mark.skipif(find_spec("ziglang") is not None, reason="there is zig")],
        ),
    ],
)
@compiling
def test_without_a_compiler_a_wheel_holds_sources_alone(
    fresh: Path, tmp_path: Path, changed: dict[str, str], reason: str
) -> None:
    path = wheel(fresh, **changed)
    names = installed(path, tmp_path / "site")
    assert names == {*SOURCES, build.NOTE}
    assert path.name.endswith("-py3-none-any.whl")
    assert which(tmp_path / "site") == (reason, ".py")


@SLOW
@compiling
def test_what_mypy_refuses_is_not_compiled(fresh: Path) -> None:
    """The failure is an error if a compiled core is required."""
    (fresh / "wiredoctor" / "core" / "wrong.py").write_text("number: int = 'text'\n", "utf-8")
    done = run(fresh, "-m", "wiredoctor.core.build")
    assert (done.returncode, done.stdout) == (1, "")
    assert "mypyc failed: wiredoctor/core/wrong.py:1: error: Incompatible types" in done.stderr
    with pytest.raises(AssertionError, match="Incompatible types"):
        wheel(fresh, WIREDOCTOR_CORE="compiled")


@compiling
@needs("package ziglang")
def test_ziglang_compiles_where_there_is_no_compiler(fresh: Path) -> None:
    assert run(fresh, "-m", "wiredoctor.core.build", PATH="/nowhere").stdout.startswith("core compiled with zig ")
    assert which(fresh) == ("", ".so")


def test_a_request_that_cannot_be_met_is_an_error(fresh: Path) -> None:
    done = run(fresh, "-c", WHICH, WIREDOCTOR_CORE="compiled")
    assert (
        "ImportError: WIREDOCTOR_CORE=compiled, but the core is interpreted: it was not compiled for this Python" in done.stderr
    )
    assert "it must be python or compiled" in run(fresh, "-c", WHICH, WIREDOCTOR_CORE="fast").stderr
    assert which(fresh) == ("it was not compiled for this Python", ".py")


def test_compiled_modules_of_older_versions_are_not_used(fresh: Path) -> None:
    """They were one file per module."""
    (fresh / "wiredoctor" / "core" / f"packet{build.SUFFIX}").touch()
    assert which(fresh) == ("it was not compiled for this Python", ".py")


@SLOW
@compiling
def test_a_build_copies_what_an_earlier_one_compiled(fresh: Path, tmp_path: Path) -> None:
    core, changed = fresh / "wiredoctor" / "core", {build.CACHE: str(tmp_path / "cache")}
    library = core / (build.library(core) + build.SUFFIX)
    assert run(fresh, "-m", "wiredoctor.core.build", **changed).stdout.startswith("core compiled with ")
    before = library.read_bytes()
    library.unlink()
    assert run(fresh, "-m", "wiredoctor.core.build", **changed).stdout.startswith(f"core copied from {tmp_path / 'cache'}")
    assert library.read_bytes() == before
    assert which(fresh) == ("", ".so")
    done = run(fresh, "-m", "wiredoctor.core.build", **changed, CC="false")
    assert "CC=false does not work" in done.stderr
    with source(fresh, "segment").open("a") as file:
        file.write("\n")
    assert run(fresh, "-m", "wiredoctor.core.build", **changed).stdout.startswith("core compiled with ")


@compiling
def test_a_build_that_copies_needs_no_mypy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WIREDOCTOR_CORE", "CC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(build.CACHE, str(tmp_path))
    assert build.requirements() == [build.MYPY]
    kept = build.kept_library(build.find_compiler())
    assert kept is not None
    kept.touch()
    assert build.requirements() == []


def test_modules_compiled_together_exist() -> None:
    assert {f"{name}.py" for name in build.TOGETHER} <= {path.name for path in build.sources()}


def test_no_two_modules_have_the_same_name() -> None:
    """Each is found in the library by the last part of its name."""
    names = [path.name for path in build.sources()]
    assert len({*names}) == len(names)


@compiling
def test_what_a_build_needs_is_installed_only_where_it_can_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WIREDOCTOR_CORE", build.CACHE, "CC"):
        monkeypatch.delenv(name, raising=False)
    assert build.requirements() == [build.MYPY]
    monkeypatch.setenv("CC", "/nowhere/cc")
    assert build.requirements() == []
    monkeypatch.delenv("CC")
    monkeypatch.setenv("PATH", "/nowhere")
    assert build.requirements() == [build.MYPY, build.ZIG]
    monkeypatch.setattr(build.sys, "platform", "win32")
    assert build.requirements() == []
    monkeypatch.undo()
    monkeypatch.setenv("WIREDOCTOR_CORE", "python")
    assert build.requirements() == []


@compiling
def test_the_backend_asks_for_what_a_build_needs(fresh: Path) -> None:
    done = run(fresh, "-c", "from hatchling.build import *; print(get_requires_for_build_wheel())")
    assert build.MYPY in done.stdout


def test_the_runtime_is_installed_where_compiled_modules_may_be() -> None:
    (requirement,) = [Requirement(one) for one in PROJECT["project"]["dependencies"] if one.startswith("librt")]
    assert requirement.marker is not None
    linux = {"platform_python_implementation": "CPython", "python_version": "3.13", "sys_platform": "linux"}
    assert requirement.marker.evaluate({**linux, "platform_machine": "aarch64"})
    assert not requirement.marker.evaluate({**linux, "platform_machine": "armv7l"})
    assert not requirement.marker.evaluate({**linux, "platform_machine": "x86_64", "python_version": "3.15"})
    assert not requirement.marker.evaluate({**linux, "platform_machine": "arm64", "sys_platform": "win32"})
    build.check_platform()
    assert requirement.marker.evaluate()


def test_tests_compile_with_the_same_mypy() -> None:
    assert build.MYPY in PROJECT["project"]["optional-dependencies"]["test"]


def test_nothing_compiled_is_in_the_repository() -> None:
    """What an editable install compiles in place is ignored by git."""
    ignored = (ROOT / ".gitignore").read_text("utf-8").splitlines()
    assert {"wiredoctor/core/*.so", f"wiredoctor/core/{build.NOTE}"} <= set(ignored)
    binary = {".c", ".cc", ".cpp", ".h", ".o", ".a", ".so", ".pyd", ".dylib", ".whl"}
    folders = [path for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".") and path.name not in ignored]
    found = {path for folder in folders for path in folder.rglob("*") if path.suffix in binary}
    # not the product: installed reference products, and programs in C and C++ whose traffic the lab records
    data, peers = ROOT / "tests" / "benchmarks" / "data", ROOT / "captures" / "lab" / "peers"
    found = {path for path in found if not path.is_relative_to(data)}
    found = {path for path in found if path.suffix not in (".c", ".cpp") or not path.is_relative_to(peers)}
    assert [path for path in found if path.parent != ROOT / "wiredoctor" / "core" or path.suffix != ".so"] == []
