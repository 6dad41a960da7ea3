"""Determine why a gateway failed its client, from an exchange at its front and the tries at its back.

The front is the gateway's side towards its client, the back its side towards its servers. A try is a request that the gateway
forwarded, or a connection that it tried to open for a request. The result is a kind of `gateway-error`. Both sides are in one
capture, so the order of events shows cause and effect: a gateway acts after the event to which it reacts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import polars as pl

from wiredoctor.tables import BEFORE, CLOSES, CONNECTIONS, NOTHING, SECOND, WHOLE
from wiredoctor.world.connection_close import ENDLESS

WHILE_READING = 100_000_000
"""The maximum time in ns from the last data of a head, or of a complete response, to the reaction of a gateway that rejects it.

The reaction is a response to the client, or a close.
"""
GATEWAY_TIMEOUT = 504

GATEWAY_ERRORS = frozenset({502, 503, 504})
"""The statuses with which a gateway reports a failure behind it (RFC 9110 section 15.6), or that it has no server to ask.

An application that calls other services also sends other statuses, for faults of its own.
"""

SERVER_ERROR = 500
"""The lowest status of a server error (RFC 9110 section 15.6)."""

REQUEST_TIMEOUT = 408
"""Filtering proxies (e2guardian, ziproxy) answer with this status, instead of 502 or 504, when the server behind them fails."""

CLIENT_STALLED = "client-stalled"
"""The kind of `gateway-error` for a gateway that gave up a response because its own client did not read.

rule_engine.stopped_reading sets it, instead of "truncated".
"""

SLACK = 50_000
"""The tolerance in ns for two events on different connections whose packets were captured in the wrong order."""

LONE_SYN = 900_000_000
"""The minimum time in ns from a gateway's only SYN to its response to the client, for the SYN to count as unanswered.

Linux retransmits a SYN after 1 s.
"""

STALLED = SECOND
"""The minimum time in ns without data after which a gateway may have timed out in the middle of a response."""

TIMER_LATE = 20_000_000
"""The maximum time in ns by which a gateway's timer expires late; 4 ms were measured (nginx, haproxy, httpd)."""

LATE = 1 << 62
"""The value of a time if the event did not happen."""

T = TypeVar("T", bound=NamedTuple)

Key = tuple[int, int]

Route = tuple[str, str]
"""A gateway (its address and port), and the part of its requests by which it chooses a server."""


class OfConnection(NamedTuple):
    """What is read of a connection to or from a gateway: columns of tables.CONNECTIONS."""

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


class OfExchange(NamedTuple):
    """What is read of an exchange with a gateway's client, or of a gateway's own request: columns of tables.CLOSES."""

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


def as_struct(prefix: str = "") -> pl.Expr:
    """Return a column of structs from which `try_of` makes objects, from columns with this prefix."""
    parts = {"values": OfExchange, "ends": OfConnection}
    return pl.struct(
        pl.struct(pl.col(prefix + name).alias(name) for name in kind._fields).alias(part) for part, kind in parts.items()
    )


TRY = pl.Struct({
    "values": pl.Struct({name: CLOSES.schema[name] for name in OfExchange._fields}),
    "ends": pl.Struct({name: CONNECTIONS.schema[name] for name in OfConnection._fields}),
})  # fmt: skip
"""The type of `as_struct`."""


def try_of(given: Mapping[str, Any]) -> Try:
    """Return the exchange or the attempt that a struct of type TRY describes."""
    ends = OfConnection(**given["ends"])
    return Attempt(ends) if given["values"]["exchange"] is None else exchange_of(given)


def exchange_of(given: Mapping[str, Any]) -> Exchange:
    """Return the exchange that a struct of type TRY describes."""
    return Exchange(OfExchange(**given["values"]), OfConnection(**given["ends"]))


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

    def __init__(self, values: OfExchange, ends: OfConnection, row: int = -1) -> None:
        """`row`: the number of the row from which the exchange was read."""
        v = values
        self.values, self.ends, self.row = values, ends, row
        self.key: Key = (ends.connection, v.exchange)
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


def _has_hole(values: OfExchange, ends: OfConnection) -> bool:
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


def _closed_too_late(values: OfExchange, ends: OfConnection) -> bool:
    """Return whether the client closed long after a FIN of the server that it never acknowledged, because bytes were missing.

    A row of `closes` that is written some time after the server's FIN has no later close.
    """
    closed = values.server_close_rst == 0 and bool({*"FR"} & {*(ends.history or "")})
    return closed and ends.server_unacknowledged > 0 and not ends.server_unseen_bytes


class Attempt:
    """A connection that a gateway opened for an exchange of its client, but that carried no request.

    `refused`, `rejected`: the times (ns) of the RST and of the ICMP error that decided; LATE if there was none.
    """

    def __init__(self, ends: OfConnection, row: int = -1) -> None:
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


def never_arrived(start: int | None, end: int | None, history: str | None, unacknowledged: int | None) -> bool:
    """Return whether a complete response of a server, the last on its connection, was captured, but did not reach the gateway.

    The gateway acknowledged no byte of it, and both sides retransmitted data. If only the ACK is missing from the capture, the
    server retransmits nothing. `start`, `end`: the offsets of the response. `unacknowledged`: bytes of the server.
    """
    retransmitted = {*"Tt"} <= {*(history or "")}
    return start is not None and end is not None and retransmitted and (unacknowledged or 0) >= end - start > 0


class Front(NamedTuple):
    """An exchange of a gateway's client, with the tries that the gateway made for it.

    `certain`: all of these tries were made for the exchange, in this order; otherwise, at most one of them was, and it is
    unknown which. `guessed`: more exchanges were open than there were tries, so each try was assigned by route and time.
    """

    exchange: Exchange
    tries: tuple[Try, ...] = ()
    certain: bool = True
    guessed: bool = False


class Failure(NamedTuple):
    """Why a gateway failed its client.

    `last`: the try that decides the `kind` of the finding. `tries`: all tries.
    `through`: the gateways that forwarded the failure, beginning with the outermost.
    `whole`: whether all of these tries certainly belong to the exchange.
    `guessed`: as in Front.
    """

    kind: str
    last: Try | None
    tries: tuple[Try, ...] = ()
    through: tuple[Exchange, ...] = ()
    whole: bool = True
    guessed: bool = False


def failures(fronts: Mapping[Key, Front]) -> dict[Key, Failure]:
    """Return why a gateway failed its client, for each exchange of a client that failed.

    The keys are (connection, exchange). If a gateway only forwarded the failure of another gateway behind it, the exchange gets
    the failure of that gateway.
    """
    found: dict[Key, Failure | None] = {}
    return {key: failure for key in fronts if (failure := _failure_at(key, fronts, found, frozenset((key,)))) is not None}


def _failure_at(
    key: Key, fronts: Mapping[Key, Front], found: dict[Key, Failure | None], outer: frozenset[Key]
) -> Failure | None:  # fmt: skip
    def inner_of(inner: Key) -> Failure | None:
        return None if inner in outer else _failure_at(inner, fronts, found, outer | {inner})

    if key not in found:
        found[key] = _failure(fronts, key, inner_of)
    return found[key]


def _failure(fronts: Mapping[Key, Front], key: Key, inner_of: Callable[[Key], Failure | None]) -> Failure | None:
    front = fronts[key]
    if not front.certain:
        return _common_failure(front)
    last = last_of(front.tries)
    kind = kind_of(front.exchange, front.tries)
    own = None if kind is None else Failure(kind, last, front.tries, guessed=front.guessed)
    if not isinstance(last, Exchange) or last.key not in fronts:
        return own
    inner = inner_of(last.key)
    if inner is not None and (kind in _HANDED_ON or (kind is None and _passed_on(front.exchange, last))):
        return inner._replace(through=(last, *inner.through))
    behind = fronts[last.key]
    if kind == "timed-out" and inner is None and behind.certain and behind.tries:
        deeper = kind_of(front.exchange, behind.tries)
        if deeper is not None:
            return Failure(deeper, last_of(behind.tries), behind.tries, (last,))
    return own


_HANDED_ON = ("closed", "truncated", "timed-out", "rejected-response")


def _passed_on(front: Exchange, last: Exchange) -> bool:
    return front.status is not None and front.status == last.status and last.began <= front.began + SLACK


def _common_failure(front: Front) -> Failure | None:
    """Return the failure if all tries that may belong to this exchange failed in the same way; otherwise None."""
    tries = tuple(one for one in front.tries if _may_belong(front.exchange, one))
    kinds = {kind_of(front.exchange, [one]) for one in tries}  # if empty, it is unknown whether there was a try
    [kind, *others] = kinds or {None}
    return None if kind is None or others else Failure(kind, tries[0], tries, whole=False, guessed=front.guessed)


def _may_belong(front: Exchange, one: Try) -> bool:
    """Return whether a try may belong to the exchange `front`.

    An attempt to connect always may. A request may if the gateway sent it while the exchange waited for its response, and if it
    did not fail after that response: a gateway that has responded no longer waits for a server.
    """
    if isinstance(one, Attempt):
        return True
    begun = one.values.request_start
    late = not one.whole and one.server_first and one.dropped > front.answered + SLACK
    return front.asked - SLACK <= begun <= front.answered + SLACK and not late


def last_of(tries: Sequence[Try]) -> Try | None:
    """Return the try that decided the outcome; None if there are no tries.

    The last try decides, with two exceptions. If the server refused the last connection, and had closed without a response in an
    earlier try, the earlier try decides, because its request had probably crashed the server. If the last try got a complete
    response without a server error, and began before earlier tries had ended, those earlier tries decide. The last try was then
    a copy of the request, whose response a gateway throws away (nginx mirror, Envoy request_mirror_policies).
    """
    if not tries:
        return None
    last = tries[-1]
    if isinstance(last, Exchange) and last.whole and (last.status or 0) < SERVER_ERROR:
        meanwhile = [one for one in tries[:-1] if one.ended > last.started + SLACK]
        return last_of(meanwhile) if meanwhile else last
    if isinstance(last, Attempt) and last.refused < LATE:
        died = [one for one in tries if isinstance(one, Exchange) and one.server == last.server and _gone(one)]
        return died[-1] if died else last
    return last


def _gone(one: Exchange) -> bool:
    return not one.begun and not one.unparsed and one.server_first


def kind_of(front: Exchange, tries: Sequence[Try]) -> str | None:
    """Return the kind of failure of this exchange with a gateway.

    None if it did not fail, or if the gateway only forwarded a server's failure.
    """
    last = last_of(tries)
    if front.begun and not front.is_error:
        return _truncation_kind(front, last)
    if front.unparsed:
        return None
    if not front.begun:
        if not front.server_first and not _failed_before(last, front.left):
            return None
    elif front.left < front.began:
        return None
    if last is None:
        # an application answers 500 for a fault of its own, without calling another server
        may_lack_server = front.status in GATEWAY_ERRORS if front.begun else front.arrived
        return "not-passed-on" if may_lack_server else None
    if isinstance(last, Attempt):
        if front.met_a_close and not any(isinstance(one, Exchange) for one in tries):
            return None
        if last.refused < LATE:
            return "refused"
        if last.rejected <= front.answered + SLACK:
            return "unreachable"
        # the gateway's response proves that it gave up
        return "unreachable" if last.ends.syns > 1 or front.answered - last.started >= LONE_SYN else None
    return _of_exchange(front, last)


def _failed_before(last: Try | None, left: int) -> bool:
    """Return True if there is a last try and it had failed before the client left.

    `left`: when the client left (ns); LATE if it did not leave.
    """
    if last is None or left == LATE:
        return False
    if isinstance(last, Attempt):
        return min(last.refused, last.rejected) < left - SLACK
    return not last.whole and min(last.dropped, last.left) < left - SLACK


def _truncation_kind(front: Exchange, last: Try | None) -> str | None:
    """Return "truncated" if a gateway's response was cut off because its server's response was cut off; otherwise None.

    For an endless stream, return "stream-timed-out" if the gateway gave it up; a stream that its server ends is not a failure. If
    the client left first, the result is None. `front`: the exchange of the gateway's client. `last`: the gateway's last try.
    """
    if front.whole or not isinstance(last, Exchange) or front.values.upgraded:
        return None
    if front.end_is_unknown or last.end_is_unknown:
        return None
    stream = (front.values.response_content_type in ENDLESS or front.values.response_endless) and not last.holed
    if last.whole or last.invalid or last.status != front.status:
        return None
    if stream:
        return "stream-timed-out" if front.server_first and _is_read_timeout(front, last) else None
    broke = min(last.dropped, last.left)
    ended = min(front.dropped, front.left)
    if ended == LATE or (broke == LATE and not last.holed) or (not front.server_first and broke > front.left - SLACK):
        return None
    return "truncated"


def _is_read_timeout(front: Exchange, last: Exchange) -> bool:
    """Return whether the gateway ended both sides of a response after a whole number of seconds without data from its server.

    A gateway that is stopped would end both sides at any time. The gateway must not have closed its receive window.
    """
    stalled = silence(front, last)
    if stalled is None or stalled < STALLED or "W" in (last.ends.history or ""):
        return False
    return abs(front.dropped - last.left) <= WHILE_READING and stalled % SECOND <= TIMER_LATE


def silence(front: Exchange, last: Exchange) -> int | None:
    """Return how long (ns) the server had sent nothing when the gateway gave up the server's incomplete response.

    Return None if the response never began, or if the gateway did not give up.
    """
    if last.server_first or LATE in (last.left, last.began):
        return None
    one = with_last_data(front, last)
    return min(one.left, one.dropped) - max(one.values.response_end or 0, one.began)


def with_last_data(front: Exchange, last: Exchange) -> Exchange:
    """Return the exchange whose last data came before the gateway gave up.

    That is `last`, the gateway's last try, unless the server sent more after the gateway had closed. In that case, return
    `front` if the gateway's response to its client has begun: that response shows how much had come before the close.
    """
    return front if (last.values.response_end or 0) > last.left and front.begun else last


def _of_exchange(front: Exchange, last: Exchange) -> str | None:
    until = front.answered + SLACK
    if last.begun and last.began <= until:
        if front.status is not None and last.status == front.status:
            return None
        if last.holed:
            return "timed-out"
        if not last.has_head:
            if last.end_is_unknown:
                return None
            broke_off = last.server_first and last.dropped <= until
            rejected = broke_off or _is_rejected_while_reading(front, last)
            return "rejected-response" if rejected else "timed-out"
        if last.whole:
            if is_lost(front, last):
                return "timed-out"
            return "rejected-response" if _is_rejected(front, last) else None
        return "rejected-response" if front.begun else "truncated"
    if last.garbage:
        return "rejected-response"
    if last.unparsed and last.values.gap_before:
        return "timed-out" if last.headless else None
    if last.server_first and last.dropped <= until:
        return "closed"
    # a client that paused in its request held up the gateway, unless the gateway did not read
    has_more = not front.asked_in_part or front.closed_window
    return "unsent" if last.closed_window and has_more and not last.is_sent_by(until) else "timed-out"


def is_lost(front: Exchange, last: Try | None) -> bool:
    """Return whether the gateway waited for a response that the server behind it had sent, but that never arrived.

    See `never_arrived`. The same is true if only a part of the response did not arrive.
    """
    if isinstance(last, Exchange) and (last.headless or last.holed):
        return True
    if not isinstance(last, Exchange) or min(front.answered, last.left) - last.began <= WHILE_READING:
        return False
    v = last.values
    whole = v.response_end_reason == "complete" and v.last_on_connection
    return whole and never_arrived(v.response_offset, v.response_end_offset, last.ends.history, last.ends.server_unacknowledged)


def _is_rejected(front: Exchange, last: Exchange) -> bool:
    """Return whether the gateway rejected this complete response of its server.

    If the front is an application that calls another service, it may fail some time after the response, for a reason of its own.
    So if the server's response is not an error, the result is true only if the gateway reacted at once, and not with a 504, which
    would mean that it waited. If the server closed before it had the complete request, the gateway may have reacted later, when
    it had more of the request to send. If the gateway reacted with a status other than 502 or 503, or without a response, the
    head of the server's response must have at least LONG_HEAD bytes.
    """
    if (last.status or 0) >= SERVER_ERROR:
        return True
    if is_cut_short(front, last):
        return front.status in GATEWAY_ERRORS and front.status != GATEWAY_TIMEOUT
    came = last.values.response_end
    if front.status == GATEWAY_TIMEOUT or (came is not None and front.answered - came > WHILE_READING):
        return False
    return front.status in GATEWAY_ERRORS or (last.values.response_head_bytes or 0) >= LONG_HEAD


def is_cut_short(front: Exchange, last: Try | None) -> bool:
    """Return whether the server behind the gateway answered and closed before it had the complete request.

    The gateway cannot send the rest. Whether it has read the response is unknown, because an RST may have discarded it.
    """
    if not isinstance(last, Exchange) or not last.whole or not last.server_first or last.dropped > front.answered + SLACK:
        return False
    return last.asked_in_part and not last.values.request_has_gap


def _is_rejected_while_reading(front: Exchange, last: Exchange) -> bool:
    """Return whether the gateway responded or closed while the head of the server's response was arriving.

    If so, it rejected the head; a gateway that waits for the end of a head gives up later.
    """
    came = last.values.response_end
    if came is None or last.server_first or front.status == GATEWAY_TIMEOUT:
        return False
    return abs(min(front.answered, last.left) - came) <= WHILE_READING


LONG_HEAD = 4_096
"""The minimum size in bytes of a head that a gateway may reject as too long: the smallest default limit is one page (nginx)."""
