"""Messages that have ended, as rows of tables.MESSAGES."""

from __future__ import annotations

from typing import Any

import polars as pl

from wiredoctor.http.conversation import Conversation
from wiredoctor.http.exchanges import request_columns, response_columns
from wiredoctor.http.head import RequestLine, StatusLine
from wiredoctor.http.message import Message
from wiredoctor.http.rows import Asked, Coded, each, numbers
from wiredoctor.tables import CLIENT, MESSAGES, NONE, SERVER


def message_table(ended: list[tuple[Conversation, Message]]) -> pl.DataFrame:
    """One row per message, requests before responses."""
    frames: list[pl.DataFrame] = []
    for side, role in (("request", CLIENT), ("response", SERVER)):
        some = [(c, m) for c, m in ended if isinstance(m.line, RequestLine) == (role == CLIENT)]
        if some:
            frames.append(_frame(some, side, role))
    return pl.concat(frames) if frames else MESSAGES.empty()


def _frame(some: list[tuple[Conversation, Message]], side: str, role: int) -> pl.DataFrame:
    prefixed: dict[str, Any] = {}
    messages = [m for _, m in some]
    records = numbers([m.record() for m in messages])
    if role == CLIENT:
        asked = [(m.line, m.fields) for m in messages if isinstance(m.line, RequestLine)]
        heads: Coded[Asked] = each([(line.method, line.version, fields) for line, fields in asked])
        request_columns(prefixed, records, [line.target for line, _ in asked], heads)
    else:
        response_columns(prefixed, records, each([(m.line, m.fields) for m in messages if isinstance(m.line, StatusLine)]))
    columns = {name.removeprefix(f"{side}_"): values for name, values in prefixed.items()}
    columns["connection"] = [c.connection for c, _ in some]
    columns["direction"] = [m.id & 1 for m in messages]
    columns["role"] = [role] * len(some)
    columns["exchange"] = [NONE if m.exchange is None else m.exchange.index for m in messages]
    for column in MESSAGES.columns:
        if column.name not in columns:
            # what only the other side's messages have
            blank = NONE if column.sentinel is None else column.sentinel
            empty: Any = "" if column.dtype == pl.String else False if column.dtype == pl.Boolean else blank
            columns[column.name] = pl.Series([empty] * len(some), dtype=column.dtype)
    return MESSAGES.frame(columns)
