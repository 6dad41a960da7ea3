"""Compare what two products report of captures, field by field.

    python tests/benchmarks/same_answers.py [--against COMMIT | --core python | --step 7 | --jobs 3] [--ladders] [CAPTURE ...]

Without captures: all of captures/ and, if it is there, of the corpus (--corpus FOLDER). --ladders: also each ladder of the rules'
tests, captured at three points. By default the checkout is compared with
the product of the commit in reference.py, which is installed in a virtual environment of its own; with the other options, with
itself run in another way. Differences that were decided on are listed under headings of their own; others make it exit with 1.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import reference

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CORPUS = ROOT.parent / "shared" / "corpus" / "files"
SUFFIXES = (".pcap", ".pcapng", ".cap", ".pcap.gz")

Report = dict[str, Any]

DECIDED = {
    "as of the end of the response": {"repeated-auth-challenge", "keep-alive-disabled"},
    "judged in the order of the ends of responses": {"buffered-stream", "slow-response", "expect-continue-stall"},
}
"""Rules whose delays, or findings, change by decision: an exchange is final when its response is."""

KEYS = {"connections": ("capture", "id"), "exchanges": ("capture", "connection", "index")}


def captures(corpus: Path) -> list[Path]:
    """Return the recordings of the project and the files of the corpus, each set in order of their names."""
    found: list[Path] = []
    for folder in (ROOT / "captures", corpus):
        files = (path for path in folder.rglob("*") if path.is_file())
        recordings = folder != corpus
        found += sorted(path for path in files if not recordings or path.name.endswith(SUFFIXES))
    return found


def write_ladders(folder: Path) -> list[Path]:
    """Write a capture of each ladder of the rules' tests at each point, and return their paths."""
    sys.path.insert(0, str(ROOT))
    from wiredoctor.testing import POINTS, capture, ladders_in

    written: list[Path] = []
    for path in sorted((ROOT / "tests" / "rules").glob("*/*.txt")):
        for number, (_, text) in enumerate(ladders_in(path)):
            for point in POINTS:
                written.append(folder / f"{path.stem}-{number}-{point}.pcap")
                written[-1].write_bytes(capture(text, at=point))
    return written


def start(python: Path, words: list[str], environment: dict[str, str]) -> subprocess.Popen[str]:
    """Start the driver in an interpreter, outside of the checkout, so that it imports what is installed."""
    command = [str(python), "-P", str(HERE / "answers_driver.py"), *words]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/", env=environment)


def answers(
    left: subprocess.Popen[str], right: subprocess.Popen[str], paths: list[Path]
) -> Iterator[tuple[Path, Report, Report]]:
    """Yield each capture with what both products say of it; both work at the same time."""
    for path in paths:
        for process in (left, right):
            assert process.stdin
            process.stdin.write(f"{path}\n")
            process.stdin.flush()
        assert left.stdout
        assert right.stdout
        yield path, _parse(left.stdout.readline()), _parse(right.stdout.readline())


def _parse(line: str) -> Report:
    return json.loads(line) if line else {"error": "the process died"}


def differences(old: Report, new: Report) -> list[tuple[str, str]]:
    """Return (heading, description) of each difference between two answers; none if they are equal."""
    if "error" in old or "error" in new:
        return [] if old == new else [("error", f"{old.get('error')} -> {new.get('error')}")]
    found: list[tuple[str, str]] = []
    if old["problems"] != new["problems"]:
        found.append(("problems", f"{old['problems']} -> {new['problems']}"))
    before, after = old["report"], new["report"]
    for key in (before.keys() & after.keys()) - KEYS.keys() - {"findings", "tool"}:
        if before[key] != after[key]:
            found.append((key, _changed({key: before[key]}, {key: after[key]})))
    found += _findings(before["findings"], after["findings"])
    for table, keys in KEYS.items():
        found += _rows(table, _by(before[table], keys), _by(after[table], keys))
    return found


def _by(rows: list[Report], keys: tuple[str, ...]) -> dict[tuple[Any, ...], Report]:
    return {tuple(row[key] for key in keys): row for row in rows}


def _findings(old: list[Report], new: list[Report]) -> Iterator[tuple[str, str]]:
    """Findings are compared without their order; two of a rule at one frame are compared in the order of the report.

    A key of the evidence that is null is as good as none: earlier products do not know all of them.
    """
    places: tuple[dict[Any, Report], dict[Any, Report]] = ({}, {})
    for found, side in zip(places, (old, new), strict=True):
        seen: Counter[Any] = Counter()
        for one in side:
            one["evidence"] = [{key: value for key, value in step.items() if value is not None} for step in one["evidence"]]
            place = one["rule"], one.get("connection"), tuple(step.get("frame") for step in one["evidence"][:1])
            seen[place] += 1
            found[place, seen[place]] = one
    for place in places[0].keys() | places[1].keys():
        before, after = places[0].get(place), places[1].get(place)
        if before != after:
            rule = place[0][0]
            heading = next((name for name, rules in DECIDED.items() if rule in rules), "findings")
            yield heading, f"{rule} at {place[0][1:]}: {_changed(before, after)}"


def _rows(table: str, old: dict[Any, Report], new: dict[Any, Report]) -> Iterator[tuple[str, str]]:
    for key in sorted(old.keys() | new.keys(), key=str):
        if (before := old.get(key)) != (after := new.get(key)):
            yield table, f"{key}: {_changed(before, after)}"


def _changed(old: Any, new: Any) -> str:
    """The leaves in which two values differ."""
    if old is None or new is None:
        return "only in the new report" if old is None else "only in the old report"
    kinds: set[Any] = {type(old), type(new)}
    if kinds == {dict}:
        keys = [key for key in {**old, **new} if old.get(key) != new.get(key)]
        return ", ".join(f"{key} ({_changed(old.get(key), new.get(key))})" for key in keys)
    if kinds == {list} and len(old) == len(new):
        return "; ".join(f"[{i}] {_changed(a, b)}" for i, (a, b) in enumerate(zip(old, new, strict=True)) if a != b)
    return f"{str(old)[:200]} -> {str(new)[:200]}"


def compare(paths: list[Path], left: subprocess.Popen[str], right: subprocess.Popen[str], shown: int) -> bool:
    """Print each difference and a line of totals; return whether there was none but those decided on."""
    headings: defaultdict[str, list[str]] = defaultdict(list)
    equal = 0
    for path, old, new in answers(left, right, paths):
        found = differences(old, new)
        equal += not found
        for heading, text in found:
            headings[heading].append(f"{path.name}: {text}")
    for heading, lines in sorted(headings.items()):
        print(f"\n{heading}{' (decided)' if heading in DECIDED else ''}: {len(lines)}")
        for line in lines[:shown]:
            print(f"  {line[:600]}")
    print(f"\n{equal} of {len(paths)} captures are equal")
    return set(headings) <= set(DECIDED)


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("captures", nargs="*", type=Path)
    parser.add_argument("--corpus", type=Path, default=CORPUS)
    parser.add_argument("--against", metavar="COMMIT", default=reference.COMMIT)
    parser.add_argument("--core", choices=("python", "compiled"), help="compare with the checkout, with the core run like this")
    parser.add_argument("--step", type=int, help="compare with the checkout, fed so many packets at a time")
    parser.add_argument("--jobs", type=int, help="compare with the checkout, run in so many processes")
    parser.add_argument("--ladders", action="store_true", help="also the ladders of the rules' tests, at three points")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only every Nth capture")
    parser.add_argument("--shown", type=int, default=40, help="differences shown under a heading (default 40)")
    options = parser.parse_args()
    paths = [path.resolve() for path in options.captures] or captures(options.corpus)
    with tempfile.TemporaryDirectory() as folder:
        if options.ladders:
            paths += write_ladders(Path(folder))
        return 0 if run(paths[:: options.every], options) else 1


def run(paths: list[Path], options: argparse.Namespace) -> bool:
    """Compare the reports of these captures; return whether there was no difference but those decided on."""
    here = os.environ | {"PYTHONPATH": str(ROOT)}
    mine = Path(sys.executable)
    if options.core or options.step or options.jobs:
        words = [word for name in ("step", "jobs") if (value := getattr(options, name)) for word in (f"--{name}", str(value))]
        core = {"WIREDOCTOR_CORE": options.core} if options.core else {}
        right = start(mine, words, here | core)
    else:
        right = start(reference.python(options.against), [], {k: v for k, v in os.environ.items() if k != "PYTHONPATH"})
    left = start(mine, [], here)
    # what is older, or was run in the other way, is named first
    return compare(paths, right, left, options.shown)


if __name__ == "__main__":
    sys.exit(main())
