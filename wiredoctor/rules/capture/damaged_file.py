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

import polars as pl

from wiredoctor.findings import Reference, Rule
from wiredoctor.rules.shared.evidence import capture_columns, evidence

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
)


_COPY = (
    "Copy the file again, or let editcap (Wireshark) save the readable packets. When capturing again, stop the "
    "capturing program with an interrupt, and check that the disk has space."
)
_CONVERT = "Convert the file to a known link type (Ethernet, raw IP), or capture on an interface that has one."
_ROOM = (
    "Allow more space with --max-spool, or name a folder with more space in the environment variable TMPDIR. Or decompress the "
    "capture into a file: wiredoctor reads uncompressed files without a temporary copy."
)


def screen() -> pl.Expr:
    """Return a cheap condition: if no row of a batch meets it, the batch has no candidate findings."""
    return pl.col("damage") != ""


def find(captures: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row per capture file that could not be read to its end."""
    read = pl.when(pl.col("last_frame") > 0).then("last_frame")
    return (
        captures.filter(screen())
        .with_columns(read.alias("last_read"))
        .select(
            *capture_columns(),
            pl.col("last_frame").alias("frame"),
            pl.col("last_time").alias("start"),
            pl.col("last_time").alias("end"),
            "packets",
            read.is_not_null().replace_strict({True: "; later packets are unknown", False: ""}).alias("unknown"),
            pl.format("frame.number <= {}", read).fill_null("").alias("those"),
            pl.when(pl.col("packets") > 0).then(pl.lit("to its end")).otherwise(pl.lit("at all")).alias("how_far"),
            pl.when(pl.col("damage").str.contains("link type", literal=True))
            .then(pl.lit(_CONVERT))
            .when(pl.col("damage").str.contains("were spooled", literal=True))
            .then(pl.lit(_ROOM))
            .otherwise(pl.lit(_COPY))
            .alias("cure"),
            _sentence(pl.col("damage").str.strip_chars_end(". ")).alias("damage"),
            evidence(("last_read", "last_time", "the last readable packet")),
        )
    )


def _sentence(text: pl.Expr) -> pl.Expr:
    """Capitalize the first word of `text` unless the word is the name of a file."""
    capitalized = text.str.head(1).str.to_uppercase() + text.str.slice(1)
    return pl.when(text.str.contains("^[a-z]+ ")).then(capitalized).otherwise(text)
