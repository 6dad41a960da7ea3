"""Compare two captures of one network path."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from wiredoctor.compare.two_points.byte_times import Streams
from wiredoctor.compare.two_points.losses import Verdict, only_at, retransmissions
from wiredoctor.compare.two_points.matched_packets import wire
from wiredoctor.compare.two_points.matching import NOBODY, Rows
from wiredoctor.compare.two_points.middleboxes import changes, hops
from wiredoctor.compare.two_points.packet_columns import Point
from wiredoctor.compare.two_points.result import (
    Alone,
    Clock,
    ComparedFile,
    Delays,
    HowMatched,
    OneSided,
    OneSidedKind,
    Pair,
    Step,
    TwoPoints,
    Waiting,
    Way,
    Where,
)
from wiredoctor.compare.two_points.shared_findings import Shared, lost_packets
from wiredoctor.compare.two_points.wire import Wire
from wiredoctor.tables import ACK, FIN, RST, SECOND, SYN, Array

if TYPE_CHECKING:
    from wiredoctor.compare.input import ComparedCapture

MAX_LISTED = 1_000
"""The maximum number of packets and connections that are listed individually."""

_HOW: tuple[HowMatched, HowMatched, HowMatched] = ("addresses", "rewritten-addresses", "rewritten-numbers")


def two_points(one: ComparedCapture, two: ComparedCapture, version: str) -> TwoPoints:
    """Compare two captures of one network path.

    `one` should have been made nearer to the client. The two captures are swapped if the round-trip times show the opposite.
    """
    held = wire(one.point, two.point)
    swapped = bool(len(held.pairs)) and int(held.turned.sum()) * 2 > len(held.pairs)
    if swapped:
        one, two = two, one
        held = wire(one.point, two.point)
    near, far = Streams(held, second=False), Streams(held, second=True)
    verdicts = only_at(held, near, far, second=False), only_at(held, far, near, second=True)
    clock = _clock(held)
    findings = Shared(held, one.findings, two.findings, lost_packets(held, verdicts)).findings_of_sides()
    packets = [*_one_sided(held, verdicts[0], second=False), *_one_sided(held, verdicts[1], second=True)]
    alone = [*_alone(one.point, held.pairs.one, "client"), *_alone(two.point, held.pairs.two, "server")]
    many = sum(map(len, verdicts)), len(one.point.connections) + len(two.point.connections) - 2 * len(held.pairs)
    return TwoPoints(
        version, _compared_file(one, "client"), _compared_file(two, "server"), swapped, clock,
        [_way(held, near, far, verdicts, forward=forward) for forward in (True, False)] if len(held.pairs) else [],
        _waiting(held, one.exchanges, two.exchanges),
        findings if clock else [replace(f, shares=None) for f in findings],
        changes(held),
        packets[:MAX_LISTED],
        _pairs(held)[:MAX_LISTED],
        alone[:MAX_LISTED],
        _notes(held, one, two, many),
    )  # fmt: skip


def _compared_file(capture: ComparedCapture, where: Where) -> ComparedFile:
    s = capture.summary
    return ComparedFile(
        s.file, where, s.packets, len(capture.point), capture.point.connections.height, capture.exchanges.height,
        s.first_time, s.last_time,
    )  # fmt: skip


def _clock(held: Wire) -> Clock | None:
    if not held.lines or any(line.gap != line.gap for line in held.lines):
        return None
    first = held.lines[0]
    steps: list[Step] = []
    for before, after in zip(held.lines, held.lines[1:], strict=False):
        jump = after.offset + after.drift * after.start - before.offset - before.drift * after.start
        steps.append(Step(after.start / SECOND, jump / SECOND))
    told = first.drift_error is not None
    return Clock(
        first.offset / SECOND, max(0.0, min(line.gap for line in held.lines)) / SECOND,
        first.drift * 1e6 if told else None, first.drift_error * 1e6 if first.drift_error is not None else None,
        steps, int((held.partner != NOBODY).sum()),
    )  # fmt: skip


def spread(values: Array) -> Delays | None:
    """Summarize times in ns; return None if there are none."""
    if not len(values):
        return None
    numbers = np.quantile(values, (0.0, 0.5, 0.95)) / SECOND
    return Delays(len(values), *(float(n) for n in numbers))


def _way(held: Wire, near: Streams, far: Streams, verdicts: tuple[list[Verdict], list[Verdict]], *, forward: bool) -> Way:
    """Summarize one direction of the path. `forward`: the direction of packets that pass the point of the first capture first."""
    mine, theirs = (0, 1) if forward else (1, 0)
    here, there = (near, far) if forward else (far, near)
    sent = held.a if forward else held.b
    got = held.b if forward else held.a
    counts, beyond = _counts(verdicts[mine], sent, forward), _counts(verdicts[theirs], got, forward)
    partner, part = (held.partner, held.part_a) if forward else (held.back, held.part_b)
    of = sent.forward == forward
    again = retransmissions(held, here, there, forward)
    known = bool(held.lines) and all(line.gap == line.gap for line in held.lines)
    return Way(
        "client" if forward else "server", int(of.sum()) - counts["outside"],
        int((of & ((partner != NOBODY) | (part == 2))).sum()),
        counts["lost"], counts["lost-or-not-recorded"], beyond["not-recorded"], counts["not-recorded"], beyond["injected"],
        counts["outside"] + beyond["outside"], int((of & (part > 0)).sum()), hops(held, forward)[0],
        spread(held.delays(forward)) if known else None,
        len(again.rows), len(again.needless), again.ack_lost, again.ack_late, again.ack_not_sent, again.ack_beyond,
    )  # fmt: skip


def _counts(verdicts: list[Verdict], rows: Rows, forward: bool) -> Counter[OneSidedKind]:
    return Counter(verdict.kind for verdict in verdicts if bool(rows.forward[verdict.row]) == forward)


def _one_sided(held: Wire, verdicts: list[Verdict], *, second: bool) -> list[OneSided]:
    point, rows = (held.two, held.b) if second else (held.one, held.a)
    p = point.packets
    made: list[OneSided] = []
    # packets from before or after the other capture come last, because they show nothing about the path
    for verdict in sorted(verdicts, key=lambda v: v.kind == "outside")[:MAX_LISTED]:
        at = int(rows.row[verdict.row])
        what = _packet_label(int(p["flags"][at]), int(p["length"][at]))
        made.append(OneSided(
            "server" if second else "client", int(p["frame"][at]), float(p["time"][at] / SECOND), int(p["connection"][at]),
            "client" if rows.forward[verdict.row] else "server", verdict.kind, what, verdict.why,
        ))  # fmt: skip
    return made


def _packet_label(flags: int, length: int) -> str:
    """Return a short description of a packet, such as "SYN" or "FIN, 120 bytes of data"."""
    names = [name for bit, name in ((SYN, "SYN"), (FIN, "FIN"), (RST, "RST")) if flags & bit]
    if flags & SYN and flags & ACK:
        names = ["SYN-ACK"]
    if length:
        names.append(f"{length:,} bytes of data" if length > 1 else "1 byte of data")
    return ", ".join(names) or "ACK"


def _pairs(held: Wire) -> list[Pair]:
    ends = [_ends(point) for point in (held.one, held.two)]
    count = len(held.pairs)
    matched = np.bincount(held.a.pair[(held.partner != NOBODY) | (held.part_a == 2)], minlength=count)
    only_a = np.bincount(held.a.pair[(held.partner == NOBODY) & (held.part_a == 0)], minlength=count)
    only_b = np.bincount(held.b.pair[(held.back == NOBODY) & (held.part_b == 0)], minlength=count)
    columns = (held.pairs.one, held.pairs.two, held.pairs.how, matched, only_a, only_b)
    return [
        Pair(a, b, *ends[0][a], *ends[1][b], _HOW[int(how)], *counts)
        for a, b, how, *counts in zip(*(column.tolist() for column in columns), strict=True)
    ]


def _ends(point: Point) -> dict[int, tuple[str, str]]:
    rows = point.connections.select("connection", "client", "server").iter_rows()
    return {number: (client, server) for number, client, server in rows}


def _alone(point: Point, paired: Array, where: Where) -> list[Alone]:
    rows = point.connections.filter(~pl.col("connection").is_in(pl.Series(paired).implode()))
    columns = rows.head(MAX_LISTED).select("connection", "client", "server", "packets", "first_frame")
    return [
        Alone(where, number, client, server, packets, frame, "") for number, client, server, packets, frame in columns.iter_rows()
    ]


def _waiting(held: Wire, one: pl.DataFrame, two: pl.DataFrame) -> Waiting | None:
    """Compare the server times of exchanges that both captures have; return None if there are no such exchanges.

    Exchanges correspond if their requests begin at the same byte of the connection.
    """
    frames: list[pl.DataFrame] = []
    for second, rows in enumerate((one, two)):
        chosen = rows.filter(pl.col("server_time").is_not_null() & pl.col("request_offset").is_not_null())
        ids = held.pairs.two if second else held.pairs.one
        connection, offset = chosen["connection"].to_numpy(), chosen["request_offset"].to_numpy()
        order = np.argsort(ids)
        at = np.searchsorted(ids[order], connection) if len(ids) else np.zeros(len(connection), np.int64)
        known = (at < len(ids)) & (ids[order][np.minimum(at, len(ids) - 1)] == connection) if len(ids) else at < 0
        pair = order[at[known]] if len(ids) else at[known]
        group = pair * 2 + ~held.turned[pair]
        place = offset[known] + (held.shift[group] if second else 0)
        starts = pl.DataFrame({"pair": pair, "place": place, "time": chosen["server_time"].to_numpy()[known]})
        frames.append(starts.unique(["pair", "place"], keep="first", maintain_order=True))
    both = frames[0].join(frames[1], on=["pair", "place"], maintain_order="left")
    turned = held.turned[both["pair"].to_numpy()] if both.height else np.empty(0, bool)
    first, second = both["time"].to_numpy(), both["time_right"].to_numpy()
    far, near = np.where(turned, first, second), np.where(turned, second, first)
    spreads = [spread(values) for values in (near, far, np.maximum(near - far, 0))]
    if spreads[0] is None or spreads[1] is None or spreads[2] is None:
        return None
    return Waiting(both.height, spreads[0], spreads[1], spreads[2])


def copies(held: Wire) -> bool:
    """Return whether one capture is a copy of the other: no packet took any time between the points."""
    return bool(len(held.pairs)) and not any(held.delays(forward).any() for forward in (True, False))


def _notes(held: Wire, one: ComparedCapture, two: ComparedCapture, many: tuple[int, int]) -> list[str]:
    notes: list[str] = []
    if not len(held.pairs):
        notes.append("no connection passed both points: were both captures made of the same traffic, at the same time?")
        notes.append("if the captures are from the two sides of a proxy, add --proxy to --both-sides")
    elif not held.lines or any(line.gap != line.gap for line in held.lines):
        notes.append("the clocks cannot be compared: packets passed in one direction only, or their timestamps conflict")
    if copies(held) and not many[0]:
        notes.append("every packet has the same time in both: these are two copies of one capture and show no network path")
    for number, what in zip(many, ("packets", "connections"), strict=True):
        if number > MAX_LISTED:
            notes.append(f"{number:,} {what} are in one capture only; {MAX_LISTED:,} of them are listed")
    for forward in (True, False):
        usual, others = hops(held, forward)
        if others and usual is not None:
            packets = "1 packet" if others == 1 else f"{others:,} packets"
            notes.append(f"the time to live of {packets} shows a number of hops other than {usual}: there is more than one route")
    for capture in (one, two):
        if capture.summary.damage:
            notes.append(f"{capture.summary.file} is damaged: {capture.summary.damage}")
    return notes
