"""Which response answers which request: acknowledgement numbers tell, in whatever order packets were captured."""

from __future__ import annotations

import pytest

from tests.http.talk import HANDSHAKE, briefs, exchanges

GET = r'"GET /{} HTTP/1.1\r\nHost: a\r\n\r\n"'
OK = r'"HTTP/1.1 {} OK\r\nContent-Length: 2\r\n\r\nok"'
EPOCHS = pytest.mark.parametrize("epoch_packets", [1, 2, 128_000])


@EPOCHS
def test_one_after_the_other(epoch_packets: int) -> None:
    talk = "".join(f"{0.1 * n + 0.02} > P. {GET.format(n)}\n{0.1 * n + 0.03} < P. {OK.format(200 + n)}\n" for n in range(5))
    expected = [f"GET /{n} -> {200 + n} content-length 2 complete" for n in range(4)] + ["GET /4 -> 204 none 0 complete"]
    assert briefs(talk, epoch_packets=epoch_packets)[:4] == expected[:4]


@EPOCHS
def test_the_capture_begins_with_the_server(epoch_packets: int) -> None:
    """The end of a response, then exchanges: the first of them is not taken for an answer without a question."""
    talk = rf"""
        0.000 < P. "the end of something"
        0.010 > .
        0.020 > P. {GET.format("a")}
        0.030 < P. {OK.format(200)}
        0.040 > P. {GET.format("b")}
        0.050 < P. {OK.format(201)}
    """
    expected = ["GET /a -> 200 content-length 2 complete", "GET /b -> 201 content-length 2 complete"]
    assert briefs(talk, handshake="", epoch_packets=epoch_packets) == expected


@EPOCHS
def test_the_syn_ack_was_captured_before_the_syn(epoch_packets: int) -> None:
    handshake = "0.000 < S. ack 1\n0.001 > S\n0.010 > .\n"
    talk = f"0.020 > P. {GET.format('a')}\n0.030 < P. {OK.format(200)}\n"
    assert briefs(talk, handshake=handshake, epoch_packets=epoch_packets) == ["GET /a -> 200 content-length 2 complete"]


@EPOCHS
def test_a_response_captured_before_its_request(epoch_packets: int) -> None:
    """Two queues of a capture swap neighbours; the acknowledgement number shows that the server had been asked."""
    request = 27
    talk = rf"""
        0.0200 < P. {OK.format(200)} + "" ack {1 + request}
        0.0201 > P. {GET.format("a")} ack 1
        0.0400 > .
        0.0500 > P. {GET.format("b")}
        0.0600 < P. {OK.format(201)}
    """
    expected = ["GET /a -> 200 content-length 2 complete", "GET /b -> 201 content-length 2 complete"]
    handshake = "0.000 > S\n0.000 < S.\n0.000 > .\n"
    assert briefs(talk, handshake=handshake, epoch_packets=epoch_packets) == expected


@EPOCHS
def test_a_response_that_nobody_asked_for(epoch_packets: int) -> None:
    """408 on an idle connection, and a request that crosses it: the response answers nothing, and comes first."""
    talk = rf"""
        0.020 > P. {GET.format("a")}
        0.030 < P. {OK.format(200)}
        5.000 < P. "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        5.001 < F.
        5.005 > P. {GET.format("b")} ack {1 + 40}
        5.010 > .
    """
    length = len(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    talk = talk.replace(f"ack {1 + 40}", f"ack {1 + length}")
    expected = ["GET /a -> 200 content-length 2 complete", "- -> 408 content-length 0 complete", "GET /b -> -"]
    assert briefs(talk, epoch_packets=epoch_packets) == expected


@EPOCHS
def test_responses_whose_requests_are_not_in_the_capture(epoch_packets: int) -> None:
    talk = rf"""
        0.020 > P. {GET.format("a")} uncaptured
        0.030 < P. {OK.format(200)}
        0.040 > .
        3.000 > P. {GET.format("b")}
        3.010 < P. {OK.format(201)}
    """
    found = exchanges(talk, epoch_packets=epoch_packets)
    assert [(e["exchange"], e["request_target"], e["response_status"]) for e in found] == [(0, "", 200), (1, "/b", 201)]


@EPOCHS
def test_only_the_server_was_captured(epoch_packets: int) -> None:
    talk = rf"""
        0.000 < P. {OK.format(200)} + "" ack 100
        0.100 < P. {OK.format(201)} + "" ack 200
        0.200 < P. {OK.format(202)} + "" ack 300
    """
    expected = [f"- -> {status} content-length 2 complete" for status in (200, 201, 202)]
    assert briefs(talk, handshake="", epoch_packets=epoch_packets) == expected


@EPOCHS
def test_only_the_client_was_captured(epoch_packets: int) -> None:
    talk = "".join(f"{0.1 * n} > P. {GET.format(n)} ack {1 + 100 * n}\n" for n in range(3))
    assert briefs(talk, handshake="", epoch_packets=epoch_packets) == [f"GET /{n} -> -" for n in range(3)]


@EPOCHS
def test_pipelined_requests_pair_in_order(epoch_packets: int) -> None:
    head = r'"HEAD /head HTTP/1.1\r\nHost: a\r\n\r\n"'
    talk = rf"""
        0.020 > P. {GET.format("a")} + {head} + {GET.format("b")}
        0.030 < P. {OK.format(200)} + "HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n"
        0.031 < P. {OK.format(201)}
        0.050 > .
    """
    expected = [
        "GET /a -> 200 content-length 2 complete",
        "HEAD /head -> 200 none 0 complete",
        "GET /b -> 201 content-length 2 complete",
    ]
    assert briefs(talk, handshake=HANDSHAKE, epoch_packets=epoch_packets) == expected


@EPOCHS
def test_an_early_response_ends_before_its_request(epoch_packets: int) -> None:
    talk = r"""
        0.020 > P. "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 30\r\n\r\n" + a*10
        0.030 < P. "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n"
        0.031 > P. b*20
        0.050 > P. "GET /b HTTP/1.1\r\n\r\n"
        0.060 < P. "HTTP/1.1 204 No Content\r\n\r\n"
    """
    found = exchanges(talk, epoch_packets=epoch_packets)
    told = [(e["request_target"], e["request_body_bytes"], e["response_status"], e["server_time"]) for e in found]
    assert told == [("/a", 30, 413, 0), ("/b", 0, 204, 10_000_000)]


@EPOCHS
@pytest.mark.parametrize("status", [408, 400])
def test_an_answer_to_a_head_that_never_ends(status: int, epoch_packets: int) -> None:
    talk = rf"""
        0.020 > P. "GET /a HTTP/1.1\r\nHost: a\r\nX: "
        5.000 < P. "HTTP/1.1 {status} No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        5.001 < F.
        5.015 > F.
        5.025 < .
    """
    [exchange] = exchanges(talk, epoch_packets=epoch_packets)
    assert (exchange["request_target"], exchange["request_end_reason"], exchange["response_status"]) == ("/a", "fin", status)
    assert exchange["server_time"] == 4_980_000_000


@EPOCHS
def test_an_answer_to_a_head_whose_end_comes_later(epoch_packets: int) -> None:
    talk = rf"""
        0.020 > P. "GET /a HTTP/1.1\r\nHost: a\r\n"
        0.030 < P. "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"
        0.045 > P. "X: y\r\n\r\n"
        0.055 < .
        0.060 > P. {GET.format("b")}
        0.070 < P. {OK.format(200)}
    """
    expected = ["GET /a -> 400 content-length 0 complete", "GET /b -> 200 content-length 2 complete"]
    assert briefs(talk, epoch_packets=epoch_packets) == expected


CLOSES = r'"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"'
OLD = r'"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"'
OLD_KEPT = r'"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok"'


@EPOCHS
@pytest.mark.parametrize(
    ("answer", "size", "closes"), [(OK.format(200), 40, False), (CLOSES, 59, True), (OLD, 40, True), (OLD_KEPT, 64, False)]
)
def test_what_was_before(answer: str, size: int, closes: bool, epoch_packets: int) -> None:
    """Of the first answer, also for a request behind one that nobody answered."""
    talk = rf"""
        0.020 > P. {GET.format("a")}
        0.030 < P. {answer}
        0.040 > P. {GET.format("b")}
        0.050 > P. {GET.format("c")}
    """
    found = exchanges(talk, epoch_packets=epoch_packets)
    assert [e["previous_end"] for e in found] == [None, 30_000_000, 40_000_000]
    assert [e["previous_end_offset"] for e in found] == [None, size, size]
    assert [e["previous_announced_close"] for e in found] == [False, closes, closes]


@EPOCHS
def test_a_body_that_runs_to_the_close_announces_it(epoch_packets: int) -> None:
    talk = rf"""
        0.020 > P. {GET.format("a")} + {GET.format("b")}
        0.030 < FP. "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\nok"
    """
    assert [e["previous_announced_close"] for e in exchanges(talk, epoch_packets=epoch_packets)] == [False, True]


@EPOCHS
def test_an_interim_response_that_nobody_asked_for_and_no_other_followed(epoch_packets: int) -> None:
    """What answers it may lie in a hole; the next answer is to the newest request that the server had seen."""
    talk = rf"""
        0.015 < P. "HTTP/1.1 100 Continue\r\n\r\n"
        0.030 > P. {GET.format("a")}
        0.040 < P. {OK.format(200)} uncaptured
        0.050 > P. {GET.format("b")}
        0.060 < P. {OK.format(201)}
        2.000 > P. {GET.format("c")}
        2.010 < P. {OK.format(202)}
    """
    assert briefs(talk, epoch_packets=epoch_packets) == [
        "- -> 100 none 0 complete",
        "GET /a -> -",
        "GET /b -> 201 content-length 2 complete",
        "GET /c -> 202 content-length 2 complete",
    ]


UPLOAD = r'"PUT /{} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 100\r\n\r\n"'
REFUSED = r'"HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n"'


@EPOCHS
@pytest.mark.parametrize("framing", ["Content-Length: 100", "Transfer-Encoding: chunked"])
def test_a_client_that_waits_for_100_leaves_out_a_body_that_was_refused(framing: str, epoch_packets: int) -> None:
    """curl, which sends the next request in place of the body (RFC 9110 section 10.1.1)."""
    talk = rf"""
        0.020 > P. {UPLOAD.format("a").replace("Content-Length: 100", framing)}
        0.030 < P. {REFUSED}
        0.040 > P. {GET.format("b")}
        0.050 < P. {OK.format(200)}
    """
    assert briefs(talk, epoch_packets=epoch_packets) == [
        "PUT /a -> 417 content-length 0 complete",
        "GET /b -> 200 content-length 2 complete",
    ]


@EPOCHS
@pytest.mark.parametrize(
    ("refused", "body"),
    [
        (REFUSED, '"x=1" + x*97'),
        (r'"HTTP/1.1 100 Continue\r\n\r\n"', GET.format("b")[:-1] + '" + x*72'),
        (REFUSED, '"GETs no request, but the body" + x*71'),
    ],
)
def test_a_client_that_waited_for_100_sends_its_body(refused: str, body: str, epoch_packets: int) -> None:
    talk = rf"""
        0.020 > P. {UPLOAD.format("a")}
        0.030 < P. {refused}
        0.040 > P. {body}
        0.050 < P. {OK.format(200) if "100" in refused else '""'}
        0.060 > P. {GET.format("c")}
        0.070 < P. {OK.format(201)}
    """.replace('        0.050 < P. ""\n', "")
    first, second = briefs(talk, epoch_packets=epoch_packets)
    assert first.startswith("PUT /a -> ")
    assert second == "GET /c -> 201 content-length 2 complete"
