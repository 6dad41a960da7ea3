"""A capture of loopback by real backends, from beginning to end."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.recording.running import Recording, kinds, needs_root, packets, places, send
from tests.support.needs import needs

BACKENDS = ["raw", *(pytest.param(name, marks=needs(name)) for name in ("dumpcap", "tcpdump"))]

pytestmark = needs_root


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_sent_is_in_the_file(backend: str, tmp_path: Path) -> None:
    file = tmp_path / "trace.pcapng"
    with Recording(interfaces=["lo"], file=str(file), backend=backend) as recording:
        started = recording.until("started")
        assert (started["backend"], started["interfaces"]) == (backend, ["lo"])
        assert recording.until("file") == {"event": "file", "path": str(file), "begin": 0}
        send(50)
        recording.until("progress", packets=50)
        ended = recording.stop()
    assert (ended["reason"], ended["packets"] >= 50, ended["dropped"]) == ("stopped", True, 0)
    assert ended["bytes"] == file.stat().st_size
    found = kinds(file.read_bytes())
    assert found[:2] == [0x0A0D0D0A, 1]
    assert found[-1] == 5
    assert found.count(6) == ended["packets"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_exactly_so_many_packets(backend: str, tmp_path: Path) -> None:
    file = tmp_path / "trace.pcapng"
    with Recording(interfaces=["lo"], file=str(file), packets=7, backend=backend) as recording:
        recording.until("file")
        send(50)
        ended = recording.until("ended")
        assert recording.process.wait(3) == 0
    assert (ended["reason"], ended["packets"]) == ("packets", 7)
    assert packets(file) == 7


@pytest.mark.parametrize("backend", BACKENDS)
def test_so_many_seconds(backend: str, tmp_path: Path) -> None:
    file = tmp_path / "trace.pcapng"
    with Recording(interfaces=["lo"], file=str(file), duration=0.5, backend=backend) as recording:
        recording.until("file")
        began = time.monotonic()
        assert recording.until("ended")["reason"] == "duration"
        assert 0.3 < time.monotonic() - began < 2
    assert kinds(file.read_bytes())


@pytest.mark.parametrize("backend", BACKENDS)
def test_it_says_up_to_when_packets_were_passed_on_only_while_it_runs(backend: str, tmp_path: Path) -> None:
    with Recording(interfaces=["lo"], file=str(tmp_path / "trace.pcapng"), backend=backend) as recording:
        recording.until("file")
        before = time.time_ns()
        recording.ask("delivered")
        assert before <= recording.until("progress", delivered=before)["delivered"] <= time.time_ns()
        recording.process.send_signal(signal.SIGSTOP)
        stopped = time.time_ns()
        recording.ask("delivered")
        with pytest.raises(AssertionError):
            recording.until("progress", 0.3, delivered=stopped)
        recording.process.send_signal(signal.SIGCONT)
        recording.until("progress", delivered=stopped)


@needs("dumpcap")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_end_it_in_order(number: int, tmp_path: Path) -> None:
    with Recording(interfaces=["lo"], file=str(tmp_path / "trace.pcapng")) as recording:
        recording.until("file")
        recording.process.send_signal(number)
        assert recording.until("ended", 3)["reason"] == "signal"
        assert recording.process.wait(2) == 0


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"interfaces": ["nope0"]}, "no such interface: nope0 (there are: "),
        ({"interfaces": ["lo"], "filter": "tcp prot 80"}, "syntax error"),
        (
            {"interfaces": ["lo"], "file": "/nowhere/trace.pcapng"},
            "cannot write /nowhere/trace.pcapng: there is no folder /nowhere",
        ),
    ],
)
@needs("dumpcap")
def test_what_is_wrong_is_one_line(asked: dict[str, object], said: str, tmp_path: Path) -> None:
    kept = tmp_path / "trace.pcapng"
    kept.write_text("of an earlier capture")
    with Recording(**{"file": str(kept), **asked}) as recording:
        text = recording.until("error")["text"]
        assert recording.process.wait(3) == 2
    assert said in text
    assert "\n" not in text
    assert kept.read_text() == "of an earlier capture"


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_snap_length_and_an_interface_named_twice(backend: str, tmp_path: Path) -> None:
    file = tmp_path / "trace.pcapng"
    asked = {"interfaces": ["lo", "lo"], "file": str(file), "backend": backend, "snaplen": 60}
    with Recording(**asked) as recording:
        assert recording.until("started")["interfaces"] == ["lo"]
        recording.until("progress")
        send(5, 200)
        recording.until("progress", packets=5)
        recording.stop()
    data = file.read_bytes()
    sizes = [tuple(int.from_bytes(data[at + n : at + n + 4], sys.byteorder) for n in (20, 24)) for at in places(data, 6)]
    assert sizes.count((60, 242)) == 5
    assert max(captured for captured, _ in sizes) == 60


@pytest.mark.parametrize("argument", ["", "{}", '{"interfaces": []}', "[1]"])
def test_what_is_no_request_is_told(argument: str) -> None:
    words = [sys.executable, "-m", "wiredoctor.recording", argument]
    done = subprocess.run(words, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    assert done.returncode == 2
    assert done.stdout.startswith('{"event":"error","text":"this is not a valid recorder request: ')


def test_it_is_light() -> None:
    code = (
        "import sys, wiredoctor.recording.__main__\n"
        "print(sorted({m.partition('.')[0] for m in sys.modules} & {'numpy', 'polars', 'scapy', 'rich', 'typer', 'asyncio'}))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
