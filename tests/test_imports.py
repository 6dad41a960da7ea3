"""The directions between the parts of the package, read from their imports: reports and rules see tables, and not the engine."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "wiredoctor"

MAY_IMPORT: dict[str, set[str]] = {
    "tables": set(),
    "text": set(),
    "system": set(),
    "storage": {"core", "limits", "system", "tables"},
    "interfaces": set(),
    "version": set(),
    "settings": set(),
    "limits": {"tables"},
    "gateways": {"tables", "world"},
    "access_log": {"text"},
    "findings": {"gateways", "tables", "text"},
    "capture": {"limits", "system", "tables", "text"},
    "protocols": {"limits", "tables", "text"},
    "core": {"capture", "limits", "protocols", "system", "tables", "text"},
    "world": {"findings", "limits", "tables", "text"},
    "rules": {"findings", "gateways", "limits", "tables", "text", "world"},
    "rule_engine": {"findings", "gateways", "limits", "rules", "settings", "storage", "system", "tables", "text", "world"},
    "engine": {
        *("capture", "core", "findings", "limits", "protocols", "rule_engine"),
        *("settings", "storage", "system", "tables", "text", "version"),
    },
    "diagnosis": {
        *("capture", "engine", "findings", "gateways", "limits", "rule_engine"),
        *("storage", "tables", "text", "version", "world"),
    },
    "pipeline": {"capture", "diagnosis", "engine", "findings", "rule_engine", "settings", "storage", "system", "text"},
    "live": {
        *("capture", "core", "diagnosis", "engine", "findings", "gateways", "interfaces", "limits"),
        *("recording", "rule_engine", "settings", "storage", "tables", "text", "world"),
    },
    "recording": {"interfaces", "storage", "version"},
    "extract": {"capture", "findings", "limits", "protocols", "storage", "tables", "text", "version"},
    "compare": {"findings", "gateways", "tables", "text"},
    "report": {"access_log", "compare", "findings", "gateways", "interfaces", "limits", "system", "tables", "text"},
    "mcp": {"cli", "findings", "pipeline", "report", "text", "wiredoctor"},
    "cli": {
        *("compare", "core", "extract", "interfaces", "live", "mcp", "pipeline"),
        *("report", "settings", "storage", "system", "text", "wiredoctor"),
    },
    "testing": {"findings", "wiredoctor"},
    "__main__": {"cli"},
    "wiredoctor": {"findings", "pipeline", "version"},
}
"""Part -> all parts that it imports; "wiredoctor" is the package's own __init__.

`capture` opens files, `core` reads them packet by packet and writes rows; `protocols` (text and rare structures) is called by it.
`storage` keeps these rows, makes columns of them, and writes files completely or not at all; `engine` makes tables of the rows,
and `rule_engine` runs the `rules` on these.
`diagnosis` (the report), `pipeline` (a capture as a whole) and `live` (one that grows) run both. `gateways`
pairs exchanges, and says what one gateway did for an exchange, and why it failed. `text` writes numbers and text from packets,
and redacts what may not leave a report. `testing` is for the tests of rules, also of other packages, and nothing imports it.
`recording` is a program of its own. `system` is what differs between
systems.
"""


def part_of(path: Path) -> str:
    """wiredoctor/core/loop.py -> core, wiredoctor/tables.py -> tables, wiredoctor/__init__.py -> wiredoctor."""
    first = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    return "wiredoctor" if first == "__init__" else first


def module_of(path: Path) -> list[str]:
    """The dotted name of the package that relative imports in this file start from."""
    return ["wiredoctor", *path.relative_to(PACKAGE).parent.parts]


class Parsed(NamedTuple):
    """What the tests need to know of a module: its imports, calls of open(), and uses of the module socket."""

    nodes: list[ast.Import | ast.ImportFrom | ast.Call | ast.Attribute]


@cache
def parsed(source: str) -> Parsed:
    """Parse a module, once for all tests."""
    found = Parsed([])
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import() | ast.ImportFrom() | ast.Call(func=ast.Name(id="open")):
                found.nodes.append(node)
            case ast.Attribute(value=ast.Name(id="socket")):
                found.nodes.append(node)
            case _:
                pass
    return found


def imported(source: str, package: list[str]) -> Iterator[str]:
    """Absolute dotted names that a module imports, anywhere in it; `from a import b` gives a.b."""
    for node in parsed(source).nodes:
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


def test_arrows() -> None:
    wrong = {
        str(path.relative_to(PACKAGE)): those
        for path in FILES
        if (those := parts_imported(path.read_text("utf-8"), module_of(path)) - MAY_IMPORT[part_of(path)] - {part_of(path)})
    }
    assert wrong == {}, "these modules must not import these parts"


def test_the_table_is_complete() -> None:
    """It has all parts, and no import that does not exist."""
    found: dict[str, set[str]] = {}
    for path in FILES:
        part = part_of(path)
        found.setdefault(part, set()).update(parts_imported(path.read_text("utf-8"), module_of(path)) - {part})
    assert found == MAY_IMPORT


WRONG = [
    ("core", "from wiredoctor.engine import x"),
    ("core", "def f():\n    import wiredoctor.rules.shared.evidence"),
    ("core", "from ..findings import x"),
    ("core", "from .. import storage"),
    ("protocols", "from wiredoctor.core.loop import Core"),
    ("protocols", "from wiredoctor import findings"),
    ("protocols", "if TYPE_CHECKING:\n    from wiredoctor.core.http1.heads import y"),
    ("report", "from wiredoctor.world.numbers import duration"),
    ("rules", "from wiredoctor.engine.row_tables import take_tables"),
    ("rules", "from wiredoctor.rule_engine.root_cause import settle"),
    ("cli", "import wiredoctor.rules"),
    ("capture", "from wiredoctor import pipeline"),
    ("rules", "from wiredoctor.testing import check"),
    ("limits", "from wiredoctor.findings import Threshold"),
    ("testing", "from wiredoctor.core import loop"),
]


@pytest.mark.parametrize(("part", "source"), WRONG)
def test_a_wrong_arrow_is_seen(part: str, source: str) -> None:
    assert parts_imported(source, ["wiredoctor", part]) - MAY_IMPORT[part] - {part}


@pytest.mark.parametrize(
    ("part", "source"),
    [("core", "from .loop import x"), ("core", "from wiredoctor import tables"), ("cli", "from wiredoctor import Report")],
)
def test_a_right_arrow_is_not(part: str, source: str) -> None:
    assert not parts_imported(source, ["wiredoctor", part]) - MAY_IMPORT[part] - {part}


NO_WORLD = {"subprocess", "tempfile", "time", "requests", "urllib"}
"""Only these parts open files and sockets, read the clock or start programs: those that read captures and packets, those that
write files, and those of commands and tests. The core gets an open file, or blocks of it."""

OUTSIDE = {"capture", "interfaces", "cli", "live", "mcp", "recording", "storage", "testing"}
ALSO_OUTSIDE = {PACKAGE / "core" / "build.py"}  # it compiles; nothing runs it later
NEVER_OUTSIDE = {PACKAGE / "live" / "finality.py", PACKAGE / "storage" / "batches.py"}

PURE = {"AF_INET", "AF_INET6", "inet_ntop", "inet_pton"}
"""What of the module socket only reads and writes addresses."""


def test_below_the_door_there_is_no_outside_world() -> None:
    inside = [p for p in FILES if p in NEVER_OUTSIDE or (part_of(p) not in OUTSIDE and p not in ALSO_OUTSIDE)]
    assert {str(path.relative_to(PACKAGE)): found for path in inside if (found := [*_outside(path)])} == {}


def _outside(path: Path) -> Iterator[str]:
    """What of a module opens files and sockets, reads the clock or starts programs."""
    source = path.read_text("utf-8")
    for node in parsed(source).nodes:
        if isinstance(node, ast.Call):
            yield f"open() in line {node.lineno}"
        elif isinstance(node, ast.Attribute) and node.attr not in PURE:
            yield f"socket.{node.attr}"
    yield from (name for name in imported(source, module_of(path)) if name.partition(".")[0] in NO_WORLD)


ASKING = re.compile(
    r"\b(?:sys\.platform\b|os\.name\b|platform\.system\b|(?:hasattr|getattr)\((?:os|signal|time|select|socket), "
    r"|(?:import|from) (?:\w+, )*(?:fcntl|resource|termios|pwd|grp|msvcrt|winreg|_winapi|platform|_thread)\b)"
)
"""How a module asks for the system, or uses what others lack."""

CAPTURING = {"interfaces", "live", "recording"}
MAY_ASK = {PACKAGE / name for name in ("system.py", "core/build.py", "cli/capture_order.py", "cli/live_source.py")}
"""The module that knows, one that pip runs alone, and two that only `live` and `run` import."""


def test_one_module_knows_what_differs_between_systems() -> None:
    others = [path for path in FILES if part_of(path) not in CAPTURING and path not in MAY_ASK]
    found = {str(path.relative_to(PACKAGE)): match[0] for path in others if (match := ASKING.search(path.read_text("utf-8")))}
    assert not found, "this belongs in wiredoctor/system.py"


@pytest.mark.parametrize(
    "source",
    [
        'if sys.platform == "win32":',
        "os.name",
        "import os, fcntl",
        "from resource import x",
        'hasattr(os, "fork")',
    ],
)
def test_a_question_for_the_system_is_seen(source: str) -> None:
    assert ASKING.search(source)


def modules_for_captures() -> dict[str, Path]:
    """The modules that the Python interface, the rules, and the commands that read captures import, anywhere in them."""
    modules = {**_modules(), "wiredoctor": PACKAGE / "__init__.py"}
    commands = [name for name in modules if name.startswith("wiredoctor.cli.commands.")]
    capturing = {f"wiredoctor.cli.commands.{name}" for name in ("interfaces", "live", "run_program")}
    rules = [name for name in modules if name.startswith("wiredoctor.rules.")]
    waiting = ["wiredoctor", "wiredoctor.__main__", "wiredoctor.cli.app", *rules, *({*commands} - capturing)]
    found: dict[str, Path] = {}
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = modules[name]
            waiting += _modules_imported(modules[name], modules)
    return found


def test_commands_that_read_captures_do_not_import_what_captures() -> None:
    found = modules_for_captures()
    assert {"wiredoctor.core.loop", "wiredoctor.cli.commands.mcp", "wiredoctor.mcp.server"} <= found.keys()
    assert not {part_of(path) for path in found.values()} & {"live", "recording"}


def _modules() -> dict[str, Path]:
    modules = {".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path for path in FILES}
    modules.pop("wiredoctor")
    return modules


def test_no_modules_import_each_other() -> None:
    """Neither when they load nor later, nor for type checkers."""
    modules = {**_modules(), "wiredoctor": PACKAGE / "__init__.py"}
    imports = {name: {one for one in _modules_imported(path, modules) if one != name} for name, path in modules.items()}
    while leaves := [name for name, needed in imports.items() if not needed & imports.keys()]:
        for name in leaves:
            del imports[name]
    assert not imports, f"in a circle, or reaching one: {', '.join(sorted(imports))}"


def _modules_imported(path: Path, modules: dict[str, Path]) -> Iterator[str]:
    """The modules that a file imports."""
    for name in imported(path.read_text("utf-8"), module_of(path)):
        yield from [one for one in (name, name.rpartition(".")[0]) if one in modules][:1]
