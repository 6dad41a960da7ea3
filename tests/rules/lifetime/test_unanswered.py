"""no-response, truncated-response and auth-connection-closed on exchanges made by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.ladders import ladders_in
from tests.rules.frames import MS, S, followed, words
from tests.rules.lifetime.lost import TRUNCATED, candidates, request
from wiredoctor.rule_engine import catalogue
from wiredoctor.rules.shared.words import MADE_WHOLE
from wiredoctor.testing import findings

CLOSED = {
    "server_close_frame": 10,
    "server_close_time": 8 * S + 30 * MS,
    "server_close_ack": 200,
    "server_close_offset": 500,
    "server_close_rst": 0,
}
"""A FIN behind the request, that acknowledges it."""

CLIENT_FIN = {"client_close_frame": 11, "client_close_time": 9 * S, "client_close_ack": 501, "client_close_rst": 0}


def unanswered(**changes: Any) -> list[dict[str, Any]]:
    return candidates("no-response", request(**CLOSED | changes))


def test_a_request_that_was_received_and_not_answered() -> None:
    [lost] = unanswered()
    assert (lost["side"], lost["close"], lost["wait"].total_seconds(), lost["interim_only"]) == ("server", "FIN", 0.03, "")
    assert len(unanswered(server_close_rst=1)) == 1
    assert len(unanswered(**CLIENT_FIN)) == 1
    assert len(unanswered(previous_end=None)) == 1


@pytest.mark.parametrize(
    ("title", "head"),
    [
        ("speaks: at-once, a FIN as soon as the request has come", None),
        ("speaks: at-once, a FIN as soon as a request with large cookies has come", "a head of 4,038 bytes"),
    ],
)
def test_the_limits_that_may_have_closed_a_first_request_are_named(title: str, head: str | None) -> None:
    [told] = findings(dict(ladders_in(Path(__file__).with_name("no_response.txt")))[title])
    assert "So does a server that expects TLS, or a PROXY protocol header, on this port" in told.message
    assert "have the client use https" in told.remedy
    assert ("buffer-size" in told.remedy) == ("a head of" in told.message) == (head is not None)
    assert head is None or head in told.message


def test_bytes_before_the_first_request_are_named() -> None:
    ladders = dict(ladders_in(Path(__file__).with_name("no_response.txt")))
    [told] = findings(ladders["speaks: at-once, a server that does not expect a PROXY protocol header"])
    assert "had sent 41 bytes that are not HTTP/1.x, such as a PROXY protocol header" in told.message
    assert "have the server accept it" in told.remedy
    [other] = findings(ladders["speaks: at-once, a FIN as soon as the request has come"])
    assert "is not HTTP" not in other.message


@pytest.mark.parametrize(("header", "is_named"), [("PROXY UNKNOWN", True), ("PROXY UNKNOW", False)])
def test_the_shortest_proxy_protocol_header_is_named(header: str, is_named: bool) -> None:
    """Section 2.1 of the protocol: `PROXY UNKNOWN` and CR LF, 15 bytes."""
    ladders = dict(ladders_in(Path(__file__).with_name("no_response.txt")))
    text = ladders["speaks: at-once, a server that does not expect a PROXY protocol header"]
    [told] = findings(text.replace("PROXY TCP4 10.1.0.2 10.1.0.1 49790 8080", header))
    assert ("had sent 15 bytes that are not HTTP/1.x" in told.message) is is_named


def test_a_time_limit_is_named_if_the_upload_took_a_second() -> None:
    ladders = dict(ladders_in(Path(__file__).with_name("no_response.txt")))
    [told] = findings(ladders["speaks: mid-request, a time limit for an upload that drips"])
    assert "still sending, 2 s after the beginning of the request: a time limit of the server" in told.message
    [told] = findings(ladders["speaks: mid-request, a FIN when a tenth of the body had come"])
    assert "The client was still sending: a process of the server ended" in told.message


def test_a_pipelined_request() -> None:
    """It left before the response to the one before it had come; behind that, nothing came."""
    pipelined = {"previous_end": 8 * S + 1, "request_ack": 0}
    assert len(unanswered(**pipelined, previous_end_offset=500)) == 1
    assert unanswered(**pipelined, previous_end_offset=499) == []


def test_a_pipeline_is_told_once() -> None:
    """Requests 1, 2 and 3 of the first connection, and one of another."""
    lost = [request(**CLOSED, exchange=n, request_frame=8 + n) for n in (1, 2, 3)]
    other = request(**CLOSED, connection=1)
    found = candidates("no-response", *lost, other)
    assert [(c["connection"], c["exchange"], c["requests"]) for c in found] == [(0, 1, 3), (1, 1, 1)]
    assert [c["behind"] for c in found] == [" Also lost, later in the same pipeline: 2 requests.", ""]


def test_a_pipeline_is_told_of_its_first_lost_request() -> None:
    """The third and fourth of four requests; the first two were answered."""
    asked = " + ".join(f'"GET /{name} HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"' for name in "abcd")
    answer = '"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok"'
    [finding] = findings(f"""speaks: it
      0.000  >  S    win 64240 mss 1460
      0.010  <  S.   win 64240 mss 1460
      0.010  >  .
      0.011  >  P.   {asked}
      0.022  <  P.   {answer} + {answer}
      0.022  >  .
      0.211  <  F.
      0.211  >  F.""")
    assert (finding.rule, finding.exchange) == ("no-response", 2)
    assert "Also lost, later in the same pipeline: 1 request." in finding.message


def test_an_interim_response_is_no_answer() -> None:
    interim = {"has_response": True, "response_status": 100, "response_end_offset": 525, "server_close_offset": 525}
    assert [c["interim_only"] for c in unanswered(**interim)] == [" (except an interim 100)"]
    assert unanswered(**interim | {"server_close_offset": 526}) == []


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"server_close_ack": 100}, id="the close acknowledges nothing of it"),
        pytest.param({"server_close_ack": None, "server_close_rst": 1}, id="RST without ACK flag"),
        pytest.param({"server_close_offset": 501}, id="something came behind the request"),
        pytest.param({"request_end_reason": "fin"}, id="the request was not complete"),
        pytest.param({"has_response": True, "response_status": 200}, id="answered"),
        pytest.param({"previous_announced_close": True}, id="behind a response that announced the close"),
        pytest.param({"previous_announced_close": True, "previous_end": 8 * S + 1}, id="pipelined behind it"),
        pytest.param({"upgraded": True}, id="after an upgrade"),
        pytest.param({"server_close_contradicted": True}, id="a forged FIN"),
        pytest.param(CLIENT_FIN | {"client_close_ack": 500}, id="FINs cross"),
        pytest.param(CLIENT_FIN | {"client_close_ack": None, "client_close_rst": 1}, id="the client reset it"),
        pytest.param({"gap_before": True, "server_close_ack": 201}, id="what it acknowledges besides may be a FIN"),
    ],
)
def test_no_response_is_silent(changes: dict[str, Any]) -> None:
    assert unanswered(**changes) == []


def test_a_part_of_a_request() -> None:
    """Its head is the whole of it; of one with a body, the body counts."""
    assert [(c["kind"], c["came"], c["of_due"]) for c in unanswered(request_head_bytes=100, server_close_ack=199)] == [
        ("mid-request", 99, "of the 100 bytes of the head")
    ]
    upload = {"request_framing": "content-length", "request_head_bytes": 60, "request_body_due": 40}
    assert [c["came"] for c in unanswered(**upload, server_close_ack=199)] == [39]
    assert [c["kind"] for c in unanswered(**upload, server_close_ack=200)] != ["mid-request"]


def truncated(**changes: Any) -> list[dict[str, Any]]:
    return candidates("truncated-response", followed(**TRUNCATED | changes))


def test_fewer_bytes_than_announced() -> None:
    [cut] = truncated()
    assert (cut["body_due"], cut["came"], cut["side"]) == (20, 2, "server")
    assert [len(truncated(server_close_offset=40 + n)) for n in (19, 20, 21)] == [1, 0, 0]
    assert len(truncated(response_end_reason="rst", server_close_rst=1)) == 1


def test_what_the_capture_lacks_is_not_missing() -> None:
    assert truncated(response_has_gap=True, response_body_bytes=2, server_close_offset=60) == []
    assert [c["came"] for c in truncated(response_has_gap=True, response_body_bytes=2, server_close_offset=59)] == [19]


def test_the_last_chunk_is_missing() -> None:
    chunked = {"response_framing": "chunked", "response_body_due": None}
    assert [(c["body_due"], c["came"]) for c in truncated(**chunked)] == [(None, 2)]
    assert truncated(**chunked | {"response_has_gap": True}) == []
    reset = {"response_end_reason": "rst", "server_close_rst": 1}
    assert [len(truncated(**chunked | reset, server_close_offset=42 + n)) for n in (0, 1)] == [1, 0]


def test_the_head_breaks_off() -> None:
    head = {"response_framing": "none", "response_body_due": None, "response_end_offset": 28, "server_close_offset": 28}
    assert [(c["body_due"], c["came"]) for c in truncated(**head)] == [(None, 28)]


def test_streams_that_end_together_share_a_finding() -> None:
    stream = TRUNCATED | {"response_framing": "chunked", "response_body_due": None, "response_content_type": "text/event-stream"}
    at = (0, 30 * MS, 51 * MS, 500 * MS)
    ends = candidates(
        "truncated-response",
        *(followed(**stream | {"connection": n, "server_close_time": 40 * MS + after}) for n, after in enumerate(at)),
    )
    assert [(one["kind"], one["silent"]) for one in ends] == [("stream", after == 30 * MS) for after in at]
    before = " Within 50 ms the server also closed another connection."  # a stream is in use until it is closed
    assert [one["together"] for one in ends] == ["", before, before, ""]


def test_who_did_not_read_is_told_after_what_is_known_of_a_gateway() -> None:
    [cut] = truncated()
    said = words(catalogue()["truncated-response"], cut | {"made_whole": True, "stalled": 3 * S})["addition"]
    assert said.startswith(f"{MADE_WHOLE} The client had not read for 3 s before that. ")
    assert cut["addition"] == ""


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"response_end_reason": "complete"}, id="complete"),
        pytest.param({"response_end_reason": "capture-end"}, id="the capture ended"),
        pytest.param({"response_end_reason": "hole"}, id="a hole"),
        pytest.param({"response_end_reason": "error"}, id="a framing error"),
        pytest.param({"response_framing": "close-delimited"}, id="nobody knows where it ends"),
        pytest.param({"has_request": False}, id="nobody had asked"),
        pytest.param({"upgraded": True}, id="an upgrade"),
        pytest.param({"server_close_time": 19 * MS}, id="a FIN before the response"),
        pytest.param({"server_close_frame": None}, id="the client's RST ended it"),
        pytest.param({"client_close_frame": 5, "client_close_ack": 10, "client_close_rst": 0}, id="the client closed before"),
    ],
)
def test_truncated_response_is_silent(changes: dict[str, Any]) -> None:
    assert truncated(**changes) == []


CHALLENGE = {
    "response_status": 401,
    "response_auth_scheme": "ntlm",
    "response_auth_token": True,
    "server_close_frame": 6,
    "server_close_time": 40 * MS,
    "server_close_ack": 100,
    "server_close_offset": 42,
    "server_close_rst": 0,
}


def challenged(**changes: Any) -> list[dict[str, Any]]:
    return candidates("auth-connection-closed", followed(**CHALLENGE | changes))


def test_the_connection_of_a_challenge_is_closed() -> None:
    assert [(c["scheme"], c["announced"]) for c in challenged()] == [("ntlm", "")]
    assert len(challenged(response_status=407, response_auth_scheme="negotiate")) == 1
    assert len(challenged(last_on_connection=False)) == 1
    announced = challenged(response_connection_close=True, persistent=False)
    assert ["Connection: close" in c["announced"] for c in announced] == [True]


@pytest.mark.parametrize(("gap", "speaks"), [(0, True), (1 * S, True), (1 * S + 1, False)])
def test_edges_of_the_time_after_the_challenge(gap: int, speaks: bool) -> None:
    assert bool(challenged(server_close_time=30 * MS + gap)) is speaks


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"response_auth_token": False}, id="no token"),
        pytest.param({"response_status": 200}, id="the handshake is over"),
        pytest.param({"has_request": False}, id="no request"),
        pytest.param({"server_close_frame": None, "server_close_time": None}, id="nobody closed"),
        pytest.param({"server_close_time": 19 * MS}, id="a FIN before the response"),
        pytest.param({"client_close_frame": 5, "client_close_ack": 10, "client_close_rst": 0}, id="the client closed before"),
    ],
)
def test_auth_connection_closed_is_silent(changes: dict[str, Any]) -> None:
    assert challenged(**changes) == []
