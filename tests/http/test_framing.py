"""Where messages end: the steps of RFC 9112 section 6.3, for responses and for requests."""

from __future__ import annotations

from typing import Any

import pytest

from tests.http.talk import as_json, briefs, exchanges

ASKED = r'0.020 > P. "{} / HTTP/1.1\r\nHost: a\r\n\r\n"' + "\n"
NEXT = r"""
    0.040 > P. "GET /next HTTP/1.1\r\nHost: a\r\n\r\n"
    0.050 < P. "HTTP/1.1 204 No Content\r\n\r\n"
"""
NEXT_SEEN = "GET /next -> 204 none 0 complete"
BODY = '"hello"'
CHUNKS = r'"5\r\nhello\r\n0\r\n\r\n"'


def answer(head: str, body: str = BODY, method: str = "GET") -> str:
    return ASKED.format(method) + rf'0.030 < P. "{head}\r\n" + {body}' + "\n"


FRAMED = [
    ("GET", r"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", BODY, "200 content-length 5"),
    ("GET", r"HTTP/1.1 200 OK\r\nContent-Length: 005\r\n", BODY, "200 content-length 5"),
    ("GET", r"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n", '""', "200 content-length 0"),
    ("GET", r"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n", BODY, "200 content-length 5"),
    ("GET", r"HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n", BODY, "200 content-length 5"),
    ("GET", r"HTTP/1.1 200 OK\r\nCONTENT-LENGTH:5\r\n", BODY, "200 content-length 5"),
    ("GET", r"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n", CHUNKS, "200 chunked 5"),
    ("GET", r"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n", CHUNKS, "200 chunked 5"),
    (
        "GET",
        r"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: Chunked\r\n",
        CHUNKS,
        "200 chunked 5",
    ),
    ("GET", r"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n", r'"5;a=b;c\r\nhello\r\n0;d\r\nX: y\r\n\r\n"', "200 chunked 5"),
    ("GET", r"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n", r'"A \r\nhellohello\r\n000\r\n\r\n"', "200 chunked 10"),
    (
        "GET",
        r"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n",
        CHUNKS,
        "200 chunked 5",
    ),
    ("GET", r"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: identity\r\n", BODY, "200 content-length 5"),
    ("GET", r"HTTP/1.1 200 OK\nContent-Length: 5\n", BODY, "200 content-length 5"),
    ("GET", r"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n", '""', "204 none 0"),
    ("GET", r"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n", '""', "304 none 0"),
    ("GET", r"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n", '""', "304 none 0"),
    ("HEAD", r"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", '""', "200 none 0"),
    ("HEAD", r"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n", '""', "200 none 0"),
    ("HEAD", r"HTTP/1.1 200 OK\r\n", '""', "200 none 0"),
    ("GET", r"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nUpgrade: h2c\r\nConnection: upgrade\r\n", BODY, "200 content-length 5"),
]


@pytest.mark.parametrize(("method", "head", "body", "seen"), FRAMED)
def test_a_response_ends_where_its_framing_says(method: str, head: str, body: str, seen: str) -> None:
    assert briefs(answer(head, body, method) + NEXT) == [f"{method} / -> {seen} complete", NEXT_SEEN]


CLOSING = [
    ("0.032 < F.\n0.050 > F.\n0.060 < .", "complete"),
    ("0.032 < R.", "rst"),
    ("0.042 > R.", "rst"),
    ("0.042 > .", "capture-end"),
]


@pytest.mark.parametrize(("close", "reason"), CLOSING)
@pytest.mark.parametrize(
    "head",
    [
        r"HTTP/1.1 200 OK\r\n",
        r"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n",
        r"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n",
        r"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\nContent-Length: 3\r\n",
        r"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n",
    ],
)
def test_a_response_that_runs_to_the_close(head: str, close: str, reason: str) -> None:
    assert briefs(answer(head) + close) == [f"GET / -> 200 close-delimited 5 {reason}"]


CUT_SHORT = [
    ("0.032 < F.\n0.050 > F.\n0.060 < .", "fin"),
    ("0.032 < R.", "rst"),
    ("0.042 > R.", "rst"),
    ("0.042 > .", "capture-end"),
]


@pytest.mark.parametrize(("close", "reason"), CUT_SHORT)
@pytest.mark.parametrize(
    ("head", "body", "seen"),
    [
        (r"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n", BODY, "content-length 5"),
        (r"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n", r'"a\r\nhello"', "chunked 5"),
        (r"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n", r'"5\r\nhello\r\n"', "chunked 5"),
    ],
)
def test_a_response_that_is_cut_short(head: str, body: str, seen: str, close: str, reason: str) -> None:
    assert briefs(answer(head, body) + close) == [f"GET / -> 200 {seen} {reason}"]


@pytest.mark.parametrize(("close", "reason"), [(close, "complete") for close, _ in CUT_SHORT[:3]] + [CUT_SHORT[3]])
def test_a_last_chunk_without_the_end_of_its_trailer_section(close: str, reason: str) -> None:
    """RFC 9112 section 8: with the zero-sized chunk a chunked message is complete."""
    head = r"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
    assert briefs(answer(head, r'"5\r\nhello\r\n0\r\n"') + close) == [f"GET / -> 200 chunked 5 {reason}"]


@pytest.mark.parametrize(("close", "reason"), CUT_SHORT)
def test_a_head_that_is_cut_short(close: str, reason: str) -> None:
    [exchange] = exchanges(answer(r"HTTP/1.1 200 OK\r\nContent-Le", '""').replace(r"-Le\r\n", "-Le") + close)
    assert (exchange["response_status"], exchange["response_end_reason"]) == (200, reason)


@pytest.mark.parametrize("codes", [(100,), (103,), (102, 103), (100, 103, 103)])
def test_interim_responses_come_before_the_final_one(codes: tuple[int, ...]) -> None:
    heads = "".join(rf"HTTP/1.1 {code} Wait\r\nLink: a\r\n\r\n" for code in codes)
    talk = answer(heads + r"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n") + NEXT
    [exchange, following] = exchanges(talk)
    assert (exchange["interim"], exchange["response_status"], following["interim"]) == (list(codes), 200, [])
    assert exchange["response_head_bytes"] == len(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")


def test_an_interim_response_alone_is_what_there_is() -> None:
    assert briefs(answer(r"HTTP/1.1 100 Continue\r\n", '""') + "0.040 > .") == ["GET / -> 100 none 0 complete"]


REQUESTS = [
    (r"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", "content-length", 5),
    (r"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n", "content-length", 0),
    (r"POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", "content-length", 5),
    (r"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x\r\nllo\r\n0\r\nA: b\r\n\r\n", "chunked", 5),
    (r"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 99\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "chunked", 5),
    (r"GET / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", "content-length", 5),
    (r"GET / HTTP/1.0\r\n\r\n", "none", 0),
    (r"QUERY / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", "content-length", 5),
    (r"\r\n\r\nGET / HTTP/1.1\r\n\r\n", "none", 0),
    (r"\nGET / HTTP/1.1\nHost: a\n\n", "none", 0),
]


@pytest.mark.parametrize(("request_text", "framing", "size"), REQUESTS)
def test_a_request_ends_where_its_framing_says(request_text: str, framing: str, size: int) -> None:
    talk = rf"""
        0.020 > P. "{request_text}" + "GET /next HTTP/1.1\r\nHost: a\r\n\r\n"
        0.030 < P. "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"
    """
    [exchange, following] = exchanges(talk)
    assert (exchange["request_framing"], exchange["request_body_bytes"], exchange["request_end_reason"]) == (
        framing,
        size,
        "complete",
    )
    assert (following["request_target"], following["response_status"]) == ("/next", 204)


def test_a_request_whose_transfer_coding_is_not_chunked_at_the_end() -> None:
    """RFC 9112 section 6.3 step 4: its length cannot be known."""
    talk = r"""
        0.020 > P. "POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\nhello"
        0.030 < P. "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"
    """
    [exchange] = exchanges(talk)
    assert (exchange["request_end_reason"], exchange["response_status"]) == ("error", 400)


def test_connect_opens_a_tunnel() -> None:
    """What is in it is no HTTP of this connection."""
    talk = r"""
        0.020 > P. "CONNECT b:443 HTTP/1.1\r\nHost: b\r\n\r\n"
        0.030 < P. "HTTP/1.1 200 Connection established\r\n\r\n"
        0.040 > P. "GET /inside HTTP/1.1\r\n\r\n"
        0.050 < P. "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    """
    [exchange] = exchanges(talk)
    assert (exchange["request_method"], exchange["response_framing"], exchange["upgraded"]) == ("CONNECT", "tunnel", True)


def docker(request: str, fields: str) -> dict[str, Any]:
    """The exchange of a request to Docker's API, whose answer has these fields; then both sides send raw bytes."""
    talk = rf"""
        0.020 > P. "{request} HTTP/1.1\r\nHost: b\r\nContent-Length: 0\r\n\r\n"
        0.030 < P. "HTTP/1.1 200 OK\r\n{fields}\r\n\r\n"
        0.040 > P. "GET /inside HTTP/1.1\r\n\r\n"
        0.050 < P. "hello"
    """
    [exchange, *_] = exchanges(talk)
    return exchange


@pytest.mark.parametrize("kind", ["raw-stream", "multiplexed-stream"])
def test_a_raw_stream_is_a_tunnel(kind: str) -> None:
    raw = f"Content-Type: application/vnd.docker.{kind}"
    opened = docker("POST /exec/1/start", raw)
    assert (opened["response_framing"], opened["upgraded"]) == ("tunnel", True)
    assert docker("GET /containers/1/logs", raw)["response_framing"] == "close-delimited"
    assert docker("POST /exec/1/start", raw + r"\r\nContent-Length: 5")["response_framing"] == "content-length"
    assert docker("POST /exec/1/start", "Content-Type: text/plain")["response_framing"] == "close-delimited"


def test_connect_refused_stays_http() -> None:
    talk = r"""
        0.020 > P. "CONNECT b:443 HTTP/1.1\r\nHost: b\r\n\r\n"
        0.030 < P. "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 2\r\n\r\nno"
        0.040 > P. "CONNECT b:443 HTTP/1.1\r\nHost: b\r\n\r\n"
        0.050 < P. "HTTP/1.1 200 OK\r\n\r\n"
    """
    assert briefs(talk) == ["CONNECT b:443 -> 407 content-length 2 complete", "CONNECT b:443 -> 200 tunnel 0 complete"]


def test_an_upgrade_that_is_accepted_ends_http() -> None:
    talk = r"""
        0.020 > P. "GET /chat HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        0.030 < P. "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
        0.040 > P. "GET /inside HTTP/1.1\r\n\r\n"
        0.050 < P. "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    """
    [exchange] = exchanges(talk)
    assert (exchange["response_status"], exchange["upgraded"], exchange["response_end_reason"]) == (101, True, "complete")


def test_an_upgrade_that_is_ignored_stays_http() -> None:
    talk = r"""
        0.020 > P. "GET /chat HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        0.030 < P. "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno"
    """
    assert briefs(talk + NEXT) == ["GET /chat -> 200 content-length 2 complete", NEXT_SEEN]


PERSISTENCE = [
    ("HTTP/1.1", "", "HTTP/1.1", "", True),
    ("HTTP/1.1", "", "HTTP/1.1", r"Connection: close\r\n", False),
    ("HTTP/1.1", r"Connection: close\r\n", "HTTP/1.1", "", False),
    ("HTTP/1.1", r"Connection: Upgrade, CLOSE\r\n", "HTTP/1.1", "", False),
    ("HTTP/1.0", "", "HTTP/1.1", "", False),
    ("HTTP/1.0", r"Connection: keep-alive\r\n", "HTTP/1.1", r"Connection: keep-alive\r\n", True),
    ("HTTP/1.1", "", "HTTP/1.0", "", False),
    ("HTTP/1.1", r"Connection: Keep-Alive\r\n", "HTTP/1.0", r"Connection: Keep-Alive\r\n", True),
    ("HTTP/1.1", "", "HTTP/1.0", r"Connection: keep-alive\r\n", True),
    ("HTTP/1.0", r"Connection: keep-alive\r\n", "HTTP/1.1", "", True),
    ("HTTP/1.0", "", "HTTP/1.0", r"Connection: keep-alive\r\n", False),
]


@pytest.mark.parametrize(("version", "fields", "answered", "answer_fields", "persistent"), PERSISTENCE)
def test_persistence(version: str, fields: str, answered: str, answer_fields: str, persistent: bool) -> None:
    """RFC 9112 section 9.3: each message by its own version, as its recipient sees it."""
    talk = rf"""
        0.020 > P. "GET / {version}\r\n{fields}\r\n"
        0.030 < P. "{answered} 200 OK\r\nContent-Length: 0\r\n{answer_fields}\r\n"
    """
    [exchange] = exchanges(talk)
    assert exchange["persistent"] is persistent


def test_timing() -> None:
    """It starts at the first byte of the request, and ends with the last missing byte of the final response."""
    talk = r"""
        0.100 > P. "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n"
        0.150 > P. "hello"
        0.180 > P. "world"
        0.200 < P. "HTTP/1.1 100 Continue\r\n\r\n"
        0.300 < P. "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhe"
        0.420 < P. "lloworld"
        0.430 > .
    """
    [exchange] = as_json(talk)["exchanges"]
    assert exchange["timing"] == {"request": 0.08, "server": 0.12, "response": 0.12, "stalled": [], "limited": []}
    request, response = exchange["request"], exchange["response"]
    assert (request["frame"], request["last_frame"], request["start"], request["end"]) == (4, 6, 0.1, 0.18)
    assert (response["frame"], response["last_frame"], response["start"], response["end"]) == (8, 9, 0.3, 0.42)
    assert (response["interim"], response["body_bytes"], response["head_bytes"]) == ([100], 10, 39)


def test_timing_without_a_request() -> None:
    talk = r'0.020 < P. "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" + "" ack 500'
    [exchange] = as_json(talk, handshake="")["exchanges"]
    assert exchange["request"] is None
    assert exchange["timing"] == {"request": None, "server": None, "response": 0.0, "stalled": [], "limited": []}


def test_frames_count_from_the_first_byte_to_the_last_missing_one() -> None:
    """The middle of the body is captured last: that is when the response is whole."""
    talk = r"""
        0.020 > P. "GET / HTTP/1.1\r\n\r\n"
        0.030 < P. "HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n" + a*10
        0.032 < P. 60:70(10)
        0.250 < P. 50:60(10)
        0.260 > .
    """
    [exchange] = exchanges(talk)
    assert (exchange["response_frame"], exchange["response_last_frame"], exchange["response_end"]) == (5, 7, 250_000_000)
    assert (exchange["response_body_bytes"], exchange["response_has_gap"]) == (30, False)
