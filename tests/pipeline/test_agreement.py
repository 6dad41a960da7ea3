"""Findings that agree with each other: on random conversations with several faults, on foreign captures.

On every recording: tests/captures/test_papers.py.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import wiredoctor
from tests.pipeline.agreement import disagreements
from tests.pipeline.faults import ladders
from tests.support.analysis import analyze_bytes
from tests.support.sweeps import SLOW, examples
from wiredoctor.testing import POINTS, capture

CORPUS = Path(__file__).resolve().parents[3] / "shared" / "corpus"
EVERY = 16
"""Of so many captures of the corpus one is looked at."""


@SLOW
@settings(max_examples=examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ladders(), st.sampled_from(POINTS), st.sampled_from([1, 7, 1000]))
def test_findings_of_several_faults_agree(
    tmp_path_factory: pytest.TempPathFactory, drawing: tuple[str, list[str]], at: str, epoch_packets: int
) -> None:
    text, steps = drawing
    path = tmp_path_factory.mktemp("faults") / "faults.pcap"
    report = analyze_bytes(path, capture(text, at), epoch_packets=epoch_packets)
    assert disagreements(report) == [], f"{steps}\n{text}"


def _foreign() -> list[Path]:
    if not (CORPUS / "oracle.jsonl").exists():
        return []
    lines = (CORPUS / "oracle.jsonl").read_text("utf-8").splitlines()
    return [CORPUS / "files" / json.loads(line)["path"] for line in lines[::EVERY]]


@SLOW
@pytest.mark.skipif(not CORPUS.exists(), reason="the corpus is not here")
def test_findings_of_foreign_captures_agree() -> None:
    wrong: dict[str, list[str]] = {}
    for path in _foreign():
        try:
            told = disagreements(wiredoctor.analyze(path))
        except wiredoctor.pipeline.CaptureError:
            continue
        if told:
            wrong[str(path.relative_to(CORPUS))] = told
    assert wrong == {}
