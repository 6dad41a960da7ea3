"""End the open messages of a connection.

This happens when the grace period after a close is over, when no more packets can belong to the connection, or at the end of the
capture.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from wiredoctor.core.http1 import bursts, faults, incomplete_heads, reassembly
from wiredoctor.core.http1.conversation import Conversation
from wiredoctor.core.http1.final_exchanges import write_closes, write_exchange, write_final
from wiredoctor.core.http1.http_state import HttpState
from wiredoctor.core.http1.message import (
    AT_CAPTURE_END,
    CHUNK_SIZE,
    CLOSE,
    COMPLETE,
    HEAD,
    IN_TRAILER,
    OFF,
    RESPONSE,
    Exchange,
    Message,
)
from wiredoctor.core.http1.message_ends import finish
from wiredoctor.core.http1.reader import Reader
from wiredoctor.core.http1.stream import GRACE_PERIOD
from wiredoctor.core.tcp.closes import BY_FIN, BY_RST, grace_period
from wiredoctor.core.tcp.connection import Side
from wiredoctor.core.tcp.origins import is_doubtful
from wiredoctor.core.tcp.segment import FOREVER, NEVER

LATE_RESPONSE: Final = 60_000_000_000
"""The time in ns for which a connection stays open after a possibly forged RST, because the apparent sender may continue.

This is the default of nginx's proxy_read_timeout.
"""


def watch_close(conversation: Conversation, clock: i64) -> None:
    """Set the deadline at which open messages end: a grace period after a FIN or RST."""
    if NEVER < conversation.deadline <= clock:
        end_at_deadline(conversation, clock)
    first, second = conversation.connection.first, conversation.connection.second
    grace = grace_period(first.rtt, second.rtt)
    if is_doubtful(first) or is_doubtful(second):
        grace = max(grace, LATE_RESPONSE)
    conversation.deadline = max(conversation.deadline, clock + grace)
    conversation.wake_at(conversation.deadline + 1)


def wake(conversation: Conversation, clock: i64) -> None:
    """Process everything that is due at `clock` (ns), before the next packet.

    Stop waiting for bytes that were not captured, read the stored bytes after them, and end messages after a close.
    """
    conversation.wakes_at = NEVER
    while decide_next(conversation, clock):
        pass
    conversation.clock = clock
    write_known(conversation)
    if is_finished(conversation):
        free(conversation)


def decide_next(conversation: Conversation, clock: i64) -> bool:
    """Process the earliest due event as if it were processed on time. Return False if no event is due at `clock` (ns)."""
    answer, first, second = (
        answers_at(conversation),
        conversation.first_stream.gap_ends_at(),
        conversation.second_stream.gap_ends_at(),
    )
    gap = min(first, second)
    due = min(answer, gap)
    if conversation.deadline != NEVER:
        due = min(due, conversation.deadline + 1)
    if due > clock:
        if due < FOREVER:
            conversation.wake_at(due)
        return False
    conversation.clock = max(conversation.clock, due)
    if due == first:
        reassembly.skip_gap(conversation, conversation.first_stream)
    elif due == second:
        reassembly.skip_gap(conversation, conversation.second_stream)
    elif due != answer:
        end_at_deadline(conversation, clock)
    else:
        server = conversation.reader_of(1 - max(conversation.client, 0))
        reassembly.skip_gaps_before(conversation, conversation.stream_of(1 - server.direction), server.waits_ack)
    if conversation.first_stream.held is not None or conversation.second_stream.held is not None:
        reassembly.resume(conversation)
    return True


def answers_at(conversation: HttpState) -> i64:
    """Return the time at which a response that waits for its request is read, even if the request is still missing.

    Return the constant FOREVER if no response waits.
    """
    server = conversation.reader_of(1 - max(conversation.client, 0))
    return server.waits_time + GRACE_PERIOD if server.waits else FOREVER


def write_known(conversation: Conversation) -> None:
    """Write the rows of `exchanges` and `closes` that later packets can no longer change.

    Use the round trips that are known now.
    """
    client = max(conversation.client, 0)
    rtt_client, rtt_server = conversation.side_of(client).rtt, conversation.side_of(1 - client).rtt
    write_final(conversation, rtt_client, rtt_server)
    write_closes(conversation, rtt_client, rtt_server, False)


def close_reason(conversation: HttpState, direction: i64, deadline: i64) -> i64:
    """Return how a direction was closed by the deadline: BY_FIN, or BY_RST for an RST from either side; -1 if it was open."""
    close = conversation.side_of(direction).close
    if close is not None and NEVER < close.fin_time <= deadline:
        return BY_FIN
    peer_close = conversation.side_of(1 - direction).close
    if close is not None and NEVER < close.rst_time <= deadline:
        return BY_RST
    return BY_RST if peer_close is not None and NEVER < peer_close.rst_time <= deadline else -1


def end_at_deadline(conversation: Conversation, clock: i64) -> None:
    """End the open messages if the server had closed before the deadline, and no bytes before its FIN are missing.

    If only the client has closed its direction, the response stays open (RFC 9112 section 9.6).
    """
    deadline = conversation.deadline
    conversation.deadline = NEVER
    server = 1 - conversation.client
    if (
        conversation.client >= 0
        and close_reason(conversation, server, deadline) >= 0
        and has_all_before_fin(conversation, server)
    ):
        end(conversation, AT_CAPTURE_END, deadline, clock)


def has_all_before_fin(conversation: HttpState, direction: i64) -> bool:
    """Return whether all bytes before a direction's FIN were captured, or were acknowledged by the receiver."""
    close = conversation.side_of(direction).close
    reached = conversation.reached_offset(direction)
    if close is None or close.fin_frame == NEVER or reached == NEVER or reached >= close.fin_offset:
        return True
    return conversation.side_of(1 - direction).acknowledged >= close.fin_offset


def end(conversation: Conversation, last_reason: i64, deadline: i64, clock: i64) -> None:
    """End the messages that had begun by the deadline. A direction that was not closed by then stays open.

    If the deadline is FOREVER, every direction ends, and a direction that was not closed gets the end reason `last_reason`.
    """
    conversation.clock = clock
    if is_settled(conversation):
        return
    reassembly.flush(conversation)
    write_known(conversation)
    client = max(conversation.client, 0)
    end_direction(conversation, client, last_reason, deadline)
    end_direction(conversation, 1 - client, last_reason, deadline)
    at_capture_end = last_reason == AT_CAPTURE_END and deadline == FOREVER
    write_ended(conversation, deadline, at_capture_end)
    if (
        deadline == FOREVER
        and conversation.held_faults is not None
        and conversation.reader_of(1 - conversation.client).pos == NEVER
    ):
        faults.report_held_faults(conversation)
    forget_ended(conversation)
    conversation.is_forced = False


def end_direction(conversation: Conversation, direction: i64, last_reason: i64, deadline: i64) -> None:
    """End the open message of one direction if the direction was closed by the deadline, or if the deadline is FOREVER."""
    reason = close_reason(conversation, direction, deadline)
    if reason == BY_FIN:
        reassembly.skip_tail(conversation, direction)
    if reason < 0 and deadline == FOREVER:
        reason = last_reason
    reader = conversation.reader_of(direction)
    if reason >= 0 and reader.began() <= deadline:
        close_reader(conversation, reader, reason)


def close_reader(conversation: Conversation, reader: Reader, reason: i64) -> None:
    """End the open message or head with the end reason `reason`, because no more bytes will come."""
    if reader.kind == RESPONSE:
        faults.settle_answer(conversation, reader, conversation.queue.waiting, True)
        if not faults.has_none(reader) and conversation.held_faults is not None:
            faults.report_held_faults(conversation)
            reader.has_fault = True  # a body that still comes after the close is not a second fault
        faults.settle_empty_line(conversation, reader, True)
    if reader.mode == HEAD and reader.partial is not None:
        incomplete_heads.cut_head(conversation, reader, reason)
    elif reader.message is not None:
        if reader.mode == CLOSE and reason == BY_FIN:
            reason = COMPLETE
        elif reader.in_trailer and reader.mode == CHUNK_SIZE and (reason in (BY_FIN, BY_RST)):
            reason = IN_TRAILER if reader.kind == RESPONSE else COMPLETE
        finish(conversation, reader, reason)
    if reason != AT_CAPTURE_END and reader.mode == CLOSE:
        reader.mode = HEAD


def is_settled(conversation: HttpState) -> bool:
    """Return True if no message is open and no byte is known to be missing."""
    if conversation.queue.oldest is not None or conversation.queue.waiting is not None or conversation.held_faults is not None:
        return False
    return is_at_end(conversation, conversation.first, conversation.connection.first) and is_at_end(
        conversation, conversation.second, conversation.connection.second
    )


def is_finished(conversation: HttpState) -> bool:
    """Return True if all rows of a connection are written and it ended with two FINs, so only repeated packets can follow."""
    first, second = conversation.connection.first.close, conversation.connection.second.close
    if conversation.deadline != NEVER or first is None or second is None:
        return False
    has_fins = first.fin_frame != NEVER and second.fin_frame != NEVER
    return has_fins and first.rst_frame == NEVER and second.rst_frame == NEVER and is_settled(conversation)


def is_at_end(conversation: HttpState, reader: Reader, side: Side) -> bool:
    """Return True if a direction has no open message and none of the bytes before its FIN is missing."""
    if reader.message is not None or reader.partial is not None or reader.waits or reader.empty_line is not None:
        return False
    stream = conversation.stream_of(reader.direction)
    if stream.waiting is not None or stream.held is not None:
        return False
    close = side.close
    return reader.mode == OFF or close is None or conversation.reached_offset(reader.direction) >= close.fin_offset


def forget_ended(conversation: HttpState) -> None:
    """Remove ended exchanges from the list of exchanges that wait for a response."""
    exchange = conversation.queue.waiting
    conversation.queue.waiting = conversation.queue.last_waiting = None
    conversation.queue.unanswered = 0
    while exchange is not None:
        following = exchange.next_waiting
        exchange.next_waiting = None
        if not exchange.response_done:
            conversation.queue.append_waiting(exchange)
        exchange = following


def give_up_waiting(conversation: Conversation, clock: i64) -> None:
    """To free memory, read all stored stream data of a connection now, although earlier bytes are missing.

    This includes incomplete header sections.
    """
    conversation.clock = clock
    reassembly.flush(conversation)
    conversation.is_forced = False
    incomplete_heads.give_up_head(conversation, conversation.first)
    incomplete_heads.give_up_head(conversation, conversation.second)
    write_known(conversation)


def write_ended(conversation: Conversation, deadline: i64, at_capture_end: bool) -> None:
    """Write the rows of `exchanges` and `closes` for exchanges whose requests had ended by the deadline, oldest first."""
    client = max(conversation.client, 0)
    rtt_client, rtt_server = conversation.side_of(client).rtt, conversation.side_of(1 - client).rtt
    exchange = conversation.queue.oldest
    while exchange is not None and is_over_by(exchange, deadline):
        if exchange.response is None and not exchange.response_done:
            exchange.is_assumed = may_lack_response(conversation, exchange.request)
        exchange.settle_for_interim()
        exchange.response_done = True
        if deadline == FOREVER:
            exchange.final_frame = FOREVER
        if exchange is conversation.queue.unwritten:
            write_exchange(conversation, exchange, FOREVER, rtt_client, rtt_server)
            conversation.queue.unwritten = exchange.next
        following = exchange.next
        if following is not None and following.began > deadline:
            following = None
        decided = deadline
        if deadline == FOREVER:
            decided = NEVER
        conversation.http.closes.close(conversation, exchange, following, rtt_client, rtt_server, decided, at_capture_end)
        conversation.queue.drop(exchange)
        exchange = conversation.queue.oldest


def may_lack_response(conversation: HttpState, request: Message | None) -> bool:
    """Return whether a request may have had a response that was not captured.

    Two conditions must hold. First, responses, or bytes of the server that the client acknowledged, are missing from the capture.
    Second, the server sent bytes that the client had not yet received when it sent the request.
    """
    if request is None:
        return False
    client = max(conversation.client, 0)
    server = conversation.reader_of(1 - client)
    reached = conversation.reached_offset(1 - client)
    # a FIN adds one to the ACK number
    acknowledged = conversation.side_of(client).acknowledged - 1
    begins_late = server.previous is None and conversation.side_of(1 - client).syn is None
    is_lost = server.is_lost or begins_late or reached < acknowledged
    return is_lost and max(reached, acknowledged) > request.ack


def is_over_by(exchange: Exchange, deadline: i64) -> bool:
    """Return True if the request of an exchange had ended by the deadline, or if it was not captured.

    In both cases, only the response may have been open at the deadline.
    """
    if not exchange.request_done or exchange.began > deadline:
        return False
    request = exchange.request
    return request is None or request.end_time <= deadline


def free(conversation: Conversation) -> None:
    """Free the HTTP state of a connection whose messages have ended, but keep the facts for its row of `connections`."""
    bursts.write_last(conversation, conversation.first)
    bursts.write_last(conversation, conversation.second)
    conversation.take_apart()
    conversation.http.keeping.forget(conversation)
