"""Test that dropped packets are reported during the capture, and that at the end every packet is in the file or counted as
dropped.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.recording.namespaces import Cable
from tests.recording.running import Recording, needs_root, packets
from tests.recording.streams import BEGIN, statistics
from tests.recording.test_dying import children
from tests.support.needs import needs
from wiredoctor.capture import Budget, Input
from wiredoctor.capture.drops import Dropped, spans
from wiredoctor.capture.files import OpenFiles
from wiredoctor.core.capture.packet import Packet
from wiredoctor.engine.opening import open_capture_files, open_capture_records
from wiredoctor.recording.blocks import Blocks
from wiredoctor.recording.files import ENDLESS

OVERFLOW = 10_000
"""More datagrams than a buffer of 1 MiB holds, however slowly they come: each takes a few hundred bytes of it at least."""

BACKENDS = ["raw", *(pytest.param(name, marks=needs(name)) for name in ("dumpcap", "tcpdump"))]


@pytest.mark.slow
@needs_root
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_backend_that_gets_no_time(backend: str, cable: Cable, tmp_path: Path) -> None:
    """It is stopped while more comes than the kernel keeps for it; twice, as counters are read in between."""
    cable.sink()
    file = tmp_path / "a.pcapng"
    asked = {"interfaces": ["wire1"], "file": str(file), "backend": backend, "buffer": 1}
    sent = 0
    with Recording(cable.inside(cable.there), **asked) as recording:
        recording.until("progress")
        time.sleep(1)  # tcpdump cannot be asked earlier
        stopped = children(recording.process.pid).get(backend, recording.process.pid)
        known = 0
        stops: list[int] = []
        for _ in range(2):
            stops.append(time.time_ns())
            os.kill(stopped, signal.SIGSTOP)
            enough = sent + OVERFLOW
            while sent < enough:
                sent += int(cable.flood(0.4, pause=0.001).communicate()[0])
            os.kill(stopped, signal.SIGCONT)
            while recording.last("dropped") <= known:
                recording.until("progress")
            known = recording.last("dropped")
            time.sleep(3.5)  # the counter is looked at once a second
        ended = recording.stop()
    assert ended["dropped"] >= known > 0
    assert ended["packets"] + ended["dropped"] == sent
    assert packets(file) == ended["packets"]
    blocks = Blocks()
    blocks.add(file.read_bytes())
    blocks.take(ENDLESS, ENDLESS)
    assert sum(blocks.dropped.values()) == ended["dropped"]
    dropped, first = read_drops(file)
    assert sum(one.packets for one in dropped) == ended["dropped"]
    times = spans(dropped)
    assert len(times) == 2, "each stop is a time of its own"
    for stop, (since, until) in zip(stops, times, strict=True):
        assert since is None or first + since < stop
        assert stop < first + until


SEND = """
import socket
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as target:
    target.bind(("127.0.0.1", 0))
    for _ in range(50):
        target.sendto(b"a", target.getsockname())
"""


@needs_root
@pytest.mark.parametrize("backend", BACKENDS)
def test_packets_of_the_loopback_interface_count_once(backend: str, cable: Cable, tmp_path: Path) -> None:
    """The kernel counts each of them as sent and as received."""
    file = tmp_path / "a.pcapng"
    with Recording(cable.inside(cable.there), interfaces=["lo"], file=str(file), backend=backend) as recording:
        recording.until("started")
        cable.run(cable.there, SEND).wait()
        recording.until("progress", packets=50)
        ended = recording.stop()
    with open_capture_files(Input(str(file), (str(file),)), OpenFiles(Budget()), print) as capture:
        records = open_capture_records(capture)
        packet = Packet()
        while records.next(packet):
            pass
        assert records.drops.packets_with_drops(50) == ended["packets"] == 50


STOPPED_WITHOUT_TIME = f"""
from wiredoctor.live.namespace import enter_own_network
from wiredoctor.recording import raw
from wiredoctor.recording.blocks import Blocks
from wiredoctor.recording.request import Request

enter_own_network()  # nobody else sends there
raw._LAST_TURN = 0.0
source = raw.Raw(["lo"], Request(["lo"], "", None, "", None, None, None, None, 1, "raw", [], waits=False))
blocks = Blocks()
[wake, _] = source.files()
source.read(wake, blocks)
{SEND}
source.stop()
source.read(wake, blocks)
assert source.ended
source.close(blocks)
print(source.dropped)
"""


@needs_root
def test_packets_that_are_not_read_in_time_after_a_stop_count_as_dropped() -> None:
    done = subprocess.run([sys.executable, "-c", STOPPED_WITHOUT_TIME], capture_output=True, text=True, check=True)
    assert done.stdout == "{0: 50}\n"


def read_drops(file: Path) -> tuple[list[Dropped], int]:
    """What the analysis reads of a file: the drops, and the time of its first packet."""
    with open_capture_files(Input(str(file), (str(file),)), OpenFiles(Budget()), print) as capture:
        records = open_capture_records(capture)
        packet = Packet()
        while records.next(packet):
            pass
        assert records.times.first is not None
        return records.drops.dropped() or [], records.times.first


def test_what_was_counted_before_is_added_to_the_statistics_once() -> None:
    blocks = Blocks()
    blocks.add(BEGIN)
    blocks.dropped_before = {0: 40, 3: 1}
    blocks.add(statistics(2) + statistics(5) + statistics(1, 1))
    assert bytes(blocks.take(10, ENDLESS).data) == BEGIN + statistics(42) + statistics(5) + statistics(1, 1)
    assert blocks.dropped == {0: 42, 1: 1}


@needs("setpriv", "tcpdump")
@needs_root
def test_tcpdump_is_not_run_by_a_root_that_cannot_change_its_user(tmp_path: Path) -> None:
    """As in a container that drops all capabilities but one: tcpdump would begin, and then give up."""
    poor = ["setpriv", "--bounding-set", "-all,+net_raw", "--inh-caps", "-all"]
    if subprocess.run([*poor, "true"], check=False).returncode:
        pytest.skip("capabilities cannot be dropped here")
    with Recording(poor, interfaces=["lo"], file=str(tmp_path / "a.pcapng"), backend="tcpdump") as recording:
        assert "CAP_SETUID" in recording.until("error")["text"]
    with Recording(poor, interfaces=["lo"], file=str(tmp_path / "a.pcapng"), backend="raw") as recording:
        recording.until("started")
        recording.stop()
