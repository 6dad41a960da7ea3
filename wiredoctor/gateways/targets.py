"""Request targets that a gateway rewrote: absolute-form that became origin-form (RFC 9112 section 3.2), and the beginning of a
path that became another, as nginx's proxy_pass, HAProxy's replace-path or a gateway of Kubernetes does."""

from __future__ import annotations

import re
from typing import NamedTuple

ABSOLUTE = r"^[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*"

_ABSOLUTE = re.compile(ABSOLUTE)


class Prefix(NamedTuple):
    """What a path begins with at the front, and at the back instead."""

    front: str
    back: str


def origin(target: str) -> str:
    """The target without scheme and authority."""
    found = _ABSOLUTE.match(target)
    if found is None:
        return target
    rest = target[found.end() :]
    return rest if rest.startswith("/") else "/" + rest


def rewriting(front: str, back: str) -> Prefix | None:
    """How the path of the one became that of the other; None where not even its last segment stayed, or the query changed."""
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
    """The last segment of the path, with the query."""
    path, mark, query = target.partition("?")
    return path.rpartition("/")[2] + mark + query
