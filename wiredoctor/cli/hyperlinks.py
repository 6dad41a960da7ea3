"""Decide from environment variables whether the terminal shows hyperlinks (OSC 8), because terminals cannot be queried."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from wiredoctor.cli import pager

_PROGRAMS = frozenset(("iTerm.app", "WezTerm", "vscode", "Hyper", "ghostty", "Tabby", "rio", "WarpTerminal"))
_TERMINALS = ("xterm-kitty", "xterm-ghostty", "alacritty", "foot", "contour", "wezterm", "mintty")
_OTHERS = ("WT_SESSION", "KITTY_WINDOW_ID", "DOMTERM", "ALACRITTY_WINDOW_ID")

_FIRST_VTE, _FIRST_KONSOLE = 5000, 210400
"""The first versions of VTE (GNOME Terminal and many others) and of Konsole that show hyperlinks."""

_FIRST_LESS = 566
"""The first version of less that passes hyperlinks on with -R."""


def has_hyperlinks(environment: Mapping[str, str] | None = None) -> bool:
    """Return whether the terminal is known to show hyperlinks. A pager, if used, must also be known to pass them on."""
    known = os.environ if environment is None else environment
    return _terminal_has_them(known) and _pager_passes_them()


def _terminal_has_them(known: Mapping[str, str]) -> bool:
    if known.get("TMUX") or known.get("STY"):  # the outer terminal is unknown, and old versions drop hyperlinks
        return False
    if known.get("TERM_PROGRAM") in _PROGRAMS or any(name in known for name in _OTHERS):
        return True
    if known.get("TERM", "").startswith(_TERMINALS):
        return True
    return _number(known.get("VTE_VERSION")) >= _FIRST_VTE or _number(known.get("KONSOLE_VERSION")) >= _FIRST_KONSOLE


def _pager_passes_them() -> bool:
    words = pager.command().split()
    if not words:
        return True
    if os.path.basename(words[0]) != "less":
        return False
    import subprocess

    options = " ".join((os.environ.get("LESS", pager.LESS), *words[1:]))
    try:
        said = subprocess.run([words[0], "--version"], capture_output=True, text=True, errors="replace", check=False).stdout
    except OSError:
        return False
    version = re.match(r"less (\d+)", said)
    return "R" in options and version is not None and int(version[1]) >= _FIRST_LESS


def _number(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() else 0
