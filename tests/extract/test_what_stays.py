"""Test that harmless values stay only where the grammar allows them, and only up to their usual length: elsewhere they may be
secrets.
"""

from __future__ import annotations

import string
import struct
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import dpkt
import pytest
from hypothesis import given
from hypothesis import strategies as st

import wiredoctor
from tests import icmp
from tests.core.feeding import tables
from tests.decode.packets import ethernet, ipv4, tcp
from tests.extract.rewriting import made_anonymous, said
from tests.support.recordings import find_recording
from wiredoctor.extract.anonymize import bodies, encrypted
from wiredoctor.extract.anonymize.message_heads import Heads
from wiredoctor.extract.anonymize.names import Addresses, Tokens
from wiredoctor.extract.anonymize.streams import Stream


def replaced(line: bytes) -> bytes:
    """A line of a head, in the place of that one."""
    made = (
        Heads(Tokens(b"tests"), Addresses(b"tests", ()))
        .head(b"GET / HTTP/1.1\r\n" + line + b"\r\n")
        .partition(b"\n")[2]
        .removesuffix(b"\r\n")
    )
    assert len(made) == len(line)
    return made


@pytest.mark.parametrize(
    "line",
    [
        b"Keep-Alive: timeout=5, max=99",
        b"Content-Length: 123456789012",
        b"Content-Length: 5, 6",
        b"User-Agent: curl/7.88.1",
        b"User-Agent: Python-urllib/3.11",
        b"Server: Python/3.11 aiohttp/3.8.4",
        b"Via: 1.1 varnish, HTTP/1.0 squid/4.10",
        b"Upgrade: websocket, h2c, HTTP/2.0",
    ],
)
def test_what_rules_read_stays(line: bytes) -> None:
    assert replaced(line) == line


@pytest.mark.parametrize(
    ("line", "secret"),
    [
        (b"Keep-Alive: 4111111111111111", b"4111"),
        (b"Keep-Alive: timeout=4111111111", b"4111"),
        (b"Keep-Alive: order=48213", b"48213"),
        (b"Content-Length: 4111111111111111", b"4111"),
        (b"Content-Length: 12 48213", b"48213"),
        (b"User-Agent: AcmeBrowser/9.8.7", b"9.8.7"),
        (b"User-Agent: curl/7.88.1 (room 481)", b"481"),
        (b"User-Agent: Apache/481.20240719", b"20240719"),
        (b"Server: 48.13", b"48.13"),
        (b"Server: server/48.13", b"48.13"),
        (b"Via: 1.1 ip-10-48-213-7", b"48"),
        (b"Upgrade: 481", b"481"),
        (b"Referer: jane:99999", b"99999"),
        (b"Date: Fri, 19 Jul 2024 16:42:47 GMT", b"16:42"),
        (b"Set-Cookie: a=b; expires=Fri, 19-Jul-2024 16:42:47 GMT", b"16:42"),
        (b"Cookie: a=!$$!", b"!$$!"),
        (b"X-Key: \x02\x13\x17\x7f", b"\x02\x13\x17\x7f"),
        (b"!$#!: 1", b"!$#!"),
        (b"\x02\x13\x17\x7f", b"\x02\x13\x17\x7f"),
    ],
)
def test_what_nobody_needs_does_not(line: bytes, secret: bytes) -> None:
    assert secret in line
    assert secret not in replaced(line)


def test_an_address_in_a_head_is_that_of_the_packets() -> None:
    """Of the same length, so framing does not change; one that has too few characters for this is replaced like a word."""
    hosts = [ip_address(text) for text in ("10.9.0.2", "172.16.31.7", "192.168.100.101", "fd00:9::1", "2001:db8:1::7:1")]
    addresses = Addresses(b"tests", {one.packed for one in hosts} | {ip_address("1.1.1.1").packed})
    heads = Heads(Tokens(b"tests"), addresses)
    for one in hosts:
        made = ip_address(addresses(one.packed))
        assert made != one
        host, new = (f"[{ip}]" if ip.version == 6 else str(ip) for ip in (one, made))
        before = (
            f"GET http://{host}:8080/ HTTP/1.1\r\nHost: {host}:8080\r\nX-Forwarded-For: {one}\r\nOrigin: https://{host}\r\n"
            f'Location: http://{host}:81/\r\nForwarded: for="{host}";by={host}\r\nX-Real-IP: {one}\r\n\r\n'
        )
        after = before.replace(host, new).replace(str(one), str(made))
        assert heads.head(before.encode()).decode() == after
    short = heads.head(b"GET / HTTP/1.1\r\nHost: 1.1.1.1\r\n\r\n")
    assert b"1.1.1.1" not in short
    assert len(short) == len(b"GET / HTTP/1.1\r\nHost: 1.1.1.1\r\n\r\n")


@given(st.lists(st.ip_addresses(), min_size=1, max_size=20, unique=True))
def test_no_two_addresses_share_a_replacement(hosts: list[Any]) -> None:
    originals = {one.packed for one in hosts if int(one)}
    addresses = Addresses(b"tests", originals)
    made = [addresses(one) for one in originals]
    assert len({*made}) == len(made)
    assert not {*made} & originals


def test_seconds_that_are_counted_tell_no_number() -> None:
    """Whoever sees a date each second would learn what stands for 00 to 59, in dates and elsewhere."""
    heads = Heads(Tokens(b"tests"), Addresses(b"tests", ()))
    dates = {heads.field(b"Date: Fri, 19 Jul 2024 16:42:%02d GMT" % second, b"date") for second in range(60)}
    assert len(dates) == 1


def test_signs_of_targets() -> None:
    line = Heads(Tokens(b"tests"), Addresses(b"tests", ())).start(b"GET /a-b/c.d?e=!$'|~\x02&f=%20 HTTP/1.1\r\n")
    assert not set(b"!$'|~\x02") & set(line)
    assert [sign for sign in line if sign in b"/.?=&%"] == list(b"//.?=&=%/.")


def test_no_word_stands_for_itself() -> None:
    tokens = Tokens(b"tests")
    words = [bytes([sign]) for sign in (string.digits + string.ascii_lowercase).encode()]
    assert not [word for word in words if tokens.token(word) == word]


def test_no_word_of_the_capture_stands_for_another() -> None:
    """Among many numbers of six digits some would, and the search could not tell them from those that were left."""
    originals = {b"%06d" % number for number in range(0, 900_000, 3)}
    tokens = Tokens(b"tests", originals)
    assert not {tokens.token(word) for word in sorted(originals)[:2000]} & originals


def after(data: bytes, framing: str) -> bytes:
    stream, tokens = Stream([(0, data)], len(data)), Tokens(b"tests")
    if framing == "chunked":
        bodies.anonymize_chunked(stream, 0, len(data), Heads(tokens, Addresses(b"tests", ())), tokens)
    elif framing == "tls":
        encrypted.tls(stream, tokens)
    else:
        encrypted.http2(stream)
    return bytes(stream.after)


def test_the_size_of_a_chunk_stays_where_there_is_one() -> None:
    """A server may announce chunks and send none: what looks like a size then is what it sends."""
    assert after(b"4\r\nabcd\r\n00a\r\n0123456789\r\n0\r\n\r\n", "chunked") == b"4\r\nxxxx\r\n00a\r\nxxxxxxxxxx\r\n0\r\n\r\n"
    for body in (b"20240719\r\n", b"deadbeef;a\nmore", b"1234\r\nand other orders\r\n" * 400):
        assert body[:4] not in after(body, "chunked")


def test_frames_of_http2_are_told_from_the_middle_of_one() -> None:
    settings = bytes.fromhex("000006040000000000 000300000064")
    data = bytes.fromhex("000007010500000001") + b"hunter2"
    assert after(settings + data, "http2")[15:24] == data[:9]
    assert not set(after(data + settings, "http2")) - set(b"\x80\r\n")


def test_of_a_hello_no_version_is_made_up() -> None:
    """A list of versions that holds none, and what follows the hello in its record."""
    fields = b"\x03\x03" + bytes(32) + b"\x00" + b"\x00\x02\x13\x01" + b"\x01\x00" + b"\x00\x0b\x00\x2b\x00\x07\x06\x03\x04hunt"
    hello = b"\x01" + len(fields).to_bytes(3, "big") + fields
    short = b"\x01\x00\x00\x02hunter2" + bytes(40)
    for message in (hello + b"secret", short):
        record = b"\x16\x03\x01" + struct.pack(">H", len(message)) + message
        made = after(record, "tls")
        assert not [word for word in (b"hunt", b"secr", b"ter2") if word in made]
    assert b"\x03\x04\x80\x80\x80\x80" in after(b"\x16\x03\x01" + struct.pack(">H", len(hello)) + hello, "tls")


def test_of_tcp_options_that_are_not_as_long_as_they_are_nothing_stays(tmp_path: Path) -> None:
    options = b"\x02\x04\x05\xb4" + b"\x04\x09secrets" + b"\x05\x08hunter" + b"\x00" + b"key"
    data = ethernet(ipv4(tcp(b"GET / HTTP/1.1\r\n\r\n", options)))
    path = tmp_path / "in.pcap"
    with path.open("wb") as file:
        dpkt.pcap.Writer(file).writepkt(data, 1.0)
    [packet] = made_anonymous(path, tmp_path / "out.pcapng")[1].packets
    made = packet.data[54:78]
    assert (made[:6], made[13:15]) == (b"\x02\x04\x05\xb4\x04\x09", b"\x05\x08")
    assert not [word for word in (b"secrets", b"hunter", b"key") if word in made]
    assert made[21:] == bytes(3)


@pytest.mark.parametrize("size", [70, 80])
def test_heads_that_were_cut_are_cut_still(size: int, tmp_path: Path) -> None:
    """A snap length of old leaves a few bytes of each head: the finding about it stays."""
    path, out = tmp_path / "in.pcap", tmp_path / "out.pcapng"
    data = find_recording("python-http10.pcap").read_bytes()
    header, at, cut = data[:24], 24, list[bytes]()
    while at < len(data):
        captured = int.from_bytes(data[at + 8 : at + 12], "little")
        kept = data[at + 16 : at + 16 + min(captured, size)]
        cut.append(data[at : at + 8] + struct.pack("<I", len(kept)) + data[at + 12 : at + 16] + kept)
        at += 16 + captured
    path.write_bytes(header + b"".join(cut))
    report, result = made_anonymous(path, out)
    assert "snap-length" in {finding.rule for finding in report.findings}
    assert said(wiredoctor.analyze(out).findings, [packet.frame for packet in result.packets]) == said(report.findings)
    assert result.leaks == []


def test_a_part_of_a_usual_word_is_no_leak(tmp_path: Path) -> None:
    """A segment may end within a word that stays."""
    head = b"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Basic YTpi\r\n\r\n"
    path, out = tmp_path / "in.pcap", tmp_path / "out.pcapng"
    with path.open("wb") as file:
        writer = dpkt.pcap.Writer(file)
        for at in range(0, len(head), 7):
            writer.writepkt(ethernet(ipv4(tcp(head[at : at + 7], seq=1 + at))), 1 + at / 1000)
    assert made_anonymous(path, out)[1].leaks == []


def test_a_wrong_checksum_does_not_tell_the_right_one(tmp_path: Path) -> None:
    """A sender that writes the same checksum into all packets: what is written instead does not follow what was said."""
    made, path = list[bytes](), tmp_path / "in.pcap"
    for pin in (b"1234", b"5678"):
        segment = bytearray(tcp(b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n" + pin))
        segment[16:18] = b"\xbe\xef"
        with path.open("wb") as file:
            dpkt.pcap.Writer(file).writepkt(ethernet(ipv4(bytes(segment))), 1.0)
        [packet] = made_anonymous(path, tmp_path / "out.pcapng")[1].packets
        made.append(packet.data)
    assert made[0] == made[1]


@pytest.mark.parametrize(
    ("ladder", "error"),
    [
        (icmp.CONNECT, icmp.Error(0.02, 3, 3, 4, mtu=1200)),
        (icmp.CONNECT, icmp.Error(0.02, 1, 3, 13, kept=8)),
        (icmp.CONNECT, icmp.Error(0.02, 1, 3, 1, source="192.0.2.7")),
        (icmp.CONNECT6, icmp.Error(0.02, 3, 2, 0, mtu=1280)),
    ],
)
def test_of_icmp_errors_all_but_addresses_stays(ladder: str, error: icmp.Error, tmp_path: Path) -> None:
    before, after = tmp_path / "before.pcap", tmp_path / "after.pcapng"
    before.write_bytes(icmp.capture(ladder, error))
    _, result = made_anonymous(before, after)
    assert (result.leaks, result.left_out) == ([], {})
    [was] = tables(before)["icmp_errors"].to_dicts()
    [now] = tables(after)["icmp_errors"].to_dicts()
    assert now.pop("router") != was.pop("router")
    assert (now.pop("time"), now) == (was.pop("time"), was)
    assert error.source is None or error.source not in wiredoctor.analyze(after).connections["client_host"].to_list()


def test_of_an_icmp_error_what_it_quotes_of_a_message_goes(tmp_path: Path) -> None:
    before, after = tmp_path / "before.pcap", tmp_path / "after.pcapng"
    before.write_bytes(icmp.capture(icmp.CONNECT + '  0.011  >  P.   "Sehrgeheim sehrgeheim"\n', icmp.Error(0.02, 4, 3, 1)))
    _, result = made_anonymous(before, after)
    assert b"ehrgeheim" in before.read_bytes()
    assert b"ehrgeheim" not in after.read_bytes()
    assert result.left_out == {}
