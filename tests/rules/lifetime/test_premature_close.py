"""premature-close on exchanges made by hand."""

from __future__ import annotations

from typing import Any

import pytest

from tests.ladders import check
from tests.rules.frames import MS, S, followed, found, rows

FIN = {
    "server_close_frame": 6,
    "server_close_time": 40 * MS,
    "server_close_ack": 30,
    "server_close_offset": 100,
    "server_close_rst": 0,
}
CLIENT_FIN = {"client_close_frame": 7, "client_close_time": 45 * MS, "client_close_ack": 101, "client_close_rst": 0}


def closes(**changes: Any) -> list[dict[str, Any]]:
    return found("premature-close", rows("closes", followed(**FIN | changes)))


def test_the_server_closes_what_it_left_open() -> None:
    [close] = closes()
    assert (close["side"], close["confidence"], close["delay"]) == ("server", "high", None)
    assert [e["frame"] for e in close["evidence"]] == [4, 5, 6]
    assert closes(server_close_rst=1)[0]["close"] == "RST"
    assert [len(closes(response_framing=f)) for f in ("none", "chunked")] == [1, 1]


@pytest.mark.parametrize(
    ("at", "moment", "note"),
    [(30 * MS, "together with", "together with the end"), (31 * MS, " after", "1 ms after the end")],
)
def test_a_fin_in_the_last_segment_comes_together_with_the_response(at: int, moment: str, note: str) -> None:
    [close] = closes(server_close_time=at)
    assert close["moment"] == moment
    assert note in close["evidence"][-1]["note"]


def test_a_401_has_its_own_hint() -> None:
    assert "401" in closes(response_status=401)[0]["hint"]
    assert closes()[0]["hint"] == ""


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"server_close_frame": None, "server_close_time": None}, id="nobody closed"),
        pytest.param({"persistent": False}, id="the close was announced"),
        pytest.param({"last_on_connection": False}, id="a request followed"),
        pytest.param({"upgraded": True}, id="101 or CONNECT"),
        pytest.param({"has_request": False}, id="an answer without a request"),
        pytest.param({"has_response": False}, id="no answer"),
        pytest.param({"response_framing": "close-delimited"}, id="the body ends with the connection"),
        pytest.param({"response_end_reason": "fin"}, id="truncated response"),
        pytest.param({"request_end_reason": "rst"}, id="request not complete"),
        pytest.param({"server_close_time": 19 * MS}, id="a forged FIN before the response"),
        pytest.param({"response_status": 100}, id="only an interim response"),
        pytest.param({"server_close_contradicted": True}, id="a forged FIN behind the response"),
        pytest.param(
            {"gap_before": True, "request_offset": 0, "request_end_offset": 29}, id="it acknowledges what may be the client's FIN"
        ),
        pytest.param(CLIENT_FIN | {"client_close_ack": 100}, id="FINs cross"),
        pytest.param(CLIENT_FIN | {"client_close_ack": None, "client_close_rst": 1}, id="RST without ACK flag"),
        pytest.param(CLIENT_FIN | {"server_close_rst": 1}, id="nothing acknowledges an RST"),
    ],
)
def test_silent(changes: dict[str, Any]) -> None:
    assert closes(**changes) == []


def test_a_client_that_answers_the_fin_did_not_close_first() -> None:
    assert len(closes(**CLIENT_FIN)) == 1
    assert len(closes(**CLIENT_FIN | {"client_close_time": 39 * MS})) == 1


@pytest.mark.parametrize(("gap", "speaks"), [(0, True), (997 * MS, True), (997 * MS + 1, False)])
def test_edges_of_the_time_after_the_response(gap: int, speaks: bool) -> None:
    assert bool(closes(server_close_time=30 * MS + gap)) is speaks


@pytest.mark.parametrize(
    ("changes", "confidence"),
    [
        ({"handshake": False}, "medium"),
        ({"gap_before": True}, "low"),
        ({"response_has_gap": True}, "low"),
        ({"at_capture_end": True, "final_at": 40 * MS + 1 * S}, "high"),
        ({"at_capture_end": True, "final_at": 40 * MS + 1 * S - 1}, "medium"),
        ({"at_capture_end": True, "final_at": 40 * MS + 2 * S, "rtt_server": 1 * S}, "high"),
        ({"at_capture_end": True, "final_at": 40 * MS + 2 * S - 1, "rtt_server": 1 * S}, "medium"),
        ({"final_at": 40 * MS}, "high"),
    ],
)
def test_confidence(changes: dict[str, Any], confidence: str) -> None:
    assert [c["confidence"] for c in closes(**changes)] == [confidence]


@pytest.mark.parametrize(("lasts", "severity"), [(1.0, "note"), (0.9999, "warning")])
def test_edges_of_a_long_response(lasts: float, severity: str) -> None:
    """The pieces of the body are less than a pause apart."""
    pieces = "".join(f'  {0.022 + lasts * n / 5:.6f}  <  P.   "x"\n' for n in range(1, 6))
    check(
        f"""speaks: it
  0.000  >  S    win 64240 mss 1460
  0.010  <  S.   win 64240 mss 1460
  0.010  >  .
  0.011  >  P.   "GET /file HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"
  0.022  <  P.   "HTTP/1.1 200 OK\\r\\nContent-Length: 5\\r\\n\\r\\n"
{pieces}  {0.0221 + lasts:.6f}  <  F.
  => premature-close, severity {severity}"""
    )
