"""Determine why a gateway failed its client, from an exchange at its front and the tries at its back.

The result is a kind of `gateway-error`. Both sides are in one capture, so the order of events shows cause and effect: a gateway
acts after the event to which it reacts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from wiredoctor.gateways.known import GATEWAY_ERRORS, LATE, LONE_SYN, SERVER_ERROR, SLACK, Place
from wiredoctor.gateways.tries import Front, never_arrived
from wiredoctor.tables import SECOND
from wiredoctor.world.connection_close import ENDLESS, OPEN_STREAMS
from wiredoctor.world.exchange import STALLED, Attempt, Exchange, Try
from wiredoctor.world.products import default

WHILE_READING = 100_000_000
"""The maximum time in ns from the last data of a head, or of a complete response, to the reaction of a gateway that rejects it.

The reaction is a response to the client, or a close.
"""
GATEWAY_TIMEOUT = 504

CLIENT_STALLED = "client-stalled"
"""The kind of `gateway-error` for a gateway that gave up a response because its own client did not read.

rule_engine.stopped_reading sets it, instead of "truncated".
"""

FAILED_CALL = "failed-call"
"""The kind of `gateway-error` for a server whose own request to another server failed, although it does not forward there."""

TIMER_LATE = 20_000_000
"""The maximum time in ns by which a gateway's timer expires late; 4 ms were measured (nginx, haproxy, httpd)."""


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


def failures(fronts: Mapping[Place, Front]) -> dict[Place, Failure]:
    """Return why a gateway failed its client, for each exchange of a client that failed.

    The keys are (connection, exchange). If a gateway only forwarded the failure of another gateway behind it, the exchange gets
    the failure of that gateway.
    """
    found: dict[Place, Failure | None] = {}
    return {key: failure for key in fronts if (failure := _failure_at(key, fronts, found, frozenset((key,)))) is not None}


def _failure_at(
    key: Place, fronts: Mapping[Place, Front], found: dict[Place, Failure | None], outer: frozenset[Place]
) -> Failure | None:  # fmt: skip
    def inner_of(inner: Place) -> Failure | None:
        return None if inner in outer else _failure_at(inner, fronts, found, outer | {inner})

    if key not in found:
        found[key] = _failure(fronts, key, inner_of)
    return found[key]


def _failure(fronts: Mapping[Place, Front], key: Place, inner_of: Callable[[Place], Failure | None]) -> Failure | None:
    front = fronts[key]
    if front.call is not None and _is_by_call(front, front.call):
        inner = inner_of(front.call.key) if front.call.key in fronts else None
        by_call = Failure(FAILED_CALL, front.call, (front.call,))
        return by_call if inner is None else inner._replace(through=(front.call, *inner.through))
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


def _is_by_call(front: Front, call: Exchange) -> bool:
    """Return whether the exchange failed because of a call, and not because of the tries, or for an error that was forwarded.

    If the call is the last try, the gateway must have sent a page of its own, and never forward the responses of that endpoint.
    """
    is_try = any(isinstance(one, Exchange) and one.key == call.key for one in front.tries)
    forwarded = is_try and call.status == front.exchange.status and not _differ(front.exchange, call)
    if not front.certain:
        return not forwarded and _common_failure(front) is None
    last = last_of(front.tries)
    if not isinstance(last, Exchange):
        return last is None
    kind = kind_of(front.exchange, front.tries)
    if last.key == call.key:
        return front.called and not forwarded and kind in (None, "rejected-response")
    if kind is None:
        return front.exchange.status != last.status
    long = (last.values.response_head_bytes or 0) >= LONG_HEAD
    return kind == "rejected-response" and last.whole and (last.status or 0) < SERVER_ERROR and not long


def _differ(one: Exchange, other: Exchange) -> bool:
    """Return whether two complete responses differ in their type or length."""
    v, w = one.values, other.values
    known = one.whole and other.whole
    return known and (v.response_content_type, v.response_body_bytes) != (w.response_content_type, w.response_body_bytes)


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

    For an endless stream, return "stream-timed-out" if the gateway gave it up, also if it ended the body as if it were complete
    (Caddy), or broke its chunks (h2o). If its server ended it, it did not fail unless the client waits for its end. If the
    client left first, the result is None. `front`: the exchange of the gateway's client. `last`: the gateway's last try.
    """
    if not isinstance(last, Exchange) or front.values.upgraded:
        return None
    if front.whole or front.invalid:
        return "stream-timed-out" if _is_ended_in_silence(front, last) else None
    if front.end_is_unknown or last.end_is_unknown:
        return None
    if last.whole or last.invalid or last.status != front.status:
        return None
    if is_stream(front) and not last.holed:
        if front.server_first and _is_read_timeout(front, last):
            return "stream-timed-out"
        if not is_answer_due(front):
            return None
    broke = min(last.dropped, last.left)
    ended = min(front.dropped, front.left)
    if ended == LATE or (broke == LATE and not last.holed) or (not front.server_first and broke > front.left - SLACK):
        return None
    return "truncated"


def is_stream(one: Exchange) -> bool:
    """Return whether the response is an endless stream, as `streams` in world/connection_close.py does."""
    return one.values.response_content_type in ENDLESS or one.values.response_endless


def is_answer_due(one: Exchange) -> bool:
    """Return whether the client waits for the end of the response, as `answer_due` in world/connection_close.py does."""
    return not is_stream(one) or not (one.values.request_method in OPEN_STREAMS or one.values.response_end_mark)


def _is_ended_in_silence(front: Exchange, last: Exchange) -> bool:
    """Return whether a gateway gave up a silent server, and ended the body of the answer to its client nevertheless."""
    incomplete = not (last.whole or last.invalid or last.holed) and last.status == front.status
    if not incomplete or not is_stream(front) or not is_answer_due(front) or (last.values.response_end or 0) > last.left:
        return False
    return ended_at(front) <= front.left and _is_read_timeout(front, last)


def ended_at(front: Exchange) -> int:
    """Return the time (ns) at which a gateway ended its response: by its framing, or by its close."""
    ended = front.values.response_end
    return front.dropped if ended is None or not (front.whole or front.invalid) else ended


def _is_read_timeout(front: Exchange, last: Exchange) -> bool:
    """Return whether the gateway ended both sides of a response while its server was silent, although it could read.

    A gateway that is stopped ends both sides, too. If nobody waits for the end of the response, the silence must last a whole
    number of seconds.
    """
    stalled = silence(front, last)
    if stalled is None or stalled < STALLED or "W" in (last.ends.history or ""):
        return False
    return abs(ended_at(front) - last.left) <= WHILE_READING and (is_answer_due(front) or stalled % SECOND <= TIMER_LATE)


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
    head of the server's response must have at least LONG_HEAD bytes, or the gateway must have closed both connections at once.
    """
    if (last.status or 0) >= SERVER_ERROR or is_discarded(front, last):
        return True
    if is_cut_short(front, last):
        return front.status in GATEWAY_ERRORS and front.status != GATEWAY_TIMEOUT
    came = last.values.response_end
    if front.status == GATEWAY_TIMEOUT or (came is not None and front.answered - came > WHILE_READING):
        return False
    return front.status in GATEWAY_ERRORS or (last.values.response_head_bytes or 0) >= LONG_HEAD


def is_discarded(front: Exchange, last: Try | None) -> bool:
    """Return whether the gateway closed both connections at once when it had the complete response, and passed none of it on.

    A longer head may be the reason.
    """
    if front.begun or not front.server_first or not isinstance(last, Exchange) or not last.whole or last.server_first:
        return False
    came, head = last.values.response_end, last.values.response_head_bytes
    at_once = came is not None and max(front.dropped, last.left) - came <= WHILE_READING
    return at_once and (head or 0) < LONG_HEAD


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


LONG_HEAD = 1024 * int(default("nginx", "proxy_buffer_size").partition(" ")[0])
"""The minimum size in bytes of a head that a gateway may reject as too long: the smallest default limit is one page (nginx)."""
