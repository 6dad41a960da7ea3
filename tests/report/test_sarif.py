"""Test SARIF: it meets the requirements of the specification and of GitHub's code scanning, and has all findings."""

from __future__ import annotations

import io
import json
from pathlib import PureWindowsPath
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.report.examples import capture, capture_loss, connection, exchange, finding, hostile_finding, report
from tests.report.sarif_schema import SARIF, unresolved
from wiredoctor.findings import LeftOut, Report
from wiredoctor.report.data import sarif
from wiredoctor.rule_engine import catalogue


def written(one: Report, **how: Any) -> dict[str, Any]:
    out = io.BytesIO()
    sarif.write(one, out, catalogue(), **how)
    log: dict[str, Any] = json.loads(out.getvalue().decode("ascii"))
    assert [f"{e.json_path}: {e.message[:200]}" for e in Draft202012Validator(SARIF).iter_errors(log)] == []
    assert unresolved(log) == []
    return log["runs"][0]


def test_a_result_says_what_the_finding_says() -> None:
    run = written(report([finding(count=3), capture_loss(), hostile_finding()]))
    first, second, _ = run["results"]
    assert (first["ruleId"], first["level"], first["occurrenceCount"]) == ("nagle-delayed-ack", "warning", 3)
    assert first["message"]["text"].startswith("Nagle's algorithm met a delayed ACK. The server sent the head")
    assert first["locations"][0]["physicalLocation"]["region"] == {"startLine": 5}
    assert first["partialFingerprints"]["wiredoctorFinding/v1"] == finding().fingerprint
    steps = first["codeFlows"][0]["threadFlows"][0]["locations"]
    assert [step["location"]["physicalLocation"]["region"]["startLine"] for step in steps] == [5, 6, 7]
    assert steps[1]["location"]["message"]["text"] == "frame 6, 0.222000 s: the client acknowledges it, 200 ms late"
    assert first["properties"]["delay"] == 0.2
    assert first["properties"]["measures"] == {"delay": 0.2, "held_bytes": 5}
    assert second["properties"]["connection"] is None


def test_rules_have_what_code_scanning_shows() -> None:
    rules = written(report([finding()]))["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == ["premature-close", "nagle-delayed-ack"]
    told = written(report([finding(rule="tinygrams")]))["tool"]["driver"]["rules"]
    assert {rule["id"]: rule.get("name") for rule in told}["tinygrams"] is None
    for rule in rules:
        assert rule["help"]["text"]
        assert "\n## What to do\n" in rule["help"]["markdown"]
        assert rule["properties"]["tags"]
        assert rule["properties"]["problem.severity"] in ("error", "warning", "recommendation")
    nagle = rules[1]
    assert nagle["name"] == "NagleDelayedAck"
    assert nagle["shortDescription"]["text"] == "A small segment waited for a delayed ACK."
    assert nagle["fullDescription"]["text"].startswith("One side wrote a message in two pieces (two writes, two segments). ")
    assert nagle["defaultConfiguration"] == {"level": "warning"}


@pytest.mark.parametrize(
    ("name", "uri", "based"),
    [
        ("captures/a b.pcap", "captures/a%20b.pcap", True),
        ("./a.pcap", "a.pcap", True),
        ("../a:b#c?.pcap", "../a%3Ab%23c%3F.pcap", True),
        ("/srv/\u00e9%.pcap", "file:///srv/%C3%A9%25.pcap", False),
        ("a\udcff.pcap", "a%FF.pcap", True),
        ("a\ud800.pcap", "a%3F.pcap", True),
        ("-", "-", True),
    ],
)
def test_a_path_becomes_a_uri(name: str, uri: str, based: bool) -> None:
    run = written(report([finding(capture=name)], captures=[capture(file=name)]))
    place = run["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]
    assert place == {"uri": uri, "index": 0} | ({"uriBaseId": "%SRCROOT%"} if based else {})


@pytest.mark.parametrize(
    ("name", "uri"),
    [("C:\\a b\\x.pcap", "file:///C:/a%20b/x.pcap"), ("a\\x.pcap", "a/x.pcap"), ("C:x.pcap", "C%3Ax.pcap")],
)
def test_a_path_of_windows_becomes_a_uri(name: str, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 8089 appendix E.2."""
    monkeypatch.setattr(sarif, "PurePath", PureWindowsPath)
    assert sarif.uri(name) == uri


def test_damage_limits_and_what_was_not_read_are_notifications() -> None:
    one = report(
        [], [connection(1, protocol="tls")], [], [capture(damage="cut off at byte 5", duplicates=2), capture(file="b")],
        limits=["too many heads"], left_out=[LeftOut("ignore", "we know", 2, ("idle-close",))],
    )  # fmt: skip
    run = written(one, unread=["c.pcap: no such file"], code=2)
    [invocation] = run["invocations"]
    assert (invocation["executionSuccessful"], invocation["exitCode"]) == (False, 2)
    said = {(n["descriptor"]["id"], n["level"]): n["message"]["text"] for n in invocation["toolExecutionNotifications"]}
    assert said["not-read", "error"] == "c.pcap: no such file"
    assert said["damaged", "warning"] == "damaged: cut off at byte 5"
    assert said["limit", "warning"] == "too many heads"
    assert said["left-out", "note"] == "2 occurrences (idle-close) ignored by the configuration: we know"
    assert ("not-judged", "note") in said


def test_an_incomplete_report_did_not_succeed() -> None:
    [invocation] = written(report(incomplete=["Only the first 2 GB of a.gz were read."]))["invocations"]
    assert not invocation["executionSuccessful"]
    said = [(n["descriptor"]["id"], n["level"], n["message"]["text"]) for n in invocation["toolExecutionNotifications"]]
    assert said[0] == ("incomplete", "error", "Only the first 2 GB of a.gz were read.")


def test_an_empty_report() -> None:
    run = written(Report(version="0.1.0"))
    assert (run["results"], run["artifacts"], run["invocations"][0]["executionSuccessful"]) == ([], [], True)


def test_brackets_are_no_link() -> None:
    run = written(report([finding(title="[x](1)", message="see [y](http://evil)")]))
    assert run["results"][0]["message"]["text"] == "[x]\\(1). see [y]\\(http://evil)"


def test_exchanges_are_counted() -> None:
    run = written(report([finding()], [connection(1)], [exchange(1)]))
    assert {k: run["properties"][k] for k in ("connections", "exchanges", "delay")} == {
        "connections": 1, "exchanges": 1, "delay": 0.2,
    }  # fmt: skip
