"""Write the row of a connection in tables.CONNECTIONS, except its HTTP columns."""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from wiredoctor.core.http1.http_state import HttpState, Opening
from wiredoctor.core.octets import BytesWriter, read_i16_be, read_i32_be, read_i64_be, write_i64_le
from wiredoctor.core.rows.cells import Rows, pack_cells
from wiredoctor.core.rows.handshake_rows import HandshakeRows
from wiredoctor.core.tcp.clocks import count_ticks
from wiredoctor.core.tcp.closes import who_closed
from wiredoctor.core.tcp.connection import Connection, Handshake, Oddities, RepeatedSyn, SecondCopies, Side, SynError
from wiredoctor.core.tcp.damage import count_altered, has_checksums
from wiredoctor.core.tcp.history import SAW_RETRANSMISSION
from wiredoctor.core.tcp.segment import NEVER, Segment
from wiredoctor.core.tls.tls_hello import TlsFacts
from wiredoctor.core.unsigned import u16

ENDS: Final = (
    "address_bytes",
    *("client_high", "client_low", "client_port", "server_high", "server_low", "server_port"),
)
"""The column names of addresses and ports in `connections`. An address has two halves; the high half of an IPv4 address is 0."""

OPENINGS: Final = (
    *("client_opening", "client_opening_frame", "client_opening_time"),
    *("server_opening", "server_opening_frame", "server_opening_time"),
)
"""The names of the columns about the first bytes of both sides."""

CONTENT: Final = ("protocol", "exchanges", "cut_heads", "cut_frame", "cut_time", *OPENINGS, "hello")
"""The names of the last columns of `connections`, which describe the content of a connection."""

NUMBERS: Final = (
    *("connection", "client_direction", "packets", "client_packets", "server_packets", "client_bytes", "server_bytes"),
    *("first_frame", "last_frame", "start", "end", "handshake", "rtt_client", "rtt_server"),
    *("client_unseen_bytes", "server_unseen_bytes", "client_unacknowledged", "server_unacknowledged"),
    *("one_sided", "connected", "closed_by", "close", "server_rst_offset", "server_rst_ack", "history", "more_history"),
    *("altered", "client_checksums"),
    *("syns", "syn_frame", "syn_time", "second_syn_time", "third_syn_time", "last_syn_frame", "last_syn_time", "syn_ecn_or_data"),
    *("first_answer_frame", "first_answer_time", "newest_answer_frame", "newest_answer_time"),
    *("answered_syn_frame", "answered_syn_time", "answered_syn_ecn_or_data", "answer_echoes_first_syn"),
    *("refused_frame", "refused_time", "answer_ttl", "data_rtt"),
    *("syn_error_frame", "syn_error_time", "syn_error_type", "syn_error_code", "syn_error_high", "syn_error_low"),
    *("acked_unseen_count", "unseen_frame", "unseen_time"),
    *("unsent_bytes", "unsent_frame", "unsent_time", "unsent_later_frame", "unsent_later_time"),
    *("super_segments", "super_frame", "super_time", "super_mss"),
    *("conflicts", "conflict_frame", "conflict_time", "conflict_first_frame", "reuse_frame", "reuse_time"),
    *("late_answer_frame", "late_answer_time", "challenge_frame", "challenge_time", "translated_time"),
    *("damaged_syns", "damaged_syn_acks", "wrong_checksum", "altered_frame", "altered_time"),
    *("duplicates", "duplicate_frame", "duplicate_time", "duplicate_first_frame", "duplicate_difference"),
    *("client_ticks", "client_tick_time", "server_ticks", "server_tick_time"),
    *("translated", "final_at"),
    *ENDS,
    *CONTENT,
)
"""The names of the columns of `connections`, which all contain numbers.

`closed_by` is an index into closes.CLOSED_BY, and `close` an index into closes.CLOSES. `history` and `more_history` contain
letters as encoded by history.py. `protocol` is 0 without payload, otherwise an index into recognition.py plus 1. `hello` and
`translated` are indices into ConnectionRows.hellos and ConnectionRows.translated, or -1.
"""

NO_HANDSHAKE: Final = Handshake()
NO_REPETITION: Final = RepeatedSyn()
NO_ERROR: Final = SynError(NEVER, NEVER, -1, -1, 0, 0)
NO_CONTENT: Final = pack_cells([0, 0, 0, NEVER, NEVER, 0, NEVER, NEVER, 0, NEVER, NEVER, -1])
"""The values of the columns CONTENT for a connection without content."""


class ConnectionRows:
    """Writes the table `connections`.

    `hellos`: the facts from the TLS hellos of the connections, each with its index. `translated`: the keys (addresses and ports)
    of connections after address translation. `handshakes`: the rows of the table `handshakes`.
    """

    def __init__(self) -> None:
        self.rows: Rows = Rows(len(NUMBERS))
        self.hellos: dict[TlsFacts, int] = {}
        self.translated: list[bytes] = []
        self.handshakes: HandshakeRows = HandshakeRows()

    def write(self, connection: Connection, speaker: i64, content: HttpState | None, clock: i64) -> None:
        """Write the row of a connection.

        `clock`: the time (ns) at which it became certain that no more packets belong to the connection. `speaker`: the direction
        of the HTTP client, or -1. `speaker` is only used to find the client if no SYN was captured.
        """
        direction = client_direction(connection, speaker)
        client, server = connection.sides(direction)
        out = self.rows.begin()
        write_i64_le(out, connection.id)
        write_i64_le(out, direction)
        write_i64_le(out, client.packets + server.packets)
        write_i64_le(out, client.packets)
        write_i64_le(out, server.packets)
        write_i64_le(out, client.bytes)
        write_i64_le(out, server.bytes)
        write_i64_le(out, connection.first_frame)
        write_i64_le(out, connection.last_frame)
        write_i64_le(out, connection.start)
        write_i64_le(out, connection.end)
        write_i64_le(out, i64(connection.has_both_syns))
        write_i64_le(out, client.rtt)
        write_i64_le(out, server.rtt)
        write_i64_le(out, client.unseen_bytes)
        write_i64_le(out, server.unseen_bytes)
        write_i64_le(out, count_unacknowledged(client, server))
        write_i64_le(out, count_unacknowledged(server, client))
        write_i64_le(out, i64(is_one_sided(connection)))
        write_i64_le(out, i64(client.acknowledged != NEVER))
        closed_by, way = who_closed(client.close, server.close)
        write_i64_le(out, closed_by)
        write_i64_le(out, way)
        write_i64_le(out, i64(NEVER) if server.close is None else server.close.rst_offset)
        write_i64_le(out, i64(NEVER) if server.close is None else server.close.rst_ack)
        write_i64_le(out, connection.history)
        write_i64_le(out, connection.more_history)
        write_i64_le(out, count_altered(connection))
        write_i64_le(out, i64(has_checksums(client)))
        write_handshake(out, NO_HANDSHAKE if connection.handshake is None else connection.handshake)
        if connection.oddities is None:
            out.write(NO_ODDITIES)
        else:
            write_oddities(out, connection.oddities)
        for side in (client, server):
            ticks, passed = count_ticks(side)
            write_i64_le(out, ticks)
            write_i64_le(out, passed)
        if connection.oddities is None or connection.oddities.translated is None:
            write_i64_le(out, -1)
        else:
            write_i64_le(out, len(self.translated))
            self.translated.append(connection.oddities.translated)
        write_i64_le(out, clock)
        write_ends(out, connection.key, direction)
        self.write_content(content, direction)
        if content is not None:
            self.handshakes.write(connection, content, is_one_sided(connection), clock)

    def write_content(self, content: HttpState | None, client: i64) -> None:
        """Write the columns CONTENT: protocol, number of exchanges, packets cut off by the snap length, first bytes, TLS hellos.

        `client`: the direction in which the client sends.
        """
        out = self.rows.cells
        if content is None:
            out.write(NO_CONTENT)
            return
        write_i64_le(out, content.protocol + 1)
        write_i64_le(out, content.queue.next_index)
        cuts = content.cuts
        write_i64_le(out, i64(0) if cuts is None else cuts.count)
        write_i64_le(out, i64(NEVER) if cuts is None else cuts.frame)
        write_i64_le(out, i64(NEVER) if cuts is None else cuts.time)
        opening, answer = content.first_opening, content.second_opening
        if client == 1:
            opening, answer = answer, opening
        write_opening(out, opening)
        write_opening(out, answer)
        if content.tls is None:
            write_i64_le(out, -1)
            return
        write_i64_le(out, self.hellos.setdefault(content.tls_facts(), len(self.hellos)))


def write_opening(out: BytesWriter, opening: Opening) -> None:
    """Write the columns about the first bytes of a side."""
    write_i64_le(out, opening.kind)
    write_i64_le(out, opening.frame)
    write_i64_le(out, opening.time)


def write_ends(out: BytesWriter, key: bytes, direction: i64) -> None:
    """Write the length of an address, then the address and port of the client and of the server.

    `direction`: the direction in which the client sends.
    """
    size = i64(len(key) - 4) // 2
    write_i64_le(out, size)
    write_end(out, key, size, direction)
    write_end(out, key, size, 1 - direction)


def write_end(out: BytesWriter, key: bytes, size: i64, end: i64) -> None:
    """Write the address, in two halves, and the port of an endpoint in `key`: the source if `end` is 0, the destination if 1.

    `size`: the length of the address in bytes.
    """
    at = end * size
    if size == 4:
        write_i64_le(out, 0)
        write_i64_le(out, i64(read_i32_be(key, at)) & 0xFFFFFFFF)
    else:
        write_i64_le(out, read_i64_be(key, at))
        write_i64_le(out, read_i64_be(key, at + 8))
    write_i64_le(out, i64(read_i16_be(key, 2 * size + 2 * end)) & 0xFFFF)


def client_direction(connection: Connection, speaker: i64) -> i64:
    """Return the direction in which the client sends (0 or 1).

    A SYN or SYN-ACK decides. Without one, the client is the sender of the HTTP requests (in direction `speaker`, if it is not
    -1). Otherwise, the client is the endpoint with the higher port.
    """
    if connection.client_certainty > 0:
        return connection.client
    if speaker >= 0:
        return speaker
    return 1 if port_of(connection.key, False) > port_of(connection.key, True) else 0


def port_of(key: bytes, is_source: bool) -> i64:
    """Return the source port or the destination port in the key of a connection."""
    return u16(key, len(key) - 4 if is_source else len(key) - 2)


def is_server_second(connection: Connection) -> i64:
    """Return 1 if the second endpoint is assumed to be the server, otherwise 0.

    The endpoint with the lower port counts as the server; if the ports are equal, the second endpoint does.
    """
    return 1 if port_of(connection.key, False) <= port_of(connection.key, True) else 0


def sender_role(connection: Connection, segment: Segment) -> i64:
    """Return the role of a segment's sender: 0 client, 1 server, -1 if only ports and packet order indicate it."""
    if connection.client_certainty > 1 or (connection.client_certainty == 1 and segment.part.http):
        return 0 if connection.client == segment.direction else 1
    return -1


def write_handshake(out: BytesWriter, handshake: Handshake) -> None:
    """Write the columns that describe how a connection was established."""
    repeated = NO_REPETITION if handshake.repeated is None else handshake.repeated
    last_frame, last_time, data_rtt = handshake.syn_frame, handshake.syn_time, i64(NEVER)
    if handshake.repeated is not None:
        last_frame, last_time = repeated.last_frame, repeated.last_time
        data_rtt = max(repeated.data_rtt_first, 0) + max(repeated.data_rtt_second, 0)
    elif handshake.syns == 0:
        last_frame = NEVER
    write_i64_le(out, i64(handshake.syns))
    write_i64_le(out, handshake.syn_frame)
    write_i64_le(out, handshake.syn_time)
    write_i64_le(out, repeated.second_time)
    write_i64_le(out, repeated.third_time)
    write_i64_le(out, last_frame)
    write_i64_le(out, last_time)
    write_i64_le(out, i64(handshake.has_extras))
    write_i64_le(out, handshake.first_answer_frame)
    write_i64_le(out, handshake.first_answer_time)
    write_i64_le(out, handshake.newest_answer_frame)
    write_i64_le(out, handshake.newest_answer_time)
    write_i64_le(out, handshake.answered_syn_frame)
    write_i64_le(out, handshake.answered_syn_time)
    write_i64_le(out, i64(handshake.answered_syn_has_extras))
    write_i64_le(out, i64(handshake.echoes_first))
    write_i64_le(out, handshake.refused_frame)
    write_i64_le(out, handshake.refused_time)
    write_i64_le(out, i64(handshake.answer_ttl) if handshake.answer_ttl > 0 else NEVER)
    write_i64_le(out, data_rtt)
    error = NO_ERROR if handshake.error is None else handshake.error
    write_i64_le(out, error.frame)
    write_i64_le(out, error.time)
    write_i64_le(out, error.type)
    write_i64_le(out, error.code)
    write_i64_le(out, error.high)
    write_i64_le(out, error.low)


def write_oddities(out: BytesWriter, oddities: Oddities) -> None:
    """Write the columns that count abnormal observations."""
    write_i64_le(out, oddities.unseen_places)
    write_i64_le(out, oddities.unseen_frame)
    write_i64_le(out, oddities.unseen_time)
    write_i64_le(out, oddities.unsent_bytes)
    write_i64_le(out, oddities.unsent_frame)
    write_i64_le(out, oddities.unsent_time)
    write_i64_le(out, oddities.unsent_later_frame)
    write_i64_le(out, oddities.unsent_later_time)
    write_i64_le(out, oddities.super_segments)
    write_i64_le(out, oddities.super_frame)
    write_i64_le(out, oddities.super_time)
    write_i64_le(out, oddities.super_mss)
    write_i64_le(out, oddities.conflicts)
    write_i64_le(out, oddities.conflict_frame)
    write_i64_le(out, oddities.conflict_time)
    write_i64_le(out, oddities.conflict_first_frame)
    write_i64_le(out, oddities.reuse_frame)
    write_i64_le(out, oddities.reuse_time)
    write_i64_le(out, oddities.late_answer_frame)
    write_i64_le(out, oddities.late_answer_time)
    write_i64_le(out, oddities.challenge_frame)
    write_i64_le(out, oddities.challenge_time)
    write_i64_le(out, oddities.translated_time)
    write_i64_le(out, oddities.damaged_syns)
    write_i64_le(out, oddities.damaged_syn_acks)
    write_i64_le(out, oddities.damage)
    altered = oddities.altered
    write_i64_le(out, NEVER if altered is None else altered.frame)
    write_i64_le(out, NEVER if altered is None else altered.time)
    write_copies(out, NO_COPIES if oddities.copies is None else oddities.copies)


def write_copies(out: BytesWriter, copies: SecondCopies) -> None:
    """Write the columns about packets that were captured twice.

    The columns are the number of these packets, and for the first of them both frame numbers, the time and the difference.
    """
    write_i64_le(out, copies.count)
    write_i64_le(out, copies.frame)
    write_i64_le(out, copies.time)
    write_i64_le(out, copies.first_frame)
    write_i64_le(out, copies.difference if copies.count else i64(-1))


def is_one_sided(connection: Connection) -> bool:
    """Return whether only packets of one side were captured, although these packets show that the other side replied.

    The evidence is that the ACK numbers advance, or that a packet acknowledges the reply to a SYN. If the SYNs were not captured,
    it is enough that the captured side sends new data and never retransmits.
    """
    side: Side = connection.first if connection.first.packets else connection.second
    if connection.first.packets and connection.second.packets:
        return False
    if side.acknowledged == NEVER:
        return False
    handshake = connection.handshake
    if handshake is None:
        goes_on = side.packets >= 3 and side.bytes > 0 and side.letters & SAW_RETRANSMISSION == 0
        return side.acknowledged > 0 or goes_on
    return side.acknowledged > 0 or handshake.syn_frame != NEVER


def count_unacknowledged(sender: Side, receiver: Side) -> i64:
    """Return how many payload bytes of `sender` the receiver has not acknowledged; 0 if the receiver sent no packet.

    The acknowledgment number of an RST from the receiver is used as well.
    """
    if receiver.packets == 0 or sender.bytes == 0:
        return 0
    end = sender.reached
    if sender.close is not None and sender.close.fin_offset != NEVER:
        end = min(end, sender.close.fin_offset)
    acknowledged = max(receiver.acknowledged, end - sender.bytes)
    if receiver.close is not None:
        acknowledged = max(acknowledged, receiver.close.rst_ack)
    return max(end - acknowledged, 0)


def cells_of_oddities() -> bytes:
    """Return the columns that `write_oddities` writes for a connection in which nothing abnormal was observed."""
    out = BytesWriter()
    write_oddities(out, Oddities())
    return out.getvalue()


NO_COPIES: Final = SecondCopies()
NO_ODDITIES: Final = cells_of_oddities()
