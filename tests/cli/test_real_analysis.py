"""The command line with the whole analysis behind it."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import run_command
from tests.support.sweeps import SLOW

Validate = Callable[[dict[str, Any]], None]


def process(*words: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "NO_COLOR")}
    return subprocess.run(
        [sys.executable, "-m", "wiredoctor", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment,
        check=False,
    )


def tcp(source: int, destination: int, seq: int, ack: int, flags: int, payload: bytes = b"") -> bytes:
    """An Ethernet frame from 10.0.0.1 (when it sends from a high port) or 10.0.0.2."""
    sides = [b"\x0a\0\0\x01", b"\x0a\0\0\x02"]
    addresses = b"".join(sides if source > destination else reversed(sides))
    header = struct.pack("!HHIIBBHHH", source, destination, seq, ack, 0x50, flags, 64240, 0, 0) + payload
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(header), seq & 0xFFFF, 0, 64, 6, 0) + addresses
    return b"\2" * 6 + b"\4" * 6 + b"\x08\0" + ip + header


def pcap(*packets: tuple[float, bytes]) -> bytes:
    """Seconds and frames -> a classic pcap file."""
    records = (struct.pack("<IIII", int(t), round(t % 1 * 1e6), len(p), len(p)) + p for t, p in packets)
    return struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1) + b"".join(records)


SYN, ACK, PSH_ACK, FIN_ACK = 0x02, 0x10, 0x18, 0x11
REQUEST = b"GET /a?key=secret HTTP/1.1\r\nHost: h\r\n\r\n"
HEAD, BODY = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", b"hello"


def stalled() -> bytes:
    """One exchange whose body waits 200 ms for a delayed ACK, 10 ms from the server."""
    up, down = (50000, 80), (80, 50000)
    end, answered = 1 + len(REQUEST), 1 + len(HEAD)
    return pcap(
        (100.000, tcp(*up, 0, 0, SYN)),
        (100.010, tcp(*down, 0, 1, SYN | ACK)),
        (100.010, tcp(*up, 1, 1, ACK)),
        (100.011, tcp(*up, 1, 1, PSH_ACK, REQUEST)),
        (100.022, tcp(*down, 1, end, PSH_ACK, HEAD)),
        (100.222, tcp(*up, end, answered, ACK)),
        (100.232, tcp(*down, answered, end, PSH_ACK, BODY)),
        (101.232, tcp(*up, end, answered + 5, FIN_ACK)),
        (101.242, tcp(*down, answered + 5, end + 1, FIN_ACK)),
        (101.242, tcp(*up, end + 1, answered + 6, ACK)),
    )


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    path = tmp_path / "trace.pcap"
    path.write_bytes(stalled())
    return path


def test_the_diagnosis(trace: Path) -> None:
    done = process("analyze", trace)
    assert (done.returncode, done.stderr) == (0, "")
    assert "nagle-delayed-ack (head-body-split)" in done.stdout
    assert "Time lost: 200 ms." in done.stdout
    assert "GET /a?key=(masked), status 200" in done.stdout
    assert "secret" not in done.stdout
    assert "1 TCP connection, 1 HTTP exchange\n" in done.stdout


def test_json_of_the_diagnosis(trace: Path, validate_report: Validate) -> None:
    done = run_command("analyze", trace, "--format", "json", "--full")
    one = json.loads(done.stdout)
    validate_report(one)
    (found,) = one["findings"]
    assert (found["rule"], found["kind"], found["side"]) == ("nagle-delayed-ack", "head-body-split", "server")
    assert found["delay"] == pytest.approx(0.2, abs=0.005)
    assert [e["frame"] for e in found["evidence"]] == [5, 6, 7]
    (exchange,) = one["exchanges"]
    assert exchange["request"]["target"] == "/a?key=(masked)"
    assert exchange["timing"]["stalled"] == [{"rule": "nagle-delayed-ack", "delay": found["delay"]}]
    assert exchange["timing"]["response"] == 0.21
    (connection,) = one["connections"]
    assert (connection["client"], connection["server"]) == ("10.0.0.1:50000", "10.0.0.2:80")
    assert connection["rtt_server"] == 0.01
    assert (connection["closed_by"], connection["close"]) == ("client", "fin")


def test_exchanges_and_connections(trace: Path) -> None:
    exchanges, connections = run_command("exchanges", trace), run_command("connections", trace)
    assert "GET /a?key=(masked)" in exchanges.stdout
    assert "10.0.0.1:50000" in connections.stdout
    assert exchanges.stderr == connections.stderr == ""


def test_servers(trace: Path) -> None:
    """The table and its JSON; a filter that leaves nothing; a value of --by that does not exist."""
    assert "10.0.0.2:80" in run_command("servers", trace).stdout
    [one] = json.loads(run_command("servers", trace, "--format", "json", "--by", "client").stdout)["servers"]
    assert (one["by"], one["name"], one["connections"]) == ("client", "10.0.0.1", 1)
    assert json.loads(run_command("servers", trace, "--port", "81", "--format", "json").stdout)["servers"] == []
    assert run_command("servers", trace, "--by", "color").exit_code == 2


@SLOW
def test_fail_on(trace: Path) -> None:
    assert run_command("analyze", trace, "--fail-on", "warning").exit_code == 1
    assert run_command("analyze", trace, "--fail-on", "warning", "--ignore", "stalls").exit_code == 0


def test_filters_change_neither_ids_nor_findings(trace: Path) -> None:
    everything, shown, hidden = (
        json.loads(run_command("analyze", trace, "--format", "json", *more).stdout)
        for more in ((), ("--host", "10.0.0.2", "--from", "0.01"), ("--port", "81"))
    )
    assert shown["findings"] == everything["findings"]
    assert hidden["findings"] == []
    hidden["summary"] |= {"checked": [], "healthy": [], "not_judged": []}
    assert hidden["summary"] == {
        "connections": 0,
        "exchanges": 0,
        "headline": "Nothing to diagnose: no TCP connection was seen (port 81).",
        "problems": {"error": 0, "warning": 0, "note": 0},
        "findings": {"error": 0, "warning": 0, "note": 0},
        "delay": 0,
        "checked": [],
        "healthy": [],
        "not_judged": [],
        "requests": {"count": 0, "answered": 0},
        "responses": [],
        "server_errors": [],
        "left_out": [],
        "rules": [],
        "incomplete": [],
        "shared_conversations": 0,
    }


def test_what_was_checked_is_what_was_selected(trace: Path) -> None:
    words = ("--select", "framing,lifetime,nagle-delayed-ack", "--ignore", "premature-close")
    summary = json.loads(run_command("analyze", trace, "--format", "json", *words).stdout)["summary"]
    assert "missing-framing" in summary["healthy"]
    assert not {"premature-close", "nagle-delayed-ack", "capture-loss"} & {*summary["healthy"]}


BAD = {
    "not a capture": b"Dear Sir or Madam,\n" * 10,
    "empty": b"",
    "header only, cut": pcap()[:20],
    "no whole record header": pcap() + b"\0" * 7,
}


@pytest.mark.parametrize("content", BAD.values(), ids=BAD)
def test_a_file_that_is_no_capture(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.pcap"
    path.write_bytes(content)
    done = run_command("analyze", path)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("wiredoctor: ")
    assert str(path) in done.stderr


def test_bad_input_beside_good(trace: Path, tmp_path: Path, validate_report: Validate) -> None:
    locked = tmp_path / "locked.pcap"
    locked.write_bytes(stalled())
    locked.chmod(0)
    (tmp_path / "nothing").mkdir()
    bad = [tmp_path / "nosuch.pcap", tmp_path / "nothing", *([locked] if os.geteuid() else [])]
    done = run_command("analyze", bad[0], trace, *bad[1:], "--format", "json")
    assert done.exit_code == 2
    assert len(done.stderr.splitlines()) == len(bad)
    assert all(sum(str(path) in line for line in done.stderr.splitlines()) == 1 for path in bad)
    one = json.loads(done.stdout)
    validate_report(one)
    assert [c["file"] for c in one["captures"]] == [str(trace)]
    assert len(one["findings"]) == 1


@SLOW
def test_a_capture_without_packets_is_read(tmp_path: Path, validate_report: Validate) -> None:
    path = tmp_path / "empty.pcap"
    path.write_bytes(pcap())
    done = run_command("analyze", path, "--format", "json", "--full")
    assert (done.exit_code, done.stderr) == (0, "")
    validate_report(json.loads(done.stdout))
    assert "Nothing to diagnose" in run_command("analyze", path).stdout


@SLOW
def test_a_damaged_capture_is_read_up_to_there(tmp_path: Path, validate_report: Validate) -> None:
    path = tmp_path / "cut.pcap"
    path.write_bytes(stalled()[:-30])
    done = run_command("analyze", path, "--format", "json")
    assert done.exit_code == 0
    one = json.loads(done.stdout)
    validate_report(one)
    assert one["captures"][0]["packets"] == 9
    assert one["captures"][0]["damage"]
    assert "damaged: " in run_command("analyze", path).stdout


def test_a_closed_pipe_ends_quietly(trace: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        command = [sys.executable, "-m", "wiredoctor", "analyze", str(trace), "--format", "json", "--full"]
        done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, check=False, timeout=60)
    finally:
        os.close(writer)
    assert done.stderr == b""
    assert done.returncode in (0, 141)


@SLOW
def test_the_same_capture_gives_the_same_report(trace: Path) -> None:
    first, second = (run_command("analyze", trace, "--format", "json", "--full").stdout for _ in range(2))
    assert first == second
