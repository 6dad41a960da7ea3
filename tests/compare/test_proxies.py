"""Test both sides of a proxy: recorded proxies with a known configuration, and invented conversations."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest

import wiredoctor
from tests.compare.recordings import SECOND, Packet, Segment, read, shifted, write
from tests.support.recordings import find_recording
from wiredoctor.compare import collect_proxy_side, compare_proxy, is_significant
from wiredoctor.compare.proxy.result import Proxied
from wiredoctor.report.comparison import json as comparison_json
from wiredoctor.report.comparison.proxy import headline, page
from wiredoctor.report.terminal.document import write_text
from wiredoctor.report.terminal.terminal import Terminal

T0 = 1_700_000_000 * SECOND


def held(front: Path, back: Path | None = None) -> Proxied | None:
    """Return the comparison of two files, or of one file with both sides."""
    sides = [collect_proxy_side(wiredoctor.analyze(str(path), keep=True)) for path in (front, back) if path]
    return compare_proxy(sides[0], sides[1] if back else None, "0")


def of(name: str) -> Proxied:
    told = held(find_recording(f"{name}.pcap"))
    assert told
    return told


def changes(told: Proxied, message: str) -> set[tuple[str, str, str]]:
    return {(c.what, c.received, c.passed_on) for c in told.changes if c.message == message}


def test_a_proxy_that_collects_a_stream() -> None:
    # nginx asks in HTTP/1.0, as its old default is, and passes on six events, 150 ms apart, in one piece
    told = of("behind-nginx-events-held")
    assert (told.matched, told.own, told.unasked, told.retried) == (1, 0, 0, 0)
    assert told.responses_collected == 1
    [one] = told.exchanges
    assert one.response_lag == pytest.approx(5 * 0.15, abs=0.02)
    # what the headline says is no less than a part of it
    assert one.in_proxy == pytest.approx(5 * 0.15, abs=0.02)
    assert ("HTTP version", "HTTP/1.1", "HTTP/1.0") in changes(told, "request")
    assert ("Connection", "-", "close") in changes(told, "request")
    assert {("framing", "close-delimited", "chunked"), ("pieces with pauses between them", "several", "one")} <= changes(
        told, "response"
    )


def test_a_request_that_was_never_forwarded_is_not_counted_among_those_that_were() -> None:
    said = headline(of("behind-nginx-unreachable"))
    assert said.startswith("1 exchange went through the proxy; 1 request got an error from the proxy, or no response; ")


@pytest.mark.parametrize("name", ["behind-nginx-events-passed", "behind-varnish-events-passed", "behind-nginx-events-unbuffered"])
def test_a_proxy_that_does_not(name: str) -> None:
    told = of(name)
    assert told.responses_collected == 0
    assert told.response_lag
    assert told.response_lag.p95 < 0.05
    assert not [c for c in told.changes if c.what.startswith("pieces")]


def test_fields_are_named_and_their_values_are_not() -> None:
    told = of("behind-varnish-events-held")
    assert {("field x-forwarded-for", "-", "there"), ("field x-varnish", "-", "there")} <= changes(told, "request")
    assert {("field via", "-", "there"), ("field age", "-", "there"), ("framing", "chunked", "content-length")} <= changes(
        told, "response"
    )


def test_an_error_that_the_proxy_made() -> None:
    # the server behind has closed the connection that nginx sends the second request on
    [answer] = of("behind-nginx-race").answers
    assert (answer.status, answer.fate, answer.request) == (502, "no-answer", "POST /order")
    assert "closed the connection" in answer.backend
    [nothing] = of("behind-haproxy-unauthorized").answers
    assert (nothing.status, nothing.fate) == (None, "no-answer")


def test_the_handshake_with_the_server_is_named() -> None:
    # the round trip to the server behind is 20 ms; nginx connects when the request has come
    told = of("behind-nginx-race")
    assert told.connect
    assert (told.connect.count, told.connect.median) == (1, pytest.approx(0.020, abs=0.002))
    assert told.in_proxy
    assert told.in_proxy.median > told.connect.median


def test_times_that_contradict_a_proxy(tmp_path: Path) -> None:
    """At the back, each response ends long after the one at the front, whatever the clocks show."""
    front, back = (
        said(1000 + number, f"10.{number + 1}.0.1", [
            line for n in range(5)
            for line in ((1 + n, False, get(f"/{n}")), (1 + n + lasts, True, answer(200)))
        ]) for number, lasts in enumerate((0.01, 0.5))
    )  # fmt: skip
    assert held(write(tmp_path / "front.pcap", front), write(tmp_path / "back.pcap", back)) is None


def parted(name: str, folder: Path, offset: float) -> tuple[Path, Path]:
    """Return the packets in front of the proxy (both ends in 10.9.1.0/24), and those behind it with another clock."""
    path = find_recording(f"{name}.pcap")
    link = int.from_bytes(path.read_bytes()[20:24], "little")
    at = {1: 26, 113: 28, 276: 32}[link]
    packets = read(path)
    front = [p for p in packets if p[1][at : at + 3] == p[1][at + 4 : at + 7] == b"\x0a\x09\x01"]
    back = [p for p in packets if p not in front]
    assert len(front) > 5
    assert len(back) > 5
    return write(folder / "front.pcap", front, link), write(folder / "back.pcap", shifted(back, offset, 0.0, T0), link)


@pytest.mark.parametrize("offset", [0.0, 3.0, -7000.0])
def test_two_recordings_with_two_clocks(offset: float, tmp_path: Path) -> None:
    told, whole = held(*parted("behind-haproxy-announced", tmp_path, offset)), of("behind-haproxy-announced")
    assert told
    # a request takes 0.1 ms at least until it is passed on, a response too: the clock is as sure as that
    assert told.offset == pytest.approx(offset, abs=0.0005)
    assert told.matched == whole.matched == 3
    # connections have other numbers in a file of their own
    assert [(c.what, c.received, c.passed_on, c.exchanges) for c in told.changes] == [
        (c.what, c.received, c.passed_on, c.exchanges) for c in whole.changes
    ]
    assert [e.in_proxy for e in told.exchanges] == pytest.approx([e.in_proxy for e in whole.exchanges], abs=0.001)


# made up


def said(port: int, client: str, lines: list[tuple[float, bool, bytes]]) -> list[Packet]:
    """A connection on which the client (False) and the server (True) say this at these times (s); an empty text closes it."""
    one, two = port * 1_000_003 % 2**32, port * 2_000_029 % 2**32
    base = Segment(port, False, one, 0, 2, client=client)
    first = round(lines[0][0] * SECOND) + T0
    packets = [
        (first - 3_000_000, base.frame()),
        (first - 2_000_000, replace(base, reverse=True, seq=two, ack=one + 1, flags=18).frame()),
        (first - 1_000_000, replace(base, seq=one + 1, ack=two + 1, flags=16).frame()),
    ]
    numbers = {False: one + 1, True: two + 1}
    for time, reverse, payload in lines:
        flags = 24 if payload else 17
        segment = replace(base, reverse=reverse, seq=numbers[reverse], ack=numbers[not reverse], flags=flags, payload=payload)
        packets.append((T0 + round(time * SECOND), segment.frame()))
        numbers[reverse] += len(payload) or 1
    return packets


def get(path: str, *fields: str) -> bytes:
    return "\r\n".join((f"GET {path} HTTP/1.1", "Host: a", *fields, "", "")).encode()


def answer(status: int, body: bytes = b"ok", *fields: str) -> bytes:
    return "\r\n".join((f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *fields, "", "")).encode() + body


def made(folder: Path, front: list[list[Packet]], back: list[list[Packet]]) -> Proxied:
    paths = [
        write(folder / name, sorted((p for one in talks for p in one), key=lambda p: p[0]))
        for name, talks in (("front.pcap", front), ("back.pcap", back))
    ]
    told = held(*paths)
    assert told
    return told


def test_a_gateway_timeout_and_what_the_server_did_then(tmp_path: Path) -> None:
    told = made(
        tmp_path,
        [
            said(1000, "10.1.0.1", [(1.0, False, get("/slow")), (3.0, True, answer(504))]),
            said(1001, "10.1.0.1", [(5.0, False, get("/x")), (5.1, True, answer(200))]),
            said(1002, "10.1.0.1", [(6.0, False, get("/busy")), (6.01, True, answer(503))]),
            said(1003, "10.1.0.1", [(7.0, False, get("/cached")), (7.001, True, answer(200))]),
        ],
        [
            said(2000, "10.3.0.1", [(1.01, False, get("/slow")), (4.5, True, answer(200))]),
            said(2001, "10.3.0.1", [(5.01, False, get("/x")), (5.09, True, answer(200))]),
            said(2002, "10.3.0.1", [(9.0, False, get("/health")), (9.01, True, answer(200))]),
        ],
    )
    assert (told.matched, told.own, told.unasked) == (2, 2, 1)
    assert [(a.request, a.status, a.fate) for a in told.answers] == [
        ("GET /slow", 504, "late-answer"),
        ("GET /busy", 503, "never-passed-on"),
    ]
    assert "200" in told.answers[0].backend
    assert "1.5 s later" in told.answers[0].backend


def test_a_request_that_is_tried_again(tmp_path: Path) -> None:
    told = made(
        tmp_path,
        [said(1000, "10.1.0.1", [(1.0, False, get("/a")), (1.5, True, answer(200))])],
        [
            said(2000, "10.3.0.1", [(1.01, False, get("/a")), (1.2, True, b"")]),
            said(2001, "10.3.0.1", [(1.21, False, get("/a")), (1.49, True, answer(200))]),
        ],
    )
    assert (told.matched, told.retried, told.answers) == (1, 1, [])


def test_many_alike_at_the_same_time(tmp_path: Path) -> None:
    """Requests that are forwarded in order are matched in order, although they differ only in time."""
    front = [said(1000 + n, "10.1.0.1", [(1 + 0.01 * n, False, get("/a")), (2 + 0.05 * n, True, answer(200))]) for n in range(20)]
    back = [
        said(2000 + n, "10.3.0.1", [(1.004 + 0.01 * n, False, get("/a")), (1.998 + 0.05 * n, True, answer(200))])
        for n in range(20)
    ]
    told = made(tmp_path, front, back)
    assert told.matched == 20
    assert {(e.front_connection, e.back_connection) for e in told.exchanges} == {(n, n) for n in range(20)}


def test_a_response_that_is_compressed_and_a_field_that_is_taken_out(tmp_path: Path) -> None:
    told = made(
        tmp_path,
        [said(1000, "10.1.0.1", [(1.0, False, get("/a")), (1.1, True, answer(200, b"zz", "Content-Encoding: gzip"))])],
        [
            said(2000, "10.3.0.1", [
                (1.01, False, get("/a", "Via: 1.1 p")), (1.09, True, answer(200, b"x" * 40, "X-Secret-Place: s3cr3t")),
            ]),
        ],
    )  # fmt: skip
    assert changes(told, "request") == {("field via", "-", "there")}
    assert changes(told, "response") == {("Content-Encoding", "-", "gzip"), ("field x-secret-place", "there", "-")}


TOKEN = "bot123456:AAbbCCddEEff00112233445566778899xyz"


def test_masks_differ_from_what_was_sent(tmp_path: Path) -> None:
    """The proxy removes a prefix with a token and with a * that was sent; it answers 502 for the server's 200."""
    begin, query = f"/*/{TOKEN}", "?key=s3cr3t-v4lue"
    told = made(
        tmp_path,
        [said(1000, "10.1.0.1", [
            (1.0, False, get(f"{begin}/x")), (1.1, True, answer(200)),
            (2.0, False, get(f"{begin}/y{query}")), (2.1, True, answer(502)),
        ])],
        [said(2000, "10.3.0.1", [
            (1.01, False, get("/x")), (1.09, True, answer(200)), (2.01, False, get(f"/y{query}")), (2.09, True, answer(200)),
        ])],
    )  # fmt: skip
    assert ("beginning of the path", "/*/(masked)/", "/") in changes(told, "request")
    assert [one.request for one in told.answers] == ["GET /*/(masked)/y?key=(masked)"]
    out = io.StringIO()
    write_text(page(told, everything=True), out, Terminal(120))
    text = out.getvalue()
    assert "beginning of the path  /*/(masked)/ " in text
    assert "GET /*/(masked)/y?key=(masked): answered 502" in text
    written = io.BytesIO()
    comparison_json.write(told, "proxy", written)
    assert b"GET /*/(masked)/y?key=(masked)" in written.getvalue()


def test_what_no_proxy_connects(tmp_path: Path) -> None:
    one = said(1000, "10.1.0.1", [(1.0, False, get("/a")), (1.1, True, answer(200))])
    other = said(2000, "10.3.0.1", [(1.0, False, get("/b")), (1.1, True, answer(200))])
    assert held(write(tmp_path / "a.pcap", one), write(tmp_path / "b.pcap", other)) is None
    assert held(write(tmp_path / "a.pcap", one)) is None
    assert held(write(tmp_path / "a.pcap", []), write(tmp_path / "b.pcap", [])) is None


REWRITINGS = [
    # nginx: location /api/ { proxy_pass http://up/v1/; } and location /shop/ { proxy_pass http://up/; }
    (
        [("/api/users/1", "/v1/users/1"), ("/api/orders?id=7", "/v1/orders?id=7"), ("/shop/cart", "/cart"), ("/shop/", "/")],
        {("beginning of the path", "/api/", "/v1/"), ("beginning of the path", "/shop/", "/")},
    ),
    # a server that stands in a folder of another
    ([("/a", "/site/a"), ("/b/c", "/site/b/c")], {("beginning of the path", "/", "/site/")}),
    # a client that knows its proxy, RFC 9112 section 3.2.2
    (
        [("http://a/x", "/x"), ("http://a/x?y=1", "/x?y=1"), ("http://a", "/")],
        {("form of the target", "absolute-form", "origin-form")},
    ),
]


@pytest.mark.parametrize(("targets", "said_of_them"), REWRITINGS, ids=["gateway", "folder", "forward"])
@pytest.mark.parametrize("files", [1, 2])
def test_targets_that_are_rewritten(
    targets: list[tuple[str, str]], said_of_them: set[tuple[str, str, str]], files: int, tmp_path: Path
) -> None:
    front = said(
        1000,
        "10.1.0.1",
        [line for n, (target, _) in enumerate(targets) for line in ((1 + n, False, get(target)), (1.1 + n, True, answer(200)))],
    )
    back = said(2000, "10.3.0.1", [
        line for n, (_, target) in enumerate(targets)
        for line in ((1.01 + n, False, get(target)), (1.09 + n, True, answer(200)))
    ])  # fmt: skip
    if files == 2:
        told = made(tmp_path, [front], [back])
    else:
        for number, (time, packet) in enumerate(back):
            # the server behind is another one
            back[number] = time, packet.replace(bytes((10, 2, 0, 2)), bytes((10, 4, 0, 2)))
        found = held(write(tmp_path / "both.pcap", sorted([*front, *back])))
        assert found
        told = found
    assert (told.matched, told.own, told.unasked) == (len(targets), 0, 0)
    assert changes(told, "request") == said_of_them


def test_a_path_that_only_ends_alike_is_another(tmp_path: Path) -> None:
    """A single request with an equal last segment proves nothing if the clocks may differ."""
    one = said(1000, "10.1.0.1", [(1.0, False, get("/shop/health")), (1.1, True, answer(200))])
    other = said(2000, "10.3.0.1", [(1.01, False, get("/health")), (1.09, True, answer(200))])
    assert held(write(tmp_path / "a.pcap", one), write(tmp_path / "b.pcap", other)) is None
    told = made(
        tmp_path,
        [one, said(1001, "10.1.0.1", [(3.0, False, get("/a")), (3.1, True, answer(200))])],
        [other, said(2001, "10.3.0.1", [(3.01, False, get("/a")), (3.09, True, answer(200))])],
    )
    assert (told.matched, told.own, told.unasked) == (1, 1, 1)


def test_three_requests_show_how_a_path_is_rewritten(tmp_path: Path) -> None:
    for number in (2, 3):
        front, back = (
            [
                said(port + n, client, [(1 + 2 * n + late, False, get(path)), (1.1 + 2 * n - late, True, answer(200))])
                for n in range(number)
            ]
            for port, client, path, late in ((1000, "10.1.0.1", "/shop/health", 0.0), (2000, "10.3.0.1", "/health", 0.01))
        )
        ends = (said(1900, "10.1.0.1", [(9.0, False, get("/a")), (9.1, True, answer(200))]),
                said(2900, "10.3.0.1", [(9.01, False, get("/a")), (9.09, True, answer(200))]))  # fmt: skip
        assert made(tmp_path, [*front, ends[0]], [*back, ends[1]]).matched == (4 if number == 3 else 1)


def test_rewritten_targets_are_no_proof_of_a_proxy(tmp_path: Path) -> None:
    """What --both-sides recognizes as a proxy without --proxy is equal on both sides."""
    sides = [
        collect_proxy_side(wiredoctor.analyze(str(write(tmp_path / f"{begin}.pcap", [
            p for n in range(40)
            for p in said(number + n, client, [(n + late, False, get(f"{folder}/{n}")), (n + 0.1 - late, True, answer(200))])
        ])), keep=True))
        for number, client, begin, folder, late in ((1000, "10.1.0.1", "a", "/x", 0.0), (2000, "10.3.0.1", "b", "/y", 0.001))
    ]  # fmt: skip
    told = compare_proxy(sides[0], sides[1], "0")
    assert told
    assert told.matched == 40
    assert not is_significant(told, *sides)
