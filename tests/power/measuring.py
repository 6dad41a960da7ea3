"""Plant faults in copies of the sources, run the tests there, and append what they notice to a file of JSON lines."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.power.faults import Fault
from tests.power.kinds import QUICK, kinds_of
from tests.power.running import IDLE, LONGEST, TASK, result_of

ROOT = Path(__file__).parents[2]
RULES = tuple(f"wiredoctor/rules/{folder.name}/" for folder in ROOT.glob("wiredoctor/rules/*/") if folder.name != "shared")
NOTHING = "(?!)"
"""A pattern that matches no node id."""
SHARE = 10
"""Of the cases that do not belong to the changed part, each of this number runs."""
SECONDS = {QUICK: 15.0, "labels": 10.0, "message search": 2.0}
DEFAULT_SECONDS = 5.0
"""Seconds of CPU that a kind may take, unless it is in SECONDS."""
ATTEMPTS = 4
"""How often a kind is run again because its first failure is also one without the fault."""
_LEFT_OUT = shutil.ignore_patterns(".git", "__pycache__", ".pytest_cache", ".ruff_cache", ".hypothesis", ".venv")


class Results:
    """The results: a line for each fault and kind, and for each case that was run without a fault. The last line counts."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.kinds: dict[tuple[str, str], dict[str, Any]] = {}
        self.passes: dict[tuple[str, str], bool] = {}
        for line in path.read_text("utf-8").splitlines() if path.exists() else []:
            self._keep(json.loads(line))

    def add(self, result: dict[str, Any]) -> None:
        """Append a result."""
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(result) + "\n")
        self._keep(result)

    def _keep(self, result: dict[str, Any]) -> None:
        if "passes" in result:
            self.passes[result["core"], result["case"]] = result["passes"]
        else:
            self.kinds[result["fault"], result["kind"]] = result

    def failing(self, core: str) -> list[str]:
        """Return the cases that fail without a fault."""
        return [case for (mode, case), passes in self.passes.items() if mode == core and not passes]

    def is_measured(self, fault: Fault, kind: str, seconds: float, share: int) -> bool:
        """Return whether a kind needs no other run: more time or cases would not change the result."""
        known = self.kinds.get((fault.key, kind))
        if known is None or known["result"] == "noticed":
            return self.is_noticed(fault, kind)
        is_enough = share == 0 or 0 < known["share"] <= share
        return is_enough and (known["result"] == "not" or known["seconds"] >= seconds)

    def is_noticed(self, fault: Fault, kind: str) -> bool:
        """Return whether a case of this kind fails with the fault, and only with it."""
        known = self.kinds.get((fault.key, kind))
        return known is not None and known["result"] == "noticed" and known["case"] not in self.failing(fault.core)


def measure(
    faults: Iterable[Fault], kinds: Iterable[str], path: Path, *, seconds: dict[str, float], share: int, beyond_quick: bool
) -> None:
    """Run the kinds for each fault, unless their results are known. `beyond_quick`: the others only if quick tests miss it."""
    results = Results(path)
    first = {kind: seconds[kind] for kind in kinds if kind == QUICK}  # it generates less input, so it gets a process of its own
    others = {kind: seconds[kind] for kind in kinds if kind != QUICK}
    with copies() as folders:
        cases = [case for case, _ in list_cases()]
        for fault in faults:
            begun, folder = time.monotonic(), folders[fault.core]
            near = re.compile(near_pattern(fault))
            files = sorted({case.partition("::")[0] for case in cases if near.search(case)})
            # most faults are noticed in the changed part, whose few files are collected in no time
            for some, number in ((first, 0), (first, share), (others, share)):
                if some and not (beyond_quick and results.is_noticed(fault, QUICK)):
                    _measure(fault, some, results, folder, number, files)
            print(f"{time.strftime('%H:%M:%S')} {time.monotonic() - begun:4.0f} s  {fault}", flush=True)


def _measure(
    fault: Fault, kinds: dict[str, float], results: Results, folder: Path, share: int, files: list[str]
) -> None:  # fmt: skip
    """Run the kinds whose results are not known. `files`: those with tests of the changed part, which suffice if `share` is 0."""
    for _ in range(ATTEMPTS):
        _run_without_fault(fault, kinds, results, folder)  # first, because an earlier run may have been stopped before this
        missing = {kind: limit for kind, limit in kinds.items() if not results.is_measured(fault, kind, limit, share)}
        if not missing or (share == 0 and not files):
            break
        is_done = QUICK in kinds and share > 0 and (fault.key, QUICK) in results.kinds
        near = NOTHING if is_done else near_pattern(fault)
        _run_kinds(fault, missing, results, folder, share, [] if share else files, near)


def list_cases() -> list[tuple[str, list[str]]]:
    """Return the node ids of all cases with their kinds."""
    command = [sys.executable, "-m", "pytest", "-o", "addopts=", "--collect-only", "-qq", "-p", "tests.power.listing"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    cases: list[tuple[str, list[str]]] = []
    for line in done.stdout.splitlines():
        if line.startswith("CASE "):
            _, slow, thinned, hypothesis, case = line.split(" ", 4)
            cases.append((case, kinds_of(case, slow=slow == "1", thinned=thinned == "1", hypothesis=hypothesis == "1")))
    return cases


@contextmanager
def copies() -> Generator[dict[str, Path]]:
    """Make a copy of the sources with the compiled core, and one without it, in which the core is changed."""
    with tempfile.TemporaryDirectory(prefix="power-") as folder:
        os.chmod(folder, 0o755)  # tests run the package as other users, too
        found = {core: Path(folder) / core for core in ("compiled", "python")}
        for copy in found.values():
            shutil.copytree(ROOT, copy, ignore=_LEFT_OUT, symlinks=True)
        for library in (found["python"] / "wiredoctor/core").glob("compiled_*"):
            library.unlink()
        yield found


def _run_kinds(
    fault: Fault, kinds: dict[str, float], results: Results, folder: Path, share: int, files: list[str], near: str
) -> None:
    """Run kinds of tests of these files, or of all files, and add the results."""
    task = {"near": near, "share": share, "skip": results.failing(fault.core), "only": []}
    with planted(fault, folder):
        lines, state = _run(folder, fault.core, files, quick=QUICK in kinds, kinds=kinds, **task)
    more = {"fault": fault.key, "share": share, "core": fault.core}
    for line in lines:
        results.add({**line, **more, "seconds": kinds[line["kind"]]})
    if state is not None and state["kind"] in kinds and state["kind"] not in {line["kind"] for line in lines}:
        dead = result_of(state["kind"], "noticed", state["case"])
        results.add({**dead, **more, "seconds": kinds[state["kind"]], "killed": True})


def _run_without_fault(fault: Fault, kinds: Iterable[str], results: Results, folder: Path) -> None:
    """Run the cases that noticed a fault without it, unless the result is known."""
    cases = {found["case"] for kind in kinds if (found := results.kinds.get((fault.key, kind))) and found["result"] == "noticed"}
    unknown = sorted(case for case in cases if (fault.core, case) not in results.passes and "::" in case)
    if not unknown:
        return
    files = sorted({case.partition("::")[0] for case in unknown})
    lines, _ = _run(folder, fault.core, files, quick=False, kinds={}, near="", share=1, skip=[], only=unknown)
    for line in lines:
        results.add({**line, "core": fault.core})


def _run(
    folder: Path, core: str, arguments: list[str], *, quick: bool, **task: Any
) -> tuple[list[dict[str, Any]], dict[str, str] | None]:
    """Run pytest with the plugin. Return the lines that it wrote, and what it was running at the end if it did not survive."""
    written = folder.parent / "lines.jsonl"
    state = folder.parent / "lines.jsonl.state"
    for path in (written, state):
        path.unlink(missing_ok=True)
    order = folder.parent / "task.json"
    order.write_text(json.dumps({**task, "results": str(written)}), "utf-8")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment |= {TASK: str(order), "PYTHONPATH": str(folder), "WIREDOCTOR_CORE": "python" if core == "python" else ""}
    command = [sys.executable, "-m", "pytest", "-o", "addopts=", "-m", "not slow" if quick else "", "-qq"]
    command += ["-p", "no:cacheprovider", "-p", "tests.power.running", *arguments]
    limit = IDLE * sum(task["kinds"].values()) + LONGEST * (2 + len(task["only"])) + 60
    with open(folder.parent / "log", "w", encoding="utf-8") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired:
            code = -1
        finally:
            _end_group(process)
    lines = [json.loads(line) for line in written.read_text("utf-8").splitlines()] if written.exists() else []
    survived = code in (0, 1, 5) or not state.exists()
    return lines, None if survived else json.loads(state.read_text("utf-8"))


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End what the process started and left."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextmanager
def planted(fault: Fault, folder: Path) -> Generator[None]:
    """Change a file of a copy, and restore it in the end."""
    path = folder / fault.file
    before = path.read_text("utf-8")
    path.write_text(fault.apply(before), "utf-8")
    try:
        yield
    finally:
        path.write_text(before, "utf-8")
        for stale in path.parent.glob(f"__pycache__/{path.stem}.*"):
            stale.unlink()


def near_pattern(fault: Fault) -> str:
    """Return a pattern for the node ids of the changed part.

    They are the tests that name it, the recordings whose labels name its rules, and, if it is no rule, all ladders.
    """
    words = fault.near.split() or [Path(fault.file).stem]
    rules = {word.replace("_", "-") for word in words}
    recordings = [
        path.stem
        for path in sorted((ROOT / "captures").rglob("*.toml"))
        if not rules.isdisjoint(re.findall(r'"([\w-]+)"', path.read_text("utf-8")))
    ]
    names = "|".join(re.escape(word).replace("_", "[-_]") for word in words)
    found = "|".join(map(re.escape, recordings[:40]))
    ladders = "" if fault.file.startswith(RULES) else "|::test_ladders_together"
    return f"(?:{names}{ladders})" + (rf"|\[(?:.*-)?(?:{found})(?:-.*)?\]" if found else "")
