"""Test that an anonymized capture shows the same faults, and contains none of the original text."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from random import Random

import dpkt
import pytest

import wiredoctor
from tests.decode.packets import ethernet, ipv4
from tests.decode.rare import gre
from tests.decode.udp import udp, vxlan
from tests.extract.rewriting import made_anonymous, said
from tests.ladders import to_pcap
from tests.pipeline.planting import MARK, planted
from tests.pipeline.test_secrets import in_places, one_capture, speaking
from tests.support.needs import needs
from tests.support.recordings import find_recording
from tests.support.sweeps import SLOW
from wiredoctor.extract.anonymize.capture import read_original
from wiredoctor.extract.anonymize.leaking import collect_words, leaks


@pytest.mark.parametrize("step", [pytest.param(60, id="some"), pytest.param(1, id="all", marks=SLOW)])
def test_secrets_do_not_survive(step: int, tmp_path: Path) -> None:
    """Secrets stand in the heads of conversations in which something is found, in names, values, targets and phrases."""
    random, path, out = Random(7), tmp_path / "in.pcap", tmp_path / "out.pcapng"
    talks = [*speaking(step)]
    assert len(talks) > 50
    places = [*in_places(random)]
    chosen = [*(planted(talk, random, harmless=False) for talk in talks[:: min(step, 5)]), *places[:: min(step, 10)]]
    for first in range(0, len(chosen), 10):
        path.write_bytes(one_capture(iter(chosen[first : first + 10])))
        result = made_anonymous(path, out)[1]
        assert result.leaks == []
        assert MARK.lower().encode() not in out.read_bytes().lower()
    assert sum(MARK.encode() in to_pcap(talk) for talk in chosen) > len(chosen) // 2


@SLOW
def test_any_bytes_are_replaced(tmp_path: Path) -> None:
    """Damaged packets raise nothing, keep their lengths, and leak nothing."""
    random, raw = Random(3), find_recording("curl-anyauth.pcap").read_bytes()
    for number in range(8):
        data = bytearray(raw)
        for _ in range(60):
            data[random.randrange(60, len(data))] = random.randrange(256)
        path = tmp_path / f"{number}.pcap"
        path.write_bytes(data)
        result = made_anonymous(path, tmp_path / "out.pcapng")[1]
        lengths = [len(packet.data) for packet in result.packets]
        access = next(iter(wiredoctor.analyze(path, keep=True).packets.values()))
        sizes = dict(access.tables(["records"])["records"].select("frame", "captured").iter_rows())
        assert lengths == [sizes[packet.frame] for packet in result.packets]
        assert result.leaks == []


def test_a_leak_is_found() -> None:
    original = read_original(next(iter(wiredoctor.analyze(find_recording("curl-basic.pcap"), keep=True).packets.values())))
    found = leaks(original, original.packets, set(), collect_words(original))
    assert any(leak.startswith("address ") for leak in found)
    assert any(leak.startswith("word ") for leak in found)


def test_the_same_seed_says_the_same_and_another_something_else(tmp_path: Path) -> None:
    path, made = find_recording("curl-basic.pcap"), list[bytes]()
    for seed in (b"a", b"a", b"b"):
        made_anonymous(path, tmp_path / "out.pcapng", seed)
        made.append((tmp_path / "out.pcapng").read_bytes())
    assert made[0] == made[1] != made[2]


@needs("tshark")
def test_checksums_are_right_where_they_were(tmp_path: Path) -> None:
    """tshark says of each packet what it said of the original, also of its numbers and options."""
    path, out = find_recording("curl-anyauth.pcap"), tmp_path / "out.pcapng"
    made_anonymous(path, out)
    assert _seen(out) == _seen(path)


def _seen(path: Path) -> str:
    fields = ("ip.checksum.status", "tcp.checksum.status", "frame.len", "tcp.seq_raw", "tcp.ack_raw", "tcp.flags", "tcp.options")
    command = ["tshark", "-n", "-r", str(path), "-o", "ip.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE", "-T", "fields"]
    return subprocess.run(
        [*command, *(part for name in fields for part in ("-e", name))], check=True, text=True, capture_output=True, timeout=60
    ).stdout


def _in_vxlan(data: bytes) -> bytes:
    return ethernet(ipv4(udp(vxlan(data, flags=8), 4789), 17))


def _in_gre(data: bytes) -> bytes:
    return ethernet(ipv4(gre(data[14:], 0, b""), 47))


def _in_pppoe(data: bytes) -> bytes:
    return ethernet(struct.pack(">BBHHH", 0x11, 0, 7, len(data) - 12, 0x21) + data[14:], 0x8864)


@pytest.mark.parametrize("wrap", [_in_vxlan, _in_gre, _in_pppoe], ids=lambda wrap: wrap.__name__)
def test_a_tunnel_is_taken_off(wrap: Callable[[bytes], bytes], tmp_path: Path) -> None:
    path, out = tmp_path / "in.pcap", tmp_path / "out.pcapng"
    with find_recording("three-writes-rtt-120-middle.pcap").open("rb") as plain, path.open("wb") as wrapped:
        writer = dpkt.pcap.Writer(wrapped, snaplen=1 << 18)
        for time, data in dpkt.pcap.Reader(plain):
            writer.writepkt(wrap(data), time)
    report, result = made_anonymous(path, out)
    after = wiredoctor.analyze(out)
    assert report.findings
    assert said(after.findings, [packet.frame for packet in result.packets]) == said(report.findings)
    assert (result.left_out, result.leaks) == ({}, [])
    outer = ethernet(ipv4(b""))[14:]
    assert not [packet for packet in result.packets if outer[12:20] in packet.data or packet.data[:1] not in (b"\x45", b"\x60")]
