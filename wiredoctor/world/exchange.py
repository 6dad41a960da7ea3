"""Describe exchanges as their clients see them, and attempts to connect.

Whoever asks about both sides of a gateway, or about what a client did after a failure, reads these types from rows of the tables.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

import polars as pl

from wiredoctor.tables import AT_THE_CLOSE, BEFORE, CONNECTIONS, NOTHING, SECOND, WHOLE

LATE = 1 << 62
"""The time of an event that did not happen."""

SERVER_ERROR = 500
"""The lowest status of a server error (RFC 9110 section 15.6). Gateways generate such responses, and servers do, too."""

REQUEST_TIMEOUT = 408
"""The status for a request that did not come in time (RFC 9110 section 15.5.9).

Filtering proxies (e2guardian, ziproxy) also answer with it, instead of 502 or 504, when the server behind them fails.
"""

STALLED = SECOND
"""The minimum time in ns without data after which a gateway may have timed out in the middle of a response."""

Place = tuple[int, int]
"""An exchange: the id of its connection, and its index in the connection."""

T = TypeVar("T", bound=NamedTuple)


class Connection(NamedTuple):
    """What is read of a connection: columns of tables.CONNECTIONS."""

    connection: int
    client: str
    server: str
    syns: int
    syn_frame: int | None
    syn_time: int | None
    last_syn_frame: int | None
    last_syn_time: int | None
    first_answer_time: int | None
    refused_frame: int | None
    refused_time: int | None
    syn_error_frame: int | None
    syn_error_time: int | None
    history: str | None
    client_unacknowledged: int
    server_bytes: int | None
    server_unacknowledged: int
    server_unseen_bytes: int


class ExchangeRow(NamedTuple):
    """What is read of an exchange: columns of tables.AT_THE_CLOSE."""

    exchange: int
    request_frame: int
    request_last_frame: int | None
    request_start: int
    request_end: int | None
    request_ack: int | None
    request_head_bytes: int | None
    request_end_reason: str
    has_response: bool
    upgraded: bool
    previous_end: int | None
    response_frame: int | None
    response_last_frame: int | None
    response_start: int | None
    response_end: int | None
    response_status: int | None
    response_end_reason: str
    response_framing: str
    response_head_bytes: int | None
    response_body_bytes: int | None
    response_content_type: str
    response_offset: int | None
    response_end_offset: int | None
    last_on_connection: bool
    previous_end_offset: int | None
    response_endless: bool
    response_end_mark: bool
    request_method: str
    client_close_frame: int | None
    client_close_time: int | None
    client_close_rst: int | None
    server_close_frame: int | None
    server_close_time: int | None
    last_payload_frame: int | None
    server_close_rst: int | None
    gap_before: bool
    request_has_gap: bool
    response_has_gap: bool
    request_arrived: int | None
    response_arrived: int | None
    arrived_since_request: int | None
    server_sent_more: int | None
    client_received_more: int | None
    client_close_origin: str | None
    server_close_origin: str | None
    handshake: bool


def read(kind: type[T], rows: pl.DataFrame, prefix: str = "") -> Iterator[T]:
    """Yield for each row a named tuple of the columns that are its fields, with this prefix. They share equal texts."""
    some = rows.select(prefix + name for name in kind._fields)
    texts = [place for place, dtype in enumerate(some.dtypes) if dtype == pl.String]
    known: dict[str | None, str | None] = {}
    for values in some.iter_rows():
        shared = [*values]
        for place in texts:
            shared[place] = known.setdefault(values[place], values[place])
        yield kind._make(shared)


TRY = pl.Struct({
    **{name: AT_THE_CLOSE.table.schema[name] for name in ExchangeRow._fields},
    **{name: CONNECTIONS.schema[name] for name in Connection._fields},
})  # fmt: skip
"""The type of `as_struct`."""


def as_struct(prefix: str = "") -> pl.Expr:
    """Return a column of structs from which `try_of` makes objects, from columns with this prefix."""
    return pl.struct(pl.col(prefix + name).alias(name) for name in TRY.to_schema())


def try_of(given: Mapping[str, Any]) -> Try:
    """Return the exchange or the attempt that a struct of type TRY describes."""
    ends = [*given.values()][len(ExchangeRow._fields) :]
    return Attempt(Connection._make(ends)) if given["exchange"] is None else exchange_of(given)


def exchange_of(given: Mapping[str, Any]) -> Exchange:
    """Return the exchange that a struct of type TRY describes."""
    values, count = [*given.values()], len(ExchangeRow._fields)
    return Exchange(ExchangeRow._make(values[:count]), Connection._make(values[count:]))


class Close(NamedTuple):
    """The FIN or RST of a side. `rst`: 1 for an RST. `origin`: as in the column `server_close_origin`."""

    frame: int | None
    time: int | None
    rst: int | None
    origin: str | None


class Exchange:
    """An exchange as its client sees it. Times are in ns, and LATE if the event did not happen.

    `asked`: the end of the request.
    `began`: the start of the final response.
    `left`: the client's close. `dropped`: the server's close.
    `answered`: `began`, or the first close if there is no response.
    `headless`: the beginning of the response never arrived at its client. `holed`: a later part never arrived.
    """

    def __init__(self, values: ExchangeRow, ends: Connection, row: int = -1) -> None:
        """`row`: the number of the row from which the exchange was read."""
        v = values
        self.values, self.ends, self.row = values, ends, row
        self.key: Place = (ends.connection, v.exchange)
        self.server = ends.server
        final = bool(v.has_response) and (v.response_status is None or v.response_status >= 200 or v.upgraded)
        self.began = v.response_start if final and v.response_start is not None else LATE
        self.status: int | None = v.response_status if final else None
        self.left = LATE if v.client_close_time is None else v.client_close_time
        self.holed = final and _has_hole(v, ends)
        self.whole = final and v.response_end_reason == "complete" and not self.holed
        # after a gap, or bytes that the snap length cut off
        self.end_is_unknown = final and v.response_end_reason == "hole" and not self.holed
        self.invalid = final and v.response_end_reason == "error" and not self.holed
        self.has_head = final and (self.whole or self.invalid or v.response_framing != "none")
        before = max(v.request_ack or 0, v.previous_end_offset or 0, v.response_end_offset or 0)
        # the server sent bytes after everything that was parsed
        more = v.server_sent_more == 1 or (v.handshake and (ends.server_bytes or 0) > before)
        self.unparsed = not final and bool(more)
        unread = v.client_received_more == 0
        # the client may have read them, and they are not a response
        self.garbage = self.unparsed and not v.gap_before and not unread
        # the beginning of the response never arrived, although later bytes came (the newest payload before the close is
        # unacknowledged, and it is not the request)
        in_time = v.last_payload_frame is None and not ends.client_unacknowledged
        unread |= v.client_close_time is None and _closed_too_late(v, ends)
        self.headless = self.unparsed and bool(v.gap_before) and unread and in_time
        # a FIN after missing bytes did not arrive either
        missed = self.headless or self.holed
        self.dropped = LATE if missed or v.server_close_time is None else v.server_close_time
        self.server_first = (self.dropped, v.server_close_frame or 0) < (self.left, v.client_close_frame or 0)
        self.answered = self.began if self.began < LATE else min(self.left, self.dropped)
        self.asked = v.request_end if v.request_end is not None else v.request_start

    @property
    def started(self) -> int:
        """The time (ns) at which the client sent the SYN for this request, or the request if the connection was open already."""
        opened = self.ends.syn_time if self.key[1] == 0 else None
        return int(self.values.request_start if opened is None else opened)

    @property
    def ended(self) -> int:
        """The time (ns) of the first close, or of the end of the response if that came first."""
        return min((self.values.response_end or 0) if self.whole else LATE, self.left, self.dropped)

    @property
    def begun(self) -> bool:
        """True if a final response began."""
        return self.began < LATE

    @property
    def is_error(self) -> bool:
        """True if the final response is an error that a gateway may have made: a status of 500 or above, or 408.

        A 408 to an incomplete request does not count: it means that the client was too slow.
        """
        status = self.status or 0
        asked = self.values.request_end_reason == "complete"
        return self.begun and (status >= SERVER_ERROR or (status == REQUEST_TIMEOUT and asked))

    @property
    def arrived(self) -> bool:
        """True if the request is complete, and the server's close, if any, acknowledges all of it."""
        arrived = self.values.request_arrived
        return self.values.request_end_reason == "complete" and (arrived is None or arrived >= WHOLE)

    @property
    def asked_in_part(self) -> bool:
        """True if the client sent only part of its request, and nothing is missing from the capture."""
        return self.values.request_end_reason in {"fin", "rst", "capture-end"}

    def close_of(self, side: str) -> Close:
        """Return the FIN or RST of a side, "client" or "server"."""
        v = self.values
        if side == "client":
            return Close(v.client_close_frame, v.client_close_time, v.client_close_rst, v.client_close_origin)
        return Close(v.server_close_frame, v.server_close_time, v.server_close_rst, v.server_close_origin)

    @property
    def closed_window(self) -> bool:
        """True if the server announced a closed window on this connection."""
        return "w" in (self.ends.history or "")

    def is_sent_by(self, time: int) -> bool:
        """Return whether the client had sent its complete request at the time `time` (ns), and the server acknowledged it."""
        v = self.values
        return v.request_end_reason == "complete" and self.asked <= time and not self.ends.client_unacknowledged

    @property
    def met_a_close(self) -> bool:
        """True if the server had closed before the request arrived. In this case, it never read the request."""
        v = self.values
        if v.request_arrived is None or self.begun or v.request_arrived > NOTHING:
            return False
        answered = self.ends.first_answer_time
        return v.previous_end is not None or (answered is not None and self.dropped - answered >= SECOND)


def _has_hole(values: ExchangeRow, ends: Connection) -> bool:
    """Return whether the client gave up a response of which a part never arrived.

    When the client closed, nothing more had come for STALLED, and it still had not acknowledged everything that was captured.
    This proves nothing if its receive window was full, or if a device on the path sent that close.
    """
    arrived, since, left = values.response_arrived, values.arrived_since_request, values.client_close_time
    if not values.last_on_connection or "W" in (ends.history or ""):
        return False
    if left is None:
        return values.response_has_gap and _closed_too_late(values, ends)
    return (
        arrived is not None
        and NOTHING <= arrived < WHOLE
        and since != BEFORE
        and left - max(values.response_end or 0, values.response_start or 0) >= STALLED
        and values.client_close_origin != "between"
    )


def _closed_too_late(values: ExchangeRow, ends: Connection) -> bool:
    """Return whether the client closed long after a FIN of the server that it never acknowledged, because bytes were missing.

    A row of `closes` that is written some time after the server's FIN has no later close.
    """
    closed = values.server_close_rst == 0 and bool({*"FR"} & {*(ends.history or "")})
    return closed and ends.server_unacknowledged > 0 and not ends.server_unseen_bytes


class Attempt:
    """A connection that a client only tried to open: it carried no request.

    `refused`, `rejected`: the times (ns) of the RST and of the ICMP error that decided; LATE if there was none.
    """

    def __init__(self, ends: Connection, row: int = -1) -> None:
        """`row`: the number of the row from which the attempt was read."""
        self.ends, self.row, self.server = ends, row, ends.server
        self.refused = LATE if ends.refused_time is None else ends.refused_time
        # if an RST follows, the ICMP error did not decide
        self.rejected = LATE if ends.syn_error_time is None or self.refused < LATE else ends.syn_error_time

    @property
    def started(self) -> int:
        """The time (ns) of the first SYN."""
        return self.ends.syn_time or 0

    @property
    def ended(self) -> int:
        """The time (ns) at which the connection failed, or of the last SYN if nothing answered."""
        failed = min(self.refused, self.rejected)
        return (self.ends.last_syn_time or 0) if failed == LATE else failed


Try = Exchange | Attempt
