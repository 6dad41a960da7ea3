"""Logs of real servers beside captures that were made at the same time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.access_log.real_servers import SERVERS, record
from tests.support.needs import skip_without

EXPLAINED = {
    "nginx": [
        ("/slow", 200, "slow-response"),
        ("/boom", 500, None),
        ("/dies", 502, "gateway-error"),
        ("/dead", 502, "gateway-error"),
    ],
    "apache": [
        ("/slow", 200, "slow-response"),
        ("/boom", 500, None),
        ("/dies", 502, "gateway-error"),
        ("/dead", 503, "gateway-error"),
    ],
    "haproxy": [
        ("/slow", 200, "slow-response"),
        ("/boom", 500, None),
        ("/dies", 502, "gateway-error"),
        ("/dead", 503, "gateway-error"),
    ],
    "envoy": [
        ("/slow", 200, "slow-response"),
        ("/boom", 500, None),
        ("/dies", 503, "gateway-error"),
        ("/dead", 503, "gateway-error"),
    ],
}
"""What the servers log of what the application does, and the first finding; a 500 of the application has none."""

MEANING = {"nginx": "end", "apache": "start", "haproxy": "start", "envoy": "start"}


def explain(log: Path, capture: Path, *options: str, zone: str = "UTC") -> str:
    words = [sys.executable, "-m", "wiredoctor", "explain-log", str(log), str(capture), *options]
    return subprocess.run(words, check=True, capture_output=True, text=True, env={**os.environ, "TZ": zone}).stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", SERVERS)
def test_each_line_gets_its_exchange_and_finding(name: str, tmp_path: Path) -> None:
    skip_without(*SERVERS[name], "tcpdump")
    if os.getuid():
        pytest.skip("needs root")
    tmp_path.chmod(0o777)
    log, capture, port = record(name, tmp_path)
    found = json.loads(explain(log, capture, "--format", "json"))
    lines = found["lines"]
    assert [(one["target"], one["status"], (one["findings"] or [{"rule": None}])[0]["rule"]) for one in lines] == EXPLAINED[name]
    assert {one["time_is"] for one in lines} == {MEANING[name]}
    assert all(one["exchange"]["server"] == f"127.0.0.1:{port}" for one in lines)
    assert all(abs(one["duration"] - one["exchange"]["duration"]) < 0.05 for one in lines)
    assert found["clock_offset"]["seconds"] == 0
    text = explain(log, capture)
    assert "secret" not in text
    assert max(map(len, text.splitlines())) <= 100 or "wiredoctor show" in max(text.splitlines(), key=len)
    if name == "haproxy":  # whose log has no zone
        away = json.loads(explain(log, capture, "--format", "json", zone="Asia/Kolkata"))
        assert away["clock_offset"]["seconds"] == pytest.approx(-19_800, abs=0.1)
        assert [one["exchange"] for one in away["lines"]] == [one["exchange"] for one in lines]
