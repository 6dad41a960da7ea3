"""Build rows of tables by hand; columns that are not given have values that prove nothing."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, TypeVar

import polars as pl

from tests.rules.arrivals import arrivals
from wiredoctor.core.capture.packet import Packet
from wiredoctor.core.rows.stall_rows import CLOSURES, RECOVERIES, RUNS, StallRows
from wiredoctor.core.tcp.connection import Connection, Previous, Side, Syn
from wiredoctor.core.tcp.events import Events
from wiredoctor.core.tcp.releases import RELEASES, Releases
from wiredoctor.core.tcp.segment import Segment
from wiredoctor.core.tcp.waits import ClosedWindow, Run, Stall
from wiredoctor.engine.run import core_cutoffs
from wiredoctor.rule_engine import RuleModule, catalogue, cutoffs, decide_batch
from wiredoctor.storage.batches import Batch, View, take_cells
from wiredoctor.tables import AT_THE_CLOSE, EVENT_TABLES, RULE_TABLES
from wiredoctor.world import CaptureTables, World
from wiredoctor.world.learned_limits import ServerClose, Use
from wiredoctor.world.server import Server, Servers
from wiredoctor.world.server_history import ENDS, SYNS

MS = 1_000_000
S = 1_000_000_000


def rows(table: str, *given: dict[str, Any]) -> pl.DataFrame:
    """A frame of this table with a row for each dict; other columns are null, False, 0, "" or an empty list."""
    columns = RULE_TABLES[table].columns
    names = {c.name for c in columns}
    assert not [n for g in given for n in g if n not in names], "no such column"
    blank = {c.name: None if c.nullable else _nothing(c.dtype) for c in columns}
    filled = [blank | g for g in given]
    if table == "closes":
        filled = [row | arrivals(row) for row in filled]
    return pl.DataFrame(filled, schema=RULE_TABLES[table].schema)


def events(table: str, *segments: dict[str, Any]) -> pl.DataFrame:
    """Return the rows of an event table that the core writes for segments with these columns of `segments`, with the thresholds
    of all rules. Payload was captured whole if nothing else is said."""
    limits = core_cutoffs(cutoffs(catalogue()))
    releases, stall_rows = Releases(limits), StallRows(limits)
    for segment in rows("segments", *({"captured": s.get("length", 0)} | s for s in segments)).to_dicts():
        write(releases, stall_rows, segment)
    written = releases.rows if table == "releases" else getattr(stall_rows, table)
    cells = {"releases": RELEASES, "recoveries": RECOVERIES, "closures": CLOSURES, "runs": RUNS}[table]
    return View([Batch(table, int(written.count), take_cells(written, cells), {}, {})], EVENT_TABLES[table]).all_columns()


OF_PACKET = {name: name for name in ("frame", "time", "length", "captured", "dsack")}
OF_SEGMENT = {
    **{
        name: name
        for name in ("direction", "offset", "new_bytes", "retransmission", "overlap", "rtt_own", "in_flight_before", "mss")
    },
    **{name: name for name in ("full", "small", "small_start")},
    **{"fills_gap": "fills_gap", "opens_gap": "opens_gap", "acked_unseen": "acked_unseen", "rtt_peer": "rtt_peer"},
}
OF_PART = {name: name for name in ("http", "message", "exchange", "event_stream", "ends_message")} | {
    "message_incomplete": "is_incomplete"
}
OF_EVENTS = {"nagle_disabled": "nagle_off", "probe_frame": "probe_frame"}
OF_DATA = {
    f"previous_data_{name}": name
    for name in (
        *("frame", "time", "end", "length", "room", "message", "full", "small", "last_in_flight", "ends_head", "ends_message"),
    )
}
OF_ACK = {f"previous_ack_{name}": f"ack_{name}" for name in ("frame", "time", "delay", "bytes")} | {
    **{"previous_ack_ack": "ack", "previous_ack_interval": "ack_gap"},
}
OF_STALL = {
    **{"stall_frame": "progress_frame", "stall_time": "progress_time", "retransmission_count": "tries"},
    **{
        "stall_duplicate_acks": "duplicate_acks",
        "first_retransmission_frame": "first_frame",
        "first_retransmission_time": "first_time",
    },
    **{f"retransmitted_{name}": f"retransmission_{name}" for name in ("frame", "time", "bytes")},
    "retransmitted_late": "is_first_copy",
}
OF_CLOSURE = {
    **{name: name for name in ("closed_frame", "closed_time", "closed_window", "opened_frame", "opened_time")},
    **{"window_probes": "probes", "window_probe_frame": "probe_frame", "window_probe_time": "probe_time"},
}
OF_RUN = {"small_run": "segments"} | {f"small_run_{name}": name for name in ("bytes", "frame", "time")}
"""Column of `segments` -> field of an object of the core."""

Filled = TypeVar("Filled")


def filled(thing: Filled, row: dict[str, Any], names: dict[str, str]) -> Filled:
    """Fill an object with the columns that have a value."""
    for column, name in names.items():
        if row[column] is not None:
            setattr(thing, name, row[column])
    return thing


def write(releases: Releases, stall_rows: StallRows, row: dict[str, Any]) -> None:
    """Write the event rows of a segment with these columns. Both ends of its connection have the number of the endpoint."""
    connection = Connection(row["connection"], struct.pack(">IIHH", 0, 0, row["endpoint"], row["endpoint"]))
    connection.has_both_syns = row["handshake"]
    if row["role"] is not None:
        connection.client, connection.client_certainty = row["direction"] ^ row["role"], 2
    own, peer = Side(), Side()
    own.syn = Syn()
    own.syn.mss = 1460 if row["mss_announced"] else -1
    data = own.previous = filled(Previous(), row, OF_DATA)
    if row["previous_ack_frame"] is not None:
        peer.previous = filled(Previous(), row, OF_ACK)
        own.last_frame = row["previous_ack_frame"] - row["nothing_sent_since_ack"]
    if row["peer_data_since"]:
        peer.payload_frame = data.frame + 1
    if row["retransmission_since"]:
        peer.retransmission_frame = data.frame + 1
    segment = filled(Segment(), row, OF_SEGMENT)
    filled(segment.part, row, OF_PART)
    happened = filled(Events(), row, OF_EVENTS)
    if row["ends_stall"]:
        happened.stall = filled(Stall(), row, OF_STALL)
    if row["after_closed_window"]:
        happened.closure = filled(ClosedWindow(), row, OF_CLOSURE)
    if row["small_run"]:
        happened.run = filled(Run(), row, OF_RUN)
    packet = filled(Packet(), row, OF_PACKET)
    releases.write(connection, own, peer, packet, segment, happened)
    stall_rows.write(connection, own, peer, packet, segment, happened)
    releases.settle_held(own, row["frame"], True)  # no later gap shows a pace


def _nothing(dtype: pl.DataType) -> Any:
    if dtype.is_nested():
        return []
    return {pl.String: "", pl.Boolean: False}.get(dtype.base_type(), 0)


def held(frame: int = 7, at: int = 232 * MS, **changes: Any) -> dict[str, Any]:
    """S of a head-body-split at the client's side of the wire: 10 ms to the server, a 200 ms timer in the client.

    D is frame - 2 at 22 ms, K frame - 1 at 222 ms.
    """
    row = {
        "frame": frame,
        "time": at,
        "connection": 0,
        "direction": 1,
        "role": 1,
        "endpoint": 77,
        "exchange": 0,
        "message": 1,
        "offset": 38,
        "length": 5,
        "new_bytes": 5,
        "mss": 1460,
        "mss_announced": True,
        "small": True,
        "small_start": True,
        "rtt_own": 10 * MS,
        "rtt_peer": 0,
        "handshake": True,
        "previous_data_frame": frame - 2,
        "previous_data_time": at - 210 * MS,
        "previous_data_end": 38,
        "previous_data_length": 38,
        "previous_data_small": True,
        "previous_data_last_in_flight": True,
        "previous_data_room": 60_000,
        "previous_data_message": 1,
        "previous_data_ends_head": True,
        "previous_ack_frame": frame - 1,
        "previous_ack_time": at - 10 * MS,
        "previous_ack_ack": 38,
        "previous_ack_delay": 200 * MS,
        "previous_ack_bytes": 38,
        "nothing_sent_since_ack": True,
        "http": True,
        "message_incomplete": True,
    }
    return row | changes


def answered(**changes: Any) -> dict[str, Any]:
    """An exchange of 20 ms."""
    side = {"last_frame": 1, "end_reason": "complete", "version": "HTTP/1.1", "framing": "none"}
    row: dict[str, Any] = {f"request_{n}": v for n, v in side.items()} | {f"response_{n}": v for n, v in side.items()}
    row |= {
        "connection": 0,
        "has_request": True,
        "has_response": True,
        "request_frame": 4,
        "request_start": 10 * MS,
        "request_end": 10 * MS,
        "request_method": "GET",
        "request_target": "/a?token=secret",
        "response_frame": 5,
        "response_start": 20 * MS,
        "response_end": 30 * MS,
        "response_framing": "content-length",
        "response_status": 200,
        "response_body_bytes": 5,
        "response_last_body_time": 30 * MS,
        "persistent": True,
        "handshake": True,
        "both_directions": True,
        "rtt_client": 0,
        "rtt_server": 10 * MS,
        "final_at": 30 * MS,
    }
    return row | changes


def followed(**changes: Any) -> dict[str, Any]:
    """The same exchange as a row of `closes`: the connection stayed open until the capture ended 5 s later."""
    row = {name: value for name, value in answered().items() if name in AT_THE_CLOSE.table.schema}
    return row | {"last_on_connection": True, "final_at": 5 * S} | changes


def connection(**changes: Any) -> dict[str, Any]:
    """A connection from 10.0.0.1 to 10.0.0.2, whose client sent its first packet."""
    row = {
        "connection": 0,
        "client": "10.0.0.1:1234",
        "server": "10.0.0.2:80",
        "client_host": "10.0.0.1",
        "client_direction": 0,
        "client_packets": 5,
        "server_packets": 5,
        "protocol": "http",
    }
    return row | changes


def in_order(candidates: pl.DataFrame) -> pl.DataFrame:
    """As `decide` gets them; a rule without either of these columns does not mind."""
    order = next((name for name in ("last_frame", "frame") if name in candidates.columns), None)
    return candidates if order is None else candidates.sort(order)


def found(rule: str, *frames: pl.DataFrame, state: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """What `find` and `decide` of this rule make of the tables that it asks for, in their order (the last may be left out if
    they are empty): a dict per candidate."""
    module = catalogue()[rule]
    empty = [RULE_TABLES[name].empty() for name in module.tables[len(frames) :]]
    lazy = [frame.lazy() for frame in (*frames, *empty)]
    candidates = module.find(*lazy).collect()
    if not module.asks:
        candidates = decide_batch({rule: module}, {rule: candidates}, {} if state is None else state).get(
            rule, candidates.clear()
        )
    return [row | words(module, row) for row in candidates.to_dicts()]


def words(module: RuleModule, row: dict[str, Any]) -> dict[str, Any]:
    """The words of a rule for a candidate, with the packets of the evidence as dicts."""
    plain = {
        name: value // timedelta(microseconds=1) * 1000 if isinstance(value, timedelta) else value for name, value in row.items()
    }
    worded = module.words_of(plain)
    return worded | {"evidence": [packet._asdict() for packet in worded["evidence"]]} if worded else {}


def server_of(*closes: ServerClose, uses: Sequence[Use] = (), said: int | None = None, until: int | None = None) -> Server:
    """Return a server that closed connections like this, and answered requests after idle times. `said`: its announcement (s)."""
    ends = pl.DataFrame([(80, *close) for close in closes], ENDS, orient="row")
    announced = [(close.connection, said, "") for close in closes]
    columns = {"connection": pl.Int64(), "said": pl.Int32(), "software": pl.String()}
    used = pl.DataFrame([(80, *use) for use in uses], dict.fromkeys(("endpoint", *Use._fields), pl.Int64()), orient="row")
    known = pl.DataFrame(announced, columns, orient="row")
    return Servers(ends, known, used, pl.DataFrame(schema=SYNS), AT_THE_CLOSE.table.empty().lazy()).at(80, until)


def without_tables() -> World:
    """A world in which nothing is known, as of a capture without connections."""
    empty = {name: RULE_TABLES[name].empty().lazy() for name in ("closes", "connections", "exchanges")}
    return World(CaptureTables(empty["closes"], empty["connections"], lambda: empty["exchanges"]))
