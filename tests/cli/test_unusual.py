"""Test captures without anything to diagnose: every format states their contents."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path

import pytest

import wiredoctor
from tests.capture import files
from tests.capture.files import Packet
from wiredoctor.report.data import json as as_json
from wiredoctor.report.terminal import markdown, text
from wiredoctor.report.terminal.terminal import Terminal

SECOND = 1_000_000
START = 1_700_000_000 * SECOND


def ethernet(kind: int, payload: bytes) -> bytes:
    return bytes(12) + struct.pack(">H", kind) + payload


def ipv4(protocol: int, payload: bytes) -> bytes:
    header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(payload), 1, 0, 64, protocol, 0)
    return ethernet(0x0800, header + b"\x0a\0\0\x01\x0a\0\0\x02" + payload)


def udp(port: int, payload: bytes) -> bytes:
    return ipv4(17, struct.pack(">HHHH", 50_000, port, 8 + len(payload), 0) + payload)


ARP = ethernet(0x0806, bytes(28))
ICMP = ipv4(1, b"\x08" + bytes(31))
ICMPV6 = ethernet(0x86DD, b"\x60\0\0\0\0\x08\x3a\x40" + bytes(40))
TCP = ipv4(6, struct.pack(">HHIIBBHHH", 40_000, 80, 1, 1, 0x50, 0x10, 1_000, 0, 0))


def pcap(*packets: bytes, link_type: int = 1, cut: int | None = None) -> bytes:
    return files.pcap([Packet(START + i, p[:cut], len(p)) for i, p in enumerate(packets)], link_type=link_type)


NO_TCP = "Nothing to diagnose: no TCP connection was seen in "
CASES = {
    "no packets": (pcap(), "Nothing to diagnose: there are no packets."),
    "interfaces": (
        files.section("<") + files.interface("<") + files.interface("<", 220),
        "Nothing to diagnose: there are no packets.",
    ),
    "a section": (files.section(">"), "Nothing to diagnose: there are no packets."),
    "arp": (pcap(ARP, ARP), f"{NO_TCP}2 packets: ARP."),
    "udp": (pcap(udp(53, bytes(20))), f"{NO_TCP}1 packet: UDP."),
    "quic": (pcap(udp(443, b"\xc3\0\0\0\x01" + bytes(1_200))), f"{NO_TCP}1 packet: UDP."),
    "icmp": (pcap(ICMP, ICMPV6, ICMP), f"{NO_TCP}3 packets: ICMP (2), ICMPv6 (1)."),
    "many kinds": (
        pcap(*[ARP] * 4, *[ICMP] * 3, *[ICMPV6] * 2, udp(1, b""), ipv4(2, bytes(8)), ipv4(2, bytes(8))),
        f"{NO_TCP}12 packets: ARP (4), ICMP (3), ICMPv6 (2), 2 other kinds (3).",
    ),
    "usb": (pcap(bytes(80), link_type=220), f"{NO_TCP}1 packet: link type 220 (USB)."),
    "bluetooth": (pcap(bytes(80), link_type=201), f"{NO_TCP}1 packet: link type 201 (Bluetooth)."),
    "a link type": (pcap(bytes(80), link_type=161), f"{NO_TCP}1 packet: link type 161."),
    "a link type that Wireshark refuses": (pcap(bytes(60), link_type=284), f"{NO_TCP}1 packet: link type 284."),
    "a number": (
        files.section("<") + files.interface("<", 400) + files.enhanced("<", Packet(START, bytes(60), 60)),
        f"{NO_TCP}1 packet: link type 400.",
    ),
    "cut": (pcap(TCP, TCP, cut=20), f"{NO_TCP}2 packets: IP header cut short."),
}


@pytest.mark.parametrize(("content", "sentence"), CASES.values(), ids=CASES)
def test_the_first_line_says_what_is_in_it(content: bytes, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(content)
    report = wiredoctor.analyze(str(tmp_path / "x"))
    for width in (80, 160):
        page = io.StringIO()
        text.write(report, page, Terminal(width=width))
        assert page.getvalue().partition("\n\n")[0].replace("\n", " ") == sentence
        assert max(map(len, page.getvalue().splitlines())) <= max(width, len(str(tmp_path / "x")) + 2)
    written = io.BytesIO()
    markdown.write(report, written)
    assert written.getvalue().decode().startswith(f"## wiredoctor: {markdown.escape_markdown(sentence)}\n")


def test_times_where_the_clock_goes_back(tmp_path: Path) -> None:
    """The earliest time stamp, from which elapsed times count, and the latest one, not those of the first and the last packet."""
    times = (START, START + 5 * SECOND, START - 6 * 3_600 * SECOND)
    (tmp_path / "x").write_bytes(files.pcap([Packet(t, TCP, len(TCP)) for t in times]))
    report = wiredoctor.analyze(str(tmp_path / "x"))
    written = io.BytesIO()
    as_json.write(report, written)
    capture = json.loads(written.getvalue())["captures"][0]
    assert capture["first_time"] == "2023-11-14T16:13:20.000000000Z"
    assert capture["last_time"] == "2023-11-14T22:13:25.000000000Z"
    page, marked = io.StringIO(), io.BytesIO()
    text.write(report, page, Terminal(width=160))
    markdown.write(report, marked)
    for said in (page.getvalue(), marked.getvalue().decode()):
        assert "from 2023-11-14 16:13:20 UTC for 6 h\n" in said
