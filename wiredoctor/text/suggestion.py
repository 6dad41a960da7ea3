"""Suggest a known name for a name that does not exist."""

from __future__ import annotations

from collections.abc import Iterable

_LONG = 4
"""The minimum length of a word that is compared by itself. Shorter words, such as ack, occur in many names."""


def suggestion(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """Return "; did you mean X?" with the most similar known name, or `otherwise` if no name is similar.

    A known name is also similar if one of its words is similar: "nagel" leads to nagle-delayed-ack.
    """
    import difflib  # imported only when needed, because few runs suggest a name

    wanted, names = name.lower().replace("_", "-"), sorted(known)
    whole = difflib.get_close_matches(wanted, names, n=1, cutoff=0.6)
    words: dict[str, str] = {}
    for one in names:
        for word in one.split("-"):
            if len(word) >= _LONG:
                words.setdefault(word, one)
    word = difflib.get_close_matches(wanted, words, n=1, cutoff=0.75)
    close = whole or [words[one] for one in word]
    return f"; did you mean {close[0]}?" if close else otherwise
