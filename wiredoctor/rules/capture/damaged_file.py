"""The capture file cannot be read to its end.

What it means
    The file ends inside a packet, a block of it is unreadable, or its end is all zeros. It may have been copied while it was
    being written, the disk may have been full, or the capturing program was killed. Or a compressed capture needs more space for
    temporary files than is available.

Why it hurts
    Packets after the damage are not analyzed. They may contain the fault that you are looking for.

How it is proved
    The lengths that the file announces do not match its contents.

What it is not
    A capture that was simply stopped ends between two packets.

What to do
    Copy the file again, or capture again and stop the capturing program with an interrupt (Ctrl-C). If a compressed capture
    needs more space, provide it (`--max-spool`, or a larger disk for temporary files).

References
    The pcap and pcapng file formats.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import polars as pl

from wiredoctor.findings import Reference, Rule
from wiredoctor.rules.shared.evidence import capture_columns
from wiredoctor.rules.shared.words import packets
from wiredoctor.tables import PROTOCOLS

RULE = Rule(
    symptom="nothing (the rule shows what was not analyzed)",
    severity="warning",
    title="The capture file could not be read {how_far}",
    message="{damage}. Packets analyzed before that: {packets:,}{unknown}.",
    remedy="{cure}",
    display_filter="{those}",
    references=(
        Reference("pcap file format", "https://datatracker.ietf.org/doc/draft-ietf-opsawg-pcap/"),
        Reference("pcapng file format", "https://datatracker.ietf.org/doc/draft-ietf-opsawg-pcapng/"),
    ),
    summary=True,
    protocols=PROTOCOLS,
)


_COPY = (
    "Copy the file again, or let editcap (Wireshark) save the readable packets. When capturing again, stop the "
    "capturing program with an interrupt, and check that the disk has space."
)
_ROOM = (
    "Allow more space with --max-spool, or name a folder with more space in the environment variable TMPDIR. Or decompress the "
    "capture into a file: wiredoctor reads uncompressed files without a temporary copy."
)


def may_match() -> pl.Expr:
    """Return a cheap condition: if no row of a batch meets it, the batch has no candidate findings."""
    return pl.col("damage") != ""


class Facts(NamedTuple):
    """What is known of a damaged file. `frame`: its last readable packet, or 0. `start`: the time of that packet in ns."""

    frame: int
    start: int
    packets: int
    damage: str


def find(captures: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row per capture file that could not be read to its end."""
    c = pl.col
    last = (c("last_frame").alias("frame"), c("last_time").alias("start"), c("last_time").alias("end"))
    return captures.filter(may_match()).select(*capture_columns(), *last, "packets", "damage")


def words(x: Facts) -> dict[str, Any]:
    """Return the words about the damage, and the last readable packet."""
    return {
        "damage": _sentence(x.damage.rstrip(". ")),
        "how_far": "to its end" if x.packets else "at all",
        "unknown": "; later packets are unknown" if x.frame else "",
        "those": f"frame.number <= {x.frame}" if x.frame else "",
        "cure": _ROOM if "were spooled" in x.damage else _COPY,
        "evidence": packets((x.frame or None, x.start, "the last readable packet")),
    }


def _sentence(text: str) -> str:
    """Capitalize the first word of `text` unless the word is the name of a file."""
    return text[:1].upper() + text[1:] if re.match("[a-z]+ ", text) else text
