"""What the scripts of captures/lab import of one another is there: most of them run once in a while, by hand."""

from __future__ import annotations

import ast
from pathlib import Path

LAB = Path(__file__).parents[2] / "captures" / "lab"


def names(tree: ast.Module) -> set[str]:
    """Return the names that a script defines or imports anywhere."""
    found = set[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found.update(alias.asname or alias.name for alias in node.names)
    return found


def test_what_is_imported_is_there() -> None:
    trees = {path.stem: ast.parse(path.read_text()) for path in LAB.glob("*.py")}
    imports = [
        (script, node.module, alias.name)
        for script, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module in trees
        for alias in node.names
    ]
    assert len(imports) > 100
    assert [one for one in imports if one[2] not in names(trees[one[1]])] == []
