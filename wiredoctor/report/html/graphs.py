"""Read the data for graphs from the packets: time sequences of connections, and bursts of bodies. Each capture is read once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import polars as pl

from wiredoctor.findings import PacketAccess, Report
from wiredoctor.report.groups import Group
from wiredoctor.report.html.row_limits import LimitedRows
from wiredoctor.report.html.sequence_lines import Lane
from wiredoctor.report.words import clean

MAX_GRAPHS = 24
FAR = 1_000_000
"""The last frame that is read for the graphs of connections without findings.

A second pass over this many packets takes a fifth of the analysis time. Later packets are read only for connections with
findings.
"""

MAX_BURST_CONNECTIONS = 2_000
MAX_BURSTS = 64
"""The maximum number of bursts per body. If there are more, those with the shortest pauses between them are merged."""
MAX_BODIES = 5_000
MAX_STALLS = 200

_SEGMENT = [
    *("connection", "direction", "time", "flags", "offset", "length", "ack", "window", "retransmission", "fills_gap"),
    *("keep_alive_probe", "frame"),
]
_PACKET = ["connection", "frame", "source_port", "destination_port", "seq", "ack", "payload"]
_BURST = ["message", "start", "end", "bytes"]
_CARRIES = 0x07
"""The TCP flags that occupy sequence numbers or end a connection: FIN, SYN and RST."""

Place = tuple[str, int]
"""The key of a connection: capture, connection."""

Bodies = dict[tuple[str, int], tuple[str, int, int]]
"""The exchange of each response body: (capture, connection, exchange) by (capture, id of the message)."""


@dataclass
class Graph:
    """The time-sequence graph of a connection. `lanes`: for each direction (0 and 1), the segments and their ACKs."""

    capture: str
    connection: int
    lanes: tuple[Lane, Lane]


@dataclass
class Packets:
    """The data that was read from the packets: graphs in the requested order, and bursts of bodies.

    `bursts`: lists of bursts by (capture, connection, exchange); a burst is a tuple of start (ns), length (ns) and number of
    bytes. `unread`: the names of captures that cannot be read again. `bursts_left_out`: the number of bodies whose bursts were
    not read.
    """

    graphs: list[Graph] = field(default_factory=list[Graph])
    bursts: dict[tuple[str, int, int], list[tuple[int, int, int]]] = field(default_factory=dict[Any, Any])
    unread: list[str] = field(default_factory=list[str])
    bursts_left_out: int = 0


def chosen(groups: list[Group], connections: LimitedRows, names: list[str]) -> list[Place]:
    """Return the connections that get graphs, at most MAX_GRAPHS.

    First come the connections of the worst finding of each group, then those of the second and the third worst. The remaining
    graphs show the largest of the connections that end within the first FAR packets. `names`: the captures by index.
    """
    wanted: dict[Place, None] = {}
    per_group = [sorted(group.findings, key=lambda f: (-(f.delay or 0.0), f.elapsed)) for group in groups]
    for rank in range(3):
        for findings in per_group:
            if rank < len(findings) and (connection := findings[rank].connection) is not None:
                wanted.setdefault((findings[rank].capture, connection))
    size = pl.col("client_bytes") + pl.col("server_bytes")
    near = (pl.col("capture") < len(names)) & (pl.col("last_frame") <= FAR)
    largest = connections.rows.filter(near).top_k(MAX_GRAPHS, by=size).sort(size, descending=True)
    for row in largest.iter_rows(named=True):
        wanted.setdefault((names[int(row["capture"])], int(row["connection"])))
    return [*wanted][:MAX_GRAPHS]


def read(report: Report, places: list[Place], exchanges: LimitedRows, names: list[str]) -> Packets:
    """Read the graphs of the connections in `places`, and the bursts of response bodies that have more than one."""
    found = Packets()
    graphs = {place: Graph(*place, (Lane(), Lane())) for place in places}
    bodies = _streamed_bodies(exchanges, names)
    for name in dict.fromkeys(c.file for c in report.captures):
        own = {connection: graph for (capture, connection), graph in graphs.items() if capture == name}
        asked = sorted({connection for capture, connection, _ in bodies.values() if capture == name})[:MAX_BURST_CONNECTIONS]
        if not own and not asked:
            continue
        if name not in report.packets:
            found.unread.append(clean(name))
            continue
        _read(report.packets[name], name, own, {*asked}, bodies, found)
        found.graphs.extend(own.values())
    order = {place: number for number, place in enumerate(places)}
    found.graphs.sort(key=lambda graph: order[graph.capture, graph.connection])
    found.bursts_left_out = sum(body not in found.bursts and body[0] in report.packets for body in bodies.values())
    for body, parts in found.bursts.items():
        found.bursts[body] = _fewer(sorted(parts))
    return found


def _streamed_bodies(exchanges: LimitedRows, names: list[str]) -> Bodies:
    """Return the response bodies that arrived in several bursts. If there are too many, return those with the most bursts."""
    several = exchanges.rows.filter(
        pl.col("capture") < len(names), pl.col("response_bursts") > 1, pl.col("response_message").is_not_null()
    )
    some = several.top_k(MAX_BODIES, by="response_bursts").select("capture", "response_message", "connection", "exchange")
    return {
        (names[capture], message): (names[capture], connection, exchange)
        for capture, message, connection, exchange in some.rows()
    }


def _read(access: PacketAccess, name: str, graphs: dict[int, Graph], streamed: set[int], bodies: Bodies, found: Packets) -> None:
    tables = {"segments": _SEGMENT, "packets": [*_PACKET, "sack", "quoted"]} if graphs else {}
    tables |= {"bursts": _BURST} if streamed else {}
    messages = [message for capture, message in bodies if capture == name]
    for portion in access.portions(tables, sorted({*graphs, *streamed})):
        if graphs:
            _add_segments(graphs, portion.tables["segments"])
            _add_sacks(graphs, portion.tables["segments"], portion.tables["packets"], portion.sack_blocks)
        if streamed:
            rows = portion.tables["bursts"].filter(pl.col("message").is_in(messages))
            for message, start, end, size in rows.select(_BURST).iter_rows():
                parts = found.bursts.setdefault(bodies[name, message], [])
                parts.append((start, end - start, size))
                if len(parts) >= 2 * MAX_BURSTS:
                    parts[:] = _fewer(parts)


def _add_segments(graphs: dict[int, Graph], segments: pl.DataFrame) -> None:
    ours = segments.filter(pl.col("connection").is_in(list(graphs)))
    for key, part in ours.partition_by("connection", "direction", as_dict=True).items():
        connection, direction = map(int, key)
        rows, graph = part.sort("frame"), graphs[connection]
        sent = rows.filter((pl.col("length") > 0) | ((pl.col("flags") & _CARRIES) != 0))
        graph.lanes[direction].add_segments({name: sent.get_column(name).to_numpy() for name in sent.columns})
        acks = rows.filter(pl.col("ack").is_not_null())
        edge = acks.select((pl.col("ack") + pl.col("window")).fill_null(-1)).to_series()
        time, ack = (acks.get_column(name).to_numpy() for name in ("time", "ack"))
        graph.lanes[1 - direction].add_acks(time, ack, edge.to_numpy())


def _add_sacks(
    graphs: dict[int, Graph], segments: pl.DataFrame, packets: pl.DataFrame,
    blocks: Callable[[dict[str, Any]], list[tuple[int, int]]],
) -> None:  # fmt: skip
    """Add SACK blocks to the graphs; convert their sequence numbers to stream offsets with the ACK of the same packet."""
    ours = packets.filter("sack", ~pl.col("quoted"), pl.col("connection").is_in(list(graphs))).select(_PACKET)
    if not ours.height:
        return
    acks = segments.select("connection", "frame", "time", "direction", pl.col("ack").alias("acked")).drop_nulls()
    for row in ours.join(acks, on=["connection", "frame"]).unique(["connection", "frame"]).sort("frame").iter_rows(named=True):
        lane = graphs[int(row["connection"])].lanes[1 - int(row["direction"])]
        for low, high in blocks(row):
            begin = row["acked"] + _sequence_difference(low, row["ack"])
            lane.add_sack(row["time"], begin, begin + _sequence_difference(high, low))


def _sequence_difference(one: int, other: int) -> int:
    """Return `one - other` for sequence numbers, which are modulo 2**32 (RFC 9293 section 3.4); negative if `one` is earlier."""
    return (one - other + (1 << 31)) % (1 << 32) - (1 << 31)


def _fewer(parts: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """Return at most MAX_BURSTS bursts: if there are more, merge those with the shortest pauses between them."""
    if len(parts) <= MAX_BURSTS:
        return parts
    pauses = [after[0] - before[0] - before[1] for before, after in pairwise(parts)]
    apart = {*sorted(range(len(pauses)), key=lambda n: -pauses[n])[: MAX_BURSTS - 1]}
    made = [parts[0]]
    for number, (start, lasts, size) in enumerate(parts[1:]):
        first, _, before = made[-1]
        if number in apart:
            made.append((start, lasts, size))
        else:
            made[-1] = (first, start + lasts - first, before + size)
    return made


def graph_json(graph: Graph, report: Report, connections: LimitedRows, names: list[str]) -> dict[str, Any]:
    """Return the data of a graph for the page: endpoints, the seconds lost by each finding, and both directions ("lanes").

    The direction in which the client sends comes first.
    """
    rows = connections.rows.filter(pl.col("capture") == names.index(graph.capture), pl.col("connection") == graph.connection)
    facts = rows.select("client", "server", "client_direction", "start", "end").rows()
    client, server, direction, start, end = facts[0] if facts else ("", "", 0, None, None)
    stalls = [
        {"rule": clean(f.rule), "severity": f.severity, "elapsed": f.elapsed, "delay": f.delay}
        for f in report.findings
        if f.capture == graph.capture and f.connection == graph.connection and f.delay
    ]
    return {
        "capture": names.index(graph.capture), "connection": graph.connection, "client": clean(client), "server": clean(server),
        "start": start, "end": end, "lanes": [graph.lanes[direction].as_json(), graph.lanes[1 - direction].as_json()],
        "stalls": stalls[:MAX_STALLS], "stalls_left_out": len(stalls[MAX_STALLS:]),
    }  # fmt: skip
