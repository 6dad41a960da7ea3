"""Test the page "What healthy traffic looks like": its recordings exist, and do not yield the findings that they resemble."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.captures.reports import report_of
from tests.support.recordings import find_recording
from wiredoctor import analyze
from wiredoctor.findings import Finding
from wiredoctor.rule_engine import catalogue
from wiredoctor.testing import POINTS, capture

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "pages" / "healthy-traffic.md").read_text("utf-8")
LOOKALIKES: dict[str, dict[str, Any]] = tomllib.loads((ROOT / "docs" / "lookalikes.toml").read_text("utf-8"))
SECTIONS = {
    picture: text for text in PAGE.split("\n### ")[1:] for picture in re.findall(r"pictures/healthy/([a-z-]+)\.svg", text)
}
RECORDED = [name for name, lookalike in LOOKALIKES.items() if "capture" in lookalike]
WRITTEN = [name for name, lookalike in LOOKALIKES.items() if "text" in lookalike]


def false_alarms(name: str, findings: list[Finding]) -> list[tuple[str, str | None, str]]:
    """Return the findings of the rules that a look-alike is mistaken for, without the notes that are allowed."""
    rules, notes = LOOKALIKES[name]["rules"], LOOKALIKES[name].get("notes", [])
    return [(f.rule, f.kind, f.severity) for f in findings if f.rule in rules and not (f.severity == "note" and f.rule in notes)]


def test_every_section_has_a_picture() -> None:
    assert list(SECTIONS) == list(LOOKALIKES)
    assert sorted([*RECORDED, *WRITTEN]) == sorted(LOOKALIKES)


@pytest.mark.parametrize("name", LOOKALIKES)
def test_rules_exist(name: str) -> None:
    lookalike = LOOKALIKES[name]
    assert {*lookalike["rules"], *lookalike.get("notes", [])} <= catalogue().keys()


def recording_of(name: str) -> Path:
    return find_recording(LOOKALIKES[name].get("capture") or LOOKALIKES[name]["recording"])


@pytest.mark.parametrize("name", LOOKALIKES)
def test_a_section_links_to_its_recording(name: str) -> None:
    assert f"](../../{recording_of(name).relative_to(ROOT)})" in SECTIONS[name]


@pytest.mark.parametrize("name", LOOKALIKES)
def test_a_recording_is_not_taken_for_the_fault(name: str) -> None:
    assert false_alarms(name, report_of(recording_of(name)).findings) == []


@pytest.mark.parametrize("at", [None, *POINTS])
@pytest.mark.parametrize("name", WRITTEN)
def test_a_conversation_is_not_taken_for_the_fault(name: str, at: str | None, tmp_path: Path) -> None:
    file = tmp_path / "conversation.pcap"
    file.write_bytes(capture(LOOKALIKES[name]["text"], at))
    assert false_alarms(name, analyze(file).findings) == []
