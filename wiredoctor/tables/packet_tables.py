"""The tables about packets: captures, records, packets, oddities and ICMP errors."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from wiredoctor.tables.table import I8, I32, I64, LIST64, TEXT, U8, U16, U32, U64, Table
from wiredoctor.tables.table import flag as _flag
from wiredoctor.tables.table import nullable as _n
from wiredoctor.tables.table import required as _c

CAPTURES = Table(
    "captures",
    "a capture file",
    (
        _c("capture", TEXT, "name of the file, as given by the user"),
        _c("format", TEXT, "file format: pcap, pcapng or snoop"),
        _c("packets", I64, "number of packet records read"),
        _c("bytes", I64, "size of the file", "bytes"),
        _c("last_frame", I64, "number of the last packet; 0 if there are none"),
        _n("first_time", I64, "time of the first packet, since 1970 in UTC; null if it does not fit in 64 bits", "ns"),
        _c("last_time", I64, "time of the last packet, since the first packet", "ns"),
        _c("damage", TEXT, "what could not be read, and where; empty if everything was read"),
        _n("snap_length", I64, "captured length of the longest truncated packet; null if there is none", "bytes"),
        _c("clock_steps", I64, "number of packets stamped more than 1 ms earlier than the previous packet on their interface"),
        _c("clock_step_worst", I64, "largest time difference of a packet that `clock_steps` counts", "ns"),
        _c("clock_step_frame", LIST64, "first five packets with an earlier timestamp"),
        _c("clock_step_time", LIST64, "times of `clock_step_frame`", "ns"),
        _c("clock_step_frame_before", LIST64, "for each packet in `clock_step_frame`, the previous packet on its interface"),
        _c("clock_step_time_before", LIST64, "times of `clock_step_frame_before`", "ns"),
        _flag(
            "sorted",
            "the file was sorted: it is far from time order. If `clock_steps` is 0, frame numbers are those of reordercap(1)",
        ),
        _c("shuffled", I64, "number of packets that were out of order in the file and were sorted by time"),
        _c("shuffled_worst", I64, "largest time difference by which a packet was out of order", "ns"),
        _c("shuffled_frame", LIST64, "first five packets that were out of order"),
        _c("shuffled_time", LIST64, "times of `shuffled_frame`", "ns"),
        _c(
            "shuffled_frame_before",
            LIST64,
            "for each packet in `shuffled_frame`, the packet with the latest time among the packets before it in the file",
        ),
        _c("shuffled_time_before", LIST64, "times of `shuffled_frame_before`", "ns"),
        _c("compressed", I64, "number of packets with compressed content that is not read (IPComp, RFC 3173)"),
        _n(
            "dropped",
            I64,
            "packets dropped before they could be captured, or overwritten; null if the capture does not count them",
        ),
        _c("dropped_of", I64, "number of packets that the capture would have if no packets had been dropped, or removed later"),
        _c("dropped_on", TEXT, 'names of the interfaces that dropped packets: "eth0", "eth0 and eth1"'),
        _n("dropped_start", I64, "time after which packets were first dropped; null if unknown", "ns"),
        _n("dropped_end", I64, "time before which packets were last dropped; null if none were dropped", "ns"),
        _c("overwritten", I64, "packets that the ring of a live capture overwrote before they could be analyzed"),
        _c("overwritten_bytes", I64, "bytes of the files that were overwritten", "bytes"),
        _n("overwritten_start", I64, "time of the last packet before the first overwritten one; null if there is none", "ns"),
        _n("overwritten_end", I64, "time of the first packet after the last overwritten one; null if there is none", "ns"),
    ),
    subject="captures",
)


@cache
def of_captures(table: Table) -> Table:
    """Return the table for several captures: its first column is the name of the capture."""
    return replace(table, columns=(CAPTURES.columns[0], *table.columns))


RECORDS = Table(
    "records",
    "a packet record of the capture file",
    (
        _c("time", I64, "timestamp of the record, since the first record", "ns"),
        _c("interface", I32, "index in the capture's list of interfaces"),
        _c(
            "link_type",
            I32,
            "LINKTYPE_ number (tcpdump.org/linktypes.html); -1: a record that is not a packet but counts as a frame",
        ),
        _c("offset", I64, "position of the packet in the file", "bytes"),
        _c("captured", I64, "number of captured bytes of the packet", "bytes"),
        _c("length", I64, "length of the packet on the network", "bytes"),
    ),
    subject="captures",
    writer="core/rows/recorder.py:PacketRecorder.write_record",
)

PACKETS = Table(
    "packets",
    "a packet with a TCP header, in capture order",
    (
        _c("frame", I64, "number of the packet in its capture"),
        _c("time", I64, "timestamp, since the first packet of the capture", "ns"),
        _c("interface", I32, "index in the capture's list of interfaces"),
        _c("ip_version", U8, "IP version: 4 or 6"),
        _c("source_high", U64, "upper half of the source address (0 for IPv4)"),
        _c("source_low", U64, "lower half of the source address (IPv4: the address)"),
        _c("destination_high", U64, "upper half of the destination address"),
        _c("destination_low", U64, "lower half of the destination address"),
        _c("source_port", U16, "source port"),
        _c("destination_port", U16, "destination port"),
        _n("ip_id", I32, "IPv4 identification, also of a reassembled datagram; null for IPv6"),
        _c("ttl", U8, "time to live or hop limit"),
        _c("link_hash", U64, "hash of the source and destination MAC address; 0 if there are none"),
        _c("encapsulation", U64, "hash of VLAN tags and tunnel headers before the IP header; 0 if there are none"),
        _c("seq", U32, "sequence number as in the header"),
        _c("ack", U32, "acknowledgment number as in the header"),
        _c("flags", U8, "control bits, FIN = 1 ... CWR = 128"),
        _c("window", U16, "window as in the header, unscaled"),
        _c("length", I32, "TCP payload on the network, from the IP length", "bytes"),
        _c("captured", I32, "TCP payload in the capture, at most `length`", "bytes"),
        _c(
            "payload",
            I64,
            "position of the payload: values below SCRATCH (1 << 62) are offsets in the file, higher values are offsets in the "
            "buffer of reassembled fragments",
            "bytes",
        ),
        _c("options_hash", U64, "hash of the option bytes; 0 without options"),
        _c("mss", I32, "MSS option; -1 without it, -2 if options were not captured completely", "bytes"),
        _c("window_shift", I8, "window scale option (at most 14, RFC 7323); -1 and -2 as for `mss`"),
        _flag("has_timestamps", "the packet has the timestamps option"),
        _flag("sack", "the packet has SACK blocks"),
        _flag("dsack", "the first SACK block reports that data arrived twice (D-SACK, RFC 2883)"),
        _flag("quoted", "a header quoted in an ICMP error: it has a connection id but is not a packet of the connection"),
    ),
    subject="segments",
    writer="core/rows/recorder.py:PacketRecorder.write_packet",
)

SCRATCH = 1 << 62
"""The lowest value of `packets.payload` that is a position in the buffer of reassembled fragments instead of in the file."""

ODDITIES = Table(
    "oddities",
    "something in a packet that violates the standard of its protocol; rules decide what to report",
    (
        _c("frame", I64, "number of the packet"),
        _c("layer", TEXT, "protocol layer: link, ip, tcp or http"),
        _c("what", TEXT, "what was expected and what was found, as text"),
    ),
    subject="captures",
)

ICMP_ERRORS = Table(
    "icmp_errors",
    "an ICMP or ICMPv6 error that quotes a TCP segment: destination unreachable, packet too big, time exceeded, parameter "
    "problem (or source quench, which is not an error: RFC 6633). Written when its connection ends",
    (
        _c("frame", I64, "number of the packet with the error"),
        _c("time", I64, "time of `frame`", "ns"),
        _c("router", TEXT, "address of the error's sender: a router, or the destination of the segment"),
        _c("ip_version", I8, "IP version: 4 for ICMP, 6 for ICMPv6"),
        _c("type", I32, "type of the error (RFC 792, RFC 4443)"),
        _c("code", I32, "code of the error (RFC 792, RFC 1812, RFC 4443)"),
        _n(
            "mtu",
            I64,
            "MTU that the error reports, if the segment was too large (type 3 code 4 of ICMP, type 2 of ICMPv6)",
            "bytes",
        ),
        _n("connection", I64, "connection id, equal to tcp.stream; null if the quote is too short to find the connection"),
        _n("direction", I8, "direction of the quoted segment; null if no packet of the connection was captured before"),
        _n("offset", I64, "stream offset of the quoted segment (of a SYN: 0); null if it is unknown", "bytes"),
        _flag(
            "syn",
            "the quoted segment is the SYN of its sender, according to its sequence number and, if they are quoted, its flags",
        ),
    ),
    subject="connections",
)
