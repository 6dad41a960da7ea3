"""Match request targets that a proxy rewrote.

The absolute form becomes the origin form (RFC 9112 section 3.2), or a path prefix is replaced, as by nginx's proxy_pass,
HAProxy's replace-path or a Kubernetes gateway.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping

import polars as pl

from wiredoctor.gateways.targets import Prefix, last, origin, rewriting

MAX_KINDS = 400
"""The maximum number of pairs of method and target per side whose paths are compared."""

MAX_PREFIXES = 20

LEAST_KINDS = 2
LEAST_REQUESTS = 3
"""The minimum number of different targets or of requests that must match after a path prefix is replaced.

Fewer matches may be a coincidence, because requests cannot be matched by time while the clock difference is unknown.
"""

Kind = tuple[str, str]
"""A method and a request target in origin form."""


def alike(front: pl.DataFrame, back: pl.DataFrame) -> tuple[pl.Series, pl.Series]:
    """Return the targets of all front rows and of all back rows in origin form.

    A front target that the proxy rewrote is replaced by its form at the back.
    """
    here, there = _kinds(front), _kinds(back)
    renamed = _renamed_kinds(here, there)
    methods = front["request_method"].to_list()
    return (
        pl.Series([renamed.get(kind, kind[1]) for kind in zip(methods, _targets(front), strict=True)], dtype=pl.String),
        pl.Series(_targets(back), dtype=pl.String),
    )


def _targets(rows: pl.DataFrame) -> list[str]:
    return [origin(target or "") for target in rows["request_target"].to_list()]


def _kinds(rows: pl.DataFrame) -> Counter[Kind]:
    asked = rows.filter("has_request")
    return Counter(zip(asked["request_method"].to_list(), _targets(asked), strict=True))


def _renamed_kinds(front: Mapping[Kind, int], back: Mapping[Kind, int]) -> dict[Kind, str]:
    """Return the target at the back for each (method, target) at the front whose path prefix the proxy replaced.

    `front`, `back`: the number of requests for each (method, target).
    """
    lost = {kind: count for kind, count in front.items() if kind not in back}
    new = {kind: count for kind, count in back.items() if kind not in front}
    renamed: dict[Kind, str] = {}
    for _ in range(MAX_PREFIXES):
        prefix = _commonest(lost, new)
        if prefix is None:
            break
        for one, other in _renaming(prefix, lost, new):
            renamed[one] = other[1]
            del lost[one], new[other]
    return renamed


def _commonest(front: Mapping[Kind, int], back: Mapping[Kind, int]) -> Prefix | None:
    """Return the prefix replacement that explains the most targets.

    If several explain equally many, return the one with the most requests; if none explains enough targets or requests, None.
    """
    ends: dict[tuple[str, str], list[tuple[str, int]]] = defaultdict(list)
    for method, target in sorted(front, key=lambda kind: -front[kind])[:MAX_KINDS]:
        ends[method, last(target)].append((target, front[method, target]))
    votes = Counter[Prefix]()
    for method, target in sorted(back, key=lambda kind: -back[kind])[:MAX_KINDS]:
        for other, count in ends.get((method, last(target)), ()):
            if (prefix := rewriting(other, target)) is not None:
                votes[prefix] += min(count, back[method, target])
    best: tuple[int, int, Prefix] | None = None
    for prefix, _ in votes.most_common(MAX_PREFIXES):
        pairs = _renaming(prefix, front, back)
        requests = sum(min(front[one], back[other]) for one, other in pairs)
        if len(pairs) >= LEAST_KINDS or requests >= LEAST_REQUESTS:
            best = max(best or (0, 0, prefix), (len(pairs), requests, prefix))
    return best[2] if best else None


def _renaming(prefix: Prefix, front: Mapping[Kind, int], back: Mapping[Kind, int]) -> list[tuple[Kind, Kind]]:
    """Return the pairs of (method, target) at the front and at the back that differ only by the replacement `prefix`."""
    named = (
        ((method, target), (method, prefix.back + target[len(prefix.front) :]))
        for method, target in front
        if target.startswith(prefix.front)
    )
    return [(one, other) for one, other in named if other in back]
