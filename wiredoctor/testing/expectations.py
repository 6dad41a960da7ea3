"""Compare the findings with those that a ladder expects."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import wiredoctor
from wiredoctor.findings import Finding
from wiredoctor.testing.notation import LadderError, ladder_packets
from wiredoctor.testing.wire import Packet, to_pcap


@dataclass(frozen=True)
class Expected:
    """A finding that a ladder expects. An attribute that is None is not compared.

    `delay`: the delay in seconds, accurate to `within`. `frames`: the frame numbers of the evidence.
    """

    rule: str
    side: str | None = None
    kind: str | None = None
    severity: str | None = None
    confidence: str | None = None
    delay: float | None = None
    within: float = 0.001
    frames: tuple[int, ...] | None = None

    def fits(self, finding: Any) -> bool:
        """Return whether a finding has all expected values."""
        said = [(getattr(self, n), getattr(finding, n)) for n in ("rule", "side", "kind", "severity", "confidence")]
        if any(mine is not None and mine != theirs for mine, theirs in said):
            return False
        if self.delay is not None and (finding.delay is None or abs(finding.delay - self.delay) > self.within):
            return False
        return self.frames is None or self.frames == tuple(e.frame for e in finding.evidence)


def expectations(text: str, packets: list[Packet]) -> list[Expected]:
    """Parse the lines `=> ...` of a ladder. The line numbers in them are converted to frame numbers."""
    lines = [line.strip().removeprefix("=>").strip() for line in text.splitlines() if line.strip().startswith("=>")]
    if not lines:
        raise LadderError("a ladder must list the expected findings, or '=> nothing'")
    frames = {p.row: number for number, p in enumerate(packets, start=1)}
    return [e for line in lines if line != "nothing" for e in _parse_expected(line, frames)]


def _parse_expected(line: str, frames: dict[int, int]) -> list[Expected]:
    rule, *rest = (part.strip() for part in line.split(","))
    given: dict[str, Any] = {}
    count = 1
    for part in rest:
        name, _, value = part.partition(" ")
        if name == "x":
            count = int(value)
        elif name in ("delay", "within"):
            given[name] = float(value)
        elif name == "frames":
            given["frames"] = tuple(sorted(frames[int(n)] for n in value.split()))
        elif name in ("side", "kind", "severity", "confidence"):
            given[name] = value
        else:
            raise LadderError(f"cannot read: => {line}")
    return [Expected(rule, **given)] * count


POINTS = ("client", "middle", "server")
"""The points at which the conversation of a ladder can be captured."""

EPOCHS = (1, 3)
"""The batch sizes in packets that are also tested, because the end of a batch must not change the findings."""


def check(text: str, at: str | None = None, **how: Any) -> None:
    """Raise AssertionError unless the findings are exactly those that the ladder expects.

    `at`: the capture point (client, middle or server); None for the point at which the ladder is written. `how`: options for
    `wiredoctor.analyze`; `select=["my-rule"]` tests one rule only.
    """
    packets = ladder_packets(text, at)
    compare(expectations(text, packets), _findings(packets, how))


def compare(expected: list[Expected], found: list[Finding]) -> None:
    """Raise AssertionError unless the findings are exactly the expected ones."""
    left = list(found)
    for one in expected:
        match = next((f for f in left if one.fits(f)), None)
        if match is None:
            raise AssertionError(f"{one} was not found; the findings are: {_brief(found)}")
        left.remove(match)
    if left:
        raise AssertionError(f"also found: {_brief(left)}")


def check_everywhere(text: str, **how: Any) -> None:
    """Check the ladder at every capture point, and with batches of one packet and of three packets (see `check`)."""
    for at in POINTS:
        check(text, at, **how)
    for epoch_packets in EPOCHS:
        check(text, None, **{"epoch_packets": epoch_packets, **how})


def findings(text: str, at: str | None = None, **how: Any) -> list[Finding]:
    """Return the findings in the traffic of a ladder. The ladder's expectations are ignored.

    `at`: the capture point, as for `check`. `how`: options for `wiredoctor.analyze`.
    """
    return _findings(ladder_packets(text, at), how)


def _findings(packets: list[Packet], how: dict[str, Any]) -> list[Finding]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ladder.pcap"
        path.write_bytes(to_pcap(packets))
        return wiredoctor.analyze(path, **how).findings


def _brief(findings: list[Any]) -> str:
    told = [
        f"{f.rule} (side {f.side}, kind {f.kind}, {f.severity}, {f.confidence}, delay {f.delay}, "
        f"frames {' '.join(str(e.frame) for e in f.evidence)})"
        for f in findings
    ]
    return "; ".join(told) or "nothing"


def ladders_in(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the title and the text of each ladder in a file. A title is a line `speaks: title` or `silent: title`."""
    shared, *parts = re.split(r"^(?=(?:speaks|silent)\b.*:)", path.read_text(), flags=re.MULTILINE)
    if re.sub(r"^#.*$", "", shared, flags=re.MULTILINE).strip():
        raise LadderError(f"{path}: text before the first title")
    for part in parts:
        title, _, text = part.partition("\n")
        yield title.strip(), text
