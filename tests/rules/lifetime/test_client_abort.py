"""client-abort on exchanges made by hand."""

from __future__ import annotations

from typing import Any

import pytest

from tests.rules.frames import MS, S, connection, followed
from tests.rules.lifetime.lost import candidates
from wiredoctor.testing import findings

DUE = {
    "has_response": False,
    "response_frame": None,
    "response_start": None,
    "response_end": None,
    "response_status": None,
    "response_framing": "none",
    "persistent": False,
    "request_offset": 0,
    "request_end_offset": 100,
    "request_ack": 0,
}
"""A request at 10 ms, and nothing of a response."""

PART = {
    "response_end_reason": "capture-end",
    "response_offset": 0,
    "response_end_offset": 42,
    "request_offset": 0,
    "request_end_offset": 100,
    "request_ack": 0,
}
"""Half of a response, from 20 to 30 ms."""


def closes(at: int, *, rst: bool, ack: int | None = 0) -> dict[str, Any]:
    close = {"client_close_frame": 7, "client_close_time": at, "client_close_ack": ack, "client_close_rst": int(rst)}
    return close | ({"client_rst_frame": 7, "client_rst_time": at, "client_rst_ack": ack} if rst else {})


def aborts(*parts: dict[str, Any], **changes: Any) -> list[dict[str, Any]]:
    row: dict[str, Any] = {}
    for part in parts:
        row |= part
    return candidates("client-abort", followed(**row | changes), connections=[connection()])


def test_rst_before_the_response() -> None:
    [abort] = aborts(DUE, closes(500 * MS, rst=True))
    assert (abort["side"], abort["confidence"], abort["had"]) == ("client", "high", "no part of the response had come")
    assert [e["frame"] for e in abort["evidence"]] == [4, 7]


def test_rst_in_the_middle_of_the_response() -> None:
    """A host that aborts sets the ACK flag. An RST without it, and without a FIN before it, may come from a firewall between."""
    assert [c["confidence"] for c in aborts(PART, closes(500 * MS, rst=True, ack=42))] == ["high"]
    assert not aborts(PART, closes(500 * MS, rst=True, ack=None))


@pytest.mark.parametrize(("at", "said"), [(900 * MS, "body)"), (3_030 * MS, "and nothing had come for 3 s")])
def test_a_server_that_stopped_in_the_middle_of_its_response_is_told(at: int, said: str) -> None:
    """The last byte came at 30 ms."""
    [abort] = aborts(PART, closes(at, rst=True, ack=42))
    assert abort["had"].endswith(said)


@pytest.mark.parametrize(("ack", "speaks"), [(41, True), (42, False), (None, False), (-1, False)])
def test_rst_after_a_response_that_was_captured_whole(ack: int | None, speaks: bool) -> None:
    """Its ACK number says whether the client had it; without one, or with a senseless one, the response counts as taken."""
    assert bool(aborts(PART, closes(500 * MS, rst=True, ack=ack), response_end_reason="complete")) is speaks


SERVER_FIN = {"server_close_frame": 8, "server_close_time": 600 * MS, "server_close_offset": 0, "server_close_rst": 0}


@pytest.mark.parametrize(
    ("at", "changes", "confidence"),
    [
        pytest.param(500 * MS, SERVER_FIN, "high", id="the server closes too"),
        pytest.param(500 * MS, {"client_rst_frame": 9, "client_rst_time": 1 * S}, "high", id="the client's RST follows"),
        pytest.param(1010 * MS, {"final_at": 1011 * MS}, "medium", id="a second after the request"),
        pytest.param(1010 * MS - 1, {"final_at": 1011 * MS}, None, id="a little less"),
        pytest.param(500 * MS, {"final_at": 5500 * MS}, "medium", id="nothing for five seconds"),
        pytest.param(500 * MS, {"final_at": 5500 * MS - 1}, None, id="a little less than five seconds"),
    ],
)
def test_fin_before_the_response(at: int, changes: dict[str, Any], confidence: str | None) -> None:
    found = aborts(DUE, closes(at, rst=False), {"at_capture_end": True}, changes)
    assert [c["confidence"] for c in found] == ([confidence] if confidence else [])


@pytest.mark.parametrize(
    ("at", "changes", "speaks"),
    [
        pytest.param(60 * MS, {}, False, id="50 ms after the request"),
        pytest.param(60 * MS + 1, {}, True, id="a little later"),
        pytest.param(60 * MS, {"client_rst_frame": 9, "client_rst_time": 1 * S}, True, id="and something met a closed socket"),
        pytest.param(60 * MS, {"server_close_rst": 1}, False, id="and the server reset: no-response"),
    ],
)
def test_fin_with_the_request(at: int, changes: dict[str, Any], speaks: bool) -> None:
    assert bool(aborts(DUE, SERVER_FIN, closes(at, rst=False), changes)) is speaks


@pytest.mark.parametrize(
    ("late", "changes", "speaks"),
    [
        pytest.param(50 * MS, {}, False, id="50 ms"),
        pytest.param(50 * MS + 1, {}, True, id="a little later"),
        pytest.param(50 * MS, {"server_close_offset": 43}, True, id="more came"),
        pytest.param(50 * MS, {"server_close_frame": None, "server_close_offset": None, "final_at": 60 * S}, True, id="open"),
    ],
)
@pytest.mark.parametrize("rtt_client", [0, 20 * MS])
def test_fin_on_what_it_had_just_read(late: int, changes: dict[str, Any], speaks: bool, rtt_client: int) -> None:
    """The capture point sees the FIN a round trip later."""
    fin = closes(20 * MS + rtt_client + late, rst=False, ack=42)
    row = {"response_end_reason": "fin", "rtt_client": rtt_client, "server_close_offset": 42}
    assert bool(aborts(PART, SERVER_FIN, fin, row, changes)) is speaks


def test_a_half_closed_client_that_still_receives() -> None:
    late = {"response_end": 4 * S, "final_at": 60 * S}
    assert aborts(PART, closes(1500 * MS, rst=False), late) == []
    assert len(aborts(PART, closes(1500 * MS, rst=False), late | {"response_end": 30 * MS})) == 1


REFUSED = {"client_rst_frame": 9, "client_rst_time": 40 * MS, "client_rst_ack": None, "response_end_reason": "complete"}


@pytest.mark.parametrize(
    ("changes", "speaks"),
    [
        pytest.param({}, True, id="answered by an RST"),
        pytest.param({"client_rst_ack": 41}, True, id="whose ACK number is before the end"),
        pytest.param({"client_rst_ack": 42}, False, id="whose ACK number is the end"),
        pytest.param({"client_rst_time": 19 * MS}, False, id="before the response"),
        pytest.param({"client_rst_time": 30 * MS + 1 * S}, True, id="a second after the response"),
        pytest.param({"client_rst_time": 30 * MS + 1 * S + 1}, False, id="later: an answer to something else"),
        pytest.param({"client_rst_frame": None, "client_rst_time": None}, False, id="a half-close: the response was taken"),
        pytest.param({"client_close_ack": 42}, False, id="the FIN acknowledges the response"),
    ],
)
def test_fin_before_a_response_that_was_captured_whole(changes: dict[str, Any], speaks: bool) -> None:
    assert bool(aborts(PART, closes(15 * MS, rst=False), REFUSED, changes)) is speaks


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"request_end_reason": "rst"}, id="no response was due"),
        pytest.param({"both_directions": False}, id="one direction was captured"),
        pytest.param({"has_request": False}, id="no request"),
        pytest.param({"upgraded": True}, id="an upgrade"),
        pytest.param({"client_close_frame": 4}, id="an RST that is not behind the request"),
        pytest.param({"client_close_ack": 10}, id="it had received something that is no response"),
        pytest.param(SERVER_FIN | {"server_close_offset": 10}, id="something came that is no response"),
        pytest.param(SERVER_FIN | {"server_close_ack": 0}, id="the server had closed before the request: keep-alive-race"),
        pytest.param(SERVER_FIN | {"server_close_rst": 1, "server_close_frame": 6}, id="the server reset first"),
    ],
)
def test_silent(changes: dict[str, Any]) -> None:
    assert aborts(DUE, closes(500 * MS, rst=True), changes) == []


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"response_endless": True}, id="event stream"),
        pytest.param({"response_framing": "tunnel"}, id="tunnel"),
        pytest.param({"response_framing": "close-delimited", "persistent": True}, id="missing-framing"),
        pytest.param({"response_end_reason": "error"}, id="a framing error"),
        pytest.param({"response_end_reason": "hole"}, id="a hole in the capture"),
        pytest.param(SERVER_FIN | {"server_close_offset": 41}, id="the server closed, and the client knew"),
    ],
)
def test_silent_in_the_middle_of_a_response(changes: dict[str, Any]) -> None:
    assert aborts(PART, closes(500 * MS, rst=True, ack=42), changes) == []


@pytest.mark.parametrize(
    ("wait", "timeout"),
    [
        (30 * S, 30),
        (30 * S + 200 * MS, 30),
        (30 * S + 200 * MS + 1, None),
        (30 * S - 200 * MS, 30),
        (1 * S + 20 * MS, 1),
        (1 * S + 21 * MS, None),
        (4 * S, None),
        (600 * S, 600),
        (300 * MS, None),
    ],
)
def test_the_timeout_is_named(wait: int, timeout: int | None) -> None:
    [abort] = aborts(DUE, closes(10 * MS + wait, rst=True))
    assert abort["timeout_named"] == (f": a timeout of about {timeout} s" if timeout else "")


@pytest.mark.parametrize(
    ("agent", "wait", "said"),
    [
        ("node", 2 * S, "The timers of Node's fetch and undici are up to 1 s late: the timeout may be between 1 s and 2 s."),
        ("", 10 * S, "If the client is Node, the timers of Node's fetch and undici are up to 1 s late"),
        ("node", 1 * S, ""),
        ("curl/8.5.0", 2 * S, ""),
    ],
)
def test_timers_of_node_are_late(agent: str, wait: int, said: str) -> None:
    [abort] = aborts(DUE, closes(10 * MS + wait, rst=True), request_user_agent=agent)
    assert abort["timeout_where"].startswith(f" Look for a timeout of about {wait // S} s in the client.")
    assert said in abort["timeout_where"]
    assert said or "late" not in abort["timeout_where"]


def test_the_timeout_may_count_from_the_last_byte_of_the_request() -> None:
    [abort] = aborts(DUE, closes(10 * S, rst=True), request_end=5 * S)
    assert "5 s" in abort["timeout_named"] or "10 s" in abort["timeout_named"]
    [abort] = aborts(DUE, closes(8_440 * MS, rst=True), request_end=3_440 * MS)
    assert "5 s" in abort["timeout_named"]


@pytest.mark.parametrize("way", [150, 0])
def test_the_timeout_may_count_from_the_last_byte_of_the_response(way: int) -> None:
    """It came at 4 s. Three seconds after it got there, the client closed; there and back it is `way` ms."""
    part = PART | {"response_end": 4 * S}
    [abort] = aborts(part, closes(7 * S + way * MS, rst=True, ack=42), rtt_client=way * MS)
    assert abort["timeout_means"] == " A client timeout of about 3 s, counted from the last byte, may have expired."


@pytest.mark.parametrize(
    ("took", "at", "said"),
    [
        pytest.param(0, 4_010, "", id="no common timeout"),
        pytest.param(0, 3_010, " A client timeout of about 3 s expired.", id="since the request"),
        pytest.param(1_000, 3_010, " A client timeout of about 3 s expired.", id="since the beginning of a long request"),
        pytest.param(
            1_000, 4_010, " A client timeout of about 3 s, counted from the end of the request, may have expired.",
            id="curl --max-time 4 waited a second for a 100",
        ),
    ],
)  # fmt: skip
def test_when_a_timeout_may_have_begun(took: int, at: int, said: str) -> None:
    """The request begins at 10 ms."""
    [abort] = aborts(DUE, closes(at * MS, rst=False), request_end=(10 + took) * MS)
    assert abort["timeout_means"] == said


REQUEST, RESPONSE = '"GET /a HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"', '"HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n"'


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        ([], "A client timeout of about 2 s expired."),
        ([2.0005], "or the client's program ended: it closed an idle connection to this server at the same moment."),
        ([2.0003, 2.0016], "or the client's program ended: it closed 2 idle connections to this server at the same moment."),
        ([2.3], "A client timeout of about 2 s expired."),
    ],
)
def test_idle_connections_that_end_with_it_may_show_the_end_of_the_program(ends: list[float], said: str) -> None:
    def opened(number: int, rest: str) -> str:
        return (
            f"connection {number}, client 10.0.0.1:400{number}, server 10.0.0.2:80\n"
            "  0.0000 >  S    mss 1460\n  0.0004 <  S.   mss 1460\n  0.0004 >  .\n" + rest
        )

    answered = f"  0.0010 >  P.   {REQUEST}\n  0.0020 <  P.   {RESPONSE}\n  0.0025 >  .\n"
    idle = [opened(n, f"{answered}  {end:.4f} >  F.\n  {end + 0.001:.4f} <  F.\n") for n, end in enumerate(ends, start=2)]
    waiting = opened(1, f"  0.0010 >  P.   {REQUEST}\n  2.0010 >  F.\n  2.0015 <  .\n")
    [found] = [one for one in findings("".join((waiting, *idle))) if one.rule == "client-abort"]
    assert said in found.message
    assert ("a timeout of about 2 s" in found.title) == ("ended" not in said)


@pytest.mark.parametrize(
    ("ttl", "who", "doubted"),
    [("52", "the server no longer knew", False), ("63", "the server, or a firewall or NAT in front of it, no longer knew", True)],
)
def test_who_no_longer_knew_the_connection(ttl: str, who: str, doubted: bool) -> None:
    text = rf"""
  0.000  >  S    win 64240 mss 1460
  0.010  <  S.   win 64240 mss 1460 ttl 52
  0.010  >  .
  0.011  >  P.   "GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
  0.022  <  .    ttl 52
  8.011  >  F.
  8.022  <  R    1:1(0) ttl {ttl}
"""
    [abort] = [found for found in findings(text) if found.rule == "client-abort"]
    assert f"An RST without ACK flag answered that FIN: {who} the connection." in abort.message
    assert ("The TTL of the RST differs" in abort.message) == doubted
    assert ("a device on the path may have sent it" in abort.evidence[-1].note) == doubted


_SENT = """  0.000  >  S    win 64240 mss 1460
  0.010  <  S.   win 64240 mss 1460
  0.010  >  .
  0.011  >  P.   "{method} /pay HTTP/1.1\\r\\nHost: a\\r\\nContent-Length: 3\\r\\n\\r\\nx=1"
"""


@pytest.mark.parametrize(("method", "start", "said"), [("POST", 1.014, True), ("POST", 1.200, False), ("PUT", 1.014, False)])
def test_a_request_that_is_not_idempotent_and_sent_again_at_once_is_mentioned(method: str, start: float, said: bool) -> None:
    first = _SENT.format(method=method) + "  0.022  <  .\n  1.013  >  F.\n  1.024  <  .\n"
    answer = '  0.322  <  P.   "HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok"\n  0.322  >  .\n'
    second = f"connection 2, start {start}\n{_SENT.format(method=method)}{answer}"
    [abort] = findings(f"connection 1\n{first}{second}", select=["client-abort"])
    assert ("again 12 ms later on another connection, and got 200. Such a request is not idempotent" in abort.message) is said
