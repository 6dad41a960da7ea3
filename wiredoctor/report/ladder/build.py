"""Build ladder diagrams as data: packets of a finding or connection, their contents, and the waits between them.

A report keeps no packets, so each capture is read again (findings.PacketAccess), once for all requested ladders. Texts are
printable ASCII, and redacted like the report.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from wiredoctor.findings import Finding, Report, Side
from wiredoctor.report.ladder.captions import LadderMessages, flags, kind, marks
from wiredoctor.report.ladder.load import Rows, read
from wiredoctor.report.ladder.select import Plan
from wiredoctor.tables import SECOND, SYN

MAX_STEPS = 40
"""The maximum number of packets in a ladder unless the caller requests more."""


class Wait(NamedTuple):
    """The wait before a step.

    `seconds`: None before the first step and between steps of different connections. `left_out`: the number of packets of the
    connection that are omitted here; None if unknown. `of_finding`: whether the finding counts this time as lost. `waited_for`:
    the side that ended the wait by sending or, for a repeated SYN, the side that did not respond. It is None if there was no
    wait, if the side is unknown, or if packets are omitted. `idle`: whether no exchange was open.
    """

    seconds: float | None
    left_out: int | None
    of_finding: bool = False
    waited_for: Side | None = None
    idle: bool = False


class Step(NamedTuple):
    """A packet in a ladder.

    `elapsed`: seconds since the first packet of the capture. `flags`: for example "SYN" or "PSH ACK". `length`: bytes of payload.
    `text`: a description of the packet. `notes`: the finding's notes on the packet. `marks`: names from captions.MARKS. `before`:
    the wait before the packet. `evidence`: whether the packet is evidence of the finding.
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
    """A ladder diagram as data, with steps in frame order.

    `client`, `server`: the endpoints. An endpoint with several ports is given as the host alone, an endpoint with several hosts
    as "". `connections`: the ids of the connections in order. `left_out`: the number of packets of the connection after the last
    step; None if unknown. `missing`: the reason why there are no steps, or "".
    """

    capture: str
    client: str
    server: str
    connections: tuple[int, ...]
    steps: tuple[Step, ...]
    left_out: int | None = 0
    missing: str = ""


NO_PACKETS = "the evidence of the finding is not a packet of a TCP connection"
NO_PROOF = "the finding has no packets as evidence"
NO_SEGMENTS = "the connection has no packets in this range"


def of_findings(report: Report, findings: Sequence[Finding], most: int = MAX_STEPS) -> list[Ladder]:
    """Return a ladder for each finding, with at most `most` packets: its evidence, its request, and packets in between.

    The ladder of a finding without a connection contains only its evidence, which may come from several connections.
    """
    plans = [_plan(report, finding, most) for finding in findings]
    return [_ladder(rows, finding) for rows, finding in zip(read(report, plans), findings, strict=True)]


def of_finding(report: Report, finding: Finding, causes: Sequence[Finding], most: int = MAX_STEPS) -> list[Ladder]:
    """Return the ladder of a finding with the evidence of its causes, then ladders of other connections that the finding
    involves.

    The other connections are connections on which a gateway sent the finding's request, and connections of its causes; at most
    MAX_RELATED.
    """
    plan = _plan(report, finding, most)
    frames = {e.frame for one in causes if one.connection == finding.connection for e in one.evidence}
    if plan.frames and frames:
        first, last = (limit([end, *frames]) for limit, end in zip((min, max), plan.frames, strict=True))
        plan = plan._replace(wanted=plan.wanted | frames, frames=(first, last))
    plans = [plan, *_related(report, finding, causes, most)]
    own, *others = read(report, plans)
    return [_ladder(own, finding, causes), *(_ladder(rows, None, [finding, *causes]) for rows in others)]


MAX_RELATED = 4
"""The maximum number of other connections whose packets are shown with a finding."""


def places_behind(report: Report, finding: Finding) -> list[tuple[int, int | None]]:
    """Return the connections and exchanges with which a gateway tried to forward the finding's request to upstream servers."""
    known = report.gateways.get(finding.capture)
    if known is None or finding.exchange is None:
        return []
    tries = known.tries.filter(front_connection=finding.connection, front_exchange=finding.exchange)
    return [(connection, exchange) for connection, exchange in tries.select("connection", "exchange").iter_rows()]


def _related(report: Report, finding: Finding, causes: Sequence[Finding], most: int) -> list[Plan]:
    if finding.connection is None:
        return []
    places = [*places_behind(report, finding), *((one.connection, one.exchange) for one in causes)]
    plans: list[Plan] = []
    for connection in dict.fromkeys(number for number, _ in places if number not in (None, finding.connection)):
        here = [one for one in causes if one.connection == connection]
        evidence = frozenset(e.frame for one in (finding, *here) for e in one.evidence)
        around = frozenset[int]().union(
            *(_frames_of(report, finding.capture, connection, exchange) for number, exchange in places if number == connection)
        )
        every = evidence | around
        plans.append(Plan(finding.capture, connection, evidence, around, (min(every), max(every)), None, most))
    return plans[:MAX_RELATED]


def of_connection(
    report: Report,
    capture: str,
    connection: int | None,
    *,
    frames: tuple[int, int] | None = None,
    span: tuple[float, float] | None = None,
    most: int = MAX_STEPS,
    findings: Sequence[Finding] = (),
) -> Ladder:
    """Return the ladder of a connection, or of its part in `frames` (both included) or `span` (seconds since the first packet).

    If there are more than `most` packets, the ladder shows the first, the last and the notable ones. If `connection` is None, the
    ladder shows the first `most` packets of any connections in `frames`. `findings`: findings whose notes are added to packets.
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
    around = _frames_of(report, finding.capture, finding.connection, finding.exchange)
    every = evidence | around
    window = (min(every), max(every)) if every else None
    return Plan(finding.capture, finding.connection, evidence, around, window, None, most)


def _frames_of(report: Report, capture: str, connection: int | None, exchange: int | None) -> frozenset[int]:
    if exchange is None:
        return frozenset()
    row = report.scan_exchanges().filter(capture=capture, connection=connection, exchange=exchange)
    names = [f"{side}_{name}" for side in ("request", "response") for name in ("frame", "last_frame")]
    found = row.select(names).head(1).collect().rows()
    return frozenset(frame for frame in found[0] if frame is not None) if found else frozenset()


def _ladder(rows: Rows, finding: Finding | None, others: Sequence[Finding] = ()) -> Ladder:
    plan = rows.plan
    if not rows.segments:
        why = NO_PACKETS if finding and finding.evidence else NO_PROOF if finding else NO_SEGMENTS
        own = () if plan.connection is None else (plan.connection,)
        return Ladder(plan.capture, rows.client, rows.server, own, (), None, rows.missing or why)
    said = _notes([*([finding] if finding else []), *others])
    lost = _counted_time(finding) if finding else None
    words = LadderMessages(rows)
    steps: list[Step] = []
    before: dict[str, Any] = {}
    for row in rows.segments:
        steps.append(_step(rows, words, row, _wait(rows, words, before, row, lost), said))
        before = row
    last = rows.packets.get(before["connection"])
    left = None if plan.connection is None or last is None else max(last - 1 - before["position"], 0)
    ids = tuple(dict.fromkeys(step.connection for step in steps))
    return Ladder(plan.capture, rows.client, rows.server, ids, tuple(steps), left)


def _step(rows: Rows, words: LadderMessages, row: dict[str, Any], before: Wait, said: dict[int, tuple[str, ...]]) -> Step:
    client = rows.from_client(row)
    caption = words.captions[row["frame"], row["connection"]]
    return Step(
        frame=row["frame"],
        connection=row["connection"],
        elapsed=row["time"] / SECOND,
        from_client=client,
        flags=flags(row["flags"]),
        length=row["length"],
        text=kind(row, caption) or words.text(row, "client" if client else "server"),
        notes=said.get(row["frame"], ()),
        marks=marks(row, caption),
        before=before,
        evidence=row["frame"] in said,
    )


def _notes(findings: Sequence[Finding]) -> dict[int, tuple[str, ...]]:
    notes: dict[int, tuple[str, ...]] = {}
    for f in findings:
        for e in f.evidence:
            notes[e.frame] = (*notes.get(e.frame, ()), e.note)
    return notes


def _counted_time(finding: Finding) -> tuple[float, float] | None:
    """Return the start and end of the time that the finding counts as lost, in seconds since the first packet; None if no time is
    lost.

    Start and end are the times of two packets of the evidence that are at least as far apart as the delay. If there are several
    such pairs, the pair with the smallest distance is used; if there is none, the first and the last packet of the evidence.
    """
    if not finding.delay or finding.connection is None:
        return None
    times = sorted({e.elapsed for e in finding.evidence})
    spans = [(b - a, a, b) for i, a in enumerate(times) for b in times[i + 1 :] if b - a >= finding.delay * 0.999999]
    return min(spans)[1:] if spans else (times[0], times[-1]) if times else None


def _wait(
    rows: Rows, words: LadderMessages, before: dict[str, Any], row: dict[str, Any], lost: tuple[float, float] | None
) -> Wait:
    alone, connection = rows.plan.connection is not None, row["connection"]
    if before.get("connection") != connection:
        return Wait(None, row["position"] if alone else None)
    seconds = (row["time"] - before["time"]) / SECOND
    counted = lost is not None and before["time"] / SECOND >= lost[0] and row["time"] / SECOND <= lost[1]
    left = row["position"] - before["position"] - 1 if alone else None
    if left != 0:
        return Wait(seconds, left, of_finding=counted)
    side: Side = "client" if rows.from_client(row) != _repeats_handshake(before, row) else "server"
    if counted or before["flags"] & SYN or words.open_between(connection, before["frame"], row["frame"]):
        return Wait(seconds, left, of_finding=counted, waited_for=side)
    return Wait(seconds, left, idle=rows.protocols.get(connection) == "http")


def _repeats_handshake(before: dict[str, Any], row: dict[str, Any]) -> bool:
    return bool(before["flags"] & row["flags"] & SYN) and before["direction"] == row["direction"]
