"""Learn how a gateway rewrites paths, from pairs whose targets have equal last segments."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping

import numpy as np
import polars as pl

from wiredoctor.gateways.edges import Allowed, ForwardedFor, Fronts, possible_pairs
from wiredoctor.gateways.exchange_columns import Rows, origin_form
from wiredoctor.gateways.order import Order
from wiredoctor.gateways.targets import Prefix, rewriting
from wiredoctor.tables import Array

MAX_TARGETS = 10_000
"""The maximum number of pairs of different targets that are used to learn rewritings."""

LEAST = 2
"""The minimum number of different targets that prove that a gateway replaces one prefix with another.

A single target is enough if no other target suggests another replacement of the same prefix.
"""


def fronts_by_target(
    rows: Rows, exchanges: pl.LazyFrame, front: Array, back: Array, order: Order,
    targets: Callable[[Array], Array] | None = None, *, least: int = 1,
) -> Fronts:  # fmt: skip
    """Return the exchanges of gateways' clients by target.

    An exchange can be looked up by its own target, and by each target that the gateway may send instead. `front`: the rows of
    these exchanges. `back`: the rows of the gateways' own requests. `targets`: returns the targets of all exchanges at some
    endpoints, if `rows` are only some of these exchanges. `least`: the minimum number of targets that one rewriting
    explains; more requests than that are enough, too.
    """
    key, more = [rows.target[front]], [front]
    for server in sorted({before for before, _ in order}):
        own = front[rows.server[front] == server]
        behind = {pair: hosts for pair, hosts in order.items() if pair[0] == server}
        servers = np.array([after for _, after in behind], np.int64)
        inside = back[np.isin(rows.server[back], servers)]
        here, there = (
            (np.unique(rows.target[own]), np.unique(rows.target[inside]))
            if targets is None
            else (targets(np.array([server])), targets(servers))
        )
        for one, other in _rewritten(rows, exchanges, (own, here), (inside, there), Allowed(behind), least):
            some = own[rows.target[own] == one]
            key.append(np.full(len(some), other))
            more.append(some)
    return Fronts(rows, np.concatenate(key), np.concatenate(more))


def _rewritten(
    rows: Rows, exchanges: pl.LazyFrame, at_front: tuple[Array, Array], at_back: tuple[Array, Array], allowed: Allowed, least: int
) -> list[tuple[int, int]]:
    """Return pairs of targets that a gateway rewrote: the client's target, and the gateway's target for the same request.

    `at_front`, `at_back`: the rows on either side of the gateway, and the targets of all exchanges there.
    """
    (front, here), (back, there) = at_front, at_back
    strange = back[~np.isin(rows.target[back], here)]
    if not len(strange):
        return []
    # a target that also occurs at the back was not rewritten
    changed = front[~np.isin(rows.target[front], there)]
    if not len(changed):
        return []
    seen: dict[tuple[int, int], None] = {}
    fronts = Fronts(rows, rows.tail[changed], changed)
    for b, f in possible_pairs(rows, fronts, rows.tail[strange], strange, allowed, ForwardedFor(rows)):
        seen.update(dict.fromkeys(zip(rows.target[f].tolist(), rows.target[b].tolist(), strict=True)))
        if len(seen) >= MAX_TARGETS:
            break
    if not seen:
        return []
    texts = _texts(exchanges, np.unique(np.concatenate([rows.target[changed], rows.target[strange]])))
    votes: defaultdict[Prefix, set[int]] = defaultdict(set)
    for one, other in seen:
        if one in texts and other in texts and (prefix := rewriting(texts[one], texts[other])) is not None:
            votes[prefix].add(other)
    wanted = {text: number for number, text in texts.items()}
    pairs = (
        [
            (one, other)
            for one in here.tolist()
            if (text := texts.get(one, "")).startswith(prefix.front)
            and (other := wanted.get(prefix.back + text[len(prefix.front) :])) is not None
        ]
        for prefix in _credible_prefixes(votes)
    )
    requests = [Counter[int](rows.target[some].tolist()) for some in (changed, strange)]
    return [
        pair
        for some in pairs
        if len(some) >= least or sum(min(requests[0][one], requests[1][other]) for one, other in some) > least
        for pair in some
    ]


def _credible_prefixes(votes: Mapping[Prefix, set[int]]) -> list[Prefix]:
    return sorted(
        prefix
        for prefix, targets in votes.items()
        if len(targets) >= LEAST or not any(other != prefix and other.front == prefix.front for other in votes)
    )


def _texts(exchanges: pl.LazyFrame, targets: Array) -> dict[int, str]:
    """Return the texts of the targets whose hashes are in `targets`, by hash."""
    wanted = pl.Series(targets.view(np.uint64))
    text = origin_form().alias("text")
    found = exchanges.select("request_target").unique().select(text).unique().with_columns(number=pl.col("text").hash())
    rows = (
        found.filter(pl.col("number").is_in(wanted.implode())).select(pl.col("number").reinterpret(signed=True), "text").collect()
    )
    return dict(rows.iter_rows())
