"""Ladder diagrams as data: the packets of a finding, or of a connection, what each carries, and the waits between them.

A report keeps no packets: the captures are read again (findings.Again), once for all ladders that are asked for. Texts are safe
ASCII, and masked as the report is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from wiredoctor.report.ladder.captions import Spoken, flags, kind, marks
from wiredoctor.report.ladder.load import Rows, read
from wiredoctor.report.ladder.select import Plan
from wiredoctor.tables import SECOND, SYN

if TYPE_CHECKING:
    from typing import Any

    from wiredoctor.findings import Finding, Report, Side

MOST_STEPS = 40
"""Packets that a ladder shows unless it is asked for more."""


class Wait(NamedTuple):
    """What lies between two steps, or before the first.

    `seconds`: time between them; None before the first, and where the two are of different connections. `left_out`: packets of
    the connection in between that are not shown; None where that is not known. `of_finding`: the finding counts this time as
    lost. `waited_for`: the side that ended it by sending (of a SYN that is repeated, the one that did not answer); None where
    nobody waited, or nobody knows, or there were packets in between. `idle`: no exchange was open, nobody waited.
    """

    seconds: float | None
    left_out: int | None
    of_finding: bool = False
    waited_for: Side | None = None
    idle: bool = False


class Step(NamedTuple):
    """A packet. `elapsed`: seconds since the first packet of the capture. `flags`: "SYN", "PSH ACK". `length`: bytes of payload.

    `text`: what it carries, in words. `notes`: what the finding says of it. `marks`: what its connection's past says of it, of
    ladder_words.MARKS. `before`: the wait that it ended. `evidence`: it proves the finding.
    """

    frame: int
    connection: int
    elapsed: float
    from_client: bool
    flags: str
    length: int
    text: str
    notes: tuple[str, ...]
    marks: tuple[str, ...]
    before: Wait
    evidence: bool


class Ladder(NamedTuple):
    """What was sent, in order of frames.

    `client` and `server`: endpoints, hosts where there are several ports of them, empty where there are several. `connections`:
    ids, in order. `left_out`: packets of the connection behind the last step; None where that is not known. `missing`: in words,
    why there are no steps; else empty.
    """

    capture: str
    client: str
    server: str
    connections: tuple[int, ...]
    steps: tuple[Step, ...]
    left_out: int | None = 0
    missing: str = ""


NO_PACKETS = "its proof is no packet of a TCP connection"
NO_PROOF = "it has no packets that prove it"
NO_SEGMENTS = "the connection has no packets there"


def of_findings(report: Report, findings: Sequence[Finding], most: int = MOST_STEPS) -> list[Ladder]:
    """A ladder for each finding: its evidence, the request that it is about, and what lies between, as far as `most` packets go.

    A finding about no connection has the packets of its evidence, of whatever connections they are.
    """
    plans = [_plan(report, finding, most) for finding in findings]
    return [_ladder(rows, finding) for rows, finding in zip(read(report, plans), findings, strict=True)]


def of_connection(
    report: Report,
    capture: str,
    connection: int | None,
    *,
    frames: tuple[int, int] | None = None,
    span: tuple[float, float] | None = None,
    most: int = MOST_STEPS,
    findings: Sequence[Finding] = (),
) -> Ladder:
    """A connection: all of it, or what lies in a range of frames (both included) or a span of time (seconds since the first
    packet of the capture). Of more than `most` packets it shows the first and the last, and what is remarkable. None: the first
    `most` packets of that range of frames, of any connection.

    `findings`: what their evidence notes goes to its packets.
    """
    wanted = frozenset(e.frame for f in findings if f.capture == capture for e in f.evidence)
    if connection is None and frames:
        wanted = frozenset(range(frames[0], frames[1] + 1))
    times = (round(span[0] * SECOND), round(span[1] * SECOND)) if span else None
    plan = Plan(capture, connection, wanted, frozenset(), frames, times, most, ends=True)
    return _ladder(read(report, [plan])[0], None, findings)


def _plan(report: Report, finding: Finding, most: int) -> Plan:
    evidence = frozenset(e.frame for e in finding.evidence)
    if finding.connection is None:
        return Plan(finding.capture, None, evidence, frozenset(), None, None, most)
    around = _exchange_frames(report, finding)
    every = evidence | around
    window = (min(every), max(every)) if every else None
    return Plan(finding.capture, finding.connection, evidence, around, window, None, most)


def _exchange_frames(report: Report, finding: Finding) -> frozenset[int]:
    """First and last frames of the request and of the response that the finding is about."""
    import polars as pl

    if finding.exchange is None or report.scan_exchanges is None:
        return frozenset()
    place = {"capture": finding.capture, "connection": finding.connection, "exchange": finding.exchange}
    row = report.scan_exchanges().filter(pl.all_horizontal(pl.col(name) == value for name, value in place.items()))
    names = [f"{side}_{name}" for side in ("request", "response") for name in ("frame", "last_frame")]
    found = row.select(names).head(1).collect().rows()
    return frozenset(frame for frame in found[0] if frame is not None) if found else frozenset()


def _ladder(rows: Rows, finding: Finding | None, others: Sequence[Finding] = ()) -> Ladder:
    plan = rows.plan
    if not rows.segments:
        why = NO_PACKETS if finding and finding.evidence else NO_PROOF if finding else NO_SEGMENTS
        own = () if plan.connection is None else (plan.connection,)
        return Ladder(plan.capture, rows.client, rows.server, own, (), None, rows.missing or why)
    said = _notes([finding] if finding else others)
    lost = _counted(finding) if finding else None
    words = Spoken(rows)
    steps: list[Step] = []
    before: dict[str, Any] = {}
    for row in rows.segments:
        steps.append(_step(rows, words, row, _wait(rows, words, before, row, lost), said))
        before = row
    last = rows.packets.get(before["connection"])
    left = None if plan.connection is None or last is None else max(last - 1 - before["position"], 0)
    ids = tuple(dict.fromkeys(step.connection for step in steps))
    return Ladder(plan.capture, rows.client, rows.server, ids, tuple(steps), left)


def _step(rows: Rows, words: Spoken, row: dict[str, Any], before: Wait, said: dict[int, tuple[str, ...]]) -> Step:
    client = rows.from_client(row)
    told = words.told[row["frame"], row["connection"]]
    return Step(
        frame=row["frame"],
        connection=row["connection"],
        elapsed=row["time"] / SECOND,
        from_client=client,
        flags=flags(row["flags"]),
        length=row["length"],
        text=kind(row, told) or words.text(row, "client" if client else "server"),
        notes=said.get(row["frame"], ()),
        marks=marks(row, told),
        before=before,
        evidence=row["frame"] in said,
    )


def _notes(findings: Sequence[Finding]) -> dict[int, tuple[str, ...]]:
    notes: dict[int, tuple[str, ...]] = {}
    for f in findings:
        for e in f.evidence:
            notes[e.frame] = (*notes.get(e.frame, ()), e.note)
    return notes


def _counted(finding: Finding) -> tuple[float, float] | None:
    """The time that the finding counts as lost: between the two packets of its proof that are nearest to each other and lie as
    far apart as its delay; of one that lost no time on a connection, None."""
    if not finding.delay or finding.connection is None:
        return None
    times = sorted({e.elapsed for e in finding.evidence})
    spans = [(b - a, a, b) for i, a in enumerate(times) for b in times[i + 1 :] if b - a >= finding.delay * 0.999999]
    return min(spans)[1:] if spans else (times[0], times[-1]) if times else None


def _wait(rows: Rows, words: Spoken, before: dict[str, Any], row: dict[str, Any], lost: tuple[float, float] | None) -> Wait:
    alone, connection = rows.plan.connection is not None, row["connection"]
    if before.get("connection") != connection:
        return Wait(None, row["position"] if alone else None)
    seconds = (row["time"] - before["time"]) / SECOND
    counted = lost is not None and before["time"] / SECOND >= lost[0] and row["time"] / SECOND <= lost[1]
    left = row["position"] - before["position"] - 1 if alone else None
    if left != 0:
        return Wait(seconds, left, of_finding=counted)
    side: Side = "client" if rows.from_client(row) != _unanswered(before, row) else "server"
    if counted or before["flags"] & SYN or words.open_between(connection, before["frame"], row["frame"]):
        return Wait(seconds, left, of_finding=counted, waited_for=side)
    return Wait(seconds, left, idle=rows.protocols.get(connection) == "http")


def _unanswered(before: dict[str, Any], row: dict[str, Any]) -> bool:
    return bool(before["flags"] & row["flags"] & SYN) and before["direction"] == row["direction"]
