"""All tables and columns of wiredoctor, each with its meaning and unit. Read this first.

The core writes the rows of these tables; rules and reports read them as Polars frames. Tables are described only here; the
documentation and exports are generated from these descriptions.

Times are int64 nanoseconds since the first packet of the capture. The time of that packet is kept separately, in nanoseconds
since 1970 as a Python integer, so any year fits. Frames count from 1 like Wireshark's `frame.number`. Connection ids equal
Wireshark's `tcp.stream`. Stream offsets are sequence numbers unwrapped to 64 bits: 0 is the first byte after the SYN of that
direction. Without a SYN, 0 is the first byte captured, so an earlier byte that arrives later has a negative offset. "Seen" always
means: at the capture point.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

Rows = TypeVar("Rows", pl.DataFrame, pl.LazyFrame)

Array = np.ndarray[Any, Any]
Columns = dict[str, Array]
"""The rows of a table by column name, as arrays of equal length."""

FIN, SYN, RST, PSH, ACK, URG, ECE, CWR = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80
"""The control bits of the TCP header (RFC 9293 section 3.1)."""

MESSAGE_BITS = 26
"""The number of low bits of a message id that hold the index of the message and its direction.

The id is connection << MESSAGE_BITS | index in its direction << 1 | direction. It is unique, ascending in a direction, and
independent of where batches end. After 33 million messages, the index of a direction restarts at 0.
"""

SECOND = 1_000_000_000
MILLISECOND = 1_000_000
"""The number of nanoseconds in a millisecond."""

CLIENT, SERVER = 0, 1
"""The roles of the sides of a connection; NONE while only ports and order indicate the role."""

NONE = -1
"""The sentinel for "no value" in integer columns of less than 64 bits."""

NOT_CAPTURED = -2
"""The sentinel for an option that the snap length may have cut off."""

NEVER = -(1 << 62)
"""The sentinel for "no value" in 64-bit columns (times, offsets, frames, ids), where -1 is a valid time and a valid offset."""


class Column(NamedTuple):
    """A column: its name, type, unit (empty without one) and meaning.

    In `nullable` columns, "no value" is NEVER (64 bits) or NONE (fewer bits) in `Columns`, and null in Polars.
    """

    name: str
    dtype: pl.DataType
    unit: str
    meaning: str
    nullable: bool = False

    @property
    def sentinel(self) -> int | None:
        """The sentinel for "no value" in `Columns`; None if the column always has a value."""
        if not self.nullable or not self.dtype.is_integer():
            return None
        return NEVER if self.dtype == pl.Int64 else NONE


SMALL = 256
"""The number of rows up to which passing values to Polars is faster than passing arrays."""


FEW = 64
"""The number of rows up to which passing rows to Polars is faster than passing columns, of which there may be a hundred."""


Subject = Literal["exchanges", "segments", "connections", "captures"]
"""The subject of a table's rows; without any, a capture gives the rules that read the table nothing to check."""


@cache
def _without_rows(dtype: pl.DataType) -> pl.Series:
    """Return a column without rows."""
    return pl.Series(dtype=dtype)


@dataclass(frozen=True)
class Table:
    """A table: its name, the meaning of a row, and its columns in order.

    `at_packet`: a row is final when its packet was read; later events of its exchange do not change it. `exchange_by_time`:
    candidates from rows without an exchange belong to the exchange that waited at that time. `writer`: the function below
    wiredoctor/ that decides what becomes a row, or describes it: "core/stalls.py:Stalls.write_release".
    """

    name: str
    row: str
    columns: tuple[Column, ...]
    subject: Subject = "exchanges"
    at_packet: bool = False
    exchange_by_time: bool = False
    writer: str = ""

    @cached_property
    def schema(self) -> pl.Schema:
        """The Polars type of each column."""
        return pl.Schema({c.name: c.dtype for c in self.columns})

    def only(self, names: Collection[str]) -> Table:
        """Return the table with only these columns. Raise KeyError for an unknown column."""
        if unknown := set(names) - {c.name for c in self.columns}:
            raise KeyError(f"{self.name} has no such column: {', '.join(sorted(unknown))}")
        return replace(self, columns=tuple(c for c in self.columns if c.name in names))

    @cached_property
    def _empty(self) -> pl.DataFrame:
        # three times as fast as creating it from a schema, which matters for small captures
        return pl.DataFrame([_without_rows(dtype).alias(name) for name, dtype in self.schema.items()])

    @cached_property
    def _sentinels(self) -> tuple[int | None, ...]:
        return tuple(c.sentinel for c in self.columns)

    def empty(self) -> pl.DataFrame:
        """Return a frame of the table without rows."""
        return self._empty.clone()

    def frame(self, columns: Mapping[str, Any]) -> pl.DataFrame:
        """Convert `Columns` (or lists) to a Polars frame with exactly the columns of this table; sentinels become null."""
        if _is_small(columns):
            return self._small(columns)
        # columns without a sentinel need no conversion
        free = {
            c.name
            for c, sentinel in zip(self.columns, self._sentinels, strict=True)
            if sentinel is not None and isinstance(array := columns[c.name], np.ndarray) and not (array == sentinel).any()
        }
        return self.lazy(columns, free).collect()

    def _small(self, columns: Mapping[str, Any]) -> pl.DataFrame:
        """Convert a few rows without a query plan and without numpy.ma, which Polars imports with the first array.

        For a hundred packets both would take longer than everything else.
        """
        lists: list[list[Any]] = []
        for c, sentinel in zip(self.columns, self._sentinels, strict=True):
            values = columns[c.name]
            listed: list[Any] = values.tolist() if isinstance(values, np.ndarray) else values
            if sentinel is not None and sentinel in listed:
                listed = [None if value == sentinel else value for value in listed]
            lists.append(listed)
        height = len(lists[0])
        if not height:
            return self.empty()
        if height <= FEW:
            # a number out of its column's range is an error here, and null below
            with suppress(pl.exceptions.ComputeError):
                return pl.DataFrame([*zip(*lists, strict=True)], self.schema, orient="row", strict=False)
        series = [pl.Series(c.name, listed, c.dtype, strict=False) for c, listed in zip(self.columns, lists, strict=True)]
        return pl.DataFrame(series)

    def lazy(self, columns: Mapping[str, Any], whole: Collection[str] = ()) -> pl.LazyFrame:
        """Return a lazy frame that converts columns on demand. Columns named in `whole` contain no sentinel."""
        series: list[pl.Series] = []
        fix: list[pl.Expr] = []
        for c, sentinel in zip(self.columns, self._sentinels, strict=True):
            s = pl.Series(c.name, columns[c.name])
            series.append(s)
            nullable = sentinel is not None and c.name not in whole
            other = s.dtype != c.dtype
            if nullable or other:
                value = pl.col(c.name)
                if nullable:
                    value = pl.when(value != sentinel).then(value)
                if other:
                    value = value.cast(c.dtype, strict=False)
                fix.append(value.alias(c.name))
        return pl.DataFrame(series).lazy().with_columns(fix)


def _is_small(columns: Mapping[str, Any]) -> bool:
    return all(len(values) <= SMALL for values in columns.values())


I8, I16, I32, I64 = pl.Int8(), pl.Int16(), pl.Int32(), pl.Int64()
U8, U16, U32, U64 = pl.UInt8(), pl.UInt16(), pl.UInt32(), pl.UInt64()
BOOL, TEXT, STATUSES = pl.Boolean(), pl.String(), pl.List(pl.UInt16())
LIST64 = pl.List(pl.Int64())


def _c(name: str, dtype: pl.DataType, unit: str, meaning: str) -> Column:
    return Column(name, dtype, unit, meaning)


def _n(name: str, dtype: pl.DataType, unit: str, meaning: str) -> Column:
    return Column(name, dtype, unit, meaning, nullable=True)


CAPTURES = Table(
    "captures",
    "a capture file",
    (
        _c("capture", TEXT, "", "name of the file, as given by the user"),
        _c("format", TEXT, "", "file format: pcap, pcapng or snoop"),
        _c("packets", I64, "", "number of packet records read"),
        _c("bytes", I64, "bytes", "size of the file"),
        _c("last_frame", I64, "", "number of the last packet; 0 without packets"),
        _n("first_time", I64, "ns", "time of the first packet, since 1970 in UTC; null if it does not fit in 64 bits"),
        _c("last_time", I64, "ns", "time of the last packet, since the first packet"),
        _c("damage", TEXT, "", "what could not be read, and where; empty if everything was read"),
        _n("snap_length", I64, "bytes", "captured length of the longest truncated packet; null if there is none"),
        _c(
            "clock_steps", I64, "", "number of packets stamped more than 1 ms earlier than the previous packet on their interface"
        ),
        _c("clock_step_worst", I64, "ns", "largest of these time differences"),
        _c("clock_step_frame", LIST64, "", "first five packets with an earlier timestamp"),
        _c("clock_step_time", LIST64, "ns", "times of `clock_step_frame`"),
        _c("clock_step_frame_before", LIST64, "", "packets before those five, on the same interfaces"),
        _c("clock_step_time_before", LIST64, "ns", "times of `clock_step_frame_before`"),
        _c("shuffled", I64, "", "number of packets that were out of order in the file and were sorted by time"),
        _c("shuffled_worst", I64, "ns", "largest time difference by which they were out of order"),
        _c("shuffled_frame", LIST64, "", "first five packets that were out of order"),
        _c("shuffled_time", LIST64, "ns", "times of `shuffled_frame`"),
        _c("shuffled_frame_before", LIST64, "", "for each of these five, the packet with the latest time before it in the file"),
        _c("shuffled_time_before", LIST64, "ns", "times of `shuffled_frame_before`"),
        _n("dropped", I64, "", "packets dropped before they could be captured; null if the capture does not count them"),
        _c(
            "dropped_of",
            I64,
            "",
            "number of packets that the capture would have without drops, and without later removal of packets",
        ),
        _c("dropped_on", TEXT, "", 'names of the interfaces that dropped packets: "eth0", "eth0 and eth1"'),
        _n("dropped_start", I64, "ns", "time after which packets were first dropped; null if unknown"),
        _n("dropped_end", I64, "ns", "time before which packets were last dropped; null if none were dropped"),
    ),
    subject="captures",
)

RECORDS = Table(
    "records",
    "a packet record of the capture file",
    (
        _c("time", I64, "ns", "timestamp of the record, since the first record"),
        _c("interface", I32, "", "index in the capture's list of interfaces"),
        _c(
            "link_type",
            I32,
            "",
            "LINKTYPE_ number (tcpdump.org/linktypes.html); -1: a record that is not a packet but counts as a frame",
        ),
        _c("offset", I64, "bytes", "position of the packet in the file"),
        _c("captured", I64, "bytes", "number of captured bytes of the packet"),
        _c("length", I64, "bytes", "length of the packet on the network"),
    ),
    subject="captures",
    writer="core/recorder.py:PacketRecorder.write_record",
)

PACKETS = Table(
    "packets",
    "a packet with a TCP header, in capture order",
    (
        _c("frame", I64, "", "number of the packet in its capture"),
        _c("time", I64, "ns", "timestamp, since the first packet of the capture"),
        _c("interface", I32, "", "index in the capture's list of interfaces"),
        _c("ip_version", U8, "", "IP version: 4 or 6"),
        _c("source_high", U64, "", "upper half of the source address (0 for IPv4)"),
        _c("source_low", U64, "", "lower half of the source address (IPv4: the address)"),
        _c("destination_high", U64, "", "upper half of the destination address"),
        _c("destination_low", U64, "", "lower half of the destination address"),
        _c("source_port", U16, "", "source port"),
        _c("destination_port", U16, "", "destination port"),
        _n("ip_id", I32, "", "IPv4 identification, also of a reassembled datagram; null for IPv6"),
        _c("ttl", U8, "", "time to live or hop limit"),
        _c("link_hash", U64, "", "hash of the source and destination MAC address; 0 if there are none"),
        _c("encapsulation", U64, "", "hash of VLAN tags and tunnel headers before the IP header; 0 if there are none"),
        _c("seq", U32, "", "sequence number as in the header"),
        _c("ack", U32, "", "acknowledgment number as in the header"),
        _c("flags", U8, "", "control bits, FIN = 1 ... CWR = 128"),
        _c("window", U16, "", "window as in the header, unscaled"),
        _c("length", I32, "bytes", "TCP payload on the network, from the IP length"),
        _c("captured", I32, "bytes", "TCP payload in the capture, at most `length`"),
        _c(
            "payload",
            I64,
            "bytes",
            "position of the payload: an offset in the file, or from SCRATCH on in the buffer of reassembled fragments",
        ),
        _c("options_hash", U64, "", "hash of the option bytes; 0 without options"),
        _c("mss", I32, "bytes", "MSS option; -1 without it, -2 if options were not captured completely"),
        _c("window_shift", I8, "", "window scale option (at most 14, RFC 7323); -1 and -2 as for `mss`"),
        _c("has_timestamps", BOOL, "", "the packet has the timestamps option"),
        _c("sack", BOOL, "", "the packet has SACK blocks"),
        _c("dsack", BOOL, "", "the first SACK block reports a duplicate (RFC 2883)"),
        _c("quoted", BOOL, "", "a header quoted in an ICMP error: it has a connection id but is not a packet of the connection"),
    ),
    subject="segments",
    writer="core/recorder.py:PacketRecorder.write_packet",
)

SCRATCH = 1 << 62
"""The value of `packets.payload` from which on it is a position in the buffer of reassembled fragments, not in the file."""

ODDITIES = Table(
    "oddities",
    "something in a packet that violates its standard; rules decide what to report",
    (
        _c("frame", I64, "", "number of the packet"),
        _c("layer", TEXT, "", "protocol layer: link, ip, tcp or http"),
        _c("what", TEXT, "", "what was expected and what was found, as text"),
    ),
    subject="captures",
)

FAULTS = Table(
    "faults",
    "a message that violates HTTP framing (RFC 9112 section 6) or the grammar of its header section, written immediately. "
    "For each side of a connection there is at most one framing fault, preceded by at most one grammar fault of each kind",
    (
        _c("connection", I64, "", "connection id"),
        _c("exchange", I32, "", "index of the exchange in its connection"),
        _c("role", I8, "", "role of the message's sender: 0 client, 1 server"),
        _c(
            "fault",
            TEXT,
            "",
            "kind of fault. In framing: excess-body, conflicting-framing, invalid-chunk, body-not-allowed, "
            "chunked-to-http10, unframed-request-body, unfinished-transfer-coding. In grammar: bare-lf, space-before-colon, "
            "folding, control-byte, content-length, no-colon. no-status-line: a response that is not HTTP (the message is "
            "its request). body-announced: a 204 or 1xx with the length of a body that it cannot have",
        ),
        _c("frame", I64, "", "packet with the faulty bytes"),
        _c("time", I64, "ns", "time of `frame`"),
        _c("offset", I64, "bytes", "stream offset of the faulty bytes (for a header section: of the message)"),
        _c(
            "excerpt",
            TEXT,
            "",
            "at most 32 of the faulty bytes (x for letters and digits); for a header section the fields that determine the "
            "body length, or the name of the invalid field",
        ),
        _c("message_frame", I64, "", "packet with the first byte of the message"),
        _c("message_time", I64, "ns", "time of `message_frame`"),
        _c("version", TEXT, "", "HTTP version of the message"),
        _n("status", I32, "", "status code of a response, possibly interim"),
        _n("body_due", I64, "bytes", "Content-Length, if it determines the body length"),
        _n("request_frame", I64, "", "packet with the first byte of the exchange's request; null if it was not captured"),
        _n("request_time", I64, "ns", "time of `request_frame`"),
        _c("request_method", TEXT, "", "method of that request"),
        _c("request_version", TEXT, "", "HTTP version of that request"),
        _c("handshake", BOOL, "", "SYN and SYN-ACK were captured"),
        _c(
            "data_in_both_directions",
            BOOL,
            "",
            "for a response: its request was captured; for a request: the server has sent HTTP too",
        ),
        _c("after_gap", BOOL, "", "bytes are missing in the message, or earlier on the connection"),
    ),
    at_packet=True,
    writer="core/exchange_rows.py:FaultRows.write",
)

SEGMENTS = Table(
    "segments",
    "a TCP packet, with facts from earlier packets of its connection; duplicate copies are left out",
    (
        _c("frame", I64, "", "number of the packet"),
        _c("time", I64, "ns", "timestamp"),
        _c("interface", I32, "", "index in the capture's list of interfaces"),
        _c("connection", I64, "", "connection id, equal to tcp.stream"),
        _c("direction", I8, "", "0: sent by the side that sent the connection's first packet; 1: the opposite direction"),
        _n("role", I8, "", "role of the sender: 0 client, 1 server; null while only ports and order indicate it"),
        _c("endpoint", I64, "", "hash of the server's address and port, equal on all its connections (as certain as the role)"),
        _c("flags", U8, "", "control bits, FIN = 1 ... CWR = 128"),
        _c("offset", I64, "bytes", "stream offset of the first payload byte (without payload: of the FIN)"),
        _c("length", I32, "bytes", "payload length on the network"),
        _c("captured", I32, "bytes", "payload length in the capture"),
        _n("ack", I64, "bytes", "acknowledged stream offset of the other direction; null without the ACK flag"),
        _n("window", I64, "bytes", "announced window after scaling; null if the scale is unknown"),
        _c("ip_id", I32, "", "IPv4 identification, -1 in IPv6"),
        _c("ttl", U8, "", "time to live or hop limit"),
        _c("link_hash", U64, "", "hash of the source and destination MAC address"),
        _c("encapsulation", U64, "", "hash of VLAN tags and tunnel headers"),
        _c("options_hash", U64, "", "hash of the option bytes"),
        _c("has_timestamps", BOOL, "", "the packet has the timestamps option"),
        _c("sack", BOOL, "", "the packet has SACK blocks"),
        _c("dsack", BOOL, "", "the packet reports a duplicate by SACK"),
        # kind
        _c("new_bytes", I32, "bytes", "payload bytes that this side had not sent before"),
        _c(
            "retransmission",
            BOOL,
            "",
            "all of the payload (or SYN, FIN) was captured before, and the packet is not a keep-alive probe",
        ),
        _c(
            "fills_gap",
            BOOL,
            "",
            "the packet has first copies of bytes below the highest one: out of order, or lost before the capture point",
        ),
        _c("opens_gap", BOOL, "", "the payload begins above the highest byte captured, so bytes are missing before it"),
        _c("overlap", BOOL, "", "part of the payload was captured before, part is new"),
        _c("keep_alive_probe", BOOL, "", "keep-alive probe: 0 or 1 byte just below the highest (RFC 9293 section 3.8.4)"),
        _c("pure_ack", BOOL, "", "pure ACK: no payload, SYN, FIN or RST"),
        _c(
            "window_update",
            BOOL,
            "",
            "window update: a pure ACK that acknowledges nothing new, or that makes room for a full segment again",
        ),
        _c(
            "duplicate_ack",
            BOOL,
            "",
            "duplicate ACK: a pure ACK of nothing new with an unchanged window while data was in flight",
        ),
        _c("acked_bytes", I64, "bytes", "number of bytes of the other direction that the packet newly acknowledges"),
        _c(
            "acked_unseen",
            I64,
            "bytes",
            "number of newly acknowledged bytes of the other direction that were not captured (ACKed unseen)",
        ),
        _n(
            "ack_delay",
            I64,
            "ns",
            "time since the newest data that it acknowledges, minus the round trip to its sender (may be negative)",
        ),
        _c("zero_window", BOOL, "", "the packet announces a window of 0 (not for SYN and RST)"),
        # sizes
        _c("mss", I32, "bytes", "effective MSS of the sender before this segment"),
        _c("mss_announced", BOOL, "", "the sender's SYN had the MSS option, or was not captured"),
        _c("full", BOOL, "", "full segment: the payload is at least the MSS"),
        _c(
            "small",
            BOOL,
            "",
            "payload below the MSS that does not fill the receiver's window; for an offload super-segment: its end",
        ),
        _c("small_start", BOOL, "", "like `small`, but for an offload super-segment its beginning (never small)"),
        _c("in_flight_before", I64, "bytes", "bytes sent by this side and not yet acknowledged, before this segment"),
        _c("in_flight", I64, "bytes", "bytes sent by this side and not yet acknowledged, after this segment"),
        _n("window_room", I64, "bytes", "room in the receiver's window before this segment; null while no window is known"),
        # round trip as known before this packet
        _n("rtt_own", I64, "ns", "round trip from the capture point to this packet's sender, without this packet's own sample"),
        _n("rtt_peer", I64, "ns", "round trip from the capture point to this packet's receiver"),
        _c("handshake", BOOL, "", "SYN and SYN-ACK of the connection were captured earlier"),
        # the previous data segment of this side (D), and its pure ACK (K)
        _n(
            "previous_data_frame",
            I64,
            "",
            "D, the previous data segment: the newest earlier segment with new data from this side",
        ),
        _n("previous_data_time", I64, "ns", "time of the previous data segment"),
        _n("previous_data_end", I64, "bytes", "stream offset after the previous data segment"),
        _n("previous_data_length", I32, "bytes", "payload length of the previous data segment"),
        _c("previous_data_full", BOOL, "", "the previous data segment was full"),
        _c("previous_data_small", BOOL, "", "the previous data segment was small"),
        _c("previous_data_push", BOOL, "", "the previous data segment had PSH: its sender had no more data"),
        _c(
            "previous_data_last_in_flight", BOOL, "", "the previous data segment ended at the highest byte that its side had sent"
        ),
        _n("previous_data_room", I64, "bytes", "room that the previous data segment left in the receiver's window"),
        _n(
            "late",
            I64,
            "ns",
            "how much longer this packet was in transit than the previous data segment (D): the time between them, minus the "
            "advance of the sender's clock in their timestamps (RFC 7323), to within a tick; null if this clock is unknown",
        ),
        _n(
            "previous_ack_frame",
            I64,
            "",
            "K, the ACK of the previous data: the newest pure ACK of the peer since D that acknowledges new data and does "
            "not widen a short window",
        ),
        _n("previous_ack_time", I64, "ns", "time of the ACK K"),
        _n("previous_ack_ack", I64, "bytes", "stream offset that the ACK K acknowledges"),
        _n("previous_ack_delay", I64, "ns", "`ack_delay` of the ACK K"),
        _n("previous_ack_bytes", I64, "bytes", "`acked_bytes` of the ACK K: the bytes in flight when it arrived"),
        _n("previous_ack_interval", I64, "ns", "time between the previous ACK of this kind and the ACK K; null for the first"),
        _c("nothing_sent_since_ack", BOOL, "", "this side sent nothing between the ACK K and this packet"),
        _c("peer_data_since", BOOL, "", "the peer sent payload between the previous data segment and this packet"),
        _c("retransmission_since", BOOL, "", "either side retransmitted between the previous data segment and this packet"),
        _c(
            "window_short_since",
            BOOL,
            "",
            "since the previous data segment, the receiver's window at some time had no room for a full segment",
        ),
        _c("nagle_disabled", BOOL, "", "packets up to this one prove that this side does not use Nagle's algorithm"),
        _c(
            "probe_frame",
            I64,
            "",
            "the peer's probe S that this packet newly acknowledges, together with the data segment D before it. Both are "
            "small, and D was alone in flight; S came at least 200 ms and a round trip after D, without retransmissions "
            "since. 0 for all other packets",
        ),
        # a time without progress (new data, or an ACK that advances) that a retransmission by the peer ended
        _c(
            "ends_stall",
            BOOL,
            "",
            "this is the first ACK that advances after R, a retransmission by the peer (or late first copy) of the missing "
            "segment; R came at least 50 ms after the last progress (or a lower configured threshold)",
        ),
        _n("stall_frame", I64, "", "packet with the last progress before the retransmission R"),
        _n("stall_time", I64, "ns", "time of `stall_frame`"),
        _c(
            "retransmission_count",
            I32,
            "",
            "number of retransmissions of the missing segment since the last progress, including R",
        ),
        _c(
            "stall_duplicate_acks",
            I32,
            "",
            "number of duplicate ACKs before R since an ACK last advanced (captured copies count once)",
        ),
        _n("first_retransmission_frame", I64, "", "first of these retransmissions"),
        _n("first_retransmission_time", I64, "ns", "time of `first_retransmission_frame`"),
        _n("retransmitted_frame", I64, "", "the retransmission R"),
        _n("retransmitted_time", I64, "ns", "time of `retransmitted_frame`"),
        _c("retransmitted_bytes", I32, "bytes", "payload length of the retransmission R"),
        _c(
            "retransmitted_late",
            BOOL,
            "",
            "the retransmission R is the first copy that was captured: an earlier one was lost before the capture point",
        ),
        # a zero or short window of the peer (0, or less than one MSS and this is a full segment)
        _c(
            "after_closed_window",
            BOOL,
            "",
            "this is the first new data of its side after the receiver opened a window that was closed for at least 20 ms "
            "(or a lower configured threshold)",
        ),
        _n("closed_frame", I64, "", "the receiver's packet that closed the window"),
        _n("closed_time", I64, "ns", "time of `closed_frame`"),
        _n("closed_window", I64, "bytes", "window announced by the packet that closed it"),
        _c("window_probes", I32, "", "number of probes of this side while the window was closed"),
        _n("window_probe_frame", I64, "", "first of these probes"),
        _n("window_probe_time", I64, "ns", "time of `window_probe_frame`"),
        _n("opened_frame", I64, "", "the receiver's packet that opened the window"),
        _n("opened_time", I64, "ns", "time of `opened_frame`"),
        # a run of small segments of its side, each within 20 ms of the previous one, without payload of the peer in between
        _c(
            "small_run",
            I32,
            "",
            "number of segments of the run of small segments up to this one; 0 if this segment continues no run",
        ),
        _c("small_run_bytes", I64, "bytes", "payload of these segments"),
        _n("small_run_frame", I64, "", "first segment of the run"),
        _n("small_run_time", I64, "ns", "time of `small_run_frame`"),
        # content
        _c(
            "event_stream",
            BOOL,
            "",
            "the packet has body bytes of a message that should arrive in parts: endless, or application/x-ndjson without a "
            "length",
        ),
        _c("http", BOOL, "", "the connection has carried HTTP so far"),
        _n("message", I64, "", "message of the first new byte; null if that byte is out of order or belongs to no message"),
        _n("exchange", I32, "", "index of that message's exchange in its connection; null until its header section is complete"),
        _c("in_body", BOOL, "", "the new data includes bytes after the header section of its message"),
        _c("ends_head", BOOL, "", "the last byte of the packet is the last byte of a header section"),
        _c("ends_message", BOOL, "", "the last byte of the packet is the last byte of a message"),
        _n("previous_data_message", I64, "", "message of the last byte of the previous data segment"),
        _c("previous_data_ends_head", BOOL, "", "the previous data segment ended exactly at the end of a header section"),
        _c("previous_data_ends_message", BOOL, "", "the previous data segment ended exactly at the end of a message"),
        _c(
            "message_incomplete",
            BOOL,
            "",
            "when this packet was sent, the rest of a message or a response of its sender was still outstanding",
        ),
    ),
    subject="segments",
    at_packet=True,
    exchange_by_time=True,
    writer="core/segment_rows.py:SegmentRecorder.write",
)

HEARD = frozenset(
    {
        *("role", "endpoint", "mss", "full", "small", "small_start", "previous_data_full", "previous_data_small", "event_stream"),
        *("http", "message", "exchange", "in_body", "ends_head", "ends_message", "message_incomplete"),
        *("previous_data_message", "previous_data_ends_head", "previous_data_ends_message"),
    }
)
"""The columns of `segments` and `pieces` that need HTTP; TCP alone determines all others."""

_WHERE = (
    _c("connection", I64, "", "connection id, equal to tcp.stream"),
    _c(
        "direction", I8, "", "direction of the packet: 0 if sent by the side that sent the connection's first packet, otherwise 1"
    ),
)
_ROLE = _n("role", I8, "", "role of the packet's sender: 0 client, 1 server; null while only ports and order indicate it")
_EXCHANGE = _n(
    "exchange", I32, "", "index of the exchange in its connection; null until the header section of the message is complete"
)
_PACKET = (_c("frame", I64, "", "number of the packet"), _c("time", I64, "ns", "time of `frame`"))
_LENGTH = _c("length", I32, "bytes", "payload length of the packet on the network")
_HTTP = _c("http", BOOL, "", "the connection has carried HTTP so far")
_HANDSHAKE = _c("handshake", BOOL, "", "SYN and SYN-ACK of the connection were captured before the packet")
_MSS = _c("mss", I32, "bytes", "effective MSS of the sender before the packet")
_NAGLE = _c("nagle_disabled", BOOL, "", "earlier packets prove that the sender does not use Nagle's algorithm")
_RTT_OWN = _n("rtt_own", I64, "ns", "round trip from the capture point to the packet's sender, as known before the packet")
_RTT_PEER = _n("rtt_peer", I64, "ns", "round trip from the capture point to the packet's receiver, as known before the packet")
_OPENS_GAP = _c("opens_gap", BOOL, "", "the packet begins above the highest byte captured: bytes before it were not captured yet")

RELEASES = Table(
    "releases",
    "a segment with new data (S) that may have waited for the ACK of earlier data or for a timer of its sender's TCP, or an ACK "
    "that shows that a timer sent a segment. D is the previous data segment of the sender of S, K the pure ACK of D",
    (
        *_WHERE,
        _ROLE,
        _c("endpoint", I64, "", "hash of the server's address and port, the same on all its connections"),
        _HTTP,
        _EXCHANGE,
        _n("message", I64, "", "message of the first new byte; null if that byte is out of order or belongs to no message"),
        _HANDSHAKE,
        _MSS,
        _c("mss_announced", BOOL, "", "the sender's SYN had the MSS option, or was not captured"),
        _c("first_frame", I64, "", "first packet of the connection: round trips were measured from then on"),
        _NAGLE,
        _n("previous_data_frame", I64, "", "D, the previous data segment"),
        _n("previous_data_time", I64, "ns", "time of `previous_data_frame`"),
        _n("previous_data_length", I32, "bytes", "payload length of the previous data segment D"),
        _c("previous_data_full", BOOL, "", "the previous data segment D was full"),
        _c("previous_data_small", BOOL, "", "the previous data segment D was small"),
        _n(
            "previous_data_room",
            I64,
            "bytes",
            "room that the previous data segment D left in the receiver's window; null while no window is known",
        ),
        _c("previous_data_ends_head", BOOL, "", "the previous data segment D ended exactly at the end of a header section"),
        _c("previous_data_ends_message", BOOL, "", "the previous data segment D ended exactly at the end of a message"),
        _n("previous_ack_frame", I64, "", "K, the ACK of D; null if D was not acknowledged before this packet"),
        _n("previous_ack_time", I64, "ns", "time of `previous_ack_frame`"),
        _n("previous_ack_delay", I64, "ns", "delay of the ACK K: the time from D to K, minus the round trip to the sender of K"),
        _n("previous_ack_bytes", I64, "bytes", "number of bytes that the ACK K newly acknowledges: all bytes in flight"),
        _n("previous_ack_interval", I64, "ns", "time between the pure ACK before K and K; null for the first"),
        *_PACKET,
        _LENGTH,
        _c("unread", BOOL, "", "the snap length cut off the bytes that show the packet's message and the message's end"),
        _c("small_start", BOOL, "", "the packet is a small segment, or an offload super-segment that begins with one"),
        _c("full", BOOL, "", "full segment: the payload is at least the MSS"),
        _c("ends_message", BOOL, "", "the last byte of the packet is the last byte of a message"),
        _RTT_OWN,
        _RTT_PEER,
        _c("event_stream", BOOL, "", "the packet belongs to an event stream"),
        _c("nagle_seen", BOOL, "", "prompt ACKs released earlier small segments of the sender, so it uses Nagle's algorithm"),
        _c(
            "probe_frame",
            I64,
            "",
            "the peer's probe S, sent by a timer, that this packet newly acknowledges together with the peer's D; 0 if there "
            "is none",
        ),
        _c(
            "sort",
            TEXT,
            "",
            "waited (S immediately follows a delayed K), prompt (S immediately follows a K without delay, so S shows how late "
            "such a segment is without waiting), probe (there is no K: a timer may have sent S), answers_probe (only probe_frame "
            "matters), corked (S is the small end of a message and left long after K: a timer may have sent it)",
        ),
        _c(
            "final_frame",
            I64,
            "",
            "packet that proves that the program of S does not write at regular times; S itself if D is a header section or "
            "a full segment",
        ),
        _c("pace_seen", BOOL, "", "up to `final_frame`, no packets are missing that could show such regular times"),
    ),
    subject="segments",
    at_packet=True,
    exchange_by_time=True,
    writer="core/stalls.py:Stalls.write_release",
)

RECOVERIES = Table(
    "recoveries",
    "an ACK that shows that a retransmission by the peer (R) ended a time without progress: neither new data nor an ACK that "
    "advances",
    (
        *_WHERE,
        _ROLE,
        *_PACKET,
        _HTTP,
        _c(
            "message_incomplete",
            BOOL,
            "",
            "before the packet, its sender had to send the rest of a message, or a response; also true for payload that is "
            "not HTTP",
        ),
        _c("dsack", BOOL, "", "the packet reports a duplicate by SACK"),
        _c("new_bytes", I32, "bytes", "number of payload bytes that were not captured before"),
        _c("acked_unseen", I64, "bytes", "number of newly acknowledged bytes of the peer that were not captured"),
        _HANDSHAKE,
        _OPENS_GAP,
        _RTT_OWN,
        _RTT_PEER,
        _n(
            "stall_frame",
            I64,
            "",
            "packet with the last progress before R; for data that a closed window refused, its first copy with room",
        ),
        _n("stall_time", I64, "ns", "time of `stall_frame`"),
        _c(
            "stall_duplicate_acks",
            I32,
            "",
            "number of duplicate ACKs before R since an ACK last advanced (captured copies count once)",
        ),
        _c(
            "retransmission_count",
            I32,
            "",
            "number of retransmissions of the missing segment since the last progress, including R",
        ),
        _n("first_retransmission_frame", I64, "", "first of these retransmissions"),
        _n("first_retransmission_time", I64, "ns", "time of `first_retransmission_frame`"),
        _n("retransmitted_frame", I64, "", "the retransmission R"),
        _n("retransmitted_time", I64, "ns", "time of `retransmitted_frame`"),
        _c("retransmitted_bytes", I32, "bytes", "payload length of the retransmission R"),
        _c(
            "retransmitted_late",
            BOOL,
            "",
            "R is the first copy that was captured: an earlier one was lost before the capture point",
        ),
        _c(
            "spurious",
            BOOL,
            "",
            "by its timestamps the ACK answers the first copy, not a retransmission: the first copy was late, not lost (RFC "
            "3522)",
        ),
    ),
    subject="segments",
    at_packet=True,
    exchange_by_time=True,
    writer="core/stalls.py:Stalls.write_recovery",
)

CLOSURES = Table(
    "closures",
    "the first segment with new data after its receiver's window was closed. Closed means that the window was 0, or less "
    "than one MSS and this segment is full",
    (
        *_WHERE,
        _EXCHANGE,
        *_PACKET,
        _c("offset", I64, "bytes", "stream offset of the first payload byte"),
        _LENGTH,
        _HANDSHAKE,
        _HTTP,
        _c(
            "previous_data_ends_message",
            BOOL,
            "",
            "the sender's previous data segment ended exactly at the end of a message",
        ),
        _c(
            "previous_data_last_in_flight",
            BOOL,
            "",
            "the sender's previous data segment ended at the highest byte that the sender had sent",
        ),
        _c("peer_data_since", BOOL, "", "the receiver sent payload after the sender's previous data segment"),
        _OPENS_GAP,
        _c("fills_gap", BOOL, "", "the packet has first copies of bytes below the highest one captured"),
        _RTT_OWN,
        _n("closed_frame", I64, "", "the receiver's packet that closed the window"),
        _n("closed_time", I64, "ns", "time of `closed_frame`"),
        _n("closed_window", I64, "bytes", "window announced by the packet that closed it"),
        _c("window_probes", I32, "", "number of probes of the sender while the window was closed"),
        _n("window_probe_frame", I64, "", "first of these probes"),
        _n("window_probe_time", I64, "ns", "time of `window_probe_frame`"),
        _n("opened_frame", I64, "", "the receiver's packet that opened the window"),
        _n("opened_time", I64, "ns", "time of `opened_frame`"),
    ),
    subject="segments",
    at_packet=True,
    exchange_by_time=True,
    writer="core/stalls.py:Stalls.write_closure",
)

WINDOW_STALLS = Table(
    "window_stalls",
    "a window stall, or several in a row: a time in which a small or closed window delayed its sender longer than it was "
    "closed, because the sender's timer decided when to continue, or nothing did. Written when the sender continues without "
    "such a time, when the message ends, or when the connection or the capture ends",
    (
        *_WHERE,
        _c("frame", I64, "", "packet at which the stalls are known to have ended; otherwise the last packet of the connection"),
        _HTTP,
        _HANDSHAKE,
        _c(
            "sort",
            TEXT,
            "",
            "refused (the receiver discarded data and announced a window of 0, until a retransmission was acknowledged), "
            "timer (the window had no room for a full segment, until the sender's timer sent what fit), never_opened (the "
            "window was 0 when the connection or the capture ended)",
        ),
        _c("count", I32, "", "number of stalls in the row"),
        _c("waited", I64, "ns", "total time of the stalls"),
        _c("closed", I64, "ns", "part of `waited` with a window of 0"),
        _c("start_frame", I64, "", "the receiver's packet with which the first stall begins"),
        _c("start_time", I64, "ns", "time of `start_frame`"),
        _c("window", I64, "bytes", "largest window during the stalls: 0, or less than one MSS"),
        _c("window_probes", I32, "", "never_opened: number of probes of the sender while the window was closed"),
        _n("window_probe_frame", I64, "", "first of these probes"),
        _n("window_probe_time", I64, "ns", "time of `window_probe_frame`"),
        _c("copies", I32, "", "number of segments that were retransmitted while the window was closed"),
        _n("copy_frame", I64, "", "first of these retransmissions in the first stall"),
        _n("copy_time", I64, "ns", "time of `copy_frame`"),
        _n("opened_frame", I64, "", "packet that opened the window in the first stall"),
        _n("opened_time", I64, "ns", "time of `opened_frame`"),
        _n(
            "sent_frame",
            I64,
            "",
            "the segment that was retransmitted with room in the first stall, or that the sender's timer sent",
        ),
        _n("sent_time", I64, "ns", "time of `sent_frame`"),
        _c("sent_bytes", I32, "bytes", "timer: payload length of that segment"),
        _c("end_frame", I64, "", "packet that ends the last stall: an ACK, or a segment of the sender"),
        _c("end_time", I64, "ns", "time of `end_frame`"),
        _c("message_complete", BOOL, "", "the newest data of the sender ended exactly at the end of a message"),
        _n("sender_close_frame", I64, "", "first FIN or RST of the sender since the first stall began"),
        _n("sender_close_time", I64, "ns", "time of `sender_close_frame`"),
        _c("sender_close_rst", BOOL, "", "`sender_close_frame` is an RST"),
    ),
    subject="segments",
    at_packet=True,
    exchange_by_time=True,
    writer="core/window_stalls.py:WindowStalls.write",
)

RUNS = Table(
    "runs",
    "a small segment of a message that is one of many in a run, or that begins another message within a run. A run is small "
    "segments of one side, close to each other, with no payload of the peer between them",
    (
        *_WHERE,
        _ROLE,
        _EXCHANGE,
        *_PACKET,
        _LENGTH,
        _HANDSHAKE,
        _MSS,
        _c("message", I64, "", "message of the first new byte; null if that byte is out of order or belongs to no message"),
        _n("previous_data_message", I64, "", "message in which the previous segment of the run ended"),
        _c(
            "event_stream",
            BOOL,
            "",
            "the packet has body bytes of a message that should arrive in parts, such as text/event-stream",
        ),
        _NAGLE,
        _c("in_flight_before", I64, "bytes", "number of bytes sent by this side and not yet acknowledged, before the packet"),
        _RTT_OWN,
        _RTT_PEER,
        _c("small_run", I32, "", "number of segments of the run up to this one"),
        _c("small_run_bytes", I64, "bytes", "payload of these segments"),
        _c("small_run_frame", I64, "", "first segment of the run"),
        _c("small_run_time", I64, "ns", "time of `small_run_frame`"),
        _c("small_run_flushes", I32, "", "number of these segments that came 5 ms or more after the previous one"),
    ),
    subject="segments",
    at_packet=True,
    exchange_by_time=True,
    writer="core/stalls.py:Stalls.write_run",
)

ICMP_ERRORS = Table(
    "icmp_errors",
    "an ICMP or ICMPv6 error that quotes a TCP segment: destination unreachable, packet too big, time exceeded, parameter "
    "problem (or source quench, which is not an error: RFC 6633). Written when its connection ends",
    (
        _c("frame", I64, "", "number of the packet with the error"),
        _c("time", I64, "ns", "time of `frame`"),
        _c("router", TEXT, "", "address of the error's sender: a router, or the destination of the segment"),
        _c("ip_version", I8, "", "IP version: 4 for ICMP, 6 for ICMPv6"),
        _c("type", I32, "", "type of the error (RFC 792, RFC 4443)"),
        _c("code", I32, "", "code of the error (RFC 792, RFC 1812, RFC 4443)"),
        _n(
            "mtu",
            I64,
            "bytes",
            "MTU that the error reports, if the segment was too large (type 3 code 4 of ICMP, type 2 of ICMPv6)",
        ),
        _n("connection", I64, "", "connection id, equal to tcp.stream; null if the quote is too short to find the connection"),
        _n(
            "direction",
            I8,
            "",
            "direction of the quoted segment; null if no packet of the connection was captured before",
        ),
        _n("offset", I64, "bytes", "stream offset of the quoted segment (of a SYN: 0); null if it is unknown"),
        _c(
            "syn",
            BOOL,
            "",
            "the quoted segment is the SYN of its sender: by its sequence number, and by its flags if they are quoted",
        ),
    ),
    subject="connections",
)

UNACKNOWLEDGED = Table(
    "unacknowledged",
    "data, or a FIN, that its sender sent three times or more: the lowest unacknowledged data, or data that was acknowledged "
    "and came again nevertheless. Also data of which no copy was captured (`copies` is 0) and that was never acknowledged, "
    "although the sequence numbers of later packets show that it was sent. Written when the data is acknowledged after all, "
    "or when the connection or the capture ends",
    (
        *_WHERE,
        _ROLE,
        _n("exchange", I32, "", "index of the exchange with the data; for a FIN, of the unfinished one"),
        _HTTP,
        _HANDSHAKE,
        _n("rtt_own", I64, "ns", "round trip from the capture point to the sender"),
        _n("rtt_peer", I64, "ns", "round trip from the capture point to the receiver"),
        _c(
            "length",
            I32,
            "bytes",
            "payload length of the segment with the first copy; 0 for a FIN; without copies, all missing bytes",
        ),
        _c("fin", BOOL, "", "a FIN without data is repeated"),
        _c("acknowledged_before", BOOL, "", "an ACK of the data was captured before the second copy"),
        _c("copies", I32, "", "how often the data was sent, including the first time; 0 if no copy was captured"),
        _c(
            "first_frame",
            I64,
            "",
            "packet with the first copy; without copies, the first packet that shows that the data was sent",
        ),
        _c("first_time", I64, "ns", "time of `first_frame`"),
        _c("second_frame", I64, "", "packet with the second copy"),
        _c("second_time", I64, "ns", "time of `second_frame`"),
        _c("last_frame", I64, "", "packet with the last copy; without copies, the last packet that shows that the data was sent"),
        _c("last_time", I64, "ns", "time of `last_frame`"),
        _n(
            "acknowledged_frame",
            I64,
            "",
            "the ACK that covers the data after all; null if there is none, or if one was captured before the second copy",
        ),
        _c(
            "smallest_unacknowledged",
            I32,
            "bytes",
            "length of the shortest segment of this direction that no ACK or SACK covers; without copies, the MSS",
        ),
        _c(
            "largest_acknowledged",
            I32,
            "bytes",
            "length of the longest segment of this direction that was acknowledged before (without copies: captured); 0 if "
            "there is none",
        ),
        _n("sack_frame", I64, "", "a packet of the receiver since the first copy that reports later data by SACK"),
        _n("sack_time", I64, "ns", "time of `sack_frame`"),
        _n("heard_frame", I64, "", "newest known packet of the receiver before the second copy"),
        _n("heard_time", I64, "ns", "time of `heard_frame`"),
        _n("peer_frame", I64, "", "newest packet of the receiver since the first copy; null if there is none"),
        _n("peer_time", I64, "ns", "time of `peer_frame`"),
        _c("peer_unseen", BOOL, "", "since the first copy, the sender acknowledged bytes of the receiver that were not captured"),
        _c("peer_repeats", BOOL, "", "the receiver also retransmits acknowledged data, even after a pure ACK if there was one"),
        _c("window_closed", BOOL, "", "the last window announced by the receiver is 0"),
        _c(
            "rest",
            I64,
            "ns",
            "time without payload before the first copy, or before the message that the data answers; without copies, before "
            "the receiver's close, otherwise before the last packet",
        ),
        _c(
            "message_continued",
            BOOL,
            "",
            "an earlier part of the data's message was acknowledged, or the receiver was sending a message; also true for a "
            "FIN whose sender still had to receive the rest of a message",
        ),
        _c("message_owed", BOOL, "", "the data is a FIN whose sender still had to receive the rest of a message"),
        _n("own_close_frame", I64, "", "first FIN of the sender (its first RST if it sent no FIN)"),
        _n("own_close_time", I64, "ns", "time of `own_close_frame`"),
        _c("own_close_rst", BOOL, "", "`own_close_frame` is an RST"),
        _n("peer_close_frame", I64, "", "first FIN of the receiver (its first RST if it sent no FIN)"),
        _n("peer_close_time", I64, "ns", "time of `peer_close_frame`"),
        _c("peer_close_rst", BOOL, "", "`peer_close_frame` is an RST"),
        _c(
            "peer_rst_unknown",
            BOOL,
            "",
            "the receiver answered with an RST for an unknown connection: without ACK flag, with the sequence number that "
            "the copies acknowledge",
        ),
        _n("icmp_frame", I64, "", "packet with an ICMP or ICMPv6 error that quotes the data, or later data of its sender"),
        _n("icmp_time", I64, "ns", "time of `icmp_frame`"),
        _c("icmp_router", TEXT, "", "address of the error's sender"),
        _c("icmp_type", I32, "", "type of the error"),
        _c("icmp_code", I32, "", "code of the error"),
        _n("icmp_mtu", I64, "bytes", "MTU that the error reports"),
        _c("frame", I64, "", "packet that ends the repetition: the ACK, or the last copy"),
        _c("time", I64, "ns", "capture time as of which the row holds"),
    ),
    subject="segments",
    at_packet=True,
    exchange_by_time=True,
    writer="core/unacknowledged.py:Repetitions.write",
)

_LIMITED = (
    _n("receive_window", I64, "ns", "time limited by the receiver's window, which was full"),
    _n("send_buffer", I64, "ns", "time limited by the sender's buffer: the bytes in flight stayed at a ceiling below the window"),
    _n("loss", I64, "ns", "time limited by losses, until they were repaired"),
    _n(
        "application", I64, "ns", "time limited by the applications: the sender had nothing to send, or the receiver did not read"
    ),
    _n("not_read", I64, "ns", "part of the applications' time due to the receiver: its window was full, and smaller than before"),
    _n("path", I64, "ns", "remaining time: slow start, congestion control, bandwidth"),
)

TRANSFERS = Table(
    "transfers",
    "the last packet of a message body of at least 1 s (or a lower configured threshold) and 40 segments, with what limited "
    "the body. The time of the body is divided by round trips, each of which counts completely for one limit; the parts add "
    "up to the time from its first to its last packet. All times are those at the sender",
    (
        *_WHERE,
        _ROLE,
        _EXCHANGE,
        *_PACKET,
        _c("length", I64, "bytes", "length of the body, without chunk framing"),
        _c("first_frame", I64, "", "first packet with body bytes"),
        _c("start", I64, "ns", "time of `first_frame`"),
        _HANDSHAKE,
        _c("has_gap", BOOL, "", "bytes of the body are missing in the capture"),
        *(c for c in _LIMITED if c.name != "not_read"),
        _c("rtt", I64, "ns", "round trip between the two ends of the connection"),
        _n("ceiling", I64, "bytes", "bytes in flight in most round trips, if the send buffer limited the body at all"),
        _c("in_flight", I64, "bytes", "maximum of the bytes in flight"),
        _c("in_flight_frame", I64, "", "segment at which that maximum was reached"),
        _c("in_flight_time", I64, "ns", "time of `in_flight_frame`"),
        _n("largest_window", I64, "bytes", "largest window that the receiver announced; null while the scale is unknown"),
        _n("window", I64, "bytes", "largest window that was full; null if no window was"),
        _n("window_frame", I64, "", "the ACK that announced that window; null if it came before the body was tracked"),
        _n("window_time", I64, "ns", "time of `window_frame`"),
        _n("filled_frame", I64, "", "the segment that filled that window"),
        _n("filled_time", I64, "ns", "time of `filled_frame`"),
        _n("scaling_own", I8, "", "1 if the SYN of the sender offers window scaling (RFC 7323), 0 if not; null if it is unknown"),
        _n(
            "scaling_peer",
            I8,
            "",
            "1 if the SYN of the receiver offers window scaling (RFC 7323), 0 if not; null if it is unknown",
        ),
        _n("syn_own_frame", I64, "", "packet with the SYN of the sender"),
        _n("syn_own_time", I64, "ns", "time of `syn_own_frame`"),
        _n("syn_peer_frame", I64, "", "packet with the SYN of the receiver"),
        _n("syn_peer_time", I64, "ns", "time of `syn_peer_frame`"),
    ),
    at_packet=True,
    writer="core/transfers.py:write",
)

BURSTS = Table(
    "bursts",
    "a series of data segments of one message with gaps below max(10 ms, 2 x rtt); only body bytes count",
    (
        _c("connection", I64, "", "connection id"),
        _c("direction", I8, "", "direction of the message"),
        _c("message", I64, "", "message id"),
        _c("exchange", I32, "", "index of the exchange in its connection"),
        _c("index", I32, "", "0-based number of the burst in its body"),
        _c("first_frame", I64, "", "first packet of the burst"),
        _c("last_frame", I64, "", "last packet of the burst so far"),
        _c("start", I64, "ns", "time of the first packet"),
        _c("end", I64, "ns", "time of the last packet so far"),
        _c("bytes", I64, "bytes", "body bytes of the burst, including chunk framing"),
        _c("segments", I32, "", "number of packets with new data"),
        _c("largest_segment", I32, "bytes", "largest payload of a packet"),
        _n("pause", I64, "ns", "time since the previous burst of the body; null for the first"),
        _n("pause_frame", I64, "", "last packet before the pause"),
        _c(
            "pause_acknowledged",
            BOOL,
            "",
            "all earlier data was acknowledged before the burst (or < 2 full segments in flight, pause < 510 ms)",
        ),
        _c("pause_window_open", BOOL, "", "the receiver's window had room for a full segment throughout the pause"),
        _c("pause_clean", BOOL, "", "nothing was retransmitted in the pause"),
        _c("pause_emptied", BOOL, "", "the previous segment was small or had PSH: there was no more data to send"),
        _c(
            "pause_waited",
            BOOL,
            "",
            "according to the timestamps (RFC 7323), the segment after the pause left its sender after half of the pause, "
            "minus a round trip, or later; or the sender's clock is unknown",
        ),
        _c("pause_application", BOOL, "", "the application caused the pause: the five columns above are true"),
        _n(
            "pause_late",
            I64,
            "ns",
            "how much longer the segment after the pause was in transit than the one before it, by the sender's clock",
        ),
        _n("span", I64, "ns", "how far the sender's clock advanced from the first to the last packet of the burst"),
    ),
    writer="core/bursts.py:write_burst",
)

FRAMINGS = ("none", "content-length", "chunked", "close-delimited", "tunnel")
"""The ways in which the end of a message is determined (RFC 9112 section 6.3)."""

END_REASONS = ("complete", "fin", "rst", "error", "hole", "capture-end")
"""The reasons why a message ended, or why its end is not known."""

PROTOCOLS = ("none", "http", "tls", "http2", "unknown")
"""The protocols of a connection; "none" if no payload was captured."""

_MESSAGE = (
    _n("frame", I64, "", "packet with the first byte of the message"),
    _n("last_frame", I64, "", "packet with the last missing byte of the message"),
    _n("start", I64, "ns", "time of the first byte of the message"),
    _n("end", I64, "ns", "time of the last missing byte of the message"),
    _n("head_bytes", I64, "bytes", "length of the start line and header section with the empty line"),
    _n("body_bytes", I64, "bytes", "captured length of the content, without chunk framing"),
    _n("body_due", I64, "bytes", "Content-Length as announced, if it determines the body length"),
    _c("framing", TEXT, "", "how the end of the message is determined: none, content-length, chunked, close-delimited or tunnel"),
    _c("end_reason", TEXT, "", "why the message ended: complete, fin, rst, error, hole or capture-end"),
    _c("version", TEXT, "", "HTTP version, as in the start line"),
    _n("last_body_time", I64, "ns", "time of the last body byte; null without a body"),
    _c("has_gap", BOOL, "", "bytes of the message were not captured"),
    _c("connection_close", BOOL, "", "the message has Connection: close"),
    _c("connection_keep_alive", BOOL, "", "the message has Connection: keep-alive"),
    _c("has_content_length", BOOL, "", "the message has a Content-Length field"),
    _c("has_transfer_encoding", BOOL, "", "the message has a Transfer-Encoding field (identity does not count)"),
    _c("content_type", TEXT, "", "media type in lower case without parameters"),
    _c("content_encoding", TEXT, "", "Content-Encoding in lower case; unknown words masked"),
    _c(
        "endless",
        BOOL,
        "",
        "the body never ends by itself: text/event-stream, multipart/x-mixed-replace, application/x-rtsp-tunnelled, "
        "application/vnd.amazon.eventstream, gnss/data, audio or video without Content-Length, or an icy-* field",
    ),
    _c("upgrade", TEXT, "", "Upgrade; unknown words masked"),
    _c("via", TEXT, "", "the field Via"),
    _n("websocket_version", I32, "", "Sec-WebSocket-Version, the first of several"),
    _n("chunks", I32, "", "number of data chunks so far, if the body is chunked"),
    _n("offset", I64, "bytes", "stream offset of the first byte of the message"),
    _n(
        "end_offset",
        I64,
        "bytes",
        "stream offset after the last captured byte of the message; null until the message is complete",
    ),
    _n("ack", I64, "bytes", "stream offset of the peer acknowledged by the packet that completes the header section"),
)

_REQUEST_ONLY = (
    _c("method", TEXT, "", "method, masked like the target"),
    _c("target", TEXT, "", "request target; masked except for wiredoctor's own rules (docs/pages/secrets.md)"),
    _c("host", TEXT, "", "Host, masked like the target"),
    _c("user_agent", TEXT, "", "the field User-Agent"),
    _c("referer", TEXT, "", "Referer, masked like the target"),
    _c("expect_continue", BOOL, "", "the request has Expect: 100-continue"),
    _c("has_credentials", BOOL, "", "the request has Authorization or Proxy-Authorization"),
    _c("credentials_scheme", TEXT, "", "authentication scheme in lower case; empty if it is unknown"),
    _n("credentials_user", I64, "", "checksum of the user name in the credentials; null except for Basic and Digest"),
    _c(
        "forwarded",
        BOOL,
        "",
        "the request has X-Forwarded-For, X-Forwarded-Host, X-Forwarded-Server, X-Real-IP, Forwarded or Via",
    ),
    _c("forwarded_for", TEXT, "", 'addresses in X-Forwarded-For, or in Forwarded; "unknown" for other values'),
    _c("forwarded_server", BOOL, "", "the request has X-Forwarded-Server"),
    _c("has_websocket_key", BOOL, "", "the request has Sec-WebSocket-Key"),
    _c("navigation", BOOL, "", "the request is for a page: Accept begins with text/html, or Sec-Fetch-Mode is navigate"),
    _n("range_start", I64, "bytes", "first byte requested by Range: bytes=N-; null without a range"),
)

_RESPONSE_ONLY = (
    _n("status", I32, "", "status code"),
    _c("reason", TEXT, "", "reason phrase, masked like the target"),
    _c("server", TEXT, "", "the field Server"),
    _n("keep_alive_timeout", I32, "s", "timeout parameter of Keep-Alive"),
    _n("keep_alive_max", I32, "", "max parameter of Keep-Alive"),
    _c("auth_scheme", TEXT, "", "scheme of WWW-Authenticate or Proxy-Authenticate in lower case; empty if it is unknown"),
    _c("auth_token", BOOL, "", "the challenge of that scheme has a token"),
    _c("auth_stale", BOOL, "", "a challenge has stale=true: Digest needs a new nonce, not new credentials"),
    _c("accel_buffering", TEXT, "", "X-Accel-Buffering; unknown words masked"),
)

_RESPONSE_BURSTS = (
    _c("bursts", I32, "", "number of bursts of the body (0 without a body); see the table bursts"),
    _c(
        "application_pauses",
        I32,
        "",
        "number of pauses of at least 50 ms (or a lower configured threshold) between bursts that the application caused",
    ),
    _c("pause_total", I64, "ns", "sum of these pauses"),
    _c(
        "pause_frames",
        LIST64,
        "",
        "for the first three of these pauses: last packet before, first packet after (at most 6 frames)",
    ),
    _c("pause_times", LIST64, "ns", "times of these packets"),
)

_RESPONSE_PIECES = (
    _n("body_frame", I64, "", "first packet with body bytes of a chunked response or an event stream; null for others"),
    _n("body_time", I64, "ns", "time of `body_frame`"),
    _n("median_chunk", I32, "bytes", "median size of the data chunks, if the body is chunked; chunks above 1,024 count as 1,024"),
    _c("chunk_lines_sent_separately", I32, "", "number of size lines of data chunks in packets without content"),
    _c("chunks_apart", I32, "", "number of data chunks that began 5 ms or more after the previous one"),
    _c("chunks_ending_in_newline", BOOL, "", "the body is chunked, and every data chunk ended with a newline"),
    _c("early_chunks", I32, "", "number of data chunks that began before the first gap of 10 ms in the body, at most 2"),
    _n(
        "events",
        I64,
        "",
        "number of events of text/event-stream, multipart/x-mixed-replace, or application/x-ndjson without a length; null "
        "for other types, after a gap, out of order, or if the coding cannot be decoded",
    ),
    _c(
        "first_events",
        I32,
        "",
        "number of events in the first lump (a group sent together): before the first gap of 5 ms (waits for ACKs or for the "
        "window do not count), within 20 ms; 0 if they arrived more slowly",
    ),
    _n(
        "first_late",
        I64,
        "ns",
        "how much longer the first body packet of an event stream was in transit than the previous packet, by the sender's "
        "timestamps; null if these do not show it",
    ),
    _c(
        "held_bursts",
        I32,
        "",
        "number of lumps of three events or more after a pause of at least 500 ms that the application caused",
    ),
    _c("held_events", I64, "", "number of events in these lumps"),
    _c("large_lumps", I32, "", "number of these lumps with ten events or more"),
    _c("large_events", I64, "", "number of events in the lumps with ten events or more"),
    _c("cut_lumps", I32, "", "number of these lumps that end inside an event and are followed by another lump"),
    _c("first_cut", BOOL, "", "the first lump ends inside an event, and another lump of this kind follows"),
    _c("one_flight", BOOL, "", "event streams: the complete body came in one lump, whatever the body contains"),
    _c(
        "flights",
        I32,
        "",
        "event streams: number of groups of packets that arrived 5 ms or more after the previous group (waits for ACKs or "
        "for the window do not count)",
    ),
    _c(
        "held_frames",
        LIST64,
        "",
        "for the first three of these lumps: the last packet before the lump, and its first packet (at most 6 frames)",
    ),
    _c("held_times", LIST64, "ns", "times of these packets"),
)

PIECES = Table(
    "pieces",
    "bytes of a stream when they were first captured; in the order of their offsets they are what a side sent",
    (
        _c("connection", I64, "", "connection id"),
        _c("direction", I8, "", "direction in which the bytes were sent"),
        _n("role", I8, "", "role of the sender: 0 client, 1 server; null while only ports and order indicate it"),
        _c("frame", I64, "", "number of the packet"),
        _c("time", I64, "ns", "timestamp"),
        _c("offset", I64, "bytes", "stream offset of the first byte"),
        _c("length", I32, "bytes", "number of bytes"),
        _c("captured", I32, "bytes", "number of these bytes in the capture"),
        _c("payload", I64, "bytes", "position of the bytes, as in packets.payload"),
    ),
    subject="segments",
    writer="core/segment_rows.py:write_piece",
)

MESSAGES = Table(
    "messages",
    "the captured part of a request, a response or an interim response",
    (
        _c("connection", I64, "", "connection id"),
        _c("direction", I8, "", "direction in which the message was sent"),
        _c("role", I8, "", "role of the message's sender: 0 client (a request), 1 server (a response)"),
        _c("message", I64, "", "message id: unique in the capture, ascending in a direction"),
        _c("exchange", I32, "", "index of its exchange in its connection"),
        *_MESSAGE,
        *_REQUEST_ONLY,
        *_RESPONSE_ONLY,
    ),
    writer="core/exchange_rows.py:MessageRows.write",
)


FOREIGN_CLOSES = Table(
    "foreign_closes",
    "a FIN or RST that, by at least two pieces of evidence, came from another host than its source address. The row is "
    "written when it is known what the packet ended. Only the first RST of a side counts, together with those within 20 ms "
    "that have the same time to live",
    (
        _c("connection", I64, "", "connection id"),
        _n("exchange", I32, "", "index of the exchange that the FIN or RST ended or followed; null on a connection without HTTP"),
        _c("sender", TEXT, "", "client or server: the host in the source address"),
        _c("rst", BOOL, "", "an RST, not a FIN"),
        _c("ack_flag", BOOL, "", "the FIN or RST has the ACK flag"),
        _c("frame", I64, "", "packet with the FIN or RST"),
        _c("time", I64, "ns", "time of `frame`"),
        _n("reached", I64, "bytes", "highest stream offset that the side had sent before an RST"),
        _n(
            "ttl",
            I32,
            "",
            "time to live of the FIN or RST, if it differs by more than 2 from that of all other packets of its side",
        ),
        _n("lowest_ttl", I32, "", "smallest time to live of those packets"),
        _n("highest_ttl", I32, "", "largest time to live of those packets"),
        _n(
            "ip_id",
            I32,
            "",
            "IP identification of the FIN or RST, if it does not continue those of its side: 0, or copied from the peer",
        ),
        _n("last_ip_id", I32, "", "previous IP identification of the side in that case"),
        _n("peer_ip_id", I32, "", "IP identification of the peer's last packet before the FIN or RST in that case"),
        _c(
            "goes_on",
            BOOL,
            "",
            "the side continues with data at or above the sequence number of the FIN or RST, with a SYN-ACK, or a second after "
            "its RST with any data or a FIN",
        ),
        _n("later_frame", I64, "", "first such packet after an RST"),
        _n("later_time", I64, "ns", "time of `later_frame`"),
        _n("trigger_time", I64, "ns", "time of the packet that triggered the FIN or RST, less than half of `rtt` earlier"),
        _n("rtt", I64, "ns", "round trip from the capture point to the host in the source address in that case"),
        _c("no_timestamps", BOOL, "", "a FIN without the timestamps option that both SYNs negotiated"),
        _n("ahead", I64, "bytes", "how far the sequence number is above the next expected byte, inside the window"),
        _c("client_bytes", I64, "bytes", "payload of the client before the FIN or RST"),
        _c("server_bytes", I64, "bytes", "payload of the server before the FIN or RST"),
    ),
    subject="connections",
    writer="core/origins.py:ForeignCloses.write",
)

_RESPONSE_LIMITED = tuple(
    Column(
        f"{c.name}_time",
        c.dtype,
        c.unit,
        f"for a long body: {c.name} as in the table transfers; null for others",
        True,
    )
    for c in _LIMITED
)


def _side(prefix: str, columns: tuple[Column, ...]) -> tuple[Column, ...]:
    return tuple(Column(f"{prefix}_{c.name}", c.dtype, c.unit, c.meaning, c.nullable) for c in columns)


_ORIGINS = "endpoint (the host in its source address), between (a device on the path), or empty (unknown)"

EXCHANGES = Table(
    "exchanges",
    "a request and its final response, written once the exchange is final: at the next request, at a close, or at the end",
    (
        _c("connection", I64, "", "connection id"),
        _c("exchange", I32, "", "0-based index of the exchange in its connection"),
        _c("has_request", BOOL, "", "the request was captured; otherwise its columns are null or empty"),
        _c("has_response", BOOL, "", "a final response was captured (or only an interim one)"),
        *_side("request", (_n("message", I64, "", "message id"), *_MESSAGE, *_REQUEST_ONLY)),
        *_side(
            "response", (_n("message", I64, "", "message id"), *_MESSAGE, *_RESPONSE_ONLY, *_RESPONSE_BURSTS, *_RESPONSE_PIECES)
        ),
        *_side("response", _RESPONSE_LIMITED),
        _n(
            "request_head_last_frame",
            I64,
            "",
            "packet that completed the header section of a request with a body; null without a body",
        ),
        _n("request_head_time", I64, "ns", "time of `request_head_last_frame`"),
        _n("request_body_frame", I64, "", "first packet with body bytes of the request"),
        _n("request_body_time", I64, "ns", "time of `request_body_frame`"),
        _n(
            "request_body_pause",
            I64,
            "ns",
            "the longest of the first three pauses (10 ms or more) between segments of the request's body; 0 if there are none",
        ),
        _c("interim", STATUSES, "", "status codes of the 1xx responses before the final one"),
        _c("interim_times", LIST64, "ns", "start time of each 1xx response"),
        _c("persistent", BOOL, "", "both messages leave the connection open (RFC 9112 section 9.3)"),
        _c(
            "upgraded",
            BOOL,
            "",
            "later bytes on the connection are not HTTP, after a 101, a 2xx to CONNECT, or a raw stream of Docker; or they "
            "were not read because too many requests were waiting",
        ),
        _c(
            "pairing_assumed",
            BOOL,
            "",
            "the response of the request, or its absence, is only assumed, because messages may be missing from the capture",
        ),
        _n("request_time", I64, "ns", "request end - request start"),
        _n("server_time", I64, "ns", "response start - request end, at least 0"),
        _n("response_time", I64, "ns", "response end - response start"),
        _c(
            "request_id",
            TEXT,
            "",
            "value of the first of X-Request-Id, X-Correlation-Id, X-Amzn-Trace-Id and traceparent in the request, else in the "
            "response; empty if it is not well-formed: 1 to 128 letters, digits and ._:/=;-",
        ),
        _n("previous_end", I64, "ns", "end of the previous exchange on the connection; null for the first"),
        _n(
            "previous_end_offset",
            I64,
            "bytes",
            "offset in the server's stream just after the previous response; null if there was none",
        ),
        _c(
            "previous_announced_close",
            BOOL,
            "",
            "the previous response on the connection announced the close: Connection: close, HTTP/1.0 without keep-alive, or "
            "a body that ends with the connection",
        ),
        _c("endpoint", I64, "", "hash of the server's address and port, the same on all its connections"),
        # the connection, as of the time of the row
        _c("last_on_connection", BOOL, "", "no further request followed on the connection"),
        _c("handshake", BOOL, "", "SYN and SYN-ACK were captured"),
        _c("both_directions", BOOL, "", "packets of both directions were captured"),
        _c(
            "gap_before",
            BOOL,
            "",
            "bytes are missing on the connection so far (or the snap length cut off a header section or chunk framing)",
        ),
        _n("rtt_client", I64, "ns", "round trip from the capture point to the client"),
        _n("rtt_server", I64, "ns", "round trip from the capture point to the server"),
        _n("client_close_frame", I64, "", "first FIN of the client (its first RST if it sent no FIN)"),
        _n("client_close_time", I64, "ns", "time of `client_close_frame`"),
        _n("client_close_ack", I64, "bytes", "offset of the server's stream that the client's close acknowledges"),
        _n("client_close_rst", I8, "", "1 if the client's close is an RST, 0 if it is a FIN"),
        _n("server_close_frame", I64, "", "first FIN of the server (its first RST if it sent no FIN)"),
        _n("server_close_time", I64, "ns", "time of `server_close_frame`"),
        _n("server_close_ack", I64, "bytes", "offset of the client's stream that the server's close acknowledges"),
        _n("server_close_offset", I64, "bytes", "offset of the server's close in the server's stream"),
        _n("server_close_rst", I8, "", "1 if the server's close is an RST, 0 if it is a FIN"),
        _c(
            "server_close_contradicted",
            BOOL,
            "",
            "the server's stream continues after its FIN: the FIN was forged, or belongs to another connection",
        ),
        _n("server_rst_frame", I64, "", "first RST of the server, if it closed"),
        _n("server_rst_time", I64, "ns", "time of `server_rst_frame`"),
        _n("client_rst_frame", I64, "", "first RST of the client, with or without a FIN before it"),
        _n("client_rst_time", I64, "ns", "time of `client_rst_frame`"),
        _n("client_rst_ack", I64, "bytes", "offset of the server's stream that the client's RST acknowledges"),
        _c("client_close_origin", TEXT, "", f"who sent the FIN or RST in client_close_frame: {_ORIGINS}"),
        _c("server_close_origin", TEXT, "", f"who sent the FIN or RST in server_close_frame: {_ORIGINS}"),
        _n(
            "accepted_frame",
            I64,
            "",
            "the server's SYN-ACK; null if the SYN-ACK was repeated, or if the connection was not closed",
        ),
        _n("accepted_time", I64, "ns", "time of the newest SYN-ACK; recorded only for closed connections, otherwise null"),
        _n(
            "last_payload_frame",
            I64,
            "",
            "newest payload of either side before the first FIN or RST; null if it was not acknowledged, or if the window had no "
            "room for more",
        ),
        _n("last_payload_time", I64, "ns", "time of `last_payload_frame`"),
        _n("last_payload_role", I8, "", "role of that payload's sender: 0 client, 1 server"),
        _c(
            "says_goodbye",
            BOOL,
            "",
            "the connection was upgraded, and the last segment of the side that closed first is a WebSocket close frame",
        ),
        _c("final_at", I64, "ns", "capture time as of which the row holds"),
        _c("at_capture_end", BOOL, "", "the row was written only because the capture ended"),
    ),
    writer="core/exchange_rows.py:ExchangeRows.write",
)

ASKED = (
    *("connection", "exchange", "request_frame", "request_start", "request_method", "request_host", "request_target"),
    *("request_user_agent", "request_forwarded", "request_forwarded_for", "request_navigation", "request_range_start"),
    *("response_start", "response_status", "response_end", "response_end_reason"),
)
"""The columns of EXCHANGES about the request, and about when its response began and ended."""

_CLOSE = (
    *("last_on_connection", "client_close_frame", "client_close_time", "client_close_ack", "client_close_rst"),
    *("server_close_frame", "server_close_time", "server_close_ack", "server_close_offset", "server_close_rst"),
    *("server_close_contradicted", "server_rst_frame", "server_rst_time"),
    *("client_rst_frame", "client_rst_time", "client_rst_ack", "client_close_origin", "server_close_origin"),
    *("accepted_frame", "accepted_time"),
    *("last_payload_frame", "last_payload_time", "last_payload_role", "says_goodbye", "final_at", "at_capture_end"),
)
"""The columns of EXCHANGES about events after an exchange."""

AS_OF = ("handshake", "both_directions", "gap_before", "rtt_client", "rtt_server")
"""The columns of EXCHANGES about the state of the connection at the end of the exchange, or at its close."""

_FINAL_AT = _c("final_at", I64, "ns", "capture time as of which the row holds")

FINISHED_AT = "finished_at"
"""The column of STORED_EXCHANGES for `final_at` of FINISHED_EXCHANGES."""

FINISHED_EXCHANGES = Table(
    "exchanges",
    "a request and its final response, as soon as the response is complete or will never be",
    (*(c for c in EXCHANGES.columns if c.name not in _CLOSE), _FINAL_AT),
)
"""The table `exchanges` as rules read it; events after an exchange are in `closes`."""

_OF_CLOSES = {
    *("connection", "exchange", "has_request", "has_response", "persistent", "upgraded", "pairing_assumed", "endpoint"),
    *("previous_end", "previous_end_offset", "previous_announced_close", *AS_OF, *_CLOSE),
    *("request_frame", "request_last_frame", "request_start", "request_end", "request_offset", "request_end_offset"),
    *("request_ack", "request_head_bytes", "request_body_bytes", "request_body_due", "request_end_reason", "request_has_gap"),
    *("request_method", "request_version", "request_connection_close", "request_expect_continue"),
    *("response_frame", "response_last_frame", "response_start", "response_end", "response_offset", "response_end_offset"),
    *("response_ack", "response_head_bytes", "response_body_bytes", "response_body_due", "response_end_reason"),
    *("response_has_gap", "response_last_body_time", "response_framing", "response_has_transfer_encoding"),
    *("response_status", "response_version", "response_content_type", "response_connection_close"),
    *("response_endless", "request_endless"),
    *("response_keep_alive_timeout", "response_keep_alive_max", "response_auth_scheme", "response_auth_token"),
    *("request_framing", "response_server", "response_upgrade", "response_application_pauses", "request_range_start"),
}

CLOSES = Table(
    "closes",
    "an exchange with later events on its connection, written once they are known: at the next request, a close, or the end",
    tuple(c for c in EXCHANGES.columns if c.name in _OF_CLOSES),
)

AT_CLOSE = "at_close_"
"""The prefix of columns in STORED_EXCHANGES for columns of AS_OF at the close."""

STORED_EXCHANGES = Table(
    "exchanges",
    "a row of `exchanges` and its row of `closes` together",
    (
        *EXCHANGES.columns,
        _FINAL_AT._replace(name=FINISHED_AT),
        *(c._replace(name=AT_CLOSE + c.name) for c in EXCHANGES.columns if c.name in AS_OF),
    ),
)
"""The stored row of an exchange. `exchanges` for reports, and `exchanges` and `closes` for rules, are parts of this row."""

CLOSES_OF_STORED = {c.name: AT_CLOSE + c.name if c.name in AS_OF else c.name for c in CLOSES.columns}
"""The column of STORED_EXCHANGES for each column of CLOSES."""

FINISHED_OF_STORED = {name: FINISHED_AT if name == _FINAL_AT.name else name for name in FINISHED_EXCHANGES.schema}
"""The column of STORED_EXCHANGES for each column of FINISHED_EXCHANGES."""


def finished_exchanges(stored: Rows) -> Rows:
    """Return the rows of FINISHED_EXCHANGES that are contained in rows of STORED_EXCHANGES."""
    return _part(stored, FINISHED_OF_STORED)


def closes(stored: Rows) -> Rows:
    """Return the rows of CLOSES that are contained in rows of STORED_EXCHANGES."""
    return _part(stored, CLOSES_OF_STORED)


def _part(stored: Rows, names: Mapping[str, str]) -> Rows:
    if isinstance(stored, pl.LazyFrame):
        return stored.select(pl.col(name).alias(new) for new, name in names.items())
    frame = stored[[*names.values()]]  # for a few rows, a query takes longer than the work itself
    frame.columns = [*names]
    return frame


CONNECTIONS = Table(
    "connections",
    "a TCP connection; a new one begins when a port is reused with another initial sequence number",
    (
        _c("connection", I64, "", "connection id, equal to tcp.stream"),
        _c("client", TEXT, "", "client endpoint, address:port"),
        _c("server", TEXT, "", "server endpoint, address:port"),
        _c("client_host", TEXT, "", "client address without the port"),
        _c("client_direction", I8, "", "direction in which the client sends, 0 or 1"),
        _c("packets", I64, "", "number of packets in both directions, without duplicate copies"),
        _c("duplicates", I64, "", "number of duplicate copies of packets, which were left out"),
        _n("duplicate_frame", I64, "", "first of these copies"),
        _n("duplicate_time", I64, "ns", "time of `duplicate_frame`"),
        _n("duplicate_first_frame", I64, "", "packet of which it is a copy"),
        _n(
            "duplicate_difference",
            I8,
            "",
            "difference between the two copies: 0 none, 1 interface, 2 link-layer addresses, 3 time to live, 4 encapsulation",
        ),
        _c(
            "conflicts",
            I64,
            "",
            "number of packets whose bytes differ from those of an earlier packet with the same sequence numbers",
        ),
        _n("conflict_frame", I64, "", "first of these packets"),
        _n("conflict_time", I64, "ns", "time of `conflict_frame`"),
        _n("conflict_first_frame", I64, "", "earlier packet that it contradicts"),
        _c("client_packets", I64, "", "number of packets from the client"),
        _c("server_packets", I64, "", "number of packets from the server"),
        _c("client_bytes", I64, "bytes", "payload bytes from the client, each counted once"),
        _c("server_bytes", I64, "bytes", "payload bytes from the server, each counted once"),
        _c("first_frame", I64, "", "first packet of the connection"),
        _c("last_frame", I64, "", "last packet of the connection"),
        _c("start", I64, "ns", "time of the first packet"),
        _c("end", I64, "ns", "time of the last packet"),
        _c("handshake", BOOL, "", "SYN and SYN-ACK were captured"),
        _n("rtt_client", I64, "ns", "round trip from the capture point to the client"),
        _n("rtt_server", I64, "ns", "round trip from the capture point to the server"),
        _c("syns", I32, "", "number of SYNs of the client until it acknowledged a SYN-ACK"),
        _n("syn_frame", I64, "", "first SYN of the client"),
        _n("syn_time", I64, "ns", "time of `syn_frame`"),
        _n("second_syn_time", I64, "ns", "time of the second SYN, which repeats the first"),
        _n("third_syn_time", I64, "ns", "time of the third SYN"),
        _n("last_syn_frame", I64, "", "last SYN of the client"),
        _n("last_syn_time", I64, "ns", "time of `last_syn_frame`"),
        _c("syn_ecn_or_data", BOOL, "", "the first SYN requested ECN or had data"),
        _n("first_answer_frame", I64, "", "the first SYN-ACK of the server"),
        _n("first_answer_time", I64, "ns", "time of `first_answer_frame`"),
        _n("newest_answer_frame", I64, "", "the last SYN-ACK before the client acknowledged one"),
        _n("newest_answer_time", I64, "ns", "time of `newest_answer_frame`"),
        _n("answered_syn_frame", I64, "", "last SYN before that SYN-ACK"),
        _n("answered_syn_time", I64, "ns", "time of `answered_syn_frame`"),
        _c("answered_syn_ecn_or_data", BOOL, "", "`answered_syn_frame` requested ECN or had data"),
        _c("connected", BOOL, "", "the client acknowledged a packet from the server"),
        _n("refused_frame", I64, "", "the first RST in reply to a SYN, before any SYN-ACK"),
        _n("refused_time", I64, "ns", "time of `refused_frame`"),
        _n("syn_error_frame", I64, "", "the first ICMP error that quotes a SYN of the client (RFC 792, RFC 4443)"),
        _n("syn_error_time", I64, "ns", "time of `syn_error_frame`"),
        _n("syn_error_router", TEXT, "", "address of the error's sender: a router, or the server"),
        _n("syn_error_type", I32, "", "type of that ICMP error"),
        _n("syn_error_code", I32, "", "code of that ICMP error"),
        _n(
            "data_rtt",
            I64,
            "ns",
            "round trip between both ends measured from data, without the handshake; null unless the SYN was repeated",
        ),
        _c(
            "client_unseen_bytes",
            I64,
            "bytes",
            "number of the client's bytes that the server acknowledged but that were not captured",
        ),
        _c(
            "server_unseen_bytes",
            I64,
            "bytes",
            "number of the server's bytes that the client acknowledged but that were not captured",
        ),
        _c("client_unacknowledged", I64, "bytes", "number of the client's payload bytes that the server has not acknowledged"),
        _c("server_unacknowledged", I64, "bytes", "number of the server's payload bytes that the client has not acknowledged"),
        _c("acked_unseen_count", I64, "", "number of ACKs that first acknowledged bytes that were not captured"),
        _n("unseen_frame", I64, "", "the first of these ACKs"),
        _n("unseen_time", I64, "ns", "time of `unseen_frame`"),
        _n("reuse_frame", I64, "", "first packet of the connection, if its ports were used before and its SYN is missing"),
        _n("reuse_time", I64, "ns", "time of `reuse_frame`"),
        _c("one_sided", BOOL, "", "only packets of one side were captured, although they acknowledge packets of the other"),
        _c("super_segments", I64, "", "number of segments longer than the MSS that their receiver announced"),
        _n("super_frame", I64, "", "first of these segments"),
        _n("super_time", I64, "ns", "time of `super_frame`"),
        _n("super_mss", I32, "bytes", "MSS that the receiver of that segment announced"),
        _c("protocol", TEXT, "", "protocol: http, tls, http2, unknown (other payload) or none (no payload)"),
        _c(
            "history",
            TEXT,
            "",
            "one letter per kind of packet in order of first occurrence, upper case from the client: "
            "S SYN, H SYN-ACK, A ACK, D data, F FIN, R RST, G a gap, T retransmission, W zero window",
        ),
        _c(
            "closed_by",
            TEXT,
            "",
            "who closed first: client, server or both (neither had acknowledged the other's close); empty while open",
        ),
        _c(
            "close",
            TEXT,
            "",
            "how it was closed: fin or rst (an RST of the side that closed, without a FIN before); empty while open",
        ),
        _n("server_rst_offset", I64, "bytes", "offset of the server's first RST in the server's stream"),
        _n("server_rst_ack", I64, "bytes", "offset of the client's stream that this RST acknowledges; null without ACK flag"),
        _c("exchanges", I64, "", "number of exchanges on the connection"),
        _c("cut_heads", I64, "", "number of packets that the snap length cut off inside heads or chunk framing of HTTP"),
        _n("cut_frame", I64, "", "first of these packets"),
        _n("cut_time", I64, "ns", "time of `cut_frame`"),
        _c(
            "tls_version",
            TEXT,
            "",
            "TLS version that the server chose (without its hello, the highest version offered); empty without any hello",
        ),
        _c("server_name", TEXT, "", "server name in the ClientHello (SNI)"),
        _c("alpn_offered", TEXT, "", "protocols that the ClientHello offers (ALPN), separated by commas"),
        _c("alpn_chosen", TEXT, "", "the protocol in the ServerHello (up to TLS 1.2; later versions encrypt it)"),
        _c("encrypted_hello", BOOL, "", "a part of the ClientHello is encrypted (ECH): the name may only belong to a front end"),
        _c("final_at", I64, "ns", "capture time as of which the row holds"),
    ),
    subject="connections",
    writer="core/connection_rows.py:ConnectionRows.write",
)

TABLES = {
    t.name: t
    for t in (
        *(CAPTURES, RECORDS, PACKETS, ODDITIES, SEGMENTS, PIECES, BURSTS, MESSAGES, FAULTS, ICMP_ERRORS, EXCHANGES),
        CONNECTIONS,
    )
}

EVENT_TABLES = {t.name: t for t in (RELEASES, RECOVERIES, CLOSURES, WINDOW_STALLS, RUNS, UNACKNOWLEDGED, TRANSFERS)}
"""The tables whose rows are limited by the cutoffs of the enabled rules; a rule that reads one of them declares cutoffs."""

TRIES = Table(
    "tries",
    "what a gateway did at its back for an exchange at its front, if the capture has both sides: an exchange with the "
    "forwarded request, or an attempt, which is a connection that was opened for the exchange but carried no request",
    (
        _c("front_connection", I64, "", "connection id of the exchange at the front"),
        _c("front_exchange", I32, "", "index of the exchange at the front in its connection"),
        _c("connection", I64, "", "connection id at the back"),
        _n("exchange", I32, "", "index of the exchange at the back; null for a connection attempt without a request"),
        _c("certain", BOOL, "", "no other pairing is possible; otherwise this is one of several possible exchanges"),
        _c("started", I64, "ns", "start of the try: first byte of the request, or first SYN"),
    ),
)

FRONTS = Table(
    "fronts",
    "a server endpoint that is the front of a gateway, together with one of the endpoints behind it",
    (
        _c("server", TEXT, "", "endpoint at the front, address:port"),
        _c("behind", TEXT, "", "endpoint at the back, address:port"),
    ),
)

RULE_TABLES = (
    TABLES
    | EVENT_TABLES
    | {"exchanges": FINISHED_EXCHANGES, "closes": CLOSES, "foreign_closes": FOREIGN_CLOSES, "tries": TRIES, "fronts": FRONTS}
)
"""The tables that a rule can read."""

_OWNER = _n("connection", I64, "", "connection id; null if the packet belongs to no connection")

READ_AGAIN = TABLES | {
    "records": replace(RECORDS, columns=(PACKETS.columns[0], _OWNER, *RECORDS.columns)),
    "packets": replace(PACKETS, columns=(_OWNER, *PACKETS.columns)),
}
"""The tables of a second pass: a record also has its frame, and packets have their connection."""

_ENDS = (_n("client", TEXT, "", "client endpoint, address:port"), _n("server", TEXT, "", "server endpoint, address:port"))

DERIVED: Mapping[str, tuple[Column, ...]] = {
    "exchanges": (
        *_ENDS,
        _c(
            "duration",
            I64,
            "ns",
            "time from the first byte of the exchange to its last one; without a response, to the close that its client "
            "waited for",
        ),
        _n(
            "response_wait",
            I64,
            "ns",
            "how long the client waited for a response that never came or broke off: from the first byte of the exchange to the "
            "FIN or RST of either side or, if the connection stayed open, to the end of the capture; null for other exchanges",
        ),
    ),
    "connections": (_c("duration", I64, "ns", "time from the first packet of the connection to its last one"),),
}
"""The columns that exports compute from other columns, by table."""


def _prefixed(new: str, old: str, names: str) -> dict[str, str]:
    return {new + name: old + name for name in names.split()}


OLD_NAMES: Mapping[str, Mapping[str, str]] = {
    "segments": {
        **_prefixed("previous_data_", "data_before_", "frame time end length full small push last_in_flight room"),
        **_prefixed("previous_data_", "data_before_", "message ends_head ends_message"),
        **_prefixed("previous_ack_", "ack_before_", "frame time ack delay bytes"),
        "previous_ack_interval": "ack_before_gap",
        "nothing_sent_since_ack": "quiet_since_ack",
        "peer_data_since": "other_data_since",
        "message_incomplete": "owes",
        "nagle_disabled": "nagle_off",
        "retransmission_count": "stall_tries",
        **_prefixed("first_retransmission_", "first_try_", "frame time"),
        **_prefixed("retransmitted_", "resent_", "frame time bytes late"),
        "fills_gap": "fills_hole",
        "opens_gap": "opens_hole",
        "acked_unseen": "acks_unseen",
        "rtt_peer": "rtt_other",
    },
    "messages": {"has_gap": "has_hole"},
    "exchanges": {
        "request_has_gap": "request_has_hole",
        "response_has_gap": "response_has_hole",
        "gap_before": "hole_before",
        "final_at": "said_at",
        "last_on_connection": "last",
        "previous_announced_close": "previous_close",
        "response_pause_total": "response_paused",
        "response_chunk_lines_sent_separately": "response_chunk_lines_alone",
        "response_chunks_ending_in_newline": "response_chunks_end_lines",
    },
    "connections": {
        "final_at": "said_at",
        "acked_unseen_count": "unseen_places",
        "duplicate_difference": "duplicate_way",
        "syn_ecn_or_data": "syn_extras",
        "answered_syn_ecn_or_data": "answered_syn_extras",
    },
    "faults": {"excerpt": "shown", "data_in_both_directions": "both_spoke", "after_gap": "behind_hole"},
}
"""The earlier name of each renamed column, by table: table -> name -> earlier name.

Until schema version 2, exports, the Python API and rules of other packages have both columns.
"""


def with_old_names(table: str, rows: Rows) -> Rows:
    """Add the renamed columns of `rows` under their earlier names; the values are not copied."""
    present = rows.collect_schema().names()
    return rows.with_columns(pl.col(name).alias(old) for name, old in OLD_NAMES.get(table, {}).items() if name in present)
