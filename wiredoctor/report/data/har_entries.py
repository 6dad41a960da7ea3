"""Build the entries of a HAR file from rows of exchanges: connection, times, and messages (from har_messages.py)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import KW_ONLY, dataclass

import polars as pl

from wiredoctor.findings import Finding, Report
from wiredoctor.report.data.har_heads import fields
from wiredoctor.report.data.har_messages import Json, Message, Row, body_of, request, response
from wiredoctor.report.packets.message_bytes import ByteStore
from wiredoctor.tables import BOOL, I64, TEXT
from wiredoctor.text.time_of_day import nanoseconds

_OF_BOTH = (
    *("message", "frame", "last_frame", "start", "end", "head_bytes", "body_bytes", "framing", "end_reason", "version"),
    *("content_type", "content_encoding", "offset", "end_offset"),
)
COLUMNS = [
    *("capture", "connection", "exchange", "has_request", "has_response"),
    *(f"{part}_{name}" for part in ("request", "response") for name in _OF_BOTH),
    *("request_method", "request_target", "request_host", "response_status", "response_reason", "interim", "interim_times"),
]
"""Columns of tables.EXCHANGES that an entry needs."""

_OF_CONNECTIONS = ["capture", "connection", "server", "handshake", "syn_time", "answered", "rtt_client"]
_CONNECTION = {"connection": I64, "server": TEXT, "handshake": BOOL, "syn_time": I64, "answered": I64, "rtt_client": I64}

_KINDS = {
    "text/html": "document", "text/css": "stylesheet", "image": "image", "font": "font", "text/javascript": "script",
    "application/javascript": "script", "text/event-stream": "eventsource",
}  # fmt: skip
"""Chromium's resource type (`_resourceType`) by media type, or by the part of the media type before the slash.

Without this type, Chromium guesses from the order of requests.
"""

PRECONNECTED = 1_000_000_000
"""The maximum time in ns from the opening of a connection to the first request, if the connection was opened for this request.

Browsers also open connections in advance, which may be idle for longer.
"""


class Bytes:
    """The header sections and bodies of all entries.

    They are read batch by batch, in the order in which they were stored. `kept`: the captures that can be read again. `read`: the
    index in `bytes` of the first header section of the current batch.
    """

    def __init__(self, stored: ByteStore, kept: Collection[str], *, bodies: bool) -> None:
        self.bytes, self.kept, self.bodies, self.read = stored, kept, bodies, 0

    def place(self, rows: int, row: int, part: int) -> int:
        """Return the index of a message's header section in `bytes`; the index of its body is larger by `rows`.

        `rows`: the number of rows in the batch. `row`: the index of the row. `part`: 0 for the request, 1 for the response.
        """
        return self.read + part * rows * (1 + self.bodies) + row

    def next(self, rows: int) -> None:
        """Advance past a batch of `rows` rows."""
        self.read += 2 * rows * (1 + self.bodies)


def all_entries(report: Report, places: Mapping[str, int], stored: Bytes) -> dict[str, Entries]:
    """Return the builder of entries for each capture, by name of the capture. `places`: the index of each capture."""
    answered = pl.coalesce("newest_answer_time", "first_answer_time").alias("answered")
    columns = [answered if name == "answered" else pl.col(name) for name in _OF_CONNECTIONS]
    rows = report.scan_connections().select(columns).collect()
    opened = {str(name): part for (name,), part in rows.partition_by("capture", as_dict=True, include_key=False).items()}
    found: dict[str, dict[tuple[int, int], list[Finding]]] = {}
    for one in report.findings:
        if one.connection is not None and one.exchange is not None:
            found.setdefault(one.capture, {}).setdefault((one.connection, one.exchange), []).append(one)
    prefixes = {name: f"{place}-" if len(places) > 1 else "" for name, place in places.items()}
    firsts = {capture.file: nanoseconds(capture.first_time) or 0 for capture in report.captures}
    return {
        name: Entries(
            name, f"capture_{place}", prefixes[name], firsts[name], opened.get(name), found.get(name, {}), stored,
            secrets=report.secrets,
        )
        for name, place in places.items()
    }  # fmt: skip


@dataclass
class Entries:
    """Builds the entries of a capture.

    `capture`: the name of the capture. `page`: the id of the HAR page that stands for the capture. `prefix`: the prefix of the
    connection ids. `first`: the start of the capture (ns since 1970). `findings`: the findings about the capture, by connection
    and exchange.
    """

    capture: str
    page: str
    prefix: str
    first: int
    connections: pl.DataFrame | None
    findings: Mapping[tuple[int, int], list[Finding]]
    stored: Bytes
    _: KW_ONLY
    secrets: bool

    def entries(self, batch: pl.DataFrame) -> Iterator[tuple[int, Json]]:
        """Yield the start of each entry (ns since 1970) and its content."""
        known = pl.DataFrame(schema=_CONNECTION) if self.connections is None else self.connections
        rows = batch.join(known, on="connection", how="left", maintain_order="left")
        for number, row in enumerate(rows.iter_rows(named=True)):
            yield self._entry(row, *(self._message(batch.height, number, row, part) for part in ("request", "response")))
        self.stored.next(batch.height)

    def _message(self, rows: int, number: int, row: Row, part: str) -> Message:
        stored = self.stored
        if self.capture not in stored.kept or row[f"{part}_offset"] is None:
            return Message(None, None)
        place = stored.place(rows, number, part == "response")
        head = stored.bytes.get(place)
        headers = None if head is None else fields(head, secrets=self.secrets)
        return Message(headers, body_of(stored.bytes, place + rows, row, part) if stored.bodies else None)

    def _entry(self, row: Row, asked: Message, answered: Message) -> tuple[int, Json]:
        started, timings = _timings(row)
        parts = [asked.body.comment] if asked.body and asked.body.comment else []
        entry: Json = {
            "pageref": self.page,
            "time": _milliseconds(sum(max(0, value) for value in timings.values())),
            "request": request(row, asked),
            "response": response(row, answered, self.first, secrets=self.secrets),
            "cache": {},
            "timings": {name: value if value == -1 else _milliseconds(value) for name, value in timings.items()},
            "connection": f"{self.prefix}{row['connection']}",
            "_resourceType": _kind(row["response_content_type"]),
            "_wiredoctor": self._wiredoctor_fields(row),
        }
        if address := (row["server"] or "").rpartition(":")[0].strip("[]"):
            entry["serverIPAddress"] = address
        if parts:
            entry["comment"] = f"body of the request: {parts[0]}"
        return self.first + started, entry

    def _wiredoctor_fields(self, row: Row) -> Json:
        found = self.findings.get((row["connection"], row["exchange"]), [])
        return {
            "capture": self.capture,
            "connection": row["connection"],
            "exchange": row["exchange"],
            "request_frames": [row["request_frame"], row["request_last_frame"]],
            "response_frames": [row["response_frame"], row["response_last_frame"]] if row["has_response"] else None,
            "findings": [
                {"rule": f.rule, "severity": f.severity, "title": f.title, "delay": f.delay, "fingerprint": f.fingerprint}
                for f in found
            ],
        }


def _timings(row: Row) -> tuple[int, dict[str, int]]:
    """Return the start of an entry (ns since the capture's first packet), and the length of each phase in ns.

    The length is -1 for phases that do not apply.
    """
    start = row["request_start"] or 0
    end = start if row["request_end"] is None else row["request_end"]
    first, last = end, end
    if row["has_response"] and row["response_start"] is not None:
        first = max(end, row["response_start"])
        last = max(first, first if row["response_end"] is None else row["response_end"])
    blocked, connect = _connecting(row, start)
    phases = {"blocked": blocked, "dns": -1, "connect": connect, "ssl": -1}
    # a clock that was set back during the request shortens that phase only
    phases |= {"send": max(0, end - start), "wait": first - end, "receive": last - first}
    return start - max(0, blocked) - max(0, connect), phases


def _connecting(row: Row, start: int) -> tuple[int, int]:
    """Return two times in ns: how long a new connection was idle before its first request, and how long opening it took.

    Both values are -1 unless the exchange is the first one on a connection with a captured handshake. The idle time is also -1 if
    it exceeds PRECONNECTED. Opening a connection lasts from the first SYN to the last SYN-ACK, plus the round trip between
    capture point and client.
    """
    if row["exchange"] != 0 or not row["handshake"] or row["syn_time"] is None or row["answered"] is None:
        return -1, -1
    connect = max(0, min(row["answered"] - row["syn_time"] + (row["rtt_client"] or 0), start - row["syn_time"]))
    idle = start - row["syn_time"] - connect
    return (idle if 0 <= idle <= PRECONNECTED else -1), connect


def _kind(media_type: str) -> str:
    return _KINDS.get(media_type) or _KINDS.get(media_type.partition("/")[0], "fetch")


def _milliseconds(nanoseconds: int) -> float:
    return nanoseconds / 1_000_000
