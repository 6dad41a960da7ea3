"""Compare request targets that a gateway rewrote.

A gateway may change the absolute form to the origin form (RFC 9112 section 3.2), or the prefix of a path, like nginx's
proxy_pass, HAProxy's replace-path or a Kubernetes gateway.
"""

from __future__ import annotations

import re
from typing import NamedTuple

ABSOLUTE = r"^[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*"

_ABSOLUTE = re.compile(ABSOLUTE)


class Prefix(NamedTuple):
    """A prefix of clients' paths (`front`), and the prefix with which a gateway replaces it in its own requests (`back`)."""

    front: str
    back: str


def origin(target: str) -> str:
    """Return the target without scheme and authority."""
    found = _ABSOLUTE.match(target)
    if found is None:
        return target
    rest = target[found.end() :]
    return rest if rest.startswith("/") else "/" + rest


def rewriting(front: str, back: str) -> Prefix | None:
    """Return how a gateway rewrote the path of the target `front` to the path of the target `back`.

    Return None if the paths are equal, or if their last segments or the queries differ.
    """
    (one, mark, query), (two, other_mark, other_query) = origin(front).partition("?"), origin(back).partition("?")
    if (mark, query) != (other_mark, other_query) or one == two:
        return None
    a, b = one.split("/"), two.split("/")
    same = 0
    while same < min(len(a), len(b)) - 1 and a[-1 - same] == b[-1 - same]:
        same += 1
    if not any(a[len(a) - same :]):
        return None
    return Prefix("/".join([*a[: len(a) - same], ""]), "/".join([*b[: len(b) - same], ""]))


def last(target: str) -> str:
    """Return the last segment of the path, including the query."""
    path, mark, query = target.partition("?")
    return path.rpartition("/")[2] + mark + query
