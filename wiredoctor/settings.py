"""The settings of an analysis in one value, built by the commands, `live`, the MCP server and `wiredoctor.analyze`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

BATCH_PACKETS = 200_000
"""The number of packets of a batch. After each batch, rules judge the rows that the core has written."""


class Settings(NamedTuple):
    """The settings of an analysis. They contain only text and numbers, so they can be sent to another process."""

    select: Sequence[str] = ()
    """The names of rules or families to run; all if empty."""
    ignore: Sequence[str] = ()
    """The names of rules or families to exclude."""
    thresholds: Mapping[str, Mapping[str, str | int]] = {}
    """The configured thresholds by rule and name: {"nagle-delayed-ack": {"min-ack-delay": "20 ms"}}."""
    merge: bool = False
    """True if all files are read as one capture, with their packets in time order."""
    keep: bool = False
    """True if captures stay open while the report exists, so they can be read again."""
    show_secrets: bool = False
    """True if targets, names and payload are shown as sent."""
    max_spool: int | None = None
    """The maximum number of bytes for unpacked captures and standard input.

    None means 2 GB or half of the free space, whichever is less.
    """
    jobs: int = 1
    """The number of processes for a large first capture; 0 for one per processor, at most 8.

    Only a program that has not used Polars yet may request more than 1.
    """
    batch_packets: int = BATCH_PACKETS
    """The number of packets analyzed before rules judge the rows. It limits the memory and changes no result."""
