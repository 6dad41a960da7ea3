"""The events with which APIs end the answers that they stream. The events are written as the APIs' documentation shows them."""

from __future__ import annotations

import pytest

from wiredoctor.protocols.http1.event_streams import Lines

TOKEN = rb'data: {"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}' + b"\n\n"
STEPS = (1, 2, 7, 64, 100_000)

ENDED = {
    "Chat Completions": rb'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}',
    "Chat Completions, after the reason": b"data: [DONE]",
    "Responses": b'event: response.completed\ndata: {"type":"response.completed","response":{"text":"' + b"x" * 9000 + b'"}}',
    "Responses, with an error": rb'data: {"type": "error", "code": "server_error"}',
    "Anthropic": b'event: message_stop\ndata: {"type":"message_stop"}',
    "Gemini": rb'data: {"candidates":[{"content":{"parts":[]},"finishReason":"STOP"}]}',
    "LangServe": b"event: end",
    "MCP": b'event: message\ndata: {"result":{"content":[]},"jsonrpc":"2.0","id":1}',
}
OPEN = {
    "no reason yet": TOKEN.rstrip(),
    "a reason that is a text": rb'data: {"finish_reason": "null"}',
    "a mark inside a text": rb'data: {"delta": "{\"finish_reason\": \"stop\"}"}',
    "a word of a text": b"data: the run is [DONE] now",
    "a progress notification": rb'data: {"jsonrpc":"2.0","method":"notifications/progress","params":{"progress":1}}',
}


def has_mark(stream: bytes, least: int = 2) -> bool:
    """Return whether a stream ends with a mark; however it is divided, the answer is the same."""
    found = set[bool]()
    for step in STEPS:
        lines = Lines(least)
        for at in range(0, len(stream), step):
            lines.count(stream[at : at + step])
        found.add(lines.has_end_mark)
    (answer,) = found
    return answer


@pytest.mark.parametrize("event", ENDED.values(), ids=ENDED)
def test_the_last_event_says_that_an_answer_is_complete(event: bytes) -> None:
    assert has_mark(TOKEN * 3 + event + b"\n\n")
    assert has_mark(TOKEN * 3 + event.replace(b"\n", b"\r\n") + b"\r\n\r\n" + TOKEN.replace(b"\n", b"\r\n"))
    assert not has_mark(event + b"\n\n" + TOKEN * 2)


@pytest.mark.parametrize("event", OPEN.values(), ids=OPEN)
def test_other_events_say_nothing_of_the_end(event: bytes) -> None:
    assert not has_mark(TOKEN * 3 + event + b"\n\n")


def test_lines_of_json() -> None:
    assert has_mark(b'{"done":false}\n{"response":"","done":true}\n', 1)
    assert not has_mark(b'{"done":false}\n{"done":false}\n', 1)
