"""A capture that was cut into files is diagnosed like the whole; two captures of one network are merged."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

import wiredoctor
from tests.support.needs import needs
from tests.support.recordings import find_recording
from wiredoctor import Finding, Report


def findings(report: Report) -> list[Finding]:
    """Everything but the names of the capture and its files."""
    return [
        replace(finding, capture="", evidence=tuple(step._replace(file=None, file_frame=None) for step in finding.evidence))
        for finding in report.findings
    ]


@needs("editcap")
@pytest.mark.parametrize("name", ["server-head-body-split.pcap", "unauthorized-closes.pcap", "lost-segment-fast-server.pcap"])
@pytest.mark.parametrize("size", [3, 20])
def test_a_rotated_set(name: str, size: int, tmp_path: Path) -> None:
    """Connections run across the files."""
    subprocess.run(["editcap", "-F", "pcap", "-c", str(size), str(find_recording(name)), str(tmp_path / "set.pcap")], check=True)
    whole, cut = wiredoctor.analyze(find_recording(name)), wiredoctor.analyze(tmp_path)
    assert len(cut.captures) == 1
    assert len(cut.captures[0].files) > 1
    assert cut.captures[0].packets == whole.captures[0].packets
    assert findings(whole)
    assert findings(cut) == findings(whole)
    assert cut.connections.drop("capture").equals(whole.connections.drop("capture"))
    assert cut.exchanges.drop("capture").equals(whole.exchanges.drop("capture"))


@needs("mergecap")
def test_merge_is_what_mergecap_writes(tmp_path: Path) -> None:
    """Both ends of one wire: the second copy of each packet comes from another interface."""
    parts = [str(find_recording(f"race-{place}.pcap")) for place in ("client", "middle", "server")]
    out = tmp_path / "merged.pcapng"
    subprocess.run(["mergecap", "-I", "none", "-w", str(out), *parts], check=True, capture_output=True)
    ours, theirs = wiredoctor.analyze(*parts, merge=True), wiredoctor.analyze(out)
    assert ours.captures[0].files == tuple(parts)
    assert ours.captures[0].duplicates == theirs.captures[0].duplicates > 0
    assert findings(ours) == findings(theirs)
    assert ours.connections.drop("capture").equals(theirs.connections.drop("capture"))


def test_without_merge_each_is_its_own() -> None:
    report = wiredoctor.analyze(find_recording("race-client.pcap"), find_recording("race-server.pcap"))
    assert len(report.captures) == 2
    assert report.connections["connection"].to_list() == [0, 0]
