"""Write rows of `exchanges`, `messages` and `faults`.

A row of `exchanges` is written when an exchange is final. Its row of `closes` (close_rows.py) follows once it is known how the
connection continued. The row of `closes` refers to the row of `exchanges`. If the row of `exchanges` was handed to the rules in
an earlier batch, it is written again. Rows contain no text: a head is an index into a list of distinct heads, and targets are in
a separate list.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64, mypyc_attr

from wiredoctor.core.http1.heads import Head
from wiredoctor.core.http1.http_state import HttpState
from wiredoctor.core.http1.message import Exchange, Fault, Interim, Message, Pauses
from wiredoctor.core.octets import BytesWriter, write_i64_le
from wiredoctor.core.rows.cells import Rows, pack_cells
from wiredoctor.core.tcp.damage import is_altered
from wiredoctor.core.tcp.segment import NEVER
from wiredoctor.core.tcp.transfer import Transfer
from wiredoctor.protocols.http1.pieces import Pieces

MESSAGE: Final = (
    *("message", "frame", "last_frame", "start", "end", "head_bytes", "body_bytes", "body_due", "framing", "end_reason"),
    *("last_body_time", "has_gap", "chunks", "offset", "end_offset", "ack", "head"),
)
"""The names of the columns that describe a message."""

EXCHANGE: Final = (
    *("connection", "exchange", "upgraded", "pairing_assumed"),
    *("endpoint", "previous_end", "previous_end_offset", "previous_announced_close"),
    *["request_" + name for name in MESSAGE],
    *["response_" + name for name in MESSAGE],
    *("request_head_last_frame", "request_head_time", "request_body_frame", "request_body_time", "request_body_pause"),
    *("extra", "request_id"),
    *("handshake", "both_directions", "gap_before", "rtt_client", "rtt_server", "finished_at"),
)
"""The column names of `exchanges`; the last six describe the connection as known when the exchange ended."""

MESSAGE_ROW: Final = ("connection", "direction", "role", "exchange", "target", *MESSAGE)
"""The column names of `messages`."""

HANDSHAKE: Final = 1
BOTH_DIRECTIONS: Final = 2
HAS_GAP: Final = 4
"""The bit for bytes missing from the capture. HANDSHAKE: both SYNs were captured. BOTH_DIRECTIONS: both sides sent packets."""
NO_MESSAGE: Final = pack_cells([NEVER] * 8 + [0, 0, NEVER, 0, -1, NEVER, NEVER, NEVER, -1])
"""The values of the columns MESSAGE for a message that was not captured."""
NO_PARTS: Final = pack_cells([NEVER] * 5)
"""The cells that `write_parts` writes for a request that was not captured or has no body."""


class HeadCodes:
    """The distinct header sections of the rows being written. Each row refers to its header section by an index."""

    def __init__(self) -> None:
        self.heads: list[Head] = []
        self.batch: i64 = 0

    def code(self, head: Head) -> i64:
        """Return the index of a head in the list of distinct heads. Add the head to the list if it is new."""
        if head.batch != self.batch:
            head.batch = self.batch
            head.code = len(self.heads)
            self.heads.append(head)
        return head.code

    def take(self) -> list[Head]:
        """Return the list of distinct heads, and begin a new list for the next rows."""
        heads = self.heads
        self.heads = []
        self.batch += 1
        return heads


@mypyc_attr(acyclic=True)
class Extra:
    """Data that few exchanges have: interim responses, pauses and events of the response, and what limited a long transfer.

    `transfer`: the Transfer of the response. `upload`: the Transfer of the request. `moments`: the cells of its Moments.
    `stops`: the body of the request asks to stop something.
    """

    def __init__(
        self, interim: Interim | None, pauses: Pauses | None, pieces: Pieces | None, transfer: Transfer | None,
        upload: Transfer | None, moments: bytes, stops: bool,
    ) -> None:  # fmt: skip
        self.interim: Interim | None = interim
        self.pauses: Pauses | None = pauses
        self.pieces: Pieces | None = pieces
        self.transfer: Transfer | None = transfer
        self.upload: Transfer | None = upload
        self.moments: bytes = moments
        self.stops: bool = stops


class ExchangeRows:
    """Writes the table `exchanges`. A row of an earlier batch is repeated if a new row of the table `closes` refers to it."""

    def __init__(self, codes: HeadCodes) -> None:
        self.codes: HeadCodes = codes
        self.rows: Rows = Rows(len(EXCHANGE))
        self.targets: list[bytes] = []
        self.repeated: Rows = Rows(len(EXCHANGE))
        self.repeated_targets: list[bytes] = []
        self.extras: list[Extra] = []
        self.request_ids: list[bytes] = []

    def write(self, conversation: HttpState, exchange: Exchange) -> None:
        """Write a row of `exchanges`."""
        exchange.row, exchange.batch = self.rows.count, self.codes.batch
        self.targets.append(b"" if exchange.request is None else exchange.request.target)
        self.write_cells(self.rows.begin(), conversation, exchange)

    def place(self, conversation: HttpState, exchange: Exchange) -> i64:
        """Return the value of the column `row` of `closes` for an exchange.

        If the exchange's row of `exchanges` belonged to an earlier batch, write it again.
        """
        if exchange.batch == self.codes.batch:
            return exchange.row
        self.repeated_targets.append(b"" if exchange.request is None else exchange.request.target)
        self.write_cells(self.repeated.begin(), conversation, exchange)
        return -self.repeated.count

    def write_cells(self, out: BytesWriter, conversation: HttpState, exchange: Exchange) -> None:
        """Write the columns in EXCHANGE."""
        request, response = exchange.request, exchange.response
        write_i64_le(out, conversation.number)
        write_i64_le(out, exchange.index)
        write_i64_le(out, i64(exchange.upgraded))
        write_i64_le(out, i64(exchange.is_assumed))
        write_i64_le(out, conversation.endpoint)
        write_i64_le(out, exchange.previous_end)
        write_i64_le(out, exchange.previous_end_offset)
        write_i64_le(out, i64(exchange.previous_close))
        has_gap = is_altered(conversation.connection)
        write_message(out, self.codes, request, has_gap)
        write_message(out, self.codes, response, has_gap)
        write_parts(out, request)
        pauses = None if response is None else response.pauses
        pieces = None if response is None else response.pieces
        transfer, upload = known_transfer(response), known_transfer(request)
        stops = request is not None and request.asks_to_stop()
        known = pieces is not None or transfer is not None or upload is not None or stops
        if exchange.interim is None and pauses is None and not known:
            write_i64_le(out, -1)
        else:
            write_i64_le(out, len(self.extras))
            moments = b"" if response is None or response.moments is None else response.moments.cells
            self.extras.append(Extra(exchange.interim, pauses, pieces, transfer, upload, moments, stops))
        self.write_request_id(out, request, response)
        write_known(out, exchange.known, exchange.known_rtt_client, exchange.known_rtt_server)
        write_i64_le(out, exchange.final_at)

    def write_request_id(self, out: BytesWriter, request: Message | None, response: Message | None) -> None:
        """Write the index of the request's request id, or of the response's if the request has none; -1 if both have none."""
        request_id = b"" if request is None else request.request_id
        if len(request_id) == 0 and response is not None:
            request_id = response.request_id
        if len(request_id) == 0:
            write_i64_le(out, -1)
        else:
            write_i64_le(out, len(self.request_ids))
            self.request_ids.append(request_id)

    def take(self) -> tuple[list[bytes], list[bytes]]:
        """Return the rows of `exchanges` followed by the repeated rows, and the request target of each row. Begin new lists."""
        targets = self.targets + self.repeated_targets
        self.targets, self.repeated_targets = [], []
        return [*self.rows.take(), *self.repeated.take()], targets

    def take_shared(self) -> tuple[list[Extra], list[bytes]]:
        """Return the `Extra` objects and the request ids to which rows refer by index. Begin new lists."""
        extras, request_ids = self.extras, self.request_ids
        self.extras, self.request_ids = [], []
        return extras, request_ids


def known_transfer(message: Message | None) -> Transfer | None:
    """Return what limited the transfer rate of a message's body; None if that is uncertain, or the body short or unfinished."""
    transfer = None if message is None else message.transfer
    return None if transfer is None or transfer.path == NEVER or transfer.has_doubt else transfer


def write_message(out: BytesWriter, codes: HeadCodes, message: Message | None, has_gap: bool) -> None:
    """Write the columns in MESSAGE. `message` is None if the message was not captured.

    `has_gap`: bytes of the message are unknown, even if all of its packets were captured.
    """
    if message is None:
        out.write(NO_MESSAGE)
        return
    write_i64_le(out, message.id)
    write_i64_le(out, message.frame)
    write_i64_le(out, message.last_frame)
    write_i64_le(out, message.start)
    write_i64_le(out, message.end_time)
    write_i64_le(out, message.head_bytes)
    write_i64_le(out, message.body_bytes)
    write_i64_le(out, message.due)
    write_i64_le(out, message.framing)
    write_i64_le(out, message.reason)
    write_i64_le(out, message.last_body_time)
    write_i64_le(out, i64(has_gap or message.has_gap))
    write_i64_le(out, message.chunks)
    write_i64_le(out, message.offset)
    write_i64_le(out, message.end_offset)
    write_i64_le(out, message.ack)
    write_i64_le(out, codes.code(message.head))


def write_parts(out: BytesWriter, request: Message | None) -> None:
    """Write the frame and time at which a request's head ended, the frame and time at which its body began, and a pause.

    The pause is the longest of the body's first pauses (ns). Write NEVER in all columns if there is no request or no body.
    """
    if request is not None and request.body_bytes > 0:
        write_i64_le(out, request.head_last_frame)
        write_i64_le(out, request.head_time)
        write_i64_le(out, request.body_frame)
        write_i64_le(out, request.body_time)
        write_i64_le(out, 0 if request.pauses is None else request.pauses.longest_early)
    else:
        out.write(NO_PARTS)


def write_known(out: BytesWriter, known: i64, rtt_client: i64, rtt_server: i64) -> None:
    """Write five columns about a connection: three for the bits in `known`, and two for round trips (ns).

    `known`: the result of `find_known`.
    """
    write_i64_le(out, i64(known & HANDSHAKE != 0))
    write_i64_le(out, i64(known & BOTH_DIRECTIONS != 0))
    write_i64_le(out, i64(known & HAS_GAP != 0))
    write_i64_le(out, rtt_client)
    write_i64_le(out, rtt_server)


def find_known(conversation: HttpState, frame: i64, time: i64) -> i64:
    """Return bits that describe a connection as it was known at a given frame and time (ns).

    HANDSHAKE: both SYNs were captured. BOTH_DIRECTIONS: both sides had sent packets. HAS_GAP: bytes were missing from the
    capture.
    """
    known: i64 = 0
    first, second = conversation.connection.first, conversation.connection.second
    if first.syn is not None and second.syn is not None and max(first.syn.frame, second.syn.frame) <= frame:
        known |= HANDSHAKE
    if NEVER < conversation.connection.second_frame <= frame:
        known |= BOTH_DIRECTIONS
    oddities = conversation.connection.oddities
    is_unseen = oddities is not None and oddities.unseen_frame != NEVER and oddities.unseen_time <= time
    if is_unseen or NEVER < conversation.gap_time <= time:
        known |= HAS_GAP
    return known


class FaultRows:
    """Writes the table `faults`. Faults are few, so each row is a tuple in column order."""

    def __init__(self) -> None:
        self.rows: list[tuple[object, ...]] = []

    def write(self, conversation: HttpState, fault: Fault) -> None:
        """Write a row of `faults`, with the facts about the connection that are known at this time."""
        message, exchange = fault.message, fault.exchange
        request, connection = exchange.request, conversation.connection
        oddities = connection.oddities
        is_unseen = oddities is not None and oddities.unseen_frame != NEVER and oddities.unseen_time <= fault.time
        server = conversation.reader_of(1 - conversation.client)
        method = "" if request is None else request.head.method
        row: tuple[object, ...] = (
            conversation.number, exchange.index, fault.role, fault.name, fault.frame, fault.time, fault.offset, fault.excerpt,
            message.frame, message.start, message.head.version, message.head.status, fault.due,
            NEVER if request is None else request.frame, NEVER if request is None else request.start,
            method, "" if request is None else request.head.version,
            request is not None and request.head.fields.connection_close, message.head.announces_close, connection.has_both_syns,
            request is not None and (fault.role == 1 or server.count > 0), is_unseen or fault.has_gap,
        )  # fmt: skip
        self.rows.append(row)

    def take(self) -> list[tuple[object, ...]]:
        """Return the rows written so far, and begin a new table."""
        rows = self.rows
        self.rows = []
        return rows


class MessageRows:
    """Writes the table `messages`."""

    def __init__(self, codes: HeadCodes) -> None:
        self.codes: HeadCodes = codes
        self.rows: Rows = Rows(len(MESSAGE_ROW))
        self.targets: list[bytes] = []

    def write(self, conversation: HttpState, message: Message) -> None:
        """Write a row of `messages`."""
        out = self.rows.begin()
        write_i64_le(out, conversation.number)
        write_i64_le(out, message.id & 1)
        write_i64_le(out, i64(message.head.status >= 0))
        write_i64_le(out, message.exchange)
        write_i64_le(out, len(self.targets))
        self.targets.append(message.target)
        write_message(out, self.codes, message, is_altered(conversation.connection))

    def take_targets(self) -> list[bytes]:
        """Return the request targets collected for the rows so far, and begin a new list."""
        targets = self.targets
        self.targets = []
        return targets
