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
from wiredoctor.tables.connection_tables import CONNECTIONS, FOREIGN_CLOSES, FRONTS, HANDSHAKES, PROTOCOLS, TRIES
from wiredoctor.tables.constants import (
    ACK,
    ALL_BUT_A_BYTE,
    ALL_DATA,
    BEFORE,
    CLIENT,
    CWR,
    DONE_EVENT,
    ECE,
    ERROR_EVENT,
    FIN,
    HEAD,
    MARKED_EVENT,
    MAYBE_ERROR_EVENT,
    MESSAGE_BITS,
    MILLISECOND,
    MORE,
    NEVER,
    NO_EVENT,
    NONE,
    NOT_CAPTURED,
    NOTHING,
    OTHER_EVENT,
    PART_OF_DATA,
    PART_OF_HEAD,
    PSH,
    REPEATED_EVENT,
    RST,
    SECOND,
    SERVER,
    SYN,
    UNANSWERED_PROBES,
    URG,
    WHOLE,
    WITH_FIN,
)
from wiredoctor.tables.event_tables import CLOSURES, RECOVERIES, RELEASES, RUNS, TRANSFERS, UNACKNOWLEDGED, WINDOW_STALLS
from wiredoctor.tables.exchange_tables import AT_ITS_END, AT_THE_CLOSE, CLIENT_COLUMNS, EXCHANGES, STATE_COLUMNS, STORED_EXCHANGES
from wiredoctor.tables.message_tables import BURSTS, END_REASONS, FAULTS, FRAMINGS, MESSAGES
from wiredoctor.tables.packet_tables import CAPTURES, ICMP_ERRORS, ODDITIES, PACKETS, RECORDS, SCRATCH, of_captures
from wiredoctor.tables.places import of_connections, of_exchanges, of_protocols
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
    PLAN_OF_FEW,
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

__all__ = ["ACK", "ALL_BUT_A_BYTE", "ALL_DATA", "AT_ITS_END", "AT_THE_CLOSE", "BEFORE", "BOOL", "BURSTS", "CAPTURES", "CLIENT"]
__all__ += ["CLIENT_COLUMNS", "CLOSURES", "CONNECTIONS", "CWR", "DERIVED", "ECE", "END_REASONS", "EVENT_TABLES", "EXCHANGES"]
__all__ += ["FAULTS", "FEW", "FIN", "FOREIGN_CLOSES", "FRAMINGS", "FRONTS", "HEAD", "HTTP_COLUMNS", "I8", "I16", "I32", "I64"]
__all__ += ["ICMP_ERRORS", "LIST64", "MESSAGES", "MESSAGE_BITS", "MILLISECOND", "MORE", "NEVER", "NONE", "NOTHING"]
__all__ += ["NOT_CAPTURED", "ODDITIES", "OLD_NAMES", "PACKETS", "PART_OF_DATA", "PART_OF_HEAD", "PIECES", "PLAN_OF_FEW"]
__all__ += ["PROTOCOLS", "PSH", "READ_AGAIN", "RECORDS", "RECOVERIES", "RELEASES", "RST", "RULE_TABLES", "RUNS", "SCRATCH"]
__all__ += ["SECOND", "SEGMENTS", "SERVER", "SMALL", "STATE_COLUMNS", "STATUSES", "STORED_EXCHANGES", "SYN", "TABLES", "TEXT"]
__all__ += ["TRANSFERS", "TRIES", "U8", "U16", "U32", "U64", "UNACKNOWLEDGED", "UNANSWERED_PROBES", "URG", "WHOLE"]
__all__ += ["WINDOW_STALLS", "WITH_FIN", "Array", "Column", "Columns", "Rows", "Subject", "Table", "of_captures"]
__all__ += ["HANDSHAKES", "of_connections", "of_exchanges", "of_protocols", "with_old_names"]
__all__ += ["DONE_EVENT", "ERROR_EVENT", "MARKED_EVENT", "MAYBE_ERROR_EVENT", "NO_EVENT", "OTHER_EVENT", "REPEATED_EVENT"]
