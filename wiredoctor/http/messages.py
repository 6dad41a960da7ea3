"""Messages that have ended, as rows of tables.MESSAGES."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from wiredoctor.http.conversation import Conversation
from wiredoctor.http.exchanges import FieldTable, message_columns
from wiredoctor.http.head import HeadParser
from wiredoctor.http.message import Message
from wiredoctor.tables import MESSAGES


def message_table(ended: list[tuple[Conversation, Message]], table: FieldTable, parser: HeadParser) -> pl.DataFrame:
    """One row per message, requests before responses."""
    frames: list[pl.DataFrame] = []
    for side, role in (("request", 0), ("response", 1)):
        some = [(c, m) for c, m in ended if (len(m.line) == 3 and isinstance(m.line[1], str)) == (role == 0)]
        if some:
            frames.append(_frame(some, side, role, table, parser))
    return pl.concat(frames) if frames else MESSAGES.empty()


def _frame(some: list[tuple[Conversation, Message]], side: str, role: int, table: FieldTable, parser: HeadParser) -> pl.DataFrame:
    table.refresh()
    prefixed: dict[str, Any] = {}
    message_columns(prefixed, side, [m for _, m in some], table)
    columns = {name.removeprefix(f"{side}_"): values for name, values in prefixed.items()}
    columns["connection"] = [c.connection for c, _ in some]
    columns["direction"] = [m.id & 1 for _, m in some]
    columns["role"] = [role] * len(some)
    columns["exchange"] = [m.exchange.index if m.exchange is not None else -1 for _, m in some]
    absent = pl.DataFrame(schema=MESSAGES.schema)
    for column in MESSAGES.columns:
        if column.name not in columns:
            empty: Any = "" if column.dtype == pl.String else False if column.dtype == pl.Boolean else -1
            columns[column.name] = pl.Series(column.name, [empty] * len(some), dtype=absent.schema[column.name])
    return MESSAGES.frame({name: columns[name] for name in absent.columns if name in columns} | {"connection": np.array(columns["connection"])})
