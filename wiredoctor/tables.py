"""Every table and every column of wiredoctor, a sentence and a unit each: read this first.

The core writes the rows of these tables, and rules and reports see them as Polars frames. They are described here,
once; documentation and exports are made from it.

Times are int64 nanoseconds since the first packet of the capture, whose own time is kept beside them
(nanoseconds since 1970 as a Python integer, so that no year is too far away).
Frames count from 1 as Wireshark's `frame.number`. Connection ids equal Wireshark's `tcp.stream`.
Stream offsets are sequence numbers unwrapped to 64 bits: 0 is the first byte after the SYN of that
direction (without a SYN: the first byte seen, so that a late first copy of an earlier byte is negative).
"Seen" always means: at the capture point.
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
"""Rows of a table: column name -> array; all arrays have one length."""

FIN, SYN, RST, PSH, ACK, URG, ECE, CWR = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80
"""Control bits of the TCP header, RFC 9293 section 3.1."""

MESSAGE_BITS = 26
"""Message id = connection << MESSAGE_BITS | index in its direction << 1 | direction: unique, ascending in a direction, and the
same wherever a batch ends. A direction with more than 33 million messages starts again at 0."""

SECOND = 1_000_000_000
MILLISECOND = 1_000_000
"""In nanoseconds."""

CLIENT, SERVER = 0, 1
"""Role of a side of a connection; NONE while nothing but ports and order speak for it."""

NONE = -1
"""No value, in integer columns of less than 64 bits."""

NOT_CAPTURED = -2
"""An option of which it is not known whether the packet had it: the snap length cut its header short."""

NEVER = -(1 << 62)
"""No value, in 64-bit columns (times, offsets, frames, ids): -1 is a legal time and a legal offset."""


class Column(NamedTuple):
    """A column: its name, its type, its unit ("" where it has none) and what it means.

    `nullable` columns hold NEVER (64 bits) or NONE (fewer) in `Columns` and null in Polars.
    """

    name: str
    dtype: pl.DataType
    unit: str
    meaning: str
    nullable: bool = False

    @property
    def sentinel(self) -> int | None:
        """What stands for "no value" in `Columns`; None where the column always has one."""
        if not self.nullable or not self.dtype.is_integer():
            return None
        return NEVER if self.dtype == pl.Int64 else NONE


SMALL = 256
"""Rows of a table that are sooner handed to Polars value by value than as arrays."""


FEW = 64
"""Rows of a table that are sooner handed to Polars row by row than column by column: there are up to a hundred columns."""


Subject = Literal["exchanges", "segments", "connections", "captures"]
"""What a table is about: a rule that reads it has nothing to check in a capture that has none of these."""


@cache
def _without_rows(dtype: pl.DataType) -> pl.Series:
    """Return a column without rows."""
    return pl.Series(dtype=dtype)


@dataclass(frozen=True)
class Table:
    """A table: its name, what one row is, and its columns in order.

    `at_packet`: a row is final when its packet has been read; nothing that happens to its exchange later changes it.
    `exchange_by_time`: candidates from rows that name no exchange belong to the one that waited in their time.
    """

    name: str
    row: str
    columns: tuple[Column, ...]
    subject: Subject = "exchanges"
    at_packet: bool = False
    exchange_by_time: bool = False

    @cached_property
    def schema(self) -> pl.Schema:
        """Column name -> Polars type."""
        return pl.Schema({c.name: c.dtype for c in self.columns})

    def only(self, names: Collection[str]) -> Table:
        """The table with these of its columns. Raises KeyError where one does not exist."""
        if unknown := set(names) - {c.name for c in self.columns}:
            raise KeyError(f"{self.name} has no such column: {', '.join(sorted(unknown))}")
        return replace(self, columns=tuple(c for c in self.columns if c.name in names))

    @cached_property
    def _empty(self) -> pl.DataFrame:
        # from a schema it takes Polars three times as long, which a small capture would feel
        return pl.DataFrame([_without_rows(dtype).alias(name) for name, dtype in self.schema.items()])

    @cached_property
    def _sentinels(self) -> tuple[int | None, ...]:
        return tuple(c.sentinel for c in self.columns)

    def empty(self) -> pl.DataFrame:
        """The table without rows."""
        return self._empty.clone()

    def frame(self, columns: Mapping[str, Any]) -> pl.DataFrame:
        """`Columns` (or lists) -> Polars frame with exactly the columns of this table; sentinels become null."""
        if _is_small(columns):
            return self._small(columns)
        # what has no sentinel needs no look for one
        free = {
            c.name
            for c, sentinel in zip(self.columns, self._sentinels, strict=True)
            if sentinel is not None and isinstance(array := columns[c.name], np.ndarray) and not (array == sentinel).any()
        }
        return self.lazy(columns, free).collect()

    def _small(self, columns: Mapping[str, Any]) -> pl.DataFrame:
        """The frame without a plan, and without numpy.ma, which Polars loads with the first array that it is handed: of a
        hundred packets both take longer than all the rest."""
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
            # a number that its column cannot hold is an error here, and null below
            with suppress(pl.exceptions.ComputeError):
                return pl.DataFrame([*zip(*lists, strict=True)], self.schema, orient="row", strict=False)
        series = [pl.Series(c.name, listed, c.dtype, strict=False) for c, listed in zip(self.columns, lists, strict=True)]
        return pl.DataFrame(series)

    def lazy(self, columns: Mapping[str, Any], whole: Collection[str] = ()) -> pl.LazyFrame:
        """The same, where a column costs something only when it is asked for. `whole` columns hold no sentinel."""
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
        _c("capture", TEXT, "", "the file as it was named"),
        _c("format", TEXT, "", "pcap or pcapng"),
        _c("packets", I64, "", "packet records read"),
        _c("bytes", I64, "bytes", "size of the file"),
        _c("last_frame", I64, "", "number of the last packet; 0 without any"),
        _n("first_time", I64, "ns", "time of the first packet, since 1970 in UTC; none where 64 bits do not hold it"),
        _c("last_time", I64, "ns", "time of the last packet, since the first"),
        _c("damage", TEXT, "", "what could not be read and where; empty when all could"),
        _n("snap_length", I64, "bytes", "the longest of the packets that are in the file in part only; none without any"),
        _c("clock_steps", I64, "", "packets stamped more than 1 ms earlier than the packet before them on their interface"),
        _c("clock_step_worst", I64, "ns", "by how much at the most"),
        _c("clock_step_frame", LIST64, "", "the first five of these packets"),
        _c("clock_step_time", LIST64, "ns", "their times"),
        _c("clock_step_frame_before", LIST64, "", "the packets before them on their interfaces"),
        _c("clock_step_time_before", LIST64, "ns", "their times"),
        _c("shuffled", I64, "", "packets that are out of order in the file, and were sorted by time"),
        _c("shuffled_worst", I64, "ns", "the largest difference of time"),
        _c("shuffled_frame", LIST64, "", "the first five of these packets"),
        _c("shuffled_time", LIST64, "ns", "their times"),
        _c("shuffled_frame_before", LIST64, "", "the latest packets before them in the file"),
        _c("shuffled_time_before", LIST64, "ns", "their times"),
        _n("dropped", I64, "", "packets that were dropped before they could be captured; none where the capture counts none"),
        _c(
            "dropped_of",
            I64,
            "",
            "packets that there would be if none had been dropped, and no part had been taken",
        ),
        _c("dropped_on", TEXT, "", 'the interfaces that dropped them: "eth0", "eth0 and eth1"'),
        _n("dropped_start", I64, "ns", "the first of them were dropped after this time; none where it is not known"),
        _n("dropped_end", I64, "ns", "the last of them were dropped before this time; none without any"),
    ),
    subject="captures",
)

RECORDS = Table(
    "records",
    "a packet record of the capture file, as the file frames it",
    (
        _c("time", I64, "ns", "time stamp of the record, since that of the first"),
        _c("interface", I32, "", "index in the capture's list of interfaces"),
        _c(
            "link_type",
            I32,
            "",
            "LINKTYPE_ number (tcpdump.org/linktypes.html); -1: a record that is no packet but counts as a frame",
        ),
        _c("offset", I64, "bytes", "where the packet begins in the file"),
        _c("captured", I64, "bytes", "how much of the packet is in the file"),
        _c("length", I64, "bytes", "how long the packet was on the wire"),
    ),
    subject="captures",
)

PACKETS = Table(
    "packets",
    "a packet that carries a TCP header, in the order of the capture",
    (
        _c("frame", I64, "", "number of the packet in its capture"),
        _c("time", I64, "ns", "time stamp, since the first packet of the capture"),
        _c("interface", I32, "", "index in the capture's list of interfaces"),
        _c("ip_version", U8, "", "4 or 6"),
        _c("source_high", U64, "", "upper half of the source address (0 for IPv4)"),
        _c("source_low", U64, "", "lower half of the source address (IPv4: the address)"),
        _c("destination_high", U64, "", "upper half of the destination address"),
        _c("destination_low", U64, "", "lower half of the destination address"),
        _c("source_port", U16, "", "source port"),
        _c("destination_port", U16, "", "destination port"),
        _n("ip_id", I32, "", "IPv4 identification; of a reassembled datagram that of its fragments; none in IPv6"),
        _c("ttl", U8, "", "time to live or hop limit"),
        _c("link_hash", U64, "", "hash of the link-layer addresses (MAC source and destination; 0 where the link has none)"),
        _c("encapsulation", U64, "", "hash of VLAN tags and tunnel headers passed on the way to the IP header; 0 without any"),
        _c("seq", U32, "", "sequence number as in the header"),
        _c("ack", U32, "", "acknowledgement number as in the header"),
        _c("flags", U8, "", "control bits, FIN = 1 ... CWR = 128"),
        _c("window", U16, "", "window as in the header, unscaled"),
        _c("length", I32, "bytes", "TCP payload on the wire, by the IP length"),
        _c("captured", I32, "bytes", "TCP payload that is in the capture, at most `length`"),
        _c(
            "payload",
            I64,
            "bytes",
            "where the payload begins: an offset in the file, or from SCRATCH on in the scratch buffer of reassembled fragments",
        ),
        _c("options_hash", U64, "", "hash of the option bytes; 0 without options"),
        _c("mss", I32, "bytes", "MSS option; -1 without it, -2 where the capture has not all options"),
        _c("window_shift", I8, "", "window scale option (at most 14, RFC 7323); -1 without it, -2 likewise"),
        _c("has_timestamps", BOOL, "", "carries the time-stamp option"),
        _c("sack", BOOL, "", "carries SACK blocks"),
        _c("dsack", BOOL, "", "its first SACK block reports a duplicate (RFC 2883)"),
        _c("quoted", BOOL, "", "a header quoted in an ICMP error: takes a connection id, is no packet of it"),
    ),
    subject="segments",
)

SCRATCH = 1 << 62
"""`packets.payload` from here on counts in the scratch buffer of reassembled fragments, not in the file."""

ODDITIES = Table(
    "oddities",
    "something in a packet that does not fit its standard: described here, judged by rules",
    (
        _c("frame", I64, "", "number of the packet"),
        _c("layer", TEXT, "", "link, ip, tcp or http"),
        _c("what", TEXT, "", "what was expected and what was there, in words"),
    ),
    subject="captures",
)

FAULTS = Table(
    "faults",
    "a message that breaks its framing (RFC 9112 section 6) or the grammar of its head: said when that was seen, of each side "
    "of a connection one of the framing, and one of each kind of the grammar before it",
    (
        _c("connection", I64, "", "connection id"),
        _c("exchange", I32, "", "index of the exchange in its connection"),
        _c("role", I8, "", "role of the sender: 0 client, 1 server"),
        _c(
            "fault",
            TEXT,
            "",
            "of the framing: excess-body, conflicting-framing, invalid-chunk, body-not-allowed, chunked-to-http10, "
            "unframed-request-body, unfinished-transfer-coding; of the grammar: bare-lf, space-before-colon, folding, "
            "control-byte, content-length, no-colon; no-status-line: an answer that is no HTTP (message: its request); "
            "body-announced: a 204 or 1xx with the length of a body that it cannot have",
        ),
        _c("frame", I64, "", "packet that shows it"),
        _c("time", I64, "ns", "its time"),
        _c("offset", I64, "bytes", "stream offset of the bytes that show it (of a head: of the message)"),
        _c(
            "shown",
            TEXT,
            "",
            "these bytes, as far as 32 of them say (x for letters and digits); of a head the fields that frame the body, or the "
            "name of the field at fault",
        ),
        _c("message_frame", I64, "", "packet with the first byte of the message"),
        _c("message_time", I64, "ns", "its time"),
        _c("version", TEXT, "", "HTTP version of the message"),
        _n("status", I32, "", "status code, where it is a response (an interim one, too)"),
        _n("body_due", I64, "bytes", "Content-Length, where it frames the body"),
        _n("request_frame", I64, "", "packet with the first byte of the request of the exchange; none where it was not captured"),
        _n("request_time", I64, "ns", "its time"),
        _c("request_method", TEXT, "", "its method"),
        _c("request_version", TEXT, "", "its HTTP version"),
        _c("handshake", BOOL, "", "SYN and SYN-ACK were seen"),
        _c("both_spoke", BOOL, "", "of a response: its request was captured; of a request: the server has spoken HTTP, too"),
        _c("behind_hole", BOOL, "", "bytes are missing in the message, or somewhere on the connection before it"),
    ),
    at_packet=True,
)

SEGMENTS = Table(
    "segments",
    "a TCP packet with what its connection's past says about it; second copies of a packet are left out",
    (
        _c("frame", I64, "", "number of the packet"),
        _c("time", I64, "ns", "time stamp"),
        _c("interface", I32, "", "index in the capture's list of interfaces"),
        _c("connection", I64, "", "connection id, equal to tcp.stream"),
        _c("direction", I8, "", "0 = from the side that sent the connection's first packet, 1 = the other way"),
        _n("role", I8, "", "role of the sender: 0 client, 1 server; none while only ports and order speak for it"),
        _c("endpoint", I64, "", "hash of the server's address and port, the same on all its connections (as sure as the role)"),
        _c("flags", U8, "", "control bits, FIN = 1 ... CWR = 128"),
        _c("offset", I64, "bytes", "stream offset of the first payload byte (of a bare FIN: of the FIN)"),
        _c("length", I32, "bytes", "payload on the wire"),
        _c("captured", I32, "bytes", "payload in the capture"),
        _n("ack", I64, "bytes", "stream offset, in the other direction, of the next byte expected; none without the ACK flag"),
        _n("window", I64, "bytes", "announced window after scaling; none where the scale is unknown"),
        _c("ip_id", I32, "", "IPv4 identification, -1 in IPv6"),
        _c("ttl", U8, "", "time to live or hop limit"),
        _c("link_hash", U64, "", "hash of the link-layer addresses"),
        _c("encapsulation", U64, "", "hash of VLAN tags and tunnel headers"),
        _c("options_hash", U64, "", "hash of the option bytes"),
        _c("has_timestamps", BOOL, "", "carries the time-stamp option"),
        _c("sack", BOOL, "", "carries SACK blocks"),
        _c("dsack", BOOL, "", "reports a duplicate by SACK"),
        # what it is
        _c("new_bytes", I32, "bytes", "payload bytes not seen before from this side"),
        _c("retransmission", BOOL, "", "payload (or SYN, FIN) seen before in full, and no keep-alive probe"),
        _c(
            "fills_hole",
            BOOL,
            "",
            "brings first copies from below the highest byte seen: reordered, or lost before the capture point",
        ),
        _c("opens_hole", BOOL, "", "begins above the highest byte seen"),
        _c("overlap", BOOL, "", "part of its payload was seen before, part is new"),
        _c("keep_alive_probe", BOOL, "", "0 or 1 byte just below the highest, RFC 9293 section 3.8.4"),
        _c("pure_ack", BOOL, "", "ACK without payload, SYN, FIN and RST"),
        _c("window_update", BOOL, "", "pure ACK that acknowledges nothing new, or that ends a lack of room for a full segment"),
        _c("duplicate_ack", BOOL, "", "pure ACK of nothing new with an unchanged window while data was in flight"),
        _c("acked_bytes", I64, "bytes", "bytes of the other direction that it newly acknowledges"),
        _c("acks_unseen", I64, "bytes", "bytes of the other direction that it newly acknowledges and that had not been seen"),
        _n(
            "ack_delay",
            I64,
            "ns",
            "time since the newest data it newly acknowledges was seen, less the round trip to its sender (unclipped)",
        ),
        _c("zero_window", BOOL, "", "announces window 0 (not in SYN or RST)"),
        # sizes
        _c("mss", I32, "bytes", "effective MSS of its direction, as rules.md defines it, before this segment"),
        _c("mss_announced", BOOL, "", "its side's SYN carried the MSS option, or was not seen"),
        _c("full", BOOL, "", "payload of at least the MSS"),
        _c(
            "small",
            BOOL,
            "",
            "payload below the MSS that does not fill the receiver's window; of an offload super-segment: its end",
        ),
        _c("small_start", BOOL, "", "as `small`, but of an offload super-segment its beginning (never small)"),
        _c("in_flight_before", I64, "bytes", "sent by this side and not yet acknowledged, before this segment"),
        _c("in_flight", I64, "bytes", "the same after this segment"),
        _n("window_room", I64, "bytes", "room in the receiver's window before this segment; none while no window is known"),
        # round trip, known before this packet
        _n("rtt_own", I64, "ns", "round trip from the capture point to this packet's sender, without this packet's own sample"),
        _n("rtt_other", I64, "ns", "round trip from the capture point to its receiver"),
        _c("handshake", BOOL, "", "SYN and SYN-ACK of the connection were seen before"),
        # neighbours: the data segment of this side before this packet (D), and the pure ACK that answered it (K)
        _n("data_before_frame", I64, "", "D: the newest segment with new data that this side sent before this packet"),
        _n("data_before_time", I64, "ns", "time of D"),
        _n("data_before_end", I64, "bytes", "stream offset after D"),
        _n("data_before_length", I32, "bytes", "payload of D"),
        _c("data_before_full", BOOL, "", "D was a full segment"),
        _c("data_before_small", BOOL, "", "D was a small segment"),
        _c("data_before_push", BOOL, "", "D carried PSH: when it left, its side had no more to send"),
        _c("data_before_last_in_flight", BOOL, "", "D ended at the highest byte its side had sent"),
        _n("data_before_room", I64, "bytes", "room that D left in the receiver's window"),
        _n(
            "late",
            I64,
            "ns",
            "how much longer this packet was on its way than D: the time between them, less what the sender's clock advanced by "
            "their time stamps (RFC 7323), to a tick; none where no such clock is known",
        ),
        _n(
            "ack_before_frame",
            I64,
            "",
            "K: the newest pure ACK of the other side since D that acknowledges something new and widens no short window",
        ),
        _n("ack_before_time", I64, "ns", "time of K"),
        _n("ack_before_ack", I64, "bytes", "stream offset that K acknowledges"),
        _n("ack_before_delay", I64, "ns", "`ack_delay` of K"),
        _n("ack_before_bytes", I64, "bytes", "`acked_bytes` of K: what was in flight when it came"),
        _n("ack_before_gap", I64, "ns", "time between the ACK of this kind that came before K and K; none for the first"),
        _c("quiet_since_ack", BOOL, "", "this side sent nothing between K and this packet"),
        _c("other_data_since", BOOL, "", "the other side sent payload between D and this packet"),
        _c("retransmission_since", BOOL, "", "either side retransmitted between D and this packet"),
        _c("window_short_since", BOOL, "", "at some time since D the receiver's window had no room for a full segment"),
        _c("nagle_off", BOOL, "", "Nagle is proved off for this side by packets up to this one"),
        _c(
            "probe_frame",
            I64,
            "",
            "S of the other side that this packet newly acknowledges, together with D: both small, S at least 200 ms and a "
            "round trip after D, which was alone in flight, and nothing retransmitted since; 0 for all other packets",
        ),
        # a time without forward progress (new data, or an ACK that advances) that a retransmission of the other side ended
        _c(
            "ends_stall",
            BOOL,
            "",
            "the first ACK that advances after R, a retransmission by the other side (or late first copy) of what was waited "
            "for, at least 50 ms after the last forward progress (or sooner, where a rule is configured so)",
        ),
        _n("stall_frame", I64, "", "the last forward progress before R"),
        _n("stall_time", I64, "ns", "its time"),
        _c("stall_tries", I32, "", "retransmissions of what was waited for since then, R included"),
        _c("stall_duplicate_acks", I32, "", "duplicate ACKs before R, since an ACK last advanced (doubled ones once)"),
        _n("first_try_frame", I64, "", "the first of the tries"),
        _n("first_try_time", I64, "ns", "its time"),
        _n("resent_frame", I64, "", "R"),
        _n("resent_time", I64, "ns", "its time"),
        _c("resent_bytes", I32, "bytes", "payload of R"),
        _c("resent_late", BOOL, "", "R is no retransmission as seen: the first copy was lost before the capture point"),
        # a closed window of the other side (0, or less than one MSS and this is a full segment)
        _c(
            "after_closed_window",
            BOOL,
            "",
            "the first new data of its side since the receiver opened a window that was closed for at least 20 ms (likewise)",
        ),
        _n("closed_frame", I64, "", "the receiver's packet that closed the window"),
        _n("closed_time", I64, "ns", "its time"),
        _n("closed_window", I64, "bytes", "the window that it announced"),
        _c("window_probes", I32, "", "probes of this side while the window was closed"),
        _n("window_probe_frame", I64, "", "the first of them"),
        _n("window_probe_time", I64, "ns", "its time"),
        _n("opened_frame", I64, "", "the receiver's packet that opened the window"),
        _n("opened_time", I64, "ns", "its time"),
        # a run of small segments of its side, each within 20 ms of the one before, with no payload of the other in between
        _c("small_run", I32, "", "how many segments the run has up to this one; 0 where it continues none"),
        _c("small_run_bytes", I64, "bytes", "their payload"),
        _n("small_run_frame", I64, "", "the first of them"),
        _n("small_run_time", I64, "ns", "its time"),
        # what it carries
        _c(
            "event_stream",
            BOOL,
            "",
            "carries body of a message that is meant to arrive piece by piece: endless, or application/x-ndjson without a length",
        ),
        _c("http", BOOL, "", "the connection has spoken HTTP so far"),
        _n("message", I64, "", "the message its first new byte belongs to; none when it came out of order or belongs to none"),
        _n("exchange", I32, "", "index of that message's exchange in its connection; none while its head is not whole"),
        _c("in_body", BOOL, "", "its new data holds bytes behind the head of its message"),
        _c("ends_head", BOOL, "", "its last byte is the last byte of a message head"),
        _c("ends_message", BOOL, "", "its last byte is the last byte of a message"),
        _n("data_before_message", I64, "", "message of the last byte of D"),
        _c("data_before_ends_head", BOOL, "", "D ended exactly at the end of a head"),
        _c("data_before_ends_message", BOOL, "", "D ended exactly at the end of a message"),
        _c(
            "owes",
            BOOL,
            "",
            "before this packet its side had more to say: an unfinished message, or an unanswered request",
        ),
    ),
    subject="segments",
    at_packet=True,
    exchange_by_time=True,
)

HEARD = frozenset(
    {
        *("role", "endpoint", "mss", "full", "small", "small_start", "data_before_full", "data_before_small", "event_stream"),
        *("http", "message", "exchange", "in_body", "ends_head", "ends_message", "owes"),
        *("data_before_message", "data_before_ends_head", "data_before_ends_message"),
    }
)
"""Columns of `segments` and `pieces` that need to know what was said; all others TCP tells alone."""

_WHERE = (
    _c("connection", I64, "", "connection id, equal to tcp.stream"),
    _c("direction", I8, "", "direction of its sender: 0 = the side that sent the connection's first packet"),
)
_ROLE = _n("role", I8, "", "role of its sender: 0 client, 1 server; none while only ports and order indicate it")
_EXCHANGE = _n("exchange", I32, "", "index of the exchange in its connection; none while the head of its message is incomplete")
_PACKET = (_c("frame", I64, "", "number of the packet"), _c("time", I64, "ns", "its time"))
_LENGTH = _c("length", I32, "bytes", "its payload on the wire")
_HTTP = _c("http", BOOL, "", "the connection has carried HTTP so far")
_HANDSHAKE = _c("handshake", BOOL, "", "SYN and SYN-ACK of the connection were captured before it")
_MSS = _c("mss", I32, "bytes", "effective MSS of its direction before it")
_NAGLE = _c("nagle_disabled", BOOL, "", "earlier packets prove that its sender does not use Nagle's algorithm")
_RTT_OWN = _n("rtt_own", I64, "ns", "round trip from the capture point to its sender, as known before it")
_RTT_PEER = _n("rtt_peer", I64, "ns", "round trip from the capture point to its receiver, as known before it")
_OPENS_GAP = _c("opens_gap", BOOL, "", "it begins above the highest byte seen: bytes before it were not captured yet")

RELEASES = Table(
    "releases",
    "a segment with new data that may have waited, for the ACK of the data before it or for a timer of its own TCP (S), or an "
    "ACK that shows that it was a timer. D is the data segment that its sender sent before it, K the pure ACK of D",
    (
        *_WHERE,
        _ROLE,
        _c("endpoint", I64, "", "hash of the server's address and port, the same on all its connections"),
        _HTTP,
        _EXCHANGE,
        _n("message", I64, "", "the message that its first new byte belongs to; none if it is out of order or belongs to none"),
        _HANDSHAKE,
        _MSS,
        _c("mss_announced", BOOL, "", "its sender's SYN carried the MSS option, or was not captured"),
        _c("first_frame", I64, "", "the first packet of the connection: since then round trips were measured"),
        _NAGLE,
        _n("previous_data_frame", I64, "", "D"),
        _n("previous_data_time", I64, "ns", "its time"),
        _n("previous_data_length", I32, "bytes", "its payload"),
        _c("previous_data_full", BOOL, "", "D was a full segment"),
        _c("previous_data_small", BOOL, "", "D was a small segment"),
        _n("previous_data_room", I64, "bytes", "room that D left in the receiver's window; none while no window is known"),
        _c("previous_data_ends_head", BOOL, "", "D ended exactly at the end of a head"),
        _c("previous_data_ends_message", BOOL, "", "D ended exactly at the end of a message"),
        _n("previous_ack_frame", I64, "", "K; none if D was not acknowledged before this packet"),
        _n("previous_ack_time", I64, "ns", "its time"),
        _n("previous_ack_delay", I64, "ns", "time from D to K, less the round trip to the sender of K"),
        _n("previous_ack_bytes", I64, "bytes", "what K newly acknowledged: all that was in flight"),
        _n("previous_ack_interval", I64, "ns", "time between the pure ACK before K and K; none for the first"),
        *_PACKET,
        _LENGTH,
        _c("unread", BOOL, "", "the snap length cut what would say which message it belongs to, and where that ends"),
        _c("small_start", BOOL, "", "it is a small segment, or an offload super-segment that begins with one"),
        _c("full", BOOL, "", "payload of at least the MSS"),
        _c("ends_message", BOOL, "", "its last byte is the last byte of a message"),
        _RTT_OWN,
        _RTT_PEER,
        _c("event_stream", BOOL, "", "it belongs to an event stream"),
        _c("nagle_seen", BOOL, "", "prompt ACKs released earlier small segments of its sender, which so uses Nagle's algorithm"),
        _c(
            "probe_frame",
            I64,
            "",
            "the peer's S, sent by a timer, that this packet newly acknowledges, together with the peer's D; 0 if there is none",
        ),
        _c(
            "sort",
            TEXT,
            "",
            "waited (S came next after K, and K was delayed), prompt (S came next after K, K came at once, and S shows how late "
            "such a segment is by itself), probe (there is no K: a timer may have sent S), answers_probe (only probe_frame "
            "matters), corked (S is the small end of a message and left long after K: a timer may have sent it)",
        ),
        _c(
            "final_frame",
            I64,
            "",
            "the packet with which it was known that the program of S does not write on a clock of its own; S itself if D is a "
            "head or a full segment",
        ),
        _c("pace_seen", BOOL, "", "no packets are missing, before final_frame or at it, that may show such a clock"),
    ),
    subject="segments",
    at_packet=True,
    exchange_by_time=True,
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
            "before it, its sender had to send the rest of a message, or a response; also true for payload that is not HTTP",
        ),
        _c("dsack", BOOL, "", "it reports a duplicate by SACK"),
        _c("new_bytes", I32, "bytes", "its payload that was not seen before"),
        _c("acked_unseen", I64, "bytes", "bytes of the peer that it newly acknowledges and that were not captured"),
        _HANDSHAKE,
        _OPENS_GAP,
        _RTT_OWN,
        _RTT_PEER,
        _n("stall_frame", I64, "", "the last progress before R; of data that a closed window refused, its first copy with room"),
        _n("stall_time", I64, "ns", "its time"),
        _c("stall_duplicate_acks", I32, "", "duplicate ACKs before R since an ACK last advanced (doubled ones once)"),
        _c("retransmission_count", I32, "", "retransmissions of the missing segment since then, R included"),
        _n("first_retransmission_frame", I64, "", "the first of them"),
        _n("first_retransmission_time", I64, "ns", "its time"),
        _n("retransmitted_frame", I64, "", "R"),
        _n("retransmitted_time", I64, "ns", "its time"),
        _c("retransmitted_bytes", I32, "bytes", "its payload"),
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
            "by its timestamps it answers the first copy, not a retransmission: the first copy was late, not lost (RFC 3522)",
        ),
    ),
    subject="segments",
    at_packet=True,
    exchange_by_time=True,
)

CLOSURES = Table(
    "closures",
    "the first segment with new data after its receiver's window was closed: it was 0, or less than one MSS and this segment is "
    "full",
    (
        *_WHERE,
        _EXCHANGE,
        *_PACKET,
        _c("offset", I64, "bytes", "stream offset of its first payload byte"),
        _LENGTH,
        _HANDSHAKE,
        _HTTP,
        _c(
            "previous_data_ends_message",
            BOOL,
            "",
            "the data segment of its sender before it ended exactly at the end of a message",
        ),
        _c("previous_data_last_in_flight", BOOL, "", "that segment ended at the highest byte that its sender had sent"),
        _c("peer_data_since", BOOL, "", "the receiver sent payload after that segment"),
        _OPENS_GAP,
        _c("fills_gap", BOOL, "", "it brings first copies from below the highest byte seen"),
        _RTT_OWN,
        _n("closed_frame", I64, "", "the receiver's packet that closed the window"),
        _n("closed_time", I64, "ns", "its time"),
        _n("closed_window", I64, "bytes", "the window that it announced"),
        _c("window_probes", I32, "", "probes of the sender while the window was closed"),
        _n("window_probe_frame", I64, "", "the first of them"),
        _n("window_probe_time", I64, "ns", "its time"),
        _n("opened_frame", I64, "", "the receiver's packet that opened the window"),
        _n("opened_time", I64, "ns", "its time"),
    ),
    subject="segments",
    at_packet=True,
    exchange_by_time=True,
)

WINDOW_STALLS = Table(
    "window_stalls",
    "times in which a window held its sender up longer than it was closed, because the sender's timer decided when it went on, "
    "or nothing did: one, or several in a row. Written when the sender goes on without such a time, when the message ends, or "
    "when the connection or the capture ends",
    (
        *_WHERE,
        _c("frame", I64, "", "the packet that shows that they are over; the last one of the connection if nothing does"),
        _HTTP,
        _HANDSHAKE,
        _c(
            "sort",
            TEXT,
            "",
            "refused (the receiver threw data away and announced a window of 0, until what was sent again was acknowledged), "
            "timer (the window had no room for a full segment, until the sender's timer sent what fitted), never_opened (the "
            "window was 0 when the connection or the capture ended)",
        ),
        _c("count", I32, "", "how many times"),
        _c("waited", I64, "ns", "their sum"),
        _c("closed", I64, "ns", "what of it the window was 0"),
        _c("start_frame", I64, "", "the receiver's packet with which the first of them begins"),
        _c("start_time", I64, "ns", "its time"),
        _c("window", I64, "bytes", "the largest window in that time: 0, or less than one MSS"),
        _c("window_probes", I32, "", "never_opened: probes of the sender while the window was closed"),
        _n("window_probe_frame", I64, "", "the first of them"),
        _n("window_probe_time", I64, "ns", "its time"),
        _c("copies", I32, "", "segments that were sent again while the window was closed"),
        _n("copy_frame", I64, "", "the first of them, in the first of these times"),
        _n("copy_time", I64, "ns", "its time"),
        _n("opened_frame", I64, "", "the packet that opened the window in the first of these times"),
        _n("opened_time", I64, "ns", "its time"),
        _n(
            "sent_frame",
            I64,
            "",
            "the segment that was sent again with room in the first of them, or that its sender's timer sent",
        ),
        _n("sent_time", I64, "ns", "its time"),
        _c("sent_bytes", I32, "bytes", "timer: its payload"),
        _c("end_frame", I64, "", "the end of the last of them: an ACK, or a segment of the sender"),
        _c("end_time", I64, "ns", "its time"),
        _c("message_complete", BOOL, "", "the newest data of the sender ended exactly at the end of a message"),
        _n("sender_close_frame", I64, "", "the first FIN or RST of the sender since then"),
        _n("sender_close_time", I64, "ns", "its time"),
        _c("sender_close_rst", BOOL, "", "that is an RST"),
    ),
    subject="segments",
    at_packet=True,
    exchange_by_time=True,
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
        _c("message", I64, "", "the message that its first new byte belongs to"),
        _n("previous_data_message", I64, "", "the message that the segment before it in the run ended in"),
        _c(
            "event_stream",
            BOOL,
            "",
            "it carries body of a message that is meant to arrive piece by piece, such as text/event-stream",
        ),
        _NAGLE,
        _c("in_flight_before", I64, "bytes", "sent by its side and not yet acknowledged, before it"),
        _RTT_OWN,
        _RTT_PEER,
        _c("small_run", I32, "", "segments of the run up to this one"),
        _c("small_run_bytes", I64, "bytes", "their payload"),
        _c("small_run_frame", I64, "", "the first of them"),
        _c("small_run_time", I64, "ns", "its time"),
        _c("small_run_flushes", I32, "", "of its segments, those that came 5 ms or more after the one before"),
    ),
    subject="segments",
    at_packet=True,
    exchange_by_time=True,
)

ICMP_ERRORS = Table(
    "icmp_errors",
    "an ICMP or ICMPv6 error that quotes a TCP segment: destination unreachable, packet too big, time exceeded, parameter "
    "problem (or source quench, which is no error: RFC 6633). It is written when its connection is over, with that row",
    (
        _c("frame", I64, "", "number of the packet"),
        _c("time", I64, "ns", "its time"),
        _c("router", TEXT, "", "address of its sender: a router, or the host that the segment was for"),
        _c("ip_version", I8, "", "4 of ICMP, 6 of ICMPv6"),
        _c("type", I32, "", "its type (RFC 792, RFC 4443)"),
        _c("code", I32, "", "its code (RFC 792, RFC 1812, RFC 4443)"),
        _n("mtu", I64, "bytes", "MTU that it names, if the segment was too large (type 3 code 4 of ICMP, type 2 of ICMPv6)"),
        _n("connection", I64, "", "connection id, equal to tcp.stream; none where it quotes too little of an unknown connection"),
        _n(
            "direction",
            I8,
            "",
            "direction of the sender of the segment; none where no packet of the connection was captured before",
        ),
        _n("offset", I64, "bytes", "stream offset of the segment (of a SYN: 0); none where it is unknown"),
        _c("syn", BOOL, "", "the segment is the SYN of its sender: by its sequence number, and by its flags if they are quoted"),
    ),
    subject="connections",
)

UNACKNOWLEDGED = Table(
    "unacknowledged",
    "data, or a FIN, that its sender sent three times or more: the lowest that was not acknowledged, or data that was "
    "acknowledged and came again all the same. Written once it is acknowledged after all, or when the connection or the "
    "capture ends",
    (
        *_WHERE,
        _ROLE,
        _n("exchange", I32, "", "index of the exchange that the data belongs to; of a FIN, of the one that was not over"),
        _HTTP,
        _HANDSHAKE,
        _n("rtt_own", I64, "ns", "round trip from the capture point to the sender"),
        _n("rtt_peer", I64, "ns", "round trip from the capture point to the receiver"),
        _c("length", I32, "bytes", "payload of the segment that brought it first; 0 for a FIN"),
        _c("fin", BOOL, "", "it is a FIN without data"),
        _c("acknowledged_before", BOOL, "", "an ACK that covers it had passed before it came again"),
        _c("copies", I32, "", "how often it was sent, the first time included"),
        _c("first_frame", I64, "", "the first copy"),
        _c("first_time", I64, "ns", "its time"),
        _c("second_frame", I64, "", "the second copy"),
        _c("second_time", I64, "ns", "its time"),
        _c("last_frame", I64, "", "the last copy"),
        _c("last_time", I64, "ns", "its time"),
        _n("acknowledged_frame", I64, "", "the ACK that covers it after all; none without, and if one had passed before"),
        _c("smallest_unacknowledged", I32, "bytes", "shortest segment of its direction that no ACK or SACK covers"),
        _c("largest_acknowledged", I32, "bytes", "longest segment of its direction that was acknowledged before; 0 without any"),
        _n("sack_frame", I64, "", "a packet of the receiver since the first copy that reports later data by SACK"),
        _n("sack_time", I64, "ns", "its time"),
        _n("heard_frame", I64, "", "the newest packet of the receiver before the second copy that is known"),
        _n("heard_time", I64, "ns", "its time"),
        _n("peer_frame", I64, "", "the newest packet of the receiver since the first copy; none without any"),
        _n("peer_time", I64, "ns", "its time"),
        _c("peer_unseen", BOOL, "", "since then the sender acknowledged bytes of the receiver that were not captured"),
        _c("peer_repeats", BOOL, "", "the receiver repeats data, too, that the sender has acknowledged"),
        _c("window_closed", BOOL, "", "the last window that the receiver announced is 0"),
        _c("rest", I64, "ns", "time without payload before the first copy, or before the message that the data answers"),
        _c(
            "message_continued",
            BOOL,
            "",
            "an earlier part of its message was acknowledged, or the receiver was sending one; also true for a FIN whose sender "
            "still had to receive the rest of a message",
        ),
        _c("message_owed", BOOL, "", "it is a FIN whose sender still had to receive the rest of a message"),
        _n("own_close_frame", I64, "", "first FIN of the sender (its first RST if it sent no FIN)"),
        _n("own_close_time", I64, "ns", "its time"),
        _c("own_close_rst", BOOL, "", "that is an RST"),
        _n("peer_close_frame", I64, "", "first FIN of the receiver (its first RST if it sent no FIN)"),
        _n("peer_close_time", I64, "ns", "its time"),
        _c("peer_close_rst", BOOL, "", "that is an RST"),
        _c(
            "peer_rst_unknown",
            BOOL,
            "",
            "the receiver answered with an RST that belongs to no connection: without ACK flag, with the sequence number that "
            "the copies acknowledge",
        ),
        _n("icmp_frame", I64, "", "an ICMP or ICMPv6 error that quotes it, or later data of its sender"),
        _n("icmp_time", I64, "ns", "its time"),
        _c("icmp_router", TEXT, "", "address of its sender"),
        _c("icmp_type", I32, "", "type of the error"),
        _c("icmp_code", I32, "", "its code"),
        _n("icmp_mtu", I64, "bytes", "MTU that it names"),
        _c("frame", I64, "", "the packet that ends it: the ACK, else the last copy"),
        _c("time", I64, "ns", "capture time as of which the row holds"),
    ),
    subject="segments",
    at_packet=True,
    exchange_by_time=True,
)

_LIMITED = (
    _n("receive_window", I64, "ns", "of its time, what the receiver's window took: it was full"),
    _n("send_buffer", I64, "ns", "what the sender's buffer took: what was in flight kept to a ceiling below the window"),
    _n("loss", I64, "ns", "what losses took, until they were repaired"),
    _n("application", I64, "ns", "what the applications took: the sender had nothing to send, or the receiver did not read"),
    _n("not_read", I64, "ns", "of that, what the receiver's took: its window was full, and smaller than before"),
    _n("path", I64, "ns", "the rest: slow start, congestion control, bandwidth"),
)

TRANSFERS = Table(
    "transfers",
    "the last packet of a message body of at least 1 s (or less, where a rule is configured so) and 40 segments, with what "
    "limited it. Its time is divided by round trips, each of which counts as a whole; the parts add up to the time from its "
    "first to its last packet. Everything is as its sender saw it",
    (
        *_WHERE,
        _ROLE,
        _EXCHANGE,
        *_PACKET,
        _c("length", I64, "bytes", "its body, chunk framing not counted"),
        _c("first_frame", I64, "", "first packet with body bytes"),
        _c("start", I64, "ns", "its time"),
        _HANDSHAKE,
        _c("has_gap", BOOL, "", "bytes of it are missing in the capture"),
        *(c for c in _LIMITED if c.name != "not_read"),
        _c("rtt", I64, "ns", "round trip from one end of the connection to the other"),
        _n("ceiling", I64, "bytes", "what was in flight in most round trips, where the send buffer took any time"),
        _c("in_flight", I64, "bytes", "the most that was in flight"),
        _c("in_flight_frame", I64, "", "the segment that made it so"),
        _c("in_flight_time", I64, "ns", "its time"),
        _n("largest_window", I64, "bytes", "the largest window that the receiver announced; none while the scale is unknown"),
        _n("window", I64, "bytes", "the largest window that was filled; none if none was"),
        _n("window_frame", I64, "", "the ACK that announced it; none if that came before the body was watched"),
        _n("window_time", I64, "ns", "its time"),
        _n("filled_frame", I64, "", "the segment that filled it"),
        _n("filled_time", I64, "ns", "its time"),
        _n("scaling_own", I8, "", "1 if the SYN of the sender offers window scaling (RFC 7323), 0 if not; none if it is unknown"),
        _n("scaling_peer", I8, "", "the same of the receiver"),
        _n("syn_own_frame", I64, "", "the SYN of the sender"),
        _n("syn_own_time", I64, "ns", "its time"),
        _n("syn_peer_frame", I64, "", "the SYN of the receiver"),
        _n("syn_peer_time", I64, "ns", "its time"),
    ),
    at_packet=True,
)

BURSTS = Table(
    "bursts",
    "a run of data segments of one message with gaps below max(10 ms, 2 x rtt); only body bytes count",
    (
        _c("connection", I64, "", "connection id"),
        _c("direction", I8, "", "direction of the message"),
        _c("message", I64, "", "message id"),
        _c("exchange", I32, "", "index of the exchange in its connection"),
        _c("index", I32, "", "0-based number of the burst in its body"),
        _c("first_frame", I64, "", "first packet of the burst"),
        _c("last_frame", I64, "", "last packet so far"),
        _c("start", I64, "ns", "time of its first packet"),
        _c("end", I64, "ns", "time of its last packet so far"),
        _c("bytes", I64, "bytes", "body bytes, chunk framing included"),
        _c("segments", I32, "", "packets with new data"),
        _c("largest_segment", I32, "bytes", "its largest payload"),
        _n("pause", I64, "ns", "time since the burst before it in the same body; none for the first"),
        _n("pause_frame", I64, "", "last packet before the pause"),
        _c(
            "pause_acknowledged",
            BOOL,
            "",
            "all sent before was acknowledged before the burst left (or < 2 full segments in flight, pause < 510 ms)",
        ),
        _c("pause_window_open", BOOL, "", "the receiver's window had room for a full segment throughout the pause"),
        _c("pause_clean", BOOL, "", "nothing was retransmitted in the pause"),
        _c("pause_emptied", BOOL, "", "the segment before it was small or carried PSH: there was no more to send"),
        _c(
            "pause_waited",
            BOOL,
            "",
            "by its time stamp (RFC 7323) the segment after it left its sender after half of the pause, less a round trip, or "
            "later; or no such clock is known",
        ),
        _c("pause_application", BOOL, "", "the pause is the application's: the five above"),
        _n("pause_late", I64, "ns", "how much longer the segment after it was on its way than the one before it, likewise"),
        _n("span", I64, "ns", "how far its sender's clock advanced from its first to its last packet, likewise"),
    ),
)

FRAMINGS = ("none", "content-length", "chunked", "close-delimited", "tunnel")
"""How a message's end is found, RFC 9112 section 6.3."""

END_REASONS = ("complete", "fin", "rst", "error", "hole", "capture-end")
"""Why a message ended, or why its end is not known."""

PROTOCOLS = ("none", "http", "tls", "http2", "unknown")
"""What a connection carried; none: no payload was seen."""

_MESSAGE = (
    _n("frame", I64, "", "packet with its first byte"),
    _n("last_frame", I64, "", "packet in which its last missing byte was seen"),
    _n("start", I64, "ns", "when its first byte was seen"),
    _n("end", I64, "ns", "when its last missing byte was seen"),
    _n("head_bytes", I64, "bytes", "start line and header section with the empty line"),
    _n("body_bytes", I64, "bytes", "content seen, without chunk framing"),
    _n("body_due", I64, "bytes", "Content-Length as announced, where it frames the body"),
    _c("framing", TEXT, "", "none, content-length, chunked, close-delimited or tunnel"),
    _c("end_reason", TEXT, "", "complete, fin, rst, error, hole or capture-end"),
    _c("version", TEXT, "", "HTTP version, as in the start line"),
    _n("last_body_time", I64, "ns", "when its last body byte was seen; none without a body"),
    _c("has_hole", BOOL, "", "bytes of it are not in the capture"),
    _c("connection_close", BOOL, "", "says Connection: close"),
    _c("connection_keep_alive", BOOL, "", "says Connection: keep-alive"),
    _c("has_content_length", BOOL, "", "has a Content-Length field"),
    _c("has_transfer_encoding", BOOL, "", "has a Transfer-Encoding field (identity does not count)"),
    _c("content_type", TEXT, "", "media type in lower case without parameters"),
    _c("content_encoding", TEXT, "", "Content-Encoding in lower case; unknown words masked, as in the target"),
    _c(
        "endless",
        BOOL,
        "",
        "its body has no end of its own: text/event-stream, multipart/x-mixed-replace, application/x-rtsp-tunnelled, "
        "application/vnd.amazon.eventstream, gnss/data, audio or video without Content-Length, or an icy-* field",
    ),
    _c("upgrade", TEXT, "", "Upgrade, masked likewise"),
    _c("via", TEXT, "", "Via"),
    _n("websocket_version", I32, "", "Sec-WebSocket-Version, the first of several"),
    _n("chunks", I32, "", "data chunks seen, where chunked"),
    _n("offset", I64, "bytes", "stream offset of its first byte"),
    _n("end_offset", I64, "bytes", "stream offset behind its last byte seen; none while it is not over"),
    _n("ack", I64, "bytes", "offset of the other side's stream that the packet acknowledges in which its head was seen"),
)

_REQUEST_ONLY = (
    _c("method", TEXT, "", "method, masked as the target is"),
    _c("target", TEXT, "", "request target; without its secrets but to the rules of wiredoctor itself (docs/pages/secrets.md)"),
    _c("host", TEXT, "", "Host, masked as the target is"),
    _c("user_agent", TEXT, "", "User-Agent"),
    _c("referer", TEXT, "", "Referer, masked as the target is"),
    _c("expect_continue", BOOL, "", "says Expect: 100-continue"),
    _c("has_credentials", BOOL, "", "has Authorization or Proxy-Authorization"),
    _c("credentials_scheme", TEXT, "", "scheme of that, in lower case; empty where it is no known one"),
    _n("credentials_user", I64, "", "checksum of the user's name in it; none but in Basic and Digest"),
    _c("forwarded", BOOL, "", "has X-Forwarded-For, X-Forwarded-Host, X-Forwarded-Server, X-Real-IP, Forwarded or Via"),
    _c("forwarded_for", TEXT, "", 'addresses in X-Forwarded-For, else in Forwarded; "unknown" for other values'),
    _c("forwarded_server", BOOL, "", "has X-Forwarded-Server"),
    _c("has_websocket_key", BOOL, "", "has Sec-WebSocket-Key"),
    _c("navigation", BOOL, "", "asks for a page: Accept begins with text/html, or Sec-Fetch-Mode is navigate"),
    _n("range_start", I64, "bytes", "first byte that Range: bytes=N- asks for; none without a range"),
)

_RESPONSE_ONLY = (
    _n("status", I32, "", "status code"),
    _c("reason", TEXT, "", "reason phrase, masked as the target is"),
    _c("server", TEXT, "", "Server"),
    _n("keep_alive_timeout", I32, "s", "timeout parameter of Keep-Alive"),
    _n("keep_alive_max", I32, "", "max parameter of Keep-Alive"),
    _c("auth_scheme", TEXT, "", "scheme of WWW-Authenticate or Proxy-Authenticate, likewise"),
    _c("auth_token", BOOL, "", "that challenge carries a token"),
    _c("auth_stale", BOOL, "", "a challenge says stale=true: Digest wants a new nonce, not new credentials"),
    _c("accel_buffering", TEXT, "", "X-Accel-Buffering, masked as Content-Encoding is"),
)

_RESPONSE_BURSTS = (
    _c("bursts", I32, "", "bursts of body (0 without a body); see the table bursts"),
    _c(
        "application_pauses",
        I32,
        "",
        "pauses of at least 50 ms between bursts that are the application's (or shorter, where a rule is configured so)",
    ),
    _c("paused", I64, "ns", "these pauses in all"),
    _c("pause_frames", LIST64, "", "of the first three of them: last packet before, first packet after (6 frames at most)"),
    _c("pause_times", LIST64, "ns", "times of `pause_frames`"),
)

_RESPONSE_PIECES = (
    _n("body_frame", I64, "", "first packet with body bytes of a chunked response or an event stream; none for others"),
    _n("body_time", I64, "ns", "its time"),
    _n("median_chunk", I32, "bytes", "size of the data chunk in the middle, where chunked; chunks above 1,024 count as 1,024"),
    _c("chunk_lines_alone", I32, "", "lines before data chunks that came in a packet without content"),
    _c("chunks_apart", I32, "", "data chunks that began 5 ms or more after the one before"),
    _c("chunks_end_lines", BOOL, "", "chunked, and every data chunk ended with a newline"),
    _c("early_chunks", I32, "", "data chunks that began before the first gap of 10 ms in the body, at most 2"),
    _n(
        "events",
        I64,
        "",
        "events of text/event-stream, multipart/x-mixed-replace, or application/x-ndjson without a length; none for others, "
        "behind a hole, out of order, or where the coding cannot be decoded",
    ),
    _c(
        "first_events",
        I32,
        "",
        "of these, those in its first lump: before the first gap of 5 ms (without waits for ACKs or for room), within 20 ms; 0 "
        "if they came more slowly",
    ),
    _n(
        "first_late",
        I64,
        "ns",
        "how much longer the first packet of the body of an event stream was on its way than the packet before it, by the "
        "sender's time stamps; none where these say nothing",
    ),
    _c("held_bursts", I32, "", "lumps of three events or more after a pause of the application of at least 500 ms"),
    _c("held_events", I64, "", "events in these"),
    _c("large_lumps", I32, "", "of these lumps, those of ten events or more"),
    _c("large_events", I64, "", "events in those"),
    _c("cut_lumps", I32, "", "of these lumps, those that end inside an event and are followed by another lump"),
    _c("first_cut", BOOL, "", "the first lump ends inside an event, and such a lump follows"),
    _c("one_flight", BOOL, "", "event streams: the complete body came in one lump, whatever it contains"),
    _c("flights", I32, "", "times that something of it came, 5 ms or more (without such waits) after what was before, likewise"),
    _c("held_frames", LIST64, "", "of the first three of them: last packet before, first packet (6 frames at most)"),
    _c("held_times", LIST64, "ns", "times of `held_frames`"),
)

PIECES = Table(
    "pieces",
    "bytes of a stream when they were first captured: who puts them in order of their offsets has what a side sent",
    (
        _c("connection", I64, "", "connection id"),
        _c("direction", I8, "", "direction in which they were sent"),
        _n("role", I8, "", "role of the sender: 0 client, 1 server; none while only ports and order speak for it"),
        _c("frame", I64, "", "number of the packet"),
        _c("time", I64, "ns", "time stamp"),
        _c("offset", I64, "bytes", "stream offset of the first of them"),
        _c("length", I32, "bytes", "how many they are"),
        _c("captured", I32, "bytes", "how many of these are in the capture"),
        _c("payload", I64, "bytes", "where they begin, a place as in packets.payload"),
    ),
    subject="segments",
)

MESSAGES = Table(
    "messages",
    "a request, a response or an interim response, with what there is of it",
    (
        _c("connection", I64, "", "connection id"),
        _c("direction", I8, "", "direction it travelled in"),
        _c("role", I8, "", "role of its sender: 0 client (a request), 1 server (a response)"),
        _c("message", I64, "", "message id: unique in the capture, ascending in a direction"),
        _c("exchange", I32, "", "index of its exchange in its connection"),
        *_MESSAGE,
        *_REQUEST_ONLY,
        *_RESPONSE_ONLY,
    ),
)


FOREIGN_CLOSES = Table(
    "foreign_closes",
    "a FIN or an RST that was not sent by the host whose address it carries (two signs or more), once it is known what it ended. "
    "Only the first RST of a side counts, with those within 20 ms that have its time to live",
    (
        _c("connection", I64, "", "connection id"),
        _n("exchange", I32, "", "the exchange that it ended or followed; none on a connection without HTTP"),
        _c("sender", TEXT, "", "client or server: whose address it carries"),
        _c("rst", BOOL, "", "it is an RST, and not a FIN"),
        _c("ack_flag", BOOL, "", "it has the ACK flag"),
        _c("frame", I64, "", "the packet"),
        _c("time", I64, "ns", "its time"),
        _n("reached", I64, "bytes", "offset of its side's stream up to which packets had been sent before an RST"),
        _n("ttl", I32, "", "its time to live, if it differs by more than 2 from that of all other packets of its side"),
        _n("lowest_ttl", I32, "", "the smallest one of these, then"),
        _n("highest_ttl", I32, "", "the largest one of these, then"),
        _n("ip_id", I32, "", "its IP identification, if that is no successor of those of its side: 0, or copied from the peer"),
        _n("last_ip_id", I32, "", "the one before it of its side, then"),
        _n("peer_ip_id", I32, "", "that of the peer's last packet before it, then"),
        _c("goes_on", BOOL, "", "its side goes on: with data at or above its sequence number, or with a SYN-ACK"),
        _n("later_frame", I64, "", "the first packet after an RST with which it does"),
        _n("later_time", I64, "ns", "its time"),
        _n("trigger_time", I64, "ns", "when the packet that it answers passed, less than half of `rtt` before it"),
        _n("rtt", I64, "ns", "round trip from the capture point to the host whose address it carries, then"),
        _c("no_timestamps", BOOL, "", "a FIN without the time-stamp option that both SYNs agreed on"),
        _n("ahead", I64, "bytes", "its sequence number is so far above the next byte expected, and inside the window"),
        _c("client_bytes", I64, "bytes", "payload of the client so far"),
        _c("server_bytes", I64, "bytes", "payload of the server so far"),
    ),
    subject="connections",
)

_RESPONSE_LIMITED = tuple(
    Column(
        f"{c.name}_time",
        c.dtype,
        c.unit,
        f"of a long body, the time that limited it: as {c.name} of transfers; none for others",
        True,
    )
    for c in _LIMITED
)


def _side(prefix: str, columns: tuple[Column, ...]) -> tuple[Column, ...]:
    return tuple(Column(f"{prefix}_{c.name}", c.dtype, c.unit, c.meaning, c.nullable) for c in columns)


_ORIGINS = "endpoint (the host in its source address), between (a device on the path), or empty (unknown)"

EXCHANGES = Table(
    "exchanges",
    "a request and its final response, said once nothing more can change it: at the next request, at a close, or at the end",
    (
        _c("connection", I64, "", "connection id"),
        _c("exchange", I32, "", "0-based index in its connection"),
        _c("has_request", BOOL, "", "the request was captured; else its columns are null or empty"),
        _c("has_response", BOOL, "", "a final response was captured (or the interim one that came alone)"),
        *_side("request", (_n("message", I64, "", "message id"), *_MESSAGE, *_REQUEST_ONLY)),
        *_side(
            "response", (_n("message", I64, "", "message id"), *_MESSAGE, *_RESPONSE_ONLY, *_RESPONSE_BURSTS, *_RESPONSE_PIECES)
        ),
        *_side("response", _RESPONSE_LIMITED),
        _n("request_head_last_frame", I64, "", "packet that completed the head of a request with a body; none without a body"),
        _n("request_head_time", I64, "ns", "its time"),
        _n("request_body_frame", I64, "", "first packet with body bytes of the request"),
        _n("request_body_time", I64, "ns", "its time"),
        _n(
            "request_body_pause",
            I64,
            "ns",
            "the longest of the first three pauses (10 ms and more) between segments of the request's body; 0 if it has none",
        ),
        _c("interim", STATUSES, "", "status codes of the 1xx responses before the final one"),
        _c("interim_times", LIST64, "ns", "when each of them began"),
        _c("persistent", BOOL, "", "both messages leave the connection open, RFC 9112 section 9.3"),
        _c(
            "upgraded",
            BOOL,
            "",
            "101, 2xx to CONNECT, or a raw stream of Docker: later bytes are not HTTP; or later bytes were not read, because "
            "too many requests waited",
        ),
        _n("request_time", I64, "ns", "request end - request start"),
        _n("server_time", I64, "ns", "response start - request end, at least 0"),
        _n("response_time", I64, "ns", "response end - response start"),
        _n("previous_end", I64, "ns", "when the exchange before it on the connection was over; none for the first"),
        _n("previous_end_offset", I64, "bytes", "offset of the server's stream behind the last response before it; none without"),
        _c(
            "previous_close",
            BOOL,
            "",
            "the last response before it on the connection announced the close: Connection: close, HTTP/1.0 without keep-alive, "
            "or a body that runs to the close",
        ),
        _c("endpoint", I64, "", "hash of the server's address and port, the same on all its connections"),
        # the connection, as of when the row was said
        _c("last", BOOL, "", "no further request was seen on the connection"),
        _c("handshake", BOOL, "", "SYN and SYN-ACK were seen"),
        _c("both_directions", BOOL, "", "packets of both directions were seen"),
        _c(
            "hole_before",
            BOOL,
            "",
            "bytes are missing somewhere on the connection so far (or a head, or chunk framing, is cut short)",
        ),
        _n("rtt_client", I64, "ns", "round trip from the capture point to the client"),
        _n("rtt_server", I64, "ns", "round trip from the capture point to the server"),
        _n("client_close_frame", I64, "", "first FIN of the client (its first RST where it sent no FIN)"),
        _n("client_close_time", I64, "ns", "its time"),
        _n("client_close_ack", I64, "bytes", "offset of the server's stream that it acknowledges"),
        _n("client_close_rst", I8, "", "1 when it is an RST, 0 when it is a FIN"),
        _n("server_close_frame", I64, "", "first FIN of the server (its first RST where it sent no FIN)"),
        _n("server_close_time", I64, "ns", "its time"),
        _n("server_close_ack", I64, "bytes", "offset of the client's stream that it acknowledges"),
        _n("server_close_offset", I64, "bytes", "its own offset in the server's stream"),
        _n("server_close_rst", I8, "", "1 when it is an RST, 0 when it is a FIN"),
        _c(
            "server_close_contradicted",
            BOOL,
            "",
            "the server's stream goes on behind that FIN: it was forged, or is another connection's",
        ),
        _n("server_rst_frame", I64, "", "first RST of the server, where it closed"),
        _n("server_rst_time", I64, "ns", "its time"),
        _n("client_rst_frame", I64, "", "first RST of the client, with or without a FIN before it"),
        _n("client_rst_time", I64, "ns", "its time"),
        _n("client_rst_ack", I64, "bytes", "offset of the server's stream that it acknowledges"),
        _c("client_close_origin", TEXT, "", f"who sent the FIN or RST in client_close_frame: {_ORIGINS}"),
        _c("server_close_origin", TEXT, "", f"who sent the FIN or RST in server_close_frame: {_ORIGINS}"),
        _n("accepted_frame", I64, "", "the server's SYN-ACK; none if it was repeated, or if nobody closed"),
        _n("accepted_time", I64, "ns", "when the newest one passed; none where nobody closed"),
        _n(
            "last_payload_frame",
            I64,
            "",
            "newest payload of either side before the first FIN or RST; none if it was not acknowledged, or if the window had no "
            "room for more",
        ),
        _n("last_payload_time", I64, "ns", "its time"),
        _n("last_payload_role", I8, "", "role of its sender: 0 client, 1 server"),
        _c("says_goodbye", BOOL, "", "upgraded, and the last segment of the side that closed first is a WebSocket close frame"),
        _c("said_at", I64, "ns", "capture time as of which the row holds"),
        _c("at_capture_end", BOOL, "", "said because the capture ended, nothing else"),
    ),
)

ASKED = (
    *("connection", "exchange", "request_frame", "request_start", "request_method", "request_host", "request_target"),
    *("request_user_agent", "request_forwarded", "request_forwarded_for", "request_navigation", "request_range_start"),
    *("response_start", "response_status"),
)
"""Columns of EXCHANGES about the request and whether it was answered."""

_CLOSE = (
    *("last", "client_close_frame", "client_close_time", "client_close_ack", "client_close_rst"),
    *("server_close_frame", "server_close_time", "server_close_ack", "server_close_offset", "server_close_rst"),
    *("server_close_contradicted", "server_rst_frame", "server_rst_time"),
    *("client_rst_frame", "client_rst_time", "client_rst_ack", "client_close_origin", "server_close_origin"),
    *("accepted_frame", "accepted_time"),
    *("last_payload_frame", "last_payload_time", "last_payload_role", "says_goodbye", "said_at", "at_capture_end"),
)
"""Columns of EXCHANGES that hold what followed an exchange."""

AS_OF = ("handshake", "both_directions", "hole_before", "rtt_client", "rtt_server")
"""Columns of EXCHANGES that hold what was known of the connection at one moment: at the end of the exchange, or at its close."""

_FINAL_AT = _c("final_at", I64, "ns", "capture time as of which the row holds")

FINISHED_EXCHANGES = Table(
    "exchanges",
    "a request and its final response, as soon as the response is complete or will never be",
    (*(c for c in EXCHANGES.columns if c.name not in _CLOSE), _FINAL_AT),
)
"""The table `exchanges` as rules read it; what followed an exchange is in `closes`."""

RENAMED = {
    "request_has_hole": "request_has_gap",
    "response_has_hole": "response_has_gap",
    "previous_close": "previous_announced_close",
    "hole_before": "gap_before",
    "last": "last_on_connection",
    "said_at": "final_at",
}
"""Columns of EXCHANGES that have another name in `closes`."""

_OF_CLOSES = {
    *("connection", "exchange", "has_request", "has_response", "persistent", "upgraded", "endpoint"),
    *("previous_end", "previous_end_offset", "previous_close", *AS_OF, *_CLOSE),
    *("request_frame", "request_last_frame", "request_start", "request_end", "request_offset", "request_end_offset"),
    *("request_ack", "request_head_bytes", "request_body_bytes", "request_body_due", "request_end_reason", "request_has_hole"),
    *("request_method", "request_version", "request_connection_close", "request_expect_continue"),
    *("response_frame", "response_last_frame", "response_start", "response_end", "response_offset", "response_end_offset"),
    *("response_ack", "response_head_bytes", "response_body_bytes", "response_body_due", "response_end_reason"),
    *("response_has_hole", "response_last_body_time", "response_framing", "response_has_transfer_encoding"),
    *("response_status", "response_version", "response_content_type", "response_connection_close"),
    *("response_endless", "request_endless"),
    *("response_keep_alive_timeout", "response_keep_alive_max", "response_auth_scheme", "response_auth_token"),
    *("request_framing", "response_server", "response_upgrade", "response_application_pauses", "request_range_start"),
}

CLOSES = Table(
    "closes",
    "an exchange with what followed it on its connection, once nothing more can: at the next request, at a close, or at the end",
    tuple(c._replace(name=RENAMED.get(c.name, c.name)) for c in EXCHANGES.columns if c.name in _OF_CLOSES),
)

AT_CLOSE = "at_close_"
"""Put before the name of a column of AS_OF in STORED_EXCHANGES: as of when it is known what followed."""

STORED_EXCHANGES = Table(
    "exchanges",
    "a row of `exchanges` and its row of `closes` together",
    (
        *EXCHANGES.columns,
        _FINAL_AT,
        *(c._replace(name=AT_CLOSE + c.name) for c in EXCHANGES.columns if c.name in AS_OF),
    ),
)
"""What is kept of an exchange: `exchanges` for users and reports, `exchanges` and `closes` for rules are parts of it."""

CLOSES_OF_STORED = {
    RENAMED.get(c.name, c.name): AT_CLOSE + c.name if c.name in AS_OF else c.name
    for c in EXCHANGES.columns
    if c.name in _OF_CLOSES
}
"""Column of CLOSES -> column of STORED_EXCHANGES."""


def finished_exchanges(stored: Rows) -> Rows:
    """Return the rows of FINISHED_EXCHANGES that are in rows of STORED_EXCHANGES."""
    return _part(stored, {name: name for name in FINISHED_EXCHANGES.schema})


def closes(stored: Rows) -> Rows:
    """Return the rows of CLOSES that are in rows of STORED_EXCHANGES."""
    return _part(stored, CLOSES_OF_STORED)


def _part(stored: Rows, names: Mapping[str, str]) -> Rows:
    if isinstance(stored, pl.LazyFrame):
        return stored.select(pl.col(name).alias(new) for new, name in names.items())
    frame = stored[[*names.values()]]  # of a few rows a query takes longer than its work
    frame.columns = [*names]
    return frame


CONNECTIONS = Table(
    "connections",
    "a TCP connection (a new one when a port is used again with another initial sequence number)",
    (
        _c("connection", I64, "", "connection id, equal to tcp.stream"),
        _c("client", TEXT, "", "client endpoint, address:port"),
        _c("server", TEXT, "", "server endpoint, address:port"),
        _c("client_host", TEXT, "", "client address without the port"),
        _c("client_direction", I8, "", "direction in which the client sends, 0 or 1"),
        _c("packets", I64, "", "packets of both directions, second copies left out"),
        _c("duplicates", I64, "", "packets left out because they were captured twice"),
        _n("duplicate_frame", I64, "", "the first of them"),
        _n("duplicate_time", I64, "ns", "its time"),
        _n("duplicate_first_frame", I64, "", "the packet of which it is a copy"),
        _n(
            "duplicate_way",
            I8,
            "",
            "what tells it from the first copy: 0 nothing, 1 interface, 2 link-layer addresses, 3 time to live, 4 encapsulation",
        ),
        _c("conflicts", I64, "", "packets that brought other bytes than an earlier packet had for the same place of the stream"),
        _n("conflict_frame", I64, "", "the first of them"),
        _n("conflict_time", I64, "ns", "its time"),
        _n("conflict_first_frame", I64, "", "the packet that it contradicts"),
        _c("client_packets", I64, "", "packets from the client"),
        _c("server_packets", I64, "", "packets from the server"),
        _c("client_bytes", I64, "bytes", "payload bytes from the client, each counted once"),
        _c("server_bytes", I64, "bytes", "payload bytes from the server, each counted once"),
        _c("first_frame", I64, "", "first packet"),
        _c("last_frame", I64, "", "last packet"),
        _c("start", I64, "ns", "time of the first packet"),
        _c("end", I64, "ns", "time of the last packet"),
        _c("handshake", BOOL, "", "SYN and SYN-ACK were seen"),
        _n("rtt_client", I64, "ns", "round trip from the capture point to the client"),
        _n("rtt_server", I64, "ns", "round trip from the capture point to the server"),
        _c("syns", I32, "", "SYNs of the client, until it acknowledged an answer"),
        _n("syn_frame", I64, "", "the first of them"),
        _n("syn_time", I64, "ns", "its time"),
        _n("second_syn_time", I64, "ns", "time of the second, which repeats it"),
        _n("third_syn_time", I64, "ns", "time of the third"),
        _n("last_syn_frame", I64, "", "the last one"),
        _n("last_syn_time", I64, "ns", "its time"),
        _c("syn_extras", BOOL, "", "the first SYN asked for ECN or carried data"),
        _n("first_answer_frame", I64, "", "the first SYN-ACK of the server"),
        _n("first_answer_time", I64, "ns", "its time"),
        _n("newest_answer_frame", I64, "", "the last SYN-ACK before the client acknowledged one"),
        _n("newest_answer_time", I64, "ns", "its time"),
        _n("answered_syn_frame", I64, "", "the last SYN before that"),
        _n("answered_syn_time", I64, "ns", "its time"),
        _c("answered_syn_extras", BOOL, "", "that SYN asked for ECN or carried data"),
        _c("connected", BOOL, "", "the client acknowledged something of the server"),
        _n("refused_frame", I64, "", "the first RST that answered a SYN, before any SYN-ACK"),
        _n("refused_time", I64, "ns", "its time"),
        _n("syn_error_frame", I64, "", "the first ICMP error that quotes a SYN of the client (RFC 792, RFC 4443)"),
        _n("syn_error_time", I64, "ns", "its time"),
        _n("syn_error_router", TEXT, "", "address of its sender: a router, or the server"),
        _n("syn_error_type", I32, "", "its type"),
        _n("syn_error_code", I32, "", "its code"),
        _n(
            "data_rtt",
            I64,
            "ns",
            "round trip of both sides as far as data told it, without the handshake; none unless the SYN was repeated",
        ),
        _c("client_unseen_bytes", I64, "bytes", "bytes of the client that the server acknowledged and the capture lacks"),
        _c("server_unseen_bytes", I64, "bytes", "bytes of the server that the client acknowledged and the capture lacks"),
        _c("client_unacknowledged", I64, "bytes", "payload bytes of the client that the server has not acknowledged"),
        _c("server_unacknowledged", I64, "bytes", "payload bytes of the server that the client has not acknowledged"),
        _c("unseen_places", I64, "", "how many ACKs acknowledged unseen bytes first"),
        _n("unseen_frame", I64, "", "the first of these ACKs"),
        _n("unseen_time", I64, "ns", "its time"),
        _n("reuse_frame", I64, "", "its first packet, if its ports were used before and its SYN is missing"),
        _n("reuse_time", I64, "ns", "its time"),
        _c("one_sided", BOOL, "", "only packets of one side were seen, yet they acknowledge packets of the other"),
        _c("super_segments", I64, "", "segments longer than the MSS that their receiver announced"),
        _n("super_frame", I64, "", "the first of them"),
        _n("super_time", I64, "ns", "its time"),
        _n("super_mss", I32, "bytes", "the MSS that its receiver announced"),
        _c("protocol", TEXT, "", "http, tls, http2, unknown (payload of another kind) or none (no payload)"),
        _c(
            "history",
            TEXT,
            "",
            "what happened, a letter per kind of packet when it first happens, upper case from the client: "
            "S SYN, H SYN-ACK, A ACK, D data, F FIN, R RST, G a gap, T retransmission, W zero window",
        ),
        _c("closed_by", TEXT, "", "client, server or both (neither had acknowledged the other's close); empty while open"),
        _c("close", TEXT, "", "fin or rst (RST of the side that closed, without a FIN before); empty while open"),
        _c("exchanges", I64, "", "exchanges on the connection"),
        _c("cut_heads", I64, "", "packets that the snap length cut inside HTTP heads or chunk framing"),
        _n("cut_frame", I64, "", "the first of them"),
        _n("cut_time", I64, "ns", "its time"),
        _c(
            "tls_version",
            TEXT,
            "",
            "version of TLS that the server chose (without its hello: the highest offered); empty without any hello",
        ),
        _c("server_name", TEXT, "", "name that the client's TLS hello asks for (SNI)"),
        _c("alpn_offered", TEXT, "", "protocols that it offers (ALPN), by comma"),
        _c("alpn_chosen", TEXT, "", "the one that the server's hello names (TLS 1.2 and before: later ones encrypt it)"),
        _c("encrypted_hello", BOOL, "", "the client's hello has an encrypted part (ECH): the name may be that of a front only"),
        _c("said_at", I64, "ns", "capture time as of which the row holds"),
    ),
    subject="connections",
)

TABLES = {
    t.name: t
    for t in (
        *(CAPTURES, RECORDS, PACKETS, ODDITIES, SEGMENTS, PIECES, BURSTS, MESSAGES, FAULTS, ICMP_ERRORS, EXCHANGES),
        CONNECTIONS,
    )
}

EVENT_TABLES = {t.name: t for t in (RELEASES, RECOVERIES, CLOSURES, WINDOW_STALLS, RUNS, UNACKNOWLEDGED, TRANSFERS)}
"""Rows of packets within the cutoffs of the rules that run: a rule that reads one of these tables declares cutoffs."""

TRIES = Table(
    "tries",
    "what a gateway did at its back for an exchange at its front, if one capture holds both: an exchange that carries its "
    "request, or an attempt, a connection that was begun for it and carried none",
    (
        _c("front_connection", I64, "", "connection id of the exchange at the front"),
        _c("front_exchange", I32, "", "its index in its connection"),
        _c("connection", I64, "", "connection id at the back"),
        _n("exchange", I32, "", "index of the exchange at the back; none of an attempt"),
        _c("certain", BOOL, "", "no other pairing is possible; else one of several exchanges that it may be"),
        _c("started", I64, "ns", "when it began: first byte of the request, or first SYN"),
    ),
)

FRONTS = Table(
    "fronts",
    "a server endpoint that is the front of a gateway, with one of the endpoints behind it",
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
"""The tables that a rule can ask for."""

_OWNER = _n("connection", I64, "", "connection id; none where it belongs to none")

READ_AGAIN = TABLES | {
    "records": replace(RECORDS, columns=(PACKETS.columns[0], _OWNER, *RECORDS.columns)),
    "packets": replace(PACKETS, columns=(_OWNER, *PACKETS.columns)),
}
"""The tables as they are told of a capture that is read again: a record knows its frame, and packets their connection."""

_SECONDS = pl.Float64()
_CAUSE = {"rule": TEXT, "frame": I64, "kind": TEXT, "connection": I64, "exchange": I64}
_STEP = {"frame": pl.Int64(), "elapsed": pl.Float64(), "note": pl.String(), "file": pl.String(), "file_frame": pl.Int64()}

FINDINGS = Table(
    "findings",
    "a finding of the report, in its order",
    (
        _n("number", I64, "", "place in the whole report, from 1"),
        _c("capture", TEXT, "", "the file as it was named"),
        _c("rule", TEXT, "", "rule"),
        _c("family", TEXT, "", "its family"),
        _n("kind", TEXT, "", "kind of the finding, where the rule has kinds"),
        _n("side", TEXT, "", "client or server: who has to change something; none where it is neither or unknown"),
        _c("severity", TEXT, "", "error, warning or note"),
        _c("confidence", TEXT, "", "high, medium or low"),
        _c("title", TEXT, "", "what happened, in short"),
        _c("message", TEXT, "", "what happened"),
        _n("client", TEXT, "", "client endpoint, address:port"),
        _n("server", TEXT, "", "server endpoint, address:port"),
        _n("connection", I64, "", "connection id"),
        _n("exchange", I64, "", "index of the exchange in its connection"),
        _n("request", TEXT, "", "method and target of the exchange, masked"),
        _n("status", I64, "", "its status code"),
        _c("time", TEXT, "", "when, RFC 3339 in UTC"),
        _c("elapsed", _SECONDS, "s", "the same, since the first packet of the capture"),
        _n("delay", _SECONDS, "s", "what the user would have got back without the fault, at most"),
        _c("count", I64, "", "how many events the finding stands for"),
        _c("measures", pl.List(pl.Struct({"name": TEXT, "value": _SECONDS})), "", "numbers that the message names (times in s)"),
        _c(
            "evidence",
            pl.List(pl.Struct(_STEP)),
            "",
            "the proof: frame, seconds since the first packet, what it shows, file of a rotation, frame in it",
        ),
        _c("remedy", TEXT, "", "what to change"),
        _c("references", pl.List(pl.Struct({"title": TEXT, "url": TEXT})), "", "standards and manuals"),
        _c("display_filter", TEXT, "", "Wireshark display filter that shows it"),
        _c("fingerprint", TEXT, "", "the same for one fault in different captures"),
        _n("client_software", TEXT, "", "User-Agent of the client"),
        _n("server_software", TEXT, "", "Server field of the server"),
        _c("caused_by", pl.List(pl.Struct(_CAUSE)), "", "findings of which it is a consequence"),
        _n("origin", TEXT, "", "who sent the FIN or RST that it names: endpoint or between"),
    ),
)
"""Only exported: no stage has it."""
