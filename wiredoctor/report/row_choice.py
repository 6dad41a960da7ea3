"""Define what a user can choose for a table: the rows, their order, and how they are grouped."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Literal, NamedTuple

from wiredoctor.text.regex import Regex

_STATUS = Regex(r"[1-5](?:[0-9]{2}|xx)|any|none", re.IGNORECASE)


TableName = Literal["connections", "exchanges"]


class Order(StrEnum):
    """The order of lines: by time, or by another value in descending order. Order by status applies to exchanges only."""

    time = "time"
    duration = "duration"
    status = "status"
    size = "size"


class RowChoice(NamedTuple):
    """The choice of the rows to print, and their order.

    `statuses`: texts such as "502" and "5xx"; "any" stands for any final response, "none" for no final response. `slow`: the
    minimum duration in ns. `top`: the maximum number of rows. `streams`: only exchanges whose response is an event stream.
    """

    statuses: tuple[str, ...] = ()
    slow: int | None = None
    top: int | None = None
    order: Order = Order.time
    streams: bool = False


def parse_statuses(texts: list[str]) -> tuple[str, ...]:
    """Split comma-separated lists of "502", "5xx", "any" and "none". Raise ValueError, with the first invalid part as its
    message.
    """
    parts = [part.strip().lower() for text in texts for part in text.split(",")]
    for part in parts:
        if not _STATUS.fullmatch(part):
            raise ValueError(part)
    return tuple(parts)


class Grouping(StrEnum):
    """The property of exchanges by which the rows of the statistics are grouped."""

    server = "server"
    host = "host"
    path = "path"
    client = "client"


class ServerOrder(StrEnum):
    """The order of the rows of servers.

    If rows are sorted by a time (`p50` to `max`), rows with too few responses for this time come last, sorted by their longest
    time.
    """

    failed = "failed"
    requests = "requests"
    p50 = "p50"
    p95 = "p95"
    p99 = "p99"
    max = "max"
    lost = "lost"
    names = "name"
