"""Exchanges that are over, before they become columns of a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, TypeVar

import numpy as np

from wiredoctor.http.conversation import Said
from wiredoctor.http.fields import Fields
from wiredoctor.http.head import StatusLine
from wiredoctor.http.message import RECORD, Record
from wiredoctor.tables import Array

T = TypeVar("T")


@dataclass
class Rows:
    """Exchanges (n,): `request` and `response` (n, 16) in the order of RECORD, what their heads say, and where they were.

    `following` (n, 4): the first four numbers of the message that came next. `previous_end`: when the exchange before was
    over; `previous_close`: whether its response said that the connection would close.
    """

    request: Array
    response: Array
    methods: list[str]
    targets: list[str]
    versions: list[str]
    status_lines: list[StatusLine | None]
    request_fields: list[Fields | None]
    response_fields: list[Fields | None]
    slot: Array
    connection: Array
    client: Array
    index: Array
    following: Array
    previous_end: Array
    previous_close: Array
    upgraded: Array
    at_capture_end: Array

    def __add__(self, other: Rows) -> Rows:
        """These rows and those behind them."""
        joined: dict[str, Any] = {}
        for name, mine in vars(self).items():
            more = getattr(other, name)
            joined[name] = mine + more if isinstance(mine, list) else np.concatenate((mine, more))
        return Rows(**joined)


def rows_of(said: list[Said]) -> Rows:
    """What the readers said, as rows."""
    exchanges = [x for _, x, *_ in said]
    lines = [x.request_line or ("", "", "") for x in exchanges]
    conversations = [c for c, *_ in said]
    following = [number for *_, record, _, _ in said for number in record[:4]]
    return Rows(
        numbers([x.request for x in exchanges]), numbers([x.response for x in exchanges]),
        [method for method, _, _ in lines], [target for _, target, _ in lines], [version for _, _, version in lines],
        [x.response_line for x in exchanges],
        [x.request_fields for x in exchanges], [x.response_fields for x in exchanges],
        whole([c.slot for c in conversations]), whole([c.connection for c in conversations]),
        whole([c.client for c in conversations]), whole([x.index for x in exchanges]),
        whole(following).reshape(-1, 4), whole([end for *_, end, _ in said]),
        np.array([close for *_, close in said], dtype=bool),
        np.array([x.upgraded for x in exchanges], dtype=bool), np.array([at_end for _, _, at_end, *_ in said], dtype=bool),
    )  # fmt: skip


def numbers(records: list[Record]) -> Array:
    """Records as an array (n, 16)."""
    flat = np.fromiter(chain.from_iterable(records), np.int64, len(RECORD) * len(records))
    return flat.reshape(-1, len(RECORD))


def whole(values: Sequence[int]) -> Array:
    """64-bit integers."""
    return np.array(values, dtype=np.int64)


def distinct(some: Sequence[T]) -> tuple[list[T], Array]:
    """The different objects among some, in the order of their first places, and which of them each is (n,)."""
    places: dict[int, int] = {}
    which = whole([places.setdefault(id(one), len(places)) for one in some])
    first = np.unique(which, return_index=True)[1]
    return [some[i] for i in first.tolist()], which
