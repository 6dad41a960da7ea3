"""`wiredoctor live` on a real interface, with real packets."""

from __future__ import annotations

import gc
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.live.capturing import (
    PROMPTLY,
    ROOT,
    ask,
    ask_and_wait,
    begun,
    capturing,
    closing,
    descendants,
    live,
    next_line,
    server,
    wait_for_backend,
)
from tests.support.needs import needs
from tests.support.sweeps import SLOW, sweep
from wiredoctor import limits
from wiredoctor.live import Order, watch
from wiredoctor.settings import Settings

REAL = capturing("dumpcap")


def analyze(path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "wiredoctor", "analyze", str(path), *words], cwd=ROOT, capture_output=True, text=True, check=False
    )


def lines(text: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The findings of JSON Lines, and the summary."""
    *findings, summary = map(json.loads, text.splitlines())
    return [one for one in findings if "behind" not in one], summary


@REAL
def test_stalls_are_told_at_once_and_the_file_says_the_same(tmp_path: Path) -> None:
    trace = tmp_path / "trace.pcapng"
    with server() as port:
        words = (
            "-i",
            "lo",
            "--filter",
            f"tcp port {port}",
            "--write",
            str(trace),
            "-o",
            str(tmp_path / "live.json"),
            "-f",
            "jsonl",
        )
        process = live(*words)
        assert begun(process).startswith("wiredoctor: capturing on lo with dumpcap")
        ask(port, 20)
        first = json.loads(next_line(process))
        said = time.time()
        assert process.stdout is not None
        process.send_signal(signal.SIGINT)
        out = process.stdout.read()
        assert process.stderr is not None
        assert (process.wait(20), process.stderr.read()) == (130, "")
    findings, summary = lines(out)
    findings.insert(0, first)
    stalls = [f for f in findings if f["rule"] == "nagle-delayed-ack"]
    assert len(stalls) >= 5
    assert {f["kind"] for f in stalls} == {"head-body-split"}
    assert said - _time(first) < 2.0  # a second, and a busy machine; the benchmarks measure it
    assert summary["summary"]["exchanges"] == 20
    report = tmp_path / "file.json"
    assert analyze(trace, "-o", str(report)).returncode == 0
    assert report.read_bytes() == (tmp_path / "live.json").read_bytes()
    assert analyze(trace, "-f", "jsonl").stdout.splitlines()[-1] == out.splitlines()[-1]
    # a finding is numbered when all are known
    at_the_end = [finding | {"number": None} for finding in json.loads(report.read_text("utf-8"))["findings"]]
    assert sorted(map(str, findings)) == sorted(map(str, at_the_end))


def _time(finding: dict[str, Any]) -> float:
    """When the last packet of its proof was captured, in seconds since 1970."""
    last, first = (finding["evidence"][i]["elapsed"] for i in (-1, 0))
    hour, minute, second = map(float, re.findall(r"T(\d+):(\d+):([\d.]+)Z", finding["time"])[0])
    day = int(time.time()) // 86400 * 86400
    return day + 3600 * hour + 60 * minute + second + last - first


@REAL
@pytest.mark.parametrize("asked", sweep([signal.SIGINT, signal.SIGTERM], {signal.SIGTERM}.__contains__))
def test_a_signal_ends_it_with_the_whole_diagnosis(asked: signal.Signals) -> None:
    """Ctrl-C is told to a shell, which ends its loop, too; a service that is stopped has succeeded."""
    code = 130 if asked == signal.SIGINT else 0
    with server() as port:
        process = live("-i", "lo", "--filter", f"tcp port {port}")
        begun(process)
        ask(port, 20)
        time.sleep(0.7)
        process.send_signal(asked)
        out, _ = process.communicate(timeout=20)
    assert process.returncode == code
    found, _, report = out.partition("\n1 warning")
    assert found.count("WARNING The server held back the body of its response") == 1  # while it ran; the others are counted
    assert "What was read\n  live: lo\n" in report
    assert "frame " in report
    assert "What to do on the server" in report


@SLOW
@REAL
def test_it_ends_by_itself_after_so_many_packets_or_so_long(tmp_path: Path) -> None:
    with server() as port:
        words = (
            "-i",
            "lo",
            "--filter",
            f"tcp port {port}",
            "--write",
            str(tmp_path / "few.pcapng"),
            "--packets",
            "15",
            "-f",
            "jsonl",
        )
        process = live(*words)
        begun(process)
        ask(port, 20)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, lines(out)[1]["captures"][0]["packets"]) == (0, 15), err
    begin = time.monotonic()
    process = live("-i", "lo", "--filter", "tcp port 1", "--duration", "500ms", "-f", "jsonl")
    out, err = process.communicate(timeout=20)
    assert process.returncode == 0, err
    assert lines(out)[1]["captures"][0]["packets"] == 0
    assert "no packet was captured: check --interface, --port and --filter" in err
    assert time.monotonic() - begin < 15


@SLOW
@REAL
def test_a_pipeline_can_fail_on_what_was_found() -> None:
    with server() as port:
        for severity, code in (("warning", 1), ("error", 0)):
            process = live("-i", "lo", "--filter", f"tcp port {port}", "--fail-on", severity, "--select", "stalls", "-q")
            wait_for_backend(process)
            ask(port, 20)
            time.sleep(0.5)
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=20)
            assert process.returncode == code


@SLOW
@REAL
@pytest.mark.parametrize("width", [80, 160])
def test_on_a_terminal_it_is_drawn_in_place(width: int) -> None:
    with server() as port:
        screen = terminal(width, "-i", "lo", "--filter", f"tcp port {port}", during=lambda: ask(port, 25))
    before, _, after = screen.partition("1 warning")
    assert "capturing on lo with dumpcap" in before
    assert re.search(r"\d+ packets \(\d+/s\)  1 connection, \d open  \d+ exchanges", before)
    assert "kernel drops: known at the end  analysis: up to date" in before
    assert re.search(r"WARNING  The server held back the body", before)
    assert "What was read" in after
    assert max(len(line) for line in re.split(r"[\r\n]+", before)) <= width


def terminal(width: int, *words: str, during: Any) -> str:
    """What the command writes on a terminal of this width and 24 lines, ended by Ctrl-C after `during`."""
    pid, file = pty.fork()
    if pid == 0:
        os.chdir(ROOT)
        environment = {**os.environ, "TERM": "xterm", "COLUMNS": str(width), "LINES": "24", "LANG": "C.UTF-8"}
        os.execve(sys.executable, [sys.executable, "-m", "wiredoctor", "live", *PROMPTLY, *words], environment)
    out = b""
    try:
        out += _until(file, b"kernel drops", 20)
        during()
        out += _until(file, b"WARNING", 10)
        os.write(file, b"\x03")
        out += _until(file, b"", 20)
    finally:
        os.close(file)
        os.waitpid(pid, 0)
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", out.decode("utf-8", "replace"))


def _until(file: int, sign: bytes, seconds: float) -> bytes:
    """What is written until this appears (empty: until nothing more is)."""
    out, end = b"", time.monotonic() + seconds
    while time.monotonic() < end and not (sign and sign in out):
        ready, _, _ = select.select([file], [], [], 0.2)
        if ready:
            try:
                piece = os.read(file, 65536)
            except OSError:
                break
            if not piece:
                break
            out += piece
    return out


@SLOW
@REAL
def test_a_second_signal_ends_it_at_once() -> None:
    process = live("-i", "lo", "--filter", "tcp port 1")
    begun(process)
    # the recorder is stopped, so that it does not end when it is asked to
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text("ascii").split()
    os.kill(int(children[0]), signal.SIGSTOP)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    os.kill(int(children[0]), signal.SIGCONT)
    process.communicate(timeout=20)
    assert process.returncode == 130


@SLOW
@REAL
def test_a_signal_that_comes_twice_at_once_counts_once() -> None:
    """As timeout(1) sends it: to the process, and to its group."""
    process = live("-i", "lo", "--port", "1", "--port", "2", "--filter", "tcp[tcpflags] & tcp-syn != 0")
    begun(process)
    process.send_signal(signal.SIGINT)
    time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "What was read" in out


def only_line(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (2, "")
    assert err.count("\n") == 1
    assert err.startswith("wiredoctor: ")
    return err


@SLOW
@REAL
def test_what_cannot_be_captured_is_told_in_a_line(tmp_path: Path) -> None:
    assert "no-such-one" in only_line(live("-i", "no-such-one"))
    assert "syntax" in only_line(live("-i", "lo", "--filter", "tcp prt 80"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "said"),
    sweep(
        [
            (["-i", "lo", "-i", "lo"], "given twice"),
            (["-i", "lo", "--write", "trace.pcap"], "pcapng"),
            (["-i", "lo", "--write", "/no/such/folder/x.pcapng"], "no folder"),
            (["-i", "lo", "--write", "-"], "packets must go to a file"),
            (["-i", "lo", "--write", "/dev/null"], "a pipe or a device"),
            (["-i", "lo", "--ring", "5"], "FILES:SIZE"),
            (["-i", "lo", "--ring", "1:5MB"], "two files"),
            (["-i", "lo", "--ring", "3:5kB"], "1 MiB"),
            (["-i", "lo", "--duration", "soon"], "not a duration"),
            (["-i", "lo", "--duration", "0"], "more than 0"),
            (["-i", "lo", "-o", "report.doc"], "suffix"),
            (["-i", "lo", "--select", "nagel"], "no rule"),
            (["-i", "lo", "8080"], "to watch a port: --port 8080"),
        ],
        lambda case: case[1] in ("pcapng", "two files", "not a duration", "no rule"),
    ),
)
def test_a_command_line_that_is_wrong(words: list[str], said: str) -> None:
    bounds = ["--packets", "1", "--duration", "2"]  # one that is right after all must end
    # a process of its own, as the command gives up all rights of the process that it runs in
    assert said in only_line(live(*bounds, *words))


def test_a_pipe_is_no_place_for_packets(tmp_path: Path) -> None:
    """Nobody may ever read it: to open it would wait for that, and hear of no signal."""
    pipe = tmp_path / "pipe.pcapng"
    os.mkfifo(pipe)
    assert "a pipe or a device" in only_line(live("-i", "lo", "--write", str(pipe)))


@SLOW
@REAL
@needs("setpriv")
def test_without_permission_it_says_what_to_do() -> None:
    """Root without any capability, as in a container: nothing that is executed can have one either."""
    process = subprocess.run(
        ["setpriv", "--inh-caps=-all", "--bounding-set=-all", sys.executable, "-m", "wiredoctor", "live", "-i", "lo"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (process.returncode, process.stdout) == (2, "")
    assert process.stderr.startswith("wiredoctor: no permission to capture on lo.")
    assert "--cap-add=NET_RAW" in process.stderr
    assert process.stderr.splitlines()[1:] == []


@SLOW
@REAL
def test_silence_at_the_end_is_in_the_file(tmp_path: Path) -> None:
    """A server closes a connection that it had promised to keep, and then nothing more comes: that nothing came is known a second
    later, live and from the file."""
    trace = tmp_path / "trace.pcapng"
    with closing() as port:
        words = (
            "-i",
            "lo",
            "--filter",
            f"tcp port {port}",
            "--write",
            str(trace),
            "-f",
            "jsonl",
            "-o",
            str(tmp_path / "live.json"),
        )
        process = live(*words)
        begun(process)
        ask_and_wait(port)
        found = json.loads(next_line(process))
        process.send_signal(signal.SIGTERM)
        assert process.stdout is not None
        process.stdout.read()
        assert process.wait(20) == 0
    assert found["rule"] == "premature-close"
    assert analyze(trace, "-o", str(tmp_path / "file.json")).returncode == 0
    assert (tmp_path / "file.json").read_bytes() == (tmp_path / "live.json").read_bytes()


@SLOW
@REAL
@pytest.mark.parametrize("keep", [True, False])
def test_when_the_analysis_is_killed_the_file_is_whole_and_nothing_is_left(tmp_path: Path, keep: bool) -> None:
    trace = tmp_path / "trace.pcapng"
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with server() as port:
        words = ["-i", "lo", "--filter", f"tcp port {port}", *(["--write", str(trace)] if keep else [])]
        process = subprocess.Popen(
            [sys.executable, "-m", "wiredoctor", "live", *PROMPTLY, *words], cwd=ROOT, env=environment, text=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        begun(process)
        children = descendants(process.pid)
        ask(port, 20)
        time.sleep(0.5)
        process.kill()
        process.wait()
        killed = time.monotonic()
        while any(Path(f"/proc/{pid}").exists() for pid in children) and time.monotonic() - killed < 5:
            time.sleep(0.05)
        took = time.monotonic() - killed
    assert len(children) >= 2  # the recorder, and what captures for it
    assert took < 3  # a second, and a busy machine; the benchmarks measure it
    assert [path.name for path in tmp_path.iterdir()] == (["trace.pcapng"] if keep else [])
    if keep:
        report = json.loads(analyze(trace, "-f", "json").stdout)
        assert (report["captures"][0]["damage"], report["summary"]["exchanges"]) == (None, 20)


@SLOW
@REAL
def test_rows_that_were_written_are_there_as_long_as_the_report_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits.ROWS_HELD, "value", 1)
    with server() as port:
        with watch(Order(("lo",), "", filter=f"tcp port {port}"), "live: lo", Settings()) as session:
            session.look(2.0)
            ask(port, 5)
            end = time.monotonic() + 10
            while session.status().connections < 1 and time.monotonic() < end:
                session.look(0.5)
            session.stop()
            while not session.over:
                session.look(0.5)
            folder = Path(session.order.folder)
            report = session.report()
        assert report.exchanges.height == 5
        assert report.connections.height == 1
        assert folder.exists()
        del report, session
        gc.collect()
        assert not folder.exists()


@SLOW
@REAL
def test_when_nobody_reads_any_more_it_ends_quietly() -> None:
    """As in `wiredoctor live ... | head -1`."""
    with server() as port:
        process = live("-i", "lo", "--filter", f"tcp port {port}", "--format", "jsonl")
        begun(process)
        children = descendants(process.pid)
        ask(port, 20)
        assert json.loads(next_line(process))["rule"] == "nagle-delayed-ack"
        assert process.stdout is not None
        process.stdout.close()
        ask(port, 20)
        assert process.wait(20) == 141
        assert process.stderr is not None
        assert process.stderr.read() == ""
        assert not any(Path(f"/proc/{pid}").exists() for pid in children)


@SLOW
@REAL
def test_what_is_at_the_name_of_the_file_in_the_end_does_not_matter(tmp_path: Path) -> None:
    """The packets are read and copied from the file that was recorded, whatever was put in its place."""
    trace, copy = tmp_path / "trace.pcapng", tmp_path / "copy.pcapng"
    with server() as port:
        process = live("-i", "lo", "--filter", f"tcp port {port}", "--write", str(trace), "-o", str(copy), "-f", "jsonl")
        begun(process)
        ask(port, 20)
        time.sleep(1)
        trace.rename(tmp_path / "moved.pcapng")
        trace.write_bytes(b"something else")
        ask(port, 20)
        process.terminate()
        out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert trace.read_bytes() == b"something else"
    moved, copied = (json.loads(analyze(path, "-f", "json").stdout) for path in (tmp_path / "moved.pcapng", copy))
    assert moved["summary"]["exchanges"] == copied["summary"]["exchanges"] == 40
    assert moved["captures"][0]["packets"] == copied["captures"][0]["packets"] == lines(out)[1]["captures"][0]["packets"]
