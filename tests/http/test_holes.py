"""Test bytes that are missing from the capture: gaps in bodies are skipped, gaps in heads are not, and nothing is claimed about
missing bytes.
"""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.http.conversations import PEERS
from tests.http.talk import analyzed, briefs, exchanges, rows
from tests.support.sweeps import SLOW
from wiredoctor.testing.wire import ACK, PSH, SYN, Packet

EPOCHS = pytest.mark.parametrize("epoch_packets", [1, 3, 128_000])
SECOND = 1_000_000_000


def asked(target: str) -> str:
    return rf'"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"'


@EPOCHS
def test_a_hole_in_a_body(epoch_packets: int) -> None:
    talk = rf"""
        0.020 > P. {asked("/a")}
        0.030 < P. "HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n" + a*10
        0.031 < P. b*10 uncaptured
        0.032 < P. c*10
        0.042 > .
        2.000 > P. {asked("/b")}
        2.010 < P. "HTTP/1.1 204 No Content\r\n\r\n"
    """
    assert briefs(talk, epoch_packets=epoch_packets) == [
        "GET /a -> 200 content-length 20 complete",
        "GET /b -> 204 none 0 complete",
    ]
    [first, _] = exchanges(talk, epoch_packets=epoch_packets)
    assert (first["response_has_gap"], first["response_body_due"], first["response_last_frame"]) == (True, 30, 6)


@EPOCHS
def test_a_hole_at_the_end_of_a_body(epoch_packets: int) -> None:
    """Content-Length determines the end of the body; its last captured byte is before the gap."""
    talk = rf"""
        0.020 > P. {asked("/a")}
        0.030 < P. "HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n" + a*10
        0.031 < P. b*20 uncaptured
        0.042 > .
        2.000 > P. {asked("/b")}
        2.010 < P. "HTTP/1.1 204 No Content\r\n\r\n"
        4.000 > .
        4.010 < .
    """
    [first, second] = exchanges(talk, epoch_packets=epoch_packets)
    assert (first["response_end_reason"], first["response_body_bytes"], first["response_end"]) == (
        "complete",
        10,
        SECOND * 30 // 1000,
    )
    assert (first["response_last_body_time"], second["response_status"]) == (SECOND * 30 // 1000, 204)


@EPOCHS
def test_a_hole_in_a_head(epoch_packets: int) -> None:
    talk = rf"""
        0.020 > P. {asked("/a")}
        0.030 < P. "HTTP/1.1 200 OK\r\nContent-"
        0.031 < P. "Length: 10\r\n\r\n" + a*10 uncaptured
        0.042 > .
        2.000 > P. {asked("/b")}
        2.010 < P. "HTTP/1.1 204 No Content\r\n\r\n"
        4.000 > .
        4.010 < .
    """
    [first, second] = exchanges(talk, epoch_packets=epoch_packets)
    assert (first["response_status"], first["response_end_reason"]) == (200, "hole")
    assert (second["request_target"], second["response_status"]) == ("/b", 204)


@EPOCHS
def test_a_hole_over_several_messages(epoch_packets: int) -> None:
    """Responses are missing: the next one belongs to the newest request that the server had received."""
    talk = rf"""
        0.020 > P. {asked("/a")}
        0.030 < P. "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n" + a*10
        0.040 > P. {asked("/b")}
        0.050 < P. "HTTP/1.1 201 OK\r\nContent-Length: 10\r\n\r\n" + a*10 uncaptured
        0.060 > P. {asked("/c")}
        0.070 < P. "HTTP/1.1 202 OK\r\nContent-Length: 10\r\n\r\n" + a*10 uncaptured
        0.080 > P. {asked("/d")}
        2.000 < P. "HTTP/1.1 203 OK\r\nContent-Length: 10\r\n\r\n" + a*10
        2.010 > .
        4.000 > .
    """
    assert briefs(talk, epoch_packets=epoch_packets) == [
        "GET /a -> 200 content-length 10 complete",
        "GET /b -> -",
        "GET /c -> -",
        "GET /d -> 203 content-length 10 complete",
    ]


@EPOCHS
def test_a_hole_in_a_chunk(epoch_packets: int) -> None:
    """The chunk size determines where the next chunk size line is."""
    talk = rf"""
        0.020 > P. {asked("/a")}
        0.030 < P. "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1e\r\n" + a*10
        0.031 < P. b*10 uncaptured
        0.032 < P. c*10 + "\r\n0\r\n\r\n"
        0.042 > .
        2.000 > .
    """
    assert briefs(talk, epoch_packets=epoch_packets) == ["GET /a -> 200 chunked 20 complete"]


@EPOCHS
def test_a_hole_over_a_chunk_size_line(epoch_packets: int) -> None:
    talk = rf"""
        0.020 > P. {asked("/a")}
        0.030 < P. "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\n" + a*10 + "\r\n"
        0.031 < P. "5\r\nbb" uncaptured
        0.032 < P. "bbb\r\n0\r\n\r\n"
        0.042 > .
        2.000 > P. {asked("/b")}
        2.010 < P. "HTTP/1.1 204 No Content\r\n\r\n"
    """
    assert briefs(talk, epoch_packets=epoch_packets) == ["GET /a -> 200 chunked 10 hole", "GET /b -> 204 none 0 complete"]


@EPOCHS
def test_a_body_until_the_close_with_a_hole(epoch_packets: int) -> None:
    talk = rf"""
        0.020 > P. {asked("/a")}
        0.030 < P. "HTTP/1.1 200 OK\r\n\r\n" + a*10
        0.031 < P. b*10 uncaptured
        0.032 < P. c*10
        0.033 < F.
        0.045 > F.
        0.055 < .
        5.000 > .
    """
    [exchange] = exchanges(talk, epoch_packets=epoch_packets)
    assert (exchange["response_body_bytes"], exchange["response_end_reason"]) == (20, "complete")
    assert exchange["response_has_gap"]


@EPOCHS
def test_responses_cut_by_a_snap_length_answer_what_was_asked_before_them(epoch_packets: int) -> None:
    """Every header section is cut; what the server had acknowledged until then shows which request a response answers."""
    talk = "".join(
        rf"""
        {time}.000 > P. "GET /{time} HTTP/1.1\r\nHost: a\r\nX: yyyyyyyy\r\n\r\n" snap 80
        {time}.010 < P. "HTTP/1.1 {status} Any\r\nContent-Length: 30\r\n\r\n" + x*30 snap 80
        {time}.020 > .
        """
        for time, status in ((1, 200), (2, 404), (3, 500))
    )
    pairs = [(e["request_target"], e["response_status"]) for e in exchanges(talk, epoch_packets=epoch_packets)]
    assert pairs == [("/1", 200), ("/2", 404), ("/3", 500)]


BODY = bytes(range(60))
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 60\r\n\r\n"
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


@st.composite
def arrivals(draw: st.DrawFn) -> list[tuple[int, int]]:
    """Return ranges of BODY in the order in which they are captured; some are missing."""
    edges = sorted({0, len(BODY), *draw(st.lists(st.integers(0, len(BODY)), max_size=20))})
    ranges = list(pairwise(edges))
    kept = draw(st.lists(st.sampled_from(ranges), unique=True))
    return draw(st.permutations(kept))


@SLOW
@given(arrivals(), st.sampled_from([1, 3, 128_000]))
@settings(max_examples=60, deadline=None)
def test_a_body_in_any_order(ranges: list[tuple[int, int]], step: int) -> None:
    """The captured bytes of the body count once; the response after it is always read."""
    asked, answered = 1 + len(GET), 1 + len(HEAD)
    packets = [
        Packet(PEERS, 0, 0, SYN, 0, mss=1460), Packet(PEERS, 1, 1, SYN | ACK, 0, 1, mss=1460), Packet(PEERS, 0, 2, ACK, 1, 1),
        Packet(PEERS, 0, 3, PSH | ACK, 1, 1, GET), Packet(PEERS, 1, 4, PSH | ACK, 1, asked, HEAD),
    ]  # fmt: skip
    packets += [Packet(PEERS, 1, 5 + i, ACK, answered + a, asked, BODY[a:b]) for i, (a, b) in enumerate(ranges)]
    end = answered + len(BODY)
    packets += [
        Packet(PEERS, 0, SECOND, PSH | ACK, asked, end, GET),
        Packet(PEERS, 1, 3 * SECOND, PSH | ACK, end, asked + len(GET), HEAD + BODY),
    ]
    first, second = rows(analyzed(packets, epoch_packets=step))
    captured = sum(b - a for a, b in ranges)
    assert (first["response_body_bytes"], first["response_has_gap"]) == (captured, captured < len(BODY))
    assert [one["response_end_reason"] for one in (first, second)] == ["complete", "complete"]
    assert (second["response_body_bytes"], second["response_has_gap"]) == (len(BODY), False)
