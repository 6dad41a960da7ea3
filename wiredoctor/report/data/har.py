"""Write exchanges as HAR 1.2 (HTTP Archive, softwareishard.com/blog/har-12-spec), for the network panels of browsers.

Every exchange with a captured request becomes an entry. Entries are built in batches and sorted in a spool, because there may be
a million of them. Fields whose names begin with an underscore are extensions of wiredoctor, as the format permits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from wiredoctor import limits
from wiredoctor.findings import CaptureSummary, Report, rfc3339
from wiredoctor.report.columns import Filtered, batches
from wiredoctor.report.data.har_entries import COLUMNS, Bytes, Entries, all_entries
from wiredoctor.report.data.json import Comma, ascii_text, finding, head
from wiredoctor.report.packets.message_bytes import ByteStore, Ranges
from wiredoctor.report.row_order import Ordered, Sink, Spool, in_memory
from wiredoctor.report.words import clean, count
from wiredoctor.tables import SECOND

if TYPE_CHECKING:
    from wiredoctor.report.formats import Options

BODIES = "Bodies are included as they were sent, with any secrets they contain."
_CAPTURE = 1 << 40
"""A factor that is larger than any connection id. It combines the index of a capture and a connection id into a sort key."""

_PARTS = ("request", "response")


def write_as(report: Report, out: Sink, options: Options) -> None:
    """Write the report as HAR."""
    if options.bodies and not options.quiet:
        options.note(f"HAR: {BODIES}")
    write(report, out, bodies=options.bodies, spool=options.spool or in_memory)


def write(report: Report, out: Sink, *, bodies: bool = False, spool: Spool = in_memory) -> None:
    """Write the complete archive. `bodies`: include message bodies."""
    entries = Ordered(spool)
    places = {name: place for place, name in enumerate(dict.fromkeys(c.file for c in report.captures))}
    stored = _store_messages(report, places, spool, bodies=bodies)
    try:
        made = all_entries(report, places, stored)
        for name, batch in _batches(report):
            _add(entries, made[name], batch, places[name])
    finally:
        stored.bytes.close()
    number = len(entries)
    out.write(f'{{"log": {{"version": "1.2",\n "creator": {ascii_text(head(report)["tool"])},\n "pages": ['.encode())
    out.write(",".join(f"\n  {ascii_text(_page(c, places[c.file]))}" for c in _once(report)).encode())
    out.write(b'],\n "entries": [')
    entries.write(Comma(out))
    out.write(f'],\n "comment": {ascii_text(_comment(report, number, bodies=bodies))},\n "_wiredoctor": '.encode())
    out.write(f"{ascii_text(_wiredoctor_fields(report))[:-1]}, ".encode() + b'"findings": [')
    out.write(",".join(f"\n  {ascii_text(finding(one))}" for one in report.findings).encode())
    out.write(b"]}\n}}\n")


def _once(report: Report) -> list[CaptureSummary]:
    """Return the captures that have timestamps. If several captures have the same file name, return only the last of them."""
    return [c for c in {c.file: c for c in report.captures}.values() if c.first_time is not None]


def _page(capture: CaptureSummary, place: int) -> dict[str, Any]:
    return {
        "startedDateTime": capture.first_time,
        "id": f"capture_{place}",
        "title": clean(capture.file),
        "pageTimings": {"onContentLoad": -1, "onLoad": -1},
    }


def _wiredoctor_fields(report: Report) -> dict[str, Any]:
    return {"secrets": report.secrets, "delay": report.delay, "limits": report.limits}


def _comment(report: Report, entries: int, *, bodies: bool) -> str:
    """Describe what the archive contains and what it omits."""
    said = ["Each page stands for a capture. The times of entries were measured at the capture point."]
    if left := report.exchange_count - entries:
        said.append(f"{count(left, 'exchange')} omitted because no request was captured.")
    kept = [c.file for c in report.captures if c.file in report.packets]
    if len(kept) < len(report.captures):
        said.append("Packets were not kept, so header fields and bodies are missing.")
    elif not report.secrets:
        said.append("Most values of header fields are masked (*).")
    said.append(BODIES if bodies else "Bodies are left out (--bodies includes them).")
    if report.secrets:
        said.append("Nothing is masked: this file contains secrets (--show-secrets).")
    return " ".join(said)


def _batches(report: Report) -> Iterator[tuple[str, pl.DataFrame]]:
    """Yield pairs: the name of a capture, and a batch of its exchanges whose request was captured. The order is the same in every
    call.
    """
    for batch in batches(report.scan_exchanges, COLUMNS):
        for (name,), rows in batch.filter("has_request").partition_by("capture", maintain_order=True, as_dict=True).items():
            yield name, rows


def _store_messages(report: Report, places: Mapping[str, int], spool: Spool, *, bodies: bool) -> Bytes:
    """Read the captures again; return the header sections of all exchanges that the HAR file contains and, if `bodies` is
    true, their bodies.
    """
    ranges = Ranges()
    connections: dict[str, set[int]] = {}
    for name, batch in _batches(report):
        if isinstance(report.scan_exchanges, Filtered):
            connections.setdefault(name, set()).update(batch.get_column("connection").unique().to_list())
        for part in _PARTS:
            _add_ranges(ranges, places[name], batch, part, bodies=bodies)
    stored = ByteStore(ranges, spool)
    for name, access in report.packets.items():
        stored.fill(places[name], access, connections.get(name))
    return Bytes(stored, frozenset(report.packets), bodies=bodies)


def _add_ranges(ranges: Ranges, capture: int, batch: pl.DataFrame, part: str, *, bodies: bool) -> None:
    """Add the ranges of one message per row to `ranges`: first all header sections and then, with `bodies`, all bodies.

    `part`: "request" or "response". A body that is too long gets an empty range.
    """
    numbers = batch.select(
        stream=pl.col("connection") * 2 + (pl.col(f"{part}_message") & 1).fill_null(0),
        start=pl.col(f"{part}_offset").fill_null(0),
        head=pl.when(pl.col(f"{part}_offset").is_not_null()).then(pl.col(f"{part}_head_bytes")).fill_null(0),
        end=pl.col(f"{part}_end_offset"),
    ).with_columns(body=(pl.col("end") - pl.col("start") - pl.col("head")).fill_null(0).clip(0))
    stream, start, head, body = (numbers.get_column(name).to_numpy() for name in ("stream", "start", "head", "body"))
    ranges.add(capture, stream, start, head)
    if bodies:
        ranges.add(capture, stream, start + head, np.where(body <= limits.HAR_BODY.value, body, 0))


def _add(entries: Ordered, made: Entries, batch: pl.DataFrame, place: int) -> None:
    times: list[int] = []
    text = bytearray()
    for started, entry in made.entries(batch):
        times.append(started)
        text += ascii_text({"startedDateTime": rfc3339(started), **entry}).encode() + b"\n"
    # ns since 1970 fit in 64 bits only until 2262; impossible times sort first or last
    seconds = np.array([min(max(time // SECOND, -(1 << 62)), 1 << 62) for time in times], np.int64)
    rest = np.array([time % SECOND for time in times], np.int64)
    connection, exchange = (batch.get_column(name).cast(pl.Int64).to_numpy() for name in ("connection", "exchange"))
    entries.add((seconds, rest, place * _CAPTURE + connection, exchange), bytes(text))
