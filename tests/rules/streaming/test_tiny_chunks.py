"""tiny-chunks on exchanges made by hand."""

from __future__ import annotations

from typing import Any

import pytest

from tests.rules.frames import answered, found, rows

TINY = {
    "response_framing": "chunked",
    "response_chunks": 10,
    "response_median_chunk": 127,
    "response_body_bytes": 2_000,
    "response_content_type": "text/html",
    "response_body_frame": 5,
    "response_body_time": 21_000_000,
}


def tiny(**changes: Any) -> list[dict[str, Any]]:
    return found("tiny-chunks", rows("exchanges", answered(**TINY | changes)))


def test_what_it_says() -> None:
    [one] = tiny()
    assert (one["side"], one["confidence"], one["delay"]) == ("server", "high", None)
    assert (one["median_note"], one["alone_note"]) == ("Their median size is 127 bytes.", "")
    [both] = tiny(response_chunk_lines_sent_separately=5)
    assert both["alone_note"].startswith("5 chunk size lines")
    [alone] = tiny(response_chunk_lines_sent_separately=5, response_median_chunk=1000)
    assert alone["median_note"] == ""


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"response_chunks": 9}, id="nine chunks"),
        pytest.param({"response_chunks": 9, "response_chunk_lines_sent_separately": 4}, id="four lines alone"),
        pytest.param({"response_median_chunk": 128}, id="not tiny"),
        pytest.param({"response_median_chunk": 128, "response_chunk_lines_sent_separately": 4}, id="four lines alone"),
        pytest.param({"response_content_type": "text/event-stream"}, id="events"),
        pytest.param({"response_content_type": "application/x-ndjson"}, id="lines of JSON"),
        pytest.param({"response_endless": True}, id="pictures"),
        pytest.param({"response_chunks_apart": 5}, id="flushed one by one"),
        pytest.param({"response_body_bytes": 1_999}, id="too little to save anything"),
        pytest.param({"response_chunks": None, "response_median_chunk": None}, id="no chunks"),
    ],
)
def test_silent(changes: dict[str, Any]) -> None:
    assert tiny(**changes) == []


def test_without_its_request() -> None:
    assert [one["to"] for one in tiny(has_request=False)] == [""]
