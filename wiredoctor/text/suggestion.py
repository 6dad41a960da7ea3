"""Suggest a known name for a name that does not exist."""

from __future__ import annotations

from collections.abc import Iterable


def suggestion(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """Return "; did you mean X?" with the most similar known name, or `otherwise` if no name is similar."""
    import difflib  # few runs suggest a name

    close = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else otherwise
