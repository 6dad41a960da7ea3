"""Write and analyze anonymized captures, and search them for leaks independently of wiredoctor."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import wiredoctor
from wiredoctor.extract.anonymize import Anonymized, anonymize
from wiredoctor.extract.anonymize.checked import write
from wiredoctor.findings import Finding, Report

SEED = b"tests"

OF_THE_FILE = {"damaged-file"}
"""Rules that speak of the file itself, and of no packet in it: what is written anew is whole."""


def said(findings: list[Finding], frames: list[int] | None = None) -> Counter[tuple[object, ...]]:
    """What must be the same afterwards; frames: of each packet its number in the capture as it was."""
    return Counter(
        (
            *(f.rule, f.kind, f.side, f.severity, f.confidence, f.delay, f.count),
            tuple(frames[e.frame - 1] if frames else e.frame for e in f.evidence),
        )
        for f in findings
        if f.rule not in OF_THE_FILE
    )


def made_anonymous(path: Path, out: Path, seed: bytes = SEED) -> tuple[Report, Anonymized]:
    """The report of a capture, and what takes the place of its packets, which is written."""
    report = wiredoctor.analyze(path, keep=True)
    result = anonymize(next(iter(report.packets.values())), seed)
    with out.open("wb") as file:
        write(file, result.packets)
    return report, result


def words(data: bytes) -> set[bytes]:
    """Words of six letters or digits and more, in lower case; those of one letter alone say nothing."""
    return {word.lower() for word in re.findall(rb"[A-Za-z0-9]{6,}", data) if len(set(word.lower())) > 1}
