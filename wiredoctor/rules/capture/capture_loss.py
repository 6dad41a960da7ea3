"""Packets are missing from the capture.

What it means
    A host acknowledged data that is not in the capture, so the data arrived but was not captured. The capturing host was too
    slow, its buffer was too small, or the packets took another path. The rule also reports a connection without a captured
    handshake if an earlier connection had used the same ports. Kind dropped: the capturing program counted packets that it
    could not process, and wrote the number into the capture. Kind overwritten: wiredoctor live was slower than the traffic,
    so its ring overwrote packets before they could be analyzed.

Why it hurts
    The contents of the missing packets are unknown. Findings that depend on such a gap have low confidence, and faults
    inside it are not found. If packets were dropped while a connection was open, a response, an ACK or a close that
    seems to be absent may just not have been captured. Findings that something is absent then have medium confidence at
    most. If packets were overwritten, this applies to all findings with packets before and after the overwritten ones.

How it is proved
    An acknowledgment number covers bytes that were never captured. These bytes come after the first captured packet of the
    connection, and both directions are in the capture. No more bytes are missing than a link of 10 Gbit/s (1.25 GB per second)
    could have carried since the last captured data.

    The handshake of a connection on reused ports is missing: after the end of a connection (the FINs of both sides, or an RST),
    the sequence numbers of both directions lie outside the receive windows that were announced last. If no such end was
    captured, the sequence numbers of both directions jump: in one direction back by more than the window, or in both directions
    forward by 1 MiB or more. In one of the two directions a jump forward by 65,538 or 65,539 is enough: when Linux reuses the
    ports of a connection in TIME_WAIT, it adds 65,537 to the sequence number after the old FIN. The jump itself does not count
    as missing bytes, because each connection has its own initial sequence number (RFC 9293).

    Kind dropped: the last Interface Statistics Block of each interface counts the dropped packets (isb_ifdrop, isb_osdrop).
    Kind overwritten: a file of the ring was removed while the analysis had not read it.

What it is not
    A segment that was lost on the network is retransmitted. If the capture has only one direction, the rule one-sided reports
    that. Bytes that were sent before the capture began do not count. Nor does the old byte of a keep-alive probe that is the
    first captured packet of an idle connection, or the ACK of an earlier connection on the same ports that answers a SYN (a
    challenge ACK, RFC 5961 section 4). An interface may count more received packets than the file contains, because filters
    leave packets out. This difference is not reported.
    If the capture has packets of IPComp (RFC 3173), which are not read, and at least as many as there are gaps, these packets may
    contain the bytes. Nothing is reported then.
    conflicting-overlap reports bytes that were acknowledged although their host had not sent them (kind never-sent).

What to do
    Use a larger capture buffer and a sufficient snap length, and capture only the packets that you need.

References
    tcpdump(1), options -B and -s; pcapng, Interface Statistics Block.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import polars as pl

from wiredoctor.findings import Reference, Rule, Threshold
from wiredoctor.rules.shared.evidence import capture_columns, one_capture_candidate
from wiredoctor.rules.shared.words import packets
from wiredoctor.tables import PROTOCOLS
from wiredoctor.text.durations import duration_text

c = pl.col

_REMEDY = (
    "Capture again with a larger buffer (tcpdump -B 32768) and a filter for the packets that you need. In immediate mode, each "
    "packet takes as much of tcpdump's buffer as the snap length allows. By default only eight packets fit, so in that mode set "
    "a shorter snap length (-s 65535, or less)."
)

_RING = (
    "Capture only the packets that you need (--filter), or choose a larger --ring. Or keep all packets (--write) and run "
    "wiredoctor analyze on them later."
)

RULE = Rule(
    symptom="nothing (the packets arrived but were not captured)",
    severity="warning",
    title={
        None: "The capture is missing {lack}",
        "dropped": "{dropped:,} of {dropped_of:,} packets ({share}) were dropped while the capture was made",
        "overwritten": "{overwritten:,} of {dropped_of:,} packets ({share}) were overwritten before they could be analyzed",
    },
    message={
        None: "{what_lacks} not in the capture ({places:,} {place_word}, {missing_bytes:,} bytes). Connections affected: "
        "{touched:,} of {connections:,}{part}.{delivered} No conclusion is drawn from the missing data.",
        "dropped": "The program that captured on {dropped_on} counted {dropped:,} packets that were dropped before it could "
        "process them{when}. This file has {packets:,} of the {captured:,} packets that the program processed. The dropped "
        "packets were lost only from the capture, not on the network. While packets were dropped, a packet that seems to be "
        "absent may have been sent nevertheless. Findings that depend on its absence have medium confidence at most.",
        "overwritten": "The analysis was slower than the traffic. The ring overwrote {overwritten:,} packets "
        "({overwritten_bytes:,} bytes) before they could be analyzed{when}. Connections that were open at that time have gaps. "
        "Findings with packets before and after the overwritten ones have medium confidence at most.",
    },
    remedy={None: _REMEDY, "dropped": _REMEDY, "overwritten": _RING},
    display_filter="tcp.analysis.ack_lost_segment || tcp.analysis.lost_segment",
    references=(
        Reference("tcpdump(1), -B and -s", "https://www.tcpdump.org/manpages/tcpdump.1.html"),
        Reference("pcapng, Interface Statistics Block", "https://datatracker.ietf.org/doc/draft-ietf-opsawg-pcapng/"),
    ),
    summary=True,
    protocols=PROTOCOLS,
)

SHOWN = Threshold("5 places", "the maximum number of gaps and missing handshakes shown as evidence; the message has the totals")


def may_match() -> dict[str, pl.Expr]:
    """Return a cheap condition for each table.

    If no row of a batch meets the condition for its table, the batch has no candidate findings.
    """
    dropped = (pl.col("dropped") > 0) | (pl.col("overwritten_bytes") > 0)
    return {"connections": (_missing() > 0) | pl.col("reuse_frame").is_not_null(), "captures": dropped}


class Facts(NamedTuple):
    """What is known of missing data, of dropped packets (kind dropped), or of packets that a ring overwrote (kind overwritten).

    The facts of the other kinds are None. Times are in ns.
    """

    kind: str | None
    missing_bytes: int
    holes: int
    handshakes: int
    touched: int
    connections: int
    shown: list[dict[str, Any]]
    dropped: int
    dropped_of: int
    dropped_start: int | None
    dropped_end: int | None
    overwritten: int


def find(connections: pl.LazyFrame, captures: pl.LazyFrame) -> pl.LazyFrame:
    """Return one row with the number of missing bytes and handshakes, and one row for each capture with dropped packets and with
    overwritten packets.

    The first row is omitted if nothing is missing.
    """
    found = [_not_compressed(_unseen(connections), captures), _dropped_packets(captures), _overwritten_packets(captures)]
    return pl.concat(found, how="diagonal_relaxed")


def _unseen(connections: pl.LazyFrame) -> pl.LazyFrame:
    one_byte = pl.max_horizontal("client_unseen_bytes", "server_unseen_bytes") == 1
    # a keep-alive probe without payload looks like a plain ACK, so the peer seems to acknowledge a byte that was not captured
    lost = (_missing() > 0) & ~(one_byte & ~c("handshake"))
    lost = lost & (c("client_packets") > 0) & (c("server_packets") > 0) & c("unseen_frame").is_not_null()
    reused = c("reuse_frame").is_not_null()
    places = connections.with_columns(
        pl.coalesce("reuse_frame", "unseen_frame").alias("place_frame"),
        pl.coalesce("reuse_time", "unseen_time").alias("place_time"),
    )
    return one_capture_candidate(
        places, lost | reused, ["reuse_frame"], "place_frame", "place_time", SHOWN.value,
        _missing().filter(lost).sum().alias("missing_bytes"),
        c("acked_unseen_count").filter(lost).sum().alias("holes"),
        reused.sum().cast(pl.Int64).alias("handshakes"),
    )  # fmt: skip


def _not_compressed(unseen: pl.LazyFrame, captures: pl.LazyFrame) -> pl.LazyFrame:
    """Drop the row about missing bytes if compressed packets (IPComp) may contain them: these were captured, but are not read."""
    compressed = captures.select(c("compressed").sum())
    return unseen.join(compressed, how="cross").filter(c("holes") + c("handshakes") > c("compressed")).drop("compressed")


def _dropped_packets(captures: pl.LazyFrame) -> pl.LazyFrame:
    dropped = captures.with_columns(c("dropped") - c("overwritten")).filter(c("dropped") > 0)
    return dropped.select(*_of_capture("dropped"), "dropped", "dropped_on", "packets")


def _overwritten_packets(captures: pl.LazyFrame) -> pl.LazyFrame:
    overwritten = captures.filter(c("overwritten_bytes") > 0)
    times = c("overwritten_start").alias("dropped_start"), c("overwritten_end").alias("dropped_end")
    return overwritten.with_columns(times).select(*_of_capture("overwritten"), "overwritten", "overwritten_bytes")


def _of_capture(kind: str) -> list[pl.Expr]:
    return [
        *(one for one in capture_columns() if one.meta.output_name() != "kind"),
        pl.lit(kind).alias("kind"),
        pl.lit(None, pl.Int64).alias("frame"),
        pl.coalesce("dropped_start", pl.lit(0)).alias("start"),
        c("dropped_end").alias("end"),
        *(c(name) for name in ("dropped_of", "dropped_start", "dropped_end")),
    ]


def _missing() -> pl.Expr:
    return pl.col("client_unseen_bytes") + pl.col("server_unseen_bytes")


def words(x: Facts) -> dict[str, Any]:
    """Return the words about missing data, or about dropped or overwritten packets."""
    if x.kind is None:
        return _words_of_missing(x)
    if x.kind == "overwritten":
        return _words_of_loss(x, x.overwritten)
    return {"captured": x.dropped_of - x.dropped, **_words_of_loss(x, x.dropped)}


def _words_of_missing(x: Facts) -> dict[str, Any]:
    """Return the words about missing data: `lack` for the title, the others for the message."""
    places = x.holes + x.handshakes
    notes = ((_HOLE if one["reuse_frame"] is None else _REUSED).format(**one) for one in x.shown)
    return {
        "places": places,
        "place_word": "place" if places == 1 else "places",
        "part": f" ({_percent(x.touched, x.connections)})" if x.touched < x.connections else "",
        "delivered": " The network delivered these bytes, but the capture lost them." if x.holes else "",
        **_lack(x),
        "evidence": packets(*((one["frame"], one["time"], note) for one, note in zip(x.shown, notes, strict=True))),
    }


_HOLE = "connection {connection}: an ACK for bytes that are not in the capture"
_REUSED = "connection {connection}: it uses the ports of an earlier connection, and its handshake is missing"


def _lack(x: Facts) -> dict[str, str]:
    several, one = f"{x.handshakes:,} handshakes", x.handshakes == 1
    again = f"{'a handshake' if one else several} on reused ports"
    if not x.holes:
        alone = "The handshake of a connection on reused ports is"
        return {"lack": again, "what_lacks": alone if one else f"{several} of connections on reused ports are"}
    holes, acknowledged = f"{x.missing_bytes:,} acknowledged bytes", "Bytes that their receiver acknowledged"
    if not x.handshakes:
        return {"lack": holes, "what_lacks": f"{acknowledged} are"}
    both = "the handshake of a connection" if one else f"{several} of connections"
    return {"lack": f"{holes}, and {again}", "what_lacks": f"{acknowledged}, and {both} on reused ports, are"}


def _words_of_loss(x: Facts, packets: int) -> dict[str, Any]:
    start, end, when = x.dropped_start, x.dropped_end, ""
    if start is not None and end is not None and 0 <= start < end:
        when = f", between {duration_text(start)} and {duration_text(end)} after the first packet"
    share = "less than 0.1 %" if 1000 * packets < x.dropped_of else _percent(packets, x.dropped_of)
    return {"share": share, "when": when, "evidence": []}


def _percent(part: int, whole: int) -> str:
    """Return a percentage with one decimal: "12.4 %"."""
    return f"{round(1000 * part / whole) / 10} %"
