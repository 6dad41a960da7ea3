"""All tables and columns of wiredoctor, each with its meaning and unit. Read this first.

The modules declare the tables by subject, and `all_tables` lists them. The core writes the rows of these tables; rules and
reports read them as Polars frames. Tables are described only here; the documentation and exports are generated from these
descriptions.

Times are int64 nanoseconds since the first packet of the capture. The time of that packet is kept separately, in nanoseconds
since 1970 as a Python integer, so any year fits. Frames count from 1 like Wireshark's `frame.number`. Connection ids equal
Wireshark's `tcp.stream`. Stream offsets are sequence numbers unwrapped to 64 bits: 0 is the first byte after the SYN of that
direction. Without a SYN, 0 is the first byte captured, so an earlier byte that arrives later has a negative offset. "Seen" always
means: at the capture point.
"""

from __future__ import annotations

from wiredoctor.tables.all_tables import DERIVED, EVENT_TABLES, READ_AGAIN, RULE_TABLES, TABLES
from wiredoctor.tables.connection_tables import CONNECTIONS, FOREIGN_CLOSES, FRONTS, PROTOCOLS, TRIES
from wiredoctor.tables.constants import (
    ACK,
    CLIENT,
    CWR,
    ECE,
    FIN,
    MESSAGE_BITS,
    MILLISECOND,
    NEVER,
    NONE,
    NOT_CAPTURED,
    PSH,
    RST,
    SECOND,
    SERVER,
    SYN,
    URG,
)
from wiredoctor.tables.event_tables import CLOSURES, RECOVERIES, RELEASES, RUNS, TRANSFERS, UNACKNOWLEDGED, WINDOW_STALLS
from wiredoctor.tables.exchange_tables import (
    AS_OF,
    ASKED,
    AT_CLOSE,
    CLOSES,
    CLOSES_OF_STORED,
    EXCHANGES,
    FINISHED_AT,
    FINISHED_EXCHANGES,
    FINISHED_OF_STORED,
    STORED_EXCHANGES,
    closes,
    finished_exchanges,
)
from wiredoctor.tables.message_tables import BURSTS, END_REASONS, FAULTS, FRAMINGS, MESSAGES
from wiredoctor.tables.packet_tables import CAPTURES, ICMP_ERRORS, ODDITIES, PACKETS, RECORDS, SCRATCH
from wiredoctor.tables.places import of_connections, of_exchanges
from wiredoctor.tables.renamed_columns import OLD_NAMES, with_old_names
from wiredoctor.tables.segment_tables import HTTP_COLUMNS, PIECES, SEGMENTS
from wiredoctor.tables.table import (
    BOOL,
    FEW,
    I8,
    I16,
    I32,
    I64,
    LIST64,
    SMALL,
    STATUSES,
    TEXT,
    U8,
    U16,
    U32,
    U64,
    Array,
    Column,
    Columns,
    Rows,
    Subject,
    Table,
)

__all__ = [
    "ACK",
    "ASKED",
    "AS_OF",
    "AT_CLOSE",
    "BOOL",
    "BURSTS",
    "CAPTURES",
    "CLIENT",
    "CLOSES",
    "CLOSES_OF_STORED",
    "CLOSURES",
    "CONNECTIONS",
    "CWR",
    "DERIVED",
    "ECE",
    "END_REASONS",
    "EVENT_TABLES",
    "EXCHANGES",
    "FAULTS",
    "FEW",
    "FIN",
    "FINISHED_AT",
    "FINISHED_EXCHANGES",
    "FINISHED_OF_STORED",
    "FOREIGN_CLOSES",
    "FRAMINGS",
    "FRONTS",
    "HTTP_COLUMNS",
    "I8",
    "I16",
    "I32",
    "I64",
    "ICMP_ERRORS",
    "LIST64",
    "MESSAGES",
    "MESSAGE_BITS",
    "MILLISECOND",
    "NEVER",
    "NONE",
    "NOT_CAPTURED",
    "ODDITIES",
    "OLD_NAMES",
    "PACKETS",
    "PIECES",
    "PROTOCOLS",
    "PSH",
    "READ_AGAIN",
    "RECORDS",
    "RECOVERIES",
    "RELEASES",
    "RST",
    "RULE_TABLES",
    "RUNS",
    "SCRATCH",
    "SECOND",
    "SEGMENTS",
    "SERVER",
    "SMALL",
    "STATUSES",
    "STORED_EXCHANGES",
    "SYN",
    "TABLES",
    "TEXT",
    "TRANSFERS",
    "TRIES",
    "U8",
    "U16",
    "U32",
    "U64",
    "UNACKNOWLEDGED",
    "URG",
    "WINDOW_STALLS",
    "Array",
    "Column",
    "Columns",
    "Rows",
    "Subject",
    "Table",
    "closes",
    "finished_exchanges",
    "of_connections",
    "of_exchanges",
    "with_old_names",
]
