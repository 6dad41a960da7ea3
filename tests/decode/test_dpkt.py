"""What dpkt reads for the general decoder: only when it is there, only the header, and as much as was captured."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

import pytest

from tests.capture import files
from tests.decode.packets import Record, ethernet, ipv4, ipv6, tcp, vlan
from tests.decode.test_headers import LLC_SNAP, WAYS
from tests.decode.twins import decoded

FOUR, SIX = ipv4(tcp(b"hello")), ipv6(tcp(b"hello"))

ORDINARY = [
    ethernet(FOUR),
    ethernet(SIX, 0x86DD),
    ethernet(vlan(vlan(FOUR, 9), 5, 0x8100), 0x88A8),
    ethernet(bytes(28), 0x0806),  # ARP
    ethernet(b"\x42\x42\x03" + bytes(35), 38),  # spanning tree
    ethernet(LLC_SNAP + b"\x20\0" + bytes(30), 38),  # Cisco discovery
    ethernet(ipv4(struct.pack(">HHHH", 5353, 5353, 8, 0), 17)),
    ethernet(ipv4(tcp(b"hello"), fragment=0x2000)),
    ethernet(ipv4(b"\3\3" + bytes(6) + FOUR[:36], 1)),
    ethernet(ipv6(bytes((58, 0, 5, 2, 0, 0, 1, 0)) + b"\x8f" + bytes(27), 0), 0x86DD),  # multicast listener report
]
AUTHENTICATED = ethernet(WAYS["AH"][1])

SCRIPT = """
import sys
from wiredoctor.core.formats import open_records
from wiredoctor.core.general import General
from wiredoctor.core.headers import Headers
from wiredoctor.core.layers import DECLINED, SEGMENT
from wiredoctor.core.packet import Packet
from wiredoctor.core.records import Source
headers, packet, segments = Headers(), Packet(), 0
general = General(headers)
with open(sys.argv[1], "rb") as file:
    records = open_records(Source(file.fileno(), 0), "x")
    while records.next(packet):
        kind = headers.read(packet)
        segments += (general.read(packet) if kind == DECLINED else kind) == SEGMENT
print(segments, *sorted({"dpkt", "scapy"} & set(sys.modules)))
"""


@pytest.mark.parametrize(("packets", "said"), [(ORDINARY, "4"), ([*ORDINARY, AUTHENTICATED], "5 dpkt")])
def test_imported_when_needed_only(tmp_path: Path, packets: list[bytes], said: str) -> None:
    """Three segments and a quoted one; with an authentication header one more."""
    out = files.section("<") + files.interface("<", 1)
    for at, packet in enumerate(packets):
        out += files.enhanced("<", files.Packet(at, packet, len(packet), 0))
    path = tmp_path / "x.pcapng"
    path.write_bytes(out)
    run = subprocess.run([sys.executable, "-c", SCRIPT, path], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == said


UDP_TO_VXLAN = struct.pack(">HHHH", 5000, 4789, 16, 0)
ROUTING, FRAGMENT = bytes((6, 0)) + bytes(6), bytes((6, 0, 0, 1)) + bytes(4)

HEADERS = {
    "PPPoE": (1, ethernet(b"", 0x8864), struct.pack(">BBHHH", 0x11, 0, 3, 2, 0x57)[:6], "link header cut short"),
    "MPLS": (1, ethernet(b"", 0x8847), struct.pack(">I", 0x100), "link header cut short"),
    "third tag": (1, ethernet(vlan(vlan(b"", 1, 0x8100), 2, 0x8100), 0x8100), vlan(b"", 3), "link header cut short"),
    "GRE": (101, ipv4(b"", 47, total=100), b"\0\0\x08\0", "IP header cut short"),
    "UDP": (101, ipv4(b"", 17, total=100), UDP_TO_VXLAN, "UDP"),
    "AH": (101, ipv4(b"", 51, total=100), bytes((6, 1)) + bytes(10), "IP header cut short"),
    "routing": (101, ipv6(b"", 43, size=80), ROUTING, "IP header cut short"),
    "fragment": (101, ipv6(b"", 44, size=80), FRAGMENT, "IP header cut short"),
}


@pytest.mark.parametrize("name", HEADERS)
def test_cut_in_the_middle(name: str) -> None:
    link_type, front, header, reason = HEADERS[name]
    records = [Record(front + header[:size], link_type, 200) for size in range(len(header))]
    rows, oddities, state = decoded(records)
    assert len(rows["frame"]) == len(oddities) == 0
    assert dict(state.not_analysed) == {reason: len(header)}
