"""Decide whether a finding in a disturbed capture blames a host for packets that the capture lacks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.pipeline.recording import Seen
from wiredoctor.findings import Finding, Report
from wiredoctor.rule_engine import catalogue

OF_THE_CAPTURE = "capture"
"""The family of rules that tell what is wrong with the capture itself: they are what should be heard."""


@dataclass
class World:
    """A capture as it was, and what is found in it."""

    packets: list[Seen]
    findings: list[Finding]
    frames: dict[int, int] = field(default_factory=dict[int, int])

    def causes(self, finding: Finding) -> set[str]:
        """Rules and families before which this finding gives way."""
        modules = catalogue()
        return {name for name, _ in modules[finding.rule].rule.explained_by} if finding.rule in modules else set()


def serious(report: Report) -> list[Finding]:
    """Errors and warnings that are about hosts."""
    return [f for f in report.findings if f.severity != "note" and f.family != OF_THE_CAPTURE]


def news(world: World, disturbed: Sequence[Seen], report: Report) -> list[tuple[str, Finding]]:
    """Serious findings that the undisturbed capture has not, each with what it may be:

    "shifted": the original has a cause before which it gives way; "nobody": no host is blamed; "unknowable": the packets that
    say otherwise would leave no trace; "new": nothing like it is known.
    """
    found: list[tuple[str, Finding]] = []
    for finding in serious(report):
        if any(_same(finding, other) for other in world.findings):
            continue
        causes = world.causes(finding)
        for group in ALIKE:
            causes |= group if finding.rule in group else set()
        masked = any(_place(finding, other) and (other.rule in causes or other.family in causes) for other in world.findings)
        if finding.side is None:
            kind = "nobody"
        elif masked:
            kind = "shifted"
        else:
            kind = "unknowable" if _left_no_trace(world.packets, disturbed, finding) else "new"
        found.append((kind, finding))
    return found


def _left_no_trace(packets: Sequence[Seen], disturbed: Sequence[Seen], finding: Finding) -> bool:
    """All that is lacking between the first and the last packet of the evidence are copies of what is there, and ACKs of a side
    of which other ACKs (besides that of the handshake) are there: later ones say the same."""
    frames = origins(disturbed, [e.frame for e in finding.evidence])
    kept = {p.origin for p in disturbed}
    flows = {p.flow for p in packets if p.origin in frames}
    some = [p for p in packets if p.flow in flows]
    lost = [p for p in some if min(frames) <= p.origin <= max(frames) and p.origin not in kept]
    there = [p for p in some if p.origin in kept]
    content = {(p.flow, p.side, p.seq + i) for p in there for i in range(p.size)}
    acks = Counter((p.flow, p.side) for p in there if p.pure_ack)
    copies = (p.size and all((p.flow, p.side, p.seq + i) in content for i in range(p.size)) for p in lost)
    return bool(lost) and all(copy or (p.pure_ack and acks[p.flow, p.side] > 1) for p, copy in zip(lost, copies, strict=True))


def alarms(world: World, disturbed: Sequence[Seen], report: Report) -> list[Finding]:
    """What is said of a host with more than low confidence, and is not so."""
    found = news(world, disturbed, report)
    return [f for kind, f in found if (kind == "new" and f.confidence != "low") or (kind == "shifted" and f.confidence == "high")]


ALIKE = (
    {"premature-close", "truncated-response", "no-response", "keep-alive-race", "client-abort", "auth-connection-closed"},
    {"connect-failed", "connect-retry"},
    {"nagle-delayed-ack", "delayed-ack-stall"},
)
"""Rules that tell the same events in other words: where the capture lacks some of them, another word may be the right one."""


def _same(a: Finding, b: Finding) -> bool:
    """The same rule about the same side; the kind may follow from what the capture lacks.

    Of the grammar one head of each kind is reported: where that is not there, the next one is, of whatever side.
    """
    alike = any({a.rule, b.rule} <= group for group in ALIKE) and a.side == b.side
    return (alike and _place(a, b)) or (a.rule == b.rule and (a.side == b.side or a.rule == "malformed-head") and _place(a, b))


def _place(a: Finding, b: Finding) -> bool:
    """About the same connection, or hosts; of a capture without a handshake roles may be unknown."""
    if a.connection is None or b.connection is None:
        return a.server is None or b.server is None or a.server == b.server
    return {a.client, a.server} == {b.client, b.server}


def told(finding: Finding) -> dict[str, Any]:
    """The finding for people who look into it."""
    return {
        **{n: getattr(finding, n) for n in ("rule", "kind", "side", "confidence", "title", "connection", "exchange", "delay")},
        "frames": [e.frame for e in finding.evidence],
    }


def origins(packets: Sequence[Seen], frames: Sequence[int]) -> list[int]:
    """Frames of a disturbed capture, as the frames of the original."""
    return [packets[frame - 1].origin for frame in frames if 0 < frame <= len(packets)]
