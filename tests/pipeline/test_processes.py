"""Any number of processes that share the connections give the report of one.

They are forked in a program of their own: Polars must not have run before.
"""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import dpkt
import pytest

from tests import icmp
from tests.capture import files
from tests.capture.files import Packet
from tests.capture.test_rotation import cut
from tests.ladders import ladder_packets, to_pcap
from tests.pipeline.processes import WRITTEN, environment, is_same, report, reports
from tests.support.recordings import PATHS, find_recording
from tests.support.sweeps import SLOW, sweep
from tests.tcp.test_crowds import CHECK, OPEN, crowd, expected
from wiredoctor import analyze

CAPTURE = find_recording("requests-without-session.pcap")

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="captures are shared by processes on Linux only")

ALONE = """
import os, signal
from wiredoctor import limits, pipeline
pipeline.SHARED_FROM = 0
{before}
import wiredoctor.cli
wiredoctor.cli.main()
"""


def run(before: str, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run the command line after these lines."""
    command = [sys.executable, "-c", ALONE.format(before=before), "analyze", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=environment(**more))


@SLOW
def test_recordings() -> None:
    """Findings with their evidence, ids, exchanges, counts and limits, to the letter."""
    assert is_same(reports(PATHS[3::90], [1, 2, 3, 4, 8, 16]))


def _of_each_kind() -> list[Path]:
    """Return a recording for each kind of each rule, as the labels say."""
    found: dict[tuple[str, str | None], Path] = {}
    for path in PATHS:
        label = tomllib.loads(path.with_suffix(".toml").read_text("utf-8"))
        for one in label.get("find", ()):
            found.setdefault((one["rule"], one.get("kind")), path)
    return sorted({*found.values()})


@SLOW
def test_a_recording_of_each_kind() -> None:
    """What a rule notes about a connection is about the same one after the processes' connections are numbered together."""
    assert is_same(reports(_of_each_kind(), [1, 3]))


def test_a_program_that_ended() -> None:
    """What a rule notes about a connection is about the same one after the processes' connections are numbered together."""
    assert is_same(reports([find_recording("wrk-rtt-20.pcap")], [1, 3]))


@SLOW
def test_icmp_errors(tmp_path: Path) -> None:
    """Of connections of all shares, and about one that is in none of them."""
    unknown = tmp_path / "unknown.pcap"
    unknown.write_bytes(icmp.capture("  0.000  >  S    mss 1460", icmp.Error(0.1, 1, 3, 13, source="192.0.2.7")))
    captures = [find_recording("rejected-client.pcap"), find_recording("no-route-client.pcap"), unknown]
    assert is_same(reports(captures, [1, 2, 5]))


@SLOW
@pytest.mark.parametrize("batch", [7, 300])
def test_in_batches(batch: int) -> None:
    assert is_same(reports([CAPTURE], [1, 3], steps=[batch]))


@SLOW
def test_more_processes_than_there_are_parts_of_the_connections() -> None:
    assert is_same(reports([CAPTURE], [1, 100]))


@SLOW
def test_a_rotation(tmp_path: Path) -> None:
    """Each process opens the files by itself; of compressed ones there is one process, which unpacks them."""
    plain, packed = (cut(find_recording("unauthorized-closes.pcap"), tmp_path / name, 20) for name in ("plain", "packed"))
    for path in sorted(packed.iterdir()):
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    answers = reports([plain, packed], [1, 2, 5])
    assert is_same(answers)
    steps = [step for finding in report(answers[0][0])["findings"] for step in finding["evidence"]]
    assert len({step["file"] for step in steps}) > 1


@SLOW
def test_rows_that_are_written_at_once() -> None:
    """Also of a share in which there is nothing."""
    names = ("unauthorized-closes.pcap", "unchunked-stream.pcapng", "refused.pcap", "one-sided.pcap", "encrypted.pcap")
    assert is_same(reports([find_recording(name) for name in names], [1, 2, 4], before=WRITTEN))


@SLOW
def test_connections_that_are_finished_in_parts() -> None:
    """Rules that remember what they saw on other connections see the last ones together."""
    assert is_same(reports(PATHS[1::110], [1, 2, 5], before="limits.FINISHED_AT_ONCE.value = 1"))


FEW = (
    f"limits.OPEN.value, limits.CROWD_CHECK.value = {OPEN}, {CHECK}; limits.RETENTION.value = 10**8; "
    "limits.RETAINED_PACKETS.value = 30; limits.PIPELINED.value = limits.HOLES.value = 1; limits.TEXT.value = 3"
)


@SLOW
def test_a_flood_of_connections(tmp_path: Path) -> None:
    """The same ones are given up, and the report says of how many and of which limits."""
    path = tmp_path / "crowd.pcap"
    packets = crowd(4)
    path.write_bytes(to_pcap(packets))
    [answers] = reports([path], [1, 2, 3, 16], before=FEW)
    assert is_same([answers])
    _, given_up = expected(packets)
    assert any(
        line.startswith(f"{given_up} idle connections were dropped from the analysis") for line in report(answers[0])["limits"]
    )


@SLOW
def test_limits_of_one_connection() -> None:
    answers = reports(PATHS[2::110], [1, 2, 5], before=FEW)
    assert is_same(answers)
    assert sum(len(report(one[0])["limits"]) for one in answers) > 2


def test_thresholds_reach_every_process() -> None:
    """Runs of so few segments have no row without that."""
    capture = find_recording("haproxy-uvicorn-rtt-20-server.pcap")
    plain = analyze(capture)
    [answers] = reports([capture], [1, 3], thresholds={"tinygrams": {"min-segments": 2}}, steps=[3])
    assert is_same([answers])
    assert len(report(answers[0])["findings"]) > len(plain.findings)


@SLOW
def test_standard_input() -> None:
    """A capture without a name that it could be opened by again."""
    with CAPTURE.open("rb") as given:
        command = [sys.executable, "-c", ALONE.format(before=""), "analyze", "-", "--jobs", "2", "--format", "json", "--full"]
        done = subprocess.run(command, stdin=given, capture_output=True, text=True, check=True, timeout=120, env=environment())
    [[line]] = reports([CAPTURE], [1])
    whole = report(line)
    assert json.loads(done.stdout)["exchanges"] == [{**exchange, "capture": "-"} for exchange in whole["exchanges"]]


CONVERSATION = """
0.000 > S mss 1460
0.010 < S. mss 1460
0.010 > .
0.011 > P. "GET /{n} HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"
0.022 < P. "HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok"
"""


def in_fragments(frame: bytes) -> list[bytes]:
    """Return the IPv4 packet of an Ethernet frame in two fragments, cut after the first 24 bytes of TCP."""
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


@SLOW
def test_fragments(tmp_path: Path) -> None:
    """Each process puts them together; what could not be read, and what was put together, is counted once."""
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
    [answers] = reports([path], [1, 2, 4], steps=[5])
    assert is_same([answers])
    exchanges = report(answers[0])["exchanges"]
    assert [(e["request"]["target"], e["response"]["body_bytes"]) for e in exchanges] == [(f"/{n}", 2) for n in range(12)]


FAIL = """
import wiredoctor.engine.run as engine
me, real = os.getpid(), engine.take_tables
def take_tables(core, *more):
    if {who}: {do}
    return real(core, *more)
engine.take_tables = take_tables
limits.BYTES_HELD.value = 1
"""
SMALL_BATCHES = """
run = pipeline.run
pipeline.run = lambda paths, settings, **options: run(paths, settings._replace(batch_packets=5), **options)
"""
WORKER = "os.getpid() != me and core.share.number == 1"


@SLOW
@pytest.mark.parametrize("jobs", sweep(["2", "3"], "3".__eq__))
def test_a_worker_that_is_killed(jobs: str, tmp_path: Path) -> None:
    done = run(
        FAIL.format(who=WORKER, do="os.kill(os.getpid(), signal.SIGKILL)"),
        str(CAPTURE),
        "--jobs",
        jobs,
        "--verbose",
        TMPDIR=str(tmp_path),
    )
    assert (done.returncode, done.stdout) == (3, "")
    assert "worker process ended" in done.stderr
    assert list(tmp_path.iterdir()) == []


@SLOW
@pytest.mark.parametrize("who", [WORKER, "os.getpid() == me"])
def test_a_process_that_fails(who: str, tmp_path: Path) -> None:
    """An internal error of any process is exit code 3 with a line."""
    done = run(FAIL.format(who=who, do="raise ZeroDivisionError"), str(CAPTURE), "--jobs", "3", "--verbose", TMPDIR=str(tmp_path))
    assert (done.returncode, done.stdout) == (3, "")
    assert "ZeroDivisionError" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_no_room_for_the_rows_of_a_worker(tmp_path: Path) -> None:
    do = "import errno; raise OSError(errno.ENOSPC, 'no room')"
    done = run(FAIL.format(who=WORKER, do=do), str(CAPTURE), "--jobs", "3", TMPDIR=str(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("wiredoctor: no room for temporary files (set TMPDIR to use another folder): ")
    assert done.stderr.count("\n") == 1


def test_workers_end_with_their_parent(tmp_path: Path) -> None:
    """They remove the folder that it cannot remove any more."""
    slow = FAIL.format(who="True", do="import time; time.sleep(0.1)") + SMALL_BATCHES
    command = [sys.executable, "-c", ALONE.format(before=slow), "analyze", str(CAPTURE), "--jobs", "3"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(TMPDIR=str(tmp_path)))
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while len(workers := children.read_text().split()) < 2:
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.communicate(timeout=60)  # the workers hold both pipes
    assert not any(os.path.exists(f"/proc/{worker}/exe") for worker in workers)
    assert list(tmp_path.iterdir()) == []
