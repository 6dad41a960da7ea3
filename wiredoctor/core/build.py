"""Compile the core with mypyc. `python -m wiredoctor.core.build` compiles in place; hatchling calls the build hook for a wheel.

This file imports nothing from wiredoctor: the build backend loads it by its path, before the package is installed.
"""

from __future__ import annotations

import os
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

TYPE_CHECKING = False  # the core computes the checksum at each start, so imports that only a build needs are inside functions
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

FOLDER = Path(__file__).resolve().parent
SUFFIX = EXTENSION_SUFFIXES[0]
NOT_COMPILED = ("__init__", "build", "octets", "octets_python")
NOTE = "built.txt"
"""The name of the file that contains one line: the reason why the core was not compiled."""

MYPY = "mypy[mypyc]>=2.4.1,<2.5"
CACHE = "WIREDOCTOR_BUILD_CACHE"
"""The environment variable that names a folder from which builds copy a library compiled before from the same sources."""

ZIG = "ziglang>=0.14,<1"
"""The package on PyPI that contains a C compiler; required only on machines without another C compiler."""

FLAGS = ("-O3", "-g0", "-w", "-fPIC", "-fwrapv", "-fvisibility=hidden", "-DNDEBUG")
"""The C compiler flags. Hidden symbols let the compiler inline small functions; symbols that Python loads are still exported."""

SELDOM = r"^ *(?=\w[\w *]* \*?(CPyPy_|CPyExec_|CPyInit|CPyDef_\w+_____top_level__)\w*\([^;{]*\{|static [\w *]+\n\w+_[gs]et_\w+\()"
"""Matches where the C code begins a function that runs once, or only when interpreted code uses the core.

More than half of the code is in such functions, so compiling takes half the time if the compiler does not optimize them.
"""

NOT_OPTIMIZED = """#ifdef __clang__
#define SELDOM __attribute__((noinline, optnone))
#else
#define SELDOM __attribute__((optimize("O0")))
#endif
"""

TOGETHER = (
    *("acks", "bodies", "close_rows", "closed_windows", "connection", "conversation", "copies", "delivery", "endings"),
    *("exchange_queue", "exchange_rows", "final_exchanges", "flight", "flows", "heads", "http", "http1_reader", "http_state"),
    *("layers", "loop", "message", "message_ends", "message_heads", "message_parts", "numbers", "packet_headers", "pairing"),
    *("pcap", "reader", "reassembly", "recent", "records", "shared_http", "sizes", "stream", "tcp_analysis", "unsigned"),
)
"""The modules that take nine tenths of the time of an analysis. They are one C file, so the compiler inlines across them.

The names are without packages: no two modules of the core have the same.
"""

PARTS = 3
"""The number of C files into which the other modules are joined. Each more would read the headers again."""

START = """static PyObject *start_module(PyObject *(*init)(void)) {{
    PyObject *library = PyImport_ImportModule("{library}");
    if (!library) return NULL;
    Py_DECREF(library);
    return init();
}}
"""
"""C code that loads the library itself before one of its modules, because mypyc's functions need its tables."""

ENTRY = """extern PyObject *CPyInit_{exported}(void);
PyMODINIT_FUNC PyInit_{name}(void) {{ return start_module(CPyInit_{exported}); }}
"""
"""C code of the function that Python calls to load a module from the library."""

PROBE = "#include <Python.h>\n#include <stdio.h>\n"


class BuildError(Exception):
    """The reason why the core cannot be compiled."""


def sources(folder: Path = FOLDER) -> list[Path]:
    """Return the paths of the modules that are compiled, those of `folder` itself first, then those of its packages."""
    inner = sorted(name for name in os.listdir(folder) if "." not in name and os.path.exists(folder / name / "__init__.py"))
    names = [(part, name) for part in ("", *inner) for name in sorted(os.listdir(folder / part)) if name.endswith(".py")]
    return [folder / part / name for part, name in names if name[:-3] not in NOT_COMPILED]


def module_name(path: Path, folder: Path = FOLDER) -> str:
    """Return the dotted name of a module below the core, such as tcp.acks."""
    return ".".join(path.relative_to(folder).with_suffix("").parts)


def library(folder: Path = FOLDER) -> str:
    """Return the name of the module that contains all compiled code.

    The name contains a checksum of the sources, so a library compiled from older sources is not found.
    """
    from zlib import crc32

    total = checksum = 0
    for path in sources(folder):
        with open(path, "rb", buffering=0) as file:
            content = file.read()
        total += len(content)
        checksum = crc32(content, crc32(path.relative_to(folder).as_posix().encode(), checksum))
    return f"compiled_{total:x}_{checksum:08x}__mypyc"


def check_platform() -> None:
    """Raise BuildError if the core cannot be compiled on this platform. This check does not need mypy."""
    import platform
    import sysconfig

    version = ".".join(platform.python_version_tuple()[:2])
    if platform.python_implementation() != "CPython" or sysconfig.get_config_var("Py_GIL_DISABLED"):
        raise BuildError("only the normal build of CPython is supported")
    if not (3, 11) <= sys.version_info < (3, 15):
        raise BuildError(f"CPython {version} is not supported")
    if sys.platform not in ("linux", "darwin") or platform.machine() not in ("x86_64", "aarch64", "arm64"):
        raise BuildError(f"{platform.system()} on {platform.machine()} is not supported")


def include_folders() -> list[str]:
    """Return the compiler options (-I) for the folders of Python's C headers. Raise BuildError if the headers are missing."""
    import sysconfig

    folders = list(dict.fromkeys(sysconfig.get_path(name) for name in ("include", "platinclude")))
    if not any(Path(folder, "Python.h").exists() for folder in folders):
        raise BuildError("Python's headers are missing (on Debian: python3-dev)")
    return [f"-I{folder}" for folder in folders]


def find_compiler() -> list[str]:
    """Return the command of a working C compiler as a list of words; an empty list if there is none.

    The environment variable CC, if set, names the compiler.
    """
    import shlex
    import sysconfig
    import tempfile

    chosen = os.environ.get("CC")
    names = [chosen] if chosen else [sysconfig.get_config_var("CC") or "cc", "cc", "gcc", "clang"]
    includes = include_folders()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "probe.c").write_text(PROBE)
        for name in names:
            command = shlex.split(name)
            try:
                run([*command, *FLAGS, *linking(), *includes, "probe.c", "-o", "probe"], Path(folder), name)
            except BuildError:
                continue
            return command
    return []


def find_zig() -> list[str]:
    """Return the command of the C compiler in the package ziglang, or an empty list if it is not installed."""
    from importlib.util import find_spec

    spec = find_spec("ziglang")
    if os.environ.get("CC") or spec is None or spec.origin is None:
        return []
    # by default, zig compiles for the processor of this machine only
    return [str(Path(spec.origin).with_name("zig")), "cc", "-mcpu=baseline"]


def requirements() -> list[str]:
    """Return the packages needed to compile on this machine; an empty list if compiling is impossible or switched off."""
    if os.environ.get("WIREDOCTOR_CORE") == "python":
        return []
    try:
        check_platform()
        if compiler := find_compiler():
            kept = kept_library(compiler)
            return [] if kept and kept.exists() else [MYPY]
    except BuildError:
        return []
    return [] if os.environ.get("CC") else [MYPY, ZIG]


def generate(module: str, *paths: str) -> None:
    """Write part0.c, part1.c and so on into the current folder, and the names of folders of headers into folders.json.

    Call this in a separate process, because mypy exits the process on errors. `module`: the full name of the `library`.
    """
    import json
    import re

    from mypyc.build import mypycify
    from mypyc.namegen import exported_name

    options = "--config-file= --cache-dir=/dev/null --no-site-packages --follow-imports=silent --ignore-missing-imports"
    words, group = [*options.split(), *paths], module.removesuffix("__mypyc")
    extensions = mypycify(words, target_dir="c", group_name=group, multi_file=True)
    # the other extensions only call functions of the first one; `ENTRY` replaces them
    names = {one.name.rpartition(".")[2]: exported_name(one.name) for one in extensions[1:]}
    files = {name: f"c/__native_{exported}.c" for name, exported in names.items()}
    code = {name: re.sub(SELDOM, "SELDOM ", Path(file).read_text("utf-8"), flags=re.M) for name, file in files.items()}
    parts = ["", *[NOT_OPTIMIZED] * PARTS]
    parts[0] += "".join(f'#include "{file}"\n' for file in extensions[0].sources if file not in files.values())
    parts[0] += NOT_OPTIMIZED + "".join(code.pop(name, "") for name in TOGETHER)
    parts[0] += START.format(library=module) + "".join(ENTRY.format(name=one, exported=names[one]) for one in names)
    for text in sorted(code.values(), key=len, reverse=True):
        shortest = min(range(1, len(parts)), key=lambda number: len(parts[number]))
        parts[shortest] += text
    for number, text in enumerate(parts):
        Path(f"part{number}.c").write_text(text, "utf-8")
    folders = [*extensions[0].include_dirs, f"c/{Path(paths[0]).parent}"]
    Path("folders.json").write_text(json.dumps(folders), "utf-8")


def compile_into(target: Path, compiler: list[str]) -> str:
    """Compile the core into the folder `target`; return a description of the compiler.

    Raise BuildError if compiling fails.
    """
    import json
    import shutil
    import tempfile
    from concurrent.futures import ThreadPoolExecutor
    from importlib.metadata import PackageNotFoundError, version

    try:
        mypy = version("mypy")
        version("setuptools")
    except PackageNotFoundError as error:
        raise BuildError(f"{error.name} is not installed") from error
    with tempfile.TemporaryDirectory() as temporary:
        work, package = Path(temporary), FOLDER.parent
        shutil.copytree(package, work / package.name, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
        # without this file, mypy would follow imports through all of wiredoctor
        (work / package.name / "__init__.py").write_text("", "utf-8")
        core = work / package.name / FOLDER.name
        paths = [str(path.relative_to(work)) for path in sources(core)]
        # -P: modules of the core must not shadow those of the standard library
        run([sys.executable, "-P", __file__, f"{package.name}.{core.name}.{library(core)}", *paths], work, "mypyc")
        folders = json.loads((work / "folders.json").read_text("utf-8"))
        options = [*FLAGS, *architectures(), *include_folders(), *(f"-I{folder}" for folder in folders)]

        def compile_one(file: str) -> str:
            run([*compiler, *options, "-c", file, "-o", f"{file}.o"], work, compiler[0])
            return f"{file}.o"

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            objects = list(pool.map(compile_one, [f"part{number}.c" for number in range(1 + PARTS)]))
        run([*compiler, *linking(), *objects, "-o", str(target / (library(core) + SUFFIX))], work, compiler[0])
    return f"compiled with {Path(compiler[0]).name} and mypy {mypy}"


def linking() -> list[str]:
    """Return the flags for linking an extension."""
    return ["-bundle", "-undefined", "dynamic_lookup", *architectures()] if sys.platform == "darwin" else ["-shared"]


def architectures() -> list[str]:
    """Return the flags for the processors to compile for, which builds of wheels on macOS set."""
    import shlex

    return shlex.split(os.environ.get("ARCHFLAGS", "")) if sys.platform == "darwin" else []


def run(command: Sequence[str], folder: Path, name: str) -> None:
    """Run a program in a folder. Raise BuildError with the first error message if the program fails."""
    import subprocess

    cache = {"ZIG_GLOBAL_CACHE_DIR": str(folder / "zig"), "ZIG_LOCAL_CACHE_DIR": str(folder / "zig")}
    try:
        done = subprocess.run(
            command, cwd=folder, env={**os.environ, **cache}, capture_output=True, text=True, errors="replace", check=False
        )
    except OSError as error:
        raise BuildError(f"{name}: {error.strerror}") from error
    if done.returncode:
        errors = [line for line in (done.stdout + done.stderr).splitlines() if "error" in line.lower()]
        raise BuildError(f"{Path(name).name} failed: {errors[0] if errors else f'exit code {done.returncode}'}")


def compile_once(target: Path) -> str:
    """Compile the core into the folder `target`, or copy it from `CACHE`; return where it is from.

    Raise BuildError if compiling fails.
    """
    import shutil

    check_platform()
    include_folders()
    compiler = find_compiler() or find_zig()
    if not compiler:
        raise BuildError(f"CC={os.environ['CC']} does not work" if os.environ.get("CC") else "no C compiler")
    kept = kept_library(compiler)
    if not kept or sys.platform == "win32":  # which compiles nothing (check_platform), and has no fcntl
        return compile_into(target, compiler)
    from fcntl import LOCK_EX, flock

    kept.parent.mkdir(parents=True, exist_ok=True)
    with open(f"{kept}.lock", "w", encoding="utf-8") as lock:
        flock(lock, LOCK_EX)  # of two builds at the same time, one waits for the other
        if kept.exists():
            shutil.copy(kept, target / (library() + SUFFIX))
            return f"copied from {kept}"
        how = compile_into(target, compiler)
        shutil.copy(target / (library() + SUFFIX), f"{kept}.new")
        os.replace(f"{kept}.new", kept)
    return how


def kept_library(compiler: Sequence[str]) -> Path | None:
    """Return where `CACHE` keeps what this compiler makes of these sources; None without a cache."""
    from zlib import crc32

    folder = os.environ.get(CACHE)
    if not folder:
        return None
    checksum = crc32(Path(__file__).read_bytes(), crc32(repr((*compiler, *architectures())).encode()))
    return Path(folder).resolve() / f"{library()}_{checksum:08x}{SUFFIX}"


def build(target: Path) -> str:
    """Compile the core and replace the compiled modules in `target`; return a description of the compiler.

    Raise BuildError for any failure.
    """
    import shutil
    import tempfile

    if os.environ.get("WIREDOCTOR_CORE") == "python":
        raise BuildError("WIREDOCTOR_CORE was set to python during installation")
    try:
        with tempfile.TemporaryDirectory() as folder:
            how = compile_once(Path(folder))
            for old in (*target.glob(f"*{SUFFIX}"), target / NOTE):
                old.unlink(missing_ok=True)
            for path in Path(folder).iterdir():
                shutil.copy(path, target / f"{path.name}.new")
                os.replace(target / f"{path.name}.new", target / path.name)
    except BuildError:
        raise
    except Exception as error:
        raise BuildError(f"{type(error).__name__}: {error}") from error
    return how


def get_build_hook() -> type[Any]:
    """Return the build hook (hatchling looks for this function)."""
    import shutil
    import tempfile

    from hatchling.builders.hooks.plugin.interface import BuildHookInterface

    class CoreHook(BuildHookInterface):
        """Adds the compiled core to a wheel; compiles the core in place for an editable install."""

        built: Path | None = None

        def dependencies(self) -> list[str]:
            return requirements()

        def initialize(self, version: str, build_data: dict[str, Any]) -> None:
            editable = version == "editable"
            target = FOLDER if editable else Path(tempfile.mkdtemp())
            self.built = None if editable else target
            try:
                self.app.display_info(f"wiredoctor: core {build(target)}")
                build_data["pure_python"], build_data["infer_tag"] = False, True
            except BuildError as error:
                if os.environ.get("WIREDOCTOR_CORE") == "compiled":
                    raise
                self.app.display_warning(f"wiredoctor: the core will run interpreted: {error}")
                (target / NOTE).write_text(f"{error}\n", "utf-8")
            if not editable:
                for path in target.iterdir():
                    build_data["force_include"][str(path)] = f"wiredoctor/core/{path.name}"

        def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
            del version, build_data, artifact_path
            if self.built:
                shutil.rmtree(self.built)

    return CoreHook


def main() -> int:
    """Compile in place; return the exit code."""
    try:
        sys.stdout.write(f"core {build(FOLDER)}\n")
    except BuildError as error:
        sys.stderr.write(f"cannot compile the core: {error} (needs: pip install '{MYPY}')\n")
        return 1
    return 0


if __name__ == "__main__":
    if len(sys.argv) > 1:
        generate(*sys.argv[1:])
    else:
        sys.exit(main())
