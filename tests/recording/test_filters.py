"""Test the filters of raw sockets: they keep the packets that tcpdump keeps, and what is wrong with them is one line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.recording.namespaces import Cable, ip
from tests.recording.running import Recording, needs_root
from tests.recording.test_links import until_sections
from tests.support.needs import needs
from wiredoctor.recording import filters
from wiredoctor.recording.raw import Raw
from wiredoctor.recording.request import Request

KEEPS = '''
import json, re, subprocess, sys, time
from wiredoctor.recording.blocks import Blocks
from wiredoctor.recording.files import ENDLESS
from wiredoctor.recording.filters import FilterError
from wiredoctor.recording.raw import Raw
from wiredoctor.recording.request import Request

ID = re.compile(rb"packet-\\d\\d")

class ByRaw:
    def __init__(self, interface, filter):
        self.error = False
        try:
            nothing = (None, "", None, None, None, None)
            self.source = Raw([interface], Request([interface], filter, *nothing, 1, "raw", [], waits=False))
        except FilterError:
            self.error = True

    def kept(self):
        blocks = Blocks()
        for file in self.source.files():
            self.source.read(file, blocks)
        data = bytes(blocks.take(ENDLESS, ENDLESS).data)
        self.source.close(Blocks())
        return ID.findall(data)

class ByTcpdump:
    def __init__(self, interface, filter):
        words = ["tcpdump", "-i", interface, "--immediate-mode", "-U", "-Z", "root", "-w", "-", filter]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.error = b"listening on" not in self.process.stderr.readline()

    def kept(self):
        self.process.terminate()
        return ID.findall(self.process.communicate()[0])

def compare(interface, filters, send):
    """Return for each filter which of the packets that `send` sends each of the two keeps; "error" if it refuses the filter."""
    both = {filter: (ByRaw(interface, filter), ByTcpdump(interface, filter)) for filter in filters}
    send()
    time.sleep(0.3)
    ids = {f: ["error" if one.error else sorted(map(bytes.decode, one.kept())) for one in two] for f, two in both.items()}
    print(json.dumps(ids))
'''

FRAMES = '''
import socket, time
from scapy.all import ARP, ICMP, IP, TCP, UDP, Dot1Q, Ether, IPv6, Raw as Bytes

def frames():
    """Return frames, each with a number in its payload."""
    ethernet, ip = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02"), IP(src="10.99.0.1", dst="10.99.0.2")
    tcp = TCP(sport=50000, dport=8080)
    layers = [
        ethernet / ip / tcp, ethernet / Dot1Q(vlan=7) / ip / tcp, ethernet / Dot1Q(vlan=8) / ip / TCP(dport=80),
        Ether(src=ethernet.src, dst=ethernet.dst, type=0x88A8) / Dot1Q(vlan=9) / Dot1Q(vlan=7) / ip / tcp,
        ethernet / IPv6(src="fd00::1", dst="fd00::2") / tcp, ethernet / Dot1Q(vlan=7) / IPv6(src="fd00::1", dst="fd00::2") / tcp,
        ethernet / ip / UDP(dport=53), ethernet / ip / ICMP(), ethernet / ARP(psrc="10.99.0.1", pdst="10.99.0.2"),
        Ether(src=ethernet.src, dst="ff:ff:ff:ff:ff:ff") / IP(src="10.99.0.1", dst="10.99.0.255") / UDP(dport=8080),
        ethernet / ip / tcp / Bytes(bytes(300)),
    ]
    return [bytes(layer / Bytes(b"packet-%02d" % number)) for number, layer in enumerate(layers)]

def send(interface):
    """Send the frames, after one without a number: libpcap itself filters what arrives first, and does not know its direction."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as out:
        out.bind((interface, 0))
        out.send(bytes(Ether() / IP() / UDP()))
        time.sleep(0.3)
        for frame in frames():
            out.send(frame)
'''

ETHERNET_FILTERS = [
    "tcp port 8080", "vlan and tcp port 8080", "tcp port 8080 or (vlan and vlan and tcp port 8080)", "vlan 7", "not vlan",
    "vlan and vlan", "ip6 and tcp", "icmp or arp", "greater 200", "ip broadcast", "ether src 02:00:00:00:00:01 and udp",
    "inbound", "outbound",
]  # fmt: skip

TUN = """
import fcntl, os, struct, subprocess
from scapy.all import ICMP, IP, TCP, UDP, IPv6, Raw as Bytes

file = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(file, 0x400454CA, struct.pack("16sH22x", b"tun7", 0x1001))  # TUNSETIFF: IFF_TUN | IFF_NO_PI
for words in ("addr add 10.7.0.1/24 dev tun7", "link set tun7 addrgenmode none up"):
    subprocess.run(["ip", *words.split()], check=True)
ip = IP(src="10.7.0.2", dst="10.7.0.1")
tcp = TCP(dport=8080)
packets = [ip / tcp, ip / TCP(dport=80), ip / UDP(dport=8080), ip / ICMP(), IPv6(src="fd00::1", dst="fd00::2") / tcp]

def write():
    for number, packet in enumerate(packets):
        os.write(file, bytes(packet / Bytes(b"packet-%02d" % number)))
"""

TUN_FILTERS = ["tcp port 8080", "ip6", "host 10.7.0.2", "icmp", "udp or ip6", "port 8080", "vlan", "ether src 02:00:00:00:00:01"]


@pytest.mark.slow
@needs("libpcap", "tcpdump")
@needs_root
def test_raw_sockets_keep_what_tcpdump_keeps(cable: Cable) -> None:
    """The kernel removes VLAN tags before a filter sees the packet, so a filter must find the tag elsewhere."""
    code = f"{KEEPS}{FRAMES}\nfor word in sys.stdin: compare('wire1', json.loads(word), lambda: print(flush=True) or input())"
    words = [*cable.inside(cable.there), sys.executable, "-c", code]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        print(json.dumps(ETHERNET_FILTERS), file=process.stdin, flush=True)
        process.stdout.readline()
        cable.run(cable.here, f"{FRAMES}\nsend('wire0')").wait()
        process.stdin.write("\n")
        process.stdin.close()
        kept = json.loads(process.stdout.readline())
    assert {filter: by_raw for filter, (by_raw, _) in kept.items()} == {filter: right for filter, (_, right) in kept.items()}
    assert "packet-03" in kept[ETHERNET_FILTERS[2]][0]  # the one with two tags
    assert kept["vlan 7"][0] == ["packet-01", "packet-05"]
    assert set(kept["not vlan"][0]) == {f"packet-{number:02}" for number in (0, 4, 6, 7, 8, 9, 10)}
    assert kept["outbound"][0] == ["packet-06", "packet-07"]  # the kernel answers with these bytes: port unreachable, echo reply


@pytest.mark.slow
@needs("libpcap", "tcpdump")
@needs_root
def test_raw_sockets_keep_what_tcpdump_keeps_of_raw_ip(cable: Cable) -> None:
    code = f"{KEEPS}{TUN}\ncompare('tun7', {TUN_FILTERS!r}, write)"
    done = subprocess.run([*cable.inside(cable.there), sys.executable, "-c", code], capture_output=True, text=True, check=True)
    kept = json.loads(done.stdout)
    assert {filter: by_raw for filter, (by_raw, _) in kept.items()} == {filter: right for filter, (_, right) in kept.items()}
    assert (kept["tcp port 8080"][0], kept["vlan"][0]) == (["packet-00", "packet-04"], "error")


@needs("libpcap")
@needs_root
@pytest.mark.parametrize(
    ("filter", "reason"),
    [
        ("tcp prt 8080", "syntax error"),
        ("host no-such-host.invalid", "no-such-host.invalid"),
        ("port no-such-port", "no-such-port"),
        ("\udcff tcp", "--filter: "),
        (" + ".join(f"ip[{number % 60}] * 7" for number in range(800)) + " = 1", "Linux accepts at most 4,096"),
    ],
)
def test_what_is_wrong_with_a_filter_is_one_line(filter: str, reason: str, cable: Cable, tmp_path: Path) -> None:
    inside = cable.inside(cable.there)  # no name server can be reached from there
    with Recording(inside, interfaces=["lo"], filter=filter, file=str(tmp_path / "a.pcapng"), backend="raw") as recording:
        text = recording.until("error")["text"]
        assert recording.process.wait(3) == 2
    assert text.startswith("--filter: ")
    assert reason in text
    assert "\n" not in text


@needs("libpcap")
@needs_root
def test_a_filter_still_applies_when_an_interface_returns(cable: Cable, tmp_path: Path) -> None:
    """Until then, the recorder has given up the rights that it does not need."""
    file = tmp_path / "a.pcapng"
    cable.sink()
    asked = {"interfaces": ["wire1"], "filter": "udp port 9998", "file": str(file), "backend": "raw"}
    with Recording(cable.inside(cable.there), **asked) as recording:
        recording.until("file")
        cable.unplug()
        recording.until("interface", state="gone")
        cable.plug()
        recording.until("interface", state="up")
        until_sections(file, 2)
        cable.flood(0.2).wait()
        assert recording.stop()["packets"] == 0


def request(filter: str, option: str, file: str | None = None) -> Request:
    return Request(["lo"], filter, file, "", None, None, None, None, 1, "raw", [], waits=False, filter_option=option)


@needs_root
def test_without_libpcap_only_a_default_filter_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filters, "load_libpcap", lambda: None)
    for option in ("--filter", "--port"):
        with pytest.raises(filters.FilterError, match=f"^{option}: raw sockets need libpcap .*apt install.*dnf install.*apk add"):
            Raw(["lo"], request("tcp", option))
    for file, kept in ((None, ""), ("/x/a.pcapng", " and kept in /x/a.pcapng")):
        source = Raw(["lo", "any"], request("tcp", "", file))
        source._release()
        (note,) = source.notes
        assert note.startswith(
            f"all packets of the interfaces are recorded{kept}, without the default filter (tcp): raw sockets "
        )


def test_a_filter_that_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(filters.FilterError, match=r"^libpcap did not compile the filter within 0 s"):
        filters._within(0.1, lambda: time.sleep(30) or b"")
    with pytest.raises(filters.FilterError, match="a reason"):
        filters._within(10, lambda: (_ for _ in ()).throw(filters.FilterError("a reason")))
    for crash in (os.abort, lambda: 1 // 0):
        with pytest.raises(filters.FilterError, match="libpcap failed while it compiled"):
            filters._within(10, crash)
    assert filters._within(10, lambda: bytes(100_000)) == bytes(100_000)


@needs("libpcap")
@needs_root
def test_an_interface_on_which_a_filter_has_no_meaning_is_named(cable: Cable, tmp_path: Path) -> None:
    ip("-n", cable.there, "tuntap", "add", "tun7", "mode", "tun")
    ip("-n", cable.there, "link", "set", "tun7", "up")
    asked = {"interfaces": ["any"], "filter": "vlan 7", "file": str(tmp_path / "a.pcapng"), "backend": "raw"}
    with Recording(cable.inside(cable.there), **asked) as recording:
        assert recording.until("error")["text"].startswith("--filter, on tun7: no VLAN support")


AS_PPP = """
import fcntl, os, struct
file = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(file, 0x400454CA, struct.pack("16sH22x", b"tun7", 0x1001))  # TUNSETIFF: IFF_TUN | IFF_NO_PI
fcntl.ioctl(file, 0x400454CD, 512)  # TUNSETLINK: ARPHRD_PPP
"""


@needs_root
def test_any_leaves_out_interfaces_whose_packets_raw_sockets_do_not_know(cable: Cable, tmp_path: Path) -> None:
    ip("-n", cable.there, "tuntap", "add", "tun7", "mode", "tun")
    cable.run(cable.there, AS_PPP).wait()
    ip("-n", cable.there, "link", "set", "tun7", "up")
    reason = "raw sockets do not support the packets of tun7 (hardware type 512): install dumpcap or tcpdump"
    asked = {"file": str(tmp_path / "a.pcapng"), "backend": "raw"}
    with Recording(cable.inside(cable.there), interfaces=["any"], **asked) as recording:
        assert recording.until("note")["text"] == f"{reason}; it is not captured"
        cable.sink()
        cable.flood(0.2).wait()
        recording.until("progress", packets=50)
        recording.stop()
    with Recording(cable.inside(cable.there), interfaces=["tun7"], **asked) as recording:
        assert recording.until("error")["text"] == reason
