"""Check conditions that annotated copies must meet for any capture: wiredoctor's reader finds the same packets in them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.capture.reading import Opened, contents, whole
from tests.fuzzing.guard import must
from tests.fuzzing.places import as_file
from wiredoctor.capture.model import NO_PACKET
from wiredoctor.core.capture.records import LATEST
from wiredoctor.report.packets import pcapng

if TYPE_CHECKING:
    from wiredoctor import Report

_NO_LINK = 147
"""LINKTYPE_USER0, which packets have in a copy that have no link type."""


class Packet(NamedTuple):
    """time: ns since 1970."""

    time: int
    length: int
    link_type: int
    data: bytes


def check_copies(report: Report, path: Path) -> None:
    """The copy of a whole capture, and that of the packets that findings are about."""
    [capture] = report.captures
    original = [*_packets(path)][: capture.packets]
    data = _written(report, only=False)
    with as_file(data) as copy:
        seen = [*_packets(copy)]
    if capture.sorted:
        ascend = all(a.time <= b.time for a, b in pairwise(seen))
        must(ascend or capture.clock_steps, "a copy of a sorted capture is in time order", [one.time for one in seen])
        clipped = any(abs(one.time - original[0].time) == LATEST for one in original)
        before, after = (sorted(one[1:] if clipped else one for one in packets) for packets in (original, seen))
        must(after == before, "a copy of a sorted capture has its packets")
        original = seen
    must(len(seen) == len(original), "a copy has every packet", len(seen), len(original))
    differ = [frame for frame, (a, b) in enumerate(zip(seen, original, strict=True), 1) if a != b]
    for frame in differ[:1]:
        must(False, "a packet of a copy is as it was", frame, seen[frame - 1], original[frame - 1])
    _check_comments(report, data)
    proofs = sorted({e.frame for f in report.findings for e in f.evidence})
    data = _written(report, only=True)
    if not proofs:
        return
    with as_file(data) as copy:
        some = [*_packets(copy)]
    rest = iter(original)
    must(
        all(any(_alike(one, other, some[0], original[0]) for other in rest) for one in some),
        "packets of findings are some of all, in their order",
    )
    must(len(some) >= len(proofs), "a copy of what findings are about has their proofs", len(some), proofs)
    if capture.format != "pcapng":
        for frame in proofs:
            must(b"wiredoctor: frame %d of the whole capture" % frame in data, "a copied packet says which it was", frame)


def _alike(one: Packet, other: Packet, first: Packet, first_of_all: Packet) -> bool:
    """Whether a packet is that of the whole capture. Times are clipped at `LATEST` from the first packet of each file."""
    clipped = abs(one.time - first.time) == LATEST or abs(other.time - first_of_all.time) == LATEST
    return one[1:] == other[1:] and (clipped or one.time == other.time)


def _written(report: Report, *, only: bool) -> bytes:
    out = io.BytesIO()
    pcapng.write(report, out, only_findings=only)
    return out.getvalue()


def _check_comments(report: Report, data: bytes) -> None:
    """Every finding with a proof is told on a packet; those of pcapng files may have no room for it."""
    if report.captures[0].format == "pcapng" or b" on this packet" in data:
        return
    for number, finding in enumerate(report.findings, 1):
        told = b"wiredoctor finding %d, %b: " % (number, finding.severity.encode())
        must(
            data.count(told) == len(finding.evidence),
            f"{finding.rule} is told on its packets",
            data.count(told),
            finding.evidence,
        )


def _packets(path: Path) -> Iterator[Packet]:
    with Opened(path) as capture:
        columns = whole(capture)
        names = ("time", "length", "interface")
        rows = zip(*(columns[name].tolist() for name in names), contents(capture, columns), strict=True)
        for time, length, interface, data in rows:
            # a record without a packet may be of no interface
            known = interface < len(capture.records.interfaces)
            link = capture.records.interfaces[interface].link_type if known else NO_PACKET
            yield Packet((capture.first_time or 0) + time, length, _NO_LINK if link == NO_PACKET else link, data)
