"""Write rows of `exchanges`, `closes`, `messages` and `faults`.

A row of `exchanges` is written when an exchange is final. Its row of `closes` follows once it is known how the connection
continued. The row of `closes` refers to the row of `exchanges`. If that row was handed to the rules in an earlier batch, it is
written again. Rows contain no text: a head is an index into a list of distinct heads, and targets are in a separate list.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mypy_extensions import i64, mypyc_attr

from wiredoctor.core.closes import BY_FIN, BY_RST, grace_period
from wiredoctor.core.connection import Close, Side
from wiredoctor.core.faults import Fault
from wiredoctor.core.heads import Head
from wiredoctor.core.message import COMPLETE, Exchange, Message
from wiredoctor.core.octets import BytesWriter, write_i64_le
from wiredoctor.core.origins import BETWEEN, UNKNOWN, ForeignCloses, fin_origin, rst_origin
from wiredoctor.core.rows import Rows, pack_cells
from wiredoctor.core.segment import FOREVER, NEVER

if TYPE_CHECKING:
    from wiredoctor.core.message import Interim, Pauses
    from wiredoctor.core.pairing import HttpConnection
    from wiredoctor.core.transfers import Transfer
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

CLOSE: Final = (
    "row",
    *("at_close_handshake", "at_close_both_directions", "at_close_gap_before", "at_close_rtt_client", "at_close_rtt_server"),
    *("final_at", "last_on_connection", "at_capture_end", "client_close_frame", "client_close_time", "client_close_ack"),
    *("client_close_rst", "server_close_frame", "server_close_time", "server_close_ack", "server_close_rst"),
    *("server_close_offset", "server_close_contradicted", "server_rst_frame", "server_rst_time"),
    *("client_rst_frame", "client_rst_time", "client_rst_ack", "client_close_origin", "server_close_origin"),
    *("accepted_frame", "accepted_time", "last_payload_frame", "last_payload_time", "last_payload_role", "says_goodbye"),
)
"""The column names of `closes`.

`row`: the index of the exchange's row among the rows of `exchanges` in the same batch. If `row` is negative, that row belonged to
an earlier batch and is written again; its index among these repeated rows is -1 - `row`.
"""

MESSAGE_ROW: Final = ("connection", "direction", "role", "exchange", "target", *MESSAGE)
"""The column names of `messages`."""

HANDSHAKE: Final = 1
BOTH_DIRECTIONS: Final = 2
HAS_GAP: Final = 4
"""The bit for bytes missing from the capture. HANDSHAKE: both SYNs were captured. BOTH_DIRECTIONS: both sides sent packets."""
NO_CLOSE: Final = Close()
NO_MESSAGE: Final = pack_cells([NEVER] * 8 + [0, 0, NEVER, 0, -1, NEVER, NEVER, NEVER, -1])
"""The values of the columns MESSAGE for a message that was not captured."""
NOBODY_CLOSED: Final = pack_cells(
    [NEVER] * 3 + [-1] + [NEVER] * 3 + [-1, NEVER, 0] + [NEVER] * 5 + [UNKNOWN] * 2 + [NEVER] * 4 + [-1, 0]
)
"""The values of the columns CLOSE, beginning with client_close_frame, for an open connection."""


class HeadCodes:
    """The distinct header sections of the rows being written. Each row refers to its header section by an index."""

    def __init__(self) -> None:
        self.heads: list[Head] = []
        self.batch: i64 = 0

    def code(self, head: Head) -> i64:
        """Return the index of a head in the list; add it if it is not in the list yet."""
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
    """Data that few exchanges have: interim responses, pauses and events of the response, and the limits of a long transfer."""

    def __init__(
        self, interim: Interim | None, pauses: Pauses | None, pieces: Pieces | None, transfer: Transfer | None
    ) -> None:  # fmt: skip
        self.interim: Interim | None = interim
        self.pauses: Pauses | None = pauses
        self.pieces: Pieces | None = pieces
        self.transfer: Transfer | None = transfer


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

    def write(self, talk: HttpConnection, exchange: Exchange) -> None:
        """Write a row of `exchanges`."""
        exchange.row, exchange.batch = self.rows.count, self.codes.batch
        self.targets.append(b"" if exchange.request is None else exchange.request.target)
        self.write_cells(self.rows.begin(), talk, exchange)

    def place(self, talk: HttpConnection, exchange: Exchange) -> i64:
        """Return the value of the column `row` of `closes` for an exchange.

        If the exchange's row of `exchanges` belonged to an earlier batch, write it again.
        """
        if exchange.batch == self.codes.batch:
            return exchange.row
        self.repeated_targets.append(b"" if exchange.request is None else exchange.request.target)
        self.write_cells(self.repeated.begin(), talk, exchange)
        return -self.repeated.count

    def write_cells(self, out: BytesWriter, talk: HttpConnection, exchange: Exchange) -> None:
        """Write the columns in EXCHANGE."""
        request, response = exchange.request, exchange.response
        write_i64_le(out, talk.number)
        write_i64_le(out, exchange.index)
        write_i64_le(out, i64(exchange.upgraded))
        write_i64_le(out, i64(exchange.is_assumed))
        write_i64_le(out, talk.endpoint)
        write_i64_le(out, exchange.previous_end)
        write_i64_le(out, exchange.previous_end_offset)
        write_i64_le(out, i64(exchange.previous_close))
        write_message(out, self.codes, request)
        write_message(out, self.codes, response)
        write_parts(out, request)
        pauses = None if response is None else response.pauses
        pieces = None if response is None else response.pieces
        transfer = None if response is None else response.transfer
        if transfer is not None and transfer.path == NEVER:
            transfer = None
        if exchange.interim is None and pauses is None and pieces is None and transfer is None:
            write_i64_le(out, -1)
        else:
            write_i64_le(out, len(self.extras))
            self.extras.append(Extra(exchange.interim, pauses, pieces, transfer))
        self.write_request_id(out, request, response)
        write_known(out, exchange.known, exchange.known_rtt_client, exchange.known_rtt_server)
        write_i64_le(out, exchange.final_at)

    def write_request_id(self, out: BytesWriter, request: Message | None, response: Message | None) -> None:
        """Write the index of the request id in the request, or in the response if the request has none; -1 if both have none."""
        request_id = b"" if request is None else request.request_id
        if len(request_id) == 0 and response is not None:
            request_id = response.request_id
        if len(request_id) == 0:
            write_i64_le(out, -1)
        else:
            write_i64_le(out, len(self.request_ids))
            self.request_ids.append(request_id)

    def take(self) -> tuple[list[bytes], list[bytes]]:
        """Return the rows of `exchanges` followed by the repeated rows, and the request target of each row. Begin a new batch."""
        targets = self.targets + self.repeated_targets
        self.targets, self.repeated_targets = [], []
        return [*self.rows.take(), *self.repeated.take()], targets

    def take_shared(self) -> tuple[list[Extra], list[bytes]]:
        """Return the `Extra` objects and the request ids to which rows refer by index. Begin new lists."""
        extras, request_ids = self.extras, self.request_ids
        self.extras, self.request_ids = [], []
        return extras, request_ids


def write_message(out: BytesWriter, codes: HeadCodes, message: Message | None) -> None:
    """Write the columns in MESSAGE. `message` is None if the message was not captured."""
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
    write_i64_le(out, i64(message.has_gap))
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
        return
    write_i64_le(out, NEVER)
    write_i64_le(out, NEVER)
    write_i64_le(out, NEVER)
    write_i64_le(out, NEVER)
    write_i64_le(out, NEVER)


def write_known(out: BytesWriter, known: i64, rtt_client: i64, rtt_server: i64) -> None:
    """Write the columns about a connection as it was known: three for the bits in `known`, and two for round trips (ns).

    The bits are those of `find_known`.
    """
    write_i64_le(out, i64(known & HANDSHAKE != 0))
    write_i64_le(out, i64(known & BOTH_DIRECTIONS != 0))
    write_i64_le(out, i64(known & HAS_GAP != 0))
    write_i64_le(out, rtt_client)
    write_i64_le(out, rtt_server)


def find_known(talk: HttpConnection, frame: i64, time: i64) -> i64:
    """Return bits that describe a connection as it was known at a given frame and time (ns).

    HANDSHAKE: both SYNs were captured. BOTH_DIRECTIONS: both sides had sent packets. HAS_GAP: bytes had not been captured.
    """
    known: i64 = 0
    first, second = talk.connection.first, talk.connection.second
    if first.syn is not None and second.syn is not None and max(first.syn.frame, second.syn.frame) <= frame:
        known |= HANDSHAKE
    if NEVER < talk.connection.second_frame <= frame:
        known |= BOTH_DIRECTIONS
    oddities = talk.connection.oddities
    is_unseen = oddities is not None and oddities.unseen_frame != NEVER and oddities.unseen_time <= time
    if is_unseen or NEVER < talk.gap_time <= time:
        known |= HAS_GAP
    return known


@mypyc_attr(acyclic=True, free_list_len=1)
class SideClose:
    """A side's close, and its first RST.

    The close is the side's FIN. If there is no FIN, or if a device on the path sent the RST before the FIN, the close is the RST.
    """

    def __init__(self, side: Side, peer: Side) -> None:
        close = side.close
        if close is None:
            close = NO_CLOSE
        is_fin = close.fin_frame != NEVER
        self.origin: i64 = UNKNOWN
        if close.rst_frame != NEVER and (not is_fin or close.rst_frame < close.fin_frame):
            self.origin = rst_origin(side, close)
            is_fin = is_fin and self.origin != BETWEEN
        if is_fin:
            self.origin = fin_origin(side, peer, close)
        self.frame: i64 = close.fin_frame if is_fin else close.rst_frame
        self.time: i64 = close.fin_time if is_fin else close.rst_time
        self.ack: i64 = close.fin_ack if is_fin else close.rst_ack
        self.offset: i64 = close.fin_offset if is_fin else close.rst_offset
        self.is_fin: bool = is_fin
        self.is_contradicted: bool = is_fin and side.highest > close.fin_offset + 1
        self.rst: Close = close
        self.has_rst: bool = close.rst_frame != NEVER

    def keep_until(self, frame: i64, deadline: i64) -> None:
        """Ignore a close or RST of this side that came after the next exchange began (at `frame`), or after the deadline."""
        if (deadline != NEVER and self.time > deadline) or (frame != NEVER and self.frame > frame):
            self.frame = self.time = self.ack = self.offset = NEVER
            self.is_fin = self.is_contradicted = False
            self.origin = UNKNOWN
        if (deadline != NEVER and self.rst.rst_time > deadline) or (frame != NEVER and self.rst.rst_frame >= frame):
            self.has_rst = False

    def write(self, out: BytesWriter) -> None:
        """Write the frame, time, acknowledged offset and kind of the close: 0 FIN, 1 RST, -1 none."""
        write_i64_le(out, self.frame)
        write_i64_le(out, self.time)
        write_i64_le(out, self.ack)
        kind: i64 = 1
        if self.frame == NEVER:
            kind = -1
        elif self.is_fin:
            kind = 0
        write_i64_le(out, kind)


class CloseRows:
    """Writes the table `closes`. FINs and RSTs that a device on the path sent also get a row of `foreign_closes`."""

    def __init__(self, exchanges: ExchangeRows) -> None:
        self.exchanges: ExchangeRows = exchanges
        self.rows: Rows = Rows(len(CLOSE))
        self.foreign: ForeignCloses = ForeignCloses()

    def close(
        self, talk: HttpConnection, exchange: Exchange, following: Exchange | None, rtt_client: i64, rtt_server: i64,
        decided: i64, at_capture_end: bool,
    ) -> None:  # fmt: skip
        """Write a row of `closes`, which describes how a connection continued or closed after an exchange.

        `following`: the next exchange, if any. `decided`: the deadline after a close, if the row became final because this
        deadline passed; otherwise the constant NEVER.
        """
        write_i64_le(self.rows.begin(), self.exchanges.place(talk, exchange))
        if following is not None and answers_rest(exchange, following):
            following = None
        client_side, server_side = talk.side_of(talk.client), talk.side_of(1 - talk.client)
        if client_side.close is None and server_side.close is None:
            self.write_open(talk, exchange, following, rtt_client, rtt_server, at_capture_end)
            return
        client, server = SideClose(client_side, server_side), SideClose(server_side, client_side)
        frame: i64 = NEVER
        start: i64 = NEVER
        is_last = following is None or following.request is None
        if following is not None and following.began_frame < first_close(client, server) and is_cut_off(exchange):
            # the close ended this exchange although a pipelined request had followed
            following = None
        if following is not None:
            frame, start = following.began_frame, following.began
        deadline: i64 = NEVER
        if server.time != NEVER and (frame == NEVER or server.frame < frame):
            deadline = server.time + grace_period(rtt_client, rtt_server)
        is_last = is_last or (deadline != NEVER and start > deadline)
        if deadline != NEVER and exchange.began > deadline:
            # an exchange that began after everything had ended has its own deadline: that of the FIN or RST in reply
            deadline = decided
        client.keep_until(frame, deadline)
        server.keep_until(frame, deadline)
        closed = max(client.time, server.time)
        known_time = max(exchange.last_time(), closed)
        known_frame: i64 = FOREVER
        if decided == NEVER and frame != NEVER:
            known_frame = max(frame, exchange.last_frame())
        out = self.rows.cells
        write_known(out, find_known(talk, known_frame, known_time), rtt_client, rtt_server)
        write_i64_le(out, find_final_at(talk, following, known_time, deadline, at_capture_end))
        write_i64_le(out, i64(is_last))
        write_i64_le(out, i64(at_capture_end))
        client.write(out)
        server.write(out)
        write_i64_le(out, server.offset)
        write_i64_le(out, i64(server.is_contradicted))
        write_rsts(out, client, server)
        write_i64_le(out, client.origin)
        write_i64_le(out, server.origin)
        accepted = server_side.syn
        write_i64_le(out, i64(NEVER) if accepted is None or accepted.repeated else accepted.frame)
        write_i64_le(out, i64(NEVER) if accepted is None else accepted.time)
        write_rest(out, client, server, exchange)
        if client.origin == BETWEEN:
            self.foreign.write(talk.connection, exchange.index, talk.client, talk.client, client.is_fin)
        if server.origin == BETWEEN:
            self.foreign.write(talk.connection, exchange.index, 1 - talk.client, talk.client, server.is_fin)

    def write_open(
        self, talk: HttpConnection, exchange: Exchange, following: Exchange | None, rtt_client: i64, rtt_server: i64,
        at_capture_end: bool,
    ) -> None:  # fmt: skip
        """Write the columns of CLOSE after `row` for a connection that neither side has closed."""
        out = self.rows.cells
        known_time = exchange.last_time()
        known_frame: i64 = FOREVER
        if following is not None:
            known_frame = max(following.began_frame, exchange.last_frame())
        write_known(out, find_known(talk, known_frame, known_time), rtt_client, rtt_server)
        write_i64_le(out, find_final_at(talk, following, known_time, NEVER, at_capture_end))
        write_i64_le(out, i64(following is None or following.request is None))
        write_i64_le(out, i64(at_capture_end))
        out.write(NOBODY_CLOSED)


def write_rsts(out: BytesWriter, client: SideClose, server: SideClose) -> None:
    """Write the frame and time of the server's first RST, then the frame, time and acknowledged offset of the client's first
    RST.
    """
    rst = server.rst if server.has_rst else NO_CLOSE
    write_i64_le(out, rst.rst_frame)
    write_i64_le(out, rst.rst_time)
    rst = client.rst if client.has_rst else NO_CLOSE
    write_i64_le(out, rst.rst_frame)
    write_i64_le(out, rst.rst_time)
    write_i64_le(out, rst.rst_ack)


def answers_rest(exchange: Exchange, following: Exchange) -> bool:
    """Return whether `following` is only a response, because the server took the unread end of a request for a new request."""
    request = exchange.request
    return following.request is None and request is not None and request.reason != COMPLETE


def first_close(client: SideClose, server: SideClose) -> i64:
    """Return the frame number of the first close, or NEVER if neither side closed."""
    if client.frame == NEVER or server.frame == NEVER:
        return max(client.frame, server.frame)
    return min(client.frame, server.frame)


def is_cut_off(exchange: Exchange) -> bool:
    """Return whether a close cut off an exchange.

    If the final response had begun, it must have ended with the close. If it had not begun, no later request may have a response.
    """
    response = exchange.response
    if response is not None and not response.head.is_interim():
        return response.reason == BY_FIN or response.reason == BY_RST
    later = exchange.next
    while later is not None:
        if later.response is not None:
            return False
        later = later.next
    return True


def write_rest(out: BytesWriter, client: SideClose, server: SideClose, exchange: Exchange) -> None:
    """Write the frame, time and sender of the last payload before the first close.

    Then write whether a side had ended the WebSocket connection with a Close frame. The server's Close frame counts only if the
    server did not reset the connection: a reset may destroy the frame before the client's program reads it (RFC 6455 section
    7.1.1).
    """
    is_client = server.frame == NEVER or NEVER < client.frame < server.frame
    first = client if is_client else server
    rest = first.rst
    if first.frame == NEVER or rest.rest_time == NEVER:
        write_i64_le(out, NEVER)
        write_i64_le(out, NEVER)
        write_i64_le(out, -1)
    else:
        write_i64_le(out, rest.rest_frame)
        write_i64_le(out, rest.rest_time)
        write_i64_le(out, i64(0) if is_client == rest.rest_is_own else i64(1))
    server_ended = exchange.server_says_goodbye and (server.is_fin or server.frame == NEVER)
    write_i64_le(out, i64(exchange.client_says_goodbye or server_ended))


def find_final_at(talk: HttpConnection, following: Exchange | None, known_time: i64, deadline: i64, at_capture_end: bool) -> i64:
    """Return the time up to which a row of `closes` describes the connection.

    This is the first of these times that applies: the current time at the end of the capture; the beginning of the next exchange;
    the deadline after a close, if it has passed; the time of the connection's last packet.
    """
    if at_capture_end:
        return talk.clock
    if following is not None:
        return max(following.began, known_time)
    if deadline != NEVER and deadline <= talk.clock:
        return deadline
    return talk.connection.end


class FaultRows:
    """Writes the table `faults`. Faults are few, so each row is a tuple in column order."""

    def __init__(self) -> None:
        self.rows: list[tuple[object, ...]] = []

    def write(self, talk: HttpConnection, fault: Fault) -> None:
        """Write a row of `faults`, with the facts about the connection that are known at this time."""
        message, exchange = fault.message, fault.exchange
        request, connection = exchange.request, talk.connection
        oddities = connection.oddities
        is_unseen = oddities is not None and oddities.unseen_frame != NEVER and oddities.unseen_time <= fault.time
        server = talk.reader_of(1 - talk.client)
        method = "" if request is None else request.head.method
        row: tuple[object, ...] = (
            talk.number, exchange.index, fault.role, fault.name, fault.frame, fault.time, fault.offset, fault.excerpt,
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

    def write(self, talk: HttpConnection, message: Message) -> None:
        """Write a row of `messages`."""
        out = self.rows.begin()
        write_i64_le(out, talk.number)
        write_i64_le(out, message.id & 1)
        write_i64_le(out, i64(message.head.status >= 0))
        write_i64_le(out, message.exchange)
        write_i64_le(out, len(self.targets))
        self.targets.append(message.target)
        write_message(out, self.codes, message)

    def take_targets(self) -> list[bytes]:
        """Return the request targets collected for the rows so far, and begin a new list."""
        targets = self.targets
        self.targets = []
        return targets
