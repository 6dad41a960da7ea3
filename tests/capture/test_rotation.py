"""A recording that is cut into a rotation gives the answers of the whole."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from tests.support.recordings import find_recording
from wiredoctor.findings import Report
from wiredoctor.pipeline import analyze

CUT_BADLY = ("gives-up-rtt-20-middle", "bridge-any", "stale-pool-rtt-120-middle")
"""An interface per file makes second copies of what was sent again shortly after a cut."""


def cut(recording: Path, folder: Path, packets: int) -> Path:
    """Write the packets of a pcap file into files of so many packets, named as tcpdump -C does it."""
    content = recording.read_bytes()
    order = "<" if content[:4] in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1") else ">"
    places, at = [24], 24
    while at + 16 <= len(content):
        at += 16 + struct.unpack_from(f"{order}I", content, at + 8)[0]
        places.append(at)
    folder.mkdir()
    for number, first in enumerate(range(0, len(places) - 1, packets)):
        part = content[places[first] : places[min(first + packets, len(places) - 1)]]
        (folder / f"trace.pcap{number or ''}").write_bytes(content[:24] + part)
    return folder


def answers(report: Report) -> tuple[object, ...]:
    findings = [(f.rule, f.kind, f.count, f.delay, [step.frame for step in f.evidence], f.message) for f in report.findings]
    return findings, [(one.packets, one.duplicates) for one in report.captures]


@pytest.mark.parametrize("packets", [1, 7])
@pytest.mark.parametrize("name", CUT_BADLY)
def test_a_rotation_is_reported_as_the_whole(name: str, packets: int, tmp_path: Path) -> None:
    recording = find_recording(f"{name}.pcap")
    rotation = cut(recording, tmp_path / "cut", packets)
    assert answers(analyze(rotation)) == answers(analyze(recording))


def test_evidence_names_the_file_and_the_frame_in_it(tmp_path: Path) -> None:
    recording = find_recording("race-client.pcap")
    rotation = cut(recording, tmp_path / "cut", 7)
    whole, found = analyze(recording), analyze(rotation)
    steps = [step for finding in found.findings for step in finding.evidence]
    assert steps
    for step in steps:
        number, before = divmod(step.frame - 1, 7)
        assert (step.file, step.file_frame) == (f"{rotation}/trace.pcap{number or ''}", before + 1)
    assert all(step.file is None and step.file_frame is None for finding in whole.findings for step in finding.evidence)
