"""Encode the tables of a page as columns for the page's script: compact, in ASCII, and without special characters of HTML."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from wiredoctor.findings import Finding, Report, printable, shorten
from wiredoctor.report import transfer_limits
from wiredoctor.report.failed_requests import failed_exchanges
from wiredoctor.report.words import clean

if TYPE_CHECKING:
    from wiredoctor.report.html.row_limits import LimitedRows

MAX_FINDINGS = 20_000

MAX_TEXT = 6_000_000
"""The approximate maximum number of characters of all request targets on a page together.

It is divided by the number of exchanges. Targets longer than the result are cut, but keep at least _SHORTEST and at most _LONGEST
characters.
"""
_LONGEST, _SHORTEST = 500, 48

_WORDS = ["request_method", "request_host", "response_reason", "response_content_type", "response_framing", "response_end_reason"]
_NUMBERS = [
    *("capture", "connection", "exchange", "response_status", "request_frame", "request_last_frame", "response_frame"),
    *("response_last_frame", "request_time", "server_time", "response_time", "request_body_bytes", "response_body_bytes"),
    *("until", "wait"),
]
_OF_CONNECTIONS = [
    *("capture", "connection", "packets", "client_bytes", "server_bytes", "first_frame", "last_frame", "start", "end"),
    *("rtt_client", "rtt_server", "exchanges"),
]

Columns = dict[str, Any]
"""Columns by name: numbers, or texts as {"words": [...], "at": [indices into words]}."""


def pack(value: Any) -> str:
    """Encode a value as deflated JSON (RFC 1951) in base64: about a fifth of the size, and no text can look like an HTML tag."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    deflate = zlib.compressobj(6, wbits=-zlib.MAX_WBITS)
    return base64.b64encode(deflate.compress(text.encode()) + deflate.flush()).decode()


def unpack(text: str) -> Any:
    """Decode the result of `pack`."""
    return json.loads(zlib.decompress(base64.b64decode(text), wbits=-zlib.MAX_WBITS))


def exchange_columns(kept: LimitedRows, connections: pl.DataFrame) -> Columns:
    """Return the columns of exchanges; times are in ns.

    `start` is the difference from the start of the previous row. `request_at`, `response_at`, `until` and `connect_at` (the first
    SYN, usually negative) are relative to the start of the exchange. `connect` is the time from the first SYN to the last
    SYN-ACK.
    """
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
    # most responses of a long capture are too short for any limit
    limits = rows.select(transfer_limits.COLUMNS).iter_rows()
    width = min(_LONGEST, max(_SHORTEST, MAX_TEXT // max(rows.height, 1)))
    return {
        **{name: rows.get_column(name).to_list() for name in _NUMBERS},
        **{name: times.get_column(name).to_list() for name in times.columns},
        **{name: _dictionary(rows.get_column(name), 80) for name in _WORDS},
        "request_target": _dictionary(rows.get_column("request_target"), width),
        "limited": _dictionary(
            pl.Series("limited", [", ".join(transfer_limits.shares([*row])) if any(row) else "" for row in limits], pl.String),
            120,
        ),
        "interim": [list(codes) if codes else 0 for codes in rows.get_column("interim").to_list()],
        "sides": (rows.get_column("has_request").cast(pl.Int8) + 2 * rows.get_column("has_response").cast(pl.Int8)).to_list(),
    }


def front_rows(report: Report, rows: pl.DataFrame, names: Sequence[str]) -> list[int]:
    """Return, for each row, the index in `rows` of the client's exchange for which a gateway sent the request of the row.

    The index is -1 if no gateway sent the request. The list is empty if all values would be -1.
    """
    key = ["capture", "connection", "exchange"]
    tries = [
        known.tries.filter(pl.col("certain") & pl.col("exchange").is_not_null()).with_columns(
            pl.lit(names.index(capture), pl.Int32).alias("capture")
        )
        for capture, known in report.gateways.items()
        if known.tries.height and capture in names
    ]
    if not tries:
        return []
    places = rows.select(key).with_row_index("row").with_columns(pl.col("row").cast(pl.Int64))
    fronts = places.rename({"connection": "front_connection", "exchange": "front_exchange", "row": "front"})
    known = pl.concat(tries).join(fronts, on=["capture", "front_connection", "front_exchange"]).select(*key, "front")
    joined = places.join(known, on=key, how="left", maintain_order="left").get_column("front").fill_null(-1)
    return joined.to_list() if (joined >= 0).any() else []


def failed_rows(report: Report, rows: pl.DataFrame, names: Sequence[str]) -> list[int]:
    """Return the indices in `rows` of the exchanges that failed according to the findings."""
    key = ["capture", "connection", "exchange"]
    numbers = {name: number for number, name in enumerate(names)}
    places = [(numbers[capture], *place) for capture, *place in failed_exchanges(report) if capture in numbers]
    schema = {"capture": pl.Int32(), "connection": pl.Int64(), "exchange": pl.Int32()}
    failed = pl.DataFrame(places, schema, orient="row")
    numbered = rows.select(key).with_row_index("row")
    return numbered.join(failed, on=key, how="semi", maintain_order="left").get_column("row").to_list()


def connection_columns(kept: LimitedRows) -> Columns:
    """Return the columns of the connections; times are in ns since the first packet of the capture."""
    rows = kept.rows
    texts = ("client", "server", "protocol", "history", "closed_by", "close")
    return {
        **{name: rows.get_column(name).to_list() for name in _OF_CONNECTIONS},
        **{name: _dictionary(rows.get_column(name), 80) for name in texts},
    }


def finding_columns(findings: Sequence[Finding], places: dict[str, int], groups: dict[int, int]) -> Columns:
    """Return the columns of the first MAX_FINDINGS findings in JSON order; times are in seconds.

    The column `group` has the number of the finding's section on the page, or -1.
    """
    some = findings[:MAX_FINDINGS]
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
    """Return the names of captures in report order. The column `capture` has indexes into this list."""
    return [clean(name) for name in dict.fromkeys(c.file for c in report.captures)]


def _dictionary(texts: pl.Series, width: int) -> Columns:
    words = texts.fill_null("").unique(maintain_order=True).to_frame("text").with_row_index("at")
    at = texts.fill_null("").to_frame("text").join(words, on="text", how="left", maintain_order="left")
    return {
        "words": [shorten(printable(text), width) for text in words.get_column("text").to_list()],
        "at": at.get_column("at").to_list(),
    }
