"""The capture file cannot be read to its end.

What it means
    The file ends inside a packet, a block of it is not readable, or its end is all zeros. It was copied while it was being
    written, the disk was full, the power failed, or the capturing program was killed. Or a compressed capture needs more room
    than there is for temporary files.

Why it hurts
    What comes behind the damage is not analysed: it may hold the fault that is looked for.

How it is proved
    The lengths that the file itself announces do not fit what is in it.

What it is not
    A capture that was simply stopped: such a file ends between two packets.

What to do
    Copy the file again, or capture again and stop the capturing program with an interrupt (Ctrl-C).

References
    The pcap and pcapng file formats.
"""

from __future__ import annotations

import polars as pl

from wiredoctor.findings import Reference, Rule
from wiredoctor.rules.proof import evidence, of_the_capture

RULE = Rule(
    severity="warning",
    title="The capture file could not be read {how_far}",
    message="{damage}. Packets analysed before that: {packets:,}{unknown}.",
    remedy="{cure}",
    display_filter="{those}",
    references=(
        Reference("pcap file format", "https://datatracker.ietf.org/doc/draft-ietf-opsawg-pcap/"),
        Reference("pcapng file format", "https://datatracker.ietf.org/doc/draft-ietf-opsawg-pcapng/"),
    ),
    summary=True,
)


_COPY = (
    "Copy the file again, or let capinfos and editcap (Wireshark) save what can be saved. When capturing again, end the "
    "capturing program with an interrupt and see that the disk has room."
)
_CONVERT = "Convert the file to a link type that is known (Ethernet, raw IP), or capture on an interface that has one."
_ROOM = (
    "Allow more with --max-spool, or name a folder with more room in the environment variable TMPDIR; or decompress the "
    "capture into a file, which is read without a copy."
)


def find(captures: pl.LazyFrame) -> pl.LazyFrame:
    """A row per capture file that could not be read to its end."""
    read = pl.when(pl.col("last_frame") > 0).then("last_frame")
    return (
        captures.filter(pl.col("damage") != "")
        .with_columns(read.alias("last_read"))
        .select(
            *of_the_capture(),
            pl.col("last_frame").alias("frame"),
            pl.col("last_time").alias("start"),
            pl.col("last_time").alias("end"),
            "packets",
            read.is_not_null().replace_strict({True: "; what may come after them is unknown", False: ""}).alias("unknown"),
            pl.format("frame.number <= {}", read).fill_null("").alias("those"),
            pl.when(pl.col("packets") > 0).then(pl.lit("to its end")).otherwise(pl.lit("at all")).alias("how_far"),
            pl.when(pl.col("damage").str.contains("link type", literal=True))
            .then(pl.lit(_CONVERT))
            .when(pl.col("damage").str.contains("were spooled", literal=True))
            .then(pl.lit(_ROOM))
            .otherwise(pl.lit(_COPY))
            .alias("cure"),
            _sentence(pl.col("damage").str.strip_chars_end(". ")).alias("damage"),
            evidence(("last_read", "last_time", "the last packet that could be read")),
        )
    )


def _sentence(text: pl.Expr) -> pl.Expr:
    """Capitalize the first word unless it is the name of a file."""
    capitalized = text.str.head(1).str.to_uppercase() + text.str.slice(1)
    return pl.when(text.str.contains("^[a-z]+ ")).then(capitalized).otherwise(text)
