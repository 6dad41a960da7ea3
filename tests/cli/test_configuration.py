"""Test wiredoctor.toml and pyproject.toml: their contents, where they are found, and that an error is reported in one line."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path

import pytest

from tests.cli.conftest import FakeAnalysis, Run
from tests.report.examples import capture_loss, finding, report
from wiredoctor.cli.config_file import nearest, read_table
from wiredoctor.report.exclude import Ignore
from wiredoctor.rule_engine import catalogue

FULL = """
select = ["stalls", "premature-close"]
min-confidence = "medium"
fail-on = "warning"
baseline = "known.json"

[thresholds.nagle-delayed-ack]
min-ack-delay = "35 ms"
counter-evidence = 8

[[ignore]]
rule = "nagle-delayed-ack"
server = "10.9.0.7:*"
target = "/legacy/*"
until = 2027-03-31
reason = "the old billing host is switched off in March"
"""


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_all_keys(tmp_path: Path) -> None:
    import tomllib

    read = read_table(tomllib.loads(FULL), "etc/w.toml", catalogue(), date(2027, 3, 31))
    assert read.select == ("stalls", "premature-close")
    assert (read.min_confidence, read.fail_on, read.baseline) == ("medium", "warning", "etc/known.json")
    assert read.thresholds == {"nagle-delayed-ack": {"min-ack-delay": "35 ms", "counter-evidence": 8}}
    reason = "the old billing host is switched off in March"
    assert read.entries == (Ignore(reason, rule="nagle-delayed-ack", server="10.9.0.7:*", target="/legacy/*"),)
    late = read_table(tomllib.loads(FULL), "w.toml", catalogue(), date(2027, 4, 1))
    assert late.entries == ()
    assert late.expired == (
        f"w.toml: the entry that ignores nagle-delayed-ack, 10.9.0.7:*, /legacy/* ({reason}) expired on 2027-03-31",
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("select = 'stalls'", "select: must be a list of names"),
        ("select = ['stals']", "select: no rule or family is called 'stals'; did you mean stalls?"),
        ("ignore = 3", "ignore: must be a list of names, or [[ignore]] tables"),
        ("ignore = ['x', 3]", "ignore: no rule or family is called 'x' (wiredoctor rules lists them)"),
        ("ignores = []", "there is no key 'ignores'; keys are select, ignore, min-confidence, fail-on, baseline, thresholds"),
        ("min-confidence = 'sure'", "min-confidence: 'sure' is not one of high, medium, low"),
        ("fail-on = 1", "fail-on: 1 is not one of error, warning, note"),
        ("baseline = 1", "baseline: must be text"),
        ("thresholds = 1", "thresholds: must be a table"),
        ("thresholds.nagle-delayed-ack = 1", "thresholds.nagle-delayed-ack: must be a table"),
        ("thresholds.nagl-delayed-ack.x = 1", "thresholds.nagl-delayed-ack: no rule is called 'nagl-delayed-ack'; did you mean"),
        ("thresholds.nagle-delayed-ack.min-ack = 1", "thresholds.nagle-delayed-ack.min-ack: no such threshold; did you mean m"),
        ("thresholds.nagle-delayed-ack.min-ack-delay = '30 s ago'", "thresholds.nagle-delayed-ack.min-ack-delay: '30 s ago' is"),
        ("thresholds.nagle-delayed-ack.min-ack-delay = 30", "thresholds.nagle-delayed-ack.min-ack-delay: '30' is not a"),
        ("thresholds.nagle-delayed-ack.min-ack-delay = 1.5", "thresholds.nagle-delayed-ack.min-ack-delay: must be text such as"),
        ("thresholds.nagle-delayed-ack.counter-evidence = '1 s'", "thresholds.nagle-delayed-ack.counter-evidence: '1 s' is"),
        ("thresholds.nagle-delayed-ack.counter-evidence = -1", "thresholds.nagle-delayed-ack.counter-evidence: '-1' is"),
        ("[[ignore]]\nrule = 'stalls'", "ignore entry 1: needs a reason"),
        ("[[ignore]]\nrule = 'stalls'\nreason = ' '", "ignore entry 1: needs a reason"),
        ("[[ignore]]\nreason = 'r'", "ignore entry 1: must name what to ignore: rule, kind, client, server, target"),
        ("[[ignore]]\nreason = 'r'\nrule = 'stals'", "ignore entry 1: rule: no rule or family is called 'stals'; did you mean"),
        ("[[ignore]]\nreason = 'r'\nrule = 3", "ignore entry 1: rule: must be text"),
        ("[[ignore]]\nreason = 'r'\nfingerprint = '6afb'", "ignore entry 1: fingerprint: '6afb' is invalid"),
        ("[[ignore]]\nreason = 'r'\nhost = 'h'", "ignore entry 1: there is no key 'host'; keys are rule, kind, client, server,"),
        ("[[ignore]]\nreason = 'r'\nrule = 'stalls'\nuntil = 'May'", "ignore entry 1: until: 'May' is not a date such as"),
        ("[[ignore]]\nreason = 'r'\nrule = 'stalls'\nuntil = 7", "ignore entry 1: until: 7 is not a date such as 2026-12-31"),
        ("select = [", "not TOML: "),
        ("select = " + "[" * 10_000, "not TOML: nested too deeply"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("command", ["analyze", "rules"])
def test_what_is_wrong_is_a_line(run: Run, analysis: FakeAnalysis, tmp_path: Path, command: str, text: str, says: str) -> None:
    (tmp_path / "w.toml").write_text(text)
    result = run(command, *(["trace.pcap"] if command == "analyze" else []), "--config", "w.toml")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"wiredoctor: w.toml: {says}")
    assert result.stderr.count("\n") == 1
    assert not analysis.calls


def test_a_file_that_is_not_there_or_is_no_text(run: Run, tmp_path: Path) -> None:
    result = run("analyze", "trace.pcap", "--config", "no.toml")
    assert (result.exit_code, result.stderr) == (2, "wiredoctor: --config no.toml: no such file\n")
    (tmp_path / "w.toml").write_bytes(b"\xff\xfe")
    assert run("analyze", "trace.pcap", "--config", "w.toml").exit_code == 2
    assert run("analyze", "trace.pcap", "--config", tmp_path).exit_code == 2


def test_where_it_is_found(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text("[tool.wiredoctor]\nselect = []\n")
    (inner / "pyproject.toml").write_text("[tool.other]\n")
    assert nearest(inner) == tmp_path / "pyproject.toml"
    (tmp_path / "a" / "wiredoctor.toml").write_text("")
    assert nearest(inner) == tmp_path / "a" / "wiredoctor.toml"


@pytest.mark.parametrize(
    "text",
    [
        "[tool.wiredoctor]",
        "[ tool . 'wiredoctor' ]",
        '["tool"."wiredoctor"]',
        "[tool]\nwiredoctor = {}",
        "tool.wiredoctor.select = []",
        "tool = {wiredoctor = {}}",
    ],
)
def test_every_way_to_write_the_table(tmp_path: Path, text: str) -> None:
    (tmp_path / "pyproject.toml").write_text(f"# a comment\n{text}\n")
    assert nearest(tmp_path) == tmp_path / "pyproject.toml"


def test_a_byte_order_mark(run: Run, analysis: FakeAnalysis, tmp_path: Path) -> None:
    """Editors and shells of Windows write it before UTF-8."""
    analysis.report = report([finding()])
    assert run("analyze", "x", "-o", "known.json").exit_code == 0
    for name, text in (
        ("known.json", (tmp_path / "known.json").read_text("utf-8")),
        ("wiredoctor.toml", 'baseline = "known.json"'),
    ):
        (tmp_path / name).write_text(text, "utf-8-sig")
    assert run("analyze", "x", "--fail-on", "warning").exit_code == 0


def test_a_project_that_is_merely_called_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parsing it would cost a small capture as much as its analysis."""
    (tmp_path / "pyproject.toml").write_text("[project.scripts]\nwiredoctor = 'wiredoctor.cli:main'\n")
    monkeypatch.setattr("tomllib.loads", None)
    assert nearest(tmp_path) is None


def test_a_current_folder_that_is_gone(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert run("analyze", "/trace.pcap").exit_code == 0
    monkeypatch.chdir(tmp_path)


def test_it_reaches_the_analysis(run: Run, analysis: FakeAnalysis, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        "[tool.wiredoctor]\nselect = ['stalls']\nignore = ['capture']\n"
        "[tool.wiredoctor.thresholds.nagle-delayed-ack]\nmin-ack-delay = '35 ms'\n"
    )
    assert run("analyze", "x").exit_code == run("exchanges", "x").exit_code == 0
    assert run("analyze", "x", "--select", "lifetime", "--ignore", "premature-close").exit_code == 0
    assert run("analyze", "x", "--config", "/dev/null").exit_code == 0
    first, table, second, third = (settings for _, settings in analysis.calls)
    assert (first.select, first.ignore) == (table.select, table.ignore) == (["stalls"], ["capture"])
    assert first.thresholds == {"nagle-delayed-ack": {"min-ack-delay": "35 ms"}}
    assert (second.select, second.ignore) == (["lifetime"], ["premature-close", "capture"])
    assert (third.select, third.ignore, third.thresholds) == ([], [], {})


def test_what_is_ignored_is_counted_and_does_not_fail(run: Run, analysis: FakeAnalysis, tmp_path: Path) -> None:
    analysis.report = report([finding(), finding(server="10.0.0.7:80")])
    config = "fail-on = 'warning'\n[[ignore]]\nreason = 'known'\nserver = '10.0.0.{}:*'\n"
    (tmp_path / "wiredoctor.toml").write_text(config.format("7"))
    one = run("analyze", "x", "-f", "json")
    assert one.exit_code == 1
    assert len(json.loads(one.stdout)["findings"]) == 1
    assert json.loads(one.stdout)["summary"]["left_out"] == [
        {"by": "ignore", "reason": "known", "findings": 1, "rules": ["nagle-delayed-ack"]}
    ]
    (tmp_path / "wiredoctor.toml").write_text(config.format("?"))
    none = run("analyze", "x")
    assert none.exit_code == 0
    assert "  2 occurrences (nagle-delayed-ack) ignored by the configuration: known\n" in none.stdout


def test_the_command_line_comes_first(run: Run, analysis: FakeAnalysis, tmp_path: Path) -> None:
    analysis.report = report([finding(confidence="low")])
    (tmp_path / "wiredoctor.toml").write_text("min-confidence = 'high'\nfail-on = 'error'\n")
    assert "with less than high confidence" in run("analyze", "x").stdout
    assert run("analyze", "x", "--min-confidence", "low", "--fail-on", "warning").exit_code == 1


def test_an_expired_entry_is_said_and_ignores_nothing(run: Run, analysis: FakeAnalysis, tmp_path: Path) -> None:
    entry = "[[ignore]]\nreason = 'known'\nrule = 'nagle-delayed-ack'\nuntil = {}\n"
    yesterday, today = (date.today() - timedelta(days=days) for days in (1, 0))
    (tmp_path / "wiredoctor.toml").write_text(entry.format(yesterday))
    late = run("analyze", "x", "--fail-on", "warning")
    assert late.exit_code == 1
    assert late.stderr == (
        f"wiredoctor: wiredoctor.toml: the entry that ignores nagle-delayed-ack (known) expired on {yesterday}\n"
    )
    (tmp_path / "wiredoctor.toml").write_text(entry.format(today))
    assert run("analyze", "x").stderr == ""


def test_a_threshold_of_several_rules_is_shown_with_the_rule_that_the_file_names(run: Run) -> None:
    Path("wiredoctor.toml").write_text('[thresholds.nagle-delayed-ack]\nmin-ack-delay = "35 ms"\n')
    place = "thresholds.nagle-delayed-ack.min-ack-delay"
    assert run("analyze", "x").stderr == f"wiredoctor: wiredoctor.toml: {place} also applies to delayed-ack-stall\n"


# baselines


def test_a_baseline_leaves_what_is_new(run: Run, analysis: FakeAnalysis, tmp_path: Path) -> None:
    for form in ("json", "jsonl"):
        analysis.report = report([finding(), capture_loss()])
        assert run("analyze", "x", "-o", f"known.{form}").exit_code == 0
        analysis.report = report([finding(elapsed=9.0, connection=8), capture_loss()])
        same = run("analyze", "x", "--baseline", f"known.{form}", "--fail-on", "note", "--select", "capture,stalls")
        assert same.exit_code == 0
        assert f"  2 occurrences (capture-loss, nagle-delayed-ack) already in the baseline known.{form}\n" in same.stdout
        analysis.report = report([finding(), finding(kind="tail", title="something new")])
        new = run("analyze", "x", "--baseline", f"known.{form}", "--fail-on", "warning")
        assert new.exit_code == 1
        assert "something new" in new.stdout
        assert new.stdout.count("WARNING") == 1


def test_a_baseline_without_findings(run: Run, analysis: FakeAnalysis) -> None:
    for form in ("json", "jsonl"):
        analysis.report = report([])
        run("analyze", "x", "-o", f"empty.{form}")
        analysis.report = report([finding()])
        assert run("analyze", "x", "--baseline", f"empty.{form}", "--fail-on", "warning").exit_code == 1


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "no such file or directory"),
        (b"\xff\xfe", "is not JSON"),
        (b"", "is not JSON"),
        (b"Dear Sir", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b'{"findings": ' + b"9" * 5_000 + b"}", "is not JSON"),
        (b"[1, 2]", "is JSON, but not a wiredoctor report"),
        (b"17", "is JSON, but not a wiredoctor report"),
        (b'{"findings": 3}', "is JSON, but not a wiredoctor report"),
        (b'{"findings": [{}]}', "is JSON, but not a wiredoctor report"),
        (b'{"a": 1}', "is JSON, but not a wiredoctor report"),
        (b"1\n2\n", "is JSON, but not a wiredoctor report"),
    ],
)
def test_what_is_no_baseline(run: Run, analysis: FakeAnalysis, tmp_path: Path, content: bytes | None, says: str) -> None:
    if content is not None:
        (tmp_path / "b.json").write_bytes(content)
    if says == "is not JSON":
        says += "; write a report of the earlier capture with: wiredoctor analyze CAPTURE -o known.json"
    result = run("analyze", "x", "--baseline", "b.json")
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", f"wiredoctor: --baseline b.json: {says}\n")
    assert not analysis.calls
