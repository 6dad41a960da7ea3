"""The rows that a ladder is drawn of: read again, chosen while they pass, so that memory does not follow their number."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from wiredoctor.report.groups import host

if TYPE_CHECKING:
    import polars as pl

    from wiredoctor.findings import Again, Report

SEGMENT = [
    *("frame", "time", "connection", "direction", "flags", "offset", "length", "ack", "window", "new_bytes", "acked_bytes"),
    *("retransmission", "fills_hole", "opens_hole", "overlap", "keep_alive_probe", "pure_ack", "window_update"),
    *("duplicate_ack", "zero_window", "acks_unseen", "sack", "dsack"),
]
"""What of a segment a ladder tells."""

_MESSAGE = ["offset", "end_offset", "head_bytes", "body_bytes", "framing", "end_reason"]
EXCHANGE = [
    *("connection", "exchange", "interim", "interim_times", "request_method", "request_target", "response_status"),
    *("response_reason", "request_frame", "request_last_frame", "response_frame", "response_last_frame"),
    *(f"{side}_{name}" for side in ("request", "response") for name in _MESSAGE),
]
"""And of an exchange."""

CONNECTION = ["connection", "client", "server", "client_direction", "packets", "protocol"]

NEAR = 2
"""Packets before and after one of the proof that are shown with it."""

REMARKABLE = 200
"""Remarkable packets of a connection that are kept until the best are chosen."""

NOT_KEPT = "the packets were not kept to be read again"
NO_CONNECTION = "there is no such connection"


class Plan(NamedTuple):
    """What is to be read for a ladder.

    `wanted`: frames of the proof. `around`: other frames that explain it. `frames`, `times` (ns): both bounds included.
    `most`: packets. `ends`: of too many, the first and the last rather than what lies around the proof.
    """

    capture: str
    connection: int | None
    wanted: frozenset[int]
    around: frozenset[int]
    frames: tuple[int, int] | None
    times: tuple[int, int] | None
    most: int
    ends: bool = False


class Rows(NamedTuple):
    """What was read for a plan: segments (SEGMENT, and `position`, the place in the connection) in order of frames, exchanges
    (EXCHANGE) that they belong to; by connection the direction of the client, packets in all, and protocol."""

    plan: Plan
    segments: list[dict[str, Any]]
    exchanges: list[dict[str, Any]]
    clients: dict[int, int]
    packets: dict[int, int]
    protocols: dict[int, str]
    client: str = ""
    server: str = ""
    missing: str = ""

    def from_client(self, row: dict[str, Any]) -> bool:
        """Whether the client of its connection sent a segment."""
        return row["direction"] == self.clients.get(row["connection"], 0)


def read(report: Report, plans: Sequence[Plan]) -> list[Rows]:
    """The rows of each plan; every capture is read once."""
    found: dict[int, Rows] = {}
    for capture in dict.fromkeys(plan.capture for plan in plans):
        own = [(number, plan) for number, plan in enumerate(plans) if plan.capture == capture]
        again = report.again.get(capture)
        chosen = _choose(again, [plan for _, plan in own]) if again else None
        for place, (number, plan) in enumerate(own):
            found[number] = _rows(report, plan, chosen[place] if chosen else None)
    return [found[number] for number in range(len(plans))]


def _rows(report: Report, plan: Plan, segments: list[dict[str, Any]] | None) -> Rows:
    import polars as pl

    ids = sorted({row["connection"] for row in segments or ()} | ({plan.connection} if plan.connection is not None else set()))
    here = pl.col("capture") == plan.capture
    known: list[dict[str, Any]] = []
    if report.scan_connections is not None:
        scan = report.scan_connections().filter(here, pl.col("connection").is_in(ids))
        known = scan.select(CONNECTION).collect().sort("connection").to_dicts()
    rows = Rows(
        plan, segments or [], [],
        {c["connection"]: c["client_direction"] for c in known}, {c["connection"]: c["packets"] for c in known},
        {c["connection"]: c["protocol"] for c in known}, _end(known, "client"), _end(known, "server"),
    )  # fmt: skip
    if segments is None:
        return rows._replace(missing=NOT_KEPT)
    if plan.connection is not None and not known and not segments:
        return rows._replace(missing=NO_CONNECTION)
    return rows._replace(exchanges=[*_exchanges(report, here, rows)])


def _end(connections: list[dict[str, Any]], side: str) -> str:
    """The endpoint of all connections, or its host."""
    ends = {c[side] for c in connections}
    hosts = {host(end) or "" for end in ends}
    return ends.pop() if len(ends) == 1 else hosts.pop() if len(hosts) == 1 else ""


def _exchanges(report: Report, here: pl.Expr, rows: Rows) -> Iterator[dict[str, Any]]:
    """Those that one of the segments may belong to: begun at or before it, and not over before it."""
    import numpy as np
    import polars as pl

    if report.scan_exchanges is None or not rows.segments:
        return
    scan = report.scan_exchanges()
    for connection in sorted({row["connection"] for row in rows.segments}):
        frames = np.array([row["frame"] for row in rows.segments if row["connection"] == connection])
        own = scan.filter(here, pl.col("connection") == connection)
        first = pl.min_horizontal("request_frame", "response_frame").fill_null(0)
        last = pl.max_horizontal("request_last_frame", "response_last_frame", first)
        spans = own.select("exchange", first.alias("first"), last.alias("last")).collect()
        place = np.minimum(np.searchsorted(frames, spans["first"].to_numpy()), len(frames) - 1)
        met = (frames[place] >= spans["first"].to_numpy()) & (frames[place] <= spans["last"].to_numpy())
        chosen = spans["exchange"].to_numpy()[met]
        # what was open between two of them counts, too
        yield from own.filter(pl.col("exchange").is_in(pl.Series(chosen).implode())).select(EXCHANGE).collect().to_dicts()


def _choose(again: Again, plans: list[Plan]) -> list[list[dict[str, Any]]]:
    """The segments of each plan."""
    connections = sorted({plan.connection for plan in plans if plan.connection is not None})
    frames = {frame for plan in plans if plan.connection is None for frame in plan.wanted}
    choices = [Choice(plan) for plan in plans]
    for portion in again.portions({"segments": SEGMENT}, connections, frames):
        rows = portion.tables["segments"]
        if not rows.height:
            continue
        parts = {key[0]: part for key, part in rows.partition_by("connection", as_dict=True).items()} if connections else {}
        for choice in choices:
            own = rows if choice.plan.connection is None else parts.get(choice.plan.connection)
            if own is not None and own.height:
                choice.add(own.sort("frame"))
        if all(choice.over for choice in choices):
            break
    return [choice.chosen() for choice in choices]


class Choice:
    """The rows of a plan, as they pass. Kept are the first `most`, the last `most` (of `ends`), the frames that are wanted with
    their neighbours, and some that are remarkable."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.over = False
        self._position = 0
        self._inside = 0
        self._remarkable = 0
        self._kept: list[pl.DataFrame] = []
        self._tail: pl.DataFrame | None = None
        self._held: pl.DataFrame | None = None

    def add(self, rows: pl.DataFrame) -> None:
        """Rows of its connection (of all, where it has none), in order of frames."""
        import numpy as np
        import polars as pl

        if self.plan.connection is None:
            self._kept.append(
                rows.filter(pl.col("frame").is_in(list(self.plan.wanted))).with_columns(pl.lit(0).alias("position"))
            )
            self.over = not self.plan.wanted or rows["frame"][-1] >= max(self.plan.wanted)
            return
        rows = rows.with_columns(pl.int_range(self._position, self._position + rows.height).alias("position"))
        self._position += rows.height
        inside, self.over = self._within(rows)
        inside = inside.with_columns(pl.int_range(self._inside, self._inside + inside.height).alias("place"))
        self._inside += inside.height
        if self._held is not None:
            inside = pl.concat([self._held, inside])
        if not inside.height:
            return
        wanted = inside["frame"].is_in(list(self.plan.wanted | self.plan.around)).to_numpy()
        keep = np.convolve(wanted, np.ones(2 * NEAR + 1), "same")[: len(wanted)] > 0
        keep |= (inside["place"] < self.plan.most).to_numpy()
        remarkable = inside.select(_remarkable()).to_series().to_numpy()
        room = REMARKABLE - self._remarkable
        keep |= remarkable & (np.cumsum(remarkable) <= room)
        self._remarkable += min(int(remarkable.sum()), max(room, 0))
        self._kept.append(inside.filter(pl.Series(keep)))
        self._held = inside.tail(2 * NEAR)
        if self.plan.ends:
            self._tail = (inside if self._tail is None else pl.concat([self._tail, inside])).tail(self.plan.most)

    def _within(self, rows: pl.DataFrame) -> tuple[pl.DataFrame, bool]:
        """What lies in the window; whether nothing more can."""
        import polars as pl

        frames, times = self.plan.frames, self.plan.times
        over = False
        if frames:
            over |= rows["frame"][-1] >= frames[1]
            rows = rows.filter(pl.col("frame").is_between(*frames))
        if times:
            rows = rows.filter(pl.col("time").is_between(*times))
        return rows, over

    def chosen(self) -> list[dict[str, Any]]:
        """The best of them, in order of frames."""
        import polars as pl

        parts = [*self._kept, *([self._tail] if self._tail is not None else [])]
        if not parts:
            return []
        rows = pl.concat(parts, how="diagonal").unique("position" if self.plan.connection is not None else "frame").sort("frame")
        if self.plan.connection is None or rows.height <= self.plan.most:
            return rows.head(self.plan.most).to_dicts()
        best = rows.with_columns(_rank(self.plan, self._inside).alias("rank")).filter(pl.col("rank") < NOT_SHOWN)
        return best.sort("rank", "frame").head(self.plan.most).sort("frame").to_dicts()


def _remarkable() -> pl.Expr:
    import polars as pl

    names = ("retransmission", "fills_hole", "opens_hole", "zero_window", "keep_alive_probe")
    return pl.any_horizontal(*names, (pl.col("flags") & 0x07) != 0)


NOT_SHOWN = 4


def _rank(plan: Plan, inside: int) -> pl.Expr:
    """Which are shown first, where not all are."""
    import polars as pl

    wanted, around = pl.col("frame").is_in(list(plan.wanted)), pl.col("frame").is_in(list(plan.around))
    ends = pl.lit(value=False)
    if plan.ends:
        ends = (pl.col("place") < plan.most // 3) | (pl.col("place") >= inside - plan.most // 3)
    known = (wanted | around).cast(pl.UInt8)
    near = known.rolling_max(2 * NEAR + 1, min_samples=1, center=True) > 0
    return pl.when(wanted).then(0).when(around | ends).then(1).when(near).then(2).when(_remarkable()).then(3).otherwise(NOT_SHOWN)
