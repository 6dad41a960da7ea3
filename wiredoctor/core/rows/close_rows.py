"""Write rows of `closes`, which describe how a connection continued after an exchange, and how it was closed."""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64, mypyc_attr

from wiredoctor.core.http1.http_state import HttpState
from wiredoctor.core.http1.message import COMPLETE, Exchange
from wiredoctor.core.octets import BytesWriter, write_i64_le
from wiredoctor.core.rows.cells import Rows, pack_cells
from wiredoctor.core.rows.exchange_rows import ExchangeRows, find_known, write_known
from wiredoctor.core.tcp.closes import BY_FIN, BY_RST, grace_period
from wiredoctor.core.tcp.connection import Close, Side
from wiredoctor.core.tcp.origins import BETWEEN, UNKNOWN, ForeignCloses, fin_origin, rst_origin
from wiredoctor.core.tcp.segment import FOREVER, NEVER

CLOSE: Final = (
    "row",
    *("at_close_handshake", "at_close_both_directions", "at_close_gap_before", "at_close_rtt_client", "at_close_rtt_server"),
    *("final_at", "last_on_connection", "at_capture_end", "client_close_frame", "client_close_time", "client_close_ack"),
    *("client_close_rst", "server_close_frame", "server_close_time", "server_close_ack", "server_close_rst"),
    *("server_close_offset", "server_close_contradicted", "server_rst_frame", "server_rst_time"),
    *("server_rst_mac", "client_rst_frame", "client_rst_time", "client_rst_ack", "client_close_origin", "server_close_origin"),
    *("accepted_frame", "accepted_time", "last_payload_frame", "last_payload_time", "last_payload_role", "says_goodbye"),
    "server_unanswered_probes",
)
"""The column names of `closes`.

`row`: the index of the exchange's row among the rows of `exchanges` in the same batch. If `row` is negative, that row belonged to
an earlier batch and is written again; its index among these repeated rows is -1 - `row`.
"""

NO_CLOSE: Final = Close()
NOBODY_CLOSED: Final = pack_cells(
    [NEVER] * 3 + [-1] + [NEVER] * 3 + [-1, NEVER, 0] + [NEVER] * 6 + [UNKNOWN] * 2 + [NEVER] * 4 + [-1, 0, 0]
)
"""The values of the columns CLOSE, beginning with client_close_frame, for an open connection."""


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
        """Ignore a close or RST that this side sent after `deadline` (ns), or after the next exchange began at frame `frame`."""
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
        self, conversation: HttpState, exchange: Exchange, following: Exchange | None, rtt_client: i64, rtt_server: i64,
        decided: i64, at_capture_end: bool,
    ) -> None:  # fmt: skip
        """Write a row of `closes`, which describes how a connection continued or was closed after an exchange.

        `following`: the next exchange, if any. `decided`: the deadline after a close, if the row became final because this
        deadline passed; otherwise the constant NEVER.
        """
        write_i64_le(self.rows.begin(), self.exchanges.place(conversation, exchange))
        if following is not None and answers_rest(exchange, following):
            following = None
        asking = conversation.client
        client_side, server_side = conversation.side_of(asking), conversation.side_of(1 - asking)
        if client_side.close is None and server_side.close is None:
            self.write_open(conversation, exchange, following, rtt_client, rtt_server, at_capture_end)
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
            # the exchange began after this deadline, so the later deadline of the FIN or RST in reply applies
            deadline = decided
        client.keep_until(frame, deadline)
        server.keep_until(frame, deadline)
        known_time = max(exchange.last_time(), client.time, server.time)
        known_frame: i64 = FOREVER
        if decided == NEVER and frame != NEVER:
            known_frame = max(frame, exchange.last_frame())
        out = self.rows.cells
        write_known(out, find_known(conversation, known_frame, known_time), rtt_client, rtt_server)
        write_i64_le(out, find_final_at(conversation, following, known_time, deadline, at_capture_end))
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
        write_i64_le(out, unanswered_probes(server_side, server))
        if client.origin == BETWEEN:
            self.foreign.write(conversation.connection, exchange.index, asking, asking, client.is_fin)
        if server.origin == BETWEEN:
            self.foreign.write(conversation.connection, exchange.index, 1 - asking, asking, server.is_fin)

    def write_open(
        self, conversation: HttpState, exchange: Exchange, following: Exchange | None, rtt_client: i64, rtt_server: i64,
        at_capture_end: bool,
    ) -> None:  # fmt: skip
        """Write the columns of CLOSE that follow the column `row`, for a connection that neither side has closed."""
        out = self.rows.cells
        known_time = exchange.last_time()
        known_frame: i64 = FOREVER
        if following is not None:
            known_frame = max(following.began_frame, exchange.last_frame())
        write_known(out, find_known(conversation, known_frame, known_time), rtt_client, rtt_server)
        write_i64_le(out, find_final_at(conversation, following, known_time, NEVER, at_capture_end))
        write_i64_le(out, i64(following is None or following.request is None))
        write_i64_le(out, i64(at_capture_end))
        out.write(NOBODY_CLOSED)


def unanswered_probes(side: Side, close: SideClose) -> i64:
    """Return how many keep-alive probes of a side were unanswered when it reset the connection; 0 if it sent no RST."""
    if close.is_fin or close.frame == NEVER or side.waits is None or side.waits.probing is None:
        return 0
    probing = side.waits.probing
    return probing.copies if probing.last_frame < close.frame else i64(0)


def write_rsts(out: BytesWriter, client: SideClose, server: SideClose) -> None:
    """Write the server's first RST: frame, time and MAC address (see Close.rst_mac).

    Then write the client's first RST: frame, time and acknowledged offset.
    """
    rst = server.rst if server.has_rst else NO_CLOSE
    write_i64_le(out, rst.rst_frame)
    write_i64_le(out, rst.rst_time)
    write_i64_le(out, rst.rst_mac)
    rst = client.rst if client.has_rst else NO_CLOSE
    write_i64_le(out, rst.rst_frame)
    write_i64_le(out, rst.rst_time)
    write_i64_le(out, rst.rst_ack)


def answers_rest(exchange: Exchange, following: Exchange) -> bool:
    """Return whether `following` is only a response, because the server parsed the unread end of a request as a new one."""
    request = exchange.request
    return following.request is None and request is not None and request.reason != COMPLETE


def first_close(client: SideClose, server: SideClose) -> i64:
    """Return the frame number of the first close, or NEVER if neither side closed."""
    if client.frame == NEVER or server.frame == NEVER:
        return max(client.frame, server.frame)
    return min(client.frame, server.frame)


def is_cut_off(exchange: Exchange) -> bool:
    """Return whether a close cut off an exchange.

    If the final response had begun, the exchange was cut off if the close ended this response. Otherwise, the exchange was cut
    off if no later request has a response.
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
    server did not reset the connection, because a reset may destroy the frame before the client's program reads it (RFC 6455
    section 7.1.1).
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


def find_final_at(
    conversation: HttpState, following: Exchange | None, known_time: i64, deadline: i64, at_capture_end: bool
) -> i64:
    """Return the time up to which a row of `closes` describes the connection.

    This is the first of these times that applies: the current time at the end of the capture; the beginning of the next exchange;
    the deadline after a close, if it has passed; the time of the connection's last packet.
    """
    if at_capture_end:
        return conversation.clock
    if following is not None:
        return max(following.began, known_time)
    if deadline != NEVER and deadline <= conversation.clock:
        return deadline
    return conversation.connection.end
