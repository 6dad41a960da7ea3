"""Test that HTTP is recognized by its content, on any port and from the middle of a connection; similar data is ignored."""

from __future__ import annotations

import pytest

from tests.http.talk import HANDSHAKE, analyzed, briefs, connections, exchanges, rows
from tests.ladders import ladder_packets, to_pcap

NOT_HTTP = {
    "SMTP": (r"220 mail.example ESMTP\r\n", r"EHLO a\r\n", r"250-mail.example\r\n250 OK\r\n", r"MAIL FROM:<a@b>\r\n"),
    "SSH": (r"SSH-2.0-OpenSSH_9.6\r\n", r"SSH-2.0-OpenSSH_9.2\r\n", r"\x00\x00\x05\x14\x08\x14", r"\x00\x00\x05\xdc\x08\x14"),
    "Redis": ("", r"*1\r\n$4\r\nPING\r\n", r"+PONG\r\n", r"GET key\r\n"),
    "TLS": (
        "",
        r"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        r"\x16\x03\x03\x00\x7a\x02",
        r"\x17\x03\x03\x00\x10GET / HTTP/1.1\r\n\r\n",
    ),
    "RTSP": (
        "",
        r"OPTIONS rtsp://a/b RTSP/1.0\r\nCSeq: 1\r\n\r\n",
        r"RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n",
        r"PLAY rtsp://a RTSP/1.0\r\n\r\n",
    ),
    "SIP": ("", r"INVITE sip:a@b SIP/2.0\r\nVia: c\r\n\r\n", r"SIP/2.0 100 Trying\r\n\r\n", r"ACK sip:a@b SIP/2.0\r\n\r\n"),
    "FTP": (r"220 ready\r\n", r"USER anonymous\r\n", r"331 password\r\n", r"PASS x\r\n"),
    "a chat": ("", r"GET me some tea\r\n", r"HTTP is a protocol\r\n", r"POST no bills\r\n"),
    "HTTP/2": ("", r"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", r"\x00\x00\x12\x04\x00\x00\x00\x00\x00", r"\x00\x00\x00\x04\x01"),
    "HTTP/0.9": ("", r"GET /\r\n", r"<html>old</html>", ""),
}


@pytest.mark.parametrize("name", NOT_HTTP)
def test_other_protocols_are_left_alone(name: str) -> None:
    greeting, first, second, third = NOT_HTTP[name]
    lines = [(f"{0.02 + 0.02 * n:.3f} {'><'[n % 2 == 0]} P. ", text) for n, text in enumerate((greeting, first, second, third))]
    talk = "\n".join(f'{start}"{text}"' for start, text in lines if text)
    report = analyzed(ladder_packets(HANDSHAKE + talk))
    assert rows(report) == []
    protocol = {"TLS": "tls", "HTTP/2": "http2"}.get(name, "unknown")
    assert report.connections["protocol"].to_list() == [protocol]


def test_icy_is_no_http_response() -> None:
    talk = r"""
        0.020 > P. "GET /radio HTTP/1.0\r\n\r\n"
        0.030 < P. "ICY 200 OK\r\nicy-name: a\r\n\r\nmusic"
    """
    assert briefs(talk) == ["GET /radio -> -"]


def test_a_connection_without_payload_has_no_protocol() -> None:
    assert [c["protocol"] for c in connections("0.020 > F.\n0.030 < F.\n0.040 > .")] == ["none"]


@pytest.mark.parametrize("port", [21, 443, 554, 5060, 6379, 31337])
def test_http_on_any_port(port: int) -> None:
    talk = rf"""
        connection 1, server 10.0.0.2:{port}
        {HANDSHAKE}
        0.020 > P. "GET / HTTP/1.1\r\n\r\n"
        0.030 < P. "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    """
    assert briefs(talk, handshake="") == ["GET / -> 200 content-length 0 complete"]


def test_http_over_ipv6() -> None:
    talk = rf"""
        connection 1, client [2001:db8::1]:4000, server [2001:db8::2]:80
        {HANDSHAKE}
        0.020 > P. "GET / HTTP/1.1\r\n\r\n"
        0.030 < P. "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    """
    assert briefs(talk, handshake="") == ["GET / -> 200 content-length 0 complete"]
    [connection] = connections(talk, handshake="")
    assert (connection["client"], connection["server"]) == ("[2001:db8::1]:4000", "[2001:db8::2]:80")


def test_a_body_that_begins_a_packet_like_a_status_line() -> None:
    talk = r"""
        0.020 > P. "GET /log HTTP/1.1\r\n\r\n"
        0.030 < P. "HTTP/1.1 200 OK\r\nContent-Length: 54\r\n\r\n"
        0.031 < P. "HTTP/1.1 404 Not Found\r\n\r\n"
        0.032 < P. "GET /other HTTP/1.1\r\n\r\n12345"
    """
    assert briefs(talk) == ["GET /log -> 200 content-length 54 complete"]


def test_the_capture_begins_in_the_middle_of_a_body() -> None:
    """Nothing is said of the half-seen message; the next head is found."""
    talk = r"""
        0.000 < P. "\x00\x01 rest of a picture" + x*100
        0.001 < P. x*300
        0.010 > .
        0.020 > P. "GET /a HTTP/1.1\r\n\r\n"
        0.030 < P. "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    """
    assert briefs(talk, handshake="") == ["GET /a -> 200 content-length 2 complete"]


def test_the_capture_begins_in_the_middle_of_a_request_body() -> None:
    talk = r"""
        0.000 > P. "rest=of&a=form"
        0.010 < P. "HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n"
        0.020 > P. "GET /a HTTP/1.1\r\n\r\n"
        0.030 < P. "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    """
    assert briefs(talk, handshake="") == ["- -> 302 content-length 0 complete", "GET /a -> 200 content-length 2 complete"]


def test_a_head_over_many_packets() -> None:
    head = r'"GET /' + "a" * 300 + r' HTTP/1.1\r\nHost: b\r\n\r\n"'
    text = head.strip('"').encode().decode("unicode_escape")
    lines = [f"{0.02 + 0.001 * n:.4f} > P. {letter!a}" for n, letter in enumerate(text)]
    lines = [line.replace("'", '"') for line in lines]
    talk = "\n".join(lines) + "\n" + r'0.500 < P. "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"'
    [exchange] = exchanges(talk)
    assert (exchange["request_target"], exchange["request_head_bytes"]) == ("/" + "a" * 300, len(text))
    assert exchange["request_time"] == (len(text) - 1) * 1_000_000


@pytest.mark.parametrize(("body", "snap_length"), [("b*500", None), ("b*1000 snap 96", 96)])
def test_the_snap_length_is_the_length_of_cut_packets(body: str, snap_length: int | None) -> None:
    """Packets that were captured whole show none."""
    head = r"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n"
    talk = f'0.030 > P. "GET /a HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"\n0.040 < P. "{head}"+{body}\n0.050 > .'
    captures = analyzed(ladder_packets(HANDSHAKE + talk)).scan_captures().collect()
    assert captures["snap_length"].to_list() == [snap_length]


def test_what_the_snap_length_cut_off() -> None:
    """Bodies are counted as they were on the wire; a head that is cut off is listed with what there is of it."""
    talk = (
        HANDSHAKE
        + r"""
        0.020 > P. "GET /a HTTP/1.1\r\n\r\n"
        0.030 < P. "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + x*1000
        0.040 > P. "GET /b HTTP/1.1\r\n\r\n"
        0.050 < P. "HTTP/1.1 204 No Content\r\n\r\n"
    """
    )
    capture = bytearray(to_pcap(ladder_packets(talk)))
    snapped, position = bytes(capture[:24]), 24
    while position < len(capture):
        captured = int.from_bytes(capture[position + 8 : position + 12], "little")
        keep = min(captured, 120)
        record = capture[position : position + 16 + keep]
        record[8:12] = keep.to_bytes(4, "little")
        snapped += bytes(record)
        position += 16 + captured
    seen = rows(analyzed(snapped))
    told = [(e["request_target"], e["response_status"], e["response_body_due"], e["response_end_reason"]) for e in seen]
    assert told == [("/a", 200, 1000, "complete"), ("/b", 204, None, "complete")]


@pytest.mark.parametrize("epoch_packets", [1, 2, 128_000])
def test_what_nobody_reads_meets_no_limit(epoch_packets: int) -> None:
    """Behind the preface of HTTP/2 nothing waits for the bytes that a hole lacks."""
    talk = r"""
        0.015 > P. 1:25 "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        0.016 > P. 1025:1035 "0123456789"
        0.017 > P. 18000025:18000035 "0123456789"
        0.030 < . ack 25
    """
    assert analyzed(ladder_packets(HANDSHAKE + talk), epoch_packets=epoch_packets).limits == []


@pytest.mark.parametrize("epoch_packets", [1, 2, 3, 128_000])
@pytest.mark.parametrize(
    "talk",
    [
        # what the first side says at first is no head, and its head comes later
        r"""
        0.015 > P. 1:11 "not a head"
        0.030 < P. 1:28 "GET / HTTP/1.1\r\nHost: b\r\n\r\n" ack 11
        0.045 > P. 11:46 "POST /a HTTP/1.1\r\nHost: a\r\n\r\n" ack 28
        """,
        # its head is captured first, but cannot be read before what is in front of it has come
        r"""
        0.015 > P. 11:40 "POST /a HTTP/1.1\r\nHost: a\r\n\r\n" ack 1
        0.030 < P. 1:28 "GET / HTTP/1.1\r\nHost: b\r\n\r\n" ack 1
        0.045 > P. 1:11 "not a head" ack 28
        """,
    ],
    ids=["behind", "before"],
)
def test_the_side_that_is_heard_first_is_the_client(talk: str, epoch_packets: int) -> None:
    found = rows(analyzed(ladder_packets(HANDSHAKE + talk), epoch_packets=epoch_packets))
    assert [row["request_target"] for row in found] == ["/"]
