"""Feeds TCP and HTTP of the core with packets that the NumPy stages decoded, and compares the rows of both."""

from __future__ import annotations

# pyright: reportPrivateUsage=false
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tests.core import tcp_feed
from tests.core.tcp_feed import EPOCH, Reading, fill, open_connection
from wiredoctor.capture import open_capture
from wiredoctor.core.connection import Connection
from wiredoctor.core.http import Http
from wiredoctor.core.packet import Packet
from wiredoctor.core.pairing import Conversation
from wiredoctor.core.segments import COLUMNS, SegmentRecorder
from wiredoctor.core.story import Story
from wiredoctor.engine.batch import Batch, View
from wiredoctor.engine.frames import burst_batch, exchange_batch, fault_frame, head_part, message_batch
from wiredoctor.limits import Met
from wiredoctor.tables import AS_OF, BURSTS, EXCHANGES, FINISHED_EXCHANGES, MESSAGES, NEVER, STORED_EXCHANGES, Table

OF_HTTP = ("http", "message", "exchange", "in_body", "event_stream", "ends_head", "ends_message", "owes",
           "data_before_message", "data_before_ends_head", "data_before_ends_message")  # fmt: skip
OF_CONNECTION = ("protocol", "exchanges", "cut_heads", "cut_frame", "cut_time", "tls_version", "server_name", "alpn_offered",
                 "alpn_chosen", "encrypted_hello")  # fmt: skip
_PROTOCOLS = ("unknown", "http", "tls", "http2")


class Numpy(tcp_feed._Numpy):
    """The NumPy stages, which keep rows of exchanges and faults besides."""

    def __init__(self, capture: Any) -> None:
        super().__init__(capture)
        self.exchange_rows: list[pl.DataFrame] = []
        self.fault_rows: list[pl.DataFrame] = []
        self.message_rows: list[pl.DataFrame] = []
        self.burst_rows: list[pl.DataFrame] = []
        self.reading.keep_messages = self.reading.keep_bursts = True
        self.retired: set[int] = set()
        self.is_ending = False

    def _connection_rows(self, slots: list[int]) -> pl.DataFrame:
        if not self.is_ending:
            self.retired.update(int(self.connecting.connections["id"][slot]) for slot in slots)
        return super()._connection_rows(slots)

    def _open_tables(self) -> Any:
        self.is_ending = True
        return super()._open_tables()

    def _tables(self, heard: Any, *others: Any, **named: Any) -> Any:
        self.fault_rows.append(heard.faults)
        self.message_rows.append(heard.messages)
        self.burst_rows.append(heard.bursts)
        return super()._tables(heard, *others, **named)

    def _finished(self, exchanges: pl.DataFrame, connections: pl.DataFrame) -> None:
        self.exchange_rows.append(exchanges)
        super()._finished(exchanges, connections)


@dataclass
class Rows:
    """What an engine wrote."""

    exchanges: pl.DataFrame
    faults: pl.DataFrame
    messages: pl.DataFrame
    bursts: pl.DataFrame
    segments: dict[str, list[int]]
    connections: list[dict[str, Any]]
    limits: dict[str, int]
    finished: pl.DataFrame = field(default_factory=pl.DataFrame)


def run_numpy(path: Path) -> tuple[Rows, list[Any], Numpy]:
    """The rows of the NumPy stages, the packets that they decoded, and the clock at the end."""
    capture = open_capture(path)
    capture.__enter__()
    stages = Numpy(capture)
    stages.run(EPOCH, lambda done: None, lambda found: found)
    kept = [(packets, s, belonging) for packets, s, belonging in stages.kept if s]
    segments = (
        {n: np.concatenate([s[n] for _, s, _ in kept]).astype(np.int64).tolist() for n in (*OF_HTTP, "frame")} if kept else {}
    )
    connections = sorted(stages.rows, key=lambda row: row["connection"])
    rows = Rows(
        _ordered(stages.exchange_rows, "connection", "exchange"),
        _ordered(stages.fault_rows, "connection", "frame", "role", "fault"),
        _ordered(stages.message_rows, "connection", "message"), _ordered(stages.burst_rows, "connection", "message", "index"),
        segments, [{name: row[name] for name in ("connection", *OF_CONNECTION)} for row in connections], stages.met.counts,
    )  # fmt: skip
    return rows, kept, stages


def _ordered(frames: list[pl.DataFrame], *by: str) -> pl.DataFrame:
    return pl.concat(frames).sort(*by) if frames else pl.DataFrame()


class Core:
    """TCP and HTTP of the core, fed packet by packet."""

    def __init__(self, read: Callable[[int, int], bytes], wanted: bool = True) -> None:
        self.met = Met()
        self.story = Story(tcp_feed._cutoffs(), self.met)
        self.story.recorder = SegmentRecorder(None, [*COLUMNS], False)
        self.story.places = Reading(read)
        self.http = Http(self.story.cutoffs, self.met, wanted, wanted)
        self.packet = Packet()
        self.connections: dict[int, Connection] = {}
        self.read = read
        self.clock = NEVER

    def feed(self, number: int, is_copy: bool, values: dict[str, Any]) -> None:
        """Feed a packet of a connection."""
        packet = self.packet
        fill(packet, values, self.read)
        self.clock = values["clock"]
        if number not in self.connections:
            self.connections[number] = open_connection(number, packet, values)
        connection = self.connections[number]
        if is_copy:
            return
        self.http.pass_time(self.clock)
        self.story.follow(connection, packet)
        self.http.read(connection, packet, self.story.segment)
        self.story.settle(connection, packet)

    def finish(self, clock: int, retired: Collection[int] = ()) -> Rows:
        """End the capture, and return what was written; the NumPy stages retire connections at the end of an epoch."""
        self.http.pass_time(clock)
        for number in sorted(self.connections):
            if number in retired:
                self.http.retire(self.connections[number], clock)
            else:
                self.http.finish(self.connections[number], clock)
        return self.rows()

    def rows(self) -> Rows:
        """Return what was written."""
        heads = head_part(self.http.codes.take())
        finished = _whole(exchange_batch(self.http.exchanges, heads), FINISHED_EXCHANGES)
        stored = _whole(exchange_batch(self.http.closes, heads), STORED_EXCHANGES)
        messages, bursts = self.http.messages, self.http.bursts
        segments = tcp_feed.segment_rows(self.story)
        return Rows(
            stored.sort("connection", "exchange"),
            fault_frame(self.http.faults.take()).sort("connection", "frame", "role", "fault"),
            _whole(message_batch(messages, heads), MESSAGES).sort("connection", "message") if messages else pl.DataFrame(),
            _whole(burst_batch(bursts), BURSTS).sort("connection", "message", "index") if bursts else pl.DataFrame(),
            segments, [_connection(one) for _, one in sorted(self.connections.items()) if one.first_frame != NEVER],
            self.met.counts, finished.select("connection", "exchange", "final_at"),
        )  # fmt: skip


def _whole(batch: Batch, table: Table) -> pl.DataFrame:
    return View([batch], table).whole()


def as_followed(stored: pl.DataFrame) -> pl.DataFrame:
    """Rows of tables.EXCHANGES as the NumPy stages write them: with what was known when it was known what followed."""
    known = [pl.col(f"at_close_{name}").alias(name) for name in AS_OF]
    return stored.with_columns(known).select(EXCHANGES.schema.names())


def _connection(connection: Connection) -> dict[str, Any]:
    talk = connection.conversation
    if talk is None:
        values: list[Any] = ["none", 0, 0, None, None, "", "", "", "", False]
    else:
        assert isinstance(talk, Conversation)
        cuts = (talk.cuts.count, talk.cuts.frame, talk.cuts.time) if talk.cuts is not None else (0, None, None)
        values = [_PROTOCOLS[talk.protocol], talk.next_index, *cuts, *talk.tls_facts()]
    return {"connection": connection.id, **dict(zip(OF_CONNECTION, values, strict=True))}


def run_core(kept: list[Any], stages: Numpy) -> Rows:
    """The rows of the core, of packets that the NumPy stages decoded."""
    core = Core(stages.payload)
    for number, is_copy, values in tcp_feed._packets(kept):
        core.feed(number, is_copy, values)
    return core.finish(stages.clock, stages.retired)


def differences(path: Path) -> list[str]:
    """The first difference of each column of each table, in words."""
    theirs, kept, stages = run_numpy(path)
    ours = run_core(kept, stages)
    stages.capture.__exit__(None, None, None)
    found: list[str] = []
    for name in ("exchanges", "faults", "messages", "bursts"):
        found += _frames(name, getattr(ours, name), getattr(theirs, name))
    for name in OF_HTTP:
        if theirs.segments and ours.segments[name] != theirs.segments[name]:
            rows = [i for i, (a, b) in enumerate(zip(ours.segments[name], theirs.segments[name], strict=True)) if a != b]
            i = rows[0]
            found.append(f"segments.{name}: {len(rows)} rows, frame {theirs.segments['frame'][i]}: "
                         f"core {ours.segments[name][i]}, numpy {theirs.segments[name][i]}")  # fmt: skip
    for one, other in zip(ours.connections, theirs.connections, strict=True):
        found += [
            f"connections.{n}: {one['connection']}: core {v!r}, numpy {other[n]!r}" for n, v in one.items() if v != other[n]
        ]
    if ours.limits != theirs.limits:
        found.append(f"limits: core {ours.limits}, numpy {theirs.limits}")
    if ours.finished.height != ours.exchanges.height:
        found.append(f"exchanges and closes: {ours.finished.height}, {ours.exchanges.height}")
    return found


def _is_deadline(rows: pl.DataFrame, i: int) -> bool:
    """Whether a row holds as of the deadline after the server's close."""
    row = rows.row(i, named=True)
    rtt = max(row["rtt_client"] or 0, 0) + max(row["rtt_server"] or 0, 0)
    return row["server_close_time"] is not None and row["said_at"] == row["server_close_time"] + max(10**9, 2 * rtt)


def _frames(table: str, ours: pl.DataFrame, theirs: pl.DataFrame) -> list[str]:
    if ours.height != theirs.height:
        return [f"{table}: core has {ours.height} rows, numpy {theirs.height}"]
    found: list[str] = []
    for name in theirs.columns if theirs.height else []:
        a, b = ours[name].to_list(), theirs[name].to_list()
        if name == "endpoint":
            # each has a hash of its own: what counts is which rows have the same
            a, b = [a.index(x) for x in a], [b.index(y) for y in b]
        if name == "said_at":
            # the core decides at the deadline after a close, the NumPy stages with the next packet of the connection
            a = [max(x, y) if _is_deadline(ours, i) else x for i, (x, y) in enumerate(zip(a, b, strict=True))]
        if name == "final_at":
            # if a close ends a response, the core dates the row by its last packet, the NumPy stages by the close or its deadline
            by_close = (theirs["final_at"] >= theirs["server_close_time"]).fill_null(False)
            whole = (theirs["has_request"] & theirs["has_response"] & ~by_close).to_list()
            b = [y if one else x for x, y, one in zip(a, b, whole, strict=True)]
        if a != b:
            i = next(i for i in range(len(a)) if a[i] != b[i])
            key = theirs[i, 0], theirs[i, 1]
            found.append(
                f"{table}.{name}: {sum(x != y for x, y in zip(a, b, strict=True))} rows, {key}: core {a[i]!r}, numpy {b[i]!r}"
            )
    return found
