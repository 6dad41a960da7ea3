"""Stages hand each other tables, not themselves: the arrows between the parts of the package, read from their imports."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "wiredoctor"

STAGES = {"capture", "decode", "tcp", "http", "rules"}

MAY_IMPORT: dict[str, set[str]] = {
    "tables": set(),
    "cutoffs": {"tables"},
    "events": {"cutoffs", "tables"},
    "replacement": set(),
    "durations": set(),
    "masking": set(),
    "masked": {"masking"},
    "limits": {"tables"},
    "findings": {"tables", "masking"},
    "compared": {"findings"},
    "sides": {"findings"},
    "proxied": {"sides"},
    "anonymizing": {"wiredoctor", "tables", "limits", "findings", "masking", "capture", "http", "replacement"},
    "comparing": {"tables", "findings", "masking", "compared", "sides", "proxied"},
    "capture": {"tables", "limits"},
    "decode": {"tables", "limits", "scan"},
    "scan": {"tables"},
    "core": {"tables", "limits", "masking", "capture", "decode", "http"},
    "engine": {
        *("tables", "limits", "findings", "cutoffs", "masking", "masked", "replacement", "spill", "waiting", "wiredoctor"),
        *("core", "capture", "decode", "http", "rules"),
    },
    "recording": {"wiredoctor", "interfaces", "replacement"},
    "tcp": {"cutoffs", "tables", "limits", "scan"},
    "http": {"cutoffs", "tables", "limits", "scan", "masking"},
    "rules": {"cutoffs", "tables", "limits", "findings", "durations", "masking", "masked"},
    "report": {"tables", "limits", "findings", "durations", "masking", "interfaces", "compared", "sides", "proxied"},
    "spill": {"tables", "limits", "replacement"},
    "waiting": {"limits", "replacement", "spill"},
    "analysis": {"cutoffs", "events", "tables", "limits", "findings", "spill", "waiting"} | STAGES,
    "shares": {"cutoffs", "masking", "limits", "analysis", "handover", "replacement", "spill", "waiting", "capture", "rules"},
    "handover": {"tables", "analysis", "capture", "decode"},
    "diagnosis": {
        "tables",
        "limits",
        "findings",
        "spill",
        "waiting",
        "analysis",
        "engine",
        "masked",
        "wiredoctor",
        "capture",
        "rules",
    },
    "pipeline": {
        "cutoffs",
        "findings",
        "spill",
        "waiting",
        "analysis",
        "diagnosis",
        "engine",
        "shares",
        "masking",
        "capture",
        "rules",
    },
    "extracting": {"findings", "replacement"},
    "certain": {"tables", "limits", "findings", "waiting", "core", "engine", "rules"},
    "live": {
        "interfaces",
        "recording",
        "tables",
        "limits",
        "durations",
        "findings",
        "spill",
        "waiting",
        "engine",
        "diagnosis",
        "certain",
        "masking",
        "capture",
        "rules",
    },
    "interfaces": set(),
    "cli": {
        "anonymizing",
        "core",
        "extracting",
        "masking",
        "pipeline",
        "live",
        "comparing",
        "recording",
        "replacement",
        "report",
        "interfaces",
        "wiredoctor",
    },
    "testing": {"findings", "wiredoctor"},
    "__main__": {"cli"},
    "wiredoctor": {"findings", "pipeline"},
}
"""Part -> the other parts that it may import; "wiredoctor" is the package's own __init__. `scan` is no stage but arithmetic on
columns, shared by the stages that look back along a connection, or share connections out; `limits` and `cutoffs` have numbers;
`events` filters tables of events from segments, after the last of these stages. `analysis` (the
stages in their order), `diagnosis` (the report of what they found), `live` (a capture that grows), `certain` (what can be told
of it already), `shares` (processes), `handover` (between
them), `spill` (finished rows) and `waiting` (candidates) are the pipeline's own. `testing` is for the tests of rules, also of
other packages: it stands before the door, as `cli` does, and nothing imports it. `recording` is a program of its own, which is
executed. `interfaces` (what this machine can capture on) reads no packets, and is no stage either. `masking` (of texts) and
`masked` (of tables) say what may leave a report, to all who write texts. `replacement` writes files completely or not at all."""


def part_of(path: Path) -> str:
    """wiredoctor/tcp/scan.py -> tcp, wiredoctor/tables.py -> tables, wiredoctor/__init__.py -> wiredoctor."""
    first = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    return "wiredoctor" if first == "__init__" else first


def module_of(path: Path) -> list[str]:
    """The dotted name of the package that relative imports in this file start from."""
    return ["wiredoctor", *path.relative_to(PACKAGE).parent.parts]


def imported(source: str, package: list[str]) -> Iterator[str]:
    """Absolute dotted names that a module imports, anywhere in it; `from a import b` gives a.b."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            name = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{name}.{alias.name}" for alias in node.names)


def parts_imported(source: str, package: list[str]) -> set[str]:
    """The parts of wiredoctor that a module imports."""
    parts: set[str] = set()
    for name in imported(source, package):
        head, *rest = name.split(".")
        if head == "wiredoctor":
            known = rest and (rest[0] in MAY_IMPORT)
            parts.add(rest[0] if known else "wiredoctor")
    return parts


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_arrows(path: Path) -> None:
    part = part_of(path)
    wrong = parts_imported(path.read_text("utf-8"), module_of(path)) - MAY_IMPORT[part] - {part}
    assert not wrong, f"{part} must not import {', '.join(sorted(wrong))}"


def test_every_part_is_known() -> None:
    assert {part_of(p) for p in FILES} <= set(MAY_IMPORT)


WRONG = [
    ("tcp", "from wiredoctor.http import x"),
    ("tcp", "def f():\n    import wiredoctor.capture.pcap"),
    ("tcp", "from ..decode import x"),
    ("tcp", "from .. import http"),
    ("tcp", "from wiredoctor import findings"),
    ("http", "if TYPE_CHECKING:\n    from wiredoctor.tcp.scan import y"),
    ("report", "from wiredoctor.rules.words import duration"),
    ("cli", "import wiredoctor.rules"),
    ("capture", "from wiredoctor import pipeline"),
    ("rules", "from wiredoctor.testing import check"),
    ("limits", "from wiredoctor.findings import Threshold"),
    ("testing", "from wiredoctor.tcp import scan"),
]


@pytest.mark.parametrize(("part", "source"), WRONG)
def test_a_wrong_arrow_is_seen(part: str, source: str) -> None:
    assert parts_imported(source, ["wiredoctor", part]) - MAY_IMPORT[part] - {part}


@pytest.mark.parametrize(
    ("part", "source"),
    [("tcp", "from .scan import x"), ("tcp", "from wiredoctor import tables"), ("cli", "from wiredoctor import Report")],
)
def test_a_right_arrow_is_not(part: str, source: str) -> None:
    assert not parts_imported(source, ["wiredoctor", part]) - MAY_IMPORT[part] - {part}


NO_WORLD = {"subprocess", "tempfile", "time", "requests", "urllib"}
"""Only capture/, interfaces/, recording/ and cli/ touch files, sockets and the clock, pipeline its spill files, and testing what
it feeds."""

OUTSIDE = {
    "capture",
    "interfaces",
    "cli",
    "extracting",
    "live",
    "pipeline",
    "recording",
    "replacement",
    "shares",
    "spill",
    "testing",
}

PURE = {"AF_INET", "AF_INET6", "inet_ntop", "inet_pton"}
"""What of the module socket only reads and writes addresses."""


@pytest.mark.parametrize(
    "path",
    [p for p in FILES if part_of(p) not in OUTSIDE and p != PACKAGE / "core" / "build.py"],  # it compiles; nothing runs it later
    ids=lambda p: str(p.relative_to(PACKAGE)),
)
def test_below_the_door_there_is_no_outside_world(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    opened = [
        n.lineno for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name) and n.func.id == "open"
    ]
    assert not opened, f"open() in line {opened[0]}"
    sockets = {
        n.attr
        for n in ast.walk(tree)
        if isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name) and n.value.id == "socket"
    }
    assert not sockets - PURE
    assert not {name.partition(".")[0] for name in imported(ast.unparse(tree), module_of(path))} & NO_WORLD
