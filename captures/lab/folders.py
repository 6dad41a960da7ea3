"""The folder of a recording below captures/: the family of the rule that its label expects first."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

CAPTURES = Path(__file__).resolve().parents[1]
RULES = CAPTURES.parent / "wiredoctor" / "rules"
SUFFIXES = (".pcap", ".pcapng")
HEALTHY = "healthy"


@dataclass(frozen=True)
class Folder:
    """What the page of a folder says: its title, what the recordings show, and which to open first."""

    title: str
    text: str
    first: str


FOLDERS = {
    HEALTHY: Folder(
        "Healthy traffic",
        "Nothing must be found here. Many of these conversations look like a fault: a server that takes its time, a stream "
        "with pauses, a connection that closes as it announced.",
        "go-rtt-20-client.pcap",
    ),
    "stalls": Folder(
        "Stalls",
        "Data that could have been sent earlier: Nagle's algorithm against a delayed ACK, lost segments, closed windows, "
        "connections that nobody answers, paths that break.",
        "server-head-body-split.pcap",
    ),
    "lifetime": Folder(
        "The lifetime of connections",
        "Connections that end too early or too late: a request meets a close, a reset destroys a response, an idle timeout is "
        "shorter than the client believes.",
        "race-client.pcap",
    ),
    "streaming": Folder(
        "Streaming",
        "Messages that were meant to arrive piece by piece: held back on the way, sent in tiny segments, written without chunks.",
        "behind-nginx-events-held.pcap",
    ),
    "framing": Folder(
        "Framing",
        "Messages whose start line, header section, chunks or end are wrong.",
        "bare-line-feeds.pcap",
    ),
    "round-trips": Folder(
        "Round trips",
        "Exchanges that cost more round trips than they need: connections that are not reused, authentication that starts anew.",
        "requests-without-session.pcap",
    ),
    "gateways": Folder(
        "Gateways",
        "A gateway answers with an error, and the capture shows why: what its server did, or did not do.",
        "behind-nginx-unreachable.pcap",
    ),
    "capture-faults": Folder(
        "Faults of the capture itself",
        "The capture lacks or repeats packets, is cut off, or shows one direction only.",
        "cut-off.pcap",
    ),
}

OF_FAMILY = {"round_trips": "round-trips", "capture": "capture-faults"}
"""Family of rules -> folder, where the names differ."""


def folder_of(label: dict[str, Any]) -> str:
    """Return the name of the folder for a recording with this label."""
    finds = label.get("find", [])
    if not finds:
        return HEALTHY
    [rule] = RULES.glob(f"*/{finds[0]['rule'].replace('-', '_')}.py")
    return OF_FAMILY.get(rule.parent.name, rule.parent.name)


def recordings(captures: Path = CAPTURES) -> list[Path]:
    """Return all recordings, in order of their names."""
    return sorted((path for path in captures.rglob("*.pcap*") if path.suffix in SUFFIXES), key=lambda path: path.name)
