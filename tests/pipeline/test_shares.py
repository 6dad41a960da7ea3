"""Two processes that share the connections give the report of one. Forked in a process of its own: Polars must not have run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import dpkt
import pytest

from tests.capture import files
from tests.capture.files import Packet
from tests.ladders import ladder_packets, to_pcap
from tests.pipeline import feeding

CAPTURES = Path(__file__).parents[2] / "captures"

ALONE = "import wiredoctor.pipeline as pipeline; pipeline.SHARED_FROM = 0; EPOCHS; import wiredoctor.cli; wiredoctor.cli.main()"


WRITTEN = "from wiredoctor import limits, spill; limits.ROWS_HELD.value = spill.TOGETHER = 1; limits.SUMMARIES_TOGETHER.value = 0"
"""As of a capture that is too long for memory: every frame of finished rows becomes a file, and is read piece by piece."""


def code(epoch: int | None = None, before: str = "pass") -> str:
    """What the other process runs; in epochs of so many packets, and after this."""
    return ALONE.replace("EPOCHS", f"pipeline.analyze.__kwdefaults__['epoch_packets'] = {epoch}" if epoch else before)


def of_one(capture: Path) -> dict[str, object]:
    """The report of one process: this one."""
    return json.loads(feeding.report(capture))


def report(
    capture: Path | str, jobs: int, epoch: int | None = None, given: bytes | None = None, before: str = "pass", more: str = ""
) -> dict[str, object]:
    words = ["analyze", str(capture), "--format", "json", "--full", "--jobs", str(jobs), *more.split()]
    command = [sys.executable, "-c", code(epoch, before), *words]
    done = subprocess.run(command, input=given, capture_output=True, check=True, timeout=120)
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    "name",
    [
        "apache-ab.pcap",
        "unauthorized-closes.pcap",
        "java-httpserver.pcapng",
        "unchunked-stream.pcapng",
        "gunicorn-sync-closes.pcap",
        "requests-without-session.pcap",
    ],
)
@pytest.mark.parametrize("jobs", [2, 3])
def test_several_processes_give_the_report_of_one(name: str, jobs: int) -> None:
    assert report(CAPTURES / name, jobs) == of_one(CAPTURES / name)


@pytest.mark.parametrize("jobs", [2, 3])
@pytest.mark.parametrize("epoch", [7, 300])
def test_in_many_epochs(epoch: int, jobs: int) -> None:
    """More of them than are underway between the processes at once."""
    capture = CAPTURES / "requests-without-session.pcap"
    assert report(capture, jobs, epoch) == of_one(capture)


@pytest.mark.parametrize("jobs", [1, 3])
def test_thresholds_reach_every_process(jobs: int, tmp_path: Path) -> None:
    """Runs of so few segments have no row without that."""
    capture, config = CAPTURES / "haproxy-uvicorn-rtt-20-server.pcap", tmp_path / "wiredoctor.toml"
    config.write_text("[thresholds.tinygrams]\nmin-segments = 2\n")
    expected = json.loads(feeding.report(capture, thresholds={"tinygrams": {"min-segments": 2}}))
    assert len(expected["findings"]) > len(json.loads(feeding.report(capture))["findings"])
    assert report(capture, jobs, 3, more=f"--config {config}") == expected


def test_what_was_piped_in() -> None:
    """What has no name to be opened by again is shared as well."""
    given = (CAPTURES / "apache-ab.pcap").read_bytes()
    assert report("-", 2, 100, given) == report("-", 1, None, given)


CONVERSATION = """
0.000 > S mss 1460
0.010 < S. mss 1460
0.010 > .
0.011 > P. "GET /{n} HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"
0.022 < P. "HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok"
"""


def in_fragments(frame: bytes) -> list[bytes]:
    """The IPv4 packet of an Ethernet frame in two fragments, cut behind the first 24 bytes of TCP."""
    ethernet = dpkt.ethernet.Ethernet(frame)
    ip, payload = ethernet.data, bytes(ethernet.data.data)
    if len(payload) <= 24:
        return [frame]
    made: list[bytes] = []
    for eighths, part, more in ((0, payload[:24], True), (3, payload[24:], False)):
        piece = dpkt.ip.IP(src=ip.src, dst=ip.dst, p=ip.p, ttl=ip.ttl, id=ip.id, data=part)
        piece.mf, piece.offset, piece.len = more, eighths, 20 + len(part)
        made.append(frame[:14] + bytes(piece))
    return made


def test_fragments_are_put_together_for_every_process(tmp_path: Path) -> None:
    """Their bytes are not in the file: the process that joined them hands them on."""
    made: list[Packet] = []
    for n in range(12):
        whole = tmp_path / "one.pcap"
        whole.write_bytes(to_pcap(ladder_packets(CONVERSATION.format(n=n))))
        for number, (_, frame) in enumerate(dpkt.pcap.Reader(whole.open("rb"))):
            ethernet = dpkt.ethernet.Ethernet(frame)
            ethernet.data.id = 1000 * n + number
            for port in ("sport", "dport"):
                if getattr(ethernet.data.data, port) > 1024:
                    setattr(ethernet.data.data, port, 40_000 + n)
            ethernet.data.sum = ethernet.data.data.sum = 0
            made += [Packet(len(made) * 1_000, piece, len(piece)) for piece in in_fragments(bytes(ethernet))]
    path = tmp_path / "fragments.pcap"
    path.write_bytes(files.pcap(made))
    shared = report(path, 2, 5)
    assert shared == of_one(path)
    exchanges = shared["exchanges"]
    assert isinstance(exchanges, list)
    assert [(e["request"]["target"], e["response"]["body_bytes"]) for e in exchanges] == [(f"/{n}", 2) for n in range(12)]


@pytest.mark.parametrize("jobs", [2, 3])
def test_a_worker_that_is_killed_is_told(jobs: int) -> None:
    """One that had no time to say anything: it is waited for no longer, and so are the others."""
    kill = (
        "import os, signal; me = os.getpid(); import wiredoctor.tcp as tcp; real = tcp.analyse\n"
        "def analyse(*a):\n    if os.getpid() != me: os.kill(os.getpid(), signal.SIGKILL)\n    return real(*a)\n"
        "tcp.analyse = analyse\nimport wiredoctor.cli;"
    )
    words = ["analyze", str(CAPTURES / "apache-ab.pcap"), "--jobs", str(jobs), "--verbose"]
    command = [sys.executable, "-c", code(7).replace("import wiredoctor.cli;", kill), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 3
    assert "worker process ended" in done.stderr
    assert "Traceback" not in done.stdout


@pytest.mark.parametrize("jobs", [1, 2])
def test_rows_that_were_written_are_rows_that_were_held(jobs: int) -> None:
    """Also of a share in which there is nothing."""
    for name in ("unauthorized-closes.pcap", "unchunked-stream.pcapng", "refused.pcap", "one-sided.pcap", "encrypted.pcap"):
        assert report(CAPTURES / name, jobs, before=WRITTEN) == of_one(CAPTURES / name)


def test_a_worker_that_fails_is_told(tmp_path: Path) -> None:
    """An error of ours in the other process is exit code 3 with a line, as it would be in this one."""
    broken = code().replace(
        "import wiredoctor.cli;",
        "import os; me = os.getpid(); import wiredoctor.tcp as tcp; real = tcp.analyse\n"
        "def analyse(*a):\n    if os.getpid() != me: raise ZeroDivisionError('planted')\n    return real(*a)\n"
        "tcp.analyse = analyse\nimport wiredoctor.cli;",
    )
    command = [sys.executable, "-c", broken, "analyze", str(CAPTURES / "apache-ab.pcap"), "--jobs", "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, cwd=tmp_path)
    assert done.returncode == 3
    assert "Traceback" not in done.stdout
