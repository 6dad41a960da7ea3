"""All limits of wiredoctor: what bounds its memory and its work, whatever a capture holds. Each with its reason.

A stage asks for `limits.HEAD.value` when it works, never earlier, and tells `Met` when something was cut off; the report
says so in a sentence. Thresholds of rules are none of these: they decide what is a fault, and a user may change them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from wiredoctor.tables import SECOND

_KIB, _MIB, _GB = 1 << 10, 1 << 20, 10**9
_HOUR = 3_600 * SECOND


@dataclass(eq=False)
class Limit:
    """A bound. `value` counts `unit`; of times (unit "ns") it is in nanoseconds.

    stage: where it is kept. sentence: what the report says where it was met, with {limit} and {count} - written as
    `{count:head was|heads were}`, for one and for several; "" where nothing is lost by it, or where what is cut off says so
    at its own place.
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

    def said(self, count: int) -> str:
        """The sentence for a limit that was met so often."""
        return self.sentence.format(limit=self.text, count=_Count(count))


class _Count(int):
    """A number that is written with its noun: `one|several`."""

    def __format__(self, nouns: str) -> str:
        one, _, several = nouns.partition("|")
        return f"{int(self):,} {one if self == 1 else several}".rstrip()


@dataclass
class Met:
    """Which limits were met, and how often: name of a limit -> count. Stages of one analysis share one."""

    counts: dict[str, int] = field(default_factory=dict[str, int])

    def add(self, limit: Limit, count: int = 1) -> None:
        """So much more was cut off by this limit."""
        if count:
            self.counts[limit.name] = self.counts.get(limit.name, 0) + count

    def join(self, others: Iterable[Mapping[str, int]]) -> None:
        """Adds the counts of other processes that read the same capture."""
        for counts in others:
            for name, count in counts.items():
                self.counts[name] = self.counts.get(name, 0) + count

    def sentences(self) -> list[str]:
        """What a report says, in the order of this file."""
        return [limit.said(self.counts[name]) for name, limit in every().items() if limit.sentence and name in self.counts]


def every() -> dict[str, Limit]:
    """All limits by name, in the order of this file."""
    return {limit.name: limit for limit in globals().values() if isinstance(limit, Limit)}


# capture

PACKET = Limit(
    "packet", "capture", 262_144, "bytes",
    "a record that announces more is damage: Wireshark's WTAP_MAX_PACKET_SIZE_STANDARD, libpcap's MAXIMUM_SNAPLEN",
)  # fmt: skip
BLOCK = Limit(
    "pcapng-block", "capture", 16 * _MIB, "bytes",
    "a block of pcapng that announces more is damage: Wireshark's MAX_BLOCK_SIZE",
)  # fmt: skip

UNPACKED = Limit(
    "unpacked", "capture", 2 * _GB, "bytes",
    "compressed captures may take on disk at the same time, or half of what is free in the temporary folder if that is less: "
    "10 GB of zeros are less than 1 MB of zstandard. `--max-spool` sets another bound. The report begins with a line about each "
    "capture that was cut off",
)  # fmt: skip

# decode

FRAME_RUNS = Limit(
    "frame-runs", "capture", 1_000_000, "runs",
    "of frames of one file are remembered at 24 bytes each, to tell in which file of a capture of several a frame lies; evidence "
    "beyond them has only its number in the whole capture",
)  # fmt: skip
ODDITIES = Limit(
    "oddities", "decode", 1_000, "oddities of a capture",
    "a capture of nothing but broken packets must not become a table of as many rows; rules look at the first few",
)  # fmt: skip
SCRATCH = Limit(
    "fragment-bytes", "decode", 64 * _MIB, "bytes",
    "fragmented TCP is rare (path MTU discovery avoids it): real captures need kilobytes, and memory must not follow the "
    "length of a hostile one",
    "IP fragments are put together up to {limit} in all; {count:datagram|datagrams} after that could not be",
)  # fmt: skip
DATAGRAMS = Limit(
    "incomplete-datagrams", "decode", 4_096, "datagrams",
    "fragments wait for the rest of their datagram; Linux keeps what fits 4 MB (ipfrag_high_thresh), about as many",
    "{limit} of which fragments are missing are kept; the oldest were given up, {count} of them",
)  # fmt: skip
DATAGRAM_BYTES = Limit(
    "incomplete-datagram-bytes", "decode", 16 * _MIB, "bytes",
    "the same for fragments of the largest size",
    "{limit} of datagrams of which fragments are missing are kept; the oldest were given up, {count} of them",
)  # fmt: skip
TUNNELS = Limit(
    "fragmented-tunnels", "decode", 4_096, "datagrams",
    "fragmented UDP datagrams to the port of a tunnel, of which the later fragments are worth keeping: as many as may wait",
)  # fmt: skip
HEADERS = Limit(
    "headers", "decode", 64, "headers of a packet",
    "inside each other: more are no tunnel but an attack on whoever follows them",
)  # fmt: skip

# tcp

RETENTION = Limit(
    "retention", "tcp", 120 * SECOND, "ns",
    "how long a closed connection is kept for late packets at the least: an old segment lives for two minutes at most "
    "(RFC 9293 section 3.4.2). A packet after that opens a new connection, where Wireshark goes on with the old one",
)  # fmt: skip
RETAINED_PACKETS = Limit(
    "retained-packets", "tcp", 100_000, "packets",
    "a closed connection is also kept for so many packets of the capture: small captures are numbered exactly as in "
    "Wireshark, and what is kept is still bounded",
)  # fmt: skip
OPEN = Limit(
    "open-connections", "tcp", 1 << 17, "connections",
    "that are remembered at once, which takes 1,250 bytes of a half-open one and 4 kB of one with an exchange under way: four "
    "times the 28,232 that Linux opens from one address to one server (ip_local_port_range). Counted in 64 parts, by a hash of "
    "the addresses and ports, so that it does not matter which process has which. Beyond it the longest silent ones of a part "
    "are told as they are then and forgotten, closed ones first; a later packet of theirs opens a new connection, as in the "
    "middle of one",
    "{count:connection was|connections were} no longer followed, the longest silent first, because more than about {limit} "
    "were open at once",
)  # fmt: skip
CROWD_CHECK = Limit(
    "crowd-check", "tcp", 1 << 15, "packets",
    "how often it is looked whether too many connections are open: at fixed frames, so that the report does not depend on "
    "how much of a capture is read at once",
)  # fmt: skip
HOLES = Limit(
    "holes", "tcp", 1 << 10, "holes",
    "of a direction that are remembered, so that late bytes are known as new; a thousand lost packets are not awaited any "
    "more. Beyond it the first one is forgotten: late bytes there would count as sent again",
    "{count:hole was|holes were} forgotten because one direction had more than {limit}",
)  # fmt: skip
COPIES = Limit(
    "copies", "tcp", 1 << 17, "packets",
    "a packet may be the second copy of one within 100 ms before it, or 10 s if it may have lain in a router's queue; this "
    "bounds how many that are, whatever their time stamps say: 100 ms of a link with 10 Gbit/s are 80,000 full packets",
)  # fmt: skip
REORDERED = Limit(
    "reordered", "tcp", 1 << 14, "packets",
    "held at the same time to put records in order that are up to 50 ms out of it, or 500 ms between interfaces, where a capture "
    "has such",
)  # fmt: skip
ICMP_ERRORS = Limit(
    "icmp-errors", "tcp", 100, "ICMP errors about a connection",
    "a router reports each try of a segment, and hosts give up after some 15: more are an attack, or copies",
    "{limit} are read; {count:later one was|later ones were} left out",
)  # fmt: skip
UNACKNOWLEDGED = Limit(
    "unacknowledged-segments", "tcp", 4_096, "segments of a direction",
    "kept to tell which of them an ACK answers: 6 MB of full segments, beyond common receive windows",
)  # fmt: skip
FIRST_COPIES = Limit(
    "first-copies", "tcp", 1 << 16, "packets",
    "bytes that come again are compared with those of so many packets before: what was lost is sent again within seconds",
)  # fmt: skip
COMPARED = Limit(
    "compared-copies", "tcp", 64, "first copies",
    "that one packet is compared with: a super-segment of 64 kB covers 45 full ones",
)  # fmt: skip

# http

HEAD = Limit(
    "head", "http", 256 * _KIB, "bytes",
    "common servers accept 8 to 64 KiB of request line and fields, and nothing sane sends 256",
    "{count:head was|heads were} longer than {limit} and not read",
)  # fmt: skip
CHUNK_LINE = Limit(
    "chunk-line", "http", 16 * _KIB, "bytes",
    "of a chunk-size line with its extensions, or of a trailer line: Apache httpd allows 8 KiB for either",
    "{count:line|lines} of chunked framing went beyond {limit}; what followed was not read",
)  # fmt: skip
AHEAD = Limit(
    "bytes-behind-a-hole", "http", 16 * _MIB, "bytes",
    "held until the missing ones come; then they are taken for lost. More than common receive windows allow",
    "{count:hole was|holes were} taken for lost because {limit} had come behind it",
)  # fmt: skip
BEHIND = Limit(
    "packets-behind-a-hole", "http", 1 << 13, "packets",
    "held likewise: as many full segments are 12 MB. More, sorted one by one, would cost more than their number",
    "{count:hole was|holes were} taken for lost because {limit} had come behind it",
)  # fmt: skip
TLS_HELLO = Limit(
    "tls-hello", "http", 16 * _KIB, "bytes",
    "of TLS records in which a hello must be whole: common ones have 200 to 2,000, with old session tickets some more",
)  # fmt: skip
PIPELINED = Limit(
    "waiting-requests", "http", 4_096, "requests",
    "that wait for their responses: browsers that pipelined sent a few dozen, benchmarks some hundred",
    "{count:connection|connections} had more than {limit} waiting for a response; nothing was read of it after that",
)  # fmt: skip
INTERIM = Limit(
    "interim-responses", "http", 1_000, "interim responses",
    "that are listed of an exchange: a server that says every second that it still works takes a quarter of an hour for so many",
    "{limit} are listed of an exchange; {count:more was|more were} left out",
)  # fmt: skip
TRAILER = Limit(
    "trailer", "http", 256 * _KIB, "bytes",
    "of the fields behind a chunked body: as of a head",
    "{count:trailer section was|trailer sections were} longer than {limit}; what followed was not read",
)  # fmt: skip
WAITING = Limit(
    "packets-that-wait", "http", 1 << 13, "packets of a direction",
    "that wait for the other direction: answers whose request may have been captured late, and what follows a request for "
    "another protocol. More are read as they are",
)  # fmt: skip
KEPT = Limit(
    "waiting-bytes", "http", 512 * _MIB, "bytes",
    "of all connections that wait for missing ones, for the other direction, or for the end of a head. Counted in 64 parts, by a "
    "hash of the addresses and ports, as open connections are; beyond it what has waited longest in a part is read as it is",
    "{count:connection was|connections were} read with gaps because {limit} waited for missing ones",
)  # fmt: skip
TEXT = Limit(
    "text", "http", 8 * _KIB, "bytes",
    "of a request target, or of a field that reports and rules compare, such as Host or Server: RFC 9112 section 3 asks for "
    "8,000 at least, and servers refuse more",
    "{count:head has|heads have} a target or a field longer than {limit}, of which no more was kept",
)  # fmt: skip
DECODERS = Limit(
    "decoders", "http", 256, "compressed event streams",
    "that are decoded at the same time to count their events: 50 kB each. Of more it is not counted how many come together",
    "the events of {count:a stream|streams} were not counted, because {limit} were decoded at that time",
)  # fmt: skip
REMEMBERED_HEADS = Limit(
    "remembered-heads", "http", 8_192, "parts of heads",
    "heads repeat: what was parsed before need not be parsed again. When so many are known, all are forgotten",
)  # fmt: skip

# rules and tables

COMPARED_TIME = Limit(
    "compared-time", "rules", _HOUR, "ns",
    "before the last packet, of which rules see the connections that look at many of them: what a pool or a server does shows "
    "within minutes, and of a capture of days memory must not hold more. Counted from the end, so that a capture that is still "
    "growing is judged as its file will be. They see a connection from its first packet on or not at all: one that is seen in "
    "part would be taken for another. Only rules about the capture itself also see those that began before and lasted",
    "rules that look across connections see the last {limit} of a capture: "
    "{count:connection that began before was|connections that began before were} not compared",
)  # fmt: skip
COMPARED_EXCHANGES = Limit(
    "compared-exchanges", "rules", 1_000_000, "exchanges",
    "the same where they are so many: those with the latest starts, and of connections what began no earlier",
    "rules that look across connections see the last {limit} of a capture: "
    "{count:connection that began before was|connections that began before were} not compared",
)  # fmt: skip
CANDIDATES = Limit(
    "candidates", "rules", 500_000, "candidates",
    "are weighed against each other, because one cause may explain many: 200 bytes of each at once. Of each rule as many, those "
    "that cost the most time first",
    "{limit} for findings of a capture are compared, of each rule as many, the longest delays first; {count:more was|more were} "
    "left out",
)  # fmt: skip
FINDINGS = Limit(
    "findings", "rules", 20_000, "findings",
    "become objects at 5 kB each, and nobody reads more: of each rule as many, those that cost the most time first",
    "{limit} of a capture are told, of each rule as many, the longest delays first; {count:more was|more were} left out",
)  # fmt: skip
UNJUDGED = Limit(
    "not-judged", "rules", 10_000, "exchanges and connections",
    "that did not end as they should and that no finding explains are listed, the worst reasons first; all are counted",
)  # fmt: skip
SUSPECTS = Limit(
    "suspects", "rules", 200_000, "exchanges, and as many connections",
    "of a live capture that may have ended badly are kept until it is over, 300 bytes each; later ones are "
    "not listed as not judged",
)  # fmt: skip
CANDIDATES_HELD = Limit(
    "candidates-held", "rules", 16_384, "candidates",
    "with their proofs wait in memory for the end of the capture; more are written to a temporary file: about 1 kB each",
)  # fmt: skip
SETTLED_CANDIDATES = Limit(
    "settled-candidates", "rules", 2_000, "candidates",
    "that a live capture has told are remembered of connections that go on: a later stall may begin before them, or have the "
    "same cause",
)  # fmt: skip
SUMMARIES_TOGETHER = Limit(
    "summaries-together", "rules", 200_000, "connections and exchanges",
    "up to which rules that look at all of them do so at once, which is quicker; beyond, one after the other",
)  # fmt: skip
LIVE_CANDIDATES_HELD = Limit(
    "live-candidates-held", "rules", 2_048, "candidates",
    "likewise of a live capture, which should take no more after a day than after five minutes",
)  # fmt: skip
ROWS_HELD = Limit(
    "rows-held", "report", 16_384, "finished rows of a table",
    "wait in memory before any are written to a temporary file: about 20 MB of the widest table",
)  # fmt: skip
BYTES_HELD = Limit(
    "bytes-held", "report", 32 * _MIB, "bytes",
    "of finished rows of a table likewise: some hold long targets",
)  # fmt: skip
FINISHED_AT_ONCE = Limit(
    "finished-at-once", "report", 16_384, "connections",
    "are finished together: their rows are made in Python, at 2 kB each",
)  # fmt: skip
HAR_BODY = Limit(
    "har-body", "report", 16 * _MIB, "bytes",
    "a longer body is left out of a HAR file, where a comment says so: what shows such files holds all of it in memory",
)  # fmt: skip
ANONYMIZED = Limit(
    "anonymized", "anonymizing", 32 * _MIB, "bytes",
    "of packets are made anonymous at once, more are refused in a line: they, and what takes their place, are held in memory "
    "several times, 20 bytes for each of theirs",
)  # fmt: skip
ANONYMIZED_STREAMS = Limit(
    "anonymized-streams", "anonymizing", 256 * _MIB, "bytes",
    "from the first to the last of all directions are put in order, with what is missing between them; the rest is replaced "
    "packet by packet, and if the diagnosis does not survive that, the capture is refused",
)  # fmt: skip
