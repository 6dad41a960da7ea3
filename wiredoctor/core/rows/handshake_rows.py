"""Write rows of `handshakes`: how far the TLS handshake of a connection came, and what ended it."""

from __future__ import annotations

from mypy_extensions import i64

from wiredoctor.core.http1.http_state import HttpState
from wiredoctor.core.tcp.connection import Connection, Side
from wiredoctor.core.tcp.segment import NEVER
from wiredoctor.protocols.tls.handshake import Ending, Flight, Place, find_ending
from wiredoctor.tables.constants import NONE

TLS_OPENINGS = (0, 4, 5)
"""The indexes into recognition.OPENINGS for a server that speaks TLS: nothing is known, a handshake, or an alert."""


class HandshakeRows:
    """Writes the table `handshakes`. Each row is a tuple."""

    def __init__(self) -> None:
        self.rows: list[tuple[object, ...]] = []

    def write(self, connection: Connection, content: HttpState, one_sided: bool, clock: i64) -> None:
        """Write the row of a connection, if it has a ClientHello and no answer in another protocol.

        `one_sided`: only one side's packets were captured.
        `clock`: the time (ns) at which it became certain that no more packets belong to the connection.
        """
        tls = content.tls
        direction = None if tls is None else tls.client()
        if tls is None or direction is None:
            return
        answer = content.second_opening if direction == 0 else content.first_opening
        if answer.kind not in TLS_OPENINGS:
            return
        client, server = connection.sides(direction)
        sent, answered = tls.flights[direction], tls.flights[1 - direction]
        hello, chosen = sent.reader.hello, answered.reader.hello
        ending = end_of(sent, answered, client, server)
        handshake = connection.handshake
        accepted = NEVER if handshake is None else handshake.first_answer_time
        is_lost = tls.is_lost or follows_unseen_close(ending, client, server)
        self.rows.append(
            (
                *(connection.id, chosen.version or hello.version, hello.name, hello.protocols, hello.versions, hello.suites),
                *(*cells(sent.hello), sent.hello_bytes, server.acknowledged),
                *(*cells(answered.hello), *cells(answered.end), sent.changed, *cells(sent.finished)),
                *(tls.certificate_asked, tls.is_complete, is_lost, server.bytes, accepted),
                *(client.acknowledged != NEVER, one_sided, client.rtt, server.rtt),
                *((ending.by, ending.how, NONE if ending.alert is None else ending.alert) if ending else ("", "", NONE)),
                *((ending.frame, ending.time, ending.ack) if ending else (NEVER, NEVER, NEVER)),
                clock,
            )
        )

    def take(self) -> list[tuple[object, ...]]:
        """Return the rows, and begin a new table."""
        rows = self.rows
        self.rows = []
        return rows


def cells(place: Place | None) -> tuple[int, int]:
    """Return the frame and the time of a place."""
    return (NEVER, NEVER) if place is None else (place.frame, place.time)


def end_of(sent: Flight, answered: Flight, client: Side, server: Side) -> Ending | None:
    """Return what ended the handshake: an alert, close_notify, FIN or RST; None if nothing did."""
    return find_ending(sent, answered, closes_of(client), closes_of(server), client.rtt, server.rtt)


def follows_unseen_close(ending: Ending | None, client: Side, server: Side) -> bool:
    """Return whether the FIN or RST that ended a handshake acknowledges more of the other side than was captured.

    What is missing may be the other side's own FIN, which came first.
    """
    if ending is None or ending.how not in ("fin", "rst"):
        return False
    return ending.ack > (server.bytes if ending.by == "client" else client.bytes)


def closes_of(side: Side) -> list[tuple[str, int, int, int]]:
    """Return the first FIN and the first RST of a side as tuples of name, frame, time and acknowledged offset."""
    close = side.close
    if close is None:
        return []
    found: list[tuple[str, int, int, int]] = []
    if close.fin_frame != NEVER:
        found.append(("fin", close.fin_frame, close.fin_time, close.fin_ack))
    if close.rst_frame != NEVER:
        found.append(("rst", close.rst_frame, close.rst_time, close.rst_ack))
    return found
