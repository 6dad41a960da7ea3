"""Test `wiredoctor show`: it shows the findings that analyze numbers, decodes heads, and follows the same streams as tshark."""

from __future__ import annotations

import json
import re
import subprocess
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from tests.support.needs import needs
from tests.support.recordings import find_recording
from wiredoctor.cli.app import application

SPLIT = str(find_recording("client-split-200-ms-client.pcap"))
LOST = str(find_recording("lost-segment-fast-server.pcap"))


def run(*words: str, **env: str) -> Result:
    return CliRunner().invoke(application(words), [*words], env={"COLUMNS": "100", **env}, prog_name="wiredoctor")


def as_json(*words: str) -> Any:
    done = run(*words, "--format", "json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def analysed() -> Any:
    return as_json("analyze", SPLIT)


def test_the_number_is_that_of_the_json(analysed: Any) -> None:
    assert [f["number"] for f in analysed["findings"]] == [1, 2, 3, 4, 5]
    shown = as_json("show", SPLIT, "--finding", "3")
    assert shown["finding"] == analysed["findings"][2]
    assert [one["number"] for one in shown["also"]] == [1, 2, 4, 5]
    frames = [step["frame"] for step in shown["ladder"]["steps"] if step["evidence"]]
    assert frames == [e["frame"] for e in analysed["findings"][2]["evidence"]]
    assert [(head["message"], head["exchange"]) for head in shown["heads"]] == [
        ("request", analysed["findings"][2]["exchange"]), ("response", analysed["findings"][2]["exchange"]),
    ]  # fmt: skip


def test_a_filter_changes_no_number(analysed: Any) -> None:
    late = as_json("analyze", SPLIT, "--from", "0.8")
    over = {f["number"]: f["evidence"][-1]["elapsed"] for f in analysed["findings"]}
    assert [f["number"] for f in late["findings"]] == [number for number, end in over.items() if end > 0.8]
    assert re.search(r"finding 3 \([0-9a-f]{8}\), connection 0", run("analyze", SPLIT, "--from", "0.8").stdout)


@pytest.mark.slow
def test_a_fingerprint_names_the_first_finding_that_has_it(analysed: Any) -> None:
    for finding in analysed["findings"]:
        first = next(f for f in analysed["findings"] if f["fingerprint"] == finding["fingerprint"])
        for digits in (8, 16):
            shown = as_json("show", SPLIT, "--finding", finding["fingerprint"][:digits].upper())
            assert shown["finding"] == first
    missing = run("show", SPLIT, "--finding", "0123456789abcdef")
    assert missing.exit_code == 2
    assert "--finding 0123456789abcdef: the findings are numbered 1 to 5, and no fingerprint begins with" in missing.stderr


def test_text_has_the_ladder_and_the_heads() -> None:
    page = run("show", SPLIT, "--finding", "1", "--color", "never").stdout
    for said in ("finding 1: nagle-delayed-ack", "201 ms", "POST /order HTTP/1.1", "Content-Length: 400", "first write"):
        assert said in page
    assert "Date: Fri, 20 Nov 2026" in page  # a date is no secret
    whole = run("show", SPLIT, "--connection", "0", "--all", "--show-secrets", "--color", "never").stdout
    assert whole.count("HTTP/1.1 200 OK") == 5
    assert "Date: Fri, 20 Nov 2026" in whole
    assert max(map(len, run("show", SPLIT, "--finding", "1", COLUMNS="80").stdout.splitlines())) <= 80


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([SPLIT], "specify --finding N"),
        ([SPLIT, "--finding", "1", "--connection", "0"], "cannot be combined"),
        ([SPLIT, "--finding", "6"], "--finding 6: the findings are numbered 1 to 5"),
        ([SPLIT, "--connection", "1"], "--connection 1: there is no such connection; the only connection has number 0"),
        ([SPLIT, "--connection", "0#5"], "--exchange 5: connection 0 has no exchange with this number"),
        ([SPLIT, "--connection", "0#"], "of connection 8, not '0#'"),
        ([SPLIT, "--connection", "-1"], "of connection 8, not '-1'"),
        ([SPLIT, "--connection", "0#1", "--exchange", "1"], "--connection 0#1 names an exchange already: omit --exchange"),
        ([SPLIT, "--connection", "0", "--exchange", "5"], "--exchange 5: connection 0 has no exchange with this number"),
        ([SPLIT, LOST, "--connection", "0"], "name one capture"),
        ([SPLIT, "--connection", "0", "--frames", "9-3"], "is a reversed range"),
        ([SPLIT, "--connection", "0", "--frames", "x"], "is not a frame"),
        ([SPLIT, "--finding", "1", "--frames", "1-3"], "need --connection"),
        ([SPLIT, "--finding", "1", "--exchange", "1"], "needs --connection"),
        ([SPLIT, "--finding", "1", "--side", "client"], "need --follow"),
        ([SPLIT, "--finding", "1", "--follow", "--raw"], "add --side client"),
        ([SPLIT, "--finding", "1", "--follow", "--format", "json"], "--follow prints text"),
        (["/nosuch.pcap", "--finding", "1"], "/nosuch.pcap: no such file"),
    ],
)
def test_what_does_not_exist_is_said_in_a_line(words: list[str], said: str) -> None:
    done = run("show", *words)
    assert done.exit_code == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert not done.stdout


def test_findings_of_several_captures_are_numbered_through() -> None:
    both = as_json("analyze", SPLIT, LOST)
    last = both["findings"][-1]
    assert as_json("show", SPLIT, LOST, "--finding", str(len(both["findings"])))["finding"] == last


def test_frames_and_times_are_a_window() -> None:
    steps = as_json("show", SPLIT, "--connection", "0", "--frames", "9-12")["ladder"]["steps"]
    assert [step["frame"] for step in steps] == [9, 10, 11, 12]
    begin, end = steps[0]["elapsed"], steps[-1]["elapsed"]
    again = as_json("show", SPLIT, "--connection", "0", "--from", f"{begin:.6f}", "--to", f"{end:.6f}")
    assert again["ladder"]["steps"] == steps
    followed = run("show", SPLIT, "--connection", "0", "--frames", "9-12", "--follow", "--color", "never").stdout
    assert next(line for line in followed.splitlines() if line.startswith("# frame")).startswith("# frame 9,")
    assert followed.count("POST /order") == 1


def raw(path: str, side: str) -> bytes:
    return run("show", path, "--connection", "0", "--follow", "--raw", "--side", side).stdout_bytes


@needs("tshark")
def test_raw_bytes_are_those_that_tshark_follows() -> None:
    command = ["tshark", "-r", LOST, "-q", "-z", "follow,tcp,raw,0"]
    followed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    parts = [line for line in followed.splitlines() if line.strip() and all(c in "0123456789abcdef\t" for c in line)]
    client = b"".join(bytes.fromhex(line) for line in parts if not line.startswith("\t"))
    server = b"".join(bytes.fromhex(line.strip()) for line in parts if line.startswith("\t"))
    assert len(server) > 10_000
    assert raw(LOST, "server") == server
    assert raw(LOST, "client") == client


def test_followed_bytes_say_that_nothing_is_masked() -> None:
    done = run("show", SPLIT, "--connection", "0", "--follow", "--color", "never")
    assert done.stdout.startswith("# the following bytes are shown as sent, without masking\n")
    assert done.stdout.count("> POST /order HTTP/1.1") == 5
    assert "> " + "o" * 400 in done.stdout


def test_the_finding_that_caused_another_is_named() -> None:
    capture = str(find_recording("behind-apache-crash.pcap"))
    findings = as_json("analyze", capture)["findings"]
    effect = next(f for f in findings if f["rule"] == "gateway-error")
    [cause] = [f for f in findings if f["rule"] == "no-response"]
    shown = run("show", capture, "--finding", str(effect["number"])).stdout
    assert f"caused by finding {cause['number']}: no-response. {cause['title']}" in " ".join(shown.split())
    assert "caused by" not in run("show", capture, "--finding", str(cause["number"])).stdout
    assert "that this one names" not in shown


def _gateway_error() -> tuple[str, Any, Any]:
    """Return a recording of two gateways in a row, its gateway-error, and the finding at the server that caused it."""
    capture = str(find_recording("behind-two-gateways.pcap"))
    findings = as_json("analyze", capture)["findings"]
    [effect], [cause] = ([f for f in findings if f["rule"] == rule] for rule in ("gateway-error", "no-response"))
    return capture, effect, cause


@pytest.mark.slow
def test_the_packets_behind_the_gateway_and_of_the_cause_are_shown() -> None:
    """The client's connection, that of the first gateway to the second, and that of the second to the server."""
    capture, effect, cause = _gateway_error()
    shown = as_json("show", capture, "--finding", str(effect["number"]))
    [behind, of_cause] = shown["related"]
    [own] = {step["connection"] for step in shown["ladder"]["steps"]}
    ids = [own, *(one["connection"]["id"] for one in (behind, of_cause))]
    assert len({*ids}) == 3
    assert own == effect["connection"]
    assert behind["connection"]["server"] == "127.0.0.1:8081"
    assert ids[2] == cause["connection"]
    steps = [step for one in (shown["ladder"], behind["ladder"], of_cause["ladder"]) for step in one["steps"]]
    assert {e["frame"] for f in (effect, cause) for e in f["evidence"]} <= {step["frame"] for step in steps}
    notes = {note for step in steps for note in step["notes"]}
    assert {e["note"] for f in (effect, cause) for e in f["evidence"]} <= notes
    text = run("show", capture, "--finding", str(effect["number"])).stdout
    assert "127.0.0.1:8081, behind the gateway (exchange 0)" in text
    assert f"10.9.0.2:8001, of finding {cause['number']}" in text
    ranges = re.findall(r"Below: frames (\d+) to (\d+), \d\d:\d\d:\d\d", text)
    assert len(ranges) == 3
    assert ranges[0] == (str(shown["ladder"]["steps"][0]["frame"]), str(shown["ladder"]["steps"][-1]["frame"]))


def test_an_exchange_is_named_as_tables_print_it() -> None:
    capture, _, _ = _gateway_error()
    assert as_json("show", capture, "--connection", "0#1") == as_json("show", capture, "--connection", "0", "--exchange", "1")


@pytest.mark.slow
def test_the_exchange_of_a_finding_is_followed() -> None:
    capture, effect, _ = _gateway_error()
    done = run("show", capture, "--finding", str(effect["number"]), "--follow", "--color", "never")
    assert f"# finding {effect['number']}: exchange 1 of connection 0 (all of it: --connection 0)" in done.stdout
    assert "# the request that the gateway sent for this exchange: --connection 3 --exchange 0" in done.stdout
    assert done.stdout.count("> GET /a/order") == 1
    assert "/a/list" not in done.stdout
    part = run("show", capture, "--connection", "0", "--exchange", "1", "--follow", "--color", "never").stdout
    assert [line for line in done.stdout.splitlines() if line[0] in "<>"] == [
        line for line in part.splitlines() if line[0] in "<>"
    ]
    raw_side = run("show", capture, "--finding", str(effect["number"]), "--follow", "--raw", "--side", "server")
    assert raw_side.stdout_bytes.startswith(b"HTTP/1.1 502")
    assert "in exchange 1 of connection 0" in raw_side.stderr


def test_a_finding_without_an_exchange_is_followed_from_the_beginning_to_the_end() -> None:
    """A server that speaks no HTTP: a finding names a connection and no exchange."""
    capture = str(find_recording("redis-two-writes-client.pcap"))
    found = next(f for f in as_json("analyze", capture)["findings"] if f["exchange"] is None and f["connection"] is not None)
    done = run("show", capture, "--finding", str(found["number"]), "--follow", "--color", "never").stdout
    assert f"# finding {found['number']}: all of connection {found['connection']}, because the finding is not about" in done
    whole = run("show", capture, "--connection", str(found["connection"]), "--follow", "--color", "never").stdout
    assert done.splitlines()[2:] == whole.splitlines()[1:]
    assert len(whole.splitlines()) > 2
