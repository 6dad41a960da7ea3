"""Write rows of `handshakes`: how far the TLS handshake of a connection came, and what ended it."""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from wiredoctor.core.http1.http_state import HttpState
from wiredoctor.core.octets import BytesWriter, write_i64_le
from wiredoctor.core.rows.cells import Rows
from wiredoctor.core.tcp.connection import Connection, Side
from wiredoctor.core.tcp.segment import NEVER
from wiredoctor.core.tls.tls_handshake import FATAL, Flight, TlsHandshake
from wiredoctor.core.tls.tls_hello import Hello
from wiredoctor.protocols.tls.certificates import Chain, covers
from wiredoctor.tables.constants import NONE

TLS_OPENINGS: Final = (0, 4, 5)
"""The indexes into recognition.OPENINGS for a server that speaks TLS: nothing is known, a handshake, or an alert."""

NO_RENEGOTIATION: Final = 100

SIDES: Final = ("", "client", "server")
WAYS: Final = ("", "alert", "close-notify", "fin", "rst")
"""The texts for the cells `ended_by` and `ended_how`, which contain their indexes."""
BY_ALERT: Final = 1
BY_CLOSE_NOTIFY: Final = 2
BY_FIN: Final = 3
BY_RST: Final = 4

HANDSHAKE_CELLS: Final = (
    *("connection", "hello", "certificate", "names_match", "resumed", "ticket", "tunneled"),
    *("client_hello_frame", "client_hello_time", "hello_bytes", "client_acknowledged"),
    *("server_hello_frame", "server_hello_time", "flight_frame", "flight_time", "client_changed"),
    *("client_finished_frame", "client_finished_time", "certificate_asked", "complete", "client_content", "server_content"),
    *("retry_frame", "retry_time", "second_hello_time"),
    *("answered_frame", "answered_time", "reply_frame", "reply_time"),
    *("lost", "server_bytes", "accepted_time", "connected", "one_sided", "rtt_client", "rtt_server"),
    *("ended_by", "ended_how", "alert", "ended_frame", "ended_time", "ended_ack", "final_at"),
)
"""The names of the values in each row. `hello` and `certificate` are indexes into the texts that rows share, or -1."""


class HandshakeEnd:
    """What ended a handshake. `by`: an index into SIDES. `how`: an index into WAYS. `alert`: its number, or NONE.

    `ack`: the offset in the peer's stream that a FIN or RST acknowledges, or a value below 0.
    """

    def __init__(self, by: i64, how: i64, alert: i64, frame: i64, time: i64, ack: i64) -> None:
        self.by: i64 = by
        self.how: i64 = how
        self.alert: i64 = alert
        self.frame: i64 = frame
        self.time: i64 = time
        self.ack: i64 = ack


NO_END: Final = HandshakeEnd(0, 0, NONE, NEVER, NEVER, NEVER)


class HandshakeRows:
    """Writes the table `handshakes`. Rows with equal hellos or certificates share them."""

    def __init__(self) -> None:
        self.rows: Rows = Rows(len(HANDSHAKE_CELLS))
        self.hellos: dict[tuple[Hello, Hello, int], int] = {}
        self.certificates: dict[Chain, int] = {}

    def write(self, connection: Connection, content: HttpState, one_sided: bool, clock: i64) -> None:
        """Write the row of a connection, if it has a ClientHello and no answer in another protocol.

        `one_sided`: only one side's packets were captured.
        `clock`: the time (ns) at which it became certain that no more packets belong to the connection.
        """
        tls = content.tls
        direction = i64(-1) if tls is None else tls.client()
        if tls is None or direction < 0:
            return
        answer = content.second_opening if direction == 0 else content.first_opening
        if answer.kind not in TLS_OPENINGS and not tls.is_tunneled:
            return
        client, server = connection.sides(direction)
        sent, answered = (tls.first, tls.second) if direction == 0 else (tls.second, tls.first)
        ending = find_ending(sent, answered, client, server)
        base, answer_base = max(tls.first_start, 0), max(tls.second_start, 0)
        if direction == 1:
            base, answer_base = answer_base, base
        handshake = connection.handshake
        out = self.rows.begin()
        write_i64_le(out, connection.id)
        self.write_texts(out, tls, sent, answered)
        write_i64_le(out, i64(tls.is_tunneled))
        self.write_progress(out, tls, sent, answered, since(server.acknowledged, base))
        write_i64_le(out, i64(tls.cannot_follow or tls.is_unclear or follows_unseen_close(ending, client, server)))
        write_i64_le(out, since(server.bytes, answer_base))
        write_i64_le(out, i64(NEVER) if handshake is None else handshake.first_answer_time)
        write_i64_le(out, i64(client.acknowledged != NEVER))
        write_i64_le(out, i64(one_sided))
        write_i64_le(out, client.rtt)
        write_i64_le(out, server.rtt)
        write_i64_le(out, ending.by)
        write_i64_le(out, ending.how)
        write_i64_le(out, ending.alert)
        write_i64_le(out, ending.frame)
        write_i64_le(out, ending.time)
        write_i64_le(out, since(ending.ack, answer_base if ending.by == 1 else base))
        write_i64_le(out, clock)

    def write_texts(self, out: BytesWriter, tls: TlsHandshake, sent: Flight, answered: Flight) -> None:
        """Write the cells about the content of the hellos and of the certificates."""
        offer = (sent.hello, answered.hello, int(tls.retry_group))
        write_i64_le(out, self.hellos.setdefault(offer, len(self.hellos)))
        chain = answered.chain
        if chain is None:
            write_i64_le(out, -1)
            write_i64_le(out, NONE)
        else:
            write_i64_le(out, self.certificates.setdefault(chain, len(self.certificates)))
            name = sent.hello.name
            write_i64_le(out, i64(covers(chain.names, name)) if name else i64(NONE))
        write_i64_le(out, i64(tls.is_resumed()))
        write_i64_le(out, i64(answered.sent_ticket))

    def write_progress(self, out: BytesWriter, tls: TlsHandshake, sent: Flight, answered: Flight, acknowledged: i64) -> None:
        """Write the cells about the messages of the handshake. `acknowledged`: up to where the server acknowledged the client."""
        write_i64_le(out, sent.hello_frame)
        write_i64_le(out, sent.hello_time)
        write_i64_le(out, sent.hello_bytes)
        write_i64_le(out, acknowledged)
        write_i64_le(out, answered.hello_frame)
        write_i64_le(out, answered.hello_time)
        write_i64_le(out, answered.end_frame)
        write_i64_le(out, answered.end_time)
        write_i64_le(out, i64(sent.changed))
        write_i64_le(out, sent.finished_frame)
        write_i64_le(out, sent.finished_time)
        write_i64_le(out, i64(tls.certificate_asked))
        write_i64_le(out, i64(tls.is_complete))
        write_i64_le(out, i64(sent.sent_content))
        write_i64_le(out, i64(answered.sent_content))
        write_i64_le(out, tls.retry_frame)
        write_i64_le(out, tls.retry_time)
        write_i64_le(out, tls.second_hello_time)
        write_i64_le(out, tls.answered_frame)
        write_i64_le(out, tls.answered_time)
        write_i64_le(out, tls.reply_frame)
        write_i64_le(out, tls.reply_time)


def since(offset: i64, base: i64) -> i64:
    """Return an offset in a TCP stream as an offset since TLS began at `base`; an unknown offset is returned unchanged."""
    return offset - base if offset >= 0 else offset


def find_ending(sent: Flight, answered: Flight, client: Side, server: Side) -> HandshakeEnd:
    """Return the first alert or close of either side; NO_END if there is none.

    If an alert crossed the other side's close, it is the alert.
    """
    of_client, of_server = first_end(1, sent, client), first_end(2, answered, server)
    if of_client is NO_END or of_server is NO_END:
        return of_server if of_client is NO_END else of_client
    if of_server.frame < of_client.frame:
        first, last, rtt = of_server, of_client, client.rtt
    else:
        first, last, rtt = of_client, of_server, server.rtt
    crossed = last.how == BY_ALERT and first.how != BY_ALERT and last.time - first.time < max(rtt, 0)
    return last if crossed else first


def first_end(by: i64, flight: Flight, side: Side) -> HandshakeEnd:
    """Return how a side ended the handshake; NO_END if it did not."""
    found = NO_END
    close = side.close
    if close is not None:
        if close.fin_frame != NEVER:
            found = HandshakeEnd(by, BY_FIN, NONE, close.fin_frame, close.fin_time, close.fin_ack)
        if close.rst_frame != NEVER and (found is NO_END or close.rst_frame < found.frame):
            found = HandshakeEnd(by, BY_RST, NONE, close.rst_frame, close.rst_time, close.rst_ack)
    alert = flight.alert
    if alert is None:
        return found
    fatal = alert.level == FATAL or (found is not NO_END and alert.number != NO_RENEGOTIATION)
    is_close = alert.is_close or (alert.level < 0 and by == 1 and flight.finished_frame != NEVER)
    # an alert may be in the same packet as the FIN
    if (is_close or fatal) and (found is NO_END or alert.frame <= found.frame):
        number = alert.number if alert.number >= 0 else i64(NONE)
        return HandshakeEnd(by, BY_CLOSE_NOTIFY if is_close else BY_ALERT, number, alert.frame, alert.time, -1)
    return found


def follows_unseen_close(ending: HandshakeEnd, client: Side, server: Side) -> bool:
    """Return whether the FIN or RST that ended a handshake acknowledges more of the other side than was captured.

    What is missing may be the other side's own FIN, which came first.
    """
    if ending.how not in (BY_FIN, BY_RST):
        return False
    return ending.ack > (server.bytes if ending.by == 1 else client.bytes)
