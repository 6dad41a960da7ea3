"""wiredoctor analyze: options, outputs, exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import FakeAnalysis, Run
from tests.report.examples import capture_loss, connection, finding, report


def test_text_is_the_default(run: Run) -> None:
    result = run("analyze", "trace.pcap")
    assert result.exit_code == 0
    assert result.stdout.startswith("The capture lacks packets. 200 ms was lost to waiting: ")
    assert "\n3 warnings. Time lost: 200 ms.\n" in result.stdout
    assert "What was read" in result.stdout
    assert result.stderr == ""
    assert result.stdout.isprintable() or "\x1b" not in result.stdout


def test_json(run: Run, validate_report: Callable[[dict[str, Any]], None]) -> None:
    short, full = (run("analyze", "trace.pcap", "--format", "json", *more) for more in ((), ("--full",)))
    assert short.exit_code == full.exit_code == 0
    validate_report(json.loads(full.stdout))
    assert len(json.loads(full.stdout)["exchanges"]) == 4
    assert "exchanges" not in json.loads(short.stdout)


def test_jsonl(run: Run) -> None:
    *lines, last = run("analyze", "trace.pcap", "-f", "jsonl").stdout.splitlines()
    assert json.loads(last)["summary"]["findings"] == {"error": 0, "warning": 3, "note": 0}
    assert [json.loads(line)["rule"] for line in lines] == ["nagle-delayed-ack", "premature-close", "capture-loss"]


def test_files_are_written_beside_standard_output(run: Run, tmp_path: Path) -> None:
    names = [tmp_path / f"r{suffix}" for suffix in (".json", ".jsonl", ".txt", ".JSON")]
    result = run("analyze", "trace.pcap", *(w for n in names for w in ("-o", n)), "--full", "--color", "always")
    assert result.exit_code == 0
    assert "What was read" in result.stdout
    assert len(json.loads(names[0].read_bytes())["connections"]) == 4
    assert len(names[1].read_text().splitlines()) == 4
    assert "\x1b" not in names[2].read_text("utf-8")
    assert "\x1b[" in result.stdout
    assert names[3].read_bytes() == names[0].read_bytes()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["-o", "report.doc"], "-o report.doc: the suffix names the format and must be one of .json, .jsonl, .md, .txt"),
        (["-o", "/no/such/folder/r.json"], "-o /no/such/folder/r.json: there is no folder /no\n"),
        (["-o", "r.json", "-o", "r.json"], "-o r.json is given twice"),
        (["--full"], "--full applies to JSON only: add --format json or -o FILE.json"),
        (["--host", "http://www.example.com/"], "--host: 'http://www.example.com/' is neither an IP address nor a host name"),
        (["--from", "noon"], "--from: 'noon' is neither seconds since the first packet nor a time such as 10:42:16, "
         "2026-01-31T10:42:16Z or 31/Jan/2026:10:42:16 +0100"),
        (["--to", "noon"], "--to: 'noon' is neither"),
        (["--from", "3", "--to", "2"], "--from 3 is later than --to 2"),
        (["--select", "nagel-delayed-ack"], "--select: no rule or family is called 'nagel-delayed-ack'; did you mean nagle-"),
        (["--ignore", "stalls,zzz"], "--ignore: no rule or family is called 'zzz' (wiredoctor rules lists them)"),
    ],
)  # fmt: skip
def test_a_wrong_command_line(run: Run, analysis: FakeAnalysis, words: list[str], says: str) -> None:
    result = run("analyze", "trace.pcap", *words)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith(f"wiredoctor: {says}")
    assert result.stderr.count("\n") == 1
    assert not analysis.calls, "is said before the analysis begins"


@pytest.mark.parametrize(
    "words",
    [["analyze"], ["nope"], ["analyze", "x", "--port", "70000"], ["analyze", "x", "--nope"], ["analyze", "x", "--format", "xml"]],
)
def test_usage_errors(run: Run, words: list[str]) -> None:
    result = run(*words)
    assert result.exit_code == 2
    assert "Traceback" not in result.stderr
    assert "Usage: " in result.stderr


def test_a_folder_that_cannot_be_written(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda path, mode, **_: False)
    result = run("analyze", "trace.pcap", "-o", tmp_path / "r.json")
    assert (result.exit_code, result.stderr) == (2, f"wiredoctor: -o {tmp_path}/r.json: no permission to write\n")
    (tmp_path / "d.json").mkdir()
    assert "is a directory" in run("analyze", "trace.pcap", "-o", tmp_path / "d.json").stderr


def test_a_capture_is_never_overwritten(run: Run, tmp_path: Path) -> None:
    """Its name may end in .txt or .json: files are recognised by content."""
    capture, link = tmp_path / "trace.txt", tmp_path / "link.json"
    capture.write_bytes(b"capture")
    link.symlink_to(capture)
    for output in (capture, link):
        result = run("analyze", "other.pcap", capture, "-o", output)
        assert (result.exit_code, result.stderr) == (2, f"wiredoctor: -o {output} would overwrite an input capture\n")
    assert capture.read_bytes() == b"capture"


def test_selection_reaches_the_analysis(run: Run, analysis: FakeAnalysis) -> None:
    words = ["--select", "stalls, premature-close", "--select", "framing", "--ignore", "missing-framing"]
    assert run("analyze", "a.pcap", "b.pcap", *words).exit_code == 0
    [(paths, settings)] = analysis.calls
    assert paths == ["a.pcap", "b.pcap"]
    assert settings.select == ["stalls", "premature-close", "framing"]
    assert settings.ignore == ["missing-framing"]


def test_filters_narrow_what_is_reported(run: Run) -> None:
    one = json.loads(run("analyze", "x", "-f", "json", "--full", "--connection", 3, "--host", "10.0.0.1", "--port", 80).stdout)
    assert [c["id"] for c in one["connections"]] == [3]
    assert [f["rule"] for f in one["findings"]] == ["nagle-delayed-ack"]
    text = run("analyze", "x", "--connection", 3).stdout
    assert "1 TCP connection, 1 HTTP exchange shown (only connection 3; all was read)" in text


@pytest.mark.parametrize("command", ["analyze", "exchanges", "connections", "servers"])
def test_a_connection_that_no_capture_has_is_a_mistake(run: Run, command: str) -> None:
    """The made-up report has the connections 0 to 3."""
    assert run(command, "x", "--connection", 3).exit_code == 0
    result = run(command, "x", "--connection", 3, "--connection", 4)
    assert (result.exit_code, result.stdout) == (2, "")
    reason = "there is no such connection; there are 4 (wiredoctor connections lists them)"
    assert result.stderr == f"wiredoctor: --connection 4: {reason}\n"


@pytest.mark.parametrize("value", ["", " ", ","])
@pytest.mark.parametrize("option", ["--select", "--ignore"])
def test_an_empty_list_of_rules_is_a_mistake(run: Run, option: str, value: str) -> None:
    result = run("analyze", "x", option, value)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"wiredoctor: {option}: names no rule or family (wiredoctor rules lists them)\n"


def test_min_confidence(run: Run, analysis: FakeAnalysis) -> None:
    analysis.report = report([finding(confidence="low"), finding(confidence="medium"), finding(confidence="high")])
    for least, left in (("low", 3), ("medium", 2), ("high", 1)):
        *lines, last = run("analyze", "x", "-f", "jsonl", "--min-confidence", least).stdout.splitlines()
        assert len(lines) == left
        assert sum(one["findings"] for one in json.loads(last)["summary"]["left_out"]) == 3 - left


@pytest.mark.parametrize(
    ("findings", "words", "code"),
    [
        ([], ["--fail-on", "note"], 0),
        ([finding()], [], 0),
        ([finding()], ["--fail-on", "error"], 0),
        ([finding()], ["--fail-on", "warning"], 1),
        ([finding()], ["--fail-on", "note"], 1),
        ([finding()], ["--fail-on", "warning", "--connection", "8"], 0),
        ([finding(confidence="low")], ["--fail-on", "warning", "--min-confidence", "high"], 0),
        ([capture_loss()], ["--fail-on", "note"], 0),
        ([capture_loss()], ["--fail-on", "note", "--select", "capture"], 1),
        ([capture_loss()], ["--fail-on", "note", "--select", "stalls,capture-loss"], 1),
    ],
)
def test_fail_on(run: Run, analysis: FakeAnalysis, findings: list[Any], words: list[str], code: int) -> None:
    analysis.report = report(findings, [connection(8)])
    result = run("analyze", "x", *words)
    assert result.exit_code == code
    assert result.stderr == ""
    assert "What was read" in result.stdout


def test_an_unreadable_capture_among_others(run: Run, analysis: FakeAnalysis) -> None:
    analysis.unreadable = ["no\x1b.pcap: no such file"]
    result = run("analyze", "trace.pcap", "no.pcap", "--fail-on", "note")
    assert result.exit_code == 2
    assert result.stderr == "wiredoctor: no\\x1b.pcap: no such file\n"
    assert "What was read" in result.stdout


def test_an_incomplete_report_ends_with_2_whatever_was_found(run: Run, analysis: FakeAnalysis) -> None:
    analysis.report = report([finding()], incomplete=["Only the first 2 GB of a.gz were read."])
    result = run("analyze", "a.gz", "--fail-on", "note")
    assert result.exit_code == 2
    assert result.stderr == "wiredoctor: Only the first 2 GB of a.gz were read.\n"
    assert result.stdout.startswith("Only the first 2 GB of a.gz were read. 200 ms was lost to waiting: ")


def test_nothing_readable(run: Run, analysis: FakeAnalysis, tmp_path: Path) -> None:
    analysis.unreadable, analysis.report = ["no.pcap: no such file"], report(captures=[])
    result = run("analyze", "no.pcap", "-f", "json", "-o", tmp_path / "r.json")
    assert (result.exit_code, result.stdout) == (2, "")
    assert not (tmp_path / "r.json").exists()


@pytest.mark.parametrize("command", ["analyze", "exchanges", "connections", "servers"])
def test_a_fault_of_ours(run: Run, analysis: FakeAnalysis, command: str) -> None:
    analysis.raises = ZeroDivisionError("password=hunter2")
    result = run(command, "trace.pcap")
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr.startswith("wiredoctor: internal error: ZeroDivisionError in ")
    assert result.stderr.endswith("; please report it (--verbose shows the traceback)\n")
    assert result.stderr.count("\n") == 1
    assert "hunter2" not in result.stderr
    verbose = run(command, "trace.pcap", "--verbose").stderr
    assert "Traceback" in verbose
    assert "ZeroDivisionError" in verbose
    assert "hunter2" not in verbose


def test_the_text_of_an_error_is_shown_where_secrets_are(run: Run, analysis: FakeAnalysis) -> None:
    analysis.raises = ZeroDivisionError("password=\x1b[31mhunter2")
    result = run("analyze", "trace.pcap", "--verbose", "--show-secrets")
    assert r"ZeroDivisionError: password=\x1b[31mhunter2" in result.stderr
    assert "\x1b" not in result.stderr


def test_interrupted(run: Run, analysis: FakeAnalysis, capfd: pytest.CaptureFixture[str]) -> None:
    analysis.raises = KeyboardInterrupt()
    result = run("analyze", "trace.pcap")
    assert (result.exit_code, result.stdout, result.stderr) == (130, "", "")
    assert capfd.readouterr().err == "wiredoctor: interrupted by SIGINT\n"


def test_the_disk_is_full(run: Run, analysis: FakeAnalysis) -> None:
    analysis.raises = OSError(28, "No space left on device", "/tmp/spill")
    result = run("analyze", "trace.pcap")
    assert (result.exit_code, result.stderr) == (2, "wiredoctor: no space left on device: /tmp/spill\n")


def test_quiet_and_verbose(run: Run) -> None:
    quiet = run("analyze", "trace.pcap", "--quiet")
    assert "What was read" not in quiet.stdout
    assert "nagle-delayed-ack" in quiet.stdout
    assert run("analyze", "trace.pcap", "--verbose").stderr.startswith("wiredoctor: 1,234 packets in ")


def test_colour(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\x1b[" not in run("analyze", "x").stdout
    assert "\x1b[" not in run("analyze", "x", "--color", "never").stdout
    assert "\x1b[" in run("analyze", "x", "--color", "always").stdout


def test_statistics(run: Run) -> None:
    result = run("analyze", "x", "--format", "statistics")
    assert result.stdout.splitlines()[-4].split() == ["occurrences", "problems", "severity", "rule", "time", "lost"]


def test_a_format_without_a_file_has_no_suffix(run: Run, tmp_path: Path) -> None:
    result = run("analyze", "x", "-o", str(tmp_path / "report"))
    assert result.exit_code == 2
    assert "must be one of .json, " in result.stderr


@pytest.mark.parametrize("columns", [80, 160])
def test_columns(run: Run, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = run("analyze", "x", "--select", "stalls").stdout.splitlines()
    assert max(len(line) for line in lines if not line.startswith(("  See: ", "  Wireshark: "))) <= columns


def test_all(run: Run, analysis: FakeAnalysis) -> None:
    analysis.report = report([finding(server=f"10.0.1.{i}:80") for i in range(12)])
    assert "\nThe other 10 problems in full: wiredoctor analyze trace.pcap --all\n" in run("analyze", "x").stdout
    assert "more" not in run("analyze", "x", "--all").stdout.partition("What was read")[0].replace("once, MSG_MORE", "")
