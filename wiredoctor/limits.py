"""All limits on memory and work, each with its reason.

A stage of the analysis reads the value of a limit (such as `limits.HEAD.value`) when it runs, not at import. In a LimitsReached
object, which phrases the sentences for the report, the stage counts everything that the limit leaves out or cuts off. Thresholds
of rules are different: they decide what becomes a finding, and users may change them.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from wiredoctor.tables import SECOND

_KIB, _MIB, _GB = 1 << 10, 1 << 20, 10**9
_HOUR = 3_600 * SECOND


@dataclass(eq=False, repr=False)
class Limit:
    """A limit on memory or work. `unit` names the things that `value` counts; times have the unit "ns".

    stage: the part of the analysis in which the limit applies. sentence: the text for the report if the limit was reached, with
    the placeholders {limit} and {count}. `{count:head was|heads were}` has one form for a count of one and another for larger
    counts. The sentence is "" if nothing is lost, or if the result itself shows that something was cut off.
    """

    name: str
    stage: str
    value: int
    unit: str
    reason: str
    sentence: str = ""

    @property
    def text(self) -> str:
        """The value with its unit: "256 KiB", "120 s", "1 h", "1,000 oddities"."""
        if self.unit == "ns":
            hours, rest = divmod(self.value, _HOUR)
            return f"{self.value / SECOND:g} s" if rest else f"{hours} h"
        if self.unit == "bytes":
            for size, unit in ((_GB, "GB"), (_MIB, "MiB"), (_KIB, "KiB")):
                if self.value >= size and self.value % size == 0:
                    return f"{self.value // size:,} {unit}"
        return f"{self.value:,} {self.unit}"

    def describe(self, count: int) -> str:
        """Return the report's sentence about `count` things that the limit left out or cut off."""
        return self.sentence.format(limit=self.text, count=_Count(count))


class _Count(int):
    """A number that is formatted together with a noun. The format specification has two forms of the noun: `one|several`."""

    def __format__(self, nouns: str) -> str:
        one, _, several = nouns.partition("|")
        return f"{int(self):,} {one if self == 1 else several}".rstrip()


@dataclass(eq=False, repr=False)
class LimitsReached:
    """The number of things that each limit left out or cut off, by limit name. All stages of an analysis share this object."""

    counts: dict[str, int] = field(default_factory=dict[str, int])

    def add(self, limit: Limit, count: int = 1) -> None:
        """Count `count` things that a limit left out or cut off."""
        if count:
            self.counts[limit.name] = self.counts.get(limit.name, 0) + count

    def join(self, others: Iterable[Mapping[str, int]]) -> None:
        """Add the counts of other processes that read the same capture. Each element of `others` comes from one process."""
        for counts in others:
            for name, count in counts.items():
                self.counts[name] = self.counts.get(name, 0) + count

    def messages(self) -> list[str]:
        """Return the sentences for the report, in the order of all_limits."""
        return [
            limit.describe(self.counts[name]) for name, limit in all_limits().items() if limit.sentence and name in self.counts
        ]


_REACHED: ContextVar[LimitsReached | None] = ContextVar("limits reached", default=None)


@contextmanager
def counting(met: LimitsReached) -> Generator[None]:
    """Count in `met` what rules leave out in the `with` block (see `leave_out`)."""
    token = _REACHED.set(met)
    try:
        yield
    finally:
        _REACHED.reset(token)


def leave_out(limit: Limit, count: int) -> None:
    """Say in the report that a rule left out `count` things. If it says so several times, the largest number counts."""
    met = _REACHED.get()
    if met is not None and count > 0:
        met.counts[limit.name] = max(count, met.counts.get(limit.name, 0))


def all_limits() -> dict[str, Limit]:
    """Return all limits by name, in the order of limits.py."""
    return {limit.name: limit for limit in globals().values() if isinstance(limit, Limit)}


# capture

PACKET = Limit(
    "packet", "capture", 262_144, "bytes",
    "A record whose header claims more bytes than this is damaged. Wireshark (WTAP_MAX_PACKET_SIZE_STANDARD) and libpcap "
    "(MAXIMUM_SNAPLEN) have the same limit",
)  # fmt: skip
BLOCK = Limit(
    "pcapng-block", "capture", 16 * _MIB, "bytes",
    "A pcapng block whose header claims more bytes than this is damaged. Wireshark (MAX_BLOCK_SIZE) has the same limit",
)  # fmt: skip

FOLDER_ENTRIES = Limit(
    "folder-entries", "capture", 100_000, "files and folders",
    "Files and subfolders that are searched if a folder is given as a capture, because each file is opened: a folder that was "
    "named by mistake, such as `/`, may contain millions. A message names the folder at which the search stopped",
)  # fmt: skip
UNPACKED = Limit(
    "unpacked", "capture", 2 * _GB, "bytes",
    "Disk space for all compressed captures together, or half of the free space in the temporary folder if that is "
    "less. A small file may need much space: 10 GB of zeros compress to less than 1 MB of zstandard. `--max-spool` sets another "
    "bound. The report begins with a line about each capture that was cut off",
)  # fmt: skip

# decode

FRAME_RUNS = Limit(
    "frame-runs", "capture", 1_000_000, "runs",
    "Runs of consecutive frames from the same file, 24 bytes each, in a capture of several files. They show which file contains "
    "a frame. For frames beyond the limit, the report has only the frame number in the complete capture, and no file",
)  # fmt: skip
ODDITIES = Limit(
    "oddities", "decode", 1_000, "oddities of a capture",
    "A capture of broken packets must not fill a table with a row for each packet; rules read only the first few rows",
)  # fmt: skip
SCRATCH = Limit(
    "fragment-bytes", "decode", 64 * _MIB, "bytes",
    "Fragmented TCP is rare, because path MTU discovery avoids it. Real captures need kilobytes, and memory must not grow with "
    "the length of a malicious capture",
    "IP fragments are reassembled up to {limit} in all; {count:later datagram was|later datagrams were} not reassembled",
)  # fmt: skip
DATAGRAMS = Limit(
    "incomplete-datagrams", "decode", 4_096, "datagrams",
    "Datagrams with missing fragments. Linux keeps 4 MB of fragments (ipfrag_high_thresh), which is about this many datagrams",
    "{limit} with missing fragments are kept; {count:other was|others were} dropped, the oldest first",
)  # fmt: skip
DATAGRAM_BYTES = Limit(
    "incomplete-datagram-bytes", "decode", 16 * _MIB, "bytes",
    "Bytes of datagrams with missing fragments. A limit on datagrams is not enough, because each may be as large as 64 KiB",
    "{limit} of datagrams with missing fragments are kept; {count:datagram was|datagrams were} dropped, the oldest first",
)  # fmt: skip
TUNNELS = Limit(
    "fragmented-tunnels", "decode", 4_096, "datagrams",
    "Fragmented UDP datagrams that are remembered as part of a tunnel, because only the first fragment has the port. The "
    "limit is the same as for datagrams with missing fragments",
)  # fmt: skip
HEADERS = Limit(
    "headers", "decode", 64, "headers of a packet",
    "Headers nested more deeply are not a tunnel but an attack on analyzers",
)  # fmt: skip

# tcp

RETENTION = Limit(
    "retention", "tcp", 120 * SECOND, "ns",
    "The minimum time for which a closed connection is kept for late packets: an old segment lives for at most two minutes "
    "(RFC 9293 section 3.4.2). A later packet opens a new connection, but continues the old one in Wireshark",
)  # fmt: skip
RETAINED_PACKETS = Limit(
    "retained-packets", "tcp", 100_000, "packets",
    "A closed connection is also kept until this many later packets have been read: the connections of small captures are then "
    "numbered exactly as in Wireshark, and memory is still bounded",
)  # fmt: skip
OPEN = Limit(
    "open-connections", "tcp", 1 << 17, "connections",
    "Connections followed at the same time. A half-open connection takes 1,200 bytes, a connection with an open exchange 4 kB. "
    "The limit is over four times the 28,232 that Linux opens from one address to one server (ip_local_port_range). A hash of "
    "addresses and ports divides them into 64 groups, and each group has 1/64 of the limit, so the result does not depend on "
    "the number of processes. If a group is full, its closed connections are dropped first, then those that were idle longest. "
    "Dropped connections are reported in their current state. A later packet opens a new connection",
    "{count:idle connection was|idle connections were} dropped from the analysis: more than {limit} were open at "
    "once",
)  # fmt: skip
CROWD_CHECK = Limit(
    "crowd-check", "tcp", 1 << 15, "packets",
    "The number of packets between two checks for too many open connections. The checks are at fixed frames, so the report "
    "does not depend on how much of a capture is read at a time",
)  # fmt: skip
HOLES = Limit(
    "holes", "tcp", 1 << 10, "gaps",
    "Gaps that are kept for each direction, so that bytes of a gap that arrive late are recognized as new. Beyond the "
    "limit, the first gap is dropped, and its late bytes count as retransmitted",
    "{count:gap was|gaps were} dropped because one direction had more than {limit}",
)  # fmt: skip
COPIES = Limit(
    "copies", "tcp", 1 << 17, "packets",
    "Earlier packets with which a packet is compared, because it may be a copy of one of them. They came up to 100 ms "
    "earlier, or 10 s if the packet may have been queued in a router. In 100 ms, a link with 10 Gbit/s carries 80,000 full "
    "packets",
)  # fmt: skip
REORDERED = Limit(
    "reordered", "tcp", 1 << 14, "packets",
    "Packets held at a time if records must be sorted, because they are up to 50 ms out of order, or up to 500 ms between "
    "interfaces",
)  # fmt: skip
SORTED_RUNS = Limit(
    "sorted-runs", "capture", 1 << 20, "runs of consecutive packets",
    "A capture that is far from time order is sorted by merging runs, each of which is in time order. An appended file is "
    "one run; if packets of two interfaces alternate, each change begins a run. A run takes 32 bytes. Beyond the limit, the "
    "packets stay in the order of the file",
    "The capture is not in time order, and was not sorted because it has more than {limit}: sort it with reordercap",
)  # fmt: skip
SORTED_LANES = Limit(
    "sorted-lanes", "capture", 1 << 10, "parts",
    "The number of parts that are merged to sort a capture that is far from time order. A part consists of one or more of the "
    "runs in `sorted-runs`, which follow one another in time. Beyond the limit, the packets stay in the order of the file",
    "The capture is not in time order, and was not sorted because it has more than {limit}: sort it with reordercap",
)  # fmt: skip
PROMISED = Limit(
    "promised-numbers", "tcp", 1 << 14, "connections",
    "Connection numbers that are reserved at a time: while a SYN that reuses the ports of an earlier connection waits to be "
    "sorted, the next number is reserved for its connection. Beyond the limit, the "
    "oldest reservation is dropped: its connection was probably never opened, for example because its SYN was a copy",
    "{count:connection|connections} may have a higher number than in Wireshark, because the numbers of {limit} were already "
    "reserved",
)  # fmt: skip
ICMP_ERRORS = Limit(
    "icmp-errors", "tcp", 100, "ICMP errors about a connection",
    "A router reports each retransmission of a segment, and hosts give up after about 15 retransmissions. More errors are an "
    "attack, or copies",
    "{limit} are read; {count:later one was|later ones were} left out",
)  # fmt: skip
UNACKNOWLEDGED = Limit(
    "unacknowledged-segments", "tcp", 4_096, "segments of a direction",
    "Segments kept to determine which of them an ACK covers: 6 MB of full segments, more than common receive "
    "windows",
)  # fmt: skip
FIRST_COPIES = Limit(
    "first-copies", "tcp", 1 << 16, "packets",
    "Earlier packets whose bytes are compared with repeated bytes: lost segments are retransmitted within "
    "seconds",
)  # fmt: skip
COMPARED = Limit(
    "compared-copies", "tcp", 64, "first copies",
    "Earlier packets that are compared with a packet that may be a second copy. There may be many, because a super-segment of "
    "64 kB covers 45 full segments",
)  # fmt: skip

# http

HEAD = Limit(
    "head", "http", 256 * _KIB, "bytes",
    "Common servers accept 8 to 64 KiB of request line and fields, so 256 KiB is more than any normal message has",
    "{count:header section was|header sections were} longer than {limit} and not read",
)  # fmt: skip
CHUNK_LINE = Limit(
    "chunk-line", "http", 16 * _KIB, "bytes",
    "Bytes of a chunk size line with its extensions, or of a trailer line: Apache httpd permits 8 KiB for either",
    "{count:line|lines} of chunked framing exceeded {limit}; the following data was not read",
)  # fmt: skip
AHEAD = Limit(
    "bytes-behind-a-hole", "http", 16 * _MIB, "bytes",
    "Bytes after a gap that are held until the missing bytes arrive: more than common receive windows. Beyond the limit, the "
    "missing bytes count as lost",
    "the missing bytes of {count:gap|gaps} count as lost, because {limit} of later data came before them",
)  # fmt: skip
BEHIND = Limit(
    "packets-behind-a-hole", "http", 1 << 13, "packets",
    "Packets held until missing bytes arrive; this number of full segments contains 12 MB. Sorting more packets would take "
    "disproportionately long",
    "the missing bytes of {count:gap|gaps} count as lost, because {limit} of later data came before them",
)  # fmt: skip
TLS_HELLO = Limit(
    "tls-hello", "http", 16 * _KIB, "bytes",
    "Bytes of TLS records within which a hello must be complete: common hellos have 200 to 2,000; a few, with "
    "old session tickets, have more",
)  # fmt: skip
CERTIFICATES = Limit(
    "tls-certificates", "http", 64 * _KIB, "bytes",
    "Bytes of an unencrypted message with certificates: common ones have 2,000 to 6,000; a longer message is not parsed",
)  # fmt: skip
PIPELINED = Limit(
    "waiting-requests", "http", 4_096, "requests",
    "Requests that wait for their responses: browsers that pipelined sent a few dozen, and benchmarks send a few hundred",
    "{count:connection was|connections were} not read further, because more than {limit} were waiting for a response",
)  # fmt: skip
INTERIM = Limit(
    "interim-responses", "http", 1_000, "interim responses",
    "Interim responses listed per exchange: a server that sends one every second takes a quarter of an hour to "
    "reach this number",
    "{limit} are listed per exchange; {count:more was|more were} left out",
)  # fmt: skip
TRAILER = Limit(
    "trailer", "http", 256 * _KIB, "bytes",
    "Bytes of the fields after a chunked body. The limit is the same as for a header section",
    "{count:trailer section was|trailer sections were} longer than {limit}; the following data was not read",
)  # fmt: skip
WAITING = Limit(
    "packets-that-wait", "http", 1 << 13, "packets of a direction",
    "Packets of one direction that wait for packets of the other direction: responses whose request may have been captured "
    "late, and data after a request for another protocol. Beyond the limit, packets are read without waiting",
)  # fmt: skip
KEPT = Limit(
    "waiting-bytes", "http", 512 * _MIB, "bytes",
    "Bytes of all connections that wait for missing bytes, for the other direction, or for the end of a header section. "
    "Connections are divided into 64 groups as for `open-connections`, and each group has 1/64 of the limit. If a group is full, "
    "the bytes that have waited longest in it are read without further waiting",
    "{count:connection was|connections were} read with gaps, because {limit} of data were waiting for missing bytes",
)  # fmt: skip
TEXT = Limit(
    "text", "http", 8 * _KIB, "bytes",
    "Bytes of a request target, or of a field that reports and rules compare, such as Host or Server: RFC 9112 "
    "section 3 recommends support for request lines of at least 8,000 bytes, and many servers refuse more",
    "{count:header section has|header sections have} a target or field longer than {limit}, which was truncated",
)  # fmt: skip
DECODERS = Limit(
    "decoders", "http", 256, "compressed event streams",
    "Compressed event streams decoded at the same time to count their events; each takes 50 kB. The events of further "
    "streams are not counted",
    "the events of {count:stream|streams} were not counted, because {limit} were being decoded",
)  # fmt: skip
BODIES = Limit(
    "decoded-bodies", "http", 256, "bodies",
    "Bodies that are decoded or kept at the same time to check that their content is complete; each takes 50 kB, or as much as "
    "`json-bytes` and `zstd-window` allow, or the window of br data (at most 16 MiB, RFC 7932). Of further bodies, only the "
    "first byte is checked",
    "the content of {count:body was|bodies were} not checked, because {limit} were being checked",
)  # fmt: skip
DECODED = Limit(
    "decoded-bytes", "http", 64 * _MIB, "bytes",
    "Decoded bytes of a compressed body: decoding takes longer than everything else that is done with its packets. A larger body "
    "is not checked to its end",
)  # fmt: skip
JSON_BYTES = Limit(
    "json-bytes", "http", 256 * _KIB, "bytes",
    "Bytes of a JSON document that are kept to check that it is complete: most responses of APIs have 1 to 20 kB. A larger "
    "document is not checked",
)  # fmt: skip
ZSTD_WINDOW = Limit(
    "zstd-window", "http", 8 * _MIB, "bytes",
    "The window of a body with zstd coding, which a decoder keeps in memory. RFC 9659 permits no larger one in HTTP",
)  # fmt: skip
REMEMBERED_HEADS = Limit(
    "remembered-heads", "http", 8_192, "parts of heads",
    "Header sections repeat, so parsed parts are cached. When the cache is full, it is cleared",
)  # fmt: skip

# rules and tables

COMPARED_ROWS = Limit(
    "compared-rows", "rules", 1_000_000, "exchanges, and as many connections",
    "Rules that compare many exchanges or connections read only those that began last, because memory must not grow with the "
    "length of a capture. The limit is counted from the end, so a growing capture is judged like its finished file. These rules "
    "read either all of a connection or nothing of it, because part of a connection would look like a different connection. "
    "Connections that began before this window and continued in it are read only by rules about the capture itself. \"Not "
    "judged\" lists everything that the rules did not read",
)  # fmt: skip
CANDIDATES = Limit(
    "candidates", "rules", 500_000, "candidates",
    "Candidates compared with each other, because one cause may explain many; each takes 200 bytes. Each rule gets an "
    "equal share, the longest delays first",
    "{limit} for findings of a capture are compared, an equal share per rule, the longest delays first; {count:more "
    "was|more were} left out",
)  # fmt: skip
FINDINGS = Limit(
    "findings", "rules", 20_000, "findings",
    "Findings in a report: each takes 5 kB of memory, and a longer list would not be read. Each rule gets an equal share, "
    "the longest delays first",
    "{limit} of a capture are reported, an equal share per rule, the longest delays first; {count:more was|more "
    "were} left out",
)  # fmt: skip
UNJUDGED = Limit(
    "not-judged", "rules", 10_000, "exchanges and connections",
    "Exchanges and connections that are listed because they did not end normally and no finding explains them, the worst "
    "reasons first; all are counted",
)  # fmt: skip
SUSPECTS = Limit(
    "suspects", "rules", 200_000, "exchanges, and as many connections",
    "Exchanges of a live capture that may have failed, and the same number of connections, kept until the end with 300 "
    "bytes each. If there are more, the later ones are missing under \"Not judged\"",
)  # fmt: skip
GATEWAY_FAILURES = Limit(
    "gateway-failures", "rules", 20_000, "exchanges",
    "Failed exchanges that are examined together for the reason behind a gateway, the newest first; each takes 10 kB",
    "The newest {limit} that failed are examined for a reason behind a gateway; {count:more was|more were} left out",
)  # fmt: skip
CLIENT_REQUESTS = Limit(
    "client-requests", "rules", 100_000, "requests",
    "Requests near the failures of a capture's clients that are examined, the newest first, to learn why a client left and "
    "whether it repeated a request; each takes 250 bytes",
    "The newest {limit} of clients with failures are compared with these failures; {count:more was|more were} left out",
)  # fmt: skip
CANDIDATES_AT_ONCE = Limit(
    "candidates-at-once", "rules", 2_048, "candidates",
    "Candidates that are judged or get their texts together. Their values in Python take ten times as much memory as in a data "
    "frame",
)  # fmt: skip
CANDIDATES_HELD = Limit(
    "candidates-held", "rules", 4_096, "candidates",
    "Candidates that stay in memory until the end of the capture, with their texts about 2 kB each; further ones go to a "
    "temporary file",
)  # fmt: skip
SETTLED_CANDIDATES = Limit(
    "settled-candidates", "rules", 2_000, "candidates",
    "Reported candidates of a live capture that are kept while their connections continue, because a stall that is found "
    "later may have begun earlier, or may have the same cause",
)  # fmt: skip
LIVE_PENDING = Limit(
    "live-pending", "rules", 4_096, "candidates",
    "Candidates of a live capture that wait until nothing can change them; each takes 2 kB. Beyond the limit, the oldest are "
    "left to the final report",
)  # fmt: skip
LIVE_PAIRED = Limit(
    "live-paired", "rules", 8_192, "exchanges",
    "The newest exchanges of a live capture, which are searched for the causes of a gateway's failures: those near the failures. "
    "A search takes about a quarter of a second at most. If they are too many for one, most searches examine the newest, and "
    "every fourth the oldest. If more exchanges are near a failure, only the final report names its cause",
)  # fmt: skip
GATEWAY_EVIDENCE = Limit(
    "gateway-evidence", "rules", 16_384, "counts of each kind",
    "What a live capture has shown about gateways: how often requests to one endpoint lie within requests to another, the hosts "
    "that send requests to an endpoint, and the Server fields that gateways forwarded. A count takes 200 bytes. Beyond the "
    "limit, the lowest counts are dropped",
)  # fmt: skip
GATEWAY_CLIENTS = Limit(
    "gateway-clients", "rules", 16_384, "connections",
    "Connections of a live capture whose client is a gateway, and as many whose User-Agent is known, the newest first; each "
    "takes 150 bytes",
)  # fmt: skip
LIVE_NEAR = Limit(
    "live-near", "rules", 16_384, "exchanges, and as many connections",
    "The newest exchanges and connections of a live capture that are read for a decision about a failure. Only those near the "
    "time of the failure are needed. If these are more, the failure is left to the final report",
)  # fmt: skip
SERVER_CLOSES = Limit(
    "server-closes", "rules", 32_768, "closes",
    "Closes by servers in a live capture, as many requests after an idle time, and as many SYNs, from which idle timeouts are "
    "learned: 110, 32 and 90 bytes each. The oldest are forgotten, as if the capture had begun later. Of a server, at most "
    "some 500 closes are kept, because each decision examines all of them",
)  # fmt: skip
SERVER_REQUESTS = Limit(
    "server-requests", "rules", 32_768, "requests",
    "Times of requests in a live capture, 24 bytes each, with which closes are compared: closes that come just as requests do "
    "show no idle timeout. The oldest are forgotten",
)  # fmt: skip
LONGEST_WAITS = Limit(
    "longest-waits", "rules", 4_096, "requests",
    "Requests of a live capture for whose responses clients waited longer than for earlier, similar ones, 1.5 kB each: a client "
    "that gave up sooner has no timeout of that length. The oldest are forgotten",
)  # fmt: skip
LIVE_WAITING = Limit(
    "live-waiting", "rules", 5_000, "candidates",
    "Candidates of a live capture that wait for a decision, 2 kB each. If there are more, the oldest are decided at its "
    "end",
)  # fmt: skip
LIVE_LEFT = Limit(
    "live-left", "rules", 5_000, "candidates",
    "Candidates of a live capture that are decided at its end, because too much took place near them, about 0.6 ms each: the "
    "report must be written before a container is killed. Up to 2,048 more are kept",
    "{limit} were too many to be decided during the capture and were decided at its end; {count:older one was|older ones were} "
    "left out",
)  # fmt: skip
FOUND_IN = Limit(
    "found-in", "rules", 20_000, "connections",
    "Connections of a live capture with a possible finding, 100 bytes each; their rows are kept when others are dropped. The "
    "limit is that of the findings in a report. The oldest are forgotten",
)  # fmt: skip
FOUND_ROWS = Limit(
    "found-rows", "rules", 200_000, "exchanges, and as many connections",
    "Rows of these connections that a live capture keeps in temporary files when it drops others. The oldest are dropped, too, "
    "and are then only counted",
)  # fmt: skip
TALLIED = Limit(
    "tallied", "rules", 20_000, "combinations",
    "Combinations of server, status and state by which a live capture counts the exchanges that it has dropped, 60 bytes each, "
    "and names of servers, 170 bytes each. Rarer combinations count for no server",
)  # fmt: skip
LIVE_PAIRED_AT_END = Limit(
    "live-paired-at-end", "rules", 65_536, "exchanges",
    "The newest exchanges of a live capture, which are searched for gateways when it ends, 30 us each: the report must be "
    "written before a container is killed. Earlier findings are those told during the capture",
    "{limit}, the newest, were searched for what gateways did; {count:earlier one was|earlier ones were} not, beyond what was "
    "reported during the capture",
)  # fmt: skip
SUMMARIES_TOGETHER = Limit(
    "summaries-together", "rules", 200_000, "connections and exchanges",
    "If a capture has at most this number, rules that read all connections and exchanges run at the same time, which is "
    "faster. If there are more, these rules run one after the other",
)  # fmt: skip
LIVE_CANDIDATES_HELD = Limit(
    "live-candidates-held", "rules", 2_048, "candidates",
    "Candidates of a live capture that are kept in memory: it should use no more memory after a day than after five minutes",
)  # fmt: skip
ROWS_HELD = Limit(
    "rows-held", "report", 16_384, "finished rows of a table",
    "Finished rows of a table in memory before they are written to a temporary file: about 20 MB of the widest "
    "table",
)  # fmt: skip
BYTES_HELD = Limit(
    "bytes-held", "report", 24 * _MIB, "bytes",
    "Bytes of finished rows in memory before they are written to a temporary file, because some rows have long targets",
)  # fmt: skip
FINISHED_AT_ONCE = Limit(
    "finished-at-once", "report", 16_384, "connections",
    "Connections that are ended together at the end of a capture: their rows are created in Python, 2 kB each",
)  # fmt: skip
HAR_BODY = Limit(
    "har-body", "report", 16 * _MIB, "bytes",
    "Programs that show HAR files hold all bodies in memory, so longer bodies are left out, and a comment in the file says so",
)  # fmt: skip
ANONYMIZED = Limit(
    "anonymized", "anonymizing", 32 * _MIB, "bytes",
    "Bytes of packets that can be anonymized; larger captures are refused. Originals and replacements "
    "are held in memory several times, and take 20 bytes for each byte of a packet",
)  # fmt: skip
ANONYMIZED_STREAMS = Limit(
    "anonymized-streams", "anonymizing", 256 * _MIB, "bytes",
    "Bytes of TCP streams that are put in order for anonymizing, in all connections and both directions, gaps included. Other "
    "bytes are replaced packet by packet. If that changes the diagnosis, the capture is refused",
)  # fmt: skip
