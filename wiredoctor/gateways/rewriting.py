"""Paths that a gateway rewrites: learned from pairs of which only the ends are alike."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import numpy as np
import polars as pl

from wiredoctor.gateways.edges import Allowed, Fronts, compared
from wiredoctor.gateways.order import Order
from wiredoctor.gateways.rows import Rows, origin_form
from wiredoctor.gateways.targets import Prefix, rewriting
from wiredoctor.tables import Array

MOST_TARGETS = 10_000
"""Pairs of different targets from which rewritings are learned."""

LEAST = 2
"""Different targets from which on a rewriting is believed, although another explains the same beginning."""


def fronts_by_target(rows: Rows, exchanges: pl.LazyFrame, front: Array, back: Array, order: Order) -> Fronts:
    """The fronts by what they ask for, also by what that may become."""
    key, more = [rows.target[front]], [front]
    for server in sorted({before for before, _ in order}):
        own = front[rows.server[front] == server]
        behind = {pair: hosts for pair, hosts in order.items() if pair[0] == server}
        servers = np.array([after for _, after in behind], np.int64)
        for one, other in _rewritten(rows, exchanges, own, back[np.isin(rows.server[back], servers)], Allowed(behind)):
            some = own[rows.target[own] == one]
            key.append(np.full(len(some), other))
            more.append(some)
    return Fronts(rows, np.concatenate(key), np.concatenate(more))


def _rewritten(rows: Rows, exchanges: pl.LazyFrame, front: Array, back: Array, allowed: Allowed) -> list[tuple[int, int]]:
    """Targets at a front and what they become behind it."""
    here, there = np.unique(rows.target[front]), np.unique(rows.target[back])
    strange = back[~np.isin(rows.target[back], here)]
    if not len(strange):
        return []
    # what is asked for behind as it is was not rewritten
    changed = front[~np.isin(rows.target[front], there)]
    if not len(changed):
        return []
    seen: dict[tuple[int, int], None] = {}
    for b, f in compared(rows, Fronts(rows, rows.tail[changed], changed), rows.tail[strange], strange, allowed):
        seen.update(dict.fromkeys(zip(rows.target[f].tolist(), rows.target[b].tolist(), strict=True)))
        if len(seen) >= MOST_TARGETS:
            break
    if not seen:
        return []
    texts = _texts(exchanges, np.unique(np.concatenate([rows.target[changed], rows.target[strange]])))
    votes: defaultdict[Prefix, set[int]] = defaultdict(set)
    for one, other in seen:
        if one in texts and other in texts and (prefix := rewriting(texts[one], texts[other])) is not None:
            votes[prefix].add(other)
    wanted = {text: number for number, text in texts.items()}
    return [
        (one, other)
        for prefix in _believed(votes)
        for one in here.tolist()
        if (text := texts.get(one, "")).startswith(prefix.front)
        and (other := wanted.get(prefix.back + text[len(prefix.front) :])) is not None
    ]


def _believed(votes: Mapping[Prefix, set[int]]) -> list[Prefix]:
    return sorted(
        prefix
        for prefix, targets in votes.items()
        if len(targets) >= LEAST or not any(other != prefix and other.front == prefix.front for other in votes)
    )


def _texts(exchanges: pl.LazyFrame, targets: Array) -> dict[int, str]:
    """Return the targets with these numbers."""
    wanted = pl.Series(targets.view(np.uint64))
    text = origin_form().alias("text")
    found = exchanges.select(text).unique().with_columns(number=pl.col("text").hash())
    rows = (
        found.filter(pl.col("number").is_in(wanted.implode())).select(pl.col("number").reinterpret(signed=True), "text").collect()
    )
    return dict(rows.iter_rows())
