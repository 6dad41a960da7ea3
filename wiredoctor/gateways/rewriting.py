"""Paths that a gateway rewrites: learned from pairs of which only the ends are alike."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import numpy as np
import polars as pl

from wiredoctor.gateways.edges import Allowed, Fronts, compared
from wiredoctor.gateways.rows import Rows, origin_form
from wiredoctor.gateways.targets import Prefix, rewriting
from wiredoctor.tables import Array

MOST_TARGETS = 10_000
"""Pairs of different targets from which rewritings are learned."""

LEAST = 2
"""Different targets from which on a rewriting is believed, although another explains the same beginning."""


def fronts_by_target(rows: Rows, exchanges: pl.LazyFrame, front: Array, back: Array, allowed: Allowed) -> Fronts:
    """The fronts by what they ask for, also by what that may become."""
    plain = Fronts(rows, rows.target[front], front)
    strange = back[~np.isin(rows.target[back], rows.target[front])]
    if not len(strange):
        return plain
    learned = _learned(rows, exchanges, front, back, strange, allowed)
    if not learned:
        return plain
    texts = _texts(exchanges, np.unique(rows.target[front]))
    key, more = [rows.target[front]], [front]
    for server, prefixes in learned.items():
        own = front[rows.server[front] == server]
        for prefix in prefixes:
            targets = [
                target for target in np.unique(rows.target[own]).tolist() if texts.get(target, "").startswith(prefix.front)
            ]
            changed = pl.Series([prefix.back + texts[target][len(prefix.front) :] for target in targets], dtype=pl.String)
            some = own[np.isin(rows.target[own], np.array(targets, np.int64))]
            place = np.searchsorted(np.array(targets, np.int64), rows.target[some])
            key.append(changed.hash().to_numpy().view(np.int64)[place])
            more.append(some)
    return Fronts(rows, np.concatenate(key), np.concatenate(more))


def _learned(
    rows: Rows, exchanges: pl.LazyFrame, front: Array, back: Array, strange: Array, allowed: Allowed
) -> dict[int, list[Prefix]]:
    """Endpoint of a front -> the rewritings that are believed there."""
    ends = Fronts(rows, rows.tail[front], front)
    # what is asked for behind as it is was not rewritten
    known = np.unique(rows.target[back])
    pairs: dict[tuple[int, int, int], None] = {}
    for b, f in compared(rows, ends, rows.tail[strange], strange, allowed):
        new = ~np.isin(rows.target[f], known)
        pairs.update(
            dict.fromkeys(
                zip(*(column.tolist() for column in (rows.server[f[new]], rows.target[f[new]], rows.target[b[new]])), strict=True)
            )
        )
        if len(pairs) >= MOST_TARGETS:
            break
    texts = _texts(exchanges, np.array([target for _, *both in pairs for target in both], np.int64))
    votes: defaultdict[int, defaultdict[Prefix, set[int]]] = defaultdict(lambda: defaultdict(set))
    for server, one, other in pairs:
        if one in texts and other in texts and (prefix := rewriting(texts[one], texts[other])) is not None:
            votes[server][prefix].add(other)
    return {server: believed for server, own in votes.items() if (believed := _believed(own))}


def _believed(votes: Mapping[Prefix, set[int]]) -> list[Prefix]:
    return sorted(
        prefix
        for prefix, targets in votes.items()
        if len(targets) >= LEAST or not any(other != prefix and other.front == prefix.front for other in votes)
    )


def _texts(exchanges: pl.LazyFrame, targets: Array) -> dict[int, str]:
    """The targets with these numbers."""
    wanted = pl.Series(np.unique(targets).view(np.uint64))
    text = origin_form().alias("text")
    found = exchanges.select(text).unique().with_columns(number=pl.col("text").hash())
    rows = (
        found.filter(pl.col("number").is_in(wanted.implode())).select(pl.col("number").reinterpret(signed=True), "text").collect()
    )
    return dict(rows.iter_rows())
