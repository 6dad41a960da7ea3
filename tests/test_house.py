"""Test the structure of the package: few top-level names, unique file names, and names that say what a thing is or does."""

import re
from collections import Counter
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "wiredoctor"
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if "stubs" not in path.parts)
MEANT_TWINS = {"__init__", "__main__", "run", "result", "compare"}
VAGUE = {
    "added", "again", "anew", "asked", "at_work", "before", "behind", "beside", "both", "each", "every", "faulty",
    "guarded", "heard", "here", "how", "known", "looked", "met", "narrow", "of_the_capture", "patience", "quoted",
    "rest", "said", "seen", "settle", "shown", "spoken", "standing", "stepped", "tell", "told", "told_once", "unkept",
    "unstepped", "usual", "wanted", "well", "what", "where", "whole", "whose",
}  # fmt: skip
"""Names that say neither what a function returns nor what it changes."""
DEFINITION = re.compile(r"^ *(?:async )?(?:def|class) (\w+)", re.MULTILINE)


def test_few_modules_are_at_the_top() -> None:
    top = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__", "__main__"}
    assert len(top) <= 8, sorted(top)


def test_no_file_name_is_in_three_folders() -> None:
    counts = Counter(path.stem for path in MODULES)
    assert {name for name, number in counts.items() if number > 2} <= MEANT_TWINS


def test_no_function_or_class_has_a_vague_name() -> None:
    found = {
        str(path.relative_to(PACKAGE)): vague
        for path in MODULES
        if (vague := {name.strip("_").lower() for name in DEFINITION.findall(path.read_text("utf-8"))} & VAGUE)
    }
    assert found == {}
