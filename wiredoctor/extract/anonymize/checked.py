"""An anonymous capture that is passed on only when it was searched, and analysed, and says the same as the one it stands for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from wiredoctor import __version__
from wiredoctor.capture import Interface
from wiredoctor.capture.pcapng import write as making
from wiredoctor.extract.anonymize import Packet, anonymized
from wiredoctor.findings import Finding, Report
from wiredoctor.limits import ANONYMIZED
from wiredoctor.replacement import room_needed

BEGIN = 10**18
"""ns since 1970 (2001-09-09): when the first packet is said to have come."""

_SNAPLEN = 1 << 18
"""Bytes: that of tcpdump and dumpcap, unless they are told another."""

_TOLD = 3
"""Differences that are told."""

Said = tuple[Any, ...]
"""Of a finding, what must be the same."""


class NotAnonymous(Exception):
    """There is no anonymous capture that one could pass on; the text is one line that says why."""


@dataclass(frozen=True)
class Checked:
    """report: of the anonymous capture. frames: for each of its packets the number in the capture that it stands for.
    left_out: reason -> packets."""

    report: Report
    frames: list[int]
    left_out: Mapping[str, int]

    def like(self, finding: Finding) -> Finding | None:
        """The finding that stands for one of the capture as it was."""
        wanted = said(finding, None)
        return next((found for found in self.report.findings if said(found, self.frames) == wanted), None)


def write_anonymous(report: Report, path: Path, analyse: Callable[[Path], Report], seed: bytes) -> Checked:
    """Writes an anonymous capture in place of the only one of a report, and holds both against each other.

    analyse: reads a capture with the rules and thresholds of the report. seed: 64 bytes at most; who has them can try addresses
    and words. Raises NotAnonymous; what is at `path` then may not be passed on.
    """
    [capture] = report.captures
    again = report.again[capture.file]
    size = sum(int(part.tables["records"]["captured"].sum()) for part in again.portions(["records"]))
    if size > ANONYMIZED.value:
        raise NotAnonymous(f"{size:,} bytes of packets; a capture is made anonymous in memory, {ANONYMIZED.text} at most")
    made = anonymized(again, seed)
    if made.leaks:
        raise NotAnonymous(f"the result would still hold something of the original ({len(made.leaks)} found by searching it)")
    if not made.packets:
        raise NotAnonymous(f"no packet is left: {left_out(made.left_out)}")
    with room_needed(path.parent.parent), path.open("wb") as out:
        write(out, made.packets)
    checked = Checked(analyse(path), [packet.frame for packet in made.packets], made.left_out)
    before, after = (
        Counter(said(finding, frames) for finding in of.findings)
        for of, frames in ((report, None), (checked.report, checked.frames))
    )
    if before != after:
        raise NotAnonymous(f"it would not show the same: {_difference(before, after)}{_because(made.left_out)}")
    return checked


def write(out: BinaryIO, packets: Sequence[Packet]) -> None:
    """The packets as pcapng: times count from `BEGIN`, and nothing is said of where they were captured, or by whom."""
    out.write(making.section(f"wiredoctor {__version__}"))
    numbers = {link: number for number, link in enumerate(sorted({packet.parts.link for packet in packets}))}
    for link in numbers:
        out.write(making.interface(Interface(link, snaplen=_SNAPLEN)))
    for packet in packets:
        out.write(making.packet(numbers[packet.parts.link], BEGIN + packet.time, packet.data, packet.length))


def said(finding: Finding, frames: Sequence[int] | None) -> Said:
    """What is wrong, how sure, how long, how often, and in which packets: of the numbers in `frames`, if there are any."""
    proof = tuple(evidence.frame if frames is None else frames[evidence.frame - 1] for evidence in finding.evidence)
    return (
        finding.rule, finding.kind, finding.side, finding.severity, finding.confidence, finding.delay, finding.count, proof,
    )  # fmt: skip


def left_out(reasons: Mapping[str, int]) -> str:
    """Packets that are not in the anonymous capture: "3 (no TCP), 1 (IP fragment)"."""
    return ", ".join(f"{number:,} ({reason})" for reason, number in sorted(reasons.items()))


def _because(reasons: Mapping[str, int]) -> str:
    return f"; packets left out: {left_out(reasons)}" if reasons else ""


def _difference(before: Counter[Said], after: Counter[Said]) -> str:
    lost, new = before - after, after - before
    parts = [
        f"{word} {', '.join(sorted({one[0] for one in islice(some, _TOLD)}))}"
        for word, some in (("without", lost), ("with", new))
        if some
    ]
    return ", ".join(parts)
