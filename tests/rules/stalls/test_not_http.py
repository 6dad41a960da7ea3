"""Where there is no HTTP, findings do not speak of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.ladders import STALL
from tests.support.recordings import find_recording
from wiredoctor import analyze
from wiredoctor.findings import Finding
from wiredoctor.testing import findings, ladders_in

LADDERS = [text for title, text in ladders_in(Path(__file__).with_name("not_http.txt")) if title.startswith("speaks")]
WORDS = re.compile(r"\b(requests?|responses?|http\w*|servlets?|\.NET|uvicorn|nginx)\b", re.IGNORECASE)


def spoken(finding: Finding) -> list[str]:
    """Words of HTTP in what a finding says. That some payload is not HTTP may be said."""
    texts = [finding.title, finding.message, finding.remedy, *(e.note for e in finding.evidence)]
    return WORDS.findall(" ".join(texts).replace("The payload is not readable HTTP", ""))


@pytest.mark.parametrize("text", LADDERS)
def test_ladders(text: str) -> None:
    told = [f for f in findings(text) if f.family == "stalls"]
    assert told
    assert [spoken(f) for f in told] == [[] for _ in told]
    assert not [f for f in told if f.request or f.status or f.exchange is not None]


@pytest.mark.parametrize("name", ["redis-two-writes-client.pcap", "smtp-smtpd.pcap", "ssh-rtt-20-server.pcap"])
def test_recordings(name: str) -> None:
    told = [f for f in analyze(find_recording(name)).findings if f.family == "stalls"]
    assert told
    assert [spoken(f) for f in told] == [[] for _ in told]
    assert {f.confidence for f in told} <= {"medium", "low"}


def test_what_is_not_known_of_other_payload_is_said() -> None:
    [finding] = [f for f in findings(LADDERS[1]) if f.rule == "nagle-delayed-ack"]
    assert "the ends of messages are unknown" in finding.message
    assert finding.evidence[0].note == "first write: 17 bytes sent"


def test_words_are_found_where_they_are() -> None:
    [finding] = findings(STALL)
    assert "response" in spoken(finding)
