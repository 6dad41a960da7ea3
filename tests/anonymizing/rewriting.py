"""Captures that were made anonymous, written and analysed; and a search of its own for what may be left in them."""

from __future__ import annotations

import re
import struct
from collections import Counter
from pathlib import Path

import wiredoctor
from wiredoctor.anonymizing import Anonymized, anonymized
from wiredoctor.findings import Finding, Report

SEED = b"tests"

OF_THE_FILE = {"damaged-file"}
"""Rules that speak of the file itself, and of no packet in it: what is written anew is whole."""

Said = tuple[str, str | None, str | None, str, str, float | None, int]


def said(findings: list[Finding]) -> Counter[Said]:
    """What must be the same afterwards."""
    return Counter(
        (f.rule, f.kind, f.side, f.severity, f.confidence, f.delay, f.count) for f in findings if f.rule not in OF_THE_FILE
    )


def made_anonymous(path: Path, out: Path, seed: bytes = SEED) -> tuple[Report, Anonymized]:
    """The report of a capture, and what takes the place of its packets, which is written as pcap with nanoseconds."""
    report = wiredoctor.analyze(path, keep=True)
    again = next(iter(report.again.values()))
    result = anonymized(again, seed)
    records = {row["frame"]: row for row in again.tables(["records"])["records"].iter_rows(named=True)}
    kinds = {record["link_type"] for record in records.values()} - {-1}
    assert len(kinds) <= 1
    with out.open("wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 1 << 18, kinds.pop() if kinds else 1))
        for frame, data in result.packets:
            time = 10**18 + records[frame]["time"]
            file.write(struct.pack("<IIII", time // 10**9, time % 10**9, len(data), records[frame]["length"]) + data)
    return report, result


def words(data: bytes) -> set[bytes]:
    """Words of six letters or digits and more, in lower case; those of one letter alone say nothing."""
    return {word.lower() for word in re.findall(rb"[A-Za-z0-9]{6,}", data) if len(set(word.lower())) > 1}
