"""Write an anonymized capture. First search it for leaks, and check that an analysis gives the same findings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from wiredoctor.capture import Interface
from wiredoctor.capture.pcapng import write as making
from wiredoctor.extract.anonymize import Packet, anonymize
from wiredoctor.findings import Finding, Report
from wiredoctor.limits import ANONYMIZED
from wiredoctor.storage.replacement import room_needed
from wiredoctor.version import __version__

BEGIN = 10**18
"""The time of the first packet in the result, in ns since 1970 (2001-09-09)."""

_SNAPLEN = 1 << 18
"""The default snap length of tcpdump and dumpcap in bytes."""

_MAX_REPORTED = 3
"""The maximum number of differences that are reported."""

Drop = tuple[int | None, int, int]
"""The start and end of a period (ns since the first packet), and the number of packets dropped in it (see PacketAccess.drops)."""

FindingFacts = tuple[Any, ...]
"""The properties of a finding that must be the same in the anonymized capture."""


class NotAnonymous(Exception):
    """Raised if no anonymized capture can be published. The text is the reason, on one line."""


@dataclass(frozen=True)
class Checked:
    """The report on the anonymized capture.

    `frames`: for each packet, its frame number in the original. `left_out`: the number of packets left out, by reason.
    """

    report: Report
    frames: list[int]
    left_out: Mapping[str, int]

    def like(self, finding: Finding) -> Finding | None:
        """Return the finding in the anonymized capture that corresponds to `finding` in the original; None if there is none."""
        wanted = finding_facts(finding, None)
        return next((found for found in self.report.findings if finding_facts(found, self.frames) == wanted), None)


def write_anonymous(report: Report, path: Path, analyse: Callable[[Path], Report], seed: bytes) -> Checked:
    """Write an anonymized copy of a report's only capture, and check that an analysis finds the same in both.

    `analyse`: analyzes a capture with the rules and thresholds of the report. `seed`: at most 64 bytes; anyone who knows it can
    guess original addresses and words, and verify the guesses. Raise NotAnonymous if a check fails; then, the file at `path` must
    not be published.
    """
    [capture] = report.captures
    access = report.packets[capture.file]
    size = sum(int(part.tables["records"]["captured"].sum()) for part in access.portions(["records"]))
    if size > ANONYMIZED.value:
        raise NotAnonymous(f"{size:,} bytes of packets; captures are anonymized in memory, up to {ANONYMIZED.text}")
    made = anonymize(access, seed)
    if made.leaks:
        raise NotAnonymous(f"the result would still contain parts of the original (a search found {len(made.leaks)})")
    if not made.packets:
        raise NotAnonymous(f"no packet remains: {left_out(made.left_out)}")
    with room_needed(path.parent.parent), path.open("wb") as out:
        write(out, made.packets, access.drops(), capture.dropped_of - (capture.dropped or 0))
    checked = Checked(analyse(path), [packet.frame for packet in made.packets], made.left_out)
    before, after = (
        Counter(finding_facts(finding, frames) for finding in of.findings)
        for of, frames in ((report, None), (checked.report, checked.frames))
    )
    if before != after:
        raise NotAnonymous(f"its findings would differ: {_difference(before, after)}{_because(made.left_out)}")
    return checked


def write(out: BinaryIO, packets: Sequence[Packet], drops: Sequence[Drop] | None = None, received: int = 0) -> None:
    """Write the packets as a pcapng file whose times begin at `BEGIN`, without details of the capturing host.

    `drops`: the packets that were dropped when the original was captured; None if they were not counted. `received`: the number
    of packets in the original. Both numbers are written, because dropped packets lower the confidence of findings.
    """
    out.write(making.section(f"wiredoctor {__version__}"))
    numbers = {link: number for number, link in enumerate(sorted({packet.parts.link for packet in packets}))}
    for link in numbers:
        out.write(making.interface(Interface(link, snaplen=_SNAPLEN)))
    counts = _statistics(drops, received)
    for packet in packets:
        while counts and counts[0][0] < packet.time:
            out.write(counts.pop(0)[1])
        out.write(making.packet(numbers[packet.parts.link], BEGIN + packet.time, packet.data, packet.length))
    out.write(b"".join(block for _, block in counts))


def _statistics(drops: Sequence[Drop] | None, received: int) -> list[tuple[int, bytes]]:
    """Return pairs of a time (ns since the first packet) and an encoded block that counts the packets dropped up to then."""
    if drops is None:
        return []
    blocks: list[tuple[int, bytes]] = []
    total = 0
    for since, until, packets in sorted(drops, key=lambda drop: drop[1]) or [(None, 0, 0)]:
        total += packets
        after = None if since is None else BEGIN + since
        blocks.append((until, making.statistics(0, BEGIN + until, total, received, after, BEGIN + until)))
    return blocks


def finding_facts(finding: Finding, frames: Sequence[int] | None) -> FindingFacts:
    """Return the properties of a finding that must be equal in both captures.

    `frames`: for a finding in the anonymized capture, the original number of each frame; otherwise None.
    """
    proof = tuple(evidence.frame if frames is None else frames[evidence.frame - 1] for evidence in finding.evidence)
    return (
        finding.rule, finding.kind, finding.side, finding.severity, finding.confidence, finding.delay, finding.count, proof,
    )  # fmt: skip


def left_out(reasons: Mapping[str, int]) -> str:
    """Describe the packets that are missing from the anonymized capture: "3 (no TCP), 1 (IP fragment)"."""
    return ", ".join(f"{number:,} ({reason})" for reason, number in sorted(reasons.items()))


def _because(reasons: Mapping[str, int]) -> str:
    return f"; packets left out: {left_out(reasons)}" if reasons else ""


def _difference(before: Counter[FindingFacts], after: Counter[FindingFacts]) -> str:
    lost, new = before - after, after - before
    parts = [
        f"{word} {', '.join(sorted({one[0] for one in islice(some, _MAX_REPORTED)}))}"
        for word, some in (("without", lost), ("with", new))
        if some
    ]
    return ", ".join(parts)
