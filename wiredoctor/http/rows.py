"""Exchanges that are over, before they become columns of a table."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Generic, TypeVar

import numpy as np
import polars as pl

from wiredoctor.http.fields import Fields
from wiredoctor.http.head import StatusLine
from wiredoctor.http.message import RECORD, Record
from wiredoctor.http.spoken import Said
from wiredoctor.tables import Array

T = TypeVar("T")

Asked = tuple[str, str, Fields | None]
"""Method, version and fields of a request; empty and None where it was not captured."""
Answer = tuple[StatusLine | None, Fields | None]
"""Status line and fields of a response."""


@dataclass
class Coded(Generic[T]):
    """Rows that have few different values: these, and which of them each row has (n,)."""

    kinds: list[T]
    which: Array

    def __add__(self, other: Coded[T]) -> Coded[T]:
        """These rows and those behind them."""
        return Coded(self.kinds + other.kinds, np.concatenate((self.which, other.which + len(self.kinds))))

    def text(self, read: Callable[[T], str]) -> pl.Series:
        """A text of each row."""
        return pl.Series([read(kind) for kind in self.kinds], dtype=pl.String).gather(pl.Series(self.which))

    def values(self, read: Callable[[T], Any], dtype: type) -> Array:
        """A flag or number of each row."""
        kinds: Array = np.array([read(kind) for kind in self.kinds], dtype=dtype)
        return kinds[self.which]

    def only(self, rows: Array) -> Coded[T]:
        """Some of the rows."""
        some, which = np.unique(self.which[rows], return_inverse=True)
        return Coded([self.kinds[i] for i in some.tolist()], which)


@dataclass
class Rows:
    """Exchanges (n,): `request` and `response` (n, 16) in the order of RECORD, what their heads say, and where they were.

    `following` (n, 4): the first four numbers of the message that came next. `previous` (n, 3) as in
    conversation.Previous. `decided`: the deadline behind a close at which it was said, NEVER where something else was the reason.
    `over`, `final`: as in Exchange. `gap`: since when it is known that the connection's framing is not all in the capture, else
    NEVER.
    """

    request: Array
    response: Array
    targets: list[str]
    asked: Coded[Asked]
    answered: Coded[Answer]
    slot: Array
    connection: Array
    client: Array
    index: Array
    following: Array
    previous: Array
    decided: Array
    gap: Array
    over: Array
    final: Array
    upgraded: Array
    at_capture_end: Array

    def __add__(self, other: Rows) -> Rows:
        """These rows and those behind them."""
        joined: dict[str, Any] = {}
        for name, mine in vars(self).items():
            more = getattr(other, name)
            joined[name] = mine + more if isinstance(mine, (list, Coded)) else np.concatenate((mine, more))
        return Rows(**joined)


def rows_of(said: list[Said]) -> Rows:
    """What the readers said, as rows."""
    exchanges = [x for _, x, *_ in said]
    lines = [tuple(x.request_line or ("", "", "")) for x in exchanges]
    asked = [(method, version, x.request_fields) for (method, _, version), x in zip(lines, exchanges, strict=True)]
    answered = [(x.response_line, x.response_fields) for x in exchanges]
    conversations = [c for c, *_ in said]
    following = [number for *_, record, _, _ in said for number in record[:4]]
    return Rows(
        numbers([x.request for x in exchanges]), numbers([x.response for x in exchanges]),
        [target for _, target, _ in lines],
        coded(asked, [(method, version, id(fields)) for method, version, fields in asked]),
        coded(answered, [(id(line), id(fields)) for line, fields in answered]),
        whole([c.slot for c in conversations]), whole([c.connection for c in conversations]),
        whole([c.client for c in conversations]), whole([x.index for x in exchanges]),
        whole(following).reshape(-1, 4), whole([number for *_, previous, _ in said for number in previous]).reshape(-1, 3),
        whole([decided for *_, decided in said]), whole([c.gap for c in conversations]),
        whole([x.over for x in exchanges]), np.array([x.final for x in exchanges], dtype=bool),
        np.array([x.upgraded for x in exchanges], dtype=bool), np.array([at_end for _, _, at_end, *_ in said], dtype=bool),
    )  # fmt: skip


def numbers(records: list[Record]) -> Array:
    """Records as an array (n, 16)."""
    flat = np.fromiter(chain.from_iterable(records), np.int64, len(RECORD) * len(records))
    return flat.reshape(-1, len(RECORD))


def whole(values: Sequence[int]) -> Array:
    """64-bit integers."""
    return np.array(values, dtype=np.int64)


def coded(some: list[T], keys: list[Hashable]) -> Coded[T]:
    """Return rows of which those with equal keys have the same value: most heads of a connection are one object."""
    places: dict[Hashable, int] = {}
    which = whole([places.setdefault(key, len(places)) for key in keys])
    return Coded([some[i] for i in np.unique(which, return_index=True)[1].tolist()], which)


def each(some: list[T]) -> Coded[T]:
    """Rows of which each has its own value."""
    return Coded(some, np.arange(len(some)))
