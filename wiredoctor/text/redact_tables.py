"""Tables without the secrets that packets hold: what leaves the analysis, and what the rules of other packages see."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import polars as pl

from wiredoctor.text.redact import masked_host, masked_method, masked_reason, masked_target, masked_words

_PAIR = r"(?:[A-Za-z0-9_.\[\]$-]{1,15}(?:=[!-%'-~]*)?)?"
_PLAIN = rf"^/[!\"$->@-~]*(?:\?{_PAIR}(?:&{_PAIR})*)?$"
"""A target in whose path nothing needs a mask, unless it holds one of these, and of whose query only the values do."""

_KEYS = (
    r"(?i)session-?id|sids?(?:/|=|%3D)|token|pass|pwd|secret|key|otp|sig|magic|eyJ|/bot|//.*@|(?:AKI|ASI|AIz)A|gh[a-z]_|_pat_|lpat-"
    r"|_(?:live|test)_|whsec_|ya29|GOCSPX-|xox[a-z]-|xapp-|SG\.|npm_|hf_|sk-|(?:services|hooks?|workflows|triggers)/|webhook"
    r"|reset|recover|confirm|verif|activat|invit|unsub|opt[_-]*out|link|login"
)

_NAMELESS = "(?:^|&)[^=&]*(?:&|$)"
"""A part of a query without `=`."""

_Masks = dict[str, Callable[[str], str]]

_OF_REQUEST: _Masks = {"method": masked_method, "target": masked_target, "host": masked_host, "referer": masked_target}
_OF_RESPONSE: _Masks = {"reason": masked_reason, "accel_buffering": partial(masked_words, "x-accel-buffering")}
_OF_BOTH: _Masks = {
    "upgrade": partial(masked_words, "upgrade"), "content_encoding": partial(masked_words, "content-encoding"),
}  # fmt: skip
_MASKS: dict[str, _Masks] = {
    "exchanges": {
        **{f"request_{name}": mask for name, mask in (_OF_REQUEST | _OF_BOTH).items()},
        **{f"response_{name}": mask for name, mask in (_OF_RESPONSE | _OF_BOTH).items()},
    },
    "closes": {"request_method": masked_method},
    "messages": _OF_REQUEST | _OF_RESPONSE | _OF_BOTH,
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


def _query(query: pl.Series) -> pl.Series:
    """Queries with `*` for each value, and for what has no name. To replace without a group takes a quarter of the time."""
    if query.str.contains(_NAMELESS).any():
        return query.str.replace_all(r"([^&=]*=)?[^&]*", "${1}*")
    return query.str.replace_all("=[^&]*", "=*")


def _targets(texts: pl.Series) -> pl.Series:
    """Plain targets by expressions, the others by `masked_target` itself."""
    path, query = texts.str.splitn("?", 2).struct.unnest().get_columns()
    result = path + ("?" + _query(query)).fill_null("")
    special = (~texts.str.contains(_PLAIN) | texts.str.contains(_KEYS)).fill_null(value=False)
    if not special.any():
        return result
    repaired = pl.Series(texts.name, [masked_target(t) for t in texts.filter(special).to_list()], dtype=pl.String)
    return result.clone().scatter(special.arg_true(), repaired)
