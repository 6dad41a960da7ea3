"""Test that the core stays readable: the size of functions and classes is limited, and the page that explains it only names
existing code.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CORE = ROOT / "wiredoctor" / "core"
PAGE = ROOT / "docs" / "pages" / "core.md"
FILES = {path.name: path for path in CORE.rglob("*.py") if path.name != "__init__.py"}
MODULES = sorted([*FILES.values(), *(ROOT / "wiredoctor" / "engine").glob("*.py")])

LONGEST_FUNCTION = 60
"""Lines."""

MAX_FIELDS = 32


def name(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def test_functions_and_classes_are_small() -> None:
    large: list[str] = []
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef) and (node.end_lineno or 0) - node.lineno >= LONGEST_FUNCTION:
                large.append(f"{name(path)}: {node.name}")
            if isinstance(node, ast.ClassDef) and len(fields(node)) > MAX_FIELDS:
                large.append(f"{name(path)}: {node.name}")
    assert not large


def fields(of: ast.ClassDef) -> set[str]:
    """Return the names of the attributes that a class assigns to itself."""
    targets = [t for n in ast.walk(of) for t in (n.targets if isinstance(n, ast.Assign) else [getattr(n, "target", None)])]
    return {t.attr for t in targets if isinstance(t, ast.Attribute) and isinstance(t.value, ast.Name) and t.value.id == "self"}


def test_the_page_names_functions_that_exist() -> None:
    rows = [row.split("|")[2:4] for row in re.findall(r"^\|.*`[\w/]+\.py`.*\|$", PAGE.read_text("utf-8"), re.MULTILINE)]
    assert len(rows) > 20
    for files, functions in rows:
        found: set[str] = set()
        for file in re.findall(r"`([\w/]+\.py)`", files + functions):
            path = FILES.get(Path(file).name, CORE.parent / file)
            found |= set(re.findall(r"^ *(?:def|class) (\w+)", path.read_text("utf-8"), re.MULTILINE))
        named = {part for span in re.findall(r"`([A-Za-z_./]+)`", functions) for part in span.removesuffix(".py").split(".")}
        files_named = {file.removesuffix(".py") for file in re.findall(r"`([\w/]+\.py)`", functions)}
        assert named - files_named <= found, f"{named - files_named - found} in {files}"
