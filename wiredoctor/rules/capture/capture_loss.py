"""Packets are missing from the capture.

What it means
    Somebody acknowledged data that is not in the capture: it arrived, but was not recorded. The capturing host was too slow,
    its buffer too small, or the packets took another way. Or the handshake of a connection is missing whose ports had been used
    by another connection before. Kind *dropped*: the program that captured counted packets that it
    could not take, and wrote the number into the capture.

Why it hurts
    What was said in the missing packets is unknown. Findings that rest on such a place have low confidence, and faults that
    lie in it are not found. While packets were dropped, anything that seems to be absent (a response, an ACK, a close) may
    only be missing from the capture: such findings have medium confidence at most.

How it is proved
    An acknowledgement number covers bytes that were never seen, on a connection of which both directions were
    captured, after its first packet. Never more bytes are counted than 1.25 GB per second of the time in which they can have
    passed. Ports used again: behind the end of a connection (the FINs of both sides, or an RST) the numbers of both directions
    are beyond what was open; or both jump, and one goes back by more than the window, or both go on by 1 MiB or more (the number
    of one of them by 65,538 or 65,539: Linux begins 65,537 behind the FIN of a connection in TIME_WAIT). No byte is missing
    there: each connection begins with a sequence number of its own (RFC 9293), and what lies between the two was never sent.
    Kind *dropped*: isb_ifdrop and isb_osdrop of Interface Statistics Blocks, the last of each interface.

What it is not
    A loss on the network: what was lost there is sent again. A capture of one direction only. The part of a connection from
    before the capture began, nor the probe (one old byte, or none) by which a connection that rested then may begin here. A
    difference between the packets that an interface received and those in the file: filters leave packets out, too.

What to do
    Capture with a larger buffer and a snap length that fits, and only what is needed.

References
    tcpdump(1), options -B and -s; pcapng, Interface Statistics Block.
"""

from __future__ import annotations

import polars as pl

from wiredoctor.findings import Reference, Rule, Threshold
from wiredoctor.rules.proof import EVIDENCE, of_the_capture, packet, told_once
from wiredoctor.rules.words import duration

_REMEDY = (
    "Capture again with a larger buffer and the snap length that the traffic needs (tcpdump -B 32768 -s 0; in immediate "
    "mode the default frame size leaves room for eight packets in a 2 MB ring), and with a filter that leaves out what is not "
    "needed."
)

RULE = Rule(
    severity="warning",
    title={
        None: "The capture lacks packets: {lack}",
        "dropped": "{dropped:,} of {dropped_of:,} packets ({share}) were dropped while the capture was made",
    },
    message={
        None: "{missing_bytes:,} bytes that were acknowledged by their receiver{reused} are not in the capture, in {places:,} "
        "{place_word}. Connections touched: {touched:,} of {connections:,}{part}. The network delivered these packets; whatever "
        "recorded the capture lost them. Nothing is concluded from what is missing.",
        "dropped": "The program that captured on {dropped_on} counted {dropped:,} packets that were dropped before it could take "
        "them{when}; this file has {packets:,} of the {captured:,} that it took. The network delivered the dropped ones all the "
        "same. What seems to be absent in that time may only be missing here, so findings that rest on it have medium "
        "confidence at most.",
    },
    remedy={None: _REMEDY, "dropped": _REMEDY},
    display_filter="tcp.analysis.ack_lost_segment || tcp.analysis.lost_segment",
    references=(
        Reference("tcpdump(1), -B and -s", "https://www.tcpdump.org/manpages/tcpdump.1.html"),
        Reference("pcapng, Interface Statistics Block", "https://datatracker.ietf.org/doc/draft-ietf-opsawg-pcapng/"),
    ),
    summary=True,
)

SHOWN = Threshold("5 places", "shown as evidence; the message has the totals")


def screen() -> dict[str, pl.Expr]:
    """Return per table an expression; one is true on at least one row if there is a candidate."""
    return {"connections": (_missing() > 0) | pl.col("reuse_frame").is_not_null(), "captures": pl.col("dropped") > 0}


def find(connections: pl.LazyFrame, captures: pl.LazyFrame) -> pl.LazyFrame:
    """A row with the counts where anything is missing, and one for each capture that counted dropped packets."""
    return pl.concat([_unseen(connections), _dropped(captures)], how="diagonal_relaxed")


def _unseen(connections: pl.LazyFrame) -> pl.LazyFrame:
    c = pl.col
    one_byte = pl.max_horizontal("client_unseen_bytes", "server_unseen_bytes") == 1
    # nothing tells a keep-alive probe from the ACK that it resembles, where it is the first packet of its side
    lost = (_missing() > 0) & ~(one_byte & ~c("handshake"))
    lost = lost & (c("client_packets") > 0) & (c("server_packets") > 0) & c("unseen_frame").is_not_null()
    reused = c("reuse_frame").is_not_null()
    hole = pl.format("connection {}: acknowledges bytes that the capture does not have", "connection")
    again = pl.format("connection {}: the ports of an earlier connection, used again; its handshake is missing", "connection")
    places = connections.with_columns(
        pl.coalesce("reuse_frame", "unseen_frame").alias("place_frame"),
        pl.coalesce("reuse_time", "unseen_time").alias("place_time"),
    )
    note = packet("place_frame", "place_time", pl.when(reused).then(again).otherwise(hole))
    told = told_once(
        places, lost | reused, note, "place_frame", "place_time", SHOWN.value,
        _missing().filter(lost).sum().alias("missing_bytes"),
        c("unseen_places").filter(lost).sum().alias("holes"),
        reused.sum().cast(pl.Int64).alias("handshakes"),
    ).with_columns((c("holes") + c("handshakes")).alias("places"))  # fmt: skip
    share = pl.format(" ({} %)", (100 * c("touched") / c("connections")).round(1))
    return told.with_columns(pl.when(c("touched") < c("connections")).then(share).otherwise(pl.lit("")).alias("part"), *_lack())


def _lack() -> list[pl.Expr]:
    """What is missing: `lack` for the title, `reused` for the text."""
    c = pl.col
    holes = pl.format("{} bytes were acknowledged that it does not have", _thousands("missing_bytes"))
    one = c("handshakes") == 1
    again = pl.when(one).then(pl.lit("a handshake")).otherwise(pl.format("{} handshakes", _thousands("handshakes")))
    whose = pl.when(one).then(pl.lit("the handshake of a connection")).otherwise(again + pl.lit(" of connections"))
    alone = again + pl.lit(" on ports that are used again")
    told = pl.format(", and {} on ports that an earlier one had used (no bytes are missing between their numbers),", whose)
    return [
        pl.when(c("holes") == 0).then(alone).when(c("handshakes") == 0).then(holes)
        .otherwise(holes + pl.lit(", and ") + alone).alias("lack"),
        pl.when(c("handshakes") == 0).then(pl.lit("")).otherwise(told).alias("reused"),
        _places(c("places")).alias("place_word"),
    ]  # fmt: skip


def _dropped(captures: pl.LazyFrame) -> pl.LazyFrame:
    c = pl.col
    span = pl.format(", between {} and {} after the first packet", duration(c("dropped_start")), duration(c("dropped_end")))
    known = (c("dropped_start") >= 0) & (c("dropped_end") > c("dropped_start"))
    return captures.filter(c("dropped") > 0).select(
        *(one for one in of_the_capture() if one.meta.output_name() != "kind"),
        pl.lit("dropped").alias("kind"),
        pl.lit(None, pl.Int64).alias("frame"),
        pl.coalesce("dropped_start", pl.lit(0)).alias("start"),
        c("dropped_end").alias("end"),
        "dropped", "dropped_on", "dropped_of", "packets",
        (c("dropped_of") - c("dropped")).alias("captured"),
        _percent(100 * c("dropped") / c("dropped_of")).alias("share"),
        pl.when(known).then(span).otherwise(pl.lit("")).alias("when"),
        pl.lit([], EVIDENCE).alias("evidence"),
    )  # fmt: skip


def _percent(share: pl.Expr) -> pl.Expr:
    """ "12.4 %", "less than 0.1 %"."""
    return pl.when(share < 0.1).then(pl.lit("less than 0.1 %")).otherwise(pl.format("{} %", share.round(1)))


def _missing() -> pl.Expr:
    return pl.col("client_unseen_bytes") + pl.col("server_unseen_bytes")


def _thousands(number: str) -> pl.Expr:
    """ "1,234"."""
    return pl.col(number).map_elements("{:,}".format, return_dtype=pl.String)


def _places(number: pl.Expr) -> pl.Expr:
    return pl.when(number == 1).then(pl.lit("place")).otherwise(pl.lit("places"))
