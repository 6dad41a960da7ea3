"""The core: reads a capture packet by packet and writes event tables.

Its modules are compiled when wiredoctor is installed (build.py). They run interpreted if that was not possible, or if a source
has changed since. WIREDOCTOR_CORE=python or =compiled requests one of the two. The variable only chooses between files of this
folder, so whoever can set it for a command under sudo cannot choose whose code runs.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from importlib.machinery import SOURCE_SUFFIXES, FileFinder, ModuleSpec, SourceFileLoader

from wiredoctor.core.build import FOLDER, NOTE, SUFFIX, library

del sys.modules["wiredoctor.core.build"]  # or `python -m wiredoctor.core.build` would warn that it is loaded twice


def _find_obstacle() -> str:
    """Return why the compiled modules cannot be used, or an empty string if they can."""
    if not (FOLDER / (library() + SUFFIX)).exists():
        if any(FOLDER.glob(f"compiled_*{SUFFIX}")):
            return "its sources were changed after it was compiled"
        try:
            return (FOLDER / NOTE).read_text("utf-8").strip()
        except OSError:
            return "it was not compiled for this Python"
    try:
        import_module("librt.strings")
    except ImportError:
        return "librt is not installed"
    return ""


def _find_reason() -> str:
    """Return why the core runs interpreted, or an empty string if it runs compiled. Raise ImportError if WIREDOCTOR_CORE requests
    what cannot be had."""
    requested = os.environ.get("WIREDOCTOR_CORE", "")
    if requested not in ("", "python", "compiled"):
        raise ImportError(f"WIREDOCTOR_CORE is {requested!r}: it must be python or compiled")
    reason = "WIREDOCTOR_CORE=python" if requested == "python" else _find_obstacle()
    if reason and requested == "compiled":
        remedy = "WIREDOCTOR_CORE= python -m wiredoctor.core.build"
        raise ImportError(f"WIREDOCTOR_CORE=compiled, but the core is interpreted: {reason}; to compile it: {remedy}")
    return reason


class _SourceFinder:
    """Finds the .py files of this folder although compiled modules of the same names lie beside them."""

    files = FileFinder(str(FOLDER), (SourceFileLoader, SOURCE_SUFFIXES))

    @classmethod
    def find_spec(cls, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Return where a module of the core is, or None for any other module."""
        del path, target
        return cls.files.find_spec(name) if name.rpartition(".")[0] == __name__ else None


reason = _find_reason()
"""Why the core runs interpreted; empty if it runs compiled."""

if reason:
    sys.meta_path.insert(0, _SourceFinder)
