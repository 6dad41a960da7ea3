"""Tables without the secrets that packets hold: what leaves the analysis, and what the rules of other packages see."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import polars as pl

from wiredoctor.masking import masked_host, masked_method, masked_reason, masked_target

_PAIR = r"(?:[A-Za-z0-9_.\[\]$-]{1,15}(?:=[!-%'-~]*)?)?"
_PLAIN = rf"^/[!\"$->@-~]*(?:\?{_PAIR}(?:&{_PAIR})*)?$"
"""A target in whose path nothing needs a mask, unless it holds one of these, and of whose query only the values do."""

_KEYS = r"(?i)session-?id|sids?(?:/|=|%3D)|token|pass|pwd|secret|key|otp|sig|magic|eyJ|/bot|//.*@"

_OF_REQUEST: dict[str, Callable[[str], str]] = {
    "method": masked_method, "target": masked_target, "host": masked_host, "referer": masked_target,
}  # fmt: skip
_MASKS: dict[str, dict[str, Callable[[str], str]]] = {
    "exchanges": {**{f"request_{n}": mask for n, mask in _OF_REQUEST.items()}, "response_reason": masked_reason},
    "messages": {**_OF_REQUEST, "reason": masked_reason},
}
"""Table -> its columns that may hold secrets, and what takes them out."""


def masked(table: str, rows: pl.LazyFrame) -> pl.LazyFrame:
    """The rows of a table; a column is masked when it is asked for."""
    masks = _MASKS.get(table, {})
    return rows.with_columns(_column(name, mask) for name, mask in masks.items()) if masks else rows


def all_masked(tables: Mapping[str, pl.LazyFrame]) -> dict[str, pl.LazyFrame]:
    """The same of several tables, by name."""
    return {name: masked(name, rows) for name, rows in tables.items()}


def _column(name: str, mask: Callable[[str], str]) -> pl.Expr:
    work = _targets if name.endswith("target") else partial(_each, mask)
    return pl.col(name).map_batches(work, return_dtype=pl.String, is_elementwise=True)


def _each(mask: Callable[[str], str], texts: pl.Series) -> pl.Series:
    """Few of them differ."""
    some = texts.unique()
    changed = {text: safe for text in some.drop_nulls().to_list() if (safe := mask(text)) != text}
    return texts.replace(changed) if changed else texts


def _targets(texts: pl.Series) -> pl.Series:
    """Plain targets by expressions, the others by `masked_target` itself."""
    path, query = texts.str.splitn("?", 2).struct.unnest().get_columns()
    result = path + ("?" + query.str.replace_all(r"([^&=]*=)?[^&]*", "${1}*")).fill_null("")
    special = (~texts.str.contains(_PLAIN) | texts.str.contains(_KEYS)).fill_null(value=False)
    if not special.any():
        return result
    repaired = pl.Series(texts.name, [masked_target(t) for t in texts.filter(special).to_list()], dtype=pl.String)
    return result.clone().scatter(special.arg_true(), repaired)
