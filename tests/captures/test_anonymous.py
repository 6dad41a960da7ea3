"""Test that captures with expected findings still show them after anonymization, without any original text."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest

import wiredoctor
from tests.captures.papers import EACH_KIND, EACH_RULE, ONE_EACH, is_nightly, read
from tests.captures.reports import report_of
from tests.extract.rewriting import SEED, said, words
from tests.support.sweeps import FORMS, sweep
from wiredoctor.extract.anonymize import Packet, anonymize
from wiredoctor.extract.anonymize.checked import write
from wiredoctor.extract.anonymize.vocabulary import FIELD_NAMES, KEPT
from wiredoctor.findings import Report
from wiredoctor.protocols.http1.head import KNOWN_METHODS
from wiredoctor.text.redact import masked_reason

BY_TEXT = ("http-to-tls-port", "half-documents", "length-before-compression")
"""Captures whose proof is in the bodies, which are masked."""
SPEAKING = [path for path in sorted({*ONE_EACH[::2], *EACH_KIND}) if read(path).finds and path.stem not in BY_TEXT]
USUAL = {part.decode() for word in set(FIELD_NAMES).union(*KEPT.values(), KNOWN_METHODS) for part in words(word)}


@FORMS
@pytest.mark.parametrize("path", sweep(SPEAKING, EACH_RULE[1::6].__contains__, is_nightly), ids=lambda path: path.stem)
def test_the_diagnosis_stays_and_nothing_else(path: Path, tmp_path: Path) -> None:
    report, out = report_of(path), tmp_path / "out.pcapng"
    result = anonymize(next(iter(report.packets.values())), SEED)
    assert result.leaks == []
    with out.open("wb") as file:
        write(file, result.packets)
    after = wiredoctor.analyze(out, keep=True)
    counted = ("capture-loss", "dropped")  # by the program that captured: no packet shows it
    in_packets = [one for one in report.findings if (one.rule, one.kind) != counted]
    assert said(after.findings, [packet.frame for packet in result.packets]) == said(in_packets)
    raw = out.read_bytes()
    for endpoint in {*report.connections["client"], *report.connections["server"]}:
        host = ipaddress.ip_address(endpoint.rpartition(":")[0].strip("[]"))
        assert str(host).encode() not in raw
        assert host.packed not in _addresses(result.packets)
    left = {word.decode() for word in words(_payloads(report)) & words(_payloads(after))}
    assert {word for word in left - USUAL if not word.isdigit() and masked_reason(word) != word} == set()


def _addresses(packets: list[Packet]) -> bytes:
    """The first bytes of all packets: as far as addresses can be, but no number of TCP."""
    return b"\n".join(packet.data[:34] for packet in packets)


def _payloads(report: Report) -> bytes:
    """What all packets carry, one behind the other."""
    said: list[bytes] = []
    for portion in next(iter(report.packets.values())).portions(["packets"]):
        for place, size in portion.tables["packets"].select("payload", "captured").iter_rows():
            said.append(portion.read(place, size))
    return b"\n".join(said)
