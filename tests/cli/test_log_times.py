"""From the time or the id in a log to the exchange: --at, --from, --utc, --request-id and explain-log."""

from __future__ import annotations

import gzip
import json
import time
from pathlib import Path

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether
from scapy.packet import Packet
from scapy.utils import wrpcap
from typer.testing import CliRunner

from wiredoctor.cli.app import application
from wiredoctor.text.time_of_day import use_utc

START = 1_769_856_130.0
"""2026-01-31 10:42:10 UTC."""

UUID = "7b2e9c1a-0d5f-4c2b-9a57-3f1f0c6d8e21"


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three connections with one request each, 6 s apart: /first, /second?key=secret with status 502, /third with an id."""
    packets: list[Packet] = []
    requests = (("/first", 200, ""), ("/second?key=secret", 502, ""), ("/third", 200, f"X-Request-Id: {UUID}\r\n"))
    for number, (target, status, fields) in enumerate(requests):
        request = f"GET {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n".encode()
        response = f"HTTP/1.1 {status} Status\r\nContent-Length: 0\r\n\r\n".encode()
        port, ask, answer = 50_000 + number, 1, 1
        steps = [
            (0.0, True, "S", 0, 0, b""), (0.001, False, "SA", 0, 1, b""), (0.002, True, "A", ask, answer, b""),
            (0.003, True, "PA", ask, answer, request), (0.203, False, "PA", answer, ask + len(request), response),
            (0.204, True, "FA", ask + len(request), answer + len(response), b""),
            (0.205, False, "FA", answer + len(response), ask + len(request) + 1, b""),
            (0.206, True, "A", ask + len(request) + 1, answer + len(response) + 1, b""),
        ]  # fmt: skip
        for elapsed, from_client, flags, sequence, acknowledged, payload in steps:
            ends = ("10.0.0.1", "10.0.0.2", port, 80) if from_client else ("10.0.0.2", "10.0.0.1", 80, port)
            packet = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / IP(src=ends[0], dst=ends[1])
            packet /= TCP(sport=ends[2], dport=ends[3], flags=flags, seq=sequence, ack=acknowledged, window=65000) / payload
            packet.time = START + 6 * number + elapsed
            packets.append(packet)
    path = tmp_path_factory.mktemp("times") / "trace.pcap"
    wrpcap(str(path), packets)
    return path


def call(*words: str | Path, zone: str = "UTC", code: int = 0) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", zone)
        time.tzset()
        line = [*map(str, words)]
        done = CliRunner().invoke(application(line), line, env={"COLUMNS": "80"}, prog_name="wiredoctor")
    time.tzset()
    use_utc(False)
    assert done.exit_code == code, done.stderr
    return done.stdout if not code else done.stderr


def targets(*words: str | Path, zone: str = "UTC") -> list[str]:
    return [json.loads(line)["request"]["target"] for line in call("exchanges", "-f", "jsonl", *words, zone=zone).splitlines()]


@pytest.mark.parametrize(
    ("options", "zone"),
    [
        (["--at", "10:42:16"], "UTC"),
        (["--at", "10:42:15"], "UTC"),  # Apache may have been asked at the end of that second
        (["--at", "11:42:16"], "Europe/Berlin"),
        (["--at", "31/Jan/2026:10:42:16 +0000"], "Europe/Berlin"),
        (["--at", "2026-01-31 10:42:16,203", "--utc"], "Europe/Berlin"),
        (["--at", "6.1"], "UTC"),
        (["--from", "10:42:14", "--to", "10:42:19"], "UTC"),
        (["--from", "31/Jan/2026:16:12:14", "--to", "2026-01-31T10:42:19Z"], "Asia/Kolkata"),
    ],
)
def test_a_time_of_a_log_finds_its_exchange(capture: Path, options: list[str], zone: str) -> None:
    assert targets(capture, *options, zone=zone) == ["/second?key=(masked)"]


def test_show_takes_a_time(capture: Path) -> None:
    text = call("show", capture, "--at", "11:42:16", zone="Europe/Berlin")
    assert text.startswith("Connection 1 ")
    assert "11:42:16.000 to 11:42:16.206. Times are CET (UTC+01:00)" in " ".join(text.split())
    said = call("show", capture, "--at", "2026-01-31T10:42:13Z", code=2)
    assert said == "wiredoctor: --at 2026-01-31T10:42:13Z: no connection was active at that time\n"


def test_at_excludes_a_span(capture: Path) -> None:
    assert "--at cannot be combined" in call("exchanges", capture, "--at", "5", "--to", "6", code=2)


@pytest.mark.slow
def test_the_report_names_its_zone(capture: Path) -> None:
    for zone, options, text in (
        ("Europe/Berlin", [], "Times are CET (UTC+01:00); the first packet is from 2026-01-31 11:42:10.000."),
        ("Europe/Berlin", ["--utc"], "Times are UTC; the first packet is from 2026-01-31 10:42:10.000."),
    ):
        assert text in call("analyze", capture, *options, zone=zone).splitlines()
        assert text in call("analyze", capture, "-f", "markdown", *options, zone=zone).replace("\\", "").splitlines()


@pytest.mark.slow
def test_a_request_id_finds_its_exchange(capture: Path) -> None:
    assert targets(capture, "--request-id", UUID) == ["/third"]
    assert targets(capture, "--request-id", "4c2b-9a57") == ["/third"]
    assert targets(capture, "--request-id", "4c2b.9a57") == []
    assert f"request id {UUID}" in call("show", capture, "--connection", "2", "--exchange", "0")
    (line,) = call("exchanges", capture, "-f", "jsonl", "--connection", "2").splitlines()
    assert json.loads(line)["request_id"] == UUID


LOG = """\
10.0.0.1 - - [31/Jan/2026:10:42:10 +0000] "GET /first HTTP/1.1" 200 0 "-" "-" 0.200
10.0.0.1 - - [31/Jan/2026:10:42:16 +0000] "GET /second?key=secret HTTP/1.1" 502 0 "-" "-" 0.200
not a line of a log
10.0.0.1 - - [31/Jan/2026:10:42:22 +0000] "GET /third HTTP/1.1" 200 0 "-" "-" 0.200
10.0.0.1 - - [31/Jan/2026:10:42:22 +0000] "GET /missing HTTP/1.1" 503 0 "-" "-" 0.001
10.0.0.1 - - [31/Jan/2026:12:00:00 +0000] "GET /second HTTP/1.1" 500 0 "-" "-" 0.001
"""


def test_explain_log(capture: Path, tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    log.write_text(LOG)
    text = call("explain-log", log, capture)
    assert "secret" not in text
    assert [line for line in text.splitlines() if line.startswith("Line ")] == [
        "Line 2  2026-01-31 10:42:16 UTC, GET /second?key=(masked), 502, 200 ms",
        "Line 5  2026-01-31 10:42:22 UTC, GET /missing, 503, 1 ms",
    ]
    assert f"  wiredoctor show {capture} --connection 1 --exchange 0" in text.splitlines()
    assert "  No exchange in the capture matches this line." in text.splitlines()
    assert "1 line with such a status or duration is from before or after the capture." in text.splitlines()
    assert "1 line could not be read as an access log: line 3." in text.splitlines()
    found = json.loads(call("explain-log", log, capture, "-f", "json"))
    assert found["log"]["unknown_lines"] == 1
    assert found["log"]["first_unknown_line"] == 3
    assert [(one["line"], one["outside_capture"], bool(one["exchange"])) for one in found["lines"]] == [
        (2, False, True), (5, False, False), (6, True, False),
    ]  # fmt: skip
    assert found["clock_offset"]["seconds"] == 0


def test_slow_requests_and_compressed_logs(capture: Path, tmp_path: Path) -> None:
    log = tmp_path / "access.log.gz"
    log.write_bytes(gzip.compress(LOG.encode()))
    found = json.loads(call("explain-log", log, capture, "-f", "json", "--slow", "150ms"))
    assert [one["line"] for one in found["lines"]] == [1, 2, 4, 5, 6]
    log.write_bytes(gzip.compress(LOG.encode())[:-12])
    assert call("explain-log", log, capture, code=2).startswith(f"wiredoctor: {log}: ")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--slow", "soon"], "--slow: 'soon' is not a duration like 500ms, 30s, 2min or 1h"),
        (["--key", "status"], "--key: 'status' is not ROLE=NAME with one of the roles"),
        (["--key", "colour=red"], "--key: 'colour=red' is not ROLE=NAME"),
    ],
)
def test_wrong_options_get_a_sentence(capture: Path, options: list[str], said: str) -> None:
    assert call("explain-log", "missing.log", capture, *options, code=2).startswith(f"wiredoctor: {said}")


def test_a_missing_log_is_named_before_the_capture_is_read(capture: Path) -> None:
    assert call("explain-log", "missing.log", capture, code=2).startswith("wiredoctor: missing.log: ")


@pytest.mark.parametrize(("text", "lines"), [("\nnot a log\n", "line 2"), ("one\ntwo\n\nthree", "3 lines; the first is line 1")])
@pytest.mark.parametrize("form", ["text", "json"])
def test_a_log_without_a_readable_line_is_an_error(capture: Path, tmp_path: Path, text: str, lines: str, form: str) -> None:
    log = tmp_path / "app.log"
    log.write_text(text)
    said = call("explain-log", log, capture, "-f", form, code=2)
    assert said.startswith(f"wiredoctor: {log}: no line has a known format ({lines}); ")
    assert said.count("\n") == 1


def test_an_empty_log_is_no_error(capture: Path, tmp_path: Path) -> None:
    (tmp_path / "access.log").write_text("")
    assert call("explain-log", tmp_path / "access.log", capture).startswith("No line of")
