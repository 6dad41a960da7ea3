"""The tables by name: those that reports read, those that rules read, and those that a second pass over the capture returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from wiredoctor.tables.connection_tables import CONNECTIONS, FOREIGN_CLOSES, FRONTS, HANDSHAKES, TRIES
from wiredoctor.tables.event_tables import CLOSURES, RECOVERIES, RELEASES, RUNS, TRANSFERS, UNACKNOWLEDGED, WINDOW_STALLS
from wiredoctor.tables.exchange_tables import AT_ITS_END, AT_THE_CLOSE, EXCHANGES
from wiredoctor.tables.message_tables import BURSTS, FAULTS, MESSAGES
from wiredoctor.tables.packet_tables import CAPTURES, ICMP_ERRORS, ODDITIES, PACKETS, RECORDS
from wiredoctor.tables.segment_tables import PIECES, SEGMENTS
from wiredoctor.tables.table import I64, TEXT, Column
from wiredoctor.tables.table import nullable as _n
from wiredoctor.tables.table import required as _c

TABLES = {
    t.name: t
    for t in (
        *(CAPTURES, RECORDS, PACKETS, ODDITIES, SEGMENTS, PIECES, BURSTS, MESSAGES, FAULTS, ICMP_ERRORS, EXCHANGES),
        CONNECTIONS,
    )
}

EVENT_TABLES = {t.name: t for t in (RELEASES, RECOVERIES, CLOSURES, WINDOW_STALLS, RUNS, UNACKNOWLEDGED, TRANSFERS)}
"""The tables whose rows are limited by the cutoffs of the enabled rules; a rule that reads one of them declares cutoffs."""

RULE_TABLES = (
    TABLES
    | EVENT_TABLES
    | {
        "exchanges": AT_ITS_END.table,
        "closes": AT_THE_CLOSE.table,
        "foreign_closes": FOREIGN_CLOSES,
        "handshakes": HANDSHAKES,
        "tries": TRIES,
        "fronts": FRONTS,
    }
)
"""The tables that a rule can read."""

_OWNER = _n("connection", I64, "connection id; null if the packet belongs to no connection")

READ_AGAIN = TABLES | {
    "records": replace(RECORDS, columns=(PACKETS.columns[0], _OWNER, *RECORDS.columns)),
    "packets": replace(PACKETS, columns=(_OWNER, *PACKETS.columns)),
}
"""The tables that a second pass over the capture returns.

Unlike in the first pass, records also have their frame number and connection id, and packets have their connection id.
"""

_ENDS = (_n("client", TEXT, "client endpoint, address:port"), _n("server", TEXT, "server endpoint, address:port"))

DERIVED: Mapping[str, tuple[Column, ...]] = {
    "exchanges": (
        *_ENDS,
        _c(
            "duration",
            I64,
            "time from the first byte of the exchange to its last one or, without a response, to the close that ended the "
            "client's wait",
            "ns",
        ),
        _n(
            "response_wait",
            I64,
            "how long the client waited for a response that never came or broke off: from the first byte of the exchange to the "
            "FIN or RST of either side or, if the connection stayed open, to the end of the capture; null for other exchanges",
            "ns",
        ),
    ),
    "connections": (_c("duration", I64, "time from the first packet of the connection to its last one", "ns"),),
}
"""The columns that exports compute from other columns, by table."""
