"""A masked part is (masked) in every output, a `*` that was sent stays one, and fingerprints and baselines stay as they were."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.command_line import run_command
from wiredoctor.testing import capture

SENT = "/token/hunter2/files/*?user=hunter2&b=*"
SHOWN = "/token/(masked)/files/*?user=(masked)&b=(masked)"
BEFORE = "/token/*/files/*?user=*&b=*"
"""The target in the reports of earlier commits."""

TALK = f"""
  0.000  >  S    win 64240 mss 1460
  0.010  <  S.   win 64240 mss 1460
  0.010  >  .
  0.011  >  P.   "GET {SENT} HTTP/1.1\\r\\nHost: a\\r\\nAccept: */*\\r\\nCookie: hunter2\\r\\n\\r\\n"
  0.022  <  .
  2.021  <  P.   "HTTP/1.1 504 Gateway Time-out hunter2\\r\\nContent-Length: 2\\r\\n\\r\\nok"
  2.021  >  .
  2.030  >  P.   "POST {SENT} HTTP/1.1\\r\\nHost: a\\r\\nContent-Length: 0\\r\\n\\r\\n"
  2.230  <  F.
  2.230  >  F.
"""

THEN = Path(__file__).with_name("report_of_ecf19642.json")
"""The JSON report of this capture by the version of that commit."""


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("masks") / "trace.pcap"
    path.write_bytes(capture(TALK))
    return path


def run(*words: object) -> str:
    done = run_command(*words)
    assert done.exit_code == 0, done.stderr
    return done.stdout


def unescaped(file: Path) -> str:
    text = file.read_text("utf-8").replace("&amp;", "&").replace("\\u0026", "&")
    return text.replace("\\*", "*").replace("\\(", "(").replace("\\)", ")")


def test_every_format(trace: Path, tmp_path: Path) -> None:
    files = [tmp_path / f"r.{suffix}" for suffix in ("txt", "md", "html", "xml", "json", "jsonl", "sarif", "csv", "har")]
    run("analyze", trace, "--all", "-q", *(word for file in files for word in ("-o", file)))
    for file in files:
        text = unescaped(file)
        assert "hunter2" not in text
        assert "\ue001" not in text
        assert SHOWN in text, file.name
        assert "/token/*" not in text, file.name


@pytest.mark.parametrize("both_sides", [False, True])
def test_comparisons(trace: Path, tmp_path: Path, both_sides: bool) -> None:
    files = [tmp_path / name for name in ("c.txt", "c.md", "c.html", "c.json")]
    words = ["--both-sides"] if both_sides else []
    run("compare", *words, trace, trace, "-q", *(word for file in files for word in ("-o", file)))
    for file in files:
        text = unescaped(file)
        assert "hunter2" not in text
        assert "/token/(masked)/files/*" in text, file.name
        assert "/token/*" not in text, file.name


def test_comparisons_of_reports(trace: Path, tmp_path: Path) -> None:
    report = tmp_path / "r.json"
    run("analyze", trace, "-q", "--full", "-o", report)
    told = run("compare", report, report, "-q")
    assert "GET /token/(masked)/files/*" in told
    assert "/token/*" not in told
    assert "1 new" not in run("compare", report, trace, "-q")


@pytest.mark.slow
def test_lists_and_heads(trace: Path) -> None:
    heads = run("show", trace, "--connection", 0)
    assert f"GET {SHOWN} HTTP/1.1" in heads
    assert "  Accept: */*\n  Cookie: (masked)\n" in heads
    assert "HTTP/1.1 504 Gateway Time-out (masked)\n" in heads
    shown = json.loads(run("show", trace, "--connection", 0, "--format", "json"))
    assert shown["heads"][0]["lines"] == [f"GET {SHOWN} HTTP/1.1", "Host: a", "Accept: */*", "Cookie: (masked)"]
    assert "GET /token/(masked)" in run("exchanges", trace)
    assert SHOWN in run("exchanges", trace, "--format", "csv")
    assert SHOWN.partition("?")[0] in run("servers", trace, "--by", "path")


def test_secrets_are_not_masked(trace: Path) -> None:
    text = run("show", trace, "--connection", 0, "--show-secrets", "-q")
    assert f"GET {SENT} HTTP/1.1" in text
    assert "(masked)" not in text


def test_findings_are_those_of_before(trace: Path) -> None:
    before, now = (
        json.loads(THEN.read_text("utf-8")),
        json.loads(run("analyze", trace, "--format", "json").replace("(masked)", "*")),
    )
    names = ("rule", "request", "fingerprint")
    told, of_before = ([[one[name] for name in names] for one in report["findings"]] for report in (now, before))
    assert told == of_before
    assert len(now["findings"]) > 1


def test_a_baseline_from_before_still_fits(trace: Path) -> None:
    assert json.loads(run("analyze", trace, "--baseline", THEN, "--format", "json"))["findings"] == []


@pytest.mark.parametrize("target", [BEFORE, SHOWN, "/token/hunter2/files/*", "/token/*"])
def test_targets_of_ignore_entries_fit_as_before_and_as_shown(trace: Path, tmp_path: Path, target: str) -> None:
    config = tmp_path / "wiredoctor.toml"
    config.write_text(f'[[ignore]]\nrule = "slow-response"\ntarget = "{target}"\nreason = "known"\n')
    found = json.loads(run("analyze", trace, "--config", config, "--format", "json"))["findings"]
    assert ("slow-response" in {one["rule"] for one in found}) is (target == "/token/hunter2/files/*")


def test_comparisons_mask_a_key_by_its_form(tmp_path: Path) -> None:
    """Once it is masked, nothing around shows that the `*` was a key: only the capture does."""
    path = tmp_path / "key.pcap"
    path.write_bytes(capture(TALK.replace(SENT, f"/a/ghp_{'k' * 36}/*")))
    told = run("compare", path, path, "-q")
    assert told.count("/a/(masked)/*") >= 2  # a finding and an endpoint
    assert "/a/*" not in told
