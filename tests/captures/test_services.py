"""Test that captures of networks of services are told rightly: who called whom, what fails, and nothing of healthy ones."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import zstandard

import wiredoctor
from tests.support.sweeps import WHOLE, sweep
from wiredoctor.report.data import json as json_format

CAPTURES = Path(__file__).parents[3] / "shared" / "services" / "captures"
_TEXT = Path(__file__).with_name("services.txt").read_text()
LINES = [line.split(maxsplit=7) for line in _TEXT.splitlines() if line and line[0] != "#"]
COUNTED = {line[0]: line[2::2] for line in LINES if line[1] == "requests"}
QUICK = {"canary_bad", "cluster_peers", "leak_client", "leak_client_twin", "quorum"}

pytestmark = [WHOLE, pytest.mark.skipif(not CAPTURES.is_dir(), reason="the captures are not there")]


class Expected(NamedTuple):
    """Findings that a report must have. See services.txt."""

    severity: str
    count: str
    rule: str
    kinds: str
    side: str
    server: str
    words: str

    def is_about(self, finding: dict[str, Any]) -> bool:
        said, never = self.words.partition(" but not ")[::2]
        text = f"{finding['title']}\n{finding['message']}"
        place = [finding["severity"], finding["rule"], finding["side"], finding["server"]]
        return (
            place == [self.severity, self.rule, self.side, self.server]
            and (finding["kind"] or "-") in self.kinds.split("|")
            and re.search(said, text, re.DOTALL) is not None
            and not (never and re.search(never, text))
        )


def _report_of(name: str, folder: Path) -> dict[str, Any]:
    capture, report = folder / f"{name}.pcap", folder / "report.json"
    with (CAPTURES / f"{name}.pcap.zst").open("rb") as packed, capture.open("wb") as out:
        zstandard.ZstdDecompressor().copy_stream(packed, out)
    with report.open("wb") as out:
        json_format.write(wiredoctor.analyze(capture), out, full=True)
    return json.loads(report.read_text())


def _lies_in(count: int, text: str, missing: float = 0.0) -> bool:
    """Return whether a count is the one in a text, or in its range. `missing`: the share that may be missing."""
    least, _, most = text.partition("-")
    return int(least) * (1 - missing) <= count <= int(most or least)


def test_every_capture_has_its_line() -> None:
    assert {path.name.partition(".")[0] for path in CAPTURES.glob("*.zst")} == set(COUNTED)


@pytest.mark.parametrize("name", sweep(sorted(COUNTED), lambda name: name in QUICK))
def test_a_network_is_told_as_it_was_made(name: str, tmp_path: Path) -> None:
    report = _report_of(name, tmp_path)
    requests, errors, pairs = COUNTED[name]
    assert _lies_in(report["summary"]["requests"]["count"], requests)
    assert sum(one["count"] for one in report["summary"]["server_errors"]) == int(errors)
    gateways = [one["gateway"] for one in report["exchanges"] if one["gateway"]]
    assert _lies_in(sum(one["certain"] and one["front"] is not None for one in gateways), pairs, missing=0.05)

    findings = [one for one in report["findings"] if one["severity"] != "note" or one["rule"] == "client-abort"]
    expected = [Expected(*line[1:]) for line in LINES if line[0] == name and line[1] != "requests"]
    found = Counter(one for finding in findings for one in expected if one.is_about(finding))
    assert {one: found[one] for one in expected} == {one: int(one.count) for one in expected}
    assert len(findings) == sum(found.values()), [one["title"] for one in findings]
    if not expected:
        assert "ms was lost" not in report["summary"]["headline"]
