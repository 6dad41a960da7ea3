"""Findings keep their fingerprints, and match the same `[[ignore]]` entries, although reports mask more of a target than before.

The expected values were written by 0.1.0 at commit 7fe56ac, before keys and links in a path were masked. Never change them:
baselines and configurations of users hold such values.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.ladders import ladder_packets, to_pcap
from wiredoctor import analyze
from wiredoctor.cli.baselines import fingerprints
from wiredoctor.compare import compare, from_json, from_report
from wiredoctor.findings import Report
from wiredoctor.report.data import json as report_json
from wiredoctor.report.exclude import Ignore, without_ignored, without_known

TALK = r"""
0.000 > S
0.010 < S.
0.010 > .
0.020 > P. "GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"
9.040 < P. "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"
9.060 > .
"""

WRITTEN = {
    "/reset/d41d8cd98f00": ("/reset/d41d8cd98f00", "/reset/(masked)", "4ab60e8cd6783862"),
    "/accounts/reset/MTU/5f4-3bdc0a1b2c3d4e5f60718293/?next=a": (
        "/accounts/reset/MTU/5f4-3bdc0a1b2c3d4e5f60718293/?next=*", "/accounts/reset/MTU/(masked)/?next=(masked)",
        "237d8616d3966a9d",
    ),
    "/services/T024BE7LD/B03G7JKLM/hT9wXq2Lk": (
        "/services/T024BE7LD/B03G7JKLM/hT9wXq2Lk", "/services/T024BE7LD/B03G7JKLM/(masked)", "f95a422c535f3dfa",
    ),
    "/api/webhooks/123456789012345678/abcDEF-_1234": (
        "/api/webhooks/123456789012345678/abcDEF-_1234", "/api/webhooks/123456789012345678/(masked)", "8ce7f19a2d0bcf81",
    ),
    "/x/AKIAIOSFODNN7EXAMPLE": ("/x/AKIAIOSFODNN7EXAMPLE", "/x/(masked)", "4c10ca2f775fc20b"),
    "/token/hunter2/unsubscribe/77": ("/token/*/unsubscribe/77", "/token/(masked)/unsubscribe/(masked)", "b99783f3a9c1dec9"),
}  # fmt: skip
"""A target -> the same as the old version reported it, as reports show it now, and the old fingerprint."""


def diagnosed(folder: Path, target: str, **options: Any) -> Report:
    path = folder / "trace.pcap"
    path.write_bytes(to_pcap(ladder_packets(TALK.format(target=target))))
    return analyze(path, **options)


@pytest.mark.parametrize("secrets", [False, True])
@pytest.mark.parametrize("target", WRITTEN)
def test_a_baseline_stays_valid(tmp_path: Path, target: str, secrets: bool) -> None:
    before, now, mark = WRITTEN[target]
    report = diagnosed(tmp_path, target, show_secrets=secrets)
    assert [f.request for f in report.findings] == [f"GET {target if secrets else now}"]
    old = {"schema_version": 1, "findings": [{"rule": "slow-response", "request": f"GET {before}", "fingerprint": mark}]}
    (tmp_path / "old.json").write_text(json.dumps(old))
    assert without_known(report, fingerprints(str(tmp_path / "old.json")), "old.json").findings == []


@pytest.mark.parametrize("secrets", [False, True])
@pytest.mark.parametrize("target", WRITTEN)
def test_an_entry_to_ignore_stays_valid(tmp_path: Path, target: str, secrets: bool) -> None:
    before, now, _ = WRITTEN[target]
    report = diagnosed(tmp_path, target, show_secrets=secrets)
    for glob in (before, now, before[:-1] + "?", "*" + before[4:]):
        assert without_ignored(report, [Ignore("known", target=glob)]).findings == []
    assert without_ignored(report, [Ignore("another", target=before + "x")]).findings == report.findings


@pytest.mark.parametrize("any_server", [False, True])
@pytest.mark.parametrize("target", WRITTEN)
def test_an_old_report_is_compared(tmp_path: Path, target: str, any_server: bool) -> None:
    before, now, _ = WRITTEN[target]
    report = diagnosed(tmp_path, target)
    with (tmp_path / "old.json").open("wb") as out:
        report_json.write(report, out, full=True)
    old = (tmp_path / "old.json").read_bytes().replace(now.encode(), before.encode())
    sides = from_json("old.json", lambda: iter(old.splitlines(keepends=True))), from_report(report, "new", frozenset())
    told = compare(*sides, "0", any_server=any_server)
    assert [f.status for f in told.findings] == ["stayed"]
    [endpoint] = told.endpoints
    shown = now.partition("?")[0].replace("T024BE7LD/B03G7JKLM", "T#BE#LD/B#G#JKLM").replace("123456789012345678", "#")
    assert [told.findings[0].request, endpoint.path] == [f"GET {shown}", shown]
