"""HTTP of the core beside the NumPy stages: the same exchanges, closes, faults, messages, bursts and columns of segments."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from tests.core.http_feed import differences
from wiredoctor.capture import CaptureError

CAPTURES = Path(__file__).parents[2] / "captures"
RECORDINGS = sorted(CAPTURES.glob("*.pcap*"))
CORPUS = Path(__file__).parents[3] / "shared" / "corpus" / "files"
EVADER = sorted(CORPUS.glob("OISF+suricata-verify/tests/http*/**/*.pcap"))

OTHERWISE = {
    # an empty line after a bare LF ends the head; the NumPy stages look for CR LF CR LF first
    "http-evader-408": "exchanges.response_head_bytes",
    # round trips as of the next request; the NumPy stages give the gap up at the end, and take what is known then
    "http-gap-whole-body": "exchanges.rtt_client",
    "http-gap-beyond-body": "exchanges.rtt_client",
}
"""Captures of which the core says something else, and the first column of that."""


@pytest.mark.parametrize("path", Random(7).sample(RECORDINGS, 24), ids=lambda path: path.stem)
def test_recordings(path: Path) -> None:
    # a response that a close cut is over at the deadline after it, not with the next packet of the connection
    assert [one for one in differences(path) if not one.startswith("segments.owes: 1 rows")] == []


@pytest.mark.skipif(not EVADER, reason="no corpus")
@pytest.mark.parametrize("path", Random(7).sample(EVADER, min(len(EVADER), 40)), ids=lambda path: path.parent.name)
def test_grammar_of_others(path: Path) -> None:
    try:
        found = differences(path)
    except CaptureError:
        pytest.skip("no capture")
    expected = OTHERWISE.get(path.parent.name)
    assert [one.partition(":")[0] for one in found[:1]] == ([expected] if expected else [])
