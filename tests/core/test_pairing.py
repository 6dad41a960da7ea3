"""Which response answers which request, and when both rows of an exchange are written."""

from __future__ import annotations

from tests.core.talk import Core, briefs, exchanges
from tests.ladders import ladder_packets
from wiredoctor import limits
from wiredoctor.core.http1.message import message_id
from wiredoctor.core.rows.segment_rows import SegmentRecorder
from wiredoctor.engine.packet_tables import take_segment_tables
from wiredoctor.tables import SEGMENTS

GET = r'"GET /{} HTTP/1.1\r\nHost: a\r\n\r\n"'
OK = r'"HTTP/1.1 {} OK\r\nContent-Length: 2\r\n\r\nok"'


def test_pipelined_requests_are_answered_in_their_order() -> None:
    talk = rf"""
        0.020 > P. {GET.format(0)}
        0.021 > P. {GET.format(1)}
        0.030 < P. {OK.format(200)}
        0.031 < P. {OK.format(201)}
    """
    assert briefs(talk) == ["GET /0 -> 200 content-length 2 complete", "GET /1 -> 201 content-length 2 complete"]


NEAR = "0.000 > S\n0.000 < S.\n0.000 > .\n"
REQUEST = 27
"""Bytes of GET."""
HEADERS = 54
"""Bytes of a packet before its payload."""


def test_a_response_that_was_captured_before_its_request() -> None:
    talk = rf"""
        0.0200 < P. {OK.format(200)} ack {1 + REQUEST}
        0.0201 > P. {GET.format(0)} ack 1
    """
    assert briefs(talk, NEAR) == ["GET /0 -> 200 content-length 2 complete"]


def test_a_request_that_was_not_captured_is_answered_before_the_next_one_is_read() -> None:
    # both are read when the capture ends, within a second of the gap
    talk = rf"""
        0.020 > P. {GET.format(0)} uncaptured
        0.030 < P. {OK.format(200)}
        0.040 > P. {GET.format(1)}
        0.050 < P. {OK.format(201)}
    """
    assert briefs(talk) == ["- -> 200 content-length 2 complete", "GET /1 -> 201 content-length 2 complete"]


def test_what_waits_for_the_client_is_read_before_what_follows_a_later_gap() -> None:
    talk = rf"""
        0.020 > P. {GET.format(0)} uncaptured
        0.030 < P. {OK.format(200)}
        0.040 > P. {GET.format(1)}
        0.050 < P. {OK.format(201)} uncaptured
        0.060 > P. {GET.format(2)}
        0.070 < P. {OK.format(202)}
    """
    seen = ["- -> 200 content-length 2 complete", "GET /1 -> -", "GET /2 -> 202 content-length 2 complete"]
    assert briefs(talk) == seen


def test_times_that_are_over_with_one_packet_are_over_in_their_order() -> None:
    # the response waits until 1.03, the gap ends at 1.34; the next packet of any connection comes at 3
    talk = rf"""
        0.020 > P. {GET.format(0)} uncaptured
        0.030 < P. {OK.format(200)}
        0.340 > P. {GET.format(1)}
        0.350 < P. {OK.format(201)}
        3.000 > .
        3.010 < .
    """
    assert briefs(talk) == ["- -> 200 content-length 2 complete", "GET /1 -> 201 content-length 2 complete"]


def test_a_response_of_which_the_head_is_cut_waits_for_its_request() -> None:
    talk = rf"""
        0.010 > P. {GET.format(0)}
        0.015 < P. {OK.format(200)}
        0.0200 < P. {OK.format(201)} ack {1 + 2 * REQUEST} snap {HEADERS + 20}
        0.0201 > P. {GET.format(1)} ack 42
    """
    found = exchanges(talk, NEAR)
    assert [(row["request_target"], row["response_status"], row["response_end_reason"]) for row in found] == [
        ("/0", 200, "complete"),
        ("/1", 201, "hole"),
    ]


def test_a_head_that_is_cut_in_its_first_line_is_a_message_up_to_there() -> None:
    core = Core()
    recorder = core.tcp.recorder = SegmentRecorder(None, SEGMENTS.schema.names(), False)
    core.analyze(ladder_packets(rf"{NEAR} 0.020 > P. {GET.format(0)} snap {HEADERS + 8}"))
    segments = take_segment_tables(recorder, {"segments": SEGMENTS})["segments"]
    assert segments["message"].to_list() == [None, None, None, message_id(0, 0, 0)]


def test_a_request_that_comes_a_second_late_is_another_one() -> None:
    talk = rf"""
        0.0200 < P. {OK.format(200)} ack {1 + REQUEST}
        1.0201 > P. {GET.format(0)} ack 1
    """
    assert briefs(talk, NEAR) == ["- -> 200 content-length 2 complete", "GET /0 -> -"]


def test_interim_responses_come_before_the_final_one() -> None:
    talk = rf"""
        0.020 > P. {GET.format(0)}
        0.030 < P. "HTTP/1.1 103 Early\r\n\r\n"
        0.040 < P. {OK.format(200)}
    """
    assert briefs(talk) == ["GET /0 -> 103 200 content-length 2 complete"]
    assert exchanges(talk)[0]["interim_times"] == [30_000_000]


def test_a_408_answers_a_head_that_is_not_complete() -> None:
    talk = r"""
        0.020 > P. "GET /slow HTTP/1.1\r\nHost"
        0.030 < P. "HTTP/1.1 408 Timeout\r\nContent-Length: 0\r\n\r\n"
    """
    assert briefs(talk) == ["GET /slow -> 408 content-length 0 complete"]


def test_after_an_upgrade_nothing_is_http() -> None:
    talk = rf"""
        0.020 > P. "GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
        0.030 < P. "HTTP/1.1 101 Go\r\n\r\n"
        0.040 > P. {GET.format(1)}
        0.050 < P. {OK.format(200)}
    """
    found = exchanges(talk)
    assert [(row["response_status"], row["upgraded"]) for row in found] == [(101, True)]


def test_a_refused_tunnel_leaves_http() -> None:
    talk = rf"""
        0.020 > P. "CONNECT a:1 HTTP/1.1\r\n\r\n"
        0.021 > P. {GET.format(1)}
        0.030 < P. {OK.format(407)}
        0.040 < P. {OK.format(200)}
    """
    assert briefs(talk) == ["CONNECT a:1 -> 407 content-length 2 complete", "GET /1 -> 200 content-length 2 complete"]


def test_after_a_gap_a_response_answers_the_newest_request_that_the_server_had_seen() -> None:
    talk = rf"""
        0.020 > P. {GET.format(0)}
        0.021 > P. {GET.format(1)}
        0.030 < P. {OK.format(200)} uncaptured
        0.031 < P. {OK.format(201)}
        0.050 > .
        1.100 > P. {GET.format(2)}
        1.110 < P. {OK.format(202)}
    """
    seen = ["GET /0 -> -", "GET /1 -> 201 content-length 2 complete", "GET /2 -> 202 content-length 2 complete"]
    assert briefs(talk) == seen


def test_what_followed_an_exchange() -> None:
    talk = rf"""
        0.020 > P. {GET.format(0)}
        0.030 < P. {OK.format(200)}
        0.500 > P. {GET.format(1)}
        0.510 < P. {OK.format(200)}
        0.520 < F.
        0.530 > F.
    """
    first, second = exchanges(talk)
    assert (first["last_on_connection"], first["server_close_time"], first["final_at"]) == (False, None, 500_000_000)
    assert (second["last_on_connection"], second["server_close_time"], second["client_close_time"]) == (
        True,
        520_000_000,
        530_000_000,
    )
    assert second["previous_end"] == 30_000_000


def test_a_close_decides_after_a_second() -> None:
    talk = rf"""
        0.020 > P. {GET.format(0)}
        0.030 < P. "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"
        0.040 < F.
        9.000 > .
    """
    (row,) = exchanges(talk)
    assert (row["response_end_reason"], row["final_at"], row["at_capture_end"]) == ("fin", 1_040_000_000, False)


def test_too_many_requests_wait() -> None:
    limit = limits.PIPELINED
    before, limit.value = limit.value, 2
    try:
        talk = "".join(f"0.0{20 + n} > P. {GET.format(n)}\n" for n in range(4)) + f"0.040 < P. {OK.format(200)}\n"
        assert briefs(talk) == ["GET /0 -> -", "GET /1 -> -", "GET /2 -> -"]
    finally:
        limit.value = before


def assumed(talk: str) -> list[tuple[str, int | None, bool]]:
    """Return target, status and `pairing_assumed` of each exchange."""
    return [(row["request_target"], row["response_status"], row["pairing_assumed"]) for row in exchanges(talk)]


def test_both_sides_have_gaps_and_the_response_is_read_first() -> None:
    talk = rf"""
        0.020 > P. {GET.format(0)} uncaptured
        0.031 < P. {OK.format(200)} uncaptured
        0.032 > P. {GET.format(1)}
        0.043 < P. {OK.format(201)}
        0.044 > .
        2.000 > P. {GET.format(2)}
        2.011 < P. {OK.format(202)}
    """
    assert assumed(talk) == [("/1", 201, True), ("/2", 202, False)]


def test_a_lost_response_makes_no_other_pair_uncertain() -> None:
    talk = rf"""
        0.020 > P. {GET.format(0)}
        0.031 < P. {OK.format(200)} uncaptured
        0.032 > P. {GET.format(1)}
        0.043 < P. {OK.format(201)}
        0.044 > P. {GET.format(2)}
        0.055 < P. {OK.format(202)}
    """
    assert assumed(talk) == [("/0", None, True), ("/1", 201, False), ("/2", 202, False)]


def test_a_client_that_pipelines_still_waits_for_all_responses_before_its_next_request() -> None:
    """Only a request that is sent between two responses shows that a client does not wait for all of them."""
    talk = rf"""
        0.020 > P. {GET.format(0)}
        0.031 < P. {OK.format(200)}
        0.032 > P. {GET.format(1)}
        0.032 > P. {GET.format(2)}
        0.043 < P. {OK.format(201)}
        0.043 < P. {OK.format(202)}
        0.044 > P. {GET.format(3)}
        0.055 < P. {OK.format(203)} uncaptured
        0.056 > P. {GET.format(4)}
        0.067 < P. {OK.format(204)}
    """
    pipeline = [("/1", 201, False), ("/2", 202, False)]
    assert assumed(talk) == [("/0", 200, False), *pipeline, ("/3", None, True), ("/4", 204, False)]


def test_an_interim_response_after_a_gap_makes_the_pair_of_the_final_one_certain() -> None:
    talk = rf"""
        0.020 > P. {GET.format(0)} uncaptured
        0.031 < P. {OK.format(200)}
        0.032 > .
        1.000 > P. "POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
        1.011 < P. "HTTP/1.1 100 Continue\r\n\r\n"
        1.012 > P. "hi"
        8.000 < P. {OK.format(201)}
        8.001 > P. {GET.format(2)}
        8.012 < P. {OK.format(202)}
    """
    assert assumed(talk) == [("", 200, False), ("/1", 201, False), ("/2", 202, False)]


def test_a_final_response_after_an_interim_one_and_a_gap_is_assumed() -> None:
    talk = rf"""
        0.020 > P. {GET.format(0)} uncaptured
        0.031 < P. {OK.format(200)}
        0.032 > .
        1.000 > P. {GET.format(1)}
        1.011 < P. "HTTP/1.1 103 Early\r\n\r\n"
        1.020 < P. {OK.format(201)} uncaptured
        1.031 < P. {OK.format(202)}
        1.032 > .
    """
    assert assumed(talk) == [("", 200, False), ("/1", 202, True)]


def test_a_response_after_a_lost_one_of_its_pipeline_is_assumed() -> None:
    talk = rf"""
        0.020 > P. {GET.format(0)}
        0.020 > P. {GET.format(1)}
        0.020 > P. {GET.format(2)}
        0.031 < P. {OK.format(200)}
        0.031 < P. {OK.format(201)} uncaptured
        0.031 < P. {OK.format(202)}
        0.040 > P. {GET.format(3)}
        0.051 < P. {OK.format(203)}
    """
    assert assumed(talk) == [("/0", 200, False), ("/1", None, True), ("/2", 202, True), ("/3", 203, False)]


def test_a_response_to_a_lost_request_is_no_response_to_the_one_before() -> None:
    talk = rf"""
        0.020 > P. {GET.format(0)}
        0.031 < P. {OK.format(200)} uncaptured
        2.020 > P. {GET.format(1)} uncaptured
        2.031 < P. {OK.format(201)}
        2.040 > .
    """
    assert assumed(talk) == [("/0", None, True), ("", 201, False)]


def test_a_request_after_which_the_server_sent_nothing_has_no_response() -> None:
    talk = rf"""
        0.020 > P. {GET.format(0)}
        0.031 < P. {OK.format(200)} uncaptured
        0.032 > .
        2.020 > P. {GET.format(1)}
        2.031 < F.
        2.032 > .
    """
    assert assumed(talk) == [("/0", None, True), ("/1", None, False)]


def test_an_acknowledgment_shows_that_a_response_is_missing_at_the_end() -> None:
    talk = rf"""
        0.020 > P. {GET.format(0)}
        0.031 < P. {OK.format(200)}
        1.020 > P. {GET.format(1)}
        1.031 < P. {OK.format(201)} uncaptured
        1.032 > F.
        1.043 < R. uncaptured
    """
    assert assumed(talk) == [("/0", 200, False), ("/1", None, True)]
