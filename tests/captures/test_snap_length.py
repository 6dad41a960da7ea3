"""Stalls are a matter of lengths, numbers and times: a capture without the heads tells the same ones, and no others."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

import wiredoctor
from tests.captures.papers import EACH_RULE, ONE_EACH
from tests.captures.reports import report_of
from tests.support.sweeps import FORMS, sweep
from wiredoctor.findings import Finding, Report

SNAP_LENGTHS = (54, 66, 96)
STALLS = ["nagle-delayed-ack", "delayed-ack-stall"]
ENDIAN = {b"\xd4\xc3\xb2\xa1": "<", b"\xa1\xb2\xc3\xd4": ">"}
PCAPS = [path for path in ONE_EACH if path.suffix == ".pcap" and path.open("rb").read(4) in ENDIAN]


def cut(path: Path, snap: int) -> bytes:
    """A pcap file as it would be with this snap length."""
    content = path.read_bytes()
    order = ENDIAN[content[:4]]
    found, at = [content[:24]], 24
    while at + 16 <= len(content):
        seconds, fraction, captured, length = struct.unpack_from(order + "IIII", content, at)
        kept = content[at + 16 : at + 16 + captured][:snap]
        found.append(struct.pack(order + "IIII", seconds, fraction, len(kept), length) + kept)
        at += 16 + captured
    return b"".join(found)


def stalls(report: Report) -> dict[tuple[str, int | None, int], Finding]:
    """The stalls by rule, connection and the frame of D."""
    found = [one for one in report.findings if one.rule in STALLS]
    return {(one.rule, one.connection, one.evidence[0].frame): one for one in found}


@FORMS
@pytest.mark.parametrize("path", sweep(PCAPS, EACH_RULE[2::6].__contains__), ids=lambda path: path.stem)
def test_the_same_stalls_are_told_of_a_cut_capture(tmp_path: Path, path: Path) -> None:
    """The next capture is cut at the next length."""
    whole = stalls(report_of(path))
    short = tmp_path / "short.pcap"
    short.write_bytes(cut(path, SNAP_LENGTHS[PCAPS.index(path) % len(SNAP_LENGTHS)]))
    told = stalls(wiredoctor.analyze(short, select=STALLS))
    assert told.keys() == whole.keys()
    for key, one in told.items():
        assert one.delay == pytest.approx(whole[key].delay, abs=0.002), key
        assert one.confidence != "high" or one.kind == whole[key].kind, key
        assert one.kind in (whole[key].kind, "write-write-read"), key
