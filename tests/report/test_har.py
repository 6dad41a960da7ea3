"""Test HAR: it follows the specification, times add up, fields and bodies are as sent, and secrets are masked."""

from __future__ import annotations

import base64
import gzip
import io
import json
import random
import zlib
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from tests.ladders import Packet, ladder_packets, to_pcap
from tests.report.examples import capture, connection, exchange, finding, report, without_request, without_response
from tests.report.har_schema import HAR, faults
from tests.support.analysis import analyze_bytes
from wiredoctor import limits
from wiredoctor.findings import Report
from wiredoctor.report.data import har
from wiredoctor.report.data.har_bodies import content_text, decode, without_chunks

HANDSHAKE = "0.000 > S  0:0(0) win 64240 mss 1460\n0.010 < S. 0:0(0) ack 1 win 64240 mss 1460\n0.020 > . 1:1(0) ack 1\n"


def written(one: Report, **how: Any) -> dict[str, Any]:
    out = io.BytesIO()
    har.write(one, out, **how)
    archive = json.loads(out.getvalue().decode("ascii"), parse_float=Decimal)
    assert [f"{e.json_path}: {e.message[:200]}" for e in Draft202012Validator(HAR).iter_errors(archive)] == []
    assert faults(archive["log"]) == []
    return archive["log"]


def entries_of(tmp_path: Path, ladder: str, *, bodies: bool = False, **how: Any) -> list[dict[str, Any]]:
    """The entries of a conversation behind a handshake."""
    path = tmp_path / "talk.pcap"
    packets: list[Packet] = ladder_packets(HANDSHAKE + ladder)
    return written(analyze_bytes(path, to_pcap(packets), keep=True, **how), bodies=bodies)["entries"]


def said(head: str, body: bytes = b"") -> str:
    """A payload in the notation of ladders."""
    text = head.replace("\n", "\r\n") + "\r\n" + body.decode("latin-1")
    return '"' + "".join(f"\\x{ord(c):02x}" if c in '"\\' or not c.isprintable() or ord(c) > 126 else c for c in text) + '"'


ASKED = "GET /a?id=7&x HTTP/1.1\nHost: a.example:8080\nCookie: sid=secret\nUser-Agent: curl/8.5.0\n"
ANSWERED = "HTTP/1.1 200 OK\nContent-Type: text/plain; charset=utf-8\nContent-Length: 5\nSet-Cookie: sid=secret; Path=/\n"


def test_an_entry_says_what_was_sent(tmp_path: Path) -> None:
    [entry] = entries_of(tmp_path, f'0.030 > P. {said(ASKED)}\n0.070 < P. {said(ANSWERED)}\n0.075 < P. "hello"\n')
    request, response = entry["request"], entry["response"]
    assert (request["method"], request["httpVersion"]) == ("GET", "HTTP/1.1")
    assert request["url"] == "http://a.example:8080/a?id=(masked)&(masked)"
    assert request["queryString"] == [{"name": "id", "value": "(masked)"}, {"name": "(masked)", "value": ""}]
    assert {h["name"]: h["value"] for h in request["headers"]} == {
        "Host": "a.example:8080", "Cookie": "(masked)", "User-Agent": "curl/8.5.0",
    }  # fmt: skip
    assert {h["name"]: h["value"] for h in response["headers"]} == {
        "Content-Type": "text/plain; (masked)", "Content-Length": "5", "Set-Cookie": "(masked)",
    }  # fmt: skip
    assert (response["status"], response["statusText"], response["bodySize"]) == (200, "OK", 5)
    assert response["content"] == {"size": 5, "mimeType": "text/plain"}
    assert request["headersSize"] == len(ASKED.replace("\n", "\r\n")) + 2
    # 0.000 SYN, 0.010 SYN-ACK, 0.020 its ACK: the client is 10 ms away; 10 ms later it asks
    assert entry["timings"] == {
        "blocked": 10, "dns": -1, "connect": 20, "ssl": -1, "send": 0, "wait": 40, "receive": 5,
    }  # fmt: skip
    assert (entry["time"], entry["connection"], entry["serverIPAddress"]) == (75, "0", "10.0.0.2")


def test_secrets_are_shown_where_they_are_asked_for(tmp_path: Path) -> None:
    ladder = f"0.030 > P. {said(ASKED)}\n0.070 < P. {said(ANSWERED, b'hello')}\n"
    [entry] = entries_of(tmp_path, ladder, show_secrets=True)
    assert entry["request"]["url"] == "http://a.example:8080/a?id=7&x"
    assert entry["request"]["cookies"] == entry["response"]["cookies"] == [{"name": "sid", "value": "secret"}]
    assert {"name": "Cookie", "value": "sid=secret"} in entry["request"]["headers"]


BODY = b"a longer text, a longer text, a longer text"
CODED = {
    "": BODY,
    "gzip": gzip.compress(BODY, mtime=0),
    "deflate": zlib.compress(BODY),
    "x-gzip": gzip.compress(BODY[:9], mtime=0) + gzip.compress(BODY[9:], mtime=0),
}
RAW = zlib.compressobj(wbits=-15)
CODED["Deflate"] = RAW.compress(BODY) + RAW.flush()


def in_chunks(data: bytes) -> bytes:
    return b"".join(b"%x;a=b\r\n%s\r\n" % (len(p), p) for p in (data[:7], data[7:])) + b"0\r\nTrailer: x\r\n\r\n"


@pytest.mark.parametrize("coding", CODED)
@pytest.mark.parametrize("chunked", [True, False])
def test_bodies_are_decoded(tmp_path: Path, coding: str, chunked: bool) -> None:
    sent = CODED[coding]
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(sent)}"
    head = f"HTTP/1.1 200 OK\nContent-Type: text/plain\n{framing}\n" + (f"Content-Encoding: {coding}\n" if coding else "")
    posted = f"POST / HTTP/1.1\nHost: a\nContent-Type: application/x-www-form-urlencoded\nContent-Length: {len(BODY)}\n"
    talk = f"0.030 > P. {said(posted, BODY)}\n0.070 < P. {said(head, in_chunks(sent) if chunked else sent)}\n"
    [entry] = entries_of(tmp_path, talk, bodies=True)
    content = entry["response"]["content"]
    assert (content["text"], content["size"], content["size"] - content["compression"]) == (BODY.decode(), len(BODY), len(sent))
    assert entry["request"]["postData"] == {
        "mimeType": "application/x-www-form-urlencoded", "params": [], "text": BODY.decode(),
    }  # fmt: skip


def test_binary_is_base64_and_what_cannot_be_decoded_is_as_it_was_sent() -> None:
    assert content_text(b"\xff\x00") == {"text": base64.b64encode(b"\xff\x00").decode(), "encoding": "base64"}
    assert content_text(b"a\0") == {"text": "YQA=", "encoding": "base64"}
    assert content_text("\u00e9".encode()) == {"text": "\u00e9"}
    assert decode(b"x", chunked=False, coding="br").comment
    assert decode(b"no gzip", chunked=False, coding="gzip") == (b"no gzip", "as it was sent: it cannot be decompressed")
    assert decode(gzip.compress(BODY)[:-9], chunked=False, coding="gzip").comment
    assert decode(gzip.compress(gzip.compress(BODY)), chunked=False, coding="gzip, gzip").content == BODY


def test_a_chunked_body_that_broke_off_is_there_as_far_as_it_came() -> None:
    assert decode(b"x\r\n", chunked=True, coding="") == (None, "its chunks are malformed")
    for broken in (b"5\r\nhel", b"3\r\nhel", b"3\r\nhel\r\n", b"3\r\nhel\r\nx", b"3\r\nhelp"):
        body = decode(broken, chunked=True, coding="")
        assert body.content == b"hel"
        assert "the last chunk is missing" in body.comment
    sent = gzip.compress(random.Random(1).randbytes(9000).hex().encode())
    body = decode(b"%x\r\n%s" % (len(sent), sent[: len(sent) // 2]), chunked=True, coding="gzip")
    assert body.comment
    assert body.content
    assert random.Random(1).randbytes(9000).hex().encode().startswith(body.content)


def test_a_bomb_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits.HAR_BODY, "value", 1000)
    body = decode(gzip.compress(bytes(1001)), chunked=False, coding="gzip")
    assert (body.content, body.comment) == (None, "left out: its decompressed size exceeds 1,000 bytes")
    assert decode(gzip.compress(bytes(1000)), chunked=False, coding="gzip").content == bytes(1000)


@given(st.binary(max_size=300), st.booleans(), st.sampled_from(["", "gzip", "deflate", "br", ",,", "gzip,deflate"]))
def test_no_bytes_break_it(raw: bytes, chunked: bool, coding: str) -> None:
    decode(raw, chunked=chunked, coding=coding)


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=6))
def test_chunks_are_put_together(parts: list[bytes]) -> None:
    assert without_chunks(b"".join(b"%X\r\n%s\r\n" % (len(p), p) for p in parts) + b"0\r\n\r\n") == (b"".join(parts), True)


def test_pieces_in_any_order_and_size(tmp_path: Path) -> None:
    """A head over three segments, one of them sent twice, one late."""
    text = ASKED.replace("\n", "\r\n") + "\r\n"
    a, b, c = text[:30], text[30:50], text[50:]
    n, m, end = 1 + len(a), 1 + len(a) + len(b), 1 + len(text)
    quoted = {name: '"' + part.replace("\r", "\\r").replace("\n", "\\n") + '"' for name, part in (("a", a), ("b", b), ("c", c))}
    talk = f"0.030 > . {quoted['a']}\n0.031 > P. {m}:{end}({len(c)}) {quoted['c']}\n0.050 > . {n}:{m}({len(b)}) {quoted['b']}\n"
    talk += f"0.060 < P. {said(ANSWERED, b'hello')}\n"
    [entry] = entries_of(tmp_path, talk)
    assert [h["name"] for h in entry["request"]["headers"]] == ["Host", "Cookie", "User-Agent"]


def test_a_clock_that_is_set_back_during_a_request_leaves_the_wait_as_it_was() -> None:
    row = exchange(1, request_start=400_000_000, request_end=370_000_000, response_start=530_000_000, response_end=531_000_000)
    [entry] = written(report([], [connection(1)], [row]))["entries"]
    assert [entry["timings"][phase] for phase in ("send", "wait", "receive")] == [0, 160, 1]


def test_a_response_that_begins_during_the_request_is_not_waited_for() -> None:
    """A server refuses an upload: its response begins 100 ms before the end of the request, and ends 20 ms after that."""
    row = exchange(1, request_start=100_000_000, request_end=400_000_000, response_start=300_000_000, response_end=420_000_000)
    [entry] = written(report([], [connection(1)], [row]))["entries"]
    assert [entry["timings"][phase] for phase in ("send", "wait", "receive")] == [300, 0, 20]


def test_without_a_response_and_without_a_request() -> None:
    rows = [exchange(1), exchange(1, exchange=1, **without_response()), exchange(2, **without_request())]
    log = written(report([finding(connection=1, exchange=1)], [connection(1), connection(2)], rows))
    first, second = log["entries"]
    assert (first["response"]["status"], second["response"]["status"], second["response"]["bodySize"]) == (200, 0, -1)
    assert second["response"]["_error"] == "no response in the capture"
    assert [f["rule"] for f in second["_wiredoctor"]["findings"]] == ["nagle-delayed-ack"]
    assert "1 exchange omitted because no request was captured." in log["comment"]
    assert "Packets were not kept" in log["comment"]
    assert first["request"]["comment"]


def test_several_captures_in_order_of_time() -> None:
    late = capture(file="late", first_time="2026-01-31T13:00:00.000000001Z")
    rows = [exchange(1, capture="late"), exchange(1)]
    log = written(report([], [connection(1), connection(1, capture="late")], rows, [late, capture()]))
    assert [(p["id"], p["title"]) for p in log["pages"]] == [("capture_0", "late"), ("capture_1", "trace.pcap")]
    assert [e["pageref"] for e in log["entries"]] == ["capture_1", "capture_0"]
    assert [e["connection"] for e in log["entries"]] == ["1-1", "0-1"]
    assert log["entries"][1]["startedDateTime"][:19] == "2026-01-31T13:00:00"


@pytest.mark.parametrize("year", ["1969", "2154", "2300"])
def test_entries_of_any_year_in_order_of_time(year: str) -> None:
    """A connection that begins first may ask last; nanoseconds since 1970 fit 62 bits until 2116, and 63 until 2262."""
    rows = [exchange(1, request_start=5), exchange(2, request_start=3), exchange(3, request_start=4)]
    log = written(report([], [connection(n) for n in (1, 2, 3)], rows, [capture(first_time=f"{year}-01-31T12:00:00.000000000Z")]))
    assert [e["startedDateTime"] for e in log["entries"]] == [f"{year}-01-31T12:00:00.00000000{n}Z" for n in (3, 4, 5)]


@pytest.mark.parametrize(
    ("method", "target", "host", "url"),
    [
        ("GET", "http://h/a", "other", "http://h/a"),
        ("CONNECT", "h:443", "h:443", "http://h:443/"),
        ("OPTIONS", "*", "h", "http://h/*"),
        ("GET", '/a b\xff"<\x00', "h", "http://h/a%20b%FF%22%3C%00"),
        ("GET", "/", "", "http://10.0.0.2/"),
        ("GET", "/a", "h", "http://h/a"),
    ],
)
def test_urls(method: str, target: str, host: str, url: str) -> None:
    from wiredoctor.report.data.har_messages import url as made

    assert made({"request_method": method, "request_target": target, "request_host": host, "server": "10.0.0.2"}) == url


def test_an_empty_report() -> None:
    log = written(Report(version="0.1.0"))
    assert (log["entries"], log["pages"]) == ([], [])


def test_the_order_of_rows_does_not_matter() -> None:
    rows = [exchange(n, exchange=m) for n in (3, 1, 2) for m in (1, 0)]
    connections = [connection(n) for n in (3, 1, 2)]
    assert written(report([], connections, rows)) == written(report([], connections, rows[::-1]))


def test_every_request_of_a_connection_has_its_fields(tmp_path: Path) -> None:
    """Where bodies are empty, where a response is missing, and in the first message of a stream."""
    asked, answered = (said(head) for head in ("GET / HTTP/1.1\nHost: a\n", "HTTP/1.1 204 No Content\n"))
    ladder = "".join(f"{at / 100} > P. {asked}\n{at / 100 + 0.01} < P. {answered}\n" for at in (3, 5, 7))
    unanswered = f"0.1 > P. {asked}\n"
    for conversation in (ladder + unanswered, unanswered):
        for bodies in (False, True):
            entries = entries_of(tmp_path, conversation, bodies=bodies)
            assert len(entries) == conversation.count("GET")
            assert all(entry["request"]["headers"] == [{"name": "Host", "value": "a"}] for entry in entries)
