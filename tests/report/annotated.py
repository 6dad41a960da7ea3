"""Annotated copies of captures, many in one file: tshark reads them as the originals, with comments on the frames of proofs.

A pcapng file may have several sections, and tshark numbers the frames on through all of them: one process reads many copies.
"""

from __future__ import annotations

import io
import re
import struct
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from wiredoctor import Report
from wiredoctor.report.packets import pcapng

FIELDS = ("frame.number", "frame.time_epoch", "frame.len", "frame.cap_len", "frame.comment")
_PCAP, _PCAPNG = {0xA1B2C3D4: 1_000, 0xA1B23C4D: 1}, 0x0A0D0D0A
"""Magic number -> nanoseconds of a tick; the block that a pcapng file begins with."""

_INTERFACE, _PACKET, _END, _RESOLUTION, _NANOSECONDS = 1, 6, 0, 9, b"\x09"
_FRAME = re.compile(r"wiredoctor: frame (\d+) of the whole capture")


class Record(NamedTuple):
    """A packet of a file: ns since 1970, length on the wire, and what of it was captured."""

    time: int
    length: int
    data: bytes


class Shown(NamedTuple):
    """A packet as tshark has it: seconds since 1970, length on the wire, captured length; and its comments."""

    time: str
    length: int
    captured: int
    comment: str


def annotated(report: Report, only: bool = False) -> bytes:
    """The capture of a report with its comments."""
    out = io.BytesIO()
    pcapng.write(report, out, only_findings=only)
    return out.getvalue()


def check_annotated(reports: Sequence[Report], file: Path) -> None:
    """reports: each of one capture, which was kept. file: is written."""
    whole = [annotated(report) for report in reports]
    only = [annotated(report, only=True) for report in reports]
    originals = [[*records(Path(report.captures[0].file).read_bytes())] for report in reports]
    file.write_bytes(b"".join(whole + only))
    shown = _by_tshark(file)
    for report, copy, original in zip(reports, whole, originals, strict=True):
        assert [*records(copy)] == original
        _check_whole(report, original, [next(shown) for _ in original])
    for report, copy, original in zip(reports, only, originals, strict=True):
        _check_only(report, original, [next(shown) for _ in records(copy)])
    assert next(shown, None) is None


def _by_tshark(file: Path) -> Iterator[Shown]:
    words = [word for name in FIELDS for word in ("-e", name)]
    ran = subprocess.run(["tshark", "-n", "-r", file, "-T", "fields", *words], capture_output=True, text=True, check=True)
    for number, line in enumerate(ran.stdout.splitlines(), 1):
        frame, time, length, captured, comment = line.split("\t")
        assert int(frame) == number
        yield Shown(time, int(length), int(captured), comment)


def _same(shown: Shown, record: Record) -> bool:
    time = "{}.{:09}".format(*divmod(record.time, 1_000_000_000))
    return shown[:3] == (time, record.length, len(record.data))


def _check_whole(report: Report, original: Sequence[Record], shown: Sequence[Shown]) -> None:
    """All packets, and comments on the frames of the proofs and on no others."""
    assert all(map(_same, shown, original))
    commented = {frame: one.comment for frame, one in enumerate(shown, 1) if one.comment}
    assert commented.keys() == {e.frame for f in report.findings for e in f.evidence}
    for number, finding in enumerate(report.findings, 1):
        for evidence in finding.evidence:
            assert f"wiredoctor finding {number}, {finding.severity}: {finding.rule}" in commented[evidence.frame]
            assert evidence.note in commented[evidence.frame]
        if finding.evidence:
            first = commented[finding.evidence[0].frame]
            assert finding.message[:200] in first
            assert finding.remedy[:200] in first


def _check_only(report: Report, original: Sequence[Record], shown: Sequence[Shown]) -> None:
    """Packets in their order, and on those of the proofs which frames they were."""
    rest = iter(original)
    for one in shown:
        assert any(_same(one, record) for record in rest)
    told = {int(found[1]): one for one in shown if (found := _FRAME.search(one.comment))}
    assert told.keys() == {e.frame for f in report.findings for e in f.evidence}
    assert all(_same(one, original[frame - 1]) for frame, one in told.items())
    assert all(not one.comment or _FRAME.search(one.comment) for one in shown)


def records(data: bytes) -> Iterator[Record]:
    """The packets of a little-endian pcap file, or of a pcapng file with interfaces of micro- or nanoseconds
    (draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng)."""
    (magic,) = struct.unpack_from("<I", data)
    if magic == _PCAPNG:
        yield from _of_blocks(data)
        return
    at, tick = 24, _PCAP[magic]
    while at + 16 <= len(data):
        seconds, ticks, captured, length = struct.unpack_from("<IIII", data, at)
        at += 16 + captured
        # the last may be cut off
        if at <= len(data):
            yield Record(seconds * 1_000_000_000 + ticks * tick, length, data[at - captured : at])


def _of_blocks(data: bytes) -> Iterator[Record]:
    at = 0
    ticks: list[int] = []
    while at < len(data):
        kind, size = struct.unpack_from("<II", data, at)
        if kind == _PCAPNG:
            ticks.clear()
        elif kind == _INTERFACE:
            ticks.append(_tick(data[at + 16 : at + size - 4]))
        elif kind == _PACKET:
            number, high, low, captured, length = struct.unpack_from("<IIIII", data, at + 8)
            yield Record((high << 32 | low) * ticks[number], length, data[at + 28 : at + 28 + captured])
        at += size


def _tick(options: bytes) -> int:
    """Nanoseconds: the option if_tsresol, or its default."""
    at = 0
    while at + 4 <= len(options):
        code, length = struct.unpack_from("<HH", options, at)
        if code == _RESOLUTION:
            assert options[at + 4 : at + 5] in (_NANOSECONDS, b"\x06")
            return 1 if options[at + 4 : at + 5] == _NANOSECONDS else 1_000
        if code == _END:
            break
        at += 4 + (length + 3 & ~3)
    return 1_000
