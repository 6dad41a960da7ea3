"""Which core runs: the compiled or the interpreted one, and that it is the one requested."""

from __future__ import annotations

import os
from importlib import import_module

import pytest

from wiredoctor import core
from wiredoctor.core import build

MODULES = [build.module_name(path) for path in build.sources()]


def expected() -> str:
    """Return what WIREDOCTOR_CORE requests; without it a compiled core, if this machine can compile."""
    requested = os.environ.get("WIREDOCTOR_CORE")
    try:
        return requested or ("compiled" if build.find_compiler() else "python")
    except build.BuildError:
        return "python"


def test_the_core_that_runs_is_the_one_requested() -> None:
    hint = f"the core runs interpreted: {core.reason}; compile it with: python -m wiredoctor.core.build"
    assert ("python" if core.reason else "compiled") == expected(), hint


@pytest.mark.parametrize("name", MODULES)
def test_every_module_is_of_the_same_kind(name: str) -> None:
    """A mixture of compiled and interpreted modules would be slow without any sign of it."""
    file = import_module(f"wiredoctor.core.{name}").__file__
    assert file is not None
    assert file.endswith(".py" if core.reason else build.SUFFIX)


@pytest.mark.skipif(bool(core.reason), reason="only compiled code checks types")
@pytest.mark.parametrize("name", MODULES)
def test_fields_of_compiled_objects_have_types(name: str) -> None:
    """None in place of a number or a flag is an error where it is stored, and no wrong number where it is read."""
    module = import_module(f"wiredoctor.core.{name}")
    own = (one for one in vars(module).values() if isinstance(one, type) and one.__module__ == module.__name__)
    kinds = [kind for kind in own if not issubclass(kind, tuple)]  # a tuple cannot be changed
    objects = [made for made in map(make, kinds) if made is not None]
    fields = [(made, field) for made in objects for field in dir(made) if type(getattr(made, field)) in (int, bool)]
    for made, field in fields:
        with pytest.raises(TypeError):
            setattr(made, field, None)


@pytest.mark.parametrize("name", ["limits.py", "tables/*.py"])
def test_no_constant_from_outside_is_compiled_in(name: str) -> None:
    """mypyc copies the value of a Final into the modules that import it, and the digest covers the core alone."""
    files = [*build.FOLDER.parent.glob(name)]
    assert files
    assert not [path for path in files if "Final" in path.read_text("utf-8")]


def make(kind: type) -> object | None:
    """Return an object of a class that can be made without arguments."""
    try:
        return kind()
    except TypeError:
        return None
