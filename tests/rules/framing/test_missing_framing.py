"""missing-framing on exchanges made by hand."""

from __future__ import annotations

from typing import Any

import pytest

from tests.rules.frames import MS, S, followed, found, rows

FIN = {"server_close_frame": 6, "server_close_ack": 30, "server_close_offset": 100, "server_close_rst": 0}
CLIENT_FIN = {"client_close_frame": 7, "client_close_ack": 100, "client_close_rst": 0}


def unframed(**changes: Any) -> list[dict[str, Any]]:
    return found("missing-framing", rows("closes", followed(response_framing="close-delimited", **changes)))


def closed_after(wait: int, **changes: Any) -> list[dict[str, Any]]:
    return unframed(server_close_time=30 * MS + wait, **FIN | changes)


def test_the_client_is_left_waiting_until_somebody_closes() -> None:
    [by_server] = closed_after(5 * S)
    assert (by_server["kind"], by_server["delay"], by_server["until"]) == ("left-waiting", 5 * S, "the server's FIN")
    assert [e["frame"] for e in by_server["evidence"]] == [5, 6]
    [by_client] = unframed(client_close_time=2030 * MS, **CLIENT_FIN)
    assert (by_client["kind"], by_client["delay"], by_client["until"]) == ("left-waiting", 2 * S, "the client's FIN")


def test_the_client_is_left_waiting_at_the_end_of_the_capture() -> None:
    [waiting] = unframed(at_capture_end=True)
    assert (waiting["kind"], waiting["until"], waiting["delay"]) == ("left-waiting", "the end of the capture", 5 * S - 30 * MS)
    assert [e["frame"] for e in waiting["evidence"]] == [5]


@pytest.mark.parametrize(("wait", "kind"), [(0, "closed"), (1 * S - 1, "closed"), (1 * S, "left-waiting")])
def test_edges_of_waiting(wait: int, kind: str) -> None:
    assert [c["kind"] for c in closed_after(wait)] == [kind]
    assert [c["delay"] for c in closed_after(wait)] == [wait if kind == "left-waiting" else None]


def test_a_response_without_body_counts_from_its_head() -> None:
    [waiting] = closed_after(3 * S, response_last_body_time=None, response_body_bytes=0)
    assert waiting["delay"] == 3 * S + 10 * MS


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"response_framing": "content-length"}, id="length is known"),
        pytest.param({"response_framing": "none"}, id="204, 304, HEAD"),
        pytest.param({"persistent": False}, id="the close was announced"),
        pytest.param({"last_on_connection": False}, id="a request followed"),
        pytest.param({"request_method": "CONNECT"}, id="CONNECT"),
        pytest.param({"upgraded": True}, id="101"),
        pytest.param({"has_request": False}, id="request not captured"),
        pytest.param({"response_content_type": "text/event-stream"}, id="event stream"),
    ],
)
def test_silent_though_the_connection_stays_open(changes: dict[str, Any]) -> None:
    assert found("missing-framing", rows("closes", followed(**{"response_framing": "close-delimited"} | changes))) == []


def test_silent_when_the_client_closes_within_a_second() -> None:
    assert unframed(client_close_time=1029 * MS, **CLIENT_FIN) == []
    assert closed_after(20 * MS, client_close_time=45 * MS, **CLIENT_FIN) == []
    assert len(closed_after(20 * MS, client_close_time=55 * MS, **CLIENT_FIN | {"client_close_ack": 101})) == 1


def test_silent_when_the_close_was_before_the_response() -> None:
    assert closed_after(-11 * MS) == []
    assert len(closed_after(-10 * MS)) == 1


def test_silent_when_the_capture_ends_within_a_second() -> None:
    assert unframed(at_capture_end=True, final_at=1030 * MS - 1) == []


def test_confidence() -> None:
    assert [c["confidence"] for c in closed_after(0)] == ["high"]
    assert [c["confidence"] for c in closed_after(0, handshake=False)] == ["medium"]
    assert [c["confidence"] for c in closed_after(0, gap_before=True)] == ["low"]


def test_silent_where_another_framing_is_meant() -> None:
    """Transfer-Encoding that does not end in chunked: unfinished-transfer-coding."""
    assert closed_after(5 * S, response_has_transfer_encoding=True) == []


def test_silent_where_who_closed_is_not_known() -> None:
    """The server acknowledges what the capture lacks, perhaps the client's FIN; or its own FIN was forged."""
    assert closed_after(5 * S, gap_before=True, request_offset=0, request_end_offset=29) == []
    assert len(closed_after(5 * S, gap_before=True, request_end_offset=30)) == 1
    assert closed_after(5 * S, server_close_contradicted=True) == []
