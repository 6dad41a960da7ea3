"""People read (masked), programs and fingerprints have `*`, and a `*` that was sent stays one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.command_line import run_command
from wiredoctor.testing import capture

SENT = "/token/hunter2/files/*?user=hunter2&b=*"
FOR_PEOPLE = "/token/(masked)/files/*?user=(masked)&b=(masked)"
FOR_PROGRAMS = "/token/*/files/*?user=*&b=*"

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


def test_each_format_for_its_readers(trace: Path, tmp_path: Path) -> None:
    people, programs = ("r.txt", "r.md", "r.html", "r.xml"), ("r.json", "r.jsonl", "r.sarif", "r.csv")
    files = [tmp_path / name for name in (*people, *programs)]
    run("analyze", trace, "--all", "-q", *(word for file in files for word in ("-o", file)))
    for file in files:
        text = file.read_text("utf-8").replace("\\*", "*").replace("&amp;", "&").replace("\\u0026", "&")
        text = text.replace("\\(", "(").replace("\\)", ")")
        assert "hunter2" not in text
        assert "\ue001" not in text
        assert (FOR_PEOPLE in text) is (file.name in people), file.name
        assert (FOR_PROGRAMS in text) is (file.name in programs), file.name


def unescaped(file: Path) -> str:
    text = file.read_text("utf-8")
    return text.replace("\\*", "*").replace("\\(", "(").replace("\\)", ")")


@pytest.mark.parametrize("both_sides", [False, True])
def test_comparisons_for_their_readers(trace: Path, tmp_path: Path, both_sides: bool) -> None:
    """A request with a mask and a sent `*`: people can tell them apart, programs get what they got before."""
    files = [tmp_path / name for name in ("c.txt", "c.md", "c.html", "c.json")]
    words = ["--both-sides"] if both_sides else []
    run("compare", *words, trace, trace, "-q", *(word for file in files for word in ("-o", file)))
    for file in files:
        text = unescaped(file)
        assert "hunter2" not in text
        assert ("/token/(masked)/files/*" in text) is (file.suffix != ".json"), file.name
        assert ("/token/*/files/*" in text) is (file.suffix == ".json"), file.name


def test_comparisons_of_reports_for_people(trace: Path, tmp_path: Path) -> None:
    """A report has `*` for both; what stands in the place of a token is a mask."""
    report = tmp_path / "r.json"
    run("analyze", trace, "-q", "--full", "-o", report)
    told = run("compare", report, report, "-q")
    assert "GET /token/(masked)/files/*" in told
    assert "/token/*" not in told
    assert "1 new" not in run("compare", report, trace, "-q")


def test_lists_and_heads_for_people(trace: Path) -> None:
    heads = run("show", trace, "--connection", 0)
    assert f"GET {FOR_PEOPLE} HTTP/1.1" in heads
    assert "  Accept: */*\n  Cookie: (masked)\n" in heads
    assert "HTTP/1.1 504 Gateway Time-out (masked)\n" in heads
    shown = json.loads(run("show", trace, "--connection", 0, "--format", "json"))
    assert shown["heads"][0]["lines"] == [f"GET {FOR_PROGRAMS} HTTP/1.1", "Host: a", "Accept: */*", "Cookie: *"]
    assert "GET /token/(masked)" in run("exchanges", trace)
    assert FOR_PROGRAMS in run("exchanges", trace, "--format", "csv")
    assert FOR_PEOPLE.partition("?")[0] in run("servers", trace, "--by", "path")


def test_secrets_are_not_masked(trace: Path) -> None:
    text = run("show", trace, "--connection", 0, "--show-secrets", "-q")
    assert f"GET {SENT} HTTP/1.1" in text
    assert "(masked)" not in text


def test_programs_get_what_they_got_before(trace: Path) -> None:
    before, now = json.loads(THEN.read_text("utf-8")), json.loads(run("analyze", trace, "--format", "json"))
    names = ("rule", "request", "fingerprint")
    assert [[one[name] for name in names] for one in now["findings"]] == [
        [one[name] for name in names] for one in before["findings"]
    ]
    assert len(now["findings"]) > 1
    assert not [one for one in now["findings"] if "(masked)" in one["title"] + one["message"]]


def test_a_baseline_from_before_still_fits(trace: Path) -> None:
    assert json.loads(run("analyze", trace, "--baseline", THEN, "--format", "json"))["findings"] == []


@pytest.mark.parametrize("target", [FOR_PROGRAMS, FOR_PEOPLE, "/token/hunter2/files/*", "/token/*"])
def test_targets_of_ignore_entries_fit_as_before_and_as_people_read_them(trace: Path, tmp_path: Path, target: str) -> None:
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
