"""The tables of a page as columns that its script reads: compact, ASCII, and without a sign that could be markup."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from wiredoctor.findings import printable, shorten
from wiredoctor.report import limited
from wiredoctor.report.words import clean

if TYPE_CHECKING:
    from wiredoctor.findings import Finding, Report
    from wiredoctor.report.html.row_limits import Kept

MOST_FINDINGS = 20_000

MOST_TEXT = 6_000_000
"""Characters of all targets of a page: of a hundred thousand long ones, each has this share of it."""
_LONGEST, _SHORTEST = 500, 48

_WORDS = ["request_method", "request_host", "response_reason", "response_content_type", "response_framing", "response_end_reason"]
_NUMBERS = [
    *("capture", "connection", "exchange", "response_status", "request_frame", "request_last_frame", "response_frame"),
    *("response_last_frame", "request_time", "server_time", "response_time", "request_body_bytes", "response_body_bytes"),
]
_OF_CONNECTIONS = [
    *("capture", "connection", "packets", "client_bytes", "server_bytes", "first_frame", "last_frame", "start", "end"),
    *("rtt_client", "rtt_server", "exchanges"),
]

Columns = dict[str, Any]
"""Name -> list of numbers; or of texts as {"words": [...], "at": [places in words]}."""


def packed(value: Any) -> str:
    """A value as JSON, deflated (RFC 1951), in base64: about a fifth of it, and no end tag of HTML can be in it."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    deflate = zlib.compressobj(6, wbits=-zlib.MAX_WBITS)
    return base64.b64encode(deflate.compress(text.encode()) + deflate.flush()).decode()


def unpacked(text: str) -> Any:
    """The value of `packed`."""
    return json.loads(zlib.decompress(base64.b64decode(text), wbits=-zlib.MAX_WBITS))


def exchange_columns(kept: Kept, connections: pl.DataFrame) -> Columns:
    """Times in ns: `start` is that of a row less that of the row before it; `response_at` counts from the start of its row,
    `connect_at` (the first SYN, below 0) likewise, and `connect` is from there to the SYN-ACK."""
    rows = kept.rows
    opened = connections.select(
        "capture", "connection", pl.lit(0, pl.Int32).alias("exchange"), pl.col("syn_time"), pl.col("newest_answer_time")
    )
    rows = rows.join(opened, on=["capture", "connection", "exchange"], how="left", maintain_order="left")
    answered = pl.col("syn_time").is_not_null() & (pl.col("newest_answer_time") >= pl.col("syn_time"))
    times = rows.select(
        start=pl.col("start") - pl.col("start").shift(1, fill_value=0),
        request_at=pl.col("request_start") - pl.col("start"),
        response_at=pl.col("response_start") - pl.col("start"),
        connect_at=pl.when(answered).then(pl.col("syn_time") - pl.col("start")),
        connect=pl.when(answered).then(pl.col("newest_answer_time") - pl.col("syn_time")),
    )
    limits = rows.select(limited.COLUMNS).iter_rows()
    width = min(_LONGEST, max(_SHORTEST, MOST_TEXT // max(rows.height, 1)))
    return {
        **{name: rows.get_column(name).to_list() for name in _NUMBERS},
        **{name: times.get_column(name).to_list() for name in times.columns},
        **{name: _dictionary(rows.get_column(name), 80) for name in _WORDS},
        "request_target": _dictionary(rows.get_column("request_target"), width),
        "limited": _dictionary(pl.Series("limited", [", ".join(limited.shares([*row])) for row in limits], pl.String), 120),
        "interim": [list(codes) if codes else 0 for codes in rows.get_column("interim").to_list()],
        "sides": (rows.get_column("has_request").cast(pl.Int8) + 2 * rows.get_column("has_response").cast(pl.Int8)).to_list(),
    }


def connection_columns(kept: Kept) -> Columns:
    """Times in ns since the first packet of the capture."""
    rows = kept.rows
    texts = ("client", "server", "protocol", "history", "closed_by", "close")
    return {
        **{name: rows.get_column(name).to_list() for name in _OF_CONNECTIONS},
        **{name: _dictionary(rows.get_column(name), 80) for name in texts},
    }


def finding_columns(findings: Sequence[Finding], places: dict[str, int], groups: dict[int, int]) -> Columns:
    """Of the first findings, in the order of JSON; `group` is the number of the section that speaks of one (-1: none does).
    Times in seconds."""
    some = findings[:MOST_FINDINGS]
    numbers = ("connection", "exchange", "status", "elapsed", "delay", "count")
    texts = {
        name: pl.Series(name, [clean(getattr(f, name) or "") for f in some], pl.String) for name in ("rule", "severity", "kind")
    }
    return {
        **{name: [getattr(f, name) for f in some] for name in numbers},
        **{name: _dictionary(column, 80) for name, column in texts.items()},
        "number": [f.number or place for place, f in enumerate(some, 1)],
        "capture": [places.get(f.capture, -1) for f in some],
        "group": [groups.get(id(f), -1) for f in some],
    }


def capture_names(report: Report) -> list[str]:
    """In the order of the report; `capture` of a row is the place in it."""
    return [clean(name) for name in dict.fromkeys(c.file for c in report.captures)]


def _dictionary(texts: pl.Series, width: int) -> Columns:
    words = texts.fill_null("").unique(maintain_order=True).to_frame("text").with_row_index("at")
    at = texts.fill_null("").to_frame("text").join(words, on="text", how="left", maintain_order="left")
    return {
        "words": [shorten(printable(text), width) for text in words.get_column("text").to_list()],
        "at": at.get_column("at").to_list(),
    }
