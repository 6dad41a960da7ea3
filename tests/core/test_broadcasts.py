"""Evidence from other connections does not depend on the secret by which a process hashes addresses: equal in every run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.ladders import ladder_packets, to_pcap
from tests.support.recordings import ROOT

SLOTS = """
import os, sys
from tests.core.talk import Core
from wiredoctor.core.tcp.broadcasts import slot
from wiredoctor.core.capture.pcap import PcapRecords
from wiredoctor.core.capture.records import Source

core = Core()
records = PcapRecords(Source(os.open(sys.argv[1], os.O_RDONLY), 0), "")
while records.next(core.packet):
    core.headers.read(core.packet)
    print(slot(core.packet))
"""


def test_a_connection_has_the_same_slots_in_every_run(tmp_path: Path) -> None:
    text = "".join(
        f"connection {number}, client {client}:{4000 + number}, server {server}:80\n 0 > S\n 0.01 < S.\n 0.01 > .\n"
        for number, (client, server) in enumerate([("10.0.0.1", "10.0.0.2"), ("[fd00::1]", "[fd00::2]")] * 3, start=1)
    )
    path = tmp_path / "six.pcap"
    path.write_bytes(to_pcap(ladder_packets(text)))
    runs = [
        subprocess.run(
            [sys.executable, "-c", SLOTS, str(path)], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.split()
        for _ in range(2)
    ]
    assert runs[0] == runs[1]
    assert len(set(runs[0])) == 12  # six connections, two directions each
    assert len({int(slot) // 2 for slot in runs[0]}) == 6
