"""The core: reads a capture packet by packet and writes event tables.

capture/ reads records and headers, tcp/ compares segments, http1/ reads messages, and rows/ writes tables. `Core.step` in loop.py
calls every step for a packet; docs/pages/core.md lists which function makes which decision. Some of them:

- retransmissions, new bytes, gaps in sequence numbers: tcp/delivery.py
- round trips, the delay of each ACK, window updates: tcp/acks.py; closed windows: tcp/closed_windows.py
- which segments may have waited for a delayed ACK: tcp/releases.py (what counts as delayed: rules/shared/delayed_acks.py)
- which retransmissions ended a stall: tcp/retransmission_stalls.py
- FIN and RST: tcp/closes.py; which HTTP messages they end: http1/endings.py
- how long HTTP waits at a gap: http1/stream.py
- Content-Length and other fields: http1/heads.py; the length of a body: http1/framing.py; when a message is complete:
  http1/message_ends.py
- which response answers which request: http1/pairing.py; when an exchange is final: http1/final_exchanges.py

The modules of the core are compiled when wiredoctor is installed (build.py). They run interpreted if they could not be
compiled, or if a source was changed later. WIREDOCTOR_CORE=python or =compiled requests one of the two. The variable only
chooses between files of these folders, so a user who can set it for a command under sudo cannot make the command run other code.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from importlib.machinery import SOURCE_SUFFIXES, ExtensionFileLoader, FileFinder, ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location

from wiredoctor.core.build import FOLDER, NOTE, SUFFIX, library, module_name, sources

del sys.modules["wiredoctor.core.build"]  # without this, `python -m wiredoctor.core.build` warns that the module is loaded twice

_LIBRARY = library()


def _find_obstacle() -> str:
    """Return the reason why the compiled modules cannot be used, or an empty string if they can."""
    if not (FOLDER / (_LIBRARY + SUFFIX)).exists():
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
    """Return the reason why the core runs interpreted, or "" if it runs compiled.

    Raise ImportError if WIREDOCTOR_CORE requests a mode that is not possible here.
    """
    requested = os.environ.get("WIREDOCTOR_CORE", "")
    if requested not in ("", "python", "compiled"):
        raise ImportError(f"WIREDOCTOR_CORE is {requested!r}: it must be python or compiled")
    reason = "WIREDOCTOR_CORE=python" if requested == "python" else _find_obstacle()
    if reason and requested == "compiled":
        remedy = "WIREDOCTOR_CORE= python -m wiredoctor.core.build"
        raise ImportError(f"WIREDOCTOR_CORE=compiled, but the core is interpreted: {reason}; to compile it: {remedy}")
    return reason


reason = _find_reason()
"""The reason why the core runs interpreted; empty if it runs compiled."""


_sources: dict[str, FileFinder] = {}
"""The finder of .py files for each package of the core; "" is the core itself."""


class _Finder:
    """Finds the compiled modules, which are all in one library, and the .py files of the others."""

    library = str(FOLDER / (_LIBRARY + SUFFIX))
    compiled: set[str] = set() if reason else {_LIBRARY, *map(module_name, sources())}

    @classmethod
    def find_spec(cls, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Return the location of a core module, or None for any other module."""
        del path, target
        if not name.startswith(f"{__name__}."):
            return None
        module = name.removeprefix(f"{__name__}.")
        if module in cls.compiled:
            return spec_from_file_location(name, cls.library, loader=ExtensionFileLoader(name, cls.library))
        package = module.rpartition(".")[0]
        if package not in _sources:
            _sources[package] = FileFinder(str(FOLDER / package), (SourceFileLoader, SOURCE_SUFFIXES))
        return _sources[package].find_spec(name)


sys.meta_path.insert(0, _Finder)
