"""Redact tables before they leave the analysis."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import polars as pl

from wiredoctor.text.redact import MASKED, masked_host, masked_method, masked_reason, masked_target, redact_words

_PAIR = r"(?:[A-Za-z0-9_.\[\]$-]{1,15}(?:=[!-%'-~]*)?)?"
_PLAIN = rf"^/[!\"$->@-~]*(?:\?{_PAIR}(?:&{_PAIR})*)?$"
"""Matches a simple target. Its path needs masking only if it matches _KEYS; in its query, only parameter values need masking."""

_KEYS = (
    r"(?i)session-?id|sids?(?:/|=|%3D)|token|pass|pwd|secret|key|otp|sig|magic|eyJ|/bot|//.*@|(?:AKI|ASI|AIz)A|gh[a-z]_|_pat_|lpat-"
    r"|_(?:live|test)_|whsec_|ya29|GOCSPX-|xox[a-z]-|xapp-|SG\.|npm_|hf_|sk-|(?:services|hooks?|workflows|triggers)/|webhook"
    r"|reset|recover|confirm|verif|activat|invit|unsub|opt[_-]*out|link|login"
)

_NAMELESS = "(?:^|&)[^=&]*(?:&|$)"
"""Matches a part of a query without `=`."""

_Masks = dict[str, Callable[[str], str]]

_OF_REQUEST: _Masks = {"method": masked_method, "target": masked_target, "host": masked_host, "referer": masked_target}
_OF_RESPONSE: _Masks = {
    "reason": masked_reason,
    "location": masked_target,
    "accel_buffering": partial(redact_words, "x-accel-buffering"),
}
_OF_BOTH: _Masks = {
    "upgrade": partial(redact_words, "upgrade"), "content_encoding": partial(redact_words, "content-encoding"),
}  # fmt: skip
_MASKS: dict[str, _Masks] = {
    "exchanges": {
        **{f"request_{name}": mask for name, mask in (_OF_REQUEST | _OF_BOTH).items()},
        **{f"response_{name}": mask for name, mask in (_OF_RESPONSE | _OF_BOTH).items()},
    },
    "closes": {"request_method": masked_method},
    "messages": _OF_REQUEST | _OF_RESPONSE | _OF_BOTH,
}
"""The columns of each table that may contain secrets, and the functions that mask them."""


def redact_table(table: str, rows: pl.LazyFrame) -> pl.LazyFrame:
    """Return the rows of a table with MASKED in place of secrets. Masking is lazy."""
    masks = _MASKS.get(table, {})
    return rows.with_columns(_column(name, mask) for name, mask in masks.items()) if masks else rows


def _column(name: str, mask: Callable[[str], str]) -> pl.Expr:
    work = _targets if name.endswith("target") else partial(_map_distinct, mask)
    return pl.col(name).map_batches(work, return_dtype=pl.String, is_elementwise=True)


def _map_distinct(mask: Callable[[str], str], texts: pl.Series) -> pl.Series:
    """Mask the texts. Each distinct text is masked only once, because most texts repeat."""
    some = texts.unique()
    changed = {text: safe for text in some.drop_nulls().to_list() if (safe := mask(text)) != text}
    return texts.replace(changed) if changed else texts


def _query(query: pl.Series) -> pl.Series:
    """Mask the values in queries, and the parts of queries without `=`.

    If every part has a `=`, a simpler regular expression is enough and takes a quarter of the time.
    """
    if query.str.contains(_NAMELESS).any():
        return query.str.replace_all(r"([^&=]*=)?[^&]*", f"${{1}}{MASKED}")
    return query.str.replace_all("=[^&]*", f"={MASKED}")


def _targets(texts: pl.Series) -> pl.Series:
    """Mask simple targets with Polars expressions, which are fast, and the others with `masked_target`."""
    path, query = texts.str.splitn("?", 2).struct.unnest().get_columns()
    result = path + ("?" + _query(query)).fill_null("")
    special = (~texts.str.contains(_PLAIN) | texts.str.contains(_KEYS)).fill_null(value=False)
    if not special.any():
        return result
    repaired = pl.Series(texts.name, [masked_target(t) for t in texts.filter(special).to_list()], dtype=pl.String)
    return result.clone().scatter(special.arg_true(), repaired)
