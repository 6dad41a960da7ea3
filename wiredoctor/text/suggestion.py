"""Suggest known names for a name that does not exist."""

from __future__ import annotations

import re
from collections.abc import Iterable

_LONG = 4
"""The minimum length of a word that is compared by itself. Shorter words, such as ack, occur in many names."""

_FEW_WORDS = 3
"""The maximum number of words of a text that are compared one by one."""

_MAX_WORDS = 20
"""The maximum number of words of a text that are compared, because a pasted text may be long."""


def similar_names(text: str, known: Iterable[str], most: int) -> list[str]:
    """Return at most `most` known names: those similar to a text as a whole, then those with a word similar to one of its words.

    "nagel" is similar to a word of nagle-delayed-ack.
    """
    import difflib  # imported only when needed, because few runs suggest a name

    words, names = re.findall(r"[a-z0-9]+", text.lower())[:_MAX_WORDS], sorted(known)
    parts: dict[str, list[str]] = {}
    for name in names:
        for part in name.split("-"):
            if len(part) >= _LONG:
                parts.setdefault(part, []).append(name)
    whole = difflib.get_close_matches("-".join(words), names, n=most)
    few = words if len(words) <= _FEW_WORDS else []  # a sentence has a word that is similar to some name by chance
    close = [part for word in few for part in difflib.get_close_matches(word, [*parts], cutoff=0.75)]
    return [*dict.fromkeys([*whole, *(name for part in close for name in parts[part])])][:most]


def suggestion(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """Return "; did you mean X?" with the most similar known name, or `otherwise` if no name is similar."""
    similar = similar_names(name, known, 1)
    return f"; did you mean {similar[0]}?" if similar else otherwise
