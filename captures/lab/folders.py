"""Choose the folder of a recording below captures/: the family of the first rule that its label expects."""

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
    """The texts on the page of a folder: its title, what the recordings show, and which to open first."""

    title: str
    text: str
    first: str


FOLDERS = {
    HEALTHY: Folder(
        "Healthy traffic",
        "Captures without findings. Many of these conversations look faulty but are not: a slow server, a stream "
        "with pauses, a connection that closes as announced.",
        "go-rtt-20-client.pcap",
    ),
    "stalls": Folder(
        "Stalls",
        "Data that could have been sent earlier: Nagle's algorithm and a delayed ACK, lost segments, zero windows, "
        "connection attempts without an answer, paths that break.",
        "server-head-body-split.pcap",
    ),
    "lifetime": Folder(
        "The lifetime of connections",
        "Connections that end too early or too late: a request crosses a close, a reset destroys a response, a server's idle "
        "timeout is shorter than the client's.",
        "race-client.pcap",
    ),
    "streaming": Folder(
        "Streaming",
        "Messages that should have arrived piece by piece, but were buffered on the way, sent in tiny segments, or written "
        "without chunks.",
        "behind-nginx-events-held.pcap",
    ),
    "framing": Folder(
        "Framing",
        "Messages with an invalid start line, header section, chunk or length.",
        "bare-line-feeds.pcap",
    ),
    "round-trips": Folder(
        "Round trips",
        "Exchanges that take more round trips than necessary: connections that are not reused, repeated authentication.",
        "requests-without-session.pcap",
    ),
    "gateways": Folder(
        "Gateways",
        "A gateway responds with an error, and the capture shows what the server behind it did or did not do.",
        "behind-nginx-unreachable.pcap",
    ),
    "capture-faults": Folder(
        "Faults of the capture itself",
        "The capture is missing packets, has duplicates, is cut off, or has only one direction.",
        "cut-off.pcap",
    ),
}

OF_FAMILY = {"round_trips": "round-trips", "capture": "capture-faults"}
"""The folder of each family of rules whose folder has another name."""


def folder_of(label: dict[str, Any]) -> str:
    """Return the name of the folder for a recording with this label."""
    finds = label.get("find", [])
    if not finds:
        return HEALTHY
    [rule] = RULES.glob(f"*/{finds[0]['rule'].replace('-', '_')}.py")
    return OF_FAMILY.get(rule.parent.name, rule.parent.name)


def recordings(captures: Path = CAPTURES) -> list[Path]:
    """Return all recordings, sorted by name."""
    return sorted((path for path in captures.rglob("*.pcap*") if path.suffix in SUFFIXES), key=lambda path: path.name)
